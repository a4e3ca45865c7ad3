"""Puts an answer and the test code of its language into one program.

The answer comes first, so that what compilers and tracebacks say names its own lines: a preamble
moves them only where nothing can be done about it.
"""

import re

_GO_PACKAGE = re.compile(r"^package[ \t]+\w+[ \t]*;?", re.MULTILINE)
_GO_IMPORT = re.compile(r"^import[ \t]*(?:\(([^)]*)\)|([^\n(]+))", re.MULTILINE)
_JAVA_PUBLIC = re.compile(
    r"^public[ \t]+(?=(?:(?:final|abstract)[ \t]+)*(?:class|interface|enum|record)\b)", re.MULTILINE
)

EMPTY_TESTS = {"c++": "int main() {}\n", "go": "func main() {}\n", "rust": "fn main() {}\n"}
"""What makes a whole program of an answer without a main function, where that is needed."""


def assembled(language: str, preamble: str, answer: str, tests: str = "") -> str:
    """The whole program.

    Go has its imports at the head only and each once, so those of all parts are joined there. Java
    has one public class in a file, which here is that of the tests where there are any.

    Args:
      language: as `ocijax.sandbox.Sandbox.run` takes it.
      preamble: comes before the answer.
      answer: source.
      tests: source that goes on from the answer.
    """
    if language == "go":
        return _go(preamble, answer, tests)
    if language == "java" and tests:
        answer = _JAVA_PUBLIC.sub("", answer)
    if preamble:
        restart = "#line 1\n" if language == "c++" else ""
        answer = f"{preamble.rstrip()}\n{restart}{answer}"
    return f"{answer.rstrip()}\n\n{tests}" if tests else answer


def _go(*parts: str) -> str:
    imports: dict[str, None] = {}

    def taken(found: re.Match[str]) -> str:
        lines = (found[1] or found[2]).replace(";", "\n").split("\n")
        imports.update(dict.fromkeys(filter(None, (_go_import(line) for line in lines))))
        return "\n" * found[0].count("\n")

    preamble, answer, tests = (
        _GO_IMPORT.sub(taken, _GO_PACKAGE.sub("", part, count=1)) for part in parts
    )
    head = f"package main; import ({'; '.join(imports)}); "
    return f"{head}{answer.rstrip()}\n\n{preamble}\n{tests}"


def _go_import(line: str) -> str:
    return line.partition("//")[0].strip()
