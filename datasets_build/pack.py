"""Tokenises, masks and packs conversations into a folder of ArrayRecord rows for training.

    python -m datasets_build.pack --input=train.jsonl --tokenizer=tokenizer.json \
        --template=deepseek-coder --length=4096 --holdout=0.01 --output=data/packed

The order of training then depends on one integer, whatever the number of hosts. The folder's
``metadata.json`` says how it was made and counts what was packed and what was dropped. It takes
its name only when it is complete.
"""

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from tqdm import tqdm

from datasets_build.reporting import refuse_or_report
from ocijax.conversation import Conversation
from ocijax.data.example import Counts
from ocijax.data.holdout import split_holdout
from ocijax.data.packing import Row, pack_conversations
from ocijax.data.source import scan_sources
from ocijax.data.storage import digest, write_metadata, write_rows
from ocijax.data.weights import POLICIES
from ocijax.errors import InputError
from ocijax.new_folder import new_folder
from ocijax.program import run
from ocijax.template import TEMPLATES, get_template
from ocijax.tokenizer import load_tokenizer, tokenizer_file

Progress = Callable[..., Iterable]
"""Shows how an iterable goes by; `tqdm.tqdm` is one."""


@dataclass(frozen=True)
class PackSettings:
    """How conversations become rows.

    Attributes:
      tokenizer: a tokenizer's file, or a folder with one.
      template: name of the chat template.
      length: tokens of a row, and most tokens of a conversation.
      policy: which turns are trained, one of `ocijax.data.weights.POLICIES`.
      holdout: fraction of conversations kept for the evaluation loss.
      seed: of the order in which conversations are packed, and of the hold-out.
      max_segments: most conversations in a row; 0 for no limit.
    """

    tokenizer: str
    template: str
    length: int = 4096
    policy: str = "all"
    holdout: float = 0.0
    seed: int = 0
    max_segments: int = 16

    def __post_init__(self):
        """Raises InputError where a value is out of range."""
        if self.length < 2:
            raise InputError(f"--length={self.length}: a row has at least 2 tokens")
        if not 0 <= self.holdout < 1:
            raise InputError(f"--holdout={self.holdout}: at least 0 and less than 1")
        if self.max_segments < 0:
            raise InputError(f"--max_segments={self.max_segments}: at least 0")


def pack_folder(
    conversations: Sequence[Conversation],
    settings: PackSettings,
    output: str | Path,
    *,
    inputs: Sequence[str | Path] = (),
    malformed: int = 0,
    progress: Progress = tqdm,
) -> dict[str, Any]:
    """Packs conversations into a new folder and returns its metadata.

    Args:
      conversations: what to pack.
      settings: how.
      output: the folder; it must not exist.
      inputs: files that the conversations came from, for the metadata.
      malformed: rows that were skipped, for the metadata.
      progress: shows how far it is.

    Raises:
      InputError: the output exists, the settings do not fit each other or the conversations, or
        a split has nothing to train on.
    """
    template = get_template(settings.template)
    tokenizer = load_tokenizer(settings.tokenizer)
    template.special_ids(tokenizer)
    with new_folder(output) as folder:
        metadata: dict[str, Any] = {
            **dataclasses.asdict(settings),
            "vocab_size": tokenizer.vocab_size,
            "tokenizer_sha256": digest(tokenizer_file(settings.tokenizer)),
            "inputs": {str(path): digest(Path(path)) for path in inputs},
            "malformed_rows": malformed,
            "splits": {},
        }
        train, held_out = split_holdout(conversations, settings.holdout, settings.seed)
        splits = {"train": train, "holdout": held_out} if settings.holdout else {"train": train}
        for split, part in splits.items():
            rows, counts = pack_conversations(
                progress(part, desc=f"tokenizing {split}", unit=" conversations"),
                template,
                tokenizer,
                length=settings.length,
                policy=settings.policy,
                seed=settings.seed,
                max_segments=settings.max_segments or None,
            )
            if not counts.examples:
                raise InputError(
                    f"nothing to pack in split {split!r}: of {counts.conversations} conversations"
                    f" {counts.too_long} do not fit --length={settings.length} and"
                    f" {counts.untrained} have no turn that --policy={settings.policy} trains"
                )
            segments: list[int] = []
            writing = progress(_watch(rows, segments), desc=f"packing {split}", unit=" rows")
            written = write_rows(folder, split, writing)
            metadata["splits"][split] = _summary(counts, written, segments, settings.length)
        write_metadata(folder, metadata)
    return metadata


def _watch(rows: Iterable[Row], segments: list[int]) -> Iterator[Row]:
    for row in rows:
        segments.append(int(np.max(row["segment_ids"])))
        yield row


def _summary(counts: Counts, rows: int, segments: list[int], length: int) -> dict[str, Any]:
    return {
        **dataclasses.asdict(counts),
        "rows": rows,
        "fill": counts.tokens / (rows * length),
        "most_segments": max(segments),
    }


def main() -> None:
    """Reads the input, reports what is malformed and packs the rest."""
    values = flags.FLAGS
    names = [field.name for field in dataclasses.fields(PackSettings)]
    settings = PackSettings(**{name: getattr(values, name) for name in names})
    conversations, problems = scan_sources(values.input, values.repeated_user)
    refuse_or_report(problems, skip=values.skip_malformed)
    metadata = pack_folder(
        conversations, settings, values.output, inputs=values.input, malformed=len(problems)
    )
    print(json.dumps(metadata["splits"], indent=2))


if __name__ == "__main__":
    flags.DEFINE_list("input", None, "Conversation files (JSONL) or TFDS folders.", required=True)
    flags.DEFINE_string("tokenizer", None, "Tokenizer file or folder.", required=True)
    flags.DEFINE_enum("template", None, list(TEMPLATES), "Chat template.", required=True)
    flags.DEFINE_integer("length", 4096, "Tokens of a row.")
    flags.DEFINE_enum("policy", "all", list(POLICIES), "Which assistant turns are trained.")
    flags.DEFINE_float("holdout", 0.0, "Fraction of conversations kept for the evaluation loss.")
    flags.DEFINE_integer("seed", 0, "Of the order of packing, and of the hold-out.")
    flags.DEFINE_integer("max_segments", 16, "Most conversations in a row; 0 for no limit.")
    flags.DEFINE_enum("repeated_user", "refuse", ["refuse", "merge"], "Two user turns in a row.")
    flags.DEFINE_bool("skip_malformed", False, "Report malformed rows and go on without them.")
    flags.DEFINE_string("output", None, "Folder to write; it must not exist.", required=True)
    run(main)
