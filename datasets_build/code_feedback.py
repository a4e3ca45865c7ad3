"""A TFDS data set of conversations, made from the JSON lines of Code-Feedback.

    python -m datasets_build.code_feedback --input=Code-Feedback.jsonl --output=data/tfds

writes ``data/tfds/code_feedback/1.0.0`` in ArrayRecord format, in the order of the input. Read it
by giving that folder as an input of ``datasets_build.pack`` or of training, or with

    tfds.data_source("code_feedback:1.0.0", split="train", data_dir="data/tfds")

Neither needs TensorFlow (the ``tfds`` command does).
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from absl import flags

from datasets_build.reporting import refuse_or_report
from ocijax.conversation import Conversation
from ocijax.data.source import scan_sources
from ocijax.errors import InputError
from ocijax.program import run


class CodeFeedback(tfds.core.GeneratorBasedBuilder):
    """Multi-turn conversations about code with execution and human feedback (arXiv 2402.14658)."""

    VERSION = tfds.core.Version("1.0.0")
    # Nothing is downloaded, so no checksums lie beside the code; to look for them, TFDS 4.9.10
    # imports importlib_resources, which it does not declare.
    code_path = None
    RELEASE_NOTES = {"1.0.0": "First version."}  # noqa: RUF012

    def __init__(self, *, conversations: Sequence[Conversation] = (), **arguments: Any):
        """A builder that writes these conversations; none are needed to read."""
        self._conversations = conversations
        super().__init__(file_format="array_record", **arguments)

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text()
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "id": text,
                    "messages": tfds.features.Sequence({"role": text, "content": text}),
                    "source": text,
                    "metadata": tfds.features.Text(doc="JSON"),
                }
            ),
            disable_shuffling=True,
            homepage="https://huggingface.co/datasets/m-a-p/Code-Feedback",
        )

    def _split_generators(self, download_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, conversation in enumerate(self._conversations):
            yield (
                number,
                {
                    "id": conversation.id,
                    "messages": [
                        {"role": message.role, "content": message.content}
                        for message in conversation.messages
                    ],
                    "source": conversation.source,
                    "metadata": json.dumps(dict(conversation.metadata)),
                },
            )


def build(conversations: Sequence[Conversation], output: str | Path) -> Path:
    """Writes the data set below ``output`` and returns the folder of its version.

    Raises:
      InputError: it exists already.
    """
    builder = CodeFeedback(conversations=conversations, data_dir=output)
    folder = Path(builder.data_path)
    if folder.exists():
        raise InputError(f"{folder} exists already: remove it or choose another --output")
    builder.download_and_prepare()
    return folder


def main() -> None:
    """Reads the input, reports what is malformed and writes the data set."""
    conversations, problems = scan_sources(flags.FLAGS.input, flags.FLAGS.repeated_user)
    refuse_or_report(problems, skip=flags.FLAGS.skip_malformed)
    folder = build(conversations, flags.FLAGS.output)
    print(f"{folder}: {len(conversations)} conversations")


if __name__ == "__main__":
    flags.DEFINE_list("input", None, "Conversation files (JSONL).", required=True)
    flags.DEFINE_string("output", None, "TFDS data folder to write below.", required=True)
    flags.DEFINE_enum("repeated_user", "refuse", ["refuse", "merge"], "Two user turns in a row.")
    flags.DEFINE_bool("skip_malformed", False, "Report malformed rows and go on without them.")
    run(main)
