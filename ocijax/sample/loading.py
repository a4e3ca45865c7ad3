"""The sampler of a checkpoint, over all devices of this process."""

from pathlib import Path
from typing import Any

import jax

from ocijax.model.decoder import ComputeConfig
from ocijax.sample.sampler import Sampler
from ocijax.sharding import MeshConfig, make_mesh
from ocijax.train.checkpoint import LoadedModel, load_model


def load_sampler(
    folder: str | Path, dtype: str = "", tensor: int = 1, template: str = "", **options: Any
) -> tuple[Sampler, LoadedModel]:
    """The sampler and its model, without the parameters: the sampler holds them as it reads them.

    Args:
      folder: a checkpoint of one step, or a Hugging Face folder.
      dtype: of the model; by default float32 on a CPU and bfloat16 elsewhere.
      tensor: devices that share each matrix; the others share the conversations.
      template: name of the chat template, where it is not to be the checkpoint's own.
      options: others of `Sampler`.

    Raises:
      InputError: as `load_model` and `Sampler`.
    """
    dtype = dtype or default_dtype(jax.default_backend())
    mesh = make_mesh(MeshConfig(tensor=tensor))
    model = load_model(folder, mesh, dtype, template)
    sampler = Sampler(*model, compute=ComputeConfig(dtype=dtype), mesh=mesh, **options)
    model = model._replace(parameters={})
    # Now that they are gone, and before anybody asks: what does not fit is said here.
    sampler.engine.make_room(1)
    return sampler, model


def default_dtype(platform: str) -> str:
    """That of a model where none is asked for: what the platform's devices are fast in."""
    return "float32" if platform == "cpu" else "bfloat16"
