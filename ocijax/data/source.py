"""Conversations from files of either kind: JSON lines, or a folder that a TFDS builder wrote."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ocijax.conversation import (
    Conversation,
    RepeatedUser,
    parse_conversation,
    scan_conversations,
)
from ocijax.errors import InputError
from ocijax.json_lines import summarize_problems


def scan_sources(
    paths: Sequence[str | Path], repeated_user: RepeatedUser = "refuse"
) -> tuple[list[Conversation], list[str]]:
    """All conversations of the files and folders, and every malformed row with its place.

    Args:
      paths: JSONL files, and TFDS folders (of a version, the ones with a ``dataset_info.json``),
        of which the ``train`` split is read.
      repeated_user: what becomes of two user turns in a row.

    Raises:
      InputError: one cannot be read or has no row.
    """
    conversations: list[Conversation] = []
    problems: list[str] = []
    for path in map(Path, paths):
        scan = _scan_tfds if path.is_dir() else scan_conversations
        found, wrong = scan(path, repeated_user)
        if not found and not wrong:
            raise InputError(f"{path}: no conversation in it")
        conversations += found
        problems += wrong
    return conversations, problems


def load_conversations(
    paths: Sequence[str | Path], repeated_user: RepeatedUser = "refuse"
) -> list[Conversation]:
    """All conversations of the files and folders; see `scan_sources`.

    Raises:
      InputError: one cannot be read, has no row or has malformed ones, the first few of which the
        message names.
    """
    conversations, problems = scan_sources(paths, repeated_user)
    if problems:
        raise InputError(summarize_problems(problems))
    return conversations


def _scan_tfds(folder: Path, repeated_user: RepeatedUser) -> tuple[list[Conversation], list[str]]:
    if not (folder / "dataset_info.json").is_file():
        raise InputError(f"{folder}: neither a JSONL file nor a TFDS folder (no dataset_info.json)")
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise InputError(
            f"{folder}: reading it needs tensorflow-datasets: pip install 'ocijax[data]'"
        ) from error
    # A data source is read through ArrayRecord, which needs no TensorFlow.
    rows = tensorflow_datasets.builder_from_directory(folder).as_data_source(split="train")
    conversations, problems = [], []
    for number, row in enumerate(rows):
        try:
            conversation = parse_conversation(_plain(row), f"{folder.name}:{number}", repeated_user)
            conversations.append(conversation)
        except InputError as error:
            problems.append(f"{folder}:{number}: {error}")
    return conversations, problems


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row as the JSON lines have it; TFDS gives bytes, and lists of dicts as dicts of lists."""
    messages = row["messages"]
    return {
        "id": row["id"].decode(),
        "messages": [
            {"role": role.decode(), "content": content.decode()}
            for role, content in zip(messages["role"], messages["content"], strict=True)
        ],
        "source": row["source"].decode(),
        "metadata": json.loads(row["metadata"]),
    }
