"""Causal attention to slots in NumPy, in float64."""

import numpy as np


def causal_attention(
    query: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    lengths: np.ndarray,
    window: int | None,
) -> np.ndarray:
    """Each head of each query by itself.

    Args:
      query: ``[rows, width, heads, head_dim]``.
      keys: ``[rows, key_value_heads, places, head_dim]``.
      values: as ``keys``.
      lengths: ``[rows]``, places that the first query sees; each one after it sees one more.
      window: how many of the last of them are looked at; ``None``: all.
    """
    result = np.zeros_like(query)
    groups = query.shape[2] // keys.shape[1]
    for row, place, head in np.ndindex(query.shape[:3]):
        last = lengths[row] + place
        seen = slice(0 if window is None else max(0, last - window), last)
        scores = keys[row, head // groups, seen] @ query[row, place, head]
        weights = np.exp(scores / np.sqrt(query.shape[-1]))
        weights = weights / weights.sum()
        result[row, place, head] = weights @ values[row, head // groups, seen]
    return result
