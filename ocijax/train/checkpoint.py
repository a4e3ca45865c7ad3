"""Checkpoints on disk, by Orbax: a training run's to go on from, a model's to load and use.

    DIR/<step>/params      parameters, by path; or DIR/<step>/adapter, those of an adapter alone
    DIR/<step>/optimizer   the optimizer's state
    DIR/<step>/data        state of the data iterator
    DIR/<step>/model       shape of the model, name of its template, and what it was trained by
    DIR/<step>/tokenizer   tokenizer.json or tokenizer.model
    DIR/<step>/files       small files of the Hugging Face folder that it came from, if it did

The parts are separate, so a sampler reads no more than it needs, and a step's folder is all that
it needs. A folder takes its name ``<step>`` only when it is complete. Where a model is wanted, a
Hugging Face folder will do as well.
"""

from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from orbax.checkpoint import v1 as ocp

from ocijax.configuration import differences, from_mapping, to_mapping
from ocijax.errors import InputError
from ocijax.hugging_face.folder import (
    KEPT,
    is_hugging_face,
    kept_files,
    read_folder,
    read_model_config,
    without_template,
    without_tokenizer,
)
from ocijax.hugging_face.weights import load_weights
from ocijax.model.config import ModelConfig
from ocijax.model.description import AdapterDescription, ModelDescription
from ocijax.model.lora import adapter_table, merge_adapter
from ocijax.model.parameters import Parameters, ParameterSpec, parameter_table, table_shardings
from ocijax.sharding import MeshConfig, make_mesh
from ocijax.template import Template, get_template
from ocijax.tokenizer import Tokenizer, load_tokenizer, tokenizer_file
from ocijax.train.step import TrainState

_WRITTEN_AT_ONCE = 2**30
"""Bytes that saving a model alone may hold beside it, or those of its largest array."""
_LOSS = "evaluation_loss"
_CHUNK_BYTES = 2**26
"""Of an array, in a file; so many are copied at once."""


class LoadedModel(NamedTuple):
    """A model ready to use, see `load_model`."""

    config: ModelConfig
    parameters: Parameters
    tokenizer: Tokenizer
    template: Template


class Checkpoints:
    """The checkpoints of one training run; use as a context manager.

    Saving runs in the background: what fails there is raised by the next call of any method but
    `restore`, and by the end of the context.

    Args:
      directory: holds one folder for each step; made where absent.
      description: travels with every checkpoint.
      keep: how many of the latest checkpoints stay, beside that with the lowest evaluation loss.
      keep_every: those of steps that this divides stay as well; 0: none for that.
    """

    def __init__(
        self,
        directory: str | Path,
        description: ModelDescription,
        keep: int,
        keep_every: int = 0,
    ):
        self._directory = Path(directory).absolute()
        self._description = description
        self._arrays = "adapter" if description.adapter else "params"
        self._pending: tuple[int, Any] | None = None
        self._checkpointer = ocp.training.Checkpointer(
            self._directory,
            context=_context(),
            preservation_policy=_policy(keep, keep_every),
            cleanup_tmp_directories=True,
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind, *_) -> None:
        # After a failure closing would only raise it again; a save under way ends by itself.
        if kind is None:
            self.wait()
            self._checkpointer.close()

    @property
    def latest_step(self) -> int | None:
        """The latest complete checkpoint, if there is one."""
        latest = self._checkpointer.latest
        return None if latest is None else latest.step

    def save(
        self,
        step: int,
        state: TrainState,
        data: Mapping[str, Any],
        evaluation_loss: float | None = None,
    ) -> None:
        """Begins to save; returns as soon as the arrays may be overwritten.

        Args:
          step: number of steps done.
          state: after that many steps.
          data: the data iterator's state, as JSON can hold it.
          evaluation_loss: of that state, where it is known.

        Raises:
          InputError: this checkpoint or the one before could not be written.
        """
        self.wait()
        arrays = {self._arrays: state.parameters, "optimizer": state.optimizer}
        parts = {**arrays, "data": dict(data)}
        parts |= _description_parts(self._description)
        try:
            response = self._checkpointer.save_checkpointables_async(
                step,
                parts,
                force=True,
                metrics=None if evaluation_loss is None else {_LOSS: evaluation_loss},
            )
        except Exception as error:
            raise self._failure(step, error) from error
        self._pending = step, response

    def check(self) -> None:
        """Raises what went wrong with a save that ended meanwhile; waits for none.

        Raises:
          InputError: it could not be written; the ones before are untouched.
        """
        if not self._checkpointer.is_saving_in_progress():
            self.wait()

    def wait(self) -> None:
        """Waits for the checkpoint being written.

        Raises:
          InputError: it could not be written; the ones before are untouched.
        """
        if self._pending is None:
            return
        step, response = self._pending
        self._pending = None
        try:
            response.result()
        except Exception as error:
            raise self._failure(step, error) from error

    def restore(self, step: int, state: TrainState) -> tuple[TrainState, dict[str, Any]]:
        """The training state, but for frozen parameters, and the data iterator's, after a step.

        Args:
          step: as `latest_step` gives it.
          state: `jax.ShapeDtypeStruct` leaves that carry shardings.
        """
        parts = {self._arrays: state.parameters, "optimizer": state.optimizer, "data": None}
        loaded = self._checkpointer.load_checkpointables(step, parts)
        return TrainState(loaded[self._arrays], loaded["optimizer"]), loaded["data"]

    def _failure(self, step: int, error: Exception) -> InputError:
        latest = max(saved_steps(self._directory), default=None)
        rest = "none before it" if latest is None else f"that of step {latest} is whole"
        return InputError(
            f"{self._directory}: cannot write the checkpoint of step {step}: {_reason(error)} "
            f"({rest}); mend that and run the same command again"
        )


def save_model(directory: str | Path, parameters: Parameters, model: ModelDescription) -> None:
    """Writes a checkpoint for use alone: a step's folder without optimizer and data state.

    Beside the parameters, memory holds no more than some of them once again.

    Raises:
      InputError: it could not be written.
    """
    context = _context()
    # Compression takes several times as long as the rest, and saves little of a trained model.
    context.array.saving.use_compression = False
    # Gathered in common files, arrays are first copied, at half the speed.
    context.array.saving.use_ocdbt = False
    context.array.saving.storage_options.chunk_byte_size = _CHUNK_BYTES
    # Orbax fails where this is not more than every single array.
    most = max(_WRITTEN_AT_ONCE, *(array.nbytes + 1 for array in parameters.values()))
    context.memory.write_concurrent_bytes = most
    context.memory.transfer_concurrent_bytes = most
    directory = Path(directory).absolute()
    with context:
        try:
            ocp.save_checkpointables(directory, {"params": parameters, **_description_parts(model)})
        except Exception as error:
            raise InputError(f"{directory}: cannot be written: {_reason(error)}") from error


def load_model(
    checkpoint: str | Path, mesh: Mesh | None = None, dtype: Any = None, template: str = ""
) -> LoadedModel:
    """The model of a checkpoint: shape, parameters, tokenizer and template; nothing else is read.

    Example::

      config, parameters, tokenizer, template = load_model("runs/quickstart/train")

    Args:
      checkpoint: a step's folder, a folder of steps or a training workdir: its latest step; or a
        Hugging Face folder.
      mesh: where the parameters shall live; the first device alone by default.
      dtype: of the parameters; as they were saved by default.
      template: name of the chat template, where it is not to be the checkpoint's own.

    Raises:
      InputError: there is no checkpoint, or the mesh does not divide the model.
    """
    mesh = make_mesh(MeshConfig(), jax.local_devices()[:1]) if mesh is None else mesh
    model = load_description(checkpoint, template)
    parameters = load_parameters(checkpoint, model.config, mesh, dtype)
    return LoadedModel(
        model.config, parameters, load_tokenizer(model.tokenizer), get_template(model.template)
    )


def load_description(checkpoint: str | Path, template: str = "") -> ModelDescription:
    """What a checkpoint, or a Hugging Face folder, holds beside the parameters.

    Args:
      checkpoint: as for `load_model`.
      template: name of the chat template, where it is not to be the checkpoint's own.

    Raises:
      InputError: there is no checkpoint; see also `ocijax.hugging_face.folder.read_folder`.
    """
    if is_hugging_face(checkpoint):
        return read_folder(checkpoint, template)
    folder = checkpoint_folder(checkpoint)
    with _context():
        model = ocp.load_checkpointables(folder, {"model": None})["model"]
    adapter = model.get("adapter")
    # Orbax may put files of its own beside them.
    files = [folder / "files" / name for name in KEPT]
    return ModelDescription(
        from_mapping(ModelConfig, model["config"], f"{folder}: model"),
        folder / "tokenizer",
        template or model["template"],
        {path.name: path.read_bytes() for path in files if path.is_file()},
        model.get("recipe"),
        from_mapping(AdapterDescription, adapter, f"{folder}: model.adapter") if adapter else None,
    )


def inherited_files(checkpoint: str | Path, tokenizer: str | Path) -> dict[str, bytes]:
    """The files of a checkpoint that a model trained from it has too.

    Its chat template stays behind, and what belongs to the tokenizer where that is another.

    Args:
      checkpoint: as for `load_model`.
      tokenizer: the trained model's.
    """
    folder = checkpoint_folder(checkpoint)
    if is_hugging_face(folder):
        source, files = folder, kept_files(folder)
    else:
        model = load_description(folder)
        source, files = model.tokenizer, model.files
    files = without_template(files)
    same = tokenizer_file(source).read_bytes() == tokenizer_file(tokenizer).read_bytes()
    return files if same else without_tokenizer(files)


def load_parameters(
    checkpoint: str | Path, config: ModelConfig, mesh: Mesh, dtype: Any = None
) -> Parameters:
    """The parameters alone, of a model whose shape is known.

    Raises:
      InputError: there is no checkpoint, or it holds another model.
    """
    if is_hugging_face(checkpoint):
        _check_same(read_model_config(checkpoint), config, checkpoint)
        return load_weights(checkpoint, config, mesh, dtype)
    folder = checkpoint_folder(checkpoint)
    if not (folder / "adapter").is_dir():
        return _load_arrays(folder, "params", parameter_table(config), mesh, dtype)
    adapter = load_description(folder).adapter
    if not Path(adapter.base).exists():
        raise InputError(f"{folder}: adapts {adapter.base}, which is not there; put it back")
    parameters = load_parameters(adapter.base, config, mesh, dtype)
    return merge_adapter(config, adapter.lora, parameters, load_adapter(folder, mesh))


def load_adapter(checkpoint: str | Path, mesh: Mesh) -> Parameters:
    """The parameters of an adapter alone, on this mesh, as they were saved.

    Raises:
      InputError: there is no checkpoint, or it is not that of an adapter.
    """
    folder = checkpoint_folder(checkpoint)
    if not (folder / "adapter").is_dir():
        raise InputError(f"{folder}: is a model, not an adapter of one")
    description = load_description(folder)
    table = adapter_table(description.config, description.adapter.lora)
    return _load_arrays(folder, "adapter", table, mesh)


def stored_dtypes(checkpoint: str | Path, config: ModelConfig) -> dict[str, np.dtype]:
    """The dtypes of a checkpoint's parameters, by path in the order of `parameter_table`.

    Raises:
      InputError: there is no checkpoint, or it holds another model.
    """
    return _stored_dtypes(checkpoint_folder(checkpoint), "params", parameter_table(config))


def _load_arrays(
    folder: Path, part: str, table: Mapping[str, ParameterSpec], mesh: Mesh, dtype: Any = None
) -> Parameters:
    wanted = {
        path: jax.ShapeDtypeStruct(spec.shape, np.dtype(dtype or stored), sharding=sharding)
        for (path, spec), stored, sharding in zip(
            table.items(),
            _stored_dtypes(folder, part, table).values(),
            table_shardings(table, mesh).values(),
            strict=True,
        )
    }
    with _context():
        return ocp.load_checkpointables(folder, {part: wanted})[part]


def _stored_dtypes(
    folder: Path, part: str, table: Mapping[str, ParameterSpec]
) -> dict[str, np.dtype]:
    with _context():
        stored = ocp.metadata(folder, part).metadata
    for path in dict.fromkeys([*table, *stored]):
        here = table[path].shape if path in table else "absent"
        there = tuple(stored[path].shape) if path in stored else "absent"
        if here != there:
            raise InputError(f"{folder}: {path} is {there}, but {here} in this model")
    return {path: np.dtype(stored[path].dtype) for path in table}


def checkpoint_folder(path: str | Path) -> Path:
    """The folder of one step: the path itself, or the latest below a workdir or folder of steps.

    A Hugging Face folder is its own.

    Raises:
      InputError: there is none.
    """
    path = Path(path).absolute()
    if any((path / part).is_dir() for part in ("params", "adapter")) or is_hugging_face(path):
        return path
    for parent in (path, path / "checkpoints"):
        if steps := saved_steps(parent):
            return parent / str(max(steps))
    raise InputError(f"{path}: holds no complete checkpoint")


def saved_steps(directory: Path) -> list[int]:
    """Steps with a complete checkpoint; an unfinished one has a longer name than its number."""
    if not directory.is_dir():
        return []
    return [int(entry.name) for entry in directory.iterdir() if entry.name.isdecimal()]


def _check_same(there: ModelConfig, here: ModelConfig, folder: str | Path) -> None:
    """Refuses tensors that would compute something else, but for how long a text may be."""
    for name, theirs, ours in differences(to_mapping(there), to_mapping(here), "config.model"):
        if name != "config.model.max_position_embeddings":
            raise InputError(f"{folder}: {name} is {theirs!r} there, but {ours!r} in this model")


def _description_parts(model: ModelDescription) -> dict[str, Any]:
    """The parts ``model``, ``tokenizer`` and ``files`` of a checkpoint."""
    tokenizer = tokenizer_file(model.tokenizer)
    name = "tokenizer.json" if tokenizer.suffix == ".json" else "tokenizer.model"
    about = {"config": to_mapping(model.config), "template": model.template}
    if model.recipe is not None:
        about["recipe"] = dict(model.recipe)
    if model.adapter is not None:
        about["adapter"] = to_mapping(model.adapter)
    parts = {"model": about, "tokenizer": _Files({name: tokenizer.read_bytes()})}
    return parts | ({"files": _Files(model.files)} if model.files else {})


def _reason(error: Exception) -> str:
    """Why something could not be written, in a line."""
    reason = str(error).strip().split("\n")[0] or type(error).__name__
    return "no space left on device" if "No space left on device" in reason else reason


def _policy(keep: int, keep_every: int) -> ocp.training.preservation_policies.PreservationPolicy:
    """Which checkpoints stay: the latest, the best and, where asked for, some at long intervals."""
    policies = ocp.training.preservation_policies
    kept = [
        policies.LatestN(keep),
        policies.BestN(
            get_metric_fn=lambda metrics: metrics[_LOSS],
            reverse=True,
            n=1,
            keep_checkpoints_without_metrics=False,
        ),
    ]
    if keep_every:
        kept.append(policies.EveryNSteps(keep_every))
    return policies.AnyPreservationPolicy(kept)


def _context() -> ocp.Context:
    """Orbax with the JSON parts named: its own guess takes a dict of numbers for arrays."""
    context = ocp.Context()
    registry = ocp.handlers.local_registry()
    for name in ("data", "model"):
        registry.add(ocp.handlers.JsonHandler, checkpointable_name=name)
    context.checkpointables.registry = registry
    return context


class _Files(ocp.StatefulCheckpointable):
    """Writes small files into a checkpoint."""

    def __init__(self, contents: Mapping[str, bytes]):
        self._contents = contents

    async def save(self, directory) -> Awaitable[None]:
        return self._write(directory)

    async def _write(self, directory) -> None:
        folder = await directory.await_creation()
        if jax.process_index() == 0:
            for name, content in self._contents.items():
                (Path(folder) / name).write_bytes(content)

    async def load(self, directory) -> Awaitable[None]:
        raise NotImplementedError("they are read as files")
