"""Where a run's numbers go: ``metrics.jsonl``, one line a step, and TensorBoard."""

import json
from collections.abc import Mapping
from pathlib import Path

from tensorboardX import SummaryWriter


class MetricsWriter:
    """Appends the metrics of steps to a run's files; use as a context manager.

    Lines that a killed run wrote after the checkpoint from which it goes on are dropped.

    Args:
      workdir: gets ``metrics.jsonl`` and ``tensorboard/``.
      step: steps done before the run goes on.
    """

    def __init__(self, workdir: Path, step: int):
        path = workdir / "metrics.jsonl"
        kept = [row for row in read_metrics(path) if row["step"] <= step]
        unfinished = path.with_name(f".{path.name}.unfinished")
        unfinished.write_text("".join(json.dumps(row) + "\n" for row in kept))
        unfinished.rename(path)
        self._file = path.open("a")
        self._board = SummaryWriter(str(workdir / "tensorboard"), purge_step=step + 1)

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()
        self._board.close()

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """One step's numbers, as they are after that many steps."""
        self._file.write(json.dumps({"step": step, **metrics}) + "\n")
        for name, value in metrics.items():
            self._board.add_scalar(name, value, step)

    def flush(self) -> None:
        """Brings what was written to disk."""
        self._file.flush()
        self._board.flush()


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of a ``metrics.jsonl``; a last line that a killed run left half is passed over."""
    if not path.exists():
        return []
    whole = path.read_text().split("\n")[:-1]
    return [json.loads(line) for line in whole]
