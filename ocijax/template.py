"""Chat templates: a conversation rendered once, whole, each piece knowing its message."""

from dataclasses import dataclass

from ocijax.conversation import Conversation


@dataclass(frozen=True)
class Piece:
    """A stretch of the rendering; tokenisation is cut hard between pieces.

    Attributes:
      text: plain text, or a special token's spelling where ``special``.
      special: ``text`` is one special token.
      message: index of the message it belongs to.
      completion: the model writes it: an assistant's content and its end-of-turn token.
    """

    text: str
    special: bool
    message: int
    completion: bool


class Template:
    """One chat format; `DEEPSEEK_CODER` and `LLAMA2` are ready, `get_template` finds by name."""

    name: str
    end_of_turn: str
    """Spelling of the special token that ends an assistant turn; the sampler stops on it."""

    def render(self, conversation: Conversation) -> list[Piece]:
        """All pieces, in order; joined they are the training text.

        A conversation that ends with a user turn ends with the generation prompt.
        """
        raise NotImplementedError
