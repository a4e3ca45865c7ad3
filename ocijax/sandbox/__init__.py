"""Runs untrusted programs: `Sandbox`, `Session`, their limits and results, the data they give."""

from ocijax.sandbox.encoding import Digest, EncodingError, Opaque, digest
from ocijax.sandbox.process import SandboxError
from ocijax.sandbox.result import (
    CallResult,
    ExecutionResult,
    Limits,
    Outcome,
    Status,
    TestResult,
)
from ocijax.sandbox.sandbox import Sandbox
from ocijax.sandbox.session import Session

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
    "Session",
    "Status",
    "TestResult",
    "digest",
]
