"""Turns Hugging Face folders into checkpoints, and checkpoints into Hugging Face folders.

    python -m launch.convert --from_hf=deepseek-coder-1.3b-base --to=models/base \
        --template=deepseek-coder
    python -m launch.convert --from=runs/first --to_hf=models/first --dtype=bfloat16

Neither needs torch or transformers. What is written takes its name only when all of it is there
and was checked: every tensor once, shapes, dtypes, finite values. --verify reads it again and
compares every tensor with its source, bit for bit.
"""

import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags
from tqdm import tqdm

from ocijax.errors import InputError
from ocijax.hugging_face.adapter import write_adapter_config
from ocijax.hugging_face.folder import CONFIG, is_hugging_face, read_folder, write_folder
from ocijax.hugging_face.model_card import model_card
from ocijax.hugging_face.tensors import ADAPTER, MODEL, StoredTensor, find_tensors
from ocijax.hugging_face.weights import (
    Observe,
    differing_tensors,
    load_weights,
    model_tensors,
    save_weights,
    widest_dtype,
)
from ocijax.model.lora import adapter_table
from ocijax.model.parameters import Parameters, ParameterSpec, parameter_table
from ocijax.new_folder import new_folder
from ocijax.program import run
from ocijax.sharding import MeshConfig, make_mesh
from ocijax.train.checkpoint import (
    load_adapter,
    load_description,
    load_parameters,
    save_model,
    stored_dtypes,
)

_LOOK_SECONDS = 0.2


def import_model(
    source: str | Path,
    target: str | Path,
    *,
    template: str = "",
    dtype: str = "",
    overwrite: bool = False,
    verify: bool = False,
) -> str:
    """Makes a checkpoint of a Hugging Face folder; gives a line about what was written.

    Args:
      source: with config.json, safetensors files and a tokenizer.
      target: a folder that `ocijax.train.checkpoint.load_model` reads.
      template: name of the chat template; by default recognised, see
        `ocijax.hugging_face.folder.read_folder`.
      dtype: of the parameters; by default the files' own.
      overwrite: replace a target that is there.
      verify: read the checkpoint and compare it with the files.

    Raises:
      InputError: the folder is no model that we know, or the target cannot be written.
    """
    _check_apart(source, target, "--to")
    mesh = make_mesh(MeshConfig(), jax.local_devices()[:1])
    with new_folder(target, "--to", overwrite) as unfinished:
        description = read_folder(source, template)
        config = description.config
        stored = model_tensors(source, config)
        with progress("reading", stored) as observe:
            parameters = load_weights(source, config, mesh, dtype or None, observe)
        size = total(parameters)
        kind = np.dtype(dtype) if dtype else widest_dtype(stored)
        # Orbax wants to make the folder itself.
        whole = unfinished / "whole"
        with progress("writing", parameters) as observe, watch(unfinished, size, observe):
            save_model(whole, parameters, description)
        for part in whole.iterdir():
            part.rename(unfinished / part.name)
        whole.rmdir()
        if set(stored_dtypes(unfinished, config).values()) != {kind}:
            raise RuntimeError(f"{target}: other dtypes were written than {kind}")
        said = f"{target}: {len(stored)} tensors, {size:,} bytes, {kind}, finite"
        if not verify:
            return said
        # Read again, they take the place in memory that they leave.
        del parameters
        parameters = load_parameters(unfinished, config, mesh)
        return said + _verified(parameters, parameter_table(config), stored, Path(target))


def export_model(
    source: str | Path,
    target: str | Path,
    *,
    dtype: str = "",
    shard_bytes: int,
    scores: Sequence[Mapping[str, Any]] = (),
    overwrite: bool = False,
    verify: bool = False,
    peft: bool = False,
) -> str:
    """Makes a Hugging Face folder of a checkpoint; gives a line about what was written.

    An adapter is merged into the model that it was trained on, unless ``peft``.

    Args:
      source: a checkpoint, or a training workdir.
      target: a folder that transformers reads.
      dtype: of the tensors; by default the checkpoint's own.
      shard_bytes: most bytes of tensors in a file.
      scores: rows of ``summary.json`` for the model card.
      overwrite: replace a target that is there.
      verify: read the files and compare them with the checkpoint.
      peft: write the adapter alone, as the PEFT library reads it; ``dtype`` is then its own.

    Raises:
      InputError: there is no checkpoint, no architecture of transformers is this model, the
        checkpoint is not that of an adapter, or the target cannot be written.
    """
    _check_apart(source, target, "--to_hf")
    if is_hugging_face(source):
        raise InputError(f"--from={source}: is a Hugging Face folder; name a checkpoint")
    mesh = make_mesh(MeshConfig(), jax.local_devices()[:1])
    with new_folder(target, "--to_hf", overwrite) as unfinished:
        description = load_description(source)
        config = description.config
        if peft:
            parameters = load_adapter(source, mesh)
            table, stem = adapter_table(config, description.adapter.lora), ADAPTER
        else:
            parameters = load_parameters(source, config, mesh, dtype or None)
            table, stem = parameter_table(config), MODEL
        (kind,) = {array.dtype for array in parameters.values()}
        write_folder(unfinished, description, kind)
        if peft:
            # With one of these, transformers would look for a whole model.
            (unfinished / CONFIG).unlink()
            write_adapter_config(unfinished, config, description.adapter)
        card = model_card(
            Path(target).name, description, scores, "peft" if peft else "transformers"
        )
        (unfinished / "README.md").write_text(card)
        with progress("writing", parameters) as observe:
            # PEFT reads one file only.
            most = total(parameters) if peft else shard_bytes
            save_weights(unfinished, table, parameters, most, observe, stem)
        stored = find_tensors(unfinished, stem) if peft else model_tensors(unfinished, config)
        if widest_dtype(stored) != kind:
            raise RuntimeError(f"{target}: other dtypes were written than {kind}")
        said = f"{target}: {len(stored)} tensors, {total(stored):,} bytes, {kind}, finite"
        return said + _verified(parameters, table, stored, Path(target)) if verify else said


def read_scores(files: Sequence[str]) -> list[Mapping[str, Any]]:
    """The rows of files that ``eval.run`` wrote.

    Raises:
      InputError: a file cannot be read.
    """
    rows = []
    for file in files:
        try:
            rows += json.loads(Path(file).read_text())
        except (OSError, ValueError) as error:
            raise InputError(f"--scores={file}: not the summary.json of an evaluation") from error
    return rows


def total(arrays: Mapping[str, jax.Array | StoredTensor]) -> int:
    """Bytes of all arrays or tensors."""
    return sum(array.nbytes for array in arrays.values())


@contextmanager
def progress(action: str, arrays: Mapping[str, jax.Array | StoredTensor]) -> Iterator[Observe]:
    """A bar on standard error that counts bytes."""
    with tqdm(
        total=total(arrays),
        desc=action,
        unit="B",
        unit_scale=True,
        dynamic_ncols=True,
        file=sys.stderr,
    ) as bar:
        yield bar.update


@contextmanager
def watch(folder: Path, size: int, observe: Observe) -> Iterator[None]:
    """Reports what is written into a folder meanwhile, by whoever does not report it himself.

    Args:
      folder: there already.
      size: bytes that will have been written in the end, but for what describes them.
      observe: told how many bytes more there are.
    """
    told, done = 0, threading.Event()

    def look() -> None:
        nonlocal told
        while not done.wait(_LOOK_SECONDS):
            now = min(size, _bytes_in(folder))
            observe(now - told)
            told = now

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    observe(size - told)


def _bytes_in(folder: Path) -> int:
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            # It may have got another name since.
            with suppress(FileNotFoundError):
                size += os.stat(os.path.join(place, name)).st_size
    return size


def _check_apart(source: str | Path, target: str | Path, flag: str) -> None:
    """Refuses a target that, replaced, would take the source away before it is whole again."""
    place = Path(source).resolve()
    if Path(target).resolve() in (place, *place.parents):
        raise InputError(f"{flag}={target}: holds {source}, which is read; choose another {flag}")


def _verified(
    parameters: Parameters,
    table: Mapping[str, ParameterSpec],
    stored: Mapping[str, StoredTensor],
    target: Path,
) -> str:
    with progress("verifying", stored) as observe:
        differing = list(differing_tensors(parameters, table, stored, observe))
    if differing:
        raise InputError(
            f"{target}: {len(differing)} tensors came back otherwise than they were written, "
            f"{differing[0]} among them; is the disk sound?"
        )
    return ", verified bit for bit"


def main() -> None:
    """Converts in the direction that the flags say."""
    values = flags.FLAGS
    importing, exporting = (values.from_hf, values.to), (values["from"].value, values.to_hf)
    if any(importing) == any(exporting) or not (all(importing) or all(exporting)):
        raise InputError("give either --from_hf=DIR and --to=DIR, or --from=DIR and --to_hf=DIR")
    # From files to files: an accelerator would have to hold the whole model.
    jax.config.update("jax_platforms", "cpu")
    shared = {"dtype": values.dtype, "overwrite": values.overwrite, "verify": values.verify}
    if values.from_hf:
        if values.scores:
            raise InputError("--scores: is for the model card, which --to_hf writes")
        if values.peft:
            raise InputError("--peft: is for --to_hf; there is no reading of such folders")
        said = import_model(values.from_hf, values.to, template=values.template, **shared)
    else:
        if values.template:
            raise InputError("--template: is for --from_hf; a checkpoint has its own")
        said = export_model(
            values["from"].value,
            values.to_hf,
            shard_bytes=round(values.shard_gigabytes * 1e9),
            scores=read_scores(values.scores),
            peft=values.peft,
            **shared,
        )
    print(said)


if __name__ == "__main__":
    flags.DEFINE_string("from_hf", "", "Hugging Face folder to read.")
    flags.DEFINE_string("to", "", "Checkpoint to write.")
    flags.DEFINE_string("from", "", "Checkpoint, or training workdir, to read.")
    flags.DEFINE_string("to_hf", "", "Hugging Face folder to write.")
    flags.DEFINE_string("template", "", "Chat template; by default the one that the folder has.")
    flags.DEFINE_enum("dtype", "", ["", "float32", "bfloat16", "float16"], "By default as it is.")
    flags.DEFINE_float("shard_gigabytes", 5.0, "Most of a file that --to_hf writes.", lower_bound=0)
    flags.DEFINE_bool("peft", False, "Write a LoRA adapter alone, for PEFT, instead of merged.")
    flags.DEFINE_list("scores", [], "summary.json files of eval.run, for the model card.")
    flags.DEFINE_bool("overwrite", False, "Replace the target if it is there.")
    flags.DEFINE_bool("verify", False, "Read what was written and compare it bit for bit.")
    run(main)
