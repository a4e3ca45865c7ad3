r"""Makes evalplus.json: EvalPlus 0.3.1's own verdicts on right and wrong programs.

    pip install --no-deps evalplus==0.3.1
    pip install numpy psutil termcolor tqdm appdirs datasets fire wget tempdir multipledispatch \
        rich tree-sitter tree-sitter-python
    python tests/golden/make_evalplus.py HumanEvalPlus.jsonl MbppPlus.jsonl

Each program is a canonical solution whose output is changed in one way. HumanEval/32 is left out:
this version can never pass it.
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

TASKS = {
    "humaneval": [0, 2, 4, 7, 22, 45, 99, 148],
    "mbpp": [2, 7, 88, 124, 233, 252, 419, 429, 558, 580, 581, 590, 737, 769],
}

CHANGES = {
    "none": "result",
    "nothing": "None",
    "raises": "1 / 0",
    "tuple": "tuple(result) if isinstance(result, list) else result",
    "list": "list(result) if isinstance(result, (tuple, set)) else result",
    "float": "float(result) if isinstance(result, int) else result",
    "nudged": "result + 1e-9 if isinstance(result, float) else result",
    "off": "result + 1e-3 if isinstance(result, (int, float)) else result",
    "reversed": "result[::-1] if isinstance(result, (str, list, tuple)) else result",
    "zero": "0",
}
"""What becomes of the ``result`` of the canonical solution."""

WRAPPER = """

_canonical = {name}


def {name}(*arguments):
    result = _canonical(*arguments)
    return {change}
"""


def verdicts(dataset: str, problem: dict) -> list[dict]:
    """EvalPlus's verdicts on every changed program of a problem."""
    name = problem["entry_point"]
    canonical = problem["prompt"] + problem["canonical_solution"]
    suites = {}
    for suite in ("base", "plus"):
        inputs = problem[f"{suite}_input"]
        expected, seconds = trusted_exec(
            canonical, inputs, name, record_time=True, output_not_none=name in NOT_NONE
        )
        suites[suite] = inputs, expected, seconds
    rows = []
    for change, expression in CHANGES.items():
        program = canonical + WRAPPER.format(name=name, change=expression)
        row = {"task_id": problem["task_id"], "change": change, "program": program}
        for suite, (inputs, expected, seconds) in suites.items():
            row[suite], _ = untrusted_check(
                dataset, program, inputs, name, expected, problem["atol"], seconds, fast_check=True
            )
        rows.append(row)
    return rows


NOT_NONE = MBPP_OUTPUT_NOT_NONE_TASKS

if __name__ == "__main__":
    problems = {"humaneval": get_human_eval_plus(), "mbpp": get_mbpp_plus()}
    prefix = {"humaneval": "HumanEval", "mbpp": "Mbpp"}
    rows = [
        row
        for dataset, numbers in TASKS.items()
        for number in numbers
        for row in verdicts(dataset, problems[dataset][f"{prefix[dataset]}/{number}"])
    ]
    target = Path(__file__).with_name("evalplus.json")
    target.write_text(json.dumps(rows, indent=1) + "\n")
    print(f"{target}: {len(rows)} programs")
