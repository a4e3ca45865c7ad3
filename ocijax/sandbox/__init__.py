"""Runs untrusted programs: `Sandbox`, `Session`, their limits and results, the data they give."""

from ocijax.sandbox.encoding import Digest, EncodingError, Opaque, digest
from ocijax.sandbox.errors import SandboxError
from ocijax.sandbox.result import (
    CallResult,
    ExecutionResult,
    Limits,
    Outcome,
    Status,
    TestResult,
)
from ocijax.sandbox.sandbox import LEVELS, Sandbox, describe_levels
from ocijax.sandbox.session import Session

__all__ = [
    "LEVELS",
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
    "describe_levels",
    "digest",
]
