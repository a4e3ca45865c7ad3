"""Pass rates, their confidence intervals, and what two of them differ by."""

import math
from collections.abc import Sequence

import numpy as np

_NORMAL_95 = 1.959963984540054

_RESAMPLES = 10_000


def wilson_interval(passed: float, total: int, quantile: float = _NORMAL_95) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson 1927, JASA 22:209), 95 % by default.

    Args:
      passed: successes; a mean of repeated trials need not be whole.
      total: trials; with none, the interval is everything.
      quantile: of the standard normal distribution.

    Returns:
      Lower and upper end, in [0, 1].
    """
    if not total:
        return 0.0, 1.0
    rate, square = passed / total, quantile**2
    centre = rate + square / (2 * total)
    margin = quantile * math.sqrt(rate * (1 - rate) / total + square / (4 * total**2))
    scale = 1 + square / total
    # Rounding must not push the ends past what they bound.
    return max(0.0, min(rate, (centre - margin) / scale)), min(
        1.0, max(rate, (centre + margin) / scale)
    )


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """The chance that of ``k`` of a task's samples, drawn without return, at least one passed.

    Unbiased for ``k`` fresh samples: 1 - C(n - c, k) / C(n, k) (Chen et al. 2021, arXiv 2107.03374,
    equation 1), exact in whole numbers.

    Args:
      samples: n, drawn for the task.
      passed: c, of these.
      k: at most ``samples``.

    Raises:
      ValueError: no such draw.
    """
    if not 0 <= passed <= samples or not 1 <= k <= samples:
        raise ValueError(f"no draw of {k} from {samples} samples of which {passed} passed")
    return 1 - math.comb(samples - passed, k) / math.comb(samples, k)


def bootstrap_interval(
    values: Sequence[float], confidence: float = 0.95, resamples: int = _RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean (Efron 1979, Annals of Statistics 7:1), 95 %.

    With one value a task, say its pass@k, tasks are what is drawn anew; with one difference a task
    the interval is the paired one. How often each distinct value is drawn is multinomial, so the
    cost does not grow with the number of tasks.

    Args:
      values: one for each task; with none, the interval is everything.
      confidence: of the interval.
      resamples: drawn.
      seed: of the draws.
    """
    if not len(values):
        return -math.inf, math.inf
    distinct, counts = np.unique(np.asarray(values, float), return_counts=True)
    draws = np.random.default_rng(seed).multinomial(
        len(values), counts / len(values), size=resamples
    )
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws @ distinct / len(values), [tail, 1 - tail])
    return float(low), float(high)


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided p of McNemar's exact test (McNemar 1947, Psychometrika 12:153).

    Of the tasks that just one of two runs passed, each is the first's or the second's with chance
    1/2 where the runs are equally good: twice the binomial tail, at most 1.

    Args:
      only_first: tasks that only the first passed.
      only_second: tasks that only the second passed.
    """
    total, fewer = only_first + only_second, min(only_first, only_second)
    tail = term = 1  # of the sum of C(total, 0) ... C(total, fewer), in whole numbers
    for number in range(fewer):
        term = term * (total - number) // (number + 1)
        tail += term
    return min(1.0, 2 * tail / 2**total)
