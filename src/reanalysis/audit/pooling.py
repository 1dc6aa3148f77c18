"""A small two-level REML estimate, enough to say what a contradiction changes.

The engines answer the research question; here only the *difference* between two readings of one
table counts, so rows of one sample are averaged and no interval is made.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["average_by_sample", "leave_one_out_residuals", "pooled_estimate"]

Vector = NDArray[np.float64]
MAX_ITERATIONS = 200
TOLERANCE = 1e-10
EPSILON = 1e-12
REFITTED = 300  # rows up to which one row can move the variance of the others noticeably


def pooled_estimate(yi: ArrayLike, vi: ArrayLike) -> tuple[float, float, float]:
    """Return the random-effects mean, its standard error and the variance between rows.

    Parameters
    ----------
    yi : array_like of shape (k,)
        Effect sizes on the analysis scale; k of at least 2.
    vi : array_like of shape (k,)
        Their sampling variances, each positive.

    Returns
    -------
    mu : float
        Pooled estimate.
    se : float
        Its standard error.
    tau2 : float
        REML estimate of the between-row variance, 0 at the boundary.

    References
    ----------
    Viechtbauer, W. (2005). Bias and efficiency of meta-analytic variance estimators in the
    random-effects model. Journal of Educational and Behavioral Statistics, 30, 261-293 (Fisher
    scoring for REML).

    Examples
    --------
    >>> mu, se, tau2 = pooled_estimate([0.1, 0.3], [0.01, 0.01])
    >>> round(mu, 3), round(tau2, 3)
    (0.2, 0.01)
    """
    y, v = np.asarray(yi, dtype=np.float64), np.asarray(vi, dtype=np.float64)
    tau2 = max(0.0, float(np.var(y, ddof=1) - np.mean(v)))
    for _ in range(MAX_ITERATIONS):
        w = 1 / (v + tau2)
        s1, s2, s3 = w.sum(), (w**2).sum(), (w**3).sum()
        mu = (w * y).sum() / s1
        score = (w**2 * (y - mu) ** 2).sum() - (s1 - s2 / s1)
        information = s2 - 2 * s3 / s1 + (s2 / s1) ** 2
        if information <= EPSILON * s2:  # one row outweighs all others: they tell nothing on tau2
            break
        step = max(0.0, tau2 + score / information) - tau2
        tau2 += step
        if abs(step) <= TOLERANCE * (1 + tau2):
            break
    w = 1 / (v + tau2)
    return float((w * y).sum() / w.sum()), float(1 / np.sqrt(w.sum())), float(tau2)


def average_by_sample(yi: Vector, vi: Vector, codes: NDArray[np.intp]) -> tuple[Vector, Vector]:
    """Return one row per sample: its mean effect, with the mean variance of its rows.

    The mean variance is that of fully correlated errors, so a sample never gains weight by
    having many rows.
    """
    count = np.bincount(codes)
    return np.bincount(codes, yi) / count, np.bincount(codes, vi) / count


def leave_one_out_residuals(yi: Vector, vi: Vector) -> tuple[Vector, Vector]:
    """Return each row's studentised residual from the other rows, and the mean of those others.

    Parameters
    ----------
    yi, vi : numpy.ndarray of shape (k,)
        Effect sizes and sampling variances, k of at least 4.

    Returns
    -------
    residual : numpy.ndarray of shape (k,)
        ``(y - mu) / sqrt(v + tau2 + se**2)`` with `mu`, `tau2` and `se` from the other rows;
        beyond 300 rows `tau2` is that of all rows.
    centre : numpy.ndarray of shape (k,)
        The `mu` of the other rows.
    """
    k = len(yi)
    residual, centre = np.empty(k), np.empty(k)
    _, _, overall = pooled_estimate(yi, vi)
    for i in range(k):
        others = np.arange(k) != i
        if k <= REFITTED:
            mu, se, tau2 = pooled_estimate(yi[others], vi[others])
        else:
            w, tau2 = 1 / (vi[others] + overall), overall
            mu, se = float((w * yi[others]).sum() / w.sum()), float(1 / np.sqrt(w.sum()))
        residual[i] = (yi[i] - mu) / np.sqrt(vi[i] + tau2 + se**2)
        centre[i] = mu
    return residual, centre
