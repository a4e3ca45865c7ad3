"""Code out of a reply."""

import ast
import re
import warnings
from collections.abc import Iterator

_FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})(.*)", re.DOTALL)
_PYTHON = frozenset({"python", "python3", "py", "py3"})


def extract_code(reply: str, entry_point: str = "") -> str | None:
    """The program that a reply gives, or ``None`` where it gives none.

    Fenced blocks marked as Python count; where there are none, blocks without a mark; where there
    are none either, the whole reply if it is Python. Of several blocks it is the last one that
    defines ``entry_point``, or else the last one: an example of use may follow the program. A block
    that is never closed, as in a reply cut off at its longest, ends with the reply.

    Args:
      reply: what the model said, Markdown or bare Python.
      entry_point: function that the program is to define; empty where any program will do.
    """
    blocks = list(_fenced_blocks(reply))
    for candidates in (
        [code for language, code in blocks if language in _PYTHON],
        [code for language, code in blocks if not language],
    ):
        candidates = [code for code in candidates if code.strip()]
        if candidates:
            defining = [code for code in candidates if defines(code, entry_point)]
            return (defining or candidates)[-1]
    return reply if not blocks and reply.strip() and is_python(reply) else None


def defines(code: str, name: str) -> bool:
    """Whether the first words of some line define ``name``; the code need not be whole."""
    definition = rf"^(?:(?:async +)?def +|class +)?{re.escape(name)}[ \t]*[(=:]"
    return bool(name) and re.search(definition, code, re.MULTILINE) is not None


def _fenced_blocks(reply: str) -> Iterator[tuple[str, str]]:
    """Language and content of each fenced block, in order, as CommonMark has them.

    Except that a fence marked as Python always opens a block: the one before was never closed.
    """
    opening: re.Match[str] | None = None
    lines: list[str] = []
    for line in reply.split("\n"):
        fence = _FENCE.fullmatch(line.rstrip("\r"))
        if opening is None:
            # Backticks after an opening fence make it a piece of code in a line of text.
            if fence and "`" not in fence[3]:
                opening, lines = fence, []
        elif fence and _ends(fence, opening):
            yield _language(opening), _joined(lines)
            opening, lines = (fence, []) if fence[3].strip() else (None, [])
        else:
            # The content of a fence that is indented is indented with it.
            indent = len(line) - len(line.lstrip(" \t"))
            lines.append(line[min(indent, len(opening[1])) :])
    if opening is not None:
        yield _language(opening), _joined(lines)


def _ends(fence: re.Match[str], opening: re.Match[str]) -> bool:
    """Whether a fence is as long as the one that opened, no deeper, and bare or marked Python."""
    deeper = len(fence[1]) - len(opening[1]) > 3
    bare = not fence[3].strip() or _language(fence) in _PYTHON
    return fence[2].startswith(opening[2]) and bare and not deeper


def _language(opening: re.Match[str]) -> str:
    words = opening[3].replace("{", " ").replace("}", " ").split()
    return words[0].lstrip(".").lower() if words else ""


def _joined(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def is_python(text: str) -> bool:
    """Whether Python can parse it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are about the reply's code, not ours
            ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
