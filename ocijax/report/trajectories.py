"""Trajectories as the page shows them: turn by turn, each program beside the one before it."""

import difflib
from collections.abc import Sequence
from typing import Any

from ocijax.evaluate.store import Row
from ocijax.report.error_kinds import error_kind
from ocijax.report.measures import solved_all

OUTCOMES = (
    "solved by the first answer",
    "solved by a later answer",
    "passed public tests only",
    "failed",
)
"""How a trajectory can end."""


def outcome(row: Row) -> str:
    """One of `OUTCOMES`."""
    if solved_all(row):
        return OUTCOMES[0 if row["rounds"] <= 1 else 1]
    attempts = row.get("attempts")
    return OUTCOMES[2 if attempts and attempts[-1]["passed"] else 3]


def turns(row: Row) -> list[dict[str, Any]]:
    """What was said and what became of it, in order.

    A turn is a message (``role``, ``text``), or one answer of the model with ``role``
    ``"answer"``: its ``number`` from 1, ``text``, ``tokens``, ``finish``, ``error`` (its kind,
    ``None`` where it passed the public tests), ``diff`` to the program before it as lines of a
    unified diff, where there was one, ``program`` where it does not stand in the text as it is, and
    ``unseen``, what its run gave where the model was not told so. Of a judged sample there is the
    program alone.
    """
    if not row.get("attempts") or "conversation" not in row:
        return [{"role": "program", "text": row["program"]}]
    attempts = row["attempts"]
    messages = row["conversation"]["messages"]
    answers = [place for place, one in enumerate(messages) if one["role"] == "assistant"]
    shown = [_answer(attempts, number) for number in range(len(attempts))]
    if len(answers) != len(attempts):  # each was asked afresh, and the last conversation was kept
        asked = [_message(one) for one in messages[: answers[0] if answers else None]]
        return [*asked, *shown]
    told = []
    for place, message in enumerate(messages):
        if message["role"] != "assistant":
            told.append(_message(message))
            continue
        answer = shown[len([one for one in answers if one < place])]
        following = messages[place + 1]["content"] if place + 1 < len(messages) else None
        if following is not None and answer.get("unseen") == following:
            del answer["unseen"]
        told.append(answer)
    return told


def _message(message: Row) -> dict[str, Any]:
    return {"role": message["role"], "text": message["content"]}


def _answer(attempts: Sequence[Row], number: int) -> dict[str, Any]:
    attempt = attempts[number]
    answer = {
        "role": "answer",
        "number": number + 1,
        "text": attempt["reply"],
        "tokens": attempt["generated_tokens"],
        "finish": attempt["finish_reason"],
        "error": error_kind(attempt),
    }
    if attempt["feedback"]:
        answer["unseen"] = attempt["feedback"]
    program = attempt["program"]
    if program is not None:
        if program.strip() not in attempt["reply"]:
            answer["program"] = program
        before = [
            (place, one["program"])
            for place, one in enumerate(attempts[:number], start=1)
            if one["program"] is not None
        ]
        if before:
            place, previous = before[-1]
            answer["diff"] = diff(previous, program, f"answer {place}", f"answer {number + 1}")
    return answer


def diff(before: str, after: str, before_name: str, after_name: str) -> list[str]:
    """The lines of a unified diff; none where the programs are the same."""
    return list(
        difflib.unified_diff(
            before.splitlines(), after.splitlines(), before_name, after_name, lineterm=""
        )
    )
