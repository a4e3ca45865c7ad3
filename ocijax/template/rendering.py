"""A conversation rendered once, whole, each piece knowing its message; and as tokens.

A template is data: one pattern for each kind of turn. Messages are rendered one after the other,
each alone, so adding turns never changes what stands before them; and since tokenisation is cut
between pieces, neither does it change the tokens. What the sampler is given (a conversation that
ends with a user turn, with its generation prompt) is token for token a prefix of what training
saw.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ocijax.conversation import Conversation
from ocijax.errors import InputError
from ocijax.tokenizer import Tokenizer

PLACEHOLDER = re.compile(r"\{content(\.strip\(\)|\.rstrip\(\))?\}")
"""Where a pattern has the message, as it is or without white space around or after it."""

_TRIMMED = {None: str, ".strip()": str.strip, ".rstrip()": str.rstrip}


def fill(pattern: str, content: str) -> str:
    """The pattern with the message in its place."""
    return PLACEHOLDER.sub(lambda found: _TRIMMED[found[1]](content), pattern)


def overlap(text: str, string: str) -> int:
    """How many last characters of a text are the first ones of a string, at most all of them."""
    lengths = range(min(len(text), len(string)), 0, -1)
    return next((length for length in lengths if text.endswith(string[:length])), 0)


@dataclass(frozen=True)
class Piece:
    """A stretch of the rendering; tokenisation is cut hard between pieces.

    Attributes:
      text: plain text, or a special token's spelling where ``special``.
      special: ``text`` is one special token.
      message: index of the message it belongs to; a generation prompt belongs to the answer that
        follows it, be it there or not.
      completion: the model writes it: an assistant's content and its end-of-turn token.
    """

    text: str
    special: bool
    message: int
    completion: bool


@dataclass(frozen=True)
class Template:
    """One chat format; `ocijax.template.get_template` finds one by name.

    In patterns ``{content}`` stands for the message, ``{content.strip()}`` for the message without
    the white space around it, ``{content.rstrip()}`` without that after it.

    Attributes:
      name: how flags and messages call it.
      special_tokens: spellings that are one token each; wherever a pattern has one, it is that
        token. The same spelling inside a message stays text.
      end_of_turn: the special token that ends an assistant turn; the sampler stops on it.
      user: a user turn.
      answer: what the model writes, up to and with its end-of-turn token.
      begin_of_sequence: the special token after which a text begins: where the tokenizer has a
        `Tokenizer.text_prefix`, the text after this token begins with it. Empty for none.
      start: what every rendering begins with.
      system: a system turn; ``None`` where the format has none.
      default_system: a system message for conversations without one; ``None`` for none.
      user_after_system: the user turn after a system turn, where it looks different.
      prompt: the generation prompt; empty where the user turn ends with it.
      after_answer: what follows an assistant turn before the next one; never trained.
      text_prefix: what text begins with after every special token, whatever the tokenizer says;
        ``None`` leaves it to the tokenizer.
      jinja_spellings: pairs of what patterns have and what Jinja text has in its place, where a
        Hugging Face tokenizer takes white space that is no token.
    """

    name: str
    special_tokens: tuple[str, ...]
    end_of_turn: str
    user: str
    answer: str
    begin_of_sequence: str = ""
    start: str = ""
    system: str | None = None
    default_system: str | None = None
    user_after_system: str | None = None
    prompt: str = ""
    after_answer: str = ""
    text_prefix: str | None = None
    jinja_spellings: tuple[tuple[str, str], ...] = ()

    def render(self, conversation: Conversation) -> list[Piece]:
        """All pieces, in order; joined they are the training text.

        A conversation that ends with a user turn ends with the generation prompt.

        Raises:
          InputError: the format cannot express the conversation: it has no system turn, or user
            and assistant do not take turns.
        """
        self._check(conversation)
        messages = conversation.messages
        pieces = [*self._pieces(self.start, "", 0)]
        system = messages[0].content if messages[0].role == "system" else self.default_system
        if system is not None:
            pieces += self._pieces(self.system or "", system, 0)
        after_system = system is not None and self.user_after_system is not None
        for index, message in enumerate(messages):
            if message.role == "user":
                pattern = self.user_after_system if after_system else self.user
                pieces += self._pieces(pattern, message.content, index)
                pieces += self._pieces(self.prompt, "", index + 1)
                after_system = False
            elif message.role == "assistant":
                pieces += self._pieces(self.answer, message.content, index, completion=True)
                pieces += self._pieces(self.after_answer, "", index)
        return pieces

    def answer_text(self, generated: str, begun: bool = False) -> str:
        """An assistant's message from the text the model wrote, without its end-of-turn token.

        Undoes what the answer pattern puts around the message, so that a model that writes as it
        was trained gives a message that renders to what it wrote.

        Args:
          generated: the text, or the rest of it.
          begun: whether some of the message came before it.
        """
        before, trim, after = self._around_answer(begun)
        return _TRIMMED[trim](generated.removeprefix(before).removesuffix(after))

    def certain_answer(self, generated: str, begun: bool = False) -> tuple[str, str]:
        """The beginning of `answer_text` that is the same whatever the model writes next.

        Args:
          generated: what it has written so far, or the rest of it.
          begun: whether some of the message came before it.

        Returns:
          The beginning, and the rest of ``generated``, which further text may complete.
        """
        before, trim, after = self._around_answer(begun)
        text = "" if before.startswith(generated) else generated.removeprefix(before)
        end = len(text) - overlap(text, after)
        if trim:
            end = len(text[:end].rstrip())
        certain = _TRIMMED[trim](text[:end])
        return certain, text[end:] if certain else generated

    def _around_answer(self, begun: bool) -> tuple[str, str | None, str]:
        """What comes before a message, how it is trimmed, what comes after it."""
        before, trim, after = PLACEHOLDER.split(self.answer.removesuffix(self.end_of_turn))
        if begun:
            before, trim = "", trim and ".rstrip()"
        return before, trim, after

    def special_ids(self, tokenizer: Tokenizer) -> dict[str, int]:
        """Ids of the special tokens, by spelling.

        Raises:
          InputError: the tokenizer lacks some, named in the message.
        """
        ids = {token: tokenizer.special_id(token) for token in self.special_tokens}
        missing = [repr(token) for token, index in ids.items() if index is None]
        if missing:
            raise InputError(
                f"{tokenizer.name}: the tokenizer lacks the special tokens {', '.join(missing)} of"
                f" template {self.name!r}: choose the template that belongs to it"
            )
        return {token: index for token, index in ids.items() if index is not None}

    def _check(self, conversation: Conversation) -> None:
        place = f"conversation {conversation.id}"
        roles = [message.role for message in conversation.messages]
        if roles[:1] == ["system"]:
            if self.system is None:
                raise InputError(
                    f"{place}: template {self.name!r} has no system turn: write its text into the"
                    " first user turn, or choose another template"
                )
            roles = roles[1:]
        if not roles:
            raise InputError(f"{place}: has no user turn")
        for number, role in enumerate(roles):
            due = ("user", "assistant")[number % 2]
            if role != due:
                message = number + len(conversation.messages) - len(roles)
                raise InputError(
                    f"{place}: message {message} is of the {role}, where the {due} is due: user and"
                    " assistant take turns, the user first"
                )

    @cached_property
    def _split(self) -> re.Pattern[str]:
        return re.compile(f"({'|'.join(map(re.escape, self.special_tokens))})")

    def _pieces(
        self, pattern: str, content: str, message: int, completion: bool = False
    ) -> Iterator[Piece]:
        for index, text in enumerate(self._split.split(pattern)):
            special = index % 2 == 1
            if not special:
                text = fill(text, content)
            if text:
                yield Piece(text, special, message, completion)


@dataclass(frozen=True)
class TokenizedConversation:
    """A rendered conversation as tokens.

    Attributes:
      tokens: int32 ``[length]``.
      messages: int32 ``[length]``, the index of the message that each token belongs to.
      completion: bool ``[length]``, whether the model writes the token.
    """

    tokens: np.ndarray
    messages: np.ndarray
    completion: np.ndarray


def tokenize(
    conversation: Conversation,
    template: Template,
    tokenizer: Tokenizer,
    encode: Callable[[str], Sequence[int]] | None = None,
    answers: Mapping[int, Sequence[int]] | None = None,
) -> TokenizedConversation:
    """Renders and encodes a conversation, for training and for sampling alike.

    Args:
      conversation: what to tokenize.
      template: of the model.
      tokenizer: of the model.
      encode: the tokenizer's own method by default; one that remembers, for instance.
      answers: by message index, what the model wrote of some, up to and with its end-of-turn token,
        which stands for what they are encoded as.

    Raises:
      InputError: the tokenizer lacks a special token of the template, or the template cannot
        express the conversation.
    """
    encode, answers = encode or tokenizer.encode, dict(answers or {})
    special_ids = template.special_ids(tokenizer)
    tokens: list[int] = []
    messages: list[int] = []
    completion: list[bool] = []
    prefix = ""
    for piece in template.render(conversation):
        known = piece.completion and piece.message in answers
        if piece.special:
            ids = [special_ids[piece.text]]
            begins = tokenizer.text_prefix if piece.text == template.begin_of_sequence else ""
            prefix = begins if template.text_prefix is None else template.text_prefix
        else:
            ids = [] if known else encode(prefix + piece.text)
            prefix = ""
        if known:  # whole at its first piece
            ids, answers[piece.message] = answers[piece.message], []
        tokens += ids
        messages += [piece.message] * len(ids)
        completion += [piece.completion] * len(ids)
    return TokenizedConversation(
        np.array(tokens, np.int32), np.array(messages, np.int32), np.array(completion, bool)
    )
