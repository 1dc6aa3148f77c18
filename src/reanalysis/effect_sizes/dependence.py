"""Sampling covariance of effect sizes that come from the same people."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reanalysis.effect_sizes.validation import Vector, numbers, require, require_correlation

__all__ = [
    "cluster_codes",
    "constant_correlation_V",
    "dependent_correlations",
    "overlapping_sampling_correlation",
    "require_constant_correlation",
]


def dependent_correlations(
    R: ArrayLike, ni: float, scale: Literal["z", "r"] = "z"
) -> tuple[Vector, Vector]:
    """Return all correlations of one sample with their joint sampling covariance.

    Parameters
    ----------
    R : array_like of shape (p, p)
        Correlation matrix of p variables measured on the same people; positive semidefinite.
    ni : float
        Sample size: greater than 3 on the z scale, greater than 1 on the r scale.
    scale : {"z", "r"}
        Fisher's z, or the correlations themselves.

    Returns
    -------
    yi : numpy.ndarray of shape (q,)
        The ``q = p (p - 1) / 2`` correlations above the diagonal, row by row:
        ``R[0, 1], R[0, 2], ..., R[1, 2], ...``
    V : numpy.ndarray of shape (q, q)
        Large-sample covariance, with divisor ``ni - 1`` for r and ``ni - 3`` for z, so that its
        diagonal agrees with `raw_r` and `fisher_z`. (The sources divide by n.)

    Raises
    ------
    ValueError
        If R is not a correlation matrix, a correlation is 1 in size, or `ni` is too small.

    References
    ----------
    Olkin, I., & Siotani, M. (1976). Asymptotic distribution of functions of a correlation matrix.
    In S. Ikeda (ed.), Essays in probability and statistics, 235-251.
    Steiger, J. H. (1980). Tests for comparing elements of a correlation matrix. Psychological
    Bulletin, 87, 245-251.

    Examples
    --------
    >>> yi, V = dependent_correlations([[1, 0.3, 0.2], [0.3, 1, 0.7], [0.2, 0.7, 1]], 50)
    >>> yi.round(3), V.round(4)[0]
    (array([0.31 , 0.203, 0.867]), array([0.0213, 0.0146, 0.002 ]))
    """
    if scale not in ("z", "r"):
        raise ValueError(f"scale is {scale!r}; it must be 'z' or 'r'.")
    matrix, n = numbers(R=R, ni=ni)
    _require_correlation_matrix(matrix)
    lost = 3 if scale == "z" else 1
    require("ni", n, n > lost, f"a sample size greater than {lost}")
    first, second = np.triu_indices(len(matrix), k=1)
    r = matrix[first, second]
    require_correlation("R, above the diagonal,", r)
    covariance = _asymptotic_covariance(matrix, first, second)
    if scale == "r":
        return r, covariance / (n - 1)
    slope = 1 / (1 - r**2)
    return np.arctanh(r), covariance * np.outer(slope, slope) / (n - 3)


def overlapping_sampling_correlation(r1: ArrayLike, r2: ArrayLike, r12: ArrayLike) -> Vector:
    """Return the sampling correlation of two correlations that share one variable.

    This is what outcomes' intercorrelation means for `sampling_correlation`: with the same
    predictor correlated with two outcomes of the same people, the two estimates err together.

    Parameters
    ----------
    r1, r2 : array_like of shape (k,)
        Correlations of the shared variable with each of the two others, each in (-1, 1).
    r12 : array_like of shape (k,)
        Correlation between the two others, in [-1, 1].

    Returns
    -------
    numpy.ndarray of shape (k,)
        ``(r12 (1 - r1**2 - r2**2) - r1 r2 (1 - r1**2 - r2**2 - r12**2) / 2) /
        ((1 - r1**2) (1 - r2**2))``, the same for r and for z; `r12` itself where r1 = r2 = 0.

    Raises
    ------
    ValueError
        If a correlation is out of range, or the three cannot occur together.

    References
    ----------
    Olkin & Siotani (1976) and Steiger (1980), as in `dependent_correlations`.

    Examples
    --------
    The intercorrelation of .7 that Kaiser et al. (2021) assume, at their mean correlation:

    >>> overlapping_sampling_correlation(0.2, 0.2, 0.7).round(2)
    np.float64(0.69)
    """
    a, b, c = numbers(r1=r1, r2=r2, r12=r12)
    require_correlation("r1", a)
    require_correlation("r2", b)
    require("r12", c, np.abs(c) <= 1, "a correlation between -1 and 1")
    a, b, c = np.broadcast_arrays(a, b, c)
    rest = 1 - a**2 - b**2
    determinant = rest - c**2 + 2 * a * b * c
    possible = determinant >= -MATRIX_ATOL
    require("r12", c, possible, "possible beside r1 and r2 (a positive semidefinite matrix)")
    return (c * rest - a * b * (rest - c**2) / 2) / ((1 - a**2) * (1 - b**2))


def constant_correlation_V(vi: ArrayLike, cluster: ArrayLike, rho: float) -> Vector:  # noqa: N802
    """Return the sampling covariance with one correlation within clusters and none across.

    Parameters
    ----------
    vi : array_like of shape (k,)
        Sampling variances (not standard errors), greater than 0.
    cluster : array_like of shape (k,)
        Label of each row's cluster, in any order.
    rho : float
        Sampling correlation within clusters, in (-1 / (m - 1), 1] for the largest cluster of m.

    Returns
    -------
    numpy.ndarray of shape (k, k)
        ``rho sqrt(vi[a] vi[b])`` where a and b share a cluster, `vi` on the diagonal, 0 elsewhere.

    Raises
    ------
    ValueError
        If a variance is not positive, lengths differ, or no cluster of this size can have `rho`.

    References
    ----------
    Pustejovsky, J. E., & Tipton, E. (2022). Meta-analysis with robust variance estimation:
    expanding the range of working models. Prevention Science, 23, 425-438.

    Examples
    --------
    >>> constant_correlation_V([0.04, 0.09, 0.01], ["a", "a", "b"], 0.5)
    array([[0.04, 0.03, 0.  ],
           [0.03, 0.09, 0.  ],
           [0.  , 0.  , 0.01]])
    """
    v, correlation = numbers(vi=vi, rho=rho)
    require("vi", v, v > 0, "a sampling variance greater than 0")
    v = np.atleast_1d(v)
    codes, _ = cluster_codes(cluster, len(v))
    require_constant_correlation(correlation, np.bincount(codes))
    sei = np.sqrt(v)
    V = np.where(codes[:, None] == codes, correlation * np.outer(sei, sei), 0.0)
    np.fill_diagonal(V, v)
    return V


def cluster_codes(cluster: ArrayLike, k: int) -> tuple[NDArray[np.intp], NDArray[np.object_]]:
    """Return integer codes for cluster labels, and the labels by code.

    Parameters
    ----------
    cluster : array_like of shape (k,)
        Labels of any hashable kind.
    k : int
        Number of rows that there must be.

    Returns
    -------
    codes : numpy.ndarray of shape (k,)
        0, 1, ... in order of first appearance.
    labels : numpy.ndarray of shape (m,), dtype object
        Label of each code.

    Raises
    ------
    ValueError
        If the number of labels is not `k`, or one is missing.
    """
    labels = np.asarray(cluster, dtype=object)
    if labels.shape != (k,):
        raise ValueError(
            f"cluster has shape {labels.shape}; it must have one label per row, ({k},)."
        )
    seen: dict[object, int] = {}
    codes = np.empty(k, dtype=np.intp)
    for row, label in enumerate(labels):
        if label is None or label != label:  # nan is the only label that differs from itself
            raise ValueError(f"cluster[{row}] is {label}; every row must name its cluster.")
        codes[row] = seen.setdefault(label, len(seen))
    return codes, np.fromiter(seen, dtype=object, count=len(seen))


def require_constant_correlation(rho: Vector, sizes: NDArray[np.intp]) -> None:
    """Raise unless clusters of these sizes can have this correlation throughout."""
    largest = int(sizes.max(initial=1))
    rule = (
        f"at most 1 and greater than -1 / (m - 1), with m = {largest} rows in the largest cluster"
    )
    require("rho", rho, (rho <= 1) & (1 + (largest - 1) * rho > 0), rule)


# Correlation matrices in print have two decimals; arithmetic alone leaves about 1e-16.
MATRIX_ATOL = 1e-10


def _require_correlation_matrix(R: Vector) -> None:
    """Raise unless R is square, symmetric, of unit diagonal and positive semidefinite."""
    if R.ndim != 2 or R.shape[0] != R.shape[1] or len(R) < 2:
        raise ValueError(f"R has shape {R.shape}; it must be (p, p) with p of 2 or more.")
    diagonal = np.diagonal(R)
    require("the diagonal of R", diagonal, np.abs(diagonal - 1) <= MATRIX_ATOL, "1")
    require("R", R, np.abs(R - R.T) <= MATRIX_ATOL, "equal to its mirror image across the diagonal")
    smallest = float(np.linalg.eigvalsh(R)[0])
    if smallest < -MATRIX_ATOL:
        raise ValueError(
            f"R is not a correlation matrix: its smallest eigenvalue is {smallest:.3g}; "
            "these correlations cannot occur together."
        )


def _asymptotic_covariance(R: Vector, first: NDArray[np.intp], second: NDArray[np.intp]) -> Vector:
    """Return n times the covariance of all pairs of correlations (Steiger 1980)."""
    j, k = first[:, None], second[:, None]
    h, m = first, second
    jk, hm = R[j, k], R[h, m]
    jh, jm, kh, km = R[j, h], R[j, m], R[k, h], R[k, m]
    squares = jk * hm * (jh**2 + jm**2 + kh**2 + km**2) / 2
    crossed = jh * km + jm * kh
    triples = jk * (jh * jm + kh * km) + hm * (jh * kh + jm * km)
    return squares + crossed - triples
