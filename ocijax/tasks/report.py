"""What the quickstart says at its end: how far guessing gets, what was gained, some repairs."""

from collections.abc import Iterable, Mapping, Sequence

from ocijax.conversation import Conversation
from ocijax.evaluate.summary import SummaryRow
from ocijax.judge.task import Task


def guessing_ceiling(tasks: Sequence[Task]) -> float:
    """The share of tasks that one guess solves at best: the mean of 1/k, for k readings."""
    return sum(1 / task.metadata["readings"] for task in tasks) / len(tasks)


def describe_gains(rows: Mapping[str, SummaryRow]) -> str:
    """What ``execution`` gains over each other protocol in percentage points, on one line.

    Args:
      rows: one for each protocol, by its name.
    """
    rate = rows["execution"].pass_rate
    others = [
        f"{100 * (rate - row.pass_rate):+.1f} points over {protocol}"
        for protocol, row in rows.items()
        if protocol != "execution"
    ]
    return f"Reading the execution gains {', '.join(others)}."


def choose_repaired(
    conversations: Iterable[Conversation], tasks: Iterable[Task], count: int
) -> list[Conversation]:
    """Up to ``count`` conversations whose first answer failed and whose last passed every test.

    They are about things as different as possible: another family of tasks each, where there are
    enough of them.

    Args:
      conversations: of `ocijax.evaluate.conversations.trajectories_to_conversations`.
      tasks: what they are about.
      count: how many.
    """
    families = {task.task_id: task.metadata["family"] for task in tasks}
    repaired: dict[str, list[Conversation]] = {}
    for conversation in conversations:
        passed = conversation.metadata["passed"]
        if passed[-1] and not passed[0]:
            family = families[conversation.metadata["task_id"]]
            repaired.setdefault(family, []).append(conversation)
    ranked = [(place, family) for family, group in repaired.items() for place in range(len(group))]
    return [repaired[family][place] for place, family in sorted(ranked, key=lambda one: one[0])][
        :count
    ]


def to_markdown(conversation: Conversation) -> str:
    """A conversation for people to read; what the user says is quoted."""
    turns = []
    for message in conversation.messages:
        text = message.content.strip()
        if message.role != "assistant":
            text = "\n".join(f"> {line}  " for line in text.split("\n"))
        turns.append(text)
    return "\n\n".join([f"## {conversation.id}", *turns]) + "\n"
