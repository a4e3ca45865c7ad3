"""What a candidate cannot reach, use up or leave behind."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest

from ocijax.errors import InputError
from ocijax.sandbox import Limits, Sandbox
from tests.sandbox.processes import named, wait_until

REACH = "def f(statement):\n    import os, socket, subprocess, ctypes\n    return eval(statement)"


def test_the_environment_is_empty(runner, monkeypatch):
    monkeypatch.setenv("SECRET", "token")
    assert runner.value("import os\ndef f(): return dict(os.environ)") == {}
    assert runner.value("import os\ndef f(): return os.environb.get(b'SECRET')") is None


def test_our_open_files_are_not_inherited(runner, tmp_path):
    with (tmp_path / "secret").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        program = """
            import os
            def f():
                found = []
                for number in range(256):
                    try:
                        found.append((number, os.fstat(number).st_mode >> 12))
                    except OSError:
                        pass
                return found
        """
        pipe_type, device_type = 1, 2
        kinds = dict(runner.value(program))
    assert set(kinds) == {0, 1, 2, 3}
    assert set(kinds.values()) <= {pipe_type, device_type}


def test_it_has_its_own_session(runner):
    assert runner.value("import os\ndef f(): return os.getsid(0)") != os.getsid(0)


@pytest.mark.parametrize("directory", ["home", "temporary", "working"])
def test_our_files_cannot_be_read(confined, tmp_path, monkeypatch, directory):
    place = {
        "home": Path.home(),
        "temporary": Path(tempfile.gettempdir()),
        "working": Path.cwd(),
    }[directory]
    try:
        handle, name = tempfile.mkstemp(prefix=".ocijax-secret", dir=place)
    except OSError:
        pytest.skip(f"{place} cannot be written")
    try:
        os.write(handle, b"token")
        os.fchmod(handle, 0o644)
        assert not confined.value("import os\ndef f(path): return os.path.exists(path)", name)
    finally:
        os.close(handle)
        os.unlink(name)


def test_only_the_scratch_directory_can_be_written(confined):
    program = """
        import os
        def f():
            written = []
            for directory, _, _ in os.walk("/", followlinks=False):
                try:
                    path = os.path.join(directory, "probe")
                    open(path, "w").close()
                    os.unlink(path)
                    written.append(directory)
                except OSError:
                    pass
                if directory.count("/") > 2:
                    break
            for directory in ("/", "/usr", "/usr/bin", "/etc", "/dev", "/dev/shm", "/tmp"):
                if os.access(directory, os.W_OK):
                    written.append(directory)
            return sorted(set(written))
    """
    assert set(confined.value(program)) == {"/tmp", "/dev/shm"}
    assert os.path.realpath("/dev/shm") == "/dev/shm"


def test_no_process_is_visible(confined):
    program = """
        import os
        def f():
            alive = []
            for pid in range(2, 2000):
                try:
                    os.kill(pid, 0)
                    alive.append(pid)
                except ProcessLookupError:
                    pass
            return os.path.exists("/proc/self"), os.getppid(), alive == [os.getpid()]
    """
    assert confined.value(program) == (False, 1, True)


def test_it_is_nobody_without_capabilities(confined):
    program = """
        import ctypes, os
        def f():
            libc = ctypes.CDLL(None, use_errno=True)
            data = (ctypes.c_uint32 * 6)()
            libc.capget((ctypes.c_uint32 * 2)(0x20080522, 0), data)
            new_privileges_barred = libc.prctl(39, 0, 0, 0, 0)
            namespace = libc.unshare(0x10000000)
            return os.getuid(), list(data), new_privileges_barred, namespace
    """
    user, capabilities, barred, namespace = confined.value(program)
    assert user == (os.getuid() or 65534)
    assert capabilities == [0] * 6
    assert barred == 1
    assert namespace == -1


@pytest.mark.parametrize(
    "statement",
    [
        "socket.create_connection(('127.0.0.1', {port}), 1)",
        "socket.create_connection(('192.0.2.1', 80), 1)",
        "socket.socket(1).connect(b'\\0ocijax-test-{port}')",
        "socket.socket(2, 2).sendto(b'x', ('127.0.0.1', {port}))",
    ],
)
def test_there_is_no_network(confined, statement):
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        port = server.getsockname()[1]
        abstract.bind(b"\0ocijax-test-%d" % port)
        abstract.listen()
        result = confined.call(REACH, [(statement.format(port=port),)])
        assert result.outcomes[0].status == "error"
        assert "Error" in result.outcomes[0].error.splitlines()[-1]
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSTOP", "SIGINT"])
def test_we_cannot_be_signalled(confined, name):
    program = f"""
        import os, signal
        def f(pid):
            done = []
            for target in (pid, os.getppid(), 1):
                try:
                    os.kill(target, signal.{name})
                    done.append(target)
                except (ProcessLookupError, PermissionError):
                    pass
            return done
    """
    assert set(confined.value(program, os.getpid())) <= {1}
    assert confined.run("print(1)").stdout == "1\n"


def test_daemons_end_with_the_program(runner):
    name = f"daemon-{os.getpid()}"
    program = f"""
        import ctypes, os, time
        def f():
            reading, writing = os.pipe()
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    ctypes.CDLL(None).prctl(15, {name.encode()!r}, 0, 0, 0)
                    os.write(writing, b"x")
                    os.closerange(0, 256)
                    time.sleep(60)
                os._exit(0)
            return os.read(reading, 1)
    """
    assert runner.value(program) == b"x"
    assert named(name) == []


def test_a_fork_bomb_is_contained(confined):
    program = """
        import os, time
        def f():
            started, end = 0, time.monotonic() + 0.5
            while time.monotonic() < end:
                try:
                    if os.fork() == 0:
                        time.sleep(5)
                        os._exit(0)
                    started += 1
                except BlockingIOError:
                    time.sleep(0.05)
            return started
    """
    assert 1 <= confined.value(program) <= 24
    assert confined.run("print(1)").stdout == "1\n"


def test_threads_left_running_do_not_delay_the_answer(runner):
    program = """
        import threading, time
        def f():
            threading.Thread(target=time.sleep, args=(60,)).start()
            return 1
    """
    assert runner.value(program) == 1


IGNORE_SIGNALS = """
import signal
for number in {*range(1, 32)} - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
while True: pass
"""
OVERFLOW_STACK = """
import sys
sys.setrecursionlimit(10**9)
def g(n): return g(n + 1) + 1
g(0)
"""


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("while True: pass", "timeout"),
        ("import time; time.sleep(60)", "timeout"),
        (IGNORE_SIGNALS, "timeout"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", "timeout"),
        ("while True: print('x' * 1000)", "output"),
        ("import os\nwhile True: os.write(2, b'x' * 65536)", "output"),
        ("x = 'x' * (1 << 40)", "memory"),
        ("x = []\nwhile True: x.append(bytes(1 << 20))", "memory"),
        (OVERFLOW_STACK, None),
    ],
)
def test_each_limit_ends_the_program(runner, program, status):
    limits = Limits(wall_seconds=1.5, memory_bytes=512 << 20, output_bytes=8 << 10)
    result = runner.another(limits=limits).run(program)
    assert result.status in ((status,) if status else ("killed", "error", "memory", "timeout"))
    assert len(result.stdout) < 10_000
    assert len(result.stderr) < 10_000


def test_output_between_the_lines_does_not_win_time(runner):
    program = "import os, time\nwhile True: os.write(1, b'x'); time.sleep(0.001)"
    result = runner.another(limits=Limits(wall_seconds=1.0)).run(program)
    assert result.status == "timeout"
    assert result.wall_seconds < 4


def test_the_cpu_limit_is_a_timeout(runner):
    program = "def f():\n    while True: pass"
    limited = runner.another(limits=Limits(cpu_seconds=1.0))
    (outcome,) = limited.call(program, [()]).outcomes
    assert (outcome.status, outcome.error) == ("timeout", "the program used up its CPU time")


def test_a_file_has_a_greatest_size(runner):
    program = """
        def f(size):
            with open("file", "wb") as file:
                file.write(bytes(size))
    """
    result = runner.call(program, [(1 << 20,), (33 << 20,)])
    assert [outcome.status for outcome in result.outcomes] == ["ok", "error"]
    assert "OSError" in result.outcomes[1].error


def test_many_files_do_not_fill_the_disk(confined):
    program = """
        def f():
            written = 0
            try:
                for index in range(100):
                    with open(str(index), "wb") as file:
                        written += file.write(bytes(1 << 20))
            except OSError:
                pass
            return written >> 20
    """
    assert confined.value(program) <= 32


def test_the_scratch_directory_is_gone(runner, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    runner.another().run("""
        import os
        os.makedirs("a/b/c")
        open("a/b/c/file", "w").close()
        os.symlink("/", "link")
        os.mkfifo("pipe")
        for path in ("a/b/c", "a/b", "a", "."):
            os.chmod(path, 0)
    """)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("replacement", ['open(place, "w").close()', 'os.symlink("/", place)'])
def test_what_stands_in_for_the_scratch_directory_is_gone(
    runner, monkeypatch, tmp_path, replacement
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    another = runner.another()
    another.run(f"""
        import os
        place = os.getcwd()
        os.rmdir(place)
        {replacement}
    """)
    assert list(tmp_path.iterdir()) == []
    assert another.value("import os\ndef f():\n    return os.listdir()") == []


def test_queued_programs_find_an_empty_directory_and_leave_none(runner, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    sandbox = runner.another().sandbox
    program = """
import os
print(os.listdir(), oct(os.stat(".").st_mode), os.listxattr("."))
open("file", "w").close()
os.chmod(".", 0o755)
"""

    async def all_of_them():
        return await asyncio.gather(*(sandbox.run(program) for _ in range(20)))

    results = asyncio.run(all_of_them())
    assert {result.stdout for result in results} == {"[] 0o40700 []\n"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "frame",
    [
        b"\0" * 8,
        b"\xff" * 64,
        b"\0" * 7 + b"\1v",
        b"\0" * 7 + b"\x05vl0;l",
        b"\0" * 4 + b"\1\0\0\0",
        b"\0" * 7 + b"\x01x",
        b"\0" * 7 + b"\x06vt2;l0",
        b"\0" * 7 + b"\x02e\xff",
    ],
)
def test_forged_frames_are_at_most_wrong_answers(runner, frame):
    program = f"""
        import os
        def f(a, b):
            for number in range(64):
                try:
                    os.write(number, {frame!r})
                except OSError:
                    pass
            os._exit(0)
    """
    result = runner.call(program, [(1, 2), (3, 4)])
    assert all(outcome.value is None for outcome in result.outcomes)
    assert all(outcome.status != "ok" for outcome in result.outcomes)
    assert runner.value("def f(a): return a", 1) == 1


def test_closing_every_descriptor_is_no_answer(runner):
    result = runner.call("import os\ndef f(): os.closerange(0, 1024); return 1", [()])
    assert result.outcomes[0].status == "error"


def test_expected_answers_are_nowhere_in_the_process(confined):
    program = """
        import gc, sys
        def f(x):
            frame, names = sys._getframe(), []
            while frame:
                names += frame.f_locals
                frame = frame.f_back
            return [name for name in names if "expected" in name]
    """
    assert confined.value(program, 1) == []


def test_nothing_survives_when_we_are_killed(runner, tmp_path):
    mark = f"ocijax-{os.getpid()}-{time.monotonic_ns()}"
    program = f"""
        import asyncio, sys
        from ocijax.sandbox import Sandbox
        program = '''
        import ctypes, time
        ctypes.CDLL(None).prctl(15, b"{mark[-15:]}", 0, 0, 0)
        print("x" * 100, flush=True)
        time.sleep(60)
        '''
        import textwrap
        asyncio.run(Sandbox(isolation={runner.sandbox.isolation!r}).run(textwrap.dedent(program)))
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)])
    try:
        wait_until(lambda: named(mark[-15:]))
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_until(lambda: not named(mark[-15:]))


def test_an_unknown_isolation_is_refused():
    with pytest.raises(InputError, match="choose namespaces or limits"):
        Sandbox(isolation="none")


def test_processes_share_one_memory_limit(runner):
    program = """
        import os, time
        def f(count):
            for _ in range(count):
                if os.fork() == 0:
                    held = bytearray(b"x") * (100 << 20)
                    time.sleep(60)
            time.sleep(60)
    """
    limited = runner.another(limits=Limits(wall_seconds=20.0, memory_bytes=300 << 20))
    (outcome,) = limited.call(program, [(8,)]).outcomes
    assert outcome.status == "memory"
    assert limited.run("print(1)").stdout == "1\n"


def test_a_host_that_forbids_namespaces_is_named_with_the_remedy():
    program = """
        import asyncio
        from ocijax.errors import InputError
        from ocijax.sandbox import Sandbox
        open("/proc/sys/user/max_user_namespaces", "w").write("0")
        try:
            print(asyncio.run(Sandbox().run("")))
        except InputError as error:
            print(error)
        print(asyncio.run(Sandbox(isolation="limits").run("")).isolation)
    """
    refusal, level = _in_user_namespace(program).splitlines()
    assert refusal.startswith("the host forbids the sandbox's isolation (unshare: ")
    assert "sysctl -w user.max_user_namespaces=" in refusal
    assert 'isolation="limits"' in refusal
    assert level == "limits"


def test_a_root_without_other_users_can_confine():
    program = """
        import asyncio
        from ocijax.sandbox import Sandbox
        program = "import os; print(os.getuid(), os.listdir()); open('x', 'w')"
        print(asyncio.run(Sandbox().run(program)).stdout)
    """
    assert _in_user_namespace(program).strip() == "65534 []"


def _in_user_namespace(program):
    """Output of ``program`` as the root, and only user, of a user namespace."""
    unshare = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc"]
    try:
        subprocess.run([*unshare, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this host forbids namespaces")
    command = [*unshare, sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout
