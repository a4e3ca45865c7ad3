"""The tests that a task's own prompt shows: doctests of HumanEval, assertions of MBPP."""

import ast
import doctest

from ocijax.judge.task import TestCase


def prompt_tests(prompt: str, entry_point: str) -> tuple[TestCase, ...]:
    """Calls of the entry point in a prompt, with the literal that each must give.

    Read are ``>>> f(1, 2)`` followed by its result in the docstring of ``entry_point``, and lines
    ``assert f(1, 2) == 3``; what is no literal is passed over.
    """
    tests = [*_doctests(prompt, entry_point), *_assertions(prompt, entry_point)]
    return tuple({repr(test): test for test in tests}.values())


def _doctests(prompt: str, entry_point: str) -> list[TestCase]:
    try:
        module = ast.parse(prompt)
    except SyntaxError:
        return []
    tests = []
    for node in ast.walk(module):
        if not isinstance(node, ast.FunctionDef) or node.name != entry_point:
            continue
        try:
            examples = doctest.DocTestParser().get_examples(ast.get_docstring(node) or "")
        except ValueError:  # malformed examples
            continue
        tests += [
            _case(f"{example.source.strip()} == ({example.want.strip()})", entry_point)
            for example in examples
            if example.want.strip()
        ]
    return [test for test in tests if test]


def _assertions(prompt: str, entry_point: str) -> list[TestCase]:
    lines = [line.strip() for line in prompt.splitlines()]
    tests = [
        _case(line.removeprefix("assert "), entry_point)
        for line in lines
        if line.startswith("assert ")
    ]
    return [test for test in tests if test]


def _case(comparison: str, entry_point: str) -> TestCase | None:
    """The test that ``f(...) == literal`` is, or ``None`` where it is nothing of the kind."""
    try:
        tree = ast.parse(comparison, mode="eval").body
        match tree:
            case ast.Compare(
                left=ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]),
                ops=[ast.Eq()],
                comparators=[expected],
            ) if name == entry_point:
                return TestCase(
                    tuple(ast.literal_eval(argument) for argument in arguments),
                    ast.literal_eval(expected),
                )
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return None
    return None
