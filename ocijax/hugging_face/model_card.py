"""The README.md of a Hugging Face folder: what the model is, how it was trained, how it scored."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ocijax.model.description import ModelDescription
from ocijax.model.parameters import parameter_count

_TRAINING = (
    "epochs",
    "steps",
    "batch_size",
    "learning_rate",
    "warmup_fraction",
    "weight_decay",
    "clip_norm",
)


def model_card(
    name: str,
    description: ModelDescription,
    scores: Sequence[Mapping[str, Any]] = (),
    library: str = "transformers",
) -> str:
    """The card in Markdown, with the metadata that the Hub reads before it.

    Args:
      name: of the model.
      description: of the model; says of recipe and data what it knows.
      scores: rows of ``summary.json``, see `ocijax.evaluate.summary`.
      library: that loads it.
    """
    config = description.config
    shape = [
        ("parameters", f"{parameter_count(config):,}"),
        ("layers", config.num_hidden_layers),
        ("width", config.hidden_size),
        ("context", f"{config.max_position_embeddings:,} tokens"),
        ("chat template", description.template),
    ]
    parts = [
        f"---\nlibrary_name: {library}\npipeline_tag: text-generation\ntags:\n- code\n---",
        f"# {name}",
        _table(("", "value"), shape),
    ]
    if recipe := description.recipe:
        parts += ["## Training", _table(("", "value"), _training(recipe))]
        parts += ["## Data", "\n".join(f"- {Path(file).name}" for file in recipe["data"]["train"])]
    if scores:
        header = ("benchmark", "protocol", "passed", "tasks", "rate", "95 % interval")
        parts += ["## Scores", _table(header, map(_score, scores))]
    return "\n\n".join(parts) + "\n"


def _training(recipe: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    train, data = recipe["train"], recipe["data"]
    if origin := train["initial_checkpoint"]:
        yield "started from", Path(origin).name
    if (lora := recipe["lora"])["rank"]:
        weights = ", ".join(lora["targets"]) or "all matrices of the layers"
        yield "LoRA", f"rank {lora['rank']}, alpha {lora['alpha']:g}, {weights}"
    for field in _TRAINING:
        # Either of the two says how long it was.
        if field != ("epochs" if train["steps"] else "steps"):
            yield field, train[field]
    yield "length", f"{data['length']} tokens"
    yield "trained turns", data["policy"]
    yield "seed", recipe["seed"]


def _score(row: Mapping[str, Any]) -> tuple[Any, ...]:
    interval = f"{row['ci_low']:.1%} - {row['ci_high']:.1%}"
    passed = f"{row['passed']:.6g}"
    return (
        row["benchmark"],
        row["protocol"],
        passed,
        row["tasks"],
        f"{row['pass_rate']:.1%}",
        interval,
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
