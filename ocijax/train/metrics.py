"""Where a run's numbers go: ``metrics.jsonl``, one line a step, and TensorBoard."""

import json
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from ocijax.errors import InputError
from ocijax.whole_file import whole_file


class MetricsWriter:
    """Appends the metrics of steps to a run's files; use as a context manager.

    Lines that a killed run wrote after the checkpoint from which it goes on are dropped.

    Args:
      workdir: gets ``metrics.jsonl`` and ``tensorboard/``.
      step: steps done before the run goes on.

    Raises:
      InputError: the files cannot be written.
    """

    def __init__(self, workdir: Path, step: int):
        self._path = workdir / "metrics.jsonl"
        self._rows: list[tuple[int, Mapping[str, float]]] = []
        try:
            kept = [row for row in read_metrics(self._path) if row["step"] <= step]
            with whole_file(self._path) as file:
                file.writelines(json.dumps(row) + "\n" for row in kept)
            (workdir / "tensorboard").mkdir(exist_ok=True)
            # Not SummaryWriter: it writes in a thread, and waits for ever where that has failed.
            self._board = EventsWriter(str(workdir / "tensorboard" / "events"), f".{step}")
        except OSError as error:
            raise self._failure(error) from error
        # Tells TensorBoard to drop what it has of later steps.
        start = SessionLog(status=SessionLog.START)
        self._board.write_event(Event(step=step + 1, wall_time=time.time(), session_log=start))

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, kind, *_) -> None:
        if kind is None:
            self.flush()

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """One step's numbers, as they are after that many steps; on disk after `flush`."""
        self._rows.append((step, metrics))

    def flush(self) -> None:
        """Brings what was written to disk.

        Raises:
          InputError: it cannot be written.
        """
        rows, self._rows = self._rows, []
        try:
            with self._path.open("a") as file:
                file.writelines(json.dumps({"step": step, **row}) + "\n" for step, row in rows)
            for step, row in rows:
                for name, value in row.items():
                    summary = scalar(name, value)
                    event = Event(step=step, wall_time=time.time(), summary=summary)
                    self._board.write_event(event)
            self._board.flush()
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> InputError:
        return InputError(
            f"{self._path.parent}: cannot write metrics: {error.strerror}; mend that and run the "
            "same command again"
        )


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of a ``metrics.jsonl``; a last line that a killed run left half is passed over."""
    if not path.exists():
        return []
    whole = path.read_text().split("\n")[:-1]
    return [json.loads(line) for line in whole]
