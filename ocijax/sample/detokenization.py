"""Incremental detokenisation: the text of an answer while its tokens come, as far as it is certain.

Text is certain once no further token can change it. Until then held back are bytes that may be a
character's first half, what may be the beginning of a stop string, and what may be a part of what
the template has around answers, white space for instance. What is certain is not looked at again,
so that a token takes no longer in a long answer than in a short one.
"""

from collections.abc import Sequence

from ocijax.template import Template
from ocijax.template.rendering import overlap
from ocijax.tokenizer import Tokenizer

_HALF = "\N{REPLACEMENT CHARACTER}"


class AnswerText:
    """An answer's tokens, and in parts its text, without end-of-turn token or stop string.

    Args:
      tokenizer: the model's.
      template: the model's.
      stop: strings before the first of which the text ends.

    Attributes:
      tokens: those added, up to the one that completes a stop string.
      stopped: whether one is complete.
    """

    def __init__(self, tokenizer: Tokenizer, template: Template, stop: Sequence[str] = ()):
        self._tokenizer = tokenizer
        self._template = template
        self._stop = stop
        self._open: list[int] = []  # the last tokens, where they end with half a character
        self._taken = 0  # how many of their characters were taken
        self._held = ""  # of what was taken, the text that is not certain
        self._begun = False  # whether any is
        self.tokens: list[int] = []
        self.stopped = False

    def add(self, tokens: Sequence[int]) -> str:
        """Adds tokens, up to the one that completes a stop string; none may be complete yet.

        Returns:
          The text that has become certain.
        """
        text = self._held + self._characters(tokens).removesuffix(_HALF)
        if self._stopping(text):
            return self._add_last(tokens)
        self.tokens += tokens
        self._open, self._taken = self._half_character([*self._open, *tokens])
        begun = max((overlap(text, string) for string in self._stop), default=0)
        certain, rest = self._template.certain_answer(text[: len(text) - begun], self._begun)
        self._held = rest + text[len(text) - begun :]
        self._begun |= bool(certain)
        return certain

    def end(self) -> str:
        """The rest of the text, once all tokens were added."""
        return self._template.answer_text(self._held + self._characters([]), self._begun)

    def _add_last(self, tokens: Sequence[int]) -> str:
        """Adds tokens of which one completes a stop string, but none behind it."""
        for count in range(1, len(tokens) + 1):
            text = self._held + self._characters(tokens[:count]).removesuffix(_HALF)
            if stopping := self._stopping(text):
                break
        self.tokens += tokens[:count]
        self.stopped = True
        self._open, self._taken, self._held = [], 0, ""
        return self._template.answer_text(text[: min(map(text.find, stopping))], self._begun)

    def _stopping(self, text: str) -> list[str]:
        return [string for string in self._stop if string in text]

    def _characters(self, new: Sequence[int]) -> str:
        """What comes after the characters that were taken."""
        return self._tokenizer.decode([*self._open, *new])[self._taken :]

    def _half_character(self, tokens: list[int]) -> tuple[list[int], int]:
        """The last few tokens, if they end with half a character; how many they have before it."""
        text = self._tokenizer.decode(tokens)
        if text.endswith(_HALF):
            for first in reversed(range(len(tokens))):
                last = self._tokenizer.decode(tokens[first:])
                # Otherwise the half character begins before.
                if last and text == self._tokenizer.decode(tokens[:first]) + last:
                    return tokens[first:], len(last) - 1
        return [], 0
