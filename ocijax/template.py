"""Chat templates: a conversation rendered once, whole, each piece knowing its message.

A template is data: one pattern for each kind of turn. Messages are rendered one after the other,
each alone, so adding turns never changes what stands before them; and since tokenisation is cut
between pieces, neither does it change the tokens. What the sampler is given (a conversation that
ends with a user turn, with its generation prompt) is token for token a prefix of what training
saw.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ocijax.conversation import Conversation
from ocijax.errors import InputError
from ocijax.tokenizer import Tokenizer


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
    """One chat format; `get_template` finds one by name.

    Attributes:
      name: how flags and messages call it.
      special_tokens: spellings that are one token each; wherever a pattern has one, it is that
        token. The same spelling inside a message stays text.
      begin_of_sequence: the special token after which a text begins: where the tokenizer has a
        `Tokenizer.text_prefix`, the text after this token begins with it.
      end_of_turn: the special token that ends an assistant turn; the sampler stops on it.
      start: what every rendering begins with.
      system: a system turn; ``{content}`` stands for the message.
      default_system: a system message for conversations without one; ``None`` for none.
      user: a user turn.
      user_after_system: the user turn after a system turn, where it looks different.
      prompt: the generation prompt; empty where the user turn ends with it.
      answer: what the model writes, up to and with its end-of-turn token.
      after_answer: what follows an assistant turn before the next one; never trained.
      strip: messages lose the white space around them, as in the format's reference.
    """

    name: str
    special_tokens: tuple[str, ...]
    begin_of_sequence: str
    end_of_turn: str
    user: str
    answer: str
    start: str = ""
    system: str = "{content}"
    default_system: str | None = None
    user_after_system: str | None = None
    prompt: str = ""
    after_answer: str = ""
    strip: bool = False

    def render(self, conversation: Conversation) -> list[Piece]:
        """All pieces, in order; joined they are the training text.

        A conversation that ends with a user turn ends with the generation prompt.
        """
        messages = conversation.messages
        pieces = [*self._pieces(self.start, "", 0)]
        system = bool(messages) and messages[0].role == "system"
        if not system and self.default_system is not None:
            pieces += self._pieces(self.system, self.default_system, 0)
        for index, message in enumerate(messages):
            content = message.content.strip() if self.strip else message.content
            if message.role == "system":
                pieces += self._pieces(self.system, content, index)
            elif message.role == "user":
                after_system = index == 1 and system and self.user_after_system is not None
                pattern = self.user_after_system if after_system else self.user
                pieces += self._pieces(pattern, content, index)
                pieces += self._pieces(self.prompt, "", index + 1)
            else:
                pieces += self._pieces(self.answer, content, index, completion=True)
                pieces += self._pieces(self.after_answer, "", index)
        return pieces

    def answer_text(self, generated: str) -> str:
        """An assistant's message from the text the model wrote, without its end-of-turn token.

        Undoes what the answer pattern puts around the message, so that a model that writes as it
        was trained gives a message that renders to what it wrote.
        """
        before, after = self.answer.removesuffix(self.end_of_turn).split("{content}")
        text = generated.removeprefix(before).removesuffix(after)
        return text.strip() if self.strip else text

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

    @cached_property
    def _split(self) -> re.Pattern[str]:
        return re.compile(f"({'|'.join(map(re.escape, self.special_tokens))})")

    def _pieces(
        self, pattern: str, content: str, message: int, completion: bool = False
    ) -> Iterator[Piece]:
        for index, text in enumerate(self._split.split(pattern)):
            special = index % 2 == 1
            if not special:
                text = text.replace("{content}", content)
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
    conversation: Conversation, template: Template, tokenizer: Tokenizer
) -> TokenizedConversation:
    """Renders and encodes a conversation, for training and for sampling alike.

    Raises:
      InputError: the tokenizer lacks a special token of the template.
    """
    special_ids = template.special_ids(tokenizer)
    tokens: list[int] = []
    messages: list[int] = []
    completion: list[bool] = []
    prefix = ""
    for piece in template.render(conversation):
        if piece.special:
            ids = [special_ids[piece.text]]
            prefix = tokenizer.text_prefix if piece.text == template.begin_of_sequence else ""
        else:
            ids = tokenizer.encode(prefix + piece.text)
            prefix = ""
        tokens += ids
        messages += [piece.message] * len(ids)
        completion += [piece.completion] * len(ids)
    return TokenizedConversation(
        np.array(tokens, np.int32), np.array(messages, np.int32), np.array(completion, bool)
    )


_DEEPSEEK_BEGIN = "<｜begin▁of▁sentence｜>"  # noqa: RUF001

DEEPSEEK_CODER = Template(
    name="deepseek-coder",
    special_tokens=(_DEEPSEEK_BEGIN, "<|EOT|>"),
    begin_of_sequence=_DEEPSEEK_BEGIN,
    end_of_turn="<|EOT|>",
    start=_DEEPSEEK_BEGIN,
    default_system=(
        "You are an AI programming assistant, utilizing the Deepseek Coder model, developed by"
        " Deepseek Company, and you only answer questions related to computer science. For"
        " politically sensitive questions, security and privacy issues, and other non-computer"
        " science questions, you will refuse to answer\n"
    ),
    user="### Instruction:\n{content}\n",
    prompt="### Response:\n",
    answer="{content}\n<|EOT|>",
    after_answer="\n",
)
"""DeepSeek-Coder instruct, as in its tokenizer's chat template; OpenCodeInterpreter-DS too."""

LLAMA2 = Template(
    name="llama-2",
    special_tokens=("<s>", "</s>"),
    begin_of_sequence="<s>",
    end_of_turn="</s>",
    system="<s>[INST] <<SYS>>\n{content}\n<</SYS>>\n\n",
    user="<s>[INST] {content} [/INST]",
    user_after_system="{content} [/INST]",
    answer=" {content} </s>",
    strip=True,
)
"""Llama-2 chat and CodeLlama Instruct, as in Meta's ``llama/generation.py``."""

TEMPLATES = {template.name: template for template in (DEEPSEEK_CODER, LLAMA2)}


def get_template(name: str) -> Template:
    """The template of that name.

    Raises:
      InputError: there is none; the message lists those there are.
    """
    if name not in TEMPLATES:
        raise InputError(f"template {name!r} is unknown; there are {', '.join(TEMPLATES)}")
    return TEMPLATES[name]
