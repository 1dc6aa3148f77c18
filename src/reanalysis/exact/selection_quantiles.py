"""Quantiles from a distribution function, by zooming in on all of them at once."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["find_quantiles"]

Vector = NDArray[np.float64]

POINTS = 8
ROUNDS = 8  # (POINTS - 1)**ROUNDS: the last bracket is 2e-7 of the range, then interpolated


def find_quantiles(
    cdf: Callable[[Vector], Vector], probabilities: Vector, ends: tuple[float, float]
) -> Vector:
    """Return quantiles of a continuous distribution.

    Parameters
    ----------
    cdf : callable
        Distribution function of points ``(x,)``.
    probabilities : numpy.ndarray of shape (q,)
        Wanted probabilities.
    ends : tuple of float
        Interval that holds all mass.

    Returns
    -------
    numpy.ndarray of shape (q,)
        Quantiles.
    """
    count = len(probabilities)
    low, high = np.full(count, ends[0]), np.full(count, ends[1])
    share = np.linspace(0.0, 1.0, POINTS)
    row = np.arange(count)
    for _ in range(ROUNDS):
        x = low[:, None] + share * (high - low)[:, None]
        value = np.maximum.accumulate(cdf(x.ravel()).reshape(x.shape), axis=1)
        right = np.clip(np.sum(value < probabilities[:, None], axis=1), 1, POINTS - 1)
        low, high = x[row, right - 1], x[row, right]
        below, above = value[row, right - 1], value[row, right]
    rise = np.where(above > below, above - below, 1.0)
    return low + (high - low) * np.clip((probabilities - below) / rise, 0.0, 1.0)
