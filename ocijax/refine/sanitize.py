"""Code out of a reply as EvalPlus takes it, today and when the paper was written.

Both may leave out parts of a program that it needs, and where EvalPlus does, so do they: these are
for scores that are to be compared with published ones. `ocijax.refine.extract` is better at it.
Tests hold the two to the results of EvalPlus's own code.
"""

import ast
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate

from ocijax.refine.extract import extract_code, is_python

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

_TAB = " " * 8
_LINE_END = re.compile("\r\n|\r|\n")  # as Python counts lines
_END_OF_LINE = re.compile(r"[ \t]*(?:;[ \t]*)?(?:#.*)?")


def evalplus_sanitize(reply: str, entry_point: str = "") -> str | None:
    """The program that EvalPlus 0.3.1 makes of a reply, or ``None`` where it makes none.

    Of the longest run of lines that is Python (two lines at least, blank ones not counted) it is
    the imports and the definitions that ``entry_point`` leads to by the names in them; without
    those, the run as it is. Definitions are functions with a ``return``, classes and variables at
    the outermost level, the first of each name. What is decorated is none, nor is an import from
    ``__future__`` one.

    Args:
      reply: what the model said.
      entry_point: function that the program is to define; empty where all definitions count.
    """
    code = _longest_python(reply)
    kept = _needed_code(code, entry_point) if is_python(code) else ""
    program = kept.strip() or code
    return program if program.strip() else None


def paper_sanitize(reply: str, entry_point: str) -> str | None:
    """The program that EvalPlus's sanitizer made of a reply until May 2024, or ``None``.

    From the first block fenced by bare marks or ``python`` that has ``def entry_point``, or else
    the whole reply, it keeps what comes before that function, its definitions that return, and
    functions and imports after it. (Kept in EvalPlus 0.3.1 as a legacy of regular expressions.)

    Args:
      reply: what the model said.
      entry_point: function that the program is to define.
    """
    head = f"def {entry_point}"
    text = f"\n{reply.strip()}".replace("\n```python\n", "\n```\n")
    text = next((block for block in text.split("\n```\n") if head in block), text)
    before, *definitions = re.split(rf"{head}\s*\(", text)
    returning = [one for one in definitions if "    return " in one.partition("\ndef")[0]]
    after = "".join(f"{head}({one}" for one in returning)
    first, *functions = (before + _without_outer_statements(after, f"{head}(")).split("\ndef ")
    whole = [
        function
        for function in functions
        if function.strip().startswith((f"{entry_point} ", f"{entry_point}("))
        or is_python(f"\ndef {function}")
    ]
    return "\ndef ".join([first, *whole]).strip() or None


Sanitizer = Callable[[str, str], str | None]
"""``(reply, entry point) -> program``, ``None`` where there is none."""

SANITIZERS: dict[str, Sanitizer] = {
    "fenced": extract_code,
    "evalplus": evalplus_sanitize,
    "paper": paper_sanitize,
}
"""The ways to find a program, by name."""


def _longest_python(text: str) -> str:
    """The first of the runs of lines with most lines that are not blank, or else the first line."""
    lines = text.split("\n")
    written = [0, *accumulate(bool(line.strip()) for line in lines)]
    for count in range(written[-1], 0, -1):
        for start, line in enumerate(lines):
            if line[:1] in (" ", "\t") and line.strip() and not line.lstrip().startswith("#"):
                continue  # no program begins deeper; spares most of the work
            wanted = written[start] + count
            first = max(bisect_left(written, wanted), start + 2)
            for end in range(first, bisect_right(written, wanted)):
                if is_python(run := "\n".join(lines[start:end])):
                    return run
    return lines[0]


def _needed_code(code: str, entry_point: str) -> str:
    """Imports and the definitions that ``entry_point`` leads to."""
    imports: list[str] = []
    definitions: dict[str | None, tuple[str, ast.stmt]] = {}
    lines = _LINE_END.split(code)
    for node in ast.parse(code).body:
        match node:
            case ast.ImportFrom(module="__future__"):
                pass
            case ast.Import() | ast.ImportFrom():
                imports.append(_source(lines, node))
            case ast.ClassDef(name=name, decorator_list=[]):
                definitions.setdefault(name, (_whole_source(lines, node), node))
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if (
                not node.decorator_list
                and any(isinstance(one, ast.Return) for one in ast.walk(node))
            ):
                definitions.setdefault(name, (_whole_source(lines, node), node))
            case ast.Assign() | ast.AnnAssign():
                definitions.setdefault(_assigned(node), (_source(lines, node), node))
    needed = _reachable(entry_point, definitions) if entry_point else set(definitions)
    kept = [source for name, (source, _) in definitions.items() if name in needed]
    return "\n".join([*imports, *kept])


def _assigned(node: ast.Assign | ast.AnnAssign) -> str | None:
    """The name by which EvalPlus knows an assignment: its first direct part that is a name."""
    target, *others = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
    # A name in parentheses is no direct part.
    if isinstance(target, ast.Name) and target.col_offset == node.col_offset:
        return target.id
    value = None if others else node.value
    if isinstance(value, ast.Name) and value.end_col_offset == node.end_col_offset:
        return value.id
    return None


def _reachable(
    entry_point: str, definitions: dict[str | None, tuple[str, ast.stmt]]
) -> set[str | None]:
    reached: set[str | None] = {entry_point}
    left = [entry_point]
    while left:
        if (name := left.pop()) in definitions:
            found = set(_names(definitions[name][1])) - reached
            reached |= found
            left += found
    return reached


def _names(tree: ast.AST) -> Iterator[str]:
    """Every identifier in the text, attributes and keywords too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant):
            continue
        for _, value in ast.iter_fields(node):
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, str):
                    yield from item.split(".")


def _source(lines: list[str], node: ast.stmt) -> str:
    """The text of a statement."""
    text = lines[node.lineno - 1 : node.end_lineno]
    # Columns count bytes of UTF-8; the end is cut first, as a single line is begin and end.
    text[-1] = text[-1].encode()[: node.end_col_offset].decode()
    text[0] = text[0].encode()[node.col_offset :].decode()
    return "\n".join(text)


def _whole_source(lines: list[str], node: _Definition) -> str:
    """The text of a definition with the comments that follow in its block."""
    source = _source(lines, node)
    behind = lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode()
    source += _END_OF_LINE.match(behind)[0].rstrip(" \t" if "#" not in behind else "")
    if node.body[0].lineno == node.lineno:
        return source
    depth = _depth(lines[node.body[0].lineno - 1])
    passed: list[str] = []
    for line in lines[node.end_lineno :]:
        passed.append(line)
        if line.lstrip().startswith("#") and _depth(line) >= depth:
            source = "\n".join([source, *passed])
            passed.clear()
        elif line.strip():
            break
    return source


def _depth(line: str) -> int:
    blank = line[: len(line) - len(line.lstrip(" \t"))]
    return len(blank.replace("\t", _TAB))


def _without_outer_statements(code: str, head: str) -> str:
    """Without lines that are not indented, but for ``head``'s, other functions and imports.

    All ends where a docstring, an ``if`` or a ``print`` is not indented. Three spaces become four.
    """
    kept = []
    begun = False
    for line in code.splitlines():
        blank = len(line) - len(line.lstrip())
        if blank == 3:
            line = " " + line
        if not begun and line.startswith(head):
            begun = True
        elif line.startswith(('"""', "if", "print")):
            break
        elif line.strip() and not blank and not line.startswith(("def ", "import ", "from ")):
            continue
        kept.append(line)
    return "\n".join(kept)
