"""What happens to a task under each protocol, turn by turn, as files that one can read.

With ``OCIJAX_WRITE_TRAJECTORIES`` set they are written anew, to be read before they are kept.
"""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from ocijax.evaluate.evaluation import evaluate
from ocijax.evaluate.protocols import PROTOCOLS
from ocijax.judge.benchmark import Benchmark
from ocijax.judge.task import Suite, Task, TestCase
from ocijax.prompts.prompts import PRESETS, load_prompts
from ocijax.sample.settings import SamplingSettings
from ocijax.sandbox.sandbox import Sandbox
from tests.refine.conftest import Answers, number_of

FOLDER = Path(__file__).parent / "trajectories"

PROMPT = 'def solve(x):\n    """Add something to x.\n    >>> solve(0)\n    {}\n    """\n'

FIRST = {
    1: "```python\ndef solve(x):\n    return x\n```",
    2: "```python\ndef solve(x):\n    return x + 2 if x > 0 else 1 // x\n```",
    3: "I would add 3.",
    4: "```python\ndef add(x):\n    return x + 4\n```",
    5: "```python\ndef solve(x):\n    return x + 5 if x == int(x) else 'ä'\n```",
}
"""Wrong in five ways: everywhere, by an exception, without program, by name, on a plus test."""

ADVICE = "It does not add the right number. Look at the output! Change the sum. And hurry."


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    return Sandbox()


def task(number: int) -> Task:
    return Task(
        task_id=f"add/{number}",
        instruction=f"Add {number} to x.",
        entry_point="solve",
        prompt=PROMPT.format(number),
        public_tests=(TestCase((0,), number, f"adds {number}"),),
        suites={
            "base": Suite((TestCase((10,), 10 + number), TestCase((0,), number))),
            "plus": Suite((TestCase((-1,), number - 1), TestCase((2.5,), 2.5 + number))),
        },
        metadata={"solution": f"def solve(x):\n    return x + {number}\n"},
    )


BENCHMARK = Benchmark("humaneval", "humaneval+", "1", [task(number) for number in FIRST])


def model() -> Answers:
    """Wrong when it is asked for the first time, right from then on."""
    asked: Counter[int] = Counter()

    def reply(conversation):
        number = number_of(conversation)
        asked[number] += 1
        right = f"```python\ndef solve(x):\n    return x + {number}\n```"
        return FIRST[number] if asked[number] == 1 else right

    return Answers(reply)


@pytest.mark.parametrize("prompts", PRESETS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_trajectory_is_the_one_in_the_file(protocol, prompts, tmp_path, sandbox):
    how = PROTOCOLS[protocol]
    adviser = Answers(lambda conversation: ADVICE)
    evaluate(
        BENCHMARK,
        protocol,
        model(),
        sandbox,
        SamplingSettings(temperature=0.5),
        tmp_path,
        prompts=load_prompts(prompts),
        adviser=adviser if how.advised else None,
        budget={(one.task_id, 0): 100 for one in BENCHMARK.tasks} if how.budgeted else None,
        # The order of calls is that of the tasks.
        at_once=1,
    )
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").open()]
    told = [_readable(row) for row in sorted(rows, key=lambda row: row["task_id"])]
    told += [_turns(one) for one in adviser.asked]
    path = FOLDER / f"{protocol}.{prompts}.json"
    if os.environ.get("OCIJAX_WRITE_TRAJECTORIES"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    assert told == json.loads(path.read_text())


def _readable(row: dict) -> dict:
    """A row, its texts as lists of lines."""
    attempts = [
        {
            "reply": attempt["reply"].split("\n"),
            "passed": attempt["passed"],
            "feedback": attempt["feedback"].split("\n"),
        }
        for attempt in row["attempts"]
    ]
    turns = [
        {message["role"]: message["content"].split("\n")}
        for message in row["conversation"]["messages"]
    ]
    verdict = {key: row[key] for key in ("task_id", "passed_base", "passed_plus", "rounds")}
    return verdict | {"attempts": attempts, "conversation": turns}


def _turns(conversation) -> dict:
    return {"adviser is asked": conversation.messages[0].content.split("\n")}
