"""Confidence intervals of pass rates."""

import math

_NORMAL_95 = 1.959963984540054


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
