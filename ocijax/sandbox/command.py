"""Compiles and runs a program of another language, from the process that was confined for it."""

import contextlib
import os
import signal

import confinement
from encoding import encode, frame

_LOG = "compiler.log"
_NOT_STARTED = 127
_CHUNK = 1 << 16


def run(command: dict, channel: int, others: int, descriptors: int) -> None:
    """Ends this process as the program did, or as the compiler where that failed.

    This process stays the parent of both and alone has ``channel``: a frame there tells that the
    program has been compiled. What the compiler says is on standard error where it failed.

    Args:
      command: from `ocijax.sandbox.languages.Toolchain.command`.
      channel: of the results.
      others: processes that the kernel counts with those of the program.
      descriptors: that each process may have open.
    """
    directory = os.getcwd()
    environment = command["environment"] | {"HOME": directory, "TMPDIR": directory}
    if command["compile"] is not None:
        with open(_LOG, "w+b") as log, open(os.devnull, "rb") as nothing:
            os.unlink(_LOG)
            streams = (nothing.fileno(), log.fileno(), log.fileno())
            ended = _execute(command["compile"], environment, streams, others, descriptors)
            if ended != 0:
                log.seek(0)
                with contextlib.suppress(OSError), open(2, "wb", closefd=False) as stderr:
                    while part := log.read(_CHUNK):
                        stderr.write(part)
                _end(ended)
        os.write(channel, frame(encode(None)))
    _end(_execute(command["run"], environment, (0, 1, 2), others, descriptors))


def _execute(
    step: dict, environment: dict, streams: tuple[int, ...], others: int, descriptors: int
) -> int:
    """Runs one command to its end; returns its exit status, or a signal's number below zero."""
    words = step["command"]
    memory_bytes, cpu_seconds, file_bytes, processes = step["limits"]
    child = os.fork()
    if child == 0:
        try:
            for target, descriptor in enumerate(streams):
                os.dup2(descriptor, target)
            for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # by Python, and programs inherit it
                signal.signal(ignored, signal.SIG_DFL)
            confinement.set_limits(
                memory_bytes, cpu_seconds, file_bytes, processes + others, descriptors
            )
            os.execve(words[0], words, environment)
        except OSError as error:
            os.write(2, f"{words[0]}: {error.strerror}\n".encode())
        finally:
            os._exit(_NOT_STARTED)
    _, status, usage = os.wait4(child, 0)
    ended = os.waitstatus_to_exitcode(status)
    if ended == -signal.SIGKILL and usage.ru_utime + usage.ru_stime >= cpu_seconds:
        return -signal.SIGXCPU  # which the runtime caught, so that the kernel killed it
    return ended


def _end(ended: int) -> None:
    if ended < 0:
        with contextlib.suppress(OSError):  # some cannot be anything but the default
            signal.signal(-ended, signal.SIG_DFL)
        os.kill(os.getpid(), -ended)
    os._exit(ended)
