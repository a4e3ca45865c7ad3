"""Importing a Hugging Face folder: bytes per second beside a plain copy, and peak memory.

    python -m benchmarks.convert --shape=6.7b --folder=/scratch

The folder, random weights in bfloat16 in shards of 5 GB, is made first. It, its copy and the
checkpoint each take as much room as the model, and are removed at the end. Copy and import begin
with files that the system does not hold in memory, and end with files that are on the disk. Before
each, memory is touched once: a virtual machine's is slow to come, for whichever wants it first.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import jax.numpy as jnp
import numpy as np
from absl import flags

from benchmarks.shapes import SHAPES
from ocijax.conversation import Conversation, Message
from ocijax.hugging_face.config import write_config
from ocijax.hugging_face.folder import CONFIG
from ocijax.hugging_face.tensors import NewTensor, write_json, write_tensors
from ocijax.hugging_face.weights import SHARD_BYTES
from ocijax.model.config import ModelConfig
from ocijax.model.parameters import parameter_count, parameter_table
from ocijax.program import run
from ocijax.template import LLAMA2
from ocijax.vocabulary import train_vocabulary

SHAPE = flags.DEFINE_enum("shape", "tiny", list(SHAPES), "Model shape.")
FOLDER = flags.DEFINE_string("folder", None, "Where to work; by default a temporary folder.")

T = TypeVar("T")
BFLOAT16 = np.dtype(jnp.bfloat16)
DRAWN = 2**24
"""Values drawn at random; tensors repeat them."""


def write_model(folder: Path, config: ModelConfig) -> None:
    """A folder of random weights with all that an import wants."""
    drawn = np.random.default_rng(0).standard_normal(DRAWN, np.float32).astype(BFLOAT16)
    tensors = [
        NewTensor(
            name,
            BFLOAT16,
            spec.hugging_face_shape,
            lambda shape=spec.hugging_face_shape: np.resize(drawn, shape),
        )
        for spec in parameter_table(config).values()
        for name in spec.names
    ]
    folder.mkdir()
    write_tensors(folder, tensors, SHARD_BYTES)
    write_json(folder / CONFIG, write_config(config))
    text = Conversation("1", (Message("user", "add"), Message("assistant", "return")))
    (folder / "tokenizer.model").write_bytes(train_vocabulary([text], LLAMA2, 300))


def forget(folder: Path) -> None:
    """Has the system drop a folder's files from memory."""
    os.sync()
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def touch_memory() -> None:
    """Writes to most of the memory that is free, in a process of its own."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    code = f"import numpy; numpy.ones({int(0.8 * free)}, numpy.uint8)"
    subprocess.run([sys.executable, "-c", code], check=True)


def timed(source: Path, action: Callable[[], T]) -> tuple[float, T]:
    """How many seconds something takes until what it wrote is on the disk, and what it returns."""
    forget(source)
    touch_memory()
    start = time.perf_counter()
    result = action()
    os.sync()
    return time.perf_counter() - start, result


def import_folder(source: Path, target: Path) -> int:
    """Runs the program; returns the most memory that it held, in bytes."""
    flags = [f"--from_hf={source}", f"--to={target}", "--template=llama-2"]
    program = subprocess.Popen([sys.executable, "-m", "launch.convert", *flags])
    _, status, usage = os.wait4(program.pid, 0)
    if status:
        raise RuntimeError("launch.convert failed")
    return usage.ru_maxrss * 1024


def main() -> None:
    """Makes the folder, times copy and import, and prints the table."""
    config = SHAPES[SHAPE.value]
    size = parameter_count(config) * BFLOAT16.itemsize
    largest = max(spec.size for spec in parameter_table(config).values()) * BFLOAT16.itemsize
    with tempfile.TemporaryDirectory(dir=FOLDER.value) as work:
        source, copy = Path(work, "source"), Path(work, "copy")
        write_model(source, config)
        copied, _ = timed(source, lambda: shutil.copytree(source, copy))
        shutil.rmtree(copy)
        imported, peak = timed(source, lambda: import_folder(source, Path(work, "checkpoint")))
    print(f"shape {SHAPE.value}: {size:,} bytes, {largest:,} in the largest stacked tensor")
    print(f"{'':16}{'seconds':>10}{'GB/s':>8}{'ratio':>8}")
    for name, time_taken in (("plain copy", copied), ("import", imported)):
        speed, ratio = size / time_taken / 1e9, copied / time_taken
        print(f"{name:16}{time_taken:10.1f}{speed:8.2f}{ratio:8.2f}")
    allowed = size + largest + 2 * 2**30
    print(f"peak memory {peak / 2**30:.2f} GiB, of {allowed / 2**30:.2f} GiB allowed")


if __name__ == "__main__":
    run(main)
