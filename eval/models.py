"""What answers, and what is recorded of it: a checkpoint, or a model behind an endpoint."""

from pathlib import Path
from typing import Any, NamedTuple

from ocijax.evaluate.checkpoint import CheckpointGenerator, Loading, checkpoint_digest
from ocijax.sample.endpoint import Endpoint
from ocijax.sample.settings import Generator


class Model(NamedTuple):
    """What answers.

    Attributes:
      name: for the record.
      generator: answers.
      digest: of its content; of a model behind an endpoint nobody knows it.
      loading: how a checkpoint is loaded.
    """

    name: str
    generator: Generator
    digest: str = ""
    loading: Loading | None = None


def checkpoint_model(checkpoint: str, loading: Loading, **options: Any) -> Model:
    """The model of a checkpoint, which is loaded when it is first asked.

    Args:
      checkpoint: of one step, or a training workdir, whose latest counts; or a Hugging Face folder.
      loading: how to load it.
      options: others of `ocijax.sample.loading.load_sampler`.

    Raises:
      InputError: there is none.
    """
    from ocijax.train.checkpoint import checkpoint_folder

    folder = checkpoint_folder(checkpoint)
    named = Path(checkpoint) / folder.relative_to(Path(checkpoint).absolute())
    known = loading.here()
    generator = CheckpointGenerator(folder, **vars(known), **options)
    return Model(f"{named} {loading}".rstrip(), generator, checkpoint_digest(folder), known)


def endpoint_model(url: str, model: str, batch_size: int) -> Model:
    """A model that somebody else serves, asked for so many answers at once."""
    endpoint = Endpoint(url, model, concurrency=batch_size)
    return Model(endpoint.name, endpoint)
