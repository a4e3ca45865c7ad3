"""Makes evalplus.json: EvalPlus 0.3.1's own verdicts on right and wrong programs.

    pip install --no-deps evalplus==0.3.1
    pip install numpy psutil termcolor tqdm appdirs fire wget tempdir tree-sitter tree-sitter-python
    python tests/golden/make_evalplus.py HumanEvalPlus.jsonl MbppPlus.jsonl

Most programs are a canonical solution whose ``result`` is changed by one expression; each is there
for one rule of EvalPlus. (Mbpp/164 and 295, which have rules too, are not in MBPP+ 0.2.0.)
"""

import json
import os
import sys
from pathlib import Path

os.environ["HUMANEVAL_OVERRIDE_PATH"], os.environ["MBPP_OVERRIDE_PATH"] = sys.argv[1:3]

from evalplus.data.humaneval import get_human_eval_plus  # noqa: E402
from evalplus.data.mbpp import get_mbpp_plus  # noqa: E402
from evalplus.eval import untrusted_check  # noqa: E402
from evalplus.eval._special_oracle import MBPP_OUTPUT_NOT_NONE_TASKS  # noqa: E402
from evalplus.gen.util import trusted_exec  # noqa: E402

FLOATS_NUDGED = "[x + 1e-9 if isinstance(x, float) else x for x in result]"

CHANGES = {
    # Equal is right, whatever the type, but for subscripts of another kind.
    "HumanEval/0": [
        "result",
        "int(result)",
        "str(result)",
        "not result",
        "result if len(repr(arguments)) < 60 else None",
    ],
    "HumanEval/7": [
        "tuple(result)",
        "result[::-1]",
        "iter(result)",
        "type('Texts', (list,), {})(result)",
        "[type('Text', (str,), {})(text) for text in result]",
    ],
    "HumanEval/22": ["[float(x) for x in result]", "[str(x) for x in result]", "set(result)"],
    "HumanEval/26": ["arguments[0].clear() or result", "arguments[0]"],
    "HumanEval/148": ["list(result)", "result"],
    "Mbpp/6": ["int(result)", "result or None"],
    "Mbpp/88": ["dict(result)", "list(result.items())", "dict(reversed(result.items()))"],
    "Mbpp/115": ["result", "not result"],
    "Mbpp/237": ["dict(reversed(result.items()))", "{str(key): result[key] for key in result}"],
    "Mbpp/429": ["list(result)", "result"],
    "Mbpp/580": ["list(result)", "result"],
    "Mbpp/722": ["result", "list(result)"],
    # Near is right where the task has a tolerance ...
    "HumanEval/2": [
        "result + 9e-7",
        "result + 2e-6",
        "complex(result)",
        "__import__('fractions').Fraction(result)",
        "str(result)",
        "__import__('numpy').float64(result)",
        "__import__('numpy').float64(result) + 1e-9",
        "type('Number', (float,), {})(result + 1e-9)",
    ],
    "HumanEval/4": ["result * (1 + 5e-8)", "result * (1 + 1e-5)", "[result]"],
    "Mbpp/120": ["float(result)", "result + 5e-5 if isinstance(result, float) else result"],
    "Mbpp/124": ["result + 9e-5", "result + 2e-4"],
    # ... or floats are expected, and from there on to the end of the suite.
    "HumanEval/30": [FLOATS_NUDGED, "result"],
    "HumanEval/33": [FLOATS_NUDGED],
    "HumanEval/35": ["result + 1e-9 if isinstance(result, float) else result", "result + 1e-9"],
    "HumanEval/45": ["result + 9e-7", "result + 2e-6 if len(repr(arguments)) > 7 else result"],
    "HumanEval/47": ["float(result)", "result + 1e-9", "result + (result > 10**8)"],
    "HumanEval/71": ["round(result, 3)", "result + 1e-9 if result > 0 else result"],
    "HumanEval/137": ["result", "result + 1e-9 if isinstance(result, float) else result"],
    "Mbpp/252": ["list(result)", "tuple(x + 1e-9 for x in result)"],
    "Mbpp/458": ["result + (isinstance(result, int) and result > 10**12)", "result + 1"],
    "Mbpp/590": ["list(result)", "(result[0], result[1] + 1e-9)", "result"],
    "Mbpp/615": ["[x + 1e-9 for x in result]", "tuple(result)"],
    "Mbpp/726": [f"tuple({FLOATS_NUDGED})"],
    # Some outputs are compared as sets ...
    "Mbpp/2": [
        "tuple(reversed(result))",
        "list(result) * 2",
        "dict.fromkeys(result)",
        "(*result, 10**6)",
        "result[:-1]",
        "None",
    ],
    "Mbpp/7": ["result[::-1]", "result[1:]"],
    "Mbpp/111": ["set(result)", "result[:1]"],
    "Mbpp/140": ["list(result)", "list(result) + [None]"],
    "Mbpp/232": ["sorted(result)", "result[0]"],
    "Mbpp/249": ["result * 3", "[]"],
    "Mbpp/579": [f"tuple({FLOATS_NUDGED})", FLOATS_NUDGED, "set(result)"],
    "Mbpp/769": [FLOATS_NUDGED, "result[::-1]", f"{FLOATS_NUDGED}[::-1]"],
    # ... of others it only counts whether there is one ...
    "Mbpp/737": [
        "1 if result else None",
        "bool(result)",
        "'yes' if result else 'no'",
        "not result",
    ],
    "Mbpp/787": ["result is not None", "result is None", "None"],
    "Mbpp/794": ["'' if result else None", "0 if result else False", "result or 0"],
    # ... and some tasks can be understood in two ways.
    "Mbpp/558": [
        "sum(abs(int(a) - int(b)) for a, b in zip(*(str(x).zfill(30) for x in arguments)))",
        "result + 1",
        "str(result)",
    ],
    "Mbpp/581": [
        "round(arguments[0]**2 + 2 * arguments[0] * (arguments[0]**2 / 4 + arguments[1]**2)**0.5)",
        "result + 1",
        "None",
    ],
}
"""What is returned instead of the canonical solution's ``result``."""

CHANGED = """

_canonical = {name}


def {name}(*arguments):
    result = _canonical(*arguments)
    return {change}
"""

PROGRAMS = {
    "HumanEval/53": [
        "",
        "def add(x, y) return x + y",
        "add = 3",
        "add = lambda *numbers: sum(numbers)",
        "def add(x, y, z): return x + y",
        "def add(x, y): raise SystemExit(0)",
        "def add(x, y): return input()",
        "def add(x, y):\n    print(x)\n    return x + y",
        "def add(x, y):\n    while True: pass",
        "import sys\nsys.exit(0)\ndef add(x, y): return x + y",
        "import os\nos._exit(0)\ndef add(x, y): return x + y",
        "calls = []\ndef add(x, y):\n    calls.append(x)\n    return x + y + len(calls) // 106",
        "def add(x, y): return x + y\nif __name__ == '__main__': raise ValueError",
        "def add(x, y): return x + y\nassert add(1, 1) == 3",
    ],
}
"""Whole programs: how they begin and end."""

DIFFERENCES = {
    # No program passes this task.
    "HumanEval/32": ["result"],
    # A result that says it is equal, and one that was read where the tests are.
    "HumanEval/53": [
        "type('Any', (), {'__eq__': lambda self, other: True})()",
        "next(frame.f_locals['expected'][frame.f_locals['i']] for frame in"
        " [__import__('sys')._getframe(1)])",
    ],
}
"""Changes that our verdict differs on, and shall."""


def verdicts(dataset: str, problem: dict, programs: dict[str, str]) -> list[dict]:
    """EvalPlus's verdicts on programs for a problem."""
    name = problem["entry_point"]
    rows = [{"task_id": problem["task_id"], "what": what} for what in programs]
    for suite in ("base", "plus"):
        inputs = problem[f"{suite}_input"]
        expected, seconds = trusted_exec(
            problem["prompt"] + problem["canonical_solution"],
            inputs,
            name,
            record_time=True,
            output_not_none=name in MBPP_OUTPUT_NOT_NONE_TASKS,
        )
        for row, program in zip(rows, programs.values(), strict=True):
            row[suite], _ = untrusted_check(
                dataset, program, inputs, name, expected, problem["atol"], seconds, fast_check=True
            )
    return [
        row | {"program": program} for row, program in zip(rows, programs.values(), strict=True)
    ]


def changed(problem: dict, changes: list[str]) -> dict[str, str]:
    """The programs of a problem's changes."""
    canonical = problem["prompt"] + problem["canonical_solution"]
    return {
        change: canonical + CHANGED.format(name=problem["entry_point"], change=change)
        for change in changes
    }


if __name__ == "__main__":
    tables = {"same": (CHANGES, PROGRAMS), "different": (DIFFERENCES, {})}
    found = {kind: [] for kind in tables}
    for dataset, problems in {"humaneval": get_human_eval_plus(), "mbpp": get_mbpp_plus()}.items():
        for task_id, problem in problems.items():
            for kind, (changes, whole) in tables.items():
                programs = changed(problem, changes.get(task_id, []))
                programs |= {program: program for program in whole.get(task_id, [])}
                found[kind] += verdicts(dataset, problem, programs) if programs else []
    target = Path(__file__).with_name("evalplus.json")
    target.write_text(json.dumps(found, indent=1) + "\n")
    print(target, {kind: len(rows) for kind, rows in found.items()})
