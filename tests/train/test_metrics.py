import struct

import pytest
from tensorboardX.proto.event_pb2 import Event

from ocijax.errors import InputError
from ocijax.train.metrics import MetricsWriter, read_metrics


@pytest.fixture
def written(tmp_path):
    """A workdir with the metrics of three steps."""
    with MetricsWriter(tmp_path, 0) as writer:
        for step in (1, 2, 3):
            writer.write(step, {"loss": step / 2})
    return tmp_path


def events(path):
    """Events of a TensorBoard file: length, checksum, message, checksum; and so on."""
    content = path.read_bytes()
    while content:
        (size,) = struct.unpack("Q", content[:8])
        yield Event.FromString(content[12 : 12 + size])
        content = content[16 + size :]


def test_each_step_is_one_line(written):
    assert read_metrics(written / "metrics.jsonl") == [
        {"step": 1, "loss": 0.5},
        {"step": 2, "loss": 1.0},
        {"step": 3, "loss": 1.5},
    ]


def test_tensorboard_has_the_same(written):
    (path,) = (written / "tensorboard").iterdir()
    found = [
        (event.step, value.tag, value.simple_value)
        for event in events(path)
        for value in event.summary.value
    ]
    assert found == [(1, "loss", 0.5), (2, "loss", 1.0), (3, "loss", 1.5)]


def test_what_came_after_the_checkpoint_is_dropped(written):
    with MetricsWriter(written, 1) as writer:
        writer.write(2, {"loss": 7.0})
    rows = read_metrics(written / "metrics.jsonl")
    assert [(row["step"], row["loss"]) for row in rows] == [(1, 0.5), (2, 7.0)]


def test_a_line_left_half_is_passed_over(written):
    with open(written / "metrics.jsonl", "a") as file:
        file.write('{"step": 4, "lo')
    assert len(read_metrics(written / "metrics.jsonl")) == 3


def test_a_full_disk_is_one_line(tmp_path):
    writer = MetricsWriter(tmp_path, 0)
    (tmp_path / "metrics.jsonl").unlink()
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    writer.write(1, {"loss": 1.0})
    with pytest.raises(InputError, match="cannot write metrics: No space left on device"):
        writer.flush()
