"""What is raised where a host cannot isolate a program."""

from ocijax.errors import InputError


class SandboxError(InputError):
    """The host cannot give the isolation asked for; the message says why and what to do."""
