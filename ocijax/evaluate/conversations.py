"""What evaluation produces, training can eat: results as conversations."""

from collections.abc import Iterable, Iterator

from ocijax.conversation import Conversation, Message
from ocijax.evaluate.store import Row

SOURCE = "refinement"


def trajectories_to_conversations(rows: Iterable[Row]) -> Iterator[Conversation]:
    """The conversations of rows of ``results.jsonl``; of a samples file's there are none.

    Where each attempt was asked afresh, each gives a conversation; where the prompts have answers
    become part of one message, there is the last one alone. ``metadata["passed"]`` says of every
    answer whether its program passed the tests that end a task, and the scoring ones where it was
    scored, as the loss-weight policy ``passed`` wants it. A conversation ends before an empty
    answer.
    """
    for row in rows:
        if "conversation" in row:
            yield from _conversations(row)


def _conversations(row: Row) -> Iterator[Conversation]:
    attempts = row["attempts"]
    passed = [attempt["passed"] for attempt in attempts]
    scored = [index for index, attempt in enumerate(attempts) if attempt["program"] is not None]
    if scored:
        passed[scored[-1]] = bool(row["passed_base"] and row["passed_plus"] is not False)
    messages = tuple(
        Message(message["role"], message["content"]) for message in row["conversation"]["messages"]
    )
    answers = [index for index, message in enumerate(messages) if message.role == "assistant"]
    name = f"{row['task_id']}#{row['sample']}"
    # Rows of runs before it was recorded do not say how they were asked.
    if len(answers) == len(attempts) or not attempts[-1].get("afresh", True):
        told = [(name, messages, passed[-len(answers) :])]
    else:
        asked = messages[: answers[0]]
        told = [
            (f"{name}.{number}", (*asked, Message("assistant", attempt["reply"])), [ok])
            for number, (attempt, ok) in enumerate(zip(attempts, passed, strict=True))
        ]
    for identifier, turns, verdicts in told:
        whole = _before_empty_answer(turns)
        count = sum(message.role == "assistant" for message in whole)
        if count:
            metadata = {"task_id": row["task_id"], "passed": verdicts[:count]}
            yield Conversation(identifier, whole, SOURCE, metadata)


def _before_empty_answer(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    for index, message in enumerate(messages):
        if message.role == "assistant" and not message.content.strip():
            # The user turn that it answers goes with it.
            return messages[: index - 1]
    return messages
