"""Code out of a reply."""

import ast
import re
import warnings
from collections.abc import Container, Iterator

_FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})(.*)", re.DOTALL)
_MARKS = {
    "python": frozenset({"python", "python3", "py", "py3"}),
    "bash": frozenset({"bash", "sh", "shell"}),
    "c++": frozenset({"c++", "cpp", "cc", "cxx"}),
    "go": frozenset({"go", "golang"}),
    "java": frozenset({"java"}),
    "javascript": frozenset({"javascript", "js", "node", "nodejs", "mjs"}),
    "rust": frozenset({"rust", "rs"}),
}
"""How fenced blocks are marked, by language of the sandbox."""


def extract_code(reply: str, entry_point: str = "", language: str = "python") -> str | None:
    """The program that a reply gives, or ``None`` where it gives none.

    Fenced blocks marked as the language count; where there are none, blocks without a mark; where
    there are none either, the whole reply if it is to be Python and is. Of several blocks it is the
    last one that defines ``entry_point``, or else the last one: an example of use may follow the
    program. A block that is never closed, as in a reply cut off at its longest, ends with the
    reply.

    Args:
      reply: what the model said, Markdown or bare Python.
      entry_point: name that the program is to define; empty where any program will do.
      language: of the program.
    """
    marks = _MARKS[language]
    blocks = list(_fenced_blocks(reply, marks))
    for candidates in (
        [code for mark, code in blocks if mark in marks],
        [code for mark, code in blocks if not mark],
    ):
        candidates = [code for code in candidates if code.strip()]
        if candidates:
            defining = [code for code in candidates if defines(code, entry_point, language)]
            return (defining or candidates)[-1]
    if blocks or language != "python":
        return None
    return reply if reply.strip() and is_python(reply) else None


def defines(code: str, name: str, language: str = "python") -> bool:
    """Whether the first words of some line define ``name``; the code need not be whole."""
    if language != "python":
        return bool(name) and any(_declares(line, name) for line in code.splitlines())
    name = re.escape(name)
    definition = rf"^(?:(?:async +)?def +{name}[ \t]*[(\[]|class +{name}\b|{name}[ \t]*(:|=(?!=)))"
    return bool(name) and re.search(definition, code, re.MULTILINE) is not None


def _declares(line: str, name: str) -> bool:
    """Whether a line gives ``name`` parameters or a value after other words, as a use does not."""
    name = re.escape(name)
    if re.search(rf"\bclass[ \t]+{name}\b", line):
        return True
    found = re.search(rf"\b{name}[ \t]*[(=<{{]", line)
    if found is None:
        return False
    before = line[: found.start()]
    if not before.strip():  # of functions only Bash has no word before them
        return re.match(rf"\s*{name}[ \t]*\([ \t]*\)[ \t]*\{{", line) is not None
    return re.search(r"[=(;\"'.]|<<|\breturn\b", before) is None


def _fenced_blocks(reply: str, marks: Container[str]) -> Iterator[tuple[str, str]]:
    """Language and content of each fenced block, in order, as CommonMark has them.

    Except that a fence with one of ``marks`` always opens a block: the one before was never closed.
    """
    opening: re.Match[str] | None = None
    lines: list[str] = []
    for line in reply.split("\n"):
        fence = _FENCE.fullmatch(line.rstrip("\r"))
        if opening is None:
            # Backticks after an opening fence make it a piece of code in a line of text.
            if fence and "`" not in fence[3]:
                opening, lines = fence, []
        elif fence and _ends(fence, opening, marks):
            yield _language(opening), _joined(lines)
            opening, lines = (fence, []) if fence[3].strip() else (None, [])
        else:
            # The content of a fence that is indented is indented with it.
            indent = len(line) - len(line.lstrip(" \t"))
            lines.append(line[min(indent, len(opening[1])) :])
    if opening is not None:
        yield _language(opening), _joined(lines)


def _ends(fence: re.Match[str], opening: re.Match[str], marks: Container[str]) -> bool:
    """Whether a fence is as long as the one that opened, no deeper, and bare or so marked."""
    deeper = len(fence[1]) - len(opening[1]) > 3
    bare = not fence[3].strip() or _language(fence) in marks
    return fence[2].startswith(opening[2]) and bare and not deeper


def _language(opening: re.Match[str]) -> str:
    words = opening[3].replace("{", " ").replace("}", " ").split()
    return words[0].lstrip(".").lower() if words else ""


def _joined(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def is_python(text: str) -> bool:
    """Whether a text can be parsed as a program."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are about the reply's code, not ours
            ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
