"""Incremental detokenisation: the text of an answer while its tokens come, as far as it is certain.

Text is certain once no further token can change it. Until then held back are bytes that may be a
character's first half, what may be the beginning of a stop string, and what may be a part of what
the template has around answers, white space for instance.
"""

from collections.abc import Sequence

from ocijax.template import Template
from ocijax.template.rendering import overlap
from ocijax.tokenizer import Tokenizer

_HALF = "\N{REPLACEMENT CHARACTER}"


def answer_text(
    tokens: Sequence[int], tokenizer: Tokenizer, template: Template, stop: Sequence[str] = ()
) -> str:
    """What the assistant said, of all tokens of its answer, without end-of-turn token.

    Args:
      tokens: what was generated.
      tokenizer: the model's.
      template: the model's.
      stop: strings before the first of which the text ends.
    """
    text = tokenizer.decode(tokens)
    return template.answer_text(text[: _first(stop, text)])


class AnswerText:
    """What `answer_text` gives, in parts.

    Args:
      tokenizer: the model's.
      template: the model's.
      stop: strings before the first of which the text ends.

    Attributes:
      tokens: how many were added.
      ended: whether the last one was.
    """

    def __init__(self, tokenizer: Tokenizer, template: Template, stop: Sequence[str] = ()):
        self._tokenizer = tokenizer
        self._template = template
        self._stop = stop
        self._text = ""  # of whole characters
        self._open: list[int] = []  # the tokens after them
        self._told = 0
        self.tokens = 0
        self.ended = False

    def add(self, tokens: Sequence[int], last: bool = False) -> str:
        """Adds tokens; gives the text that has become certain.

        Args:
          tokens: the next ones.
          last: no others will follow, so all is certain.
        """
        self.tokens += len(tokens)
        self.ended = last
        self._open += tokens
        text = self._tokenizer.decode(self._open)
        if not text.endswith(_HALF):
            self._text += text
            self._open, text = [], ""
        text = self._text + (text if last else text.removesuffix(_HALF))
        answer = self._final(text) if last else self._certain(text)
        new = answer[self._told :]
        self._told += len(new)
        return new

    def _final(self, text: str) -> str:
        return self._template.answer_text(text[: _first(self._stop, text)])

    def _certain(self, text: str) -> str:
        begun = max((overlap(text, string) for string in self._stop), default=0)
        return self._template.certain_answer(
            text[: min(_first(self._stop, text), len(text) - begun)]
        )


def _first(stop: Sequence[str], text: str) -> int:
    """Where the first stop string begins, or the end of the text."""
    return min((text.find(string) for string in stop if string in text), default=len(text))
