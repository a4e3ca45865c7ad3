"""Run folders, as eval.run writes them, of attempts that are said in a word each."""

import json
from pathlib import Path

import pytest

from ocijax.judge.task import TestCase
from ocijax.refine.feedback import failure_feedback, load_feedback, no_code_feedback
from ocijax.sandbox.result import Outcome

FEEDBACK = {
    "pass": "",
    "none": no_code_feedback(),
    "wrong": failure_feedback("f", TestCase((1,), 2), Outcome("ok", 3, "")),
    "slow": failure_feedback("f", TestCase((1,), 2), Outcome("timeout", None, "")),
    "syntax": load_feedback(
        Outcome("error", None, '  File "<program>", line 1\nSyntaxError: invalid syntax')
    ),
}


def attempt(word: str, program: str = "x = 1\n", tokens: int = 10) -> dict:
    """How an answer that ended so is kept."""
    return {
        "reply": f"So:\n```python\n{program}```" if word != "none" else "I do not know.",
        "program": program if word != "none" else None,
        "passed": word == "pass",
        "feedback": FEEDBACK[word],
        "generated_tokens": tokens,
        "finish_reason": "stop",
    }


def row(task_id: str, words: str, base: bool, plus: bool | None = None, sample: int = 0) -> dict:
    """A result whose attempts ended as the words say, in ``execution``'s form.

    Each program differs from the one before.
    """
    attempts = [
        attempt(word, f"x = {place}\ny = 0\n") for place, word in enumerate(words.split(), start=1)
    ]
    messages = [{"role": "user", "content": f"Solve {task_id}."}]
    for place, one in enumerate(attempts):
        if place:
            messages.append({"role": "user", "content": attempts[place - 1]["feedback"]})
        messages.append({"role": "assistant", "content": one["reply"]})
    return judged(task_id, base, plus, sample) | {
        "program": attempts[-1]["program"] or "",
        "rounds": len(attempts),
        "generated_tokens": 10 * len(attempts),
        "public_tests": 1,
        "attempts": attempts,
        "conversation": {"id": task_id, "messages": messages},
    }


def judged(task_id: str, base: bool, plus: bool | None = None, sample: int = 0) -> dict:
    """A result of a samples file."""
    return {
        "task_id": task_id,
        "sample": sample,
        "passed_base": base,
        "passed_plus": plus,
        "verdict": {"base": "pass" if base else "fail"},
        "program": "x = 1\n",
        "rounds": 1,
        "generated_tokens": 0,
    }


def write_run(folder: Path, rows, *, finished: bool = True, answers=(), **settings) -> Path:
    """A run's folder."""
    folder.mkdir(parents=True)
    known = {
        "benchmark": "adding",
        "version": "v",
        "tasks": len({one["task_id"] for one in rows}),
        "protocol": "execution",
        "model": "runs/first",
        "rounds": 2,
        "samples": 1,
    }
    (folder / "settings.json").write_text(json.dumps(known | settings))
    (folder / "results.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    (folder / "answers.jsonl").write_text("".join(json.dumps(one) + "\n" for one in answers))
    if finished:
        (folder / "summary.json").write_text("[]")
    return folder


@pytest.fixture
def four(tmp_path) -> Path:
    """A folder of one run: solved at once, repaired, not solved, solved for the base tests only."""
    rows = [
        row("t/1", "pass", True, True),
        row("t/2", "wrong pass", True, True),
        row("t/10", "syntax wrong", False, False),
        row("t/9", "slow pass", True, False),
    ]
    return write_run(tmp_path / "four", rows)
