"""Packed data on disk: a folder of ArrayRecord files, one record a row, and their metadata.

DIR/metadata.json           how it was made, and counts
DIR/train.array_record      rows to train on
DIR/holdout.array_record    rows for the evaluation loss; absent where none were held out
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordWriter

from ocijax.data.packing import Row, empty_row
from ocijax.errors import InputError

_METADATA = "metadata.json"
_FIELDS = {name: array.dtype.newbyteorder("<") for name, array in empty_row(0).items()}


def write_rows(directory: Path, split: str, rows: Iterable[Row]) -> int:
    """Writes the rows of one split and returns their number."""
    # Groups of one record make a row cheap to find wherever it is.
    writer = ArrayRecordWriter(str(_split_path(directory, split)), "group_size:1")
    count = 0
    try:
        for row in rows:
            writer.write(
                b"".join(row[name].astype(kind).tobytes() for name, kind in _FIELDS.items())
            )
            count += 1
    finally:
        writer.close()
    return count


class PackedRows:
    """The rows of one split of a packed folder, by index, read as they are asked for.

    Attributes:
      metadata: of the folder, see `read_metadata`.
      length: tokens of a row.

    Raises:
      InputError: it is no packed folder, or has no such split.
    """

    def __init__(self, directory: str | Path, split: str = "train"):
        directory = Path(directory)
        self.metadata = read_metadata(directory)
        path = _split_path(directory, split)
        if not path.is_file():
            raise InputError(f"{path}: there is no such split in this packed folder")
        self.length = int(self.metadata["length"])
        self._records = ArrayRecordDataSource([str(path)])

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        record, row, start = self._records[index], {}, 0
        for name, kind in _FIELDS.items():
            values = np.frombuffer(record, kind, self.length, start)
            row[name] = values.astype(kind.newbyteorder("="))
            start += values.nbytes
        return row


def read_metadata(directory: str | Path) -> Mapping[str, Any]:
    """The metadata of a packed folder: how it was made, and counts.

    Raises:
      InputError: it is no packed folder.
    """
    path = Path(directory) / _METADATA
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{directory}: not a packed folder (no {_METADATA}); make one with"
            " python -m datasets_build.pack"
        ) from error


def write_metadata(directory: Path, metadata: Mapping[str, Any]) -> None:
    """Writes the metadata of a packed folder; ``length`` is needed to read it."""
    (directory / _METADATA).write_text(json.dumps(metadata, indent=2) + "\n")


def digest(path: Path) -> str:
    """SHA-256 of a file's content, or of all files of a folder, in the order of their names."""
    total = hashlib.sha256()
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    for file in files:
        if file.is_file():
            with open(file, "rb") as content:
                total.update(hashlib.file_digest(content, "sha256").digest())
    return total.hexdigest()


def _split_path(directory: Path, split: str) -> Path:
    return directory / f"{split}.array_record"
