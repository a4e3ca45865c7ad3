"""Forks a confined process for each job that comes in on a socket: a program of its own.

Started once for each `Sandbox` by `ocijax.sandbox.process`, as ``python -P -s -S launcher.py``, so
that a job costs a few forks instead of an interpreter's start. Standard library only, one thread,
empty environment. Of each job three processes come: the *keeper*, which outlives the others and
kills them when told to or when our parent is gone; the *first* process of the candidate's own
process namespace, which reaps; and the *candidate*. Without namespaces the first is left out.
"""

import collections  # noqa: F401  imported once here, what most programs import
import contextlib
import functools  # noqa: F401
import gc
import heapq  # noqa: F401
import itertools  # noqa: F401
import math  # noqa: F401
import os
import re  # noqa: F401
import select
import signal
import socket
import sys
import typing  # noqa: F401

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import candidate
import command
import confinement
import testing
from encoding import decode, read_frame

del sys.path[0]

ENTRIES = {
    "run": candidate.run,
    "call": candidate.call,
    "session": candidate.session,
    "test": testing.test,
}
DESCRIPTORS = 256
MEMORY_SECONDS = 0.05


def serve(requests: socket.socket) -> None:
    """Forks a keeper for every request: stdin, stdout, stderr, results, control, status."""
    parent = os.getppid()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers are reaped by the kernel
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ.clear()  # the interpreter sets a locale of its own accord
    gc.freeze()
    while os.getppid() == parent:
        if not select.select([requests], [], [], 1.0)[0]:
            continue
        message, descriptors, _, _ = socket.recv_fds(requests, 1, 6)
        if not message:
            return
        if os.fork() == 0:
            requests.close()
            _keep(*descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _keep(stdin: int, stdout: int, stderr: int, results: int, control: int, status: int) -> None:
    """Runs one job to its end, reports how it ended and leaves."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    confinement.expect_to_be_killed()
    os.setsid()
    try:
        job = decode(read_frame(control))
        apart = job["isolation"] == "namespaces"
        if apart:  # the kernel ends the namespace with us; without one we must live to end it
            confinement.die_with_parent()
        proc = confinement.open_proc()
        keeper = os.getpid()
        if apart:
            confinement.enter_namespaces(proc, job["visible"], job["mounted"], job["scratch_bytes"])
        else:
            confinement.adopt_orphans()
            os.chdir(job["scratch"])
    except OSError as error:
        _tell(status, f"refused {error.strerror or error}")
        os._exit(1)
    child = os.fork()
    if child == 0:
        os.close(control)
        streams = (stdin, stdout, stderr, results)
        (_lead if apart else _become_candidate)(job, proc, streams, status)
    for descriptor in (stdin, stdout, stderr, results):
        os.close(descriptor)
    handle = os.pidfd_open(child)
    top = child if apart else keeper
    while not select.select([handle, control], [], [], MEMORY_SECONDS)[0]:
        family = confinement.descendants(proc, top)
        # Of a single process the kernel bounds the memory.
        if len(family) > 1 and confinement.resident_bytes(proc, family) > job["limits"][0]:
            _tell(status, "memory 0")
            break
    if apart:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)  # returns when its whole namespace has ended
    else:
        pid, ended = os.waitpid(child, os.WNOHANG)
        _kill_descendants(proc)  # before telling, which fails where nobody listens any more
        if pid:
            _tell_end(status, ended)
    os._exit(0)


def _lead(job: dict, proc: int, streams: tuple[int, ...], status: int) -> None:
    """Is process 1: forks the candidate, reaps every orphan, ends with the candidate."""
    confinement.die_with_parent()
    try:
        confinement.drop_privileges(proc, change_user=True)
    except OSError as error:
        _tell(status, f"refused {error.strerror or error}")
        os._exit(1)
    confinement.die_with_parent()  # forgotten when the user changed
    confinement.hide_memory()
    child = os.fork()
    if child == 0:
        _become_candidate(job, proc, streams, status)
    for descriptor in streams:
        os.close(descriptor)
    while True:
        pid, ended = os.waitpid(-1, 0)
        if pid == child:
            _tell_end(status, ended)
            os._exit(0)


def _become_candidate(job: dict, proc: int, streams: tuple[int, ...], status: int) -> None:
    """Runs the program, with nothing open but ``streams``."""
    os.setsid()
    try:
        if job["isolation"] == "limits":
            confinement.drop_privileges(proc, change_user=False)
            confinement.die_with_parent()  # it may kill the keeper, which is of the same user
        for path, content in job["files"].items():
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            with open(path, "wb") as file:
                file.write(content)
        if job["command"] is None:  # the processes that it starts have limits of their own
            confinement.set_limits(*job["limits"], DESCRIPTORS)
    except OSError as error:
        _tell(status, f"refused {error.strerror or error}")
        os._exit(1)
    # Its number as our parent knows it; inside, it is another.
    _tell(status, f"started {os.readlink('self', dir_fd=proc)}")
    for target, descriptor in enumerate(streams):
        os.dup2(descriptor, 100 + target)
    for target in range(len(streams)):
        os.dup2(100 + target, target, inheritable=target < 3)
    os.closerange(len(streams), DESCRIPTORS)
    channel = len(streams) - 1
    if job["command"] is not None:
        command.run(job["command"], channel, DESCRIPTORS)
    sys.argv[:] = ["program"]
    sys.path += job["packages"]
    os.environ |= job["environment"]
    status = ENTRIES[job["entry"]](channel, **job["arguments"])
    if status is not None:  # a script's, whose threads and exit handlers have their turn
        sys.exit(status)
    os._exit(0)


def _kill_descendants(proc: int) -> None:
    """Kills until none is left; orphans come to this process, so none escapes by forking twice."""
    while True:
        for pid in confinement.descendants(proc, os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        select.select([], [], [], 0.001)


def _tell_end(status: int, ended: int) -> None:
    code = os.waitstatus_to_exitcode(ended)
    _tell(status, f"signal {-code}" if code < 0 else f"exit {code}")


def _tell(status: int, line: str) -> None:
    os.write(status, line.encode("utf-8", "backslashreplace") + b"\n")


if __name__ == "__main__":
    serve(socket.socket(fileno=0))
