"""Programs of other languages than Python, each confined as one of Python is."""

import socket
from pathlib import Path

import pytest

from ocijax.errors import InputError
from ocijax.sandbox import Limits, java
from ocijax.sandbox.languages import LANGUAGES, available, find
from tests.toolchains import needs

PROGRAMS = Path(__file__).with_name("programs")
SMALL = Limits(wall_seconds=20.0, memory_bytes=512 << 20, file_bytes=32 << 20, processes=24)
BROKEN = {
    "bash": "echo 1\necho $(\n",
    "c++": "int main() {\n    return x;\n}\n",
    "go": "package main\n\nfunc main() { x }\n",
    "java": "class Main {\n    int x = y;\n}\n",
    "javascript": "let a = 1;\nlet b = = 2;\n",
    "rust": "fn main() {\n    x\n}\n",
}
COMPILED = [name for name, language in LANGUAGES.items() if language.compile]


@pytest.fixture(params=list(LANGUAGES))
def language(request):
    needs(request.param)
    return request.param


def tasks(language):
    name = LANGUAGES[language].source.format(unit="Tasks")
    return (PROGRAMS / name).read_text()


def perform(runner, language, task, first="-", second=0, **limits):
    """Runs the program of ``language`` that does what its input says."""
    limits = Limits(**{**vars(SMALL), **limits})
    return runner.another(limits=limits).run(
        tasks(language), stdin=f"{task} {first} {second}\n", language=language
    )


def test_a_program_reads_its_input_and_prints(runner, language):
    result = perform(runner, language, "sum", 2, 40)
    assert (result.status, result.stage, result.exit_code) == ("ok", "run", 0), result.stderr
    assert (result.stdout, result.stderr) == ("42\n", "")


def test_the_exit_status_is_the_programs(runner, language):
    result = perform(runner, language, "fail")
    assert (result.status, result.stage, result.exit_code) == ("error", "run", 3)
    assert (result.stdout, result.stderr) == ("", "failing\n")


def test_the_compilers_message_names_the_line(runner, language):
    result = runner.another(limits=SMALL).run(BROKEN[language], language=language)
    assert result.status == "error"
    assert result.stage == ("compile" if language in COMPILED else "run")
    assert result.exit_code not in (0, None)
    lines = (f":{line}" for line in (2, 3)), (f"line {line}" for line in (2, 3))
    assert any(line in result.stderr for group in lines for line in group), result.stderr


def test_an_endless_loop_has_its_time_and_no_more(runner, language):
    result = perform(runner, language, "spin", wall_seconds=0.7)
    assert (result.status, result.stage) == ("timeout", "run")
    assert 0.7 <= result.wall_seconds < 5


def test_memory_is_limited(runner, language):
    result = perform(runner, language, "hoard")
    assert (result.status, result.stage) == ("memory", "run"), result.stderr
    assert "hoarded" not in result.stdout


def test_neither_our_files_nor_the_network_are_there(confined, language, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        result = perform(confined, language, "look", secret, server.getsockname()[1])
    assert (result.status, result.stdout) == ("ok", "looked\n"), result.stderr


@pytest.mark.parametrize(
    ("language", "program"),
    [
        ("c++", '#include "SECRET"\nint main() {}\n'),
        ("rust", 'const TEXT: i32 = include_str!("SECRET"); fn main() {}'),
    ],
)
def test_a_compiler_cannot_read_our_files(confined, language, program, tmp_path):
    needs(language)
    secret = tmp_path / "secret"
    secret.write_text("hidden text\n")
    program = program.replace("SECRET", str(secret))
    result = confined.another(limits=SMALL).run(program, language=language)
    assert (result.status, result.stage) == ("error", "compile")
    assert "hidden" not in result.stderr
    assert "No such file" in result.stderr


def test_a_compiler_has_a_time_of_its_own(runner):
    needs("c++")
    result = perform(runner, "c++", "sum", compile_seconds=0.1)
    assert (result.status, result.stage) == ("timeout", "compile")


def test_a_crash_is_named_by_its_signal(runner):
    needs("c++")
    program = "#include <csignal>\nint main() { std::raise(SIGSEGV); }"
    result = runner.another(limits=SMALL).run(program, language="c++")
    assert (result.status, result.stage) == ("killed", "run")
    assert (result.exit_code, result.signal) == (None, 11)


def test_files_lie_beside_the_program_and_warnings_are_dropped(runner):
    needs("c++")
    program = (
        '#warning unheard\n#include "a/value.h"\n#include <cstdio>\nint main() { puts(TEXT); }'
    )
    files = {"a/value.h": '#define TEXT "given"'}
    result = runner.another(limits=SMALL).run(program, files=files, language="c++")
    assert (result.stdout, result.stderr) == ("given\n", "")


@pytest.mark.parametrize("language", ["bash", "go"])  # one whose runtime catches the signal
def test_the_cpu_limit_is_a_timeout(runner, language):
    needs(language)
    result = perform(runner, language, "spin", cpu_seconds=1.0)
    assert (result.status, result.signal) == ("timeout", 24)


def test_a_program_that_kills_its_parent_ends_itself(runner):
    result = runner.run("kill -9 $PPID; sleep 5; echo on", language="bash")
    assert (result.status, result.stdout) == ("killed", "")


def test_what_it_leaves_running_does_not_delay_the_answer(runner):
    result = runner.another(limits=SMALL).run("setsid sleep 60 & echo done", language="bash")
    assert (result.status, result.stdout) == ("ok", "done\n")
    assert result.wall_seconds < 15


def test_signals_are_those_that_programs_expect(runner):
    result = runner.run("yes | head -n 1; echo ${PIPESTATUS[0]}", language="bash")
    assert result.stdout == "y\n141\n"  # 128 + SIGPIPE, which Python has ignored


def test_a_file_in_the_place_of_the_program_is_refused(runner):
    with pytest.raises(InputError, match=r"main\.sh.*rename"):
        runner.run("", files={"./main.sh": ""}, language="bash")


def test_an_unknown_language_is_refused_with_those_known(runner):
    with pytest.raises(InputError, match="python, bash, "):
        runner.run("", language="cobol")


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A host on which only what lies in the directory returned is found."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    find.cache_clear()
    yield tmp_path
    find.cache_clear()


def test_tools_that_are_missing_are_named(bare):
    with pytest.raises(InputError, match="no javac on this host"):
        find("java")
    assert "java" not in available()
    assert "python" in available()


def test_a_wrapper_of_a_tool_is_not_taken_for_it(bare):
    wrapper = bare / "javac"
    wrapper.write_text("#!/bin/sh\n")
    wrapper.chmod(0o755)
    with pytest.raises(InputError, match="put the directory of javac itself first in PATH"):
        find("java")


@pytest.mark.parametrize(
    ("program", "unit", "main"),
    [
        ("class A { void main() {} }", "Main", "A"),
        ("public class A { public static void main(String[] a) {} }", "A", "A"),
        ("class A {} public final class B { }  class C { void main() {} }", "B", "C"),
        ("package a.b; public interface A { static void main(String[] a) {} }", "A", "a.b.A"),
        ("class A { public static class B { void main() {} } }", "Main", "Main"),
        ("// public class A {\n/* public class B { */ class C { void main() {} }", "Main", "C"),
        ("class A { String s = \"}\"; char c = '}'; void main() {} }", "Main", "A"),
        ('class A { String s = """\n"} \\""" }""";  void main() {} }', "Main", "A"),
        ("void main() {}", "Main", "Main"),
        ("", "Main", "Main"),
    ],
)
def test_java_names_are_those_of_the_program(program, unit, main):
    assert java.names(program) == {"unit": unit, "main": main}


@pytest.mark.parametrize(
    "text", ["/*", '"""\\', '\\"', "'\\", "public ", "package a.", "class ", "{", "/", "void "]
)
def test_java_names_are_found_in_any_text_at_once(text):
    assert java.names(text * 300_000)["unit"]  # quadratic time would be hours


DEVICES = {
    "bash": "read line < /dev/stdin; echo $line > /dev/stdout; echo 2 > /dev/stderr; cat <(echo 3)",
    "javascript": """
        const { readFileSync, writeFileSync } = require("fs");
        writeFileSync("/dev/stdout", readFileSync("/dev/stdin", "utf8"));
        writeFileSync("/dev/stderr", "2\\n");
        console.log(3);
    """,
}


@pytest.mark.parametrize("language", list(DEVICES))
def test_streams_can_be_opened_by_their_names(runner, language):
    needs(language)
    result = runner.another(limits=SMALL).run(DEVICES[language], stdin="1\n", language=language)
    assert (result.stdout, result.stderr) == ("1\n3\n", "2\n")


def test_a_program_sees_its_own_processes_only(confined):
    needs("bash")
    sandbox = confined.another(limits=SMALL)
    seen = sandbox.run("echo /proc/[0-9]*; ls /proc", language="bash").stdout.split()
    assert "/proc/1" in seen
    assert len(seen) < 12
    assert not {"kcore", "sys", "meminfo"} & set(seen)


def test_a_run_may_use_less_time_on_a_cpu_than_others(runner):
    needs("bash")
    result = runner.another(limits=SMALL).run(
        "while :; do :; done", language="bash", cpu_seconds=1.0
    )
    assert result.status == "timeout"
