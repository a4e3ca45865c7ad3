"""LiveCodeBench's code generation problems (github.com/LiveCodeBench/LiveCodeBench).

A row has ``question_id``, ``question_title``, ``question_content``, ``starter_code`` and, each as
JSON in a text, ``public_test_cases``, ``private_test_cases`` (lists of ``input``, ``output`` and
``testtype``, ``stdin`` or ``functional``) and ``metadata``, whose ``func_name`` is the function of
functional tests. Later releases pack the private tests: base64 of a zlib stream of a pickled text
of JSON, which is read by an unpickler that makes texts alone.

As there, public and private tests score, a test may take 6 s, a returned tuple counts as a list,
and programs find common modules imported. Unlike there, white space at the beginning of lines
counts, and numbers printed in another way are wrong.
"""

import base64
import io
import json
import pickle
import zlib
from typing import Any

from datasets_build.task_formats.optional import optional_text
from ocijax.errors import InputError
from ocijax.judge.fields import field
from ocijax.judge.task import StdinTest, Suite, Task, Test, TestCase

_MODULES = (
    *("string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random"),
    *("statistics", "itertools", "functools", "operator", "io", "sys", "json"),
)
PREAMBLE = (
    "".join(f"from {module} import *\n" for module in (*_MODULES, "builtins", "typing"))
    + f"import {', '.join(_MODULES)}\nsys.setrecursionlimit(50000)\n"
)
"""What programs find imported."""

_SECONDS = 1.5  # a quarter of what a test may take there
_LARGEST = 1 << 30

_ASK = {
    "stdin": "Write a Python program that reads the input and prints the output. Answer with the"
    " whole program in one Python code block.",
    "functional": "Begin with this, and answer with the whole program in one Python code block:"
    "\n\n```python\n{starter}\n```",
}


def livecodebench_task(row: dict[str, Any]) -> Task:
    """The task of one problem.

    Raises:
      InputError: a field is missing or malformed, or the problem has tests of both types.
    """
    question, title, content = (
        field(row, "its", name, str)
        for name in ("question_id", "question_title", "question_content")
    )
    starter = optional_text(row, "starter_code")
    public, private = _public(row), _private(row)
    kinds = {_kind(test) for test in public + private}
    if len(kinds) != 1:
        raise InputError(f"{question}: its tests are of {len(kinds)} types, not of one")
    [kind] = kinds
    entry_point = ""
    if kind == "functional":
        metadata = _json(field(row, "its", "metadata", str), "metadata")
        name = metadata.get("func_name") if isinstance(metadata, dict) else None
        if not isinstance(name, str):
            raise InputError(f"{question}: its metadata names no func_name")
        entry_point = f"Solution().{name}" if "class Solution" in starter else name
    shown, hidden = (tuple(map(_test, tests)) for tests in (public, private))
    ask = _ASK[kind].format(starter=starter.strip())
    return Task(
        task_id=question,
        instruction=f"{title}\n\n{content.strip()}\n\n{ask}".lstrip(),
        entry_point=entry_point,
        public_tests=shown,
        suites={
            "base": Suite(
                shown + hidden,
                oracle="equal_list",
                seconds=(_SECONDS,) * len(shown + hidden),
            )
        },
        preamble=PREAMBLE,
    )


def _public(row: dict[str, Any]) -> list[Any]:
    return _tests(field(row, "its", "public_test_cases", str), "public_test_cases")


def _private(row: dict[str, Any]) -> list[Any]:
    text = field(row, "its", "private_test_cases", str)
    if not text.lstrip().startswith("["):
        text = unpacked(text)
    return _tests(text, "private_test_cases")


class _TextOnly(pickle.Unpickler):
    """Looks up nothing, so that no object can be made: plain values alone come out."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it wants {module}.{name}")


def unpacked(packed: str) -> str:
    """The text that LiveCodeBench packed.

    Raises:
      InputError: it is something else; no code of it is run.
    """
    try:
        opened = zlib.decompressobj()
        data = opened.decompress(base64.b64decode(packed, validate=True), _LARGEST)
        if opened.unconsumed_tail:
            raise InputError("its private_test_cases are larger than 1 GiB")
        text = _TextOnly(io.BytesIO(data)).load()
    except InputError:
        raise
    except Exception as error:  # of damaged pickles they are of any kind
        raise InputError(f"its private_test_cases cannot be unpacked: {error}") from error
    if not isinstance(text, str):
        raise InputError(f"its private_test_cases hold a {type(text).__name__}, not a text")
    return text


def _tests(text: str, name: str) -> list[Any]:
    tests = _json(text, name)
    if not isinstance(tests, list):
        raise InputError(f"its {name} are no list")
    return tests


def _json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(f"its {name} are not JSON: {error}") from error


def _kind(test: Any) -> str:
    kind = test.get("testtype") if isinstance(test, dict) else None
    if not isinstance(kind, str) or kind not in _ASK:
        raise InputError(f"a test is of type {kind!r}, neither stdin nor functional")
    return kind


def _test(test: dict[str, Any]) -> Test:
    given, expected = (field(test, "a test's", name, str) for name in ("input", "output"))
    if test["testtype"] == "stdin":
        return StdinTest(given, expected)
    arguments = [_json(line, "inputs") for line in given.split("\n")]
    return TestCase(tuple(arguments), _json(expected, "outputs"))
