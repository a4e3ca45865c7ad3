"""Makes the quickstart's data: tasks that leave one thing open, conversations and a vocabulary.

    python -m datasets_build.quickstart --output=data/quickstart

writes

    tasks/{train,validation,test}.jsonl       tasks, as ocijax.judge.task reads them
    conversations/{train,validation}.jsonl    first answers, what running them gave, corrections
    tokenizer.model                           a sentencepiece vocabulary of the training text

Every program is run once, in the sandbox. The folder takes its name only when it is complete.
"""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from absl import flags

from ocijax.conversation import write_conversations
from ocijax.judge.task import write_tasks
from ocijax.new_folder import new_folder
from ocijax.program import run
from ocijax.sandbox.sandbox import LEVELS, Sandbox, describe_levels
from ocijax.tasks.dataset import Dataset, Sizes, build_dataset, shared_with_training
from ocijax.template import get_template
from ocijax.vocabulary import train_vocabulary


def build_folder(
    output: str | Path,
    *,
    sandbox: Sandbox,
    template: str,
    vocabulary_size: int,
    seed: int = 0,
    sizes: Sizes = Sizes(),  # noqa: B008  frozen
    observe: Callable[[str], None] = lambda line: None,
) -> Dataset:
    """Makes the data, writes it into a new folder and returns it.

    Args:
      output: the folder; it must not exist.
      sandbox: where the programs run.
      template: name of the chat template that the vocabulary is for.
      vocabulary_size: most pieces of the vocabulary.
      seed: of everything drawn.
      sizes: how much to make.
      observe: told in a line what was done.

    Raises:
      InputError: the output exists or cannot be written, the template is unknown or the
        vocabulary too small.
    """
    with new_folder(output) as folder:
        dataset = asyncio.run(build_dataset(sandbox, sizes, seed))
        shared = shared_with_training(dataset)
        assert not shared, f"held-out tasks occur in training: {shared}"
        for split, tasks in dataset.tasks.items():
            write_tasks(folder / "tasks" / f"{split}.jsonl", tasks)
            observe(f"{split}: {len(tasks)} tasks")
        for split in ("train", "validation"):
            conversations = dataset.conversations[split]
            write_conversations(folder / "conversations" / f"{split}.jsonl", conversations)
            observe(f"{split}: {len(conversations)} conversations")
        training = dataset.conversations["train"]
        model = train_vocabulary(training, get_template(template), vocabulary_size)
        (folder / "tokenizer.model").write_bytes(model)
    return dataset


def main() -> None:
    """Builds the folder and says what is in it."""
    values = flags.FLAGS
    build_folder(
        values.output,
        sandbox=Sandbox(isolation=values.isolation),
        template=values.template,
        vocabulary_size=values.vocabulary_size,
        seed=values.seed,
        sizes=Sizes(values.test, values.validation, values.train, values.first_answers),
        observe=lambda line: print(line, file=sys.stderr),
    )
    print(values.output)


if __name__ == "__main__":
    flags.DEFINE_string("output", None, "Folder to write; it must not exist.", required=True)
    flags.DEFINE_integer("seed", 0, "Of the inputs, the split and the first answers.")
    flags.DEFINE_integer("test", Sizes.test, "Instructions of each family to score on.")
    flags.DEFINE_integer("validation", Sizes.validation, "Likewise, to choose settings on.")
    flags.DEFINE_integer("train", Sizes.train, "Likewise, to train on.")
    flags.DEFINE_integer("first_answers", Sizes.first_answers, "Conversations of a task.")
    flags.DEFINE_string("template", "llama-2", "Chat template of the vocabulary.")
    flags.DEFINE_integer("vocabulary_size", 640, "Most pieces of the vocabulary.")
    flags.DEFINE_enum("isolation", "namespaces", list(LEVELS), describe_levels())
    run(main)
