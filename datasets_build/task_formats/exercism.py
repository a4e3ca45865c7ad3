"""Exercism's Python track: one row an exercise, made of its folder.

A row has ``slug``, ``docs``, ``stub``, ``solution_file``, ``example``, ``tests`` and
``extra_files`` (contents by name). The tests are a file of ``unittest`` classes, which scores; its
first test method alone is public.
"""

import ast
from typing import Any

from datasets_build.instruct import conversation_row
from datasets_build.task_formats.optional import optional_texts
from ocijax.errors import InputError
from ocijax.judge.fields import field
from ocijax.judge.task import CodeTest, Suite, Task

_ASK = "\n\nAnswer with the whole file in one Python code block."


def exercism_task(row: dict[str, Any]) -> Task:
    """The task of one exercise.

    Raises:
      InputError: a field is missing or of the wrong type, or the tests do not parse.
    """
    slug, file, example, tests = (
        field(row, "its", name, str) for name in ("slug", "solution_file", "example", "tests")
    )
    module = file.removesuffix(".py")
    # The tests import the program by the name of its file; what helps them may look for that name
    # in tracebacks, where the sandbox has another.
    head = f"import sys, program; sys.modules[{module!r}] = program\n"
    files = {
        name: content.replace(f'"{module}"', '"program"')
        for name, content in optional_texts(row, "extra_files").items()
    }
    head += 'sys.path.insert(0, "")\n' if files else ""
    stub = field(row, "its", "stub", str)
    docs = optional_texts(row, "docs")
    if not docs:
        raise InputError("its docs are missing")
    shown = {"slug": slug, "docs": docs, "stub": stub, "example": example}
    asked = conversation_row(shown)["messages"]
    return Task(
        task_id=slug,
        instruction=asked[0]["content"] + _ASK,
        public_tests=tuple(CodeTest(head + code, files=files) for code in _first_method(tests)),
        suites={"base": Suite((CodeTest(head + tests, files=files),))},
        metadata={"solution": example},
    )


def _first_method(tests: str) -> list[str]:
    """The file without its test methods but the first; nothing where it has no other."""
    try:
        classes = [one for one in ast.parse(tests).body if isinstance(one, ast.ClassDef)]
    except SyntaxError as error:
        raise InputError(f"its tests do not parse: {error}") from error
    methods = [
        one
        for made in classes
        for one in made.body
        if isinstance(one, ast.FunctionDef) and one.name.startswith("test")
    ]
    lines = tests.split("\n")
    for method in methods[:0:-1]:
        first = min([method.lineno, *(one.lineno for one in method.decorator_list)])
        indent = " " * method.col_offset
        lines[first - 1 : method.end_lineno] = [f"{indent}pass"]
    return ["\n".join(lines)] if len(methods) > 1 else []
