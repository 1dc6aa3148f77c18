"""The normal likelihood with true effects integrated out, for many variance values at once.

For one sample the covariance of its effects is ``V + diag(tau_within**2 / n_averaged) +
tau_between**2``, where ``V`` has ``rho * sqrt(v_k v_l)`` off the diagonal. It is a diagonal plus a
matrix of rank one or two, so its inverse and determinant are closed forms (Woodbury). Rows of a
sample with the same sampling variance are summed once ("cells"); a sample with one cell needs no
correction term at all, which is the common case and loses no digits.

Used by the exact engine. The PyMC models do not import this file: that NUTS agrees with it is
evidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reanalysis.priors import LOG_2PI

__all__ = ["Coefficients", "Statistics", "integrate_coefficients", "quadratic_forms"]

Vector = NDArray[np.float64]

CHUNK = 2_000_000  # elements of one working array: about 16 MB, stays near the cache


@dataclass(frozen=True, eq=False)
class _Cells:
    """Sums over the rows of a sample that share a sampling variance; ``z = [X, y]``."""

    vi: Vector
    n_averaged: Vector
    count: Vector
    mean: Vector  # (c, p + 1): mean of z
    scatter: Vector  # (c, (p + 1)**2): within-cell cross-products about the mean
    starts: NDArray[np.intp]  # first cell of each sample


@dataclass(frozen=True, eq=False)
class Statistics:
    """What the likelihood needs of a design, computed once.

    Attributes
    ----------
    k, p : int
        Numbers of rows and coefficients.
    shift : numpy.ndarray of shape (p,)
        Coefficients subtracted from ``y`` beforehand, so that sums of squares keep their digits.
    lone : _Cells
        Samples with one cell.
    mixed : _Cells or None
        Samples with several.
    dense : tuple
        Blocks ``(Z, V, n_averaged)`` of the samples when a covariance matrix was given.
    """

    k: int
    p: int
    shift: Vector
    lone: _Cells | None
    mixed: _Cells | None
    dense: tuple[tuple[Vector, Vector, Vector], ...] = ()

    @classmethod
    def of(
        cls,
        yi: Vector,
        vi: Vector,
        X: Vector,
        cluster: NDArray[np.intp],
        n_averaged: Vector,
        V: Vector | None = None,
    ) -> "Statistics":
        """Sum up the rows of a design.

        Parameters
        ----------
        yi, vi : numpy.ndarray of shape (k,)
            Estimates and sampling variances.
        X : numpy.ndarray of shape (k, p)
            Design matrix.
        cluster : numpy.ndarray of shape (k,)
            Sorted integer codes of the samples.
        n_averaged : numpy.ndarray of shape (k,)
            Number of effects averaged in each row.
        V : numpy.ndarray of shape (k, k), optional
            Given sampling covariance.

        Returns
        -------
        Statistics
            Sums per cell, or blocks if `V` is given.
        """
        root = np.sqrt(1 / vi)
        shift = np.linalg.lstsq(X * root[:, None], yi * root, rcond=None)[0]
        Z = np.column_stack([X, yi - X @ shift])
        if V is not None:
            rows = [np.flatnonzero(cluster == j) for j in range(cluster[-1] + 1)]
            dense = tuple((Z[r], V[np.ix_(r, r)], n_averaged[r]) for r in rows)
            return cls(len(yi), X.shape[1], shift, None, None, dense)
        order = np.lexsort((n_averaged, vi, cluster))
        Z, vi, n_averaged, cluster = Z[order], vi[order], n_averaged[order], cluster[order]
        change = np.ones(len(vi), dtype=bool)
        change[1:] = cluster[1:] != cluster[:-1]
        change[1:] |= (vi[1:] != vi[:-1]) | (n_averaged[1:] != n_averaged[:-1])
        first = np.flatnonzero(change)
        count = np.diff(np.append(first, len(vi))).astype(float)
        mean = np.add.reduceat(Z, first, axis=0) / count[:, None]
        rest = Z - np.repeat(mean, count.astype(int), axis=0)
        outer = (rest[:, :, None] * rest[:, None, :]).reshape(len(vi), -1)
        scatter = np.add.reduceat(outer, first, axis=0)
        owner = cluster[first]
        lone = np.bincount(owner)[owner] == 1
        cells = [
            _Cells(
                vi[first][pick],
                n_averaged[first][pick],
                count[pick],
                mean[pick],
                scatter[pick],
                np.flatnonzero(np.r_[True, np.diff(owner[pick]) > 0]),
            )
            if pick.any()
            else None
            for pick in (lone, ~lone)
        ]
        return cls(len(yi), X.shape[1], shift, cells[0], cells[1])


def quadratic_forms(
    stats: Statistics, tau2_between: Vector, tau2_within: Vector, rho: Vector
) -> tuple[Vector, Vector]:
    """Return ``log|Sigma|`` and ``Z' Sigma^-1 Z`` for many variance values.

    Parameters
    ----------
    stats : Statistics
        The design; ``Z = [X, y - X shift]``.
    tau2_between, tau2_within, rho : numpy.ndarray of shape (g,)
        Variances (not standard deviations) and sampling correlation.

    Returns
    -------
    logdet : numpy.ndarray of shape (g,)
        Log determinant of the covariance of all rows.
    forms : numpy.ndarray of shape (g, p + 1, p + 1)
        Weighted cross-products.
    """
    g, q = len(tau2_between), stats.p + 1
    logdet, forms = np.zeros(g), np.zeros((g, q * q))
    width = sum(len(c.vi) for c in (stats.lone, stats.mixed) if c is not None)
    width += sum(len(Z) ** 2 for Z, _, _ in stats.dense)
    step = max(1, CHUNK // max(width, 1))
    constant = g > 0 and np.all(rho == rho[0])  # the common case; spares work for every node
    for start in range(0, g, step):
        part = slice(start, start + step)
        given = rho[:1, None] if constant else rho[part, None]
        values = tau2_between[part, None], tau2_within[part, None], given
        if stats.lone is not None:
            _add_lone(stats.lone, *values, logdet[part], forms[part])
        if stats.mixed is not None:
            _add_mixed(stats.mixed, *values, logdet[part], forms[part])
        for block in stats.dense:
            _add_dense(block, *values, logdet[part], forms[part])
    return logdet, forms.reshape(g, q, q)


def _add_lone(
    cells: _Cells, between: Vector, within: Vector, rho: Vector, logdet: Vector, forms: Vector
) -> None:
    """Add samples with one cell: ``Sigma = d I + (tau_between**2 + rho v) 1 1'``."""
    d = (1 - rho) * cells.vi + within / cells.n_averaged
    shared = between + rho * cells.vi
    mean_variance = d / cells.count + shared
    logdet += np.log(mean_variance).sum(axis=1) + np.log(cells.count).sum()
    forms += (1 / mean_variance) @ _outer(cells.mean)
    several = cells.count > 1
    if several.any():
        d = d[:, several]
        logdet += np.log(d) @ (cells.count[several] - 1)
        forms += (1 / d) @ cells.scatter[several]


def _add_mixed(
    cells: _Cells, between: Vector, within: Vector, rho: Vector, logdet: Vector, forms: Vector
) -> None:
    """Add samples with several cells through the Woodbury identity of rank two."""
    q = cells.mean.shape[1]
    d = (1 - rho) * cells.vi + within / cells.n_averaged
    w = 1 / d
    weight = w * cells.count
    root = np.sqrt(cells.vi)
    logdet += np.log(d) @ cells.count
    forms += weight @ _outer(cells.mean) + w @ cells.scatter

    def per_sample(values: Vector) -> Vector:
        return np.add.reduceat(values, cells.starts, axis=1)

    ones = per_sample(weight)
    sums = per_sample(weight[:, :, None] * cells.mean)  # (g, m, q): 1' D^-1 Z
    if not np.any(rho):
        gain = between / (1 + between * ones)
        logdet += np.log1p(between * ones).sum(axis=1)
        forms -= np.einsum("gj,gja,gjb->gab", gain, sums, sums, optimize=True).reshape(-1, q * q)
        return
    # U = [sqrt(rho) s, tau_between 1] with s = sqrt(v): M = I + U' D^-1 U is 2 x 2 per sample.
    roots = per_sample(weight * root)
    squares = per_sample(weight * cells.vi)
    rooted = per_sample((weight * root)[:, :, None] * cells.mean)
    m11, m22 = 1 + rho * squares, 1 + between * ones
    m12 = np.sqrt(rho * between) * roots
    determinant = m11 * m22 - m12**2
    logdet += np.log(determinant).sum(axis=1)
    a, b = np.sqrt(rho)[:, :, None] * rooted, np.sqrt(between)[:, :, None] * sums
    forms -= (
        np.einsum("gj,gja,gjb->gab", m22 / determinant, a, a, optimize=True)
        - np.einsum("gj,gja,gjb->gab", m12 / determinant, a, b, optimize=True)
        - np.einsum("gj,gja,gjb->gab", m12 / determinant, b, a, optimize=True)
        + np.einsum("gj,gja,gjb->gab", m11 / determinant, b, b, optimize=True)
    ).reshape(-1, q * q)


def _outer(z: Vector) -> Vector:
    """Return the products of all pairs of columns, one row per row."""
    return (z[:, :, None] * z[:, None, :]).reshape(len(z), -1)


def _add_dense(
    block: tuple[Vector, Vector, Vector],
    between: Vector,
    within: Vector,
    rho: Vector,
    logdet: Vector,
    forms: Vector,
) -> None:
    """Add one sample with a given covariance matrix by Cholesky factorisation."""
    Z, V, n_averaged = block
    sigma = V + between[:, :, None] + within[:, :, None] * np.diag(1 / n_averaged)
    factor = np.linalg.cholesky(sigma)
    half = np.linalg.solve(factor, np.broadcast_to(Z, (len(sigma), *Z.shape)))
    logdet += 2 * np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
    forms += np.einsum("gka,gkb->gab", half, half).reshape(len(sigma), -1)


@dataclass(frozen=True, eq=False)
class Coefficients:
    """Coefficients given the variances: normal, with the log marginal likelihood.

    Attributes
    ----------
    loglik : numpy.ndarray of shape (g,)
        Log density of the data given the variances, coefficients integrated out.
    mean : numpy.ndarray of shape (g, p)
        Conditional posterior means.
    cov : numpy.ndarray of shape (g, p, p)
        Conditional posterior covariances.
    """

    loglik: Vector
    mean: Vector
    cov: Vector


def integrate_coefficients(
    stats: Statistics,
    logdet: Vector,
    forms: Vector,
    prior_mean: Vector,
    prior_sd: Vector,
    columns: Sequence[int],
) -> Coefficients:
    """Integrate the coefficients over their normal prior.

    Parameters
    ----------
    stats : Statistics
        The design.
    logdet, forms : numpy.ndarray
        From `quadratic_forms`.
    prior_mean, prior_sd : numpy.ndarray of shape (p,)
        Independent normal priors of all coefficients.
    columns : sequence of int
        Coefficients in the model; the others are fixed at zero.

    Returns
    -------
    Coefficients
        Conditional on each of the g variance values.

    Notes
    -----
    With ``b ~ N(b0, S0)`` the data given the variances are normal with covariance
    ``Sigma + X S0 X'``; written with ``P = S0^-1 + X' Sigma^-1 X`` to stay O(p^3).
    """
    use = list(columns)
    out = [i for i in range(stats.p) if i not in use]
    if out:
        # y was shifted by X shift; coefficients that are out of the model are put back.
        y = np.zeros(stats.p + 1)
        y[-1] = 1.0
        y[out] = stats.shift[out]
        rhs = forms @ y  # (g, p + 1)
        quadratic = rhs @ y
        rhs, information = rhs[:, use], forms[:, use, :][:, :, use]
    else:
        rhs, quadratic, information = forms[:, :-1, -1], forms[:, -1, -1], forms[:, :-1, :-1]
    base = -0.5 * (stats.k * LOG_2PI + logdet)
    if not use:
        g = len(logdet)
        return Coefficients(base - 0.5 * quadratic, np.zeros((g, 0)), np.zeros((g, 0, 0)))
    sd = prior_sd[use]
    start = prior_mean[use] - stats.shift[use]
    # Solved in units of the prior SD: the matrix is I + sd X'WX sd, never worse than the data.
    scaled = np.eye(len(use)) + information * sd[:, None] * sd
    fitted = information @ start
    residual = rhs - fitted
    offset, inverse, logdet_scaled = _solve(scaled, residual * sd)
    offset = offset * sd
    quadratic = quadratic - (rhs + residual) @ start - np.einsum("gi,gi->g", residual, offset)
    return Coefficients(
        base - 0.5 * (logdet_scaled + quadratic),
        offset + prior_mean[use],
        inverse * sd[:, None] * sd,
    )


def _solve(matrix: Vector, rhs: Vector) -> tuple[Vector, Vector, Vector]:
    """Return solution, inverse and log determinant for a stack of small matrices."""
    if matrix.shape[1] == 1:  # the common case, without the overhead of LAPACK per matrix
        return rhs / matrix[:, :, 0], 1 / matrix, np.log(matrix[:, 0, 0])
    inverse = np.linalg.inv(matrix)
    solution = np.linalg.solve(matrix, rhs[:, :, None])[:, :, 0]
    return solution, inverse, np.linalg.slogdet(matrix)[1]
