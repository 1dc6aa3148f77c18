"""Tail probabilities and quantiles of the tests, from ``scipy.special``.

``scipy.stats`` has them too, but importing it takes longer than all fits of a report.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

__all__ = ["chi2_sf", "f_sf", "interval", "two_sided_p"]

Vector = NDArray[np.float64]
Tail = Literal["two-sided", "greater", "less"]


def chi2_sf(statistic: float, df: float) -> float:
    """Return the upper tail of the chi-square distribution; 1 for a statistic of 0 or less."""
    return float(special.chdtrc(df, max(statistic, 0.0)))


def f_sf(statistic: float, df1: float, df2: float) -> float:
    """Return the upper tail of the F distribution."""
    return float(special.fdtrc(df1, df2, max(statistic, 0.0)))


def two_sided_p(statistic: ArrayLike, df: ArrayLike = np.inf) -> Vector:
    """Return two-sided p-values of t statistics; infinite `df` gives the normal distribution.

    Parameters
    ----------
    statistic : array_like
        Estimates divided by their standard errors.
    df : array_like, default inf
        Degrees of freedom, not necessarily whole.

    Returns
    -------
    numpy.ndarray
        p-values.
    """
    statistic, df = np.broadcast_arrays(
        np.asarray(statistic, dtype=float), np.asarray(df, dtype=float)
    )
    finite = np.isfinite(df)
    student = special.stdtr(np.where(finite, df, 1.0), -np.abs(statistic))
    return 2.0 * np.where(finite, student, special.ndtr(-np.abs(statistic)))


def interval(
    estimate: ArrayLike, se: ArrayLike, df: ArrayLike = np.inf, level: float = 0.95
) -> tuple[Vector, Vector]:
    """Return the ends of ``estimate +- quantile * se``.

    Parameters
    ----------
    estimate, se : array_like
        Estimates and standard errors.
    df : array_like, default inf
        Degrees of freedom; infinite for the normal quantile.
    level : float, default 0.95
        Coverage.

    Returns
    -------
    lower, upper : numpy.ndarray
        Ends of the interval.
    """
    tail = 0.5 + level / 2
    df = np.asarray(df, dtype=float)
    finite = np.isfinite(df)
    quantile = np.asarray(special.ndtri(tail))
    if finite.any():
        student = special.stdtrit(np.where(finite, df, 1.0), tail)
        quantile = np.where(finite, student, quantile)
    estimate, half = np.asarray(estimate, dtype=float), quantile * np.asarray(se, dtype=float)
    return estimate - half, estimate + half
