"""Trains a sentencepiece vocabulary on conversations, for models made from nothing."""

import io
from collections.abc import Iterable

import sentencepiece

from ocijax.conversation import Conversation
from ocijax.errors import InputError
from ocijax.template import Template


def train_vocabulary(conversations: Iterable[Conversation], template: Template, size: int) -> bytes:
    """A ``tokenizer.model`` of byte-pair pieces, learnt from what the template makes of the text.

    Digits are pieces of their own, bytes stand in for characters never seen, and pieces may span
    words and lines, so that phrases of a small language become one token each. The template's
    special tokens are control pieces.

    Args:
      conversations: the text, as it will be rendered and cut in training.
      template: gives the rendering and the special tokens.
      size: pieces in all, bytes and special tokens among them; fewer where the text has no more.

    Raises:
      InputError: there is no text, or ``size`` is too small for its characters.
    """
    begin, end = template.begin_of_sequence, template.end_of_turn
    others = [token for token in template.special_tokens if token not in (begin, end)]
    # One token may be both; the library refuses a spelling given twice.
    begins = {"bos_piece": begin} if begin not in ("", end) else {"bos_id": -1}
    texts = (
        piece.text
        for conversation in conversations
        for piece in template.render(conversation)
        if not piece.special
    )
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=texts,
            model_writer=model,
            model_type="bpe",
            vocab_size=size,
            hard_vocab_limit=False,
            split_digits=True,
            byte_fallback=True,
            split_by_whitespace=False,
            max_sentencepiece_length=32,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            **begins,
            eos_piece=end,
            control_symbols=others,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise InputError(f"no vocabulary of {size} pieces can be learnt: {error}") from error
    return model.getvalue()
