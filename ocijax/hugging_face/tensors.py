"""Tensors of a Hugging Face folder, read and written one at a time.

A safetensors file is the length of its header (8 bytes, little-endian), the header (JSON: dtype,
shape and place of each tensor) and the data, see https://github.com/huggingface/safetensors. The
format's own library reads no bfloat16 into NumPy and writes no file that it does not hold whole.
"""

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from ocijax.errors import InputError

MODEL, ADAPTER = "model", "adapter_model"
"""What the names of files with tensors begin with: of a model, and of a PEFT adapter."""

_FILE, _INDEX = ".safetensors", ".safetensors.index.json"
_DTYPES = {
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(jnp.bfloat16),
}
_DTYPE_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_LONGEST_HEADER = 100_000_000
"""Bytes; the library's own limit."""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file.

    Attributes:
      file: the safetensors file.
      name: of the tensor.
      dtype: floating point.
      shape: as stored.
      start: where its data begins in the file, in bytes.
    """

    file: Path
    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    start: int

    @property
    def nbytes(self) -> int:
        """Size of its data."""
        return math.prod(self.shape) * self.dtype.itemsize

    def read(self, memory: np.ndarray | None = None) -> np.ndarray:
        """Its values.

        Args:
          memory: bytes, at least ``nbytes`` of them, that shall hold them; by default new ones,
            which the system has to clear first.

        Raises:
          InputError: the file cannot be read.
        """
        content = np.empty(self.nbytes, np.uint8) if memory is None else memory[: self.nbytes]
        reached = 0
        try:
            with open(self.file, "rb", buffering=0) as file:
                file.seek(self.start)
                # The system reads two gigabytes at most at once.
                while reached < self.nbytes and (more := file.readinto(content[reached:])):
                    reached += more
                # Read once only, it would keep memory from what is written next.
                os.posix_fadvise(file.fileno(), self.start, self.nbytes, os.POSIX_FADV_DONTNEED)
        except OSError as error:
            raise InputError(f"{self.file}: cannot be read: {error.strerror}") from error
        if reached < self.nbytes:
            raise InputError(f"{self.file}: {self.name} ends early; get the file anew")
        return content.view(self.dtype).reshape(self.shape)


@dataclass(frozen=True)
class NewTensor:
    """A tensor to write.

    Attributes:
      name: unique in its folder.
      dtype: one that safetensors has.
      shape: to store.
      values: gives an array of that dtype and shape; asked once, in the order of writing.
    """

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    values: Callable[[], np.ndarray]

    @property
    def nbytes(self) -> int:
        """Size of its data."""
        return math.prod(self.shape) * self.dtype.itemsize


def find_tensors(folder: str | Path, stem: str = MODEL) -> dict[str, StoredTensor]:
    """All tensors of a folder by name, from one file or from the shards of an index.

    Only headers are read.

    Args:
      folder: as transformers or PEFT writes it.
      stem: what the files' names begin with.

    Raises:
      InputError: there are no safetensors files, a shard is missing or cut off, or files and index
        disagree.
    """
    folder = Path(folder)
    index = folder / f"{stem}{_INDEX}"
    if not index.is_file():
        if not (folder / f"{stem}{_FILE}").is_file():
            raise InputError(_without_safetensors(folder, stem))
        return _read_header(folder / f"{stem}{_FILE}")
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(one, str) for one in places.values()):
        raise InputError(f"{index}: has no weight_map of names to files; get it anew")
    found: dict[str, StoredTensor] = {}
    for shard in sorted(set(places.values())):
        if not (folder / shard).is_file():
            raise InputError(f"{folder}: {shard} is missing, which {index.name} names; get it too")
        for name, tensor in _read_header(folder / shard).items():
            if places.get(name) != shard:
                raise InputError(f"{tensor.file}: holds {name}, but {index.name} does not say so")
            found[name] = tensor
    for name, shard in places.items():
        if name not in found:
            raise InputError(f"{folder / shard}: lacks {name}, which {index.name} says is there")
    return found


def write_tensors(
    folder: str | Path,
    tensors: Sequence[NewTensor],
    shard_bytes: int,
    observe: Callable[[int], None] = lambda nbytes: None,
    stem: str = MODEL,
) -> None:
    """Writes tensors, in their order, into as few files as hold ``shard_bytes`` of data each.

    Args:
      folder: there already.
      tensors: at least one; one that is larger than a shard has a file of its own.
      shard_bytes: most data of a file; where one is enough, there is no index.
      observe: told how many bytes were written, after each tensor.
      stem: what the files' names begin with.

    Raises:
      InputError: a file cannot be written.
    """
    folder = Path(folder)
    shards = _cut(tensors, shard_bytes)
    names = [f"{stem}{_FILE}"]
    if len(shards) > 1:
        count = len(shards)
        names = [f"{stem}-{place:05}-of-{count:05}{_FILE}" for place in range(1, count + 1)]
    try:
        for name, shard in zip(names, shards, strict=True):
            _write_file(folder / name, shard, observe)
        if len(shards) > 1:
            places = {
                tensor.name: name
                for name, shard in zip(names, shards, strict=True)
                for tensor in shard
            }
            total = sum(tensor.nbytes for tensor in tensors)
            write_json(
                folder / f"{stem}{_INDEX}",
                {"metadata": {"total_size": total}, "weight_map": places},
            )
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}") from error


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
      InputError: it cannot be read, or holds something else.
    """
    return parse_json(read_bytes(path), path)


def parse_json(content: bytes, path: Path) -> dict[str, Any]:
    """The object that the content of a JSON file is.

    Raises:
      InputError: it is something else; ``path`` is named.
    """
    try:
        value = json.loads(content)
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: holds no JSON object")
    return value


def read_bytes(path: Path) -> bytes:
    """The content of a small file.

    Raises:
      InputError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes an object as a JSON file, as Hugging Face's libraries lay it out."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _without_safetensors(folder: Path, stem: str) -> str:
    """The message for a folder without safetensors files."""
    if not folder.is_dir():
        return f"{folder}: there is no such folder"
    if not any(folder.glob("*.bin")):
        return f"{folder}: holds neither {stem}{_FILE} nor {stem}{_INDEX}"
    return (
        f"{folder}: holds .bin files only, which we do not read; where torch and transformers are "
        'installed, this writes safetensors: python -c "from transformers import '
        f"AutoModelForCausalLM as M; M.from_pretrained('{folder}', dtype='auto')"
        f".save_pretrained('{folder}')\""
    )


def _read_header(path: Path) -> dict[str, StoredTensor]:
    """The tensors of one file; refuses a file that is not as long as its header says."""
    broken = f"{path}: not a whole safetensors file"
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _LONGEST_HEADER):
            raise InputError(f"{broken}: its header is cut off; get it anew")
        try:
            header = dict(json.loads(file.read(length)))
            header.pop("__metadata__", None)
            entries = [
                (name, str(entry["dtype"]), _sizes(entry["shape"]), _sizes(entry["data_offsets"]))
                for name, entry in header.items()
            ]
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{broken}: its header cannot be understood; get it anew") from error
    tensors, reached = {}, 0
    for name, dtype, shape, place in sorted(entries, key=lambda entry: entry[-1]):
        if dtype not in _DTYPES:
            raise InputError(
                f"{path}: {name} is {dtype}; only {', '.join(_DTYPES)} are supported, so take the "
                "files from before it was quantised"
            )
        tensor = StoredTensor(path, name, _DTYPES[dtype], shape, 8 + length + reached)
        # One begins where the one before ends, so that no byte is that of two.
        if place != (reached, reached + tensor.nbytes):
            raise InputError(
                f"{broken}: {name} of shape {list(shape)} is at {list(place)}, but due at "
                f"{[reached, reached + tensor.nbytes]}; get it anew"
            )
        tensors[name] = tensor
        reached += tensor.nbytes
    if size != 8 + length + reached:
        raise InputError(
            f"{broken}: it has {size} bytes, but its header speaks of {8 + length + reached}; get "
            "it anew"
        )
    return tensors


def _sizes(value: Any) -> tuple[int, ...]:
    """A list of a header; raises ValueError where it holds something else."""
    if not isinstance(value, list) or not all(type(one) is int and one >= 0 for one in value):
        raise ValueError(f"{value!r} is no list of sizes")
    return tuple(value)


def _cut(tensors: Iterable[NewTensor], shard_bytes: int) -> list[list[NewTensor]]:
    shards: list[list[NewTensor]] = []
    room = 0
    for tensor in tensors:
        if not shards or tensor.nbytes > room:
            shards.append([])
            room = shard_bytes
        shards[-1].append(tensor)
        room -= tensor.nbytes
    return shards


def _write_file(path: Path, tensors: Sequence[NewTensor], observe: Callable[[int], None]) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors:
        start, end = end, end + tensor.nbytes
        header[tensor.name] = {
            "dtype": _DTYPE_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    # Data begins at a multiple of eight bytes; space may end the header.
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors:
            values = np.ascontiguousarray(tensor.values())
            if (values.dtype, values.shape) != (tensor.dtype, tensor.shape):
                raise ValueError(f"{tensor.name} is {values.dtype}{values.shape}")
            file.write(values.reshape(-1).view(np.uint8).data)
            observe(tensor.nbytes)
        file.flush()
        os.fsync(file.fileno())
