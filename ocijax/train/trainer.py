"""A training run, from recipe to last checkpoint; run again, it goes on where it was.

WORKDIR/config.json, run.json  see ocijax.train.record
WORKDIR/checkpoints/<step>/   see ocijax.train.checkpoint
WORKDIR/metrics.jsonl         one line a step
WORKDIR/tensorboard/          the same as curves
WORKDIR/profile/              traces of the steps of config.train.profile_steps
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import grain
import jax
import numpy as np
import optax
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from ocijax.configuration import to_mapping
from ocijax.data.pipeline import Rows, evaluation_batches, train_batches
from ocijax.errors import InputError
from ocijax.model.description import AdapterDescription, ModelDescription
from ocijax.plan.training import with_fastest_remat
from ocijax.sharding import make_mesh
from ocijax.train.checkpoint import Checkpoints, inherited_files, load_parameters, saved_steps
from ocijax.train.config import Recipe
from ocijax.train.meter import Meter, StepReport
from ocijax.train.metrics import MetricsWriter
from ocijax.train.optimizer import make_optimizer
from ocijax.train.placement import host_share, place
from ocijax.train.profiler import Profiler
from ocijax.train.record import claim, record_start
from ocijax.train.rows import RowSets, load_rows
from ocijax.train.step import (
    EvaluationStep,
    Metrics,
    TrainState,
    abstract_state,
    initial_parameters,
    initial_state,
    make_evaluation_step,
    make_train_step,
    parameter_dtype,
    trained_table,
)


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes:
      step: steps done.
      steps: steps in all.
      report: numbers of the last step that was read; ``None`` before the first.
      evaluation_loss: the latest, nats per target; ``None`` before the first, or without
        held-out rows.
    """

    step: int
    steps: int
    report: StepReport | None = None
    evaluation_loss: float | None = None


def train(
    recipe: Recipe,
    workdir: str | Path,
    *,
    rows: RowSets | None = None,
    observe: Callable[[Progress], None] = lambda progress: None,
    stop: Callable[[int], bool] = lambda step: False,
    devices: list[jax.Device] | None = None,
) -> Progress:
    """Trains up to the recipe's last step, from the workdir's latest checkpoint if it has one.

    A run that was killed and goes on gives, on the same mesh, bit for bit the losses that it would
    have given undisturbed.

    Example::

      progress = train(from_mapping(Recipe, get_config()), "runs/first")

    Args:
      recipe: what to train.
      workdir: its files; made where absent.
      rows: those of `load_rows`, where they were loaded already.
      observe: told at the start, every ``log_every`` steps and after each evaluation.
      stop: asked after each step, by the steps done; true writes a checkpoint and returns. Where
        several processes form the run, it must answer alike in all of them.
      devices: those to use; all by default.

    Returns:
      Where it ended: fewer than all steps are done only where it was stopped.

    Raises:
      InputError: data, mesh or workdir do not fit the recipe, a checkpoint cannot be written, or
        too many updates in a row were skipped.
    """
    mesh = make_mesh(recipe.mesh, devices)
    workdir, settings = Path(workdir), recipe.train
    rows = load_rows(recipe) if rows is None else rows
    steps = settings.steps or len(rows.train) * settings.epochs // settings.batch_size
    if not steps:
        raise InputError(
            f"{len(rows.train)} packed rows do not fill one batch: config.train.batch_size is "
            f"{settings.batch_size}"
        )
    recipe = with_fastest_remat(recipe, mesh)
    optimizer = make_optimizer(settings, trained_table(recipe), steps)
    train_step = make_train_step(recipe, optimizer, mesh)
    evaluation_step = make_evaluation_step(recipe, mesh)
    claim(workdir, recipe)
    began = record_start(workdir, recipe, mesh)
    with ExitStack() as stack:
        checkpoints = stack.enter_context(
            Checkpoints(
                workdir / "checkpoints",
                _describe(recipe, workdir),
                settings.checkpoints_kept,
                settings.checkpoint_keep_every,
            )
        )
        first = checkpoints.latest_step or 0
        _check_shared(workdir, first)
        state, batches, seconds = _begin(recipe, optimizer, mesh, rows.train, checkpoints)
        writer = None
        if jax.process_index() == 0:
            writer = stack.enter_context(MetricsWriter(workdir, first))
        profiler = stack.enter_context(Profiler(workdir / "profile", settings.profile_steps))
        meter = Meter(recipe, steps, mesh, began, seconds)
        log = _Log(meter, writer, observe, Progress(first, steps), settings.most_skipped)
        for step in range(first + 1, steps + 1):
            batch = place(meter.fetch(batches), mesh)
            profiler.before(step, state)
            state, metrics = train_step(state, batch)
            profiler.after(step, metrics)
            log.begun(step, metrics, settings.log_every)
            checkpoints.check()
            last = step == steps
            stopping = not last and stop(step)
            due = settings.evaluate_every and step % settings.evaluate_every == 0
            loss = None
            if rows.evaluation is not None and (last or due):
                log.read()
                batch_size = settings.batch_size // settings.micro_batches
                loss = evaluation_loss(evaluation_step, state, rows.evaluation, batch_size, mesh)
                log.evaluated(loss)
            if last or stopping or step % settings.checkpoint_every == 0:
                log.read()
                data = {"iterator": batches.get_state(), "rows": len(rows.train)}
                checkpoints.save(step, state, data | {"seconds": meter.seconds}, loss)
                meter.restart()
            if stopping:
                break
        return log.progress


def evaluation_loss(
    step: EvaluationStep, state: TrainState, rows: Rows, batch_size: int, mesh: Mesh
) -> float:
    """Loss over all rows, in nats per target.

    Args:
      step: of `make_evaluation_step`.
      state: on the mesh.
      rows: at least one.
      batch_size: rows at once, over all devices.
      mesh: of the step.
    """
    index, count = host_share(mesh)
    batches = evaluation_batches(rows, batch_size=batch_size, host_index=index, host_count=count)
    sums = [step(state.parameters, state.frozen, place(batch, mesh)) for batch in batches]
    losses, weights = np.array(jax.device_get(sums), np.float64).T
    return float(losses.sum() / weights.sum())


def _check_shared(workdir: Path, step: int) -> None:
    """Refuses a workdir in which the processes of the run see different checkpoints."""
    steps = np.ravel(multihost_utils.process_allgather(np.array(step)))
    if steps.min() != steps.max():
        raise InputError(
            f"{workdir}: the processes see different checkpoints there, from that of step "
            f"{steps.min()} to that of step {steps.max()}; use a --workdir that all of them share"
        )


def _describe(recipe: Recipe, workdir: Path) -> ModelDescription:
    """What goes into each checkpoint beside arrays and data."""
    files = {}
    if recipe.train.initial_checkpoint:
        # A run that goes on no longer needs what it began from.
        begun = saved_steps(workdir / "checkpoints")
        origin = workdir if begun else recipe.train.initial_checkpoint
        files = inherited_files(origin, recipe.data.tokenizer)
    adapter = None
    if recipe.lora.rank:
        base = str(Path(recipe.train.initial_checkpoint).absolute())
        adapter = AdapterDescription(recipe.lora, base)
    return ModelDescription(
        recipe.model,
        recipe.data.tokenizer,
        recipe.data.template,
        files,
        to_mapping(recipe),
        adapter,
    )


def _begin(
    recipe: Recipe,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    rows: Rows,
    checkpoints: Checkpoints,
) -> tuple[TrainState, grain.DatasetIterator, float]:
    """The state to go on from, the batches that follow, and how long the steps before took."""
    index, count = host_share(mesh)
    batches = iter(
        train_batches(
            rows,
            batch_size=recipe.train.batch_size,
            seed=recipe.seed,
            host_index=index,
            host_count=count,
        )
    )
    origin, frozen = recipe.train.initial_checkpoint, {}
    if recipe.lora.rank:
        frozen = load_parameters(origin, recipe.model, mesh, recipe.compute.dtype)
    if checkpoints.latest_step is not None:
        wanted = abstract_state(recipe, optimizer, mesh)
        state, data = checkpoints.restore(checkpoints.latest_step, wanted)
        state = state._replace(frozen=frozen)
        if data["rows"] != len(rows):
            raise InputError(
                f"{','.join(recipe.data.train)}: gives {len(rows)} rows, but gave {data['rows']} "
                "when this run began; put the old data back or choose another --workdir"
            )
        batches.set_state(data["iterator"])
        return state, batches, data["seconds"]
    if origin and not recipe.lora.rank:
        parameters = load_parameters(origin, recipe.model, mesh, parameter_dtype(recipe))
    else:
        parameters = initial_parameters(recipe, mesh)
    return initial_state(parameters, recipe, optimizer, mesh, frozen), batches, 0.0


class _Log:
    """Writes and reports the steps' numbers, which it reads together.

    They are read one step late, so that the devices have the next step to do meanwhile.
    """

    def __init__(
        self,
        meter: Meter,
        writer: MetricsWriter | None,
        observe: Callable[[Progress], None],
        progress: Progress,
        most_skipped: int,
    ):
        self._meter = meter
        self._writer = writer
        self._observe = observe
        self._most_skipped = most_skipped
        self.progress = progress
        observe(progress)

    def begun(self, step: int, metrics: Metrics, interval: int) -> None:
        """A step was dispatched; every ``interval`` of them are read together."""
        self._meter.add(step, metrics)
        # The first step compiles: read at once, it starts the clock.
        if len(self._meter) > interval or not self._meter.running:
            self.read(max(1, len(self._meter) - 1))

    def read(self, count: int | None = None) -> None:
        """Waits for ``count`` steps, all by default, and passes their numbers on.

        Raises:
          InputError: too many updates in a row were skipped.
        """
        reports = self._meter.read(count)
        if not reports:
            return
        for report in reports:
            numbers = asdict(report)
            self._write(numbers.pop("step"), numbers)
        self._tell(step=reports[-1].step, report=reports[-1])
        for report in reports:
            if report.skipped_in_a_row >= self._most_skipped:
                raise InputError(
                    f"step {report.step}: the last {report.skipped_in_a_row} updates were skipped, "
                    f"by a gradient norm of {report.gradient_norm:.3g} at the end; run again with "
                    "a larger config.train.spike_threshold or most_skipped, or in another "
                    "--workdir with a lower config.train.learning_rate"
                )

    def evaluated(self, loss: float) -> None:
        """Passes on the evaluation loss of the last step read; the time since is not training."""
        self._write(self.progress.step, {"evaluation_loss": loss})
        self._tell(evaluation_loss=loss)
        self._meter.restart()

    def _write(self, step: int, numbers: Mapping[str, float | None]) -> None:
        if self._writer is not None:
            known = {name: value for name, value in numbers.items() if value is not None}
            self._writer.write(step, known)

    def _tell(self, **changes) -> None:
        if self._writer is not None:
            self._writer.flush()
        self.progress = replace(self.progress, **changes)
        self._observe(self.progress)
