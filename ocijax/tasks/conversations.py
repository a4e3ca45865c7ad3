"""Conversations that write a program, see what running it gives, and repair it."""

from collections.abc import Mapping
from typing import Any

from ocijax.conversation import Conversation, Message
from ocijax.judge.compare import is_right
from ocijax.judge.task import Task
from ocijax.refine.feedback import failure_feedback
from ocijax.sandbox.result import Outcome

SOURCE = "quickstart"


def repair_conversation(
    task: Task, identifier: str, program: str, given: Mapping[Any, Any]
) -> Conversation:
    """A first answer, the feedback on it and the right answer; nothing follows a right one.

    Args:
      task: its ``metadata["solution"]`` is the right program.
      identifier: of the conversation.
      program: the first answer.
      given: what that program gave, by the numbers it was called with, as a tuple.
    """
    messages = [Message("user", task.instruction), Message("assistant", as_reply(program))]
    passed = [True]
    feedback = _feedback(task, given)
    if feedback is not None:
        solution = as_reply(task.metadata["solution"])
        messages += [Message("user", feedback), Message("assistant", solution)]
        passed = [False, True]
    return Conversation(identifier, tuple(messages), SOURCE, {"passed": passed})


def as_reply(program: str) -> str:
    """The assistant turn that gives a program."""
    return f"```python\n{program}```"


def _feedback(task: Task, given: Mapping[tuple[int, ...], Any]) -> str | None:
    """What the refinement loop says of the first public test that fails, if one does."""
    for case in task.public_tests:
        [numbers] = case.arguments
        value = given[tuple(numbers)]
        if not is_right(case, value):
            return failure_feedback(task.entry_point, case, Outcome("ok", value))
    return None
