"""From the metrics of steps, still on the devices, to reports with rates."""

import time
from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import Mesh

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
      learning_rate: that the step took.
      gradient_norm: before clipping.
      targets: sum of the loss weights.
      tokens: in the batch, padding left out.
      tokens_per_second: over the steps read together, on the last of them only.
      mfu: share of the devices' peak, likewise; see `ocijax.train.flops`.
    """

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float
    targets: float
    tokens: int
    tokens_per_second: float | None = None
    mfu: float | None = None


class Meter:
    """Collects metrics without waiting for them, reads them together and takes the time.

    Args:
      recipe: gives schedule, shape and compute dtype.
      steps: of the whole run.
      mesh: its devices count for the MFU.
    """

    def __init__(self, recipe: Recipe, steps: int, mesh: Mesh):
        self._model = recipe.model
        adapter = trained_table(recipe) if recipe.lora.rank else {}
        self._adapter_size = sum(spec.size for spec in adapter.values())
        # One call for all steps: a schedule is a dozen small operations.
        schedule = learning_rate_schedule(recipe.train, steps)
        self._rates = np.asarray(jax.vmap(schedule)(np.arange(steps)))
        kind = mesh.devices.flat[0].device_kind
        peak = recipe.train.peak_flops or peak_flops(kind, recipe.compute.dtype)
        self._peak = peak * mesh.size if peak else None
        self._pending: list[tuple[int, Metrics]] = []
        self._clock: float | None = None

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

    def pause(self) -> None:
        """Takes no time until the next reading."""
        self._clock = None

    def read(self, count: int | None = None) -> list[StepReport]:
        """Waits for the first ``count`` steps that are not read yet, all by default."""
        taken = self._pending[:count]
        self._pending = self._pending[len(taken) :]
        values = jax.device_get([metrics for _, metrics in taken])
        now, before = time.perf_counter(), self._clock
        self._clock = now
        reports = []
        for place, ((step, _), value) in enumerate(zip(taken, values, strict=True), start=1):
            speed = utilisation = None
            if place == len(taken) and before is not None:
                tokens = sum(float(value["tokens"]) for value in values)
                attended = sum(float(value["attended"]) for value in values)
                speed = tokens / (now - before)
                if self._peak:
                    flops = training_flops(self._model, tokens, attended, self._adapter_size)
                    utilisation = flops / (now - before) / self._peak
            reports.append(
                StepReport(
                    step=step,
                    loss=float(value["loss"]),
                    learning_rate=float(self._rates[step - 1]),
                    gradient_norm=float(value["gradient_norm"]),
                    targets=float(value["targets"]),
                    tokens=int(value["tokens"]),
                    tokens_per_second=speed,
                    mfu=utilisation,
                )
            )
        return reports
