"""From the metrics of steps, still on the devices, to reports with rates."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import Mesh

from ocijax.data.packing import Row
from ocijax.devices import peak_flops
from ocijax.train.config import Recipe
from ocijax.train.flops import training_flops
from ocijax.train.optimizer import learning_rate_schedule
from ocijax.train.step import Metrics, trained_table


@dataclass(frozen=True)
class StepReport:
    """One step's numbers; a field that is not known is ``None``.

    Attributes:
      step: steps done.
      loss: nats per target.
      learning_rate: that the step took; 0 where it was skipped.
      gradient_norm: before clipping.
      targets: sum of the loss weights.
      tokens: in the batch, padding left out.
      skipped: updates skipped so far, see `ocijax.train.guard`.
      skipped_in_a_row: of these the latest, without one made between them.
      tokens_per_second: over the steps read together, on the last of them only.
      mfu: share of the devices' peak, likewise; see `ocijax.train.flops`.
      data_wait: share of the time in which this host waited for its rows, likewise.
      goodput: share of the time since the run first began in which it made those steps that
        count; not in which it compiled, evaluated, saved, stood still or lost steps; likewise.
    """

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float
    targets: float
    tokens: int
    skipped: int
    skipped_in_a_row: int
    tokens_per_second: float | None = None
    mfu: float | None = None
    data_wait: float | None = None
    goodput: float | None = None


class Meter:
    """Collects metrics without waiting for them, reads them together and takes the time.

    Args:
      recipe: gives schedule, shape and compute dtype.
      steps: of the whole run.
      mesh: its devices count for the MFU.
      began: when the run first began, in seconds of the epoch.
      seconds: that its steps took before this start.

    Attributes:
      seconds: that its steps took so far, those before this start included.
    """

    def __init__(self, recipe: Recipe, steps: int, mesh: Mesh, began: float, seconds: float):
        self._model = recipe.model
        self._trained = trained_table(recipe)
        # One call for all steps: a schedule is a dozen small operations.
        schedule = learning_rate_schedule(recipe.train, steps)
        self._rates = np.asarray(jax.vmap(schedule)(np.arange(steps)))
        kind = mesh.devices.flat[0].device_kind
        peak = recipe.train.peak_flops or peak_flops(kind, recipe.compute.dtype)
        self._peak = peak * mesh.size if peak else None
        self._pending: list[tuple[int, Metrics]] = []
        self._clock: float | None = None
        self._waited = 0.0
        self._began = began
        self.seconds = seconds

    def fetch(self, batches: Iterator[Row]) -> Row:
        """The next batch; how long it takes counts as waiting for data."""
        before = time.perf_counter()
        batch = next(batches)
        self._waited += time.perf_counter() - before
        return batch

    def add(self, step: int, metrics: Metrics) -> None:
        """The metrics of a step just begun."""
        self._pending.append((step, metrics))

    def __len__(self) -> int:
        """Steps added and not read yet."""
        return len(self._pending)

    @property
    def running(self) -> bool:
        """Whether time is being taken; a reading begins that."""
        return self._clock is not None

    def restart(self) -> None:
        """Takes the time from now on; what was since the last reading was no training."""
        self._clock, self._waited = time.perf_counter(), 0.0

    def read(self, count: int | None = None) -> list[StepReport]:
        """Waits for the first ``count`` steps that are not read yet, all by default."""
        taken = self._pending[:count]
        self._pending = self._pending[len(taken) :]
        values = jax.device_get([metrics for _, metrics in taken])
        rates = {}
        if self.running and taken:
            rates = self._measure(values, time.perf_counter() - self._clock)
        self.restart()
        reports = []
        for (step, _), value in zip(taken, values, strict=True):
            skipped, in_a_row = int(value["skipped"]), int(value["skipped_in_a_row"])
            reports.append(
                StepReport(
                    step=step,
                    loss=float(value["loss"]),
                    learning_rate=0.0 if in_a_row else float(self._rates[step - 1 - skipped]),
                    gradient_norm=float(value["gradient_norm"]),
                    targets=float(value["targets"]),
                    tokens=int(value["tokens"]),
                    skipped=skipped,
                    skipped_in_a_row=in_a_row,
                    **(rates if step == taken[-1][0] else {}),
                )
            )
        return reports

    def _measure(self, values: list[Metrics], seconds: float) -> dict[str, float]:
        """The rates of steps that took so long together."""
        self.seconds += seconds
        tokens = sum(float(value["tokens"]) for value in values)
        attended = sum(float(value["attended"]) for value in values)
        rates = {
            "tokens_per_second": tokens / seconds,
            "data_wait": self._waited / seconds,
            "goodput": self.seconds / (time.time() - self._began),
        }
        if self._peak:
            flops = training_flops(self._model, tokens, attended, self._trained)
            rates["mfu"] = flops / seconds / self._peak
        return rates
