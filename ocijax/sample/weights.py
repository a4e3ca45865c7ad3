"""A model's weights as answering reads them: an array for each layer, and few large products."""

from collections.abc import Collection
from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ocijax.model.config import ModelConfig
from ocijax.model.decoder import JOINED, joined
from ocijax.model.parameters import LAYERS, Parameters, parameter_table, table_shardings
from ocijax.sample.quantization import quantize
from ocijax.sharding import axis_size

Weights = dict[str, jax.Array | tuple[jax.Array, ...]]
"""By path; of the layers', a tuple with an array for each."""


def sampling_weights(
    config: ModelConfig,
    parameters: Parameters,
    dtype: str,
    mesh: Mesh,
    *,
    transposed: bool = False,
    int8: bool = False,
) -> Weights:
    """The weights that `ocijax.sample.decoding` takes.

    Decoding reads each array from where it lies: a part of a stack would be copied first. What is
    multiplied with the same numbers is joined, so that a step has fewer products, each of which
    reads more; but not where ``tensor`` splits the outputs, which lie on other devices then.

    Args:
      config: the model's shape.
      parameters: on the mesh, stacked; see `ocijax.model.parameters.parameter_table`.
      dtype: of the weights.
      mesh: where they are.
      transposed: whether in the layers' weights the inputs come last, as
        `ocijax.model.decoder.project_transposed` takes them.
      int8: whether the layers' weights are in eight bits, with an fp32 scale for each output
        beside them: ``query_scale`` of ``query``.
    """
    table = parameter_table(config)

    @partial(jax.jit, static_argnames="inputs")
    def of_layers(*stacks: jax.Array, inputs: int) -> tuple[tuple[jax.Array, ...], ...]:
        def of_layer(*parts: jax.Array) -> tuple[jax.Array, ...]:
            weight = jnp.concatenate(parts, axis=inputs) if len(parts) > 1 else parts[0]
            scales = ()
            if int8 and inputs:
                weight, scale = quantize(weight, range(inputs))
                scales = (scale.reshape(scale.shape[inputs:]),)
            else:
                weight = weight.astype(dtype)
            if transposed:
                weight = jnp.moveaxis(weight, range(inputs), range(-inputs, 0))
            return weight, *scales

        layers = [of_layer(*parts) for parts in zip(*stacks, strict=True)]
        return tuple(zip(*layers, strict=True))

    weights = {}
    for path, group in _groups(parameters, mesh).items():
        stacks = [parameters[part] for part in group]
        if path.startswith(LAYERS):
            arrays = of_layers(*stacks, inputs=table[group[0]].inputs)
            weights |= zip((path, f"{path}_scale"), arrays, strict=False)
        else:
            weights[path] = stacks[0].astype(dtype)
    return weights


def abstract_weights(config: ModelConfig, dtype: str, mesh: Mesh) -> Weights:
    """Shapes, dtypes and shardings of `sampling_weights`, as `jax.ShapeDtypeStruct` leaves."""
    table = parameter_table(config)
    shardings, weights = table_shardings(table, mesh), {}
    for path, group in _groups(table, mesh).items():
        shapes, sharding = [table[part].layer_shape for part in group], shardings[group[0]]
        if path.startswith(LAYERS):
            sharding = NamedSharding(mesh, PartitionSpec(*sharding.spec[1:]))
        shape = list(shapes[0])
        if len(group) > 1:
            outputs = table[group[0]].inputs
            shape[outputs] = sum(part[outputs] for part in shapes)
        array = jax.ShapeDtypeStruct(tuple(shape), jnp.dtype(dtype), sharding=sharding)
        layers = config.num_hidden_layers
        weights[path] = (array,) * layers if path.startswith(LAYERS) else array
    return weights


def _groups(paths: Collection[str], mesh: Mesh) -> dict[str, tuple[str, ...]]:
    """Of which parameters each weight is made, by its path."""
    groups = {path: (path,) for path in paths}
    if axis_size(mesh, "heads") == 1:
        for names in JOINED:
            group = tuple(f"{LAYERS}{name}" for name in names)
            if all(path in groups for path in group):
                groups = {path: parts for path, parts in groups.items() if path not in group}
                groups[LAYERS + joined(names)] = group
    return groups
