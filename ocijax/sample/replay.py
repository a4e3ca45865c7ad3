"""A generator that replays recorded answers, for tests and for evaluation without a model."""

from collections.abc import Mapping, Sequence

from ocijax.conversation import Conversation
from ocijax.errors import InputError
from ocijax.sample.settings import Completion, SamplingSettings


class Replay:
    """Answers a conversation with what was recorded under its id; see `Generator`.

    The answer taken is that of the conversation's turn: the first where no assistant has spoken,
    the second after one answer, and so on.

    Args:
      answers: answers by conversation id, in the order of their turns.
    """

    def __init__(self, answers: Mapping[str, Sequence[str]]):
        self._answers = answers

    def generate(
        self, conversations: Sequence[Conversation], settings: SamplingSettings
    ) -> list[Completion]:
        """The recorded completions; their tokens are not known and left empty.

        Raises:
          InputError: nothing is recorded for a conversation's turn.
        """
        del settings
        return [Completion(self._recorded(one), (), "stop") for one in conversations]

    def forget(self, conversation: Conversation) -> None:
        """Nothing is held."""

    def _recorded(self, conversation: Conversation) -> str:
        turn = sum(message.role == "assistant" for message in conversation.messages)
        recorded = self._answers.get(conversation.id, ())
        if turn >= len(recorded):
            raise InputError(
                f"conversation {conversation.id}: {len(recorded)} answers are recorded, "
                f"none for turn {turn + 1}"
            )
        return recorded[turn]
