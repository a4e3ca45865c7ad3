"""The quickstart's figure is a PNG, with what there is to draw."""

import pytest
from matplotlib.image import imread

from ocijax.tasks.figure import draw

METRICS = [{"step": step, "loss": 2.0 / step} for step in range(1, 20)]
RESULTS = [
    {"protocol": "single", "pass_rate": 0.2, "ci_low": 0.15, "ci_high": 0.26},
    {"protocol": "execution", "pass_rate": 1.0, "ci_low": 0.98, "ci_high": 1.0},
]


@pytest.mark.parametrize("metrics", [METRICS, [*METRICS, {"step": 19, "evaluation_loss": 0.2}]])
def test_figure_is_a_picture(tmp_path, metrics):
    draw(metrics, RESULTS, 0.22, tmp_path / "figure.png")
    assert imread(tmp_path / "figure.png").shape[:2] == (600, 1500)


def test_bars_change_the_picture(tmp_path):
    draw(METRICS, RESULTS, 0.22, tmp_path / "one.png")
    draw(METRICS, RESULTS[:1], 0.22, tmp_path / "other.png")
    assert (imread(tmp_path / "one.png") != imread(tmp_path / "other.png")).any()
