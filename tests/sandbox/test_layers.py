"""Each layer by itself: what it denies, where another would not."""

import asyncio
import contextlib
import ctypes.util
import errno
import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ocijax.sandbox import Sandbox, SandboxError, Session, seccomp
from ocijax.sandbox.cgroup import Cgroup
from ocijax.sandbox.languages import available

ALWAYS = ("empty environment", "rlimits", "no capabilities", "no_new_privs")
NAMESPACES = tuple(
    f"{kind} namespace" for kind in ("user", "pid", "mount", "network", "ipc", "uts", "cgroup")
)
SYSTEM_CALL = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def f(*arguments):
    words = [ctypes.c_long(word) for word in arguments]
    return (libc.syscall(*words), ctypes.get_errno())
"""


def number(name):
    import pyseccomp  # which fails where there is no libseccomp

    return pyseccomp.resolve_syscall(pyseccomp.system_arch(), name)


def needs(confined, layer):
    layers = confined.run("").layers
    if not any(name.startswith(layer) for name in layers):
        pytest.skip(f"this host has no {layer}")


def test_every_result_names_its_layers(confined):
    tested = confined.test("def f(): return 1", "assert f() == 1")
    cells = confined.cells("1", "import os; os._exit(0)")
    for result in (confined.run(""), confined.call("def f(): pass", [()]), tested, *cells):
        assert {*ALWAYS, *NAMESPACES, "read-only root", "seccomp"} <= set(result.layers)


def test_the_level_limits_claims_no_namespace():
    layers = asyncio.run(Sandbox(isolation="limits").run("")).layers
    assert set(layers) >= set(ALWAYS)
    assert not [name for name in layers if "namespace" in name or "seccomp" in name]


@pytest.mark.parametrize(
    "call",
    [
        *("keyctl", "add_key", "io_uring_setup", "userfaultfd", "perf_event_open", "bpf"),
        *("ptrace", "process_vm_readv", "pidfd_getfd", "kcmp", "name_to_handle_at"),
        *("mount", "unshare", "setns", "pivot_root", "chroot", "fsopen", "open_tree"),
        *("reboot", "kexec_load", "init_module", "syslog", "clock_settime", "sethostname"),
    ],
)
def test_calls_that_no_program_needs_are_denied(confined, call):
    assert confined.value(SYSTEM_CALL, number(call), 0, 0, 0, 0, 0) == (-1, errno.EPERM)


@pytest.mark.parametrize("bit", [17, 25, 26, 27, 28, 29, 30])
def test_no_process_is_made_in_namespaces_of_its_own(confined, bit):
    arguments = number("clone"), 1 << bit | signal.SIGCHLD, 0, 0, 0, 0
    assert confined.value(SYSTEM_CALL, *arguments) == (-1, errno.EPERM)
    assert confined.value(SYSTEM_CALL, number("clone3"), 0, 0) == (-1, errno.ENOSYS)


@pytest.mark.parametrize("family", [0, 9, 16, 17, 38, 40, 44])
@pytest.mark.parametrize("unread", [0, 1 << 32])
def test_sockets_are_of_the_common_families_only(confined, family, unread):
    arguments = number("socket"), unread | family, 2, 0
    assert confined.value(SYSTEM_CALL, *arguments) == (-1, errno.EAFNOSUPPORT)


def test_good_programs_meet_no_denied_call(confined):
    program = """
        import asyncio, concurrent.futures, mmap, multiprocessing, os, selectors, socket
        import subprocess, tempfile, threading
        def double(x): return 2 * x
        def f():
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                threads = list(pool.map(double, [1, 2]))
            children = multiprocessing.get_context("fork")
            with children.Pool(2) as pool:
                processes = pool.map(double, [3])
            echoed = subprocess.run(["/bin/echo", "4"], capture_output=True, text=True).stdout
            with tempfile.TemporaryFile() as file:
                file.write(b"5")
                file.flush()
                mapped = mmap.mmap(file.fileno(), 1)[:]
            one, other = socket.socketpair()
            one.send(b"6")
            async def wait(): await asyncio.sleep(0); return 7
            return threads, processes, echoed, mapped, other.recv(1), asyncio.run(wait())
    """
    assert confined.value(program) == ([2, 4], [6], "4\n", b"5", b"6", 7)


def test_a_host_without_libseccomp_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    seccomp.deny_list.cache_clear()
    try:
        with pytest.raises(SandboxError, match=r"install it .*libseccomp2.*isolation=\"limits\""):
            asyncio.run(Sandbox().run(""))
        assert asyncio.run(Sandbox(isolation="limits").run("print(1)")).stdout == "1\n"
    finally:
        monkeypatch.undo()
        seccomp.deny_list.cache_clear()


def test_landlock_keeps_signals_and_ports_in(confined):
    needs(confined, "Landlock")
    program = """
        import os, socket
        def f(which):
            if which == "signal":
                os.kill(1, 0)
            else:
                socket.socket().bind(("0.0.0.0", 0))
    """
    (version,) = [int(name[9:]) for name in confined.run("").layers if name[:9] == "Landlock "]
    for which, since in (("port", 4), ("signal", 6)):
        if version >= since:
            (outcome,) = confined.call(program, [(which,)]).outcomes
            assert "PermissionError" in outcome.error


def test_the_host_has_another_name(confined):
    assert confined.value("import os\ndef f(): return os.uname().nodename") == "sandbox"


def test_a_process_starts_at_the_root_of_the_cgroups_it_sees(confined):
    if "bash" not in available():
        pytest.skip("this host has no bash")
    seen = confined.run("cat /proc/self/cgroup", language="bash").stdout.splitlines()
    assert seen
    assert all(line.endswith(":/") for line in seen)


@pytest.fixture
def grouped():
    """A group, and what executes a line in a process there and says how that ended."""
    group = Cgroup()
    process = subprocess.Popen(
        [sys.executable, "-c", "exec(input())"],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    group.enter(process.pid, secrets.token_hex(4), 100 << 20, 4)

    def execute(line):
        process.communicate(line.encode())
        return process.returncode

    yield group, execute
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    group.remove()


def test_a_group_bounds_memory_and_says_that_it_did(grouped):
    group, execute = grouped
    if "memory" not in group.bounded:
        pytest.skip("no control group of memory can be made here")
    assert not group.has_killed()
    assert execute("held = b'x' * (200 << 20)") == -signal.SIGKILL
    assert group.has_killed()
    assert not group.has_killed()


def test_a_group_can_be_allowed_more(grouped):
    group, execute = grouped
    if "memory" not in group.bounded:
        pytest.skip("no control group of memory can be made here")
    group.allow(300 << 20)
    assert execute("held = b'x' * (200 << 20)") == 0


def test_a_group_bounds_the_number_of_processes(grouped):
    group, execute = grouped
    if "processes" not in group.bounded:
        pytest.skip("no control group of processes can be made here")
    sleepers = "[os.fork() or time.sleep(600) for _ in range({})]"
    assert execute(f"import os, time; {sleepers.format(8)}") == 1


def test_groups_are_removed_with_their_launcher(confined):
    def found():
        return set(Path("/sys/fs/cgroup").glob(f"**/ocijax-{os.getpid()}-*"))

    async def inside():
        async with Session() as session:
            layers = (await session.execute("")).layers
            return layers, found() - before

    before = found()
    layers, made = asyncio.run(inside())
    if not any(name.startswith("cgroup of") for name in layers):
        pytest.skip("no control group can be made here")
    assert made
    assert not made & found()
