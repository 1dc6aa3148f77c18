"""Whether numbers are uniform on (0, 1): simultaneous bands of their distribution function.

References
----------
Säilynoja, T., Bürkner, P.-C., & Vehtari, A. (2022). Graphical test for discrete uniformity and its
applications in goodness-of-fit evaluation and multiple sample comparison. Statistics and
Computing, 32, 32. The coverage of a band is computed by their recursion over its points, without
simulation, so that small p-values are exact as well.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = ["points", "uniform_band", "uniform_p"]

Vector = NDArray[np.float64]

MOST_POINTS = 100
ROUNDING = 1e-12


def points(n: int) -> Vector:
    """Return where the distribution function of n numbers is looked at.

    Parameters
    ----------
    n : int
        How many numbers.

    Returns
    -------
    numpy.ndarray
        At most 100 evenly spaced points inside (0, 1).
    """
    count = min(n, MOST_POINTS)
    return np.arange(1, count) / count


@lru_cache(maxsize=16)
def uniform_band(n: int, level: float = 0.95) -> tuple[Vector, Vector]:
    """Return the band that holds the whole empirical distribution function of uniform numbers.

    Parameters
    ----------
    n : int
        How many numbers, at least 2.
    level : float
        Probability of lying inside at every one of `points`.

    Returns
    -------
    lower, upper : numpy.ndarray
        Ends of the band at `points`, as proportions.
    """
    low, high = (1 - level) / MOST_POINTS / 10, 1 - level
    for _ in range(40):
        gamma = float(np.sqrt(low * high))
        if _inside(n, *_counts(n, gamma)) < level:
            high = gamma
        else:
            low = gamma
    lower, upper = _counts(n, low)
    return lower / n, upper / n


def uniform_p(values: Vector) -> float:
    """Return the p-value of the hypothesis that numbers are uniform on (0, 1).

    Parameters
    ----------
    values : numpy.ndarray of shape (n,)
        At least 2 numbers.

    Returns
    -------
    float
        Probability that the empirical distribution function of uniform numbers strays as far at
        its worst point, all `points` considered.
    """
    n = len(values)
    observed = np.searchsorted(np.sort(values), points(n), side="right")
    extreme = _tails(n)[np.arange(len(observed)), observed].min()
    return float(np.clip(1 - _inside(n, *_counts(n, extreme, beyond=True)), 0, 1))


@lru_cache(maxsize=16)
def _tails(n: int) -> Vector:
    """Return ``2 min(P(C <= c), P(C >= c))`` at every point and count c, capped at 1."""
    z, count = points(n)[:, None], np.arange(n + 1)
    below = special.bdtr(count, n, z)
    above = np.where(count > 0, special.bdtrc(np.maximum(count - 1, 0), n, z), 1.0)
    return np.minimum(2 * np.minimum(below, above), 1.0)


def _counts(n: int, gamma: float, *, beyond: bool = False) -> tuple[Vector, Vector]:
    """Return the smallest and largest count at each point whose tail is at least (above) gamma."""
    threshold = gamma * (1 + ROUNDING) if beyond else gamma
    allowed = _tails(n) >= threshold
    lower = np.where(allowed.any(axis=1), allowed.argmax(axis=1), n + 1)
    upper = n - allowed[:, ::-1].argmax(axis=1)
    return lower.astype(float), upper.astype(float)


def _inside(n: int, lower: Vector, upper: Vector) -> float:
    """Return the probability that uniform numbers keep to a range of counts at every point."""
    z = np.r_[0.0, points(n)]
    if np.any(lower > upper):
        return 0.0
    counts, probability = np.zeros(1), np.ones(1)
    for i in range(1, len(z)):
        reached = np.arange(lower[i - 1], upper[i - 1] + 1)
        gain = reached - counts[:, None]
        left = n - counts[:, None]
        share = (z[i] - z[i - 1]) / (1 - z[i - 1])
        possible = (gain >= 0) & (gain <= left)
        gain = np.where(possible, gain, 0.0)
        log_pmf = (
            special.gammaln(left + 1)
            - special.gammaln(gain + 1)
            - special.gammaln(left - gain + 1)
            + special.xlogy(gain, share)
            + special.xlog1py(left - gain, -share)
        )
        probability = probability @ np.where(possible, np.exp(log_pmf), 0.0)
        counts = reached
    return float(probability.sum())
