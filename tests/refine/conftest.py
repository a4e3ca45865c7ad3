"""Small tasks, answers to them, and a generator that keeps what it was asked."""

from collections.abc import Callable, Sequence

import pytest

from ocijax.conversation import Conversation
from ocijax.judge.task import Suite, Task, TestCase
from ocijax.sample.settings import Completion, SamplingSettings
from ocijax.sandbox.sandbox import Sandbox

ENTRY_POINT = "solve"


def make_task(number: int, public: bool = True) -> Task:
    """Add ``number`` to an argument."""
    tests = (TestCase((0,), number, f"adds {number}"),) if public else ()
    return Task(
        task_id=f"add/{number}",
        instruction=f"Write solve(x) that adds {number}.",
        entry_point=ENTRY_POINT,
        public_tests=tests,
        suites={"base": Suite((TestCase((10,), 10 + number),))},
        metadata={"solution": f"def {ENTRY_POINT}(x):\n    return x + {number}\n"},
    )


def answer(amount: int) -> str:
    """A reply whose program adds ``amount``."""
    return f"So:\n```python\ndef {ENTRY_POINT}(x):\n    return x + {amount}\n```"


class Answers:
    """Answers by what ``reply`` makes of a conversation, and keeps every call; see `Generator`."""

    def __init__(self, reply: Callable[[Conversation], str]):
        self._reply = reply
        self.calls: list[tuple[list[Conversation], SamplingSettings]] = []
        self.forgotten: list[Conversation] = []

    def generate(
        self, conversations: Sequence[Conversation], settings: SamplingSettings
    ) -> list[Completion]:
        """One token for each character, so that tokens can be counted."""
        self.calls.append((list(conversations), settings))
        replies = [self._reply(conversation) for conversation in conversations]
        return [Completion(reply, tuple(map(ord, reply)), "stop") for reply in replies]

    def forget(self, conversation: Conversation) -> None:
        """Keeps which were forgotten."""
        self.forgotten.append(conversation)

    @property
    def asked(self) -> list[Conversation]:
        """All conversations of all calls."""
        return [one for conversations, _ in self.calls for one in conversations]


def turn(conversation: Conversation) -> int:
    """Answers given before."""
    return sum(message.role == "assistant" for message in conversation.messages)


def number_of(conversation: Conversation) -> int:
    """Which task it is."""
    return int(conversation.id.split("/")[1])


@pytest.fixture(scope="session")
def sandbox() -> Sandbox:
    return Sandbox()
