"""Trajectories as the page shows them: turn by turn, each program beside the one before it."""

import difflib
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from ocijax.evaluate.store import Row
from ocijax.report.error_kinds import error_kind
from ocijax.report.measures import solved_all

OUTCOMES = (
    "solved by the first answer",
    "solved by a later answer",
    "passed shown tests only",
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
    ``None`` where it passed the tests that end a task), ``diff`` to the program before it as lines
    of a unified diff, where there was one, ``program`` where it does not stand in the text as it
    is, and ``unseen``, what its run gave where the model was not told so. Of a judged sample there
    is the program alone.
    """
    if not row.get("attempts") or "conversation" not in row:
        return [{"role": "program", "text": row["program"]}]
    attempts = row["attempts"]
    messages = row["conversation"]["messages"]
    answers = [place for place, one in enumerate(messages) if one["role"] == "assistant"]
    shown = [_answer(attempts, number) for number in range(len(attempts))]
    asked = [_message(one) for one in messages[: answers[0] if answers else None]]
    if len(answers) == len(attempts):
        return _told(messages, shown)
    # Rows of runs before it was recorded do not say how they were asked.
    if asked and not attempts[-1].get("afresh", True):
        return [*asked[:-1], *_grown(asked[-1]["text"], shown)]
    return [*asked, *shown]  # the last conversation was kept


def _told(messages: Sequence[Row], shown: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of a conversation that has every answer."""
    told, answers = [], iter(shown)
    for place, message in enumerate(messages):
        if message["role"] != "assistant":
            told.append(_message(message))
            continue
        answer = next(answers)
        following = messages[place + 1]["content"] if place + 1 < len(messages) else None
        if following is not None and answer.get("unseen") == following:
            del answer["unseen"]
        told.append(answer)
    return told


def _grown(message: str, shown: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of a user message that held all that was said before the last answer.

    What stands between two answers in it was told in between; where they cannot be found in it, it
    comes first as it is, and the feedback that is in it where that was told.
    """
    between = _between(message, [one["text"] for one in shown[:-1]])
    if between is None:
        feedback = [one.get("unseen", "") for one in shown[:-1]]
        between = [message, *(one if one in message else "" for one in feedback)]
    told = []
    for text, answer, following in zip_longest(between, shown, between[1:], fillvalue=""):
        if text:
            told.append({"role": "user", "text": text})
        if following and answer.get("unseen", "").strip() in following:
            answer.pop("unseen", None)
        told.append(answer)
    return told


def _between(message: str, replies: Sequence[str]) -> list[str] | None:
    """What is before, between and behind replies; ``None`` where they are not all there."""
    parts = []
    for reply in replies:
        before, found, message = message.partition(reply) if reply else ("", "", "")
        if not found:
            return None
        parts.append(before.strip())
    return [*parts, message.strip()]


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
