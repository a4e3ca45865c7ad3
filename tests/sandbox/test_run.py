"""Programs run as scripts."""

import textwrap

import pytest

from ocijax.errors import InputError
from ocijax.sandbox import Limits


def test_a_script_reads_its_input_and_prints(runner):
    result = runner.run(
        "print(input() + '!'); import sys; print('e', file=sys.stderr)", stdin="hi\n"
    )
    assert (result.status, result.exit_code, result.signal) == ("ok", 0, None)
    assert (result.stdout, result.stderr) == ("hi!\n", "e\n")
    assert result.isolation == runner.sandbox.isolation
    assert 0 < result.wall_seconds < 3


def test_a_script_is_the_main_module(runner):
    assert runner.run("if __name__ == '__main__': print('main')").stdout == "main\n"


def test_the_traceback_shows_the_programs_lines_and_no_others(runner):
    program = "def g():\n    return 1 / 0\n\ng()\n"
    result = runner.run(program)
    assert (result.status, result.exit_code) == ("error", 1)
    assert result.stderr.startswith(
        'Traceback (most recent call last):\n  File "<program>", line 4'
    )
    assert "return 1 / 0" in result.stderr
    assert result.stderr.endswith("ZeroDivisionError: division by zero\n")
    assert result.stderr.count("File ") == 2


def test_a_syntax_error_is_shown_with_its_line(runner):
    result = runner.run("x = (\n")
    assert result.status == "error"
    assert 'File "<program>", line 1' in result.stderr
    assert "SyntaxError" in result.stderr


@pytest.mark.parametrize(
    ("program", "files"),
    [("print(1)\n" * (25 << 20), {}), ("print(1)", {"data": bytes(200 << 20)})],
    ids=["program", "file"],
)
def test_what_does_not_fit_into_its_memory_is_not_run(runner, program, files):
    small = runner.another(limits=Limits(memory_bytes=160 << 20))
    result = small.run(program, files=files)
    assert (result.status, result.stdout) == ("refused", "")
    assert "exceed its memory" in result.stderr
    assert small.run("print(1)").stdout == "1\n"


@pytest.mark.parametrize(
    ("program", "code", "stderr"),
    [
        ("import sys; sys.exit(0)", 0, ""),
        ("import sys; sys.exit(7)", 7, ""),
        ("import sys; sys.exit('bad')", 1, "bad\n"),
        ("import os; os._exit(3)", 3, ""),
        ("raise KeyboardInterrupt", 1, None),
    ],
)
def test_the_exit_status_is_the_scripts(runner, program, code, stderr):
    result = runner.run(program)
    assert result.exit_code == code
    assert result.status == ("error" if code else "ok")
    if stderr is not None:
        assert result.stderr == stderr


def test_a_signal_that_ends_it_is_named(runner):
    result = runner.run("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert (result.status, result.exit_code, result.signal) == ("killed", None, 11)


def test_files_are_there_and_leave_with_the_directory(runner):
    program = """
        import os
        print(open("data/in.txt").read(), open("b.bin", "rb").read())
        os.makedirs("locked/inner")
        open("locked/inner/file", "w").close()
        os.chmod("locked/inner", 0)
        os.chmod("locked", 0)
        print(os.getcwd())
    """
    result = runner.run(program, files={"data/in.txt": "text", "b.bin": b"\xff"})
    assert result.stdout.splitlines()[0] == "text b'\\xff'"
    assert runner.run("import os; print(os.listdir())").stdout == "[]\n"


@pytest.mark.parametrize("path", ["/etc/x", "../x", "a/../../x", "", "a\0b"])
def test_a_file_outside_the_directory_is_refused(runner, path):
    with pytest.raises(InputError, match="inside the working directory"):
        runner.run("", files={path: ""})


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"a\xffb", "a\\xffb"),
        (b"a\0b", "a\\x00b"),
        (b"\xed\xa0\x80", "\\xed\\xa0\\x80"),
        (b"\xe2\x82", "\\xe2\\x82"),
        ("ü€\U0001f600".encode(), "ü€\U0001f600"),
        (bytes(range(128, 256)), "".join(f"\\x{byte:x}" for byte in range(128, 256))),
    ],
)
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_bytes_that_are_no_text_are_escaped(runner, stream, written, shown):
    program = f"import sys; sys.{stream}.buffer.write({written!r})"
    assert getattr(runner.run(program), stream) == shown


def test_half_of_a_surrogate_pair_can_be_printed(runner):
    program = r"""
        import sys
        def f():
            print("a\udc80\ud800\0b")
            print("\ud800", file=sys.stderr)
    """
    assert runner.call(program, [()]).stdout == "a\\udc80\\ud800\\x00b\n"
    result = runner.run(textwrap.dedent(program) + "f()")
    assert (result.stdout, result.stderr) == ("a\\udc80\\ud800\\x00b\n", "\\ud800\n")


def test_a_long_output_keeps_its_head_and_tail(runner):
    result = runner.run("print('begin'); print('x' * 300_000); print('end')")
    assert result.status == "ok"
    assert result.stdout.startswith("begin\nxxx")
    assert result.stdout.endswith("xxx\nend\n")
    assert "bytes left out" in result.stdout
    assert len(result.stdout) < (64 << 10) + 100


def test_a_program_may_hold_anything(runner):
    assert runner.run("print('\ud800')").status == "error"
    assert runner.run("print(1)\0").status == "error"
    assert runner.run("print('ü')").stdout == "ü\n"


def test_input_may_be_long_and_left_unread(runner):
    assert runner.run("print(1)", stdin="x" * 1_000_000).stdout == "1\n"


def test_threads_and_exit_handlers_have_their_turn(runner):
    program = """
        import atexit, threading, time
        atexit.register(print, "exit")
        threading.Thread(target=lambda: (time.sleep(0.1), print("thread"))).start()
        print("main")
    """
    assert runner.run(program).stdout == "main\nthread\nexit\n"


def test_its_files_may_be_larger_than_those_it_writes(runner):
    program = """
        import os
        print(os.path.getsize("large"))
        try:
            open("other", "wb").write(bytes(33 << 20))
        except OSError as error:
            print(type(error).__name__)
    """
    result = runner.run(program, files={"large": bytes(80 << 20)})
    assert result.stdout == f"{80 << 20}\nOSError\n", result.stderr


def test_what_it_used_is_counted_with_what_it_started(runner):
    program = """
        import os, time
        if os.fork() == 0:
            held = b"x" * (150 << 20)
            while time.process_time() < 0.4: pass
            os._exit(0)
        os.wait()
        while time.process_time() < 0.3: pass
    """
    result = runner.run(program)
    assert result.status == "ok", result.stderr
    assert 0.65 < result.cpu_seconds < result.wall_seconds + 0.5
    assert 150 << 20 < result.peak_bytes < 250 << 20


def test_what_it_used_is_counted_where_it_is_stopped(runner):
    limited = runner.another(limits=Limits(wall_seconds=1.0))
    result = limited.run("held = b'x' * (150 << 20)\nwhile True: pass")
    assert result.status == "timeout"
    assert result.cpu_seconds > 0.3
    assert result.peak_bytes > 150 << 20


def test_a_run_may_have_limits_of_its_own(runner):
    assert runner.run("import time; time.sleep(60)", wall_seconds=0.5).status == "timeout"
    result = runner.run("while True: pass", wall_seconds=30.0, cpu_seconds=0.5)
    assert (result.status, result.wall_seconds < 20.0) == ("timeout", True)


def test_a_run_may_keep_more_of_its_output(runner):
    size = 2 * runner.sandbox.limits.output_bytes
    program = f"print('x' * {size}, end='')"
    assert len(runner.run(program, output_bytes=2 * size).stdout) == size
    assert "bytes left out" in runner.run(program).stdout
