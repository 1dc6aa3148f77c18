"""Several dependent effect sizes of one sample as one row."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reanalysis.effect_sizes.dependence import cluster_codes, require_constant_correlation
from reanalysis.effect_sizes.validation import Vector, numbers, require

__all__ = ["aggregate_effects", "aggregate_effects_V"]


def aggregate_effects(
    yi: ArrayLike, vi: ArrayLike, cluster: ArrayLike, rho: float, *, weighted: bool = True
) -> tuple[Vector, Vector, NDArray[np.object_]]:
    """Return one effect size per cluster, with one sampling correlation within clusters.

    Parameters
    ----------
    yi : array_like of shape (k,)
        Effect sizes.
    vi : array_like of shape (k,)
        Sampling variances (not standard errors), greater than 0.
    cluster : array_like of shape (k,)
        Label of each row's cluster, in any order.
    rho : float
        Sampling correlation within clusters; below 1 if `weighted`. 0 takes the rows as
        independent.
    weighted : bool, default True
        Generalised least squares, the mean with the smallest variance, where a row of smaller
        `vi` counts more and may even push others below zero weight. False: the plain mean.

    Returns
    -------
    yi : numpy.ndarray of shape (m,)
        Mean effect of each cluster: the *mean-effect* estimand, unlike `composite_r`.
    vi : numpy.ndarray of shape (m,)
        Its sampling variance.
    labels : numpy.ndarray of shape (m,), dtype object
        Cluster labels, in order of first appearance.

    Raises
    ------
    ValueError
        If a variance is not positive, lengths differ, or `rho` is out of range.

    References
    ----------
    Borenstein, M., Hedges, L. V., Higgins, J. P. T., & Rothstein, H. R. (2009). Introduction to
    meta-analysis, ch. 24 (plain mean).
    Gleser, L. J., & Olkin, I. (2009). In Cooper, Hedges & Valentine (eds.), The handbook of
    research synthesis and meta-analysis, ch. 19 (generalised least squares).

    Examples
    --------
    >>> yi, vi, labels = aggregate_effects([0.3, 0.1, -0.2], [0.04, 0.04, 0.09], list("aab"), 0.5)
    >>> yi.round(2), vi.round(3), list(labels)
    (array([ 0.2, -0.2]), array([0.03, 0.09]), ['a', 'b'])
    """
    y, v, codes, labels = _rows(yi, vi, cluster)
    (correlation,) = numbers(rho=rho)
    size = np.bincount(codes)
    require_constant_correlation(correlation, size)

    def total(values: Vector) -> Vector:
        return np.bincount(codes, weights=values)

    if not weighted:
        off_diagonal = total(np.sqrt(v)) ** 2 - total(v)
        return total(y) / size, (total(v) + correlation * off_diagonal) / size**2, labels
    require("rho", correlation, correlation < 1, "below 1 for weights, or set weighted=False")
    # The inverse of (1 - rho) I + rho J is (I - c J) / (1 - rho), c = rho / (1 + (m - 1) rho).
    c = correlation / (1 + (size - 1) * correlation)
    precision = total(1 / v) - c * total(1 / np.sqrt(v)) ** 2
    product = total(y / v) - c * total(1 / np.sqrt(v)) * total(y / np.sqrt(v))
    return product / precision, (1 - correlation) / precision, labels


def aggregate_effects_V(  # noqa: N802
    yi: ArrayLike, V: ArrayLike, cluster: ArrayLike, *, weighted: bool = True
) -> tuple[Vector, Vector, NDArray[np.object_]]:
    """Return one effect size per cluster, with a given sampling covariance.

    Parameters
    ----------
    yi : array_like of shape (k,)
        Effect sizes.
    V : array_like of shape (k, k)
        Their sampling covariance, positive definite within clusters; entries across clusters are
        not used.
    cluster : array_like of shape (k,)
        Label of each row's cluster, in any order.
    weighted : bool, default True
        As in `aggregate_effects`.

    Returns
    -------
    yi, vi, labels
        As from `aggregate_effects`.

    Raises
    ------
    ValueError
        If shapes differ, or a cluster's block of `V` is not symmetric and positive definite.

    References
    ----------
    As for `aggregate_effects`.

    Examples
    --------
    >>> yi, vi, _ = aggregate_effects_V([0.3, 0.1], [[0.04, 0.02], [0.02, 0.04]], ["a", "a"])
    >>> yi.round(2), vi.round(3)
    (array([0.2]), array([0.03]))
    """
    (covariance,) = numbers(V=V)
    if covariance.ndim != 2 or covariance.shape[0] != covariance.shape[1]:
        raise ValueError(f"V has shape {covariance.shape}; it must be (k, k).")
    y, _, codes, labels = _rows(yi, np.diagonal(covariance), cluster)
    mean, variance = np.empty(len(labels)), np.empty(len(labels))
    for code, label in enumerate(labels):
        rows = np.flatnonzero(codes == code)
        block = covariance[np.ix_(rows, rows)]
        ones = np.ones(len(rows))
        if not np.allclose(block, block.T, rtol=1e-8, atol=0):
            raise ValueError(f"V is not symmetric within cluster {label!r}.")
        try:
            np.linalg.cholesky(block)
        except np.linalg.LinAlgError as error:
            raise ValueError(f"V is not positive definite within cluster {label!r}.") from error
        weights = np.linalg.solve(block, ones) if weighted else ones
        weights = weights / weights.sum()
        mean[code] = weights @ y[rows]
        variance[code] = weights @ block @ weights
    return mean, variance, labels


def _rows(
    yi: ArrayLike, vi: ArrayLike, cluster: ArrayLike
) -> tuple[Vector, Vector, NDArray[np.intp], NDArray[np.object_]]:
    """Return effects and variances of one length with their cluster codes and labels."""
    y, v = numbers(yi=yi, vi=vi)
    require("vi", v, v > 0, "a sampling variance greater than 0")
    y, v = np.broadcast_arrays(np.atleast_1d(y), v)
    codes, labels = cluster_codes(cluster, len(y))
    return y, v, codes, labels
