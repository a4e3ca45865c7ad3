"""Parameters from the tensors of a Hugging Face folder, and back: one stacked array at a time."""

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from ocijax.errors import InputError
from ocijax.hugging_face.tensors import (
    MODEL,
    NewTensor,
    StoredTensor,
    find_tensors,
    write_tensors,
)
from ocijax.model.config import ModelConfig
from ocijax.model.parameters import (
    Parameters,
    ParameterSpec,
    from_hugging_face,
    parameter_shardings,
    parameter_table,
    to_hugging_face,
)

Observe = Callable[[int], None]
"""Told how many bytes more are done."""

SHARD_BYTES = 5_000_000_000
"""Most bytes of a file that `save_weights` writes, unless told otherwise."""

_HEAD = "lm_head.weight"
_BUFFER = ".rotary_emb.inv_freq"
"""End of the name of tensors that old files hold and that follow from the config."""
_READERS = min(4, 1 + (os.cpu_count() or 1))
_ALIGNMENT = 64
"""Bytes."""
_CHUNK = 2**18
"""Values looked at together, which the processor's cache holds."""
_BLOCK = 128
"""Columns transposed at once: what they touch stays in the processor's cache."""
_PADDING = 32
"""Values between rows of a block: at distances of a power of two, they would share cache lines."""


def load_weights(
    folder: str | Path,
    config: ModelConfig,
    mesh: Mesh,
    dtype: Any = None,
    observe: Observe = lambda nbytes: None,
) -> Parameters:
    """Parameters from the safetensors files of a folder, onto a mesh.

    Beside this host's share of the arrays, memory holds one stacked array and a few tensors.

    Args:
      folder: as transformers writes it.
      config: what its ``config.json`` says.
      mesh: where the parameters shall live.
      dtype: theirs; by default the one of the files, the widest where they have several.
      observe: told the bytes read, tensor by tensor.

    Raises:
      InputError: a file is missing or damaged; tensors do not fit the config, by name or shape, or
        hold values that are not finite in ``dtype``; or the mesh does not divide the model.
    """
    stored = model_tensors(folder, config)
    dtype = np.dtype(dtype) if dtype else widest_dtype(stored)
    shardings = parameter_shardings(config, mesh)
    parameters = {}
    with ThreadPoolExecutor(_READERS) as pool:
        for path, spec in parameter_table(config).items():
            tensors = [stored[name] for name in spec.names]
            values = _read_stack(spec, tensors, dtype, pool, observe)
            parameters[path] = jax.make_array_from_callback(
                spec.shape, shardings[path], values.__getitem__
            )
            # The next one may be read when this one has left the host.
            jax.block_until_ready(parameters[path])
            del values
    return parameters


def save_weights(
    folder: str | Path,
    table: Mapping[str, ParameterSpec],
    parameters: Parameters,
    shard_bytes: int = SHARD_BYTES,
    observe: Observe = lambda nbytes: None,
    stem: str = MODEL,
) -> None:
    """Writes parameters as safetensors files, with an index where there are several.

    Args:
      folder: there already.
      table: a model's, or an adapter's.
      parameters: of that table.
      shard_bytes: most bytes of tensors in a file.
      observe: told the bytes written, tensor by tensor.
      stem: what the files' names begin with.

    Raises:
      InputError: a value is not finite, or a file cannot be written.
    """
    tensors = []
    for path, spec in table.items():
        stack = _Stack(path, spec, parameters[path])
        for layer, name in enumerate(spec.names):
            tensors.append(
                NewTensor(
                    name,
                    np.dtype(parameters[path].dtype),
                    spec.hugging_face_shape,
                    lambda stack=stack, layer=layer: stack.tensor(layer),
                )
            )
    write_tensors(folder, tensors, shard_bytes, observe, stem)


def model_tensors(folder: str | Path, config: ModelConfig) -> dict[str, StoredTensor]:
    """The tensors of a folder that a model has, each name once and of the right shape.

    Left out are the buffers of old files, and the head of a tied model.

    Raises:
      InputError: a name is missing or unknown, a shape is wrong, or the head of a tied model is
        not its embedding.
    """
    folder = Path(folder)
    found = find_tensors(folder)
    shapes = {
        name: spec.hugging_face_shape
        for spec in parameter_table(config).values()
        for name in spec.names
    }
    if config.tie_word_embeddings and _HEAD in found:
        _check_tied(found[_HEAD], found)
    for name, tensor in found.items():
        if name in shapes and tensor.shape != shapes[name]:
            raise InputError(
                f"{tensor.file}: {name} is {list(tensor.shape)}, but {list(shapes[name])} by "
                "config.json"
            )
        tied_head = name == _HEAD and config.tie_word_embeddings
        if name not in shapes and not tied_head and not name.endswith(_BUFFER):
            raise InputError(f"{tensor.file}: {name} belongs to no parameter by config.json")
    for name in shapes:
        if name not in found:
            raise InputError(f"{folder}: {name} is in none of the files; get them anew")
    return {name: found[name] for name in shapes}


def widest_dtype(tensors: Mapping[str, StoredTensor]) -> np.dtype:
    """The dtype that holds all of these tensors exactly."""
    dtypes = {tensor.dtype for tensor in tensors.values()}
    return np.dtype(jax.numpy.result_type(*dtypes))


def differing_tensors(
    parameters: Parameters,
    table: Mapping[str, ParameterSpec],
    stored: Mapping[str, StoredTensor],
    observe: Observe = lambda nbytes: None,
) -> Iterator[str]:
    """Names of the tensors in which parameters and files differ by a bit.

    Args:
      parameters: of a model, or an adapter.
      table: its own.
      stored: the tensors by name; cast to the parameters' dtype before they are compared.
      observe: told the bytes compared, tensor by tensor.
    """
    for path, spec in table.items():
        stack = _Stack(path, spec, parameters[path])
        for layer, name in enumerate(spec.names):
            there = np.asarray(stored[name].read(), parameters[path].dtype)
            here = stack.tensor(layer)
            if not np.array_equal(here.view(_bits(here.dtype)), there.view(_bits(there.dtype))):
                yield name
            observe(there.nbytes)


class _Stack:
    """A parameter's tensors in a checkpoint's layout; fetched from the devices when first asked."""

    def __init__(self, path: str, spec: ParameterSpec, array: jax.Array):
        self._path = path
        self._spec = spec
        self._array = array
        self._host: np.ndarray | None = None

    def tensor(self, layer: int) -> np.ndarray:
        """That of a layer; after the last one the host's copy is let go."""
        if self._host is None:
            host = np.asarray(self._array)
            self._host = host if self._spec.stacked else host[None]
        values = self._host[layer]
        if layer == len(self._host) - 1:
            self._host = None
        if not _finite(values):
            raise InputError(f"{self._spec.names[layer]}: {self._path} has values not finite")
        target = np.empty(self._spec.hugging_face_shape, _bits(values.dtype))
        _copy(self._spec, to_hugging_face(self._spec, values.view(target.dtype)), target)
        return target.view(values.dtype)


def _read_stack(
    spec: ParameterSpec,
    tensors: Sequence[StoredTensor],
    dtype: np.dtype,
    pool: ThreadPoolExecutor,
    observe: Observe,
) -> np.ndarray:
    """A parameter from its layers' tensors, as one array on the host."""
    stack = _aligned(spec.shape, _bits(dtype))
    most = max(tensor.nbytes for tensor in tensors)
    memories = [np.empty(most, np.uint8) for _ in tensors[:_READERS]]

    def read(layer: np.ndarray, tensor: StoredTensor) -> int:
        memory = memories.pop()
        _copy(spec, from_hugging_face(spec, _finite_bits(tensor, memory, dtype)), layer)
        memories.append(memory)
        return tensor.nbytes

    # Not a sum at the end: whoever observes wants to see it grow.
    for nbytes in pool.map(read, stack if spec.stacked else stack[None], tensors):
        observe(nbytes)
    return stack.view(dtype)


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An empty array that JAX takes over as it is on a CPU, where others are copied."""
    memory = np.empty(math.prod(shape) * dtype.itemsize + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : memory.size - _ALIGNMENT + start].view(dtype).reshape(shape)


def _check_tied(head: StoredTensor, found: Mapping[str, StoredTensor]) -> None:
    embedding = found.get("model.embed_tokens.weight")
    if embedding and not np.array_equal(
        head.read().reshape(-1).view(np.uint8), embedding.read().reshape(-1).view(np.uint8)
    ):
        raise InputError(
            f"{head.file}: {head.name} is not the embedding, but config.json ties them; set "
            "tie_word_embeddings to false there"
        )


def _finite_bits(tensor: StoredTensor, memory: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A tensor's values in this dtype, as the unsigned integers of their bits, in ``memory``."""
    with np.errstate(over="ignore"):
        values = np.asarray(tensor.read(memory), dtype)
    if not _finite(values):
        raise InputError(f"{tensor.file}: {tensor.name} has values that are not finite in {dtype}")
    return values.view(_bits(dtype))


def _finite(values: np.ndarray) -> bool:
    """Whether no exponent is all ones; by bits, many times faster than by value in bfloat16."""
    bits = values.reshape(-1).view(_bits(values.dtype))
    infinity = np.array(np.inf, values.dtype).view(bits.dtype) << 1
    parts = (bits[start : start + _CHUNK] for start in range(0, bits.size, _CHUNK))
    return all((part << 1).max() < infinity for part in parts)


def _bits(dtype: np.dtype) -> np.dtype:
    """The unsigned integer as wide as a dtype: NumPy copies it faster than bfloat16."""
    return np.dtype(f"u{dtype.itemsize}")


def _copy(spec: ParameterSpec, source: np.ndarray, target: np.ndarray) -> None:
    """Copies one layer's array between the layouts; either may be a view of the other's memory."""
    if not spec.inputs:
        target[...] = source
        return
    rows = target.shape[0] if target.ndim == 2 else math.prod(spec.layer_shape[: spec.inputs])
    source, target = source.reshape(rows, -1), target.reshape(rows, -1)
    spread = np.empty((_BLOCK, rows + _PADDING), target.dtype)
    for start in range(0, target.shape[1], _BLOCK):
        columns = source[:, start : start + _BLOCK].T
        block = spread[: len(columns), :rows]
        block[...] = columns
        target[:, start : start + _BLOCK] = block.T
