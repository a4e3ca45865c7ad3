"""The tests that a task's own prompt shows, in the forms in which HumanEval and MBPP write them.

Prose is read generously: whoever calls this runs the reference on what it finds, and keeps what
holds.
"""

import ast
import re
from collections.abc import Iterator
from typing import Any

from ocijax.judge.task import TestCase

_GIVES = re.compile(
    r"""(?x) [ \t]* (?: \# [ \t]* )?
    (?: ={1,3}> | ➞ | -> | ={1,3} | (?:should[ ])? returns? | should[ ]be )
    [ \t]* (?: =[ \t]* )?"""
)
_NEXT_LINE = re.compile(r"[ \t]*(?:#.*)?\n[ \t]*")
_END_OF_ROUND = re.compile(r",\s*\d+\s*\)")
_CALL = re.compile(r"(?<!def )\b(\w+)(?=\()")
_SENTENCE = re.compile(r"\b[Ff]or (.+?)\s*the (?:output|result) should be (.+)")
_BLOCK = re.compile(r"\bInput:(.+?)\bOutput:[ \t]*(.+)", re.DOTALL)
_NAME = re.compile(r"(?:^|(?<=[\s,]))[A-Za-z_]\w*\s*[=:]\s*")
_WORD = re.compile(r"-?[\w.]*\w(?![\w(])")
_TEXT = re.compile(r"""'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*\"""")
_OPERATOR = re.compile(r"\s*[-+*/]")
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_CONSTANTS = {"true": True, "false": False, "none": None}


def prompt_tests(prompt: str, entry_point: str) -> tuple[TestCase, ...]:
    """Calls of the entry point that a prompt shows, with what each must give.

    Read are assertions (``==``, also of sets, ``math.isclose``, plain and negated calls),
    ``>>> f(1)`` with its result in the next line, ``f(1) == 2`` with ``=>``, ``➞``, ``returns`` and
    the like in the place of ``==``, ``For n = 1 the output should be 2``, and ``Input: n = 1``
    followed by ``Output: 2``. A word without quotes counts as text.
    """
    tests = [*_assertions(prompt, entry_point)]
    if not tests:
        tests = [*_calls(prompt, entry_point), *_sentences(prompt), *_blocks(prompt)]
    if not tests:  # some prompts call the function by another name
        tests = [*_calls(prompt, None)]
    return tuple({repr(test): test for test in tests}.values())


def _assertions(prompt: str, entry_point: str) -> Iterator[TestCase]:
    for line in prompt.splitlines():
        try:
            [statement] = ast.parse(line.strip()).body
            if isinstance(statement, ast.Assert):
                call, expected = _asserted(statement.test)
                if call.func.id == entry_point:
                    yield TestCase(tuple(map(ast.literal_eval, call.args)), expected)
        except (SyntaxError, ValueError, TypeError, AttributeError):
            continue  # no assertion, or one of another form


def _asserted(condition: ast.expr) -> tuple[ast.Call, Any]:
    """The call that an assertion is about, and the value that it must have."""
    match condition:
        case ast.Compare(
            left=ast.Call(func=ast.Name(id="set"), args=[ast.Call() as call]),
            ops=[ast.Eq()],
            comparators=[ast.Call(func=ast.Name(id="set"), args=[expected])],
        ):
            return call, ast.literal_eval(expected)
        case ast.Compare(left=ast.Call() as call, ops=[ast.Eq()], comparators=[expected]):
            return call, ast.literal_eval(expected)
        case ast.Call(func=ast.Attribute(attr="isclose"), args=[ast.Call() as call, expected]):
            return call, ast.literal_eval(expected)
        case ast.Call() as call:
            return call, True
        case ast.UnaryOp(op=ast.Not(), operand=ast.Call() as call):
            return call, False
    raise ValueError("an assertion of another form")


def _calls(prompt: str, entry_point: str | None) -> Iterator[TestCase]:
    for called in _CALL.finditer(prompt):
        line = prompt[prompt.rfind("\n", 0, called.start()) + 1 : called.start()]
        if entry_point not in (None, called[1]) or "#" in line:
            continue
        try:
            source, rest = _read(prompt[called.end() :])
            rest = rest[closed.end() :] if (closed := _END_OF_ROUND.match(rest)) else rest
            gives = _GIVES.match(rest) or (">>>" in line and _NEXT_LINE.match(rest))
            if gives:
                yield TestCase(_arguments(source[1:-1]), _expected(rest[gives.end() :]))
        except ValueError:
            continue  # not followed by a value


def _sentences(prompt: str) -> Iterator[TestCase]:
    for given, expected in _SENTENCE.findall(prompt):
        try:
            yield TestCase(_named(given), _expected(expected))
        except ValueError:
            continue


def _blocks(prompt: str) -> Iterator[TestCase]:
    for part in re.split(r"(?=\bInput:)", prompt):
        if block := _BLOCK.match(part):
            try:
                given = block[1].strip()
                arguments = _named(given) if _NAME.search(given) else _arguments(given)
                yield TestCase(arguments, _expected(block[2]))
            except ValueError:
                continue


def _named(text: str) -> tuple[Any, ...]:
    """The values of ``a = 1, b = 2``, whatever stands between."""
    return tuple(_value(_read(text[name.end() :])[0]) for name in _NAME.finditer(text))


def _arguments(text: str) -> tuple[Any, ...]:
    return _value(f"({text},)") if text.strip() else ()


def _expected(text: str) -> Any:
    source, rest = _read(text)
    line, _, _ = rest.partition("\n")
    if _OPERATOR.match(line) and " = " in line:  # 2 + 3 = 5
        source, _ = _read(line.rpartition(" = ")[2])
    return _value(source)


def _read(text: str) -> tuple[str, str]:
    """Splits off the one value that ``text`` begins with.

    Raises:
      ValueError: it begins with none.
    """
    at, closing = 0, []
    while at < len(text):
        whole = _TEXT.match(text, at) or (not closing and _WORD.match(text, at))
        character = text[at]
        if whole:
            at = whole.end()
        elif closing and character == closing[-1]:
            closing.pop()
            at += 1
        elif character in _BRACKETS:
            closing.append(_BRACKETS[character])
            at += 1
        elif closing:
            at += 1
        else:
            break
        if not closing:
            return text[:at], text[at:]
    raise ValueError("no value")


def _value(source: str) -> Any:
    try:
        tree = _Unquoted().visit(ast.parse(source.strip(), mode="eval"))
        return ast.literal_eval(tree)
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError("no literal") from error


class _Unquoted(ast.NodeTransformer):
    def visit_Name(self, node: ast.Name) -> ast.Constant:
        return ast.Constant(_CONSTANTS.get(node.id.lower(), node.id))
