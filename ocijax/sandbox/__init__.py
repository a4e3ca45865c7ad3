"""Runs untrusted programs: `Sandbox`, its limits and results, and the data that comes back."""

from ocijax.sandbox.encoding import Digest, EncodingError, Opaque, digest
from ocijax.sandbox.process import SandboxError
from ocijax.sandbox.result import CallResult, ExecutionResult, Limits, Outcome, Status
from ocijax.sandbox.sandbox import Sandbox

__all__ = [
    "CallResult",
    "Digest",
    "EncodingError",
    "ExecutionResult",
    "Limits",
    "Opaque",
    "Outcome",
    "Sandbox",
    "SandboxError",
    "Status",
    "digest",
]
