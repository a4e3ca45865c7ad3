"""A recipe's packed rows: read from a packed folder, or packed from conversations here and now."""

from pathlib import Path
from typing import NamedTuple

from ocijax.conversation import Conversation
from ocijax.data.example import Counts
from ocijax.data.holdout import split_holdout
from ocijax.data.packing import pack_conversations
from ocijax.data.pipeline import Rows
from ocijax.data.source import load_conversations
from ocijax.data.storage import PackedRows, digest
from ocijax.errors import InputError
from ocijax.template import get_template
from ocijax.tokenizer import check_vocabulary, load_tokenizer, tokenizer_file
from ocijax.train.config import Recipe


class RowSets(NamedTuple):
    """What a run trains and evaluates on.

    Attributes:
      train: packed rows.
      evaluation: packed rows, or ``None`` where nothing is held out.
      counts: what became of the training conversations, where they were packed here.
    """

    train: Rows
    evaluation: Rows | None
    counts: Counts | None


def load_rows(recipe: Recipe) -> RowSets:
    """The rows of a recipe.

    Raises:
      InputError: a file cannot be read, the tokenizer does not fit the template or the model, or
        the packed folder was made with other settings.
    """
    data = recipe.data
    tokenizer = load_tokenizer(data.tokenizer)
    get_template(data.template).special_ids(tokenizer)
    check_vocabulary(tokenizer, recipe.model.vocab_size)
    if len(data.train) == 1 and (Path(data.train[0]) / "metadata.json").is_file():
        return _packed(recipe)

    def pack(conversations: list[Conversation], name: str) -> tuple[Rows, Counts]:
        rows, counts = pack_conversations(
            conversations,
            get_template(data.template),
            tokenizer,
            length=data.length,
            policy=data.policy,
            seed=recipe.seed,
            max_segments=recipe.compute.max_segments,
        )
        if not counts.examples:
            raise InputError(
                f"{name}: nothing to train on: of {counts.conversations} conversations "
                f"{counts.too_long} do not fit config.data.length={data.length} and "
                f"{counts.untrained} have no turn that config.data.policy={data.policy} trains"
            )
        return list(rows), counts

    conversations = load_conversations(data.train, data.repeated_user)
    held_out: list[Conversation] = []
    if data.evaluation:
        held_out = load_conversations(data.evaluation, data.repeated_user)
    elif data.holdout:
        conversations, held_out = split_holdout(conversations, data.holdout)
    rows, counts = pack(conversations, ",".join(data.train))
    evaluation = pack(held_out, "held-out conversations")[0] if held_out else None
    return RowSets(rows, evaluation, counts)


def _packed(recipe: Recipe) -> RowSets:
    data, folder = recipe.data, Path(recipe.data.train[0])
    rows = PackedRows(folder)
    for name in ("length", "template", "policy"):
        if rows.metadata[name] != getattr(data, name):
            raise InputError(
                f"{folder}: packed with {name} {rows.metadata[name]!r}, but config.data.{name} is "
                f"{getattr(data, name)!r}; pack anew or change the config"
            )
    segments = max(split["most_segments"] for split in rows.metadata["splits"].values())
    if segments > recipe.compute.max_segments:
        raise InputError(
            f"{folder}: has rows of {segments} segments; raise config.compute.max_segments "
            f"({recipe.compute.max_segments}) to that"
        )
    if rows.metadata["tokenizer_sha256"] != digest(tokenizer_file(data.tokenizer)):
        raise InputError(
            f"{folder}: packed with another tokenizer than config.data.tokenizer={data.tokenizer};"
            " pack anew or change the config"
        )
    if data.evaluation or data.holdout:
        raise InputError(
            f"{folder}: a packed folder has its own held-out rows; leave config.data.evaluation "
            "and config.data.holdout empty"
        )
    evaluation = PackedRows(folder, "holdout") if "holdout" in rows.metadata["splits"] else None
    return RowSets(rows, evaluation, None)
