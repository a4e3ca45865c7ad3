"""Code out of a reply."""

import ast
import re

_FENCE = re.compile(r"^[ \t]*```[ \t]*([\w+#.-]*)[^\n`]*$", re.MULTILINE)
_PYTHON = frozenset({"python", "py", "python3"})


def extract_code(reply: str) -> str | None:
    """The program that a reply gives, or ``None`` where it gives none.

    The last fenced block marked as Python, or else the last fenced block of any kind, or else the
    whole reply where it is Python. A last block that is never closed, as in a reply cut off by its
    length, ends with the reply.
    """
    blocks = _fenced_blocks(reply)
    marked = [code for language, code in blocks if language.lower() in _PYTHON]
    for candidates in (marked, [code for _, code in blocks]):
        if candidates:
            return candidates[-1] if candidates[-1].strip() else None
    return reply if reply.strip() and _is_python(reply) else None


def _fenced_blocks(reply: str) -> list[tuple[str, str]]:
    """Language and content of each fenced block, in order."""
    blocks: list[tuple[str, str]] = []
    opening: re.Match[str] | None = None
    for fence in _FENCE.finditer(reply):
        if opening is None:
            opening = fence
        elif not fence[1]:
            blocks.append((opening[1], reply[opening.end() + 1 : fence.start()]))
            opening = None
        else:
            # A marked fence opens: the block before it was never closed.
            blocks.append((opening[1], reply[opening.end() + 1 : fence.start()]))
            opening = fence
    if opening is not None:
        blocks.append((opening[1], reply[opening.end() + 1 :]))
    return blocks


def _is_python(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
