"""Forks a confined process for each job that comes in on a socket: a program of its own.

Started by `ocijax.sandbox.pool` as ``python -P -s -S launcher.py DESCRIPTOR``, so that a job costs
forks instead of an interpreter's start. Standard library only, one thread, empty environment, one
job at a time. It is told once how programs are isolated. From then on the process of the next job
is there before the job is, and takes it from the socket of that descriptor: a message with its
number and five descriptors. On standard input, a socket too, lines say what becomes of the job; its
number comes in there when it is to end.

In namespaces it leaves the host's files behind itself. Of each job two processes come: the *first*
of the job's own namespaces, which watches, reaps and kills, and the *candidate*. Without namespaces
there is the candidate alone, and what watches it is the launcher.
"""

import _socket  # and not the rest of `socket`, which would be copied with every fork
import collections  # noqa: F401  imported once here, what most programs import
import contextlib
import functools  # noqa: F401
import gc
import heapq  # noqa: F401
import importlib
import importlib.machinery
import itertools
import marshal
import math  # noqa: F401
import os
import re  # noqa: F401
import resource
import signal
import struct
import sys
import typing  # noqa: F401

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import candidate
import command
import confinement
import kernel
import landlock
import scratch
import testing
import view
from encoding import encode, read_frame
from family import Family

del sys.path[0]

DESCRIPTORS = 256
_REHEARSALS = 10  # Python rewrites a function for speed when it is called the eighth time
_MOST_SETTINGS = 1 << 20
_MOST_NUMBER = 32
_MORE_OTHERS = 256  # processes and threads that this user may come to have besides
_JOB_DESCRIPTORS = struct.Struct("5i")
_JOB_CONTROL_BYTES = _socket.CMSG_SPACE(_JOB_DESCRIPTORS.size)
ENTRIES = {
    "run": candidate.run,
    "call": candidate.call,
    "session": candidate.session,
    "test": testing.test,
}


def serve(status: _socket.socket, jobs: _socket.socket) -> None:
    """Runs the jobs that come in on ``jobs``, until the other end of ``status`` is closed."""
    settings = marshal.loads(status.recv(_MOST_SETTINGS))
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ.clear()  # the interpreter sets a locale of its own accord
    os.environ |= settings["environment"]
    apart = settings["isolation"] == "namespaces"
    try:
        proc = confinement.open_proc()
        confinement.expect_to_be_killed(proc)
        if apart:
            _leave_host(proc, settings)
            settings["landlock"] = landlock.version()
        else:
            # The kernel counts them with a program's own, which are those of the same user.
            settings["others"] = confinement.count_tasks(proc) + _MORE_OTHERS
            confinement.adopt_orphans()
            confinement.bar_privileges()
            confinement.drop_capabilities()
        cpu_seconds, file_bytes, processes = settings["use_limits"]
        settings["use_limits"] = []
        if not settings["commands"]:  # which have limits of their own
            confinement.set_size_limits(settings["memory_bytes"], DESCRIPTORS)
            settings["use_limits"] = confinement.use_limits(
                cpu_seconds, file_bytes, processes + settings["others"]
            )
    except OSError as error:
        _refuse(status, error)
    sys.argv[:] = ["program"]
    _import(settings["packages"])
    gc.collect()
    gc.freeze()
    _rehearse()  # last, so that jobs find free the memory that it used
    _tell(status, f"ready {settings['landlock']}")
    run = _run_apart if apart else _run_here
    for number in itertools.count(1):
        if not _tell(status, run(settings, status, jobs, proc, number) + "gone"):
            break
    if not apart:
        scratch.remove(settings["scratch"])


def _leave_host(proc: int, settings: dict) -> None:
    """Enters the namespaces that all jobs share, and a view of the host's files."""
    user, group = confinement.candidate_user(proc)
    show_first = os.geteuid() == 0  # as nobody could not, where the interpreter is in root's home
    if show_first:
        view.enter(settings["shown"], settings["commands"])
    confinement.enter_user_namespace(proc, user, group)
    if not show_first:
        view.enter(settings["shown"], settings["commands"])
    kernel.call("unshare", confinement.LAUNCHER_NAMESPACES)
    kernel.call("sethostname", b"sandbox", 7)
    confinement.bar_privileges()


def _import(packages: dict[str, str]) -> None:
    """Imports packages, by name, from the directories given, so that programs find them there."""
    sys.meta_path.append(_Packages(packages))
    for name in packages:
        with contextlib.suppress(Exception):  # the program that asks for it is told
            importlib.import_module(name)


def _rehearse() -> None:
    """Calls a function as jobs do: what Python caches on the way is there for all of them then."""
    numbers = [encode((1, 2))] * 3
    for _ in range(_REHEARSALS):
        candidate.call(sys.stdout.fileno(), "def f(a, b):\n    return a + b\n", "f", numbers, 64)
    del sys.modules["program"]


class _Packages:
    """Finds the packages named, and nothing else that lies beside them."""

    def __init__(self, places: dict[str, str]):
        self._places = places

    def find_spec(self, name, path=None, target=None):
        """As the import system asks its finders."""
        if path is not None or name not in self._places:
            return None
        return importlib.machinery.PathFinder.find_spec(name, [self._places[name]])


def _run_apart(settings, status, jobs, proc, number) -> str:
    """Runs a job in namespaces of its own, which end with the first process in them."""
    try:
        first = kernel.fork_apart(confinement.JOB_NAMESPACES)
    except OSError as error:
        _refuse(status, error)
    if first == 0:
        _lead(settings, status, jobs, proc, number)
    if os.waitpid(first, 0)[1] != 0:  # it could not isolate the job, or has been killed
        _tell(status, "gone")
        sys.exit(1)
    return ""


def _lead(settings, status, jobs, proc, number) -> None:
    """Is process 1: has the candidate run and leaves, with all that is left."""
    confinement.die_with_parent()
    try:
        confinement.enter_scratch(settings["scratch_bytes"], settings["commands"])
        confinement.let_memory_be_read(False)
    except OSError as error:
        _refuse(status, error)
    family = _family(status, proc, number, _kill_namespace)
    if family.fork() == 0:
        confinement.let_memory_be_read(True)
        _become_candidate(settings, status, jobs, proc, number, family.begun)
    confinement.drop_capabilities()
    jobs.close()
    _tell(status, _watch(family, settings["memory_bytes"]))
    os._exit(0)


def _run_here(settings, status, jobs, proc, number) -> str:
    """Runs a job as a child that shares all but its limits with us."""
    family = _family(status, proc, number, _kill_each)
    if family.fork() == 0:
        confinement.die_with_parent()  # it may kill the launcher, which is of the same user
        _become_candidate(settings, status, jobs, proc, number, family.begun)
    report = _watch(family, settings["memory_bytes"])
    scratch.clear(settings["scratch"])
    return report


def _family(status: _socket.socket, proc: int, number: int, kill) -> Family:
    """Returns one that is to end when its number comes in, or nothing can any more."""

    def is_to_end() -> bool:
        return status.recv(_MOST_NUMBER) in (b"", b"%d" % number)

    return Family(proc, status.fileno(), is_to_end, kill)


def _watch(family: Family, memory_bytes: int) -> str:
    """Watches a candidate to its end and has nothing of it left; returns what is to be told."""
    report = ""
    try:
        family.watch(memory_bytes)
    except MemoryError:
        report = "memory 0\n"
    ended = family.end()
    if ended is not None and not report:
        code = os.waitstatus_to_exitcode(ended)
        report = f"signal {-code}\n" if code < 0 else f"exit {code}\n"
    return f"used {family.cpu_seconds} {family.peak_bytes}\n{report}"


def _kill_namespace(family: Family) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)


def _kill_each(family: Family) -> None:
    for pid in family.members():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _become_candidate(settings, status, jobs, proc, number, begun) -> None:
    """Waits for the job and runs its program, with nothing open but its streams."""
    os.setsid()
    content, *streams = _take(jobs, number)
    os.eventfd_write(begun, 1)
    try:
        job = marshal.loads(read_frame(content))
        if settings["isolation"] == "namespaces":
            if job["scratch_bytes"] != settings["scratch_bytes"]:
                confinement.resize_scratch(job["scratch_bytes"])
            confinement.drop_capabilities()
        else:
            scratch.enter(settings["scratch"])
        for path, file_content in job["files"].items():
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            with open(path, "wb") as file:
                file.write(file_content)
        # Its number as the harness knows it; inside, it is another.
        _tell(status, f"started {os.readlink('self', dir_fd=proc)}")
        for limit in settings["use_limits"]:
            resource.setrlimit(*limit)
        if settings["landlock"]:
            landlock.restrict(settings["landlock"])
    except MemoryError:
        _tell(status, "oversize 0")
        os._exit(1)
    except OSError as error:
        _refuse(status, error)
    for target, descriptor in enumerate(streams):  # no target among them: all are open here
        os.dup2(descriptor, target, inheritable=target < 3)
    os.closerange(len(streams), DESCRIPTORS)
    if settings["filter"]:
        confinement.deny_system_calls(settings["filter"])
    channel = len(streams) - 1
    if job["command"] is not None:
        command.run(job["command"], channel, settings["others"], DESCRIPTORS)
    exit_status = ENTRIES[job["entry"]](channel, **job["arguments"])
    if exit_status is not None:  # a script's, whose threads and exit handlers have their turn
        sys.exit(exit_status)
    os._exit(0)


def _take(jobs: _socket.socket, number: int) -> tuple[int, ...]:
    """Waits for the job of this number and returns its descriptors; leaves if there is to be none.

    Others are of jobs that were to end before their process had taken them.
    """
    while True:
        message, control, _, _ = jobs.recvmsg(_MOST_NUMBER, _JOB_CONTROL_BYTES)
        if not message:
            os._exit(0)
        descriptors = _JOB_DESCRIPTORS.unpack(control[0][2])
        if message == b"%d" % number:
            return descriptors
        for descriptor in descriptors:
            os.close(descriptor)


def _tell(status: _socket.socket, line: str) -> bool:
    """Sends lines; returns whether there still is somebody to read them."""
    try:
        status.send(line.encode("utf-8", "backslashreplace") + b"\n")
    except ConnectionError:
        return False
    return True


def _refuse(status: _socket.socket, error: OSError) -> None:
    _tell(status, f"refused {error.strerror or error}")
    os._exit(1)


if __name__ == "__main__":
    serve(_socket.socket(fileno=0), _socket.socket(fileno=int(sys.argv[1])))
