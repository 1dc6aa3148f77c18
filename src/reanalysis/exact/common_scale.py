"""Coefficients that share an unknown scale, integrated out for many scales at once.

Given the scale s the shrunk coefficients are ``N(0, (s u_j)²)``. With the other coefficients
integrated out first, one eigendecomposition per node of the variance parameters serves every s:
in its basis the coefficients are independent, and each s costs a few sums.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reanalysis.marginal import Coefficients, Statistics
from reanalysis.priors import LOG_2PI

__all__ = ["integrate_common_scale"]

Vector = NDArray[np.float64]


def integrate_common_scale(
    stats: Statistics,
    logdet: Vector,
    forms: Vector,
    prior_mean: Vector,
    prior_sd: Vector,
    columns: Sequence[int],
    shrunk: Sequence[int],
    scales: Vector,
    *,
    moments: bool = True,
) -> Coefficients:
    """Integrate the coefficients, some of them around zero with a common standard deviation.

    Parameters
    ----------
    stats : Statistics
        The design.
    logdet, forms : numpy.ndarray of shape (g,) and (g, p + 1, p + 1)
        From `reanalysis.marginal.quadratic_forms`.
    prior_mean, prior_sd : numpy.ndarray of shape (p,)
        Independent normal priors; the standard deviations of the shrunk coefficients are in
        units of the scale, and their means are zero.
    columns : sequence of int
        Coefficients in the model; the others are fixed at zero.
    shrunk : sequence of int
        Coefficients in the model that share the scale.
    scales : numpy.ndarray of shape (c,)
        Values of the scale.
    moments : bool
        False leaves means and covariances out.

    Returns
    -------
    Coefficients
        For g times c nodes, those of one g together; coefficients in the order of `columns`.
    """
    fixed = [i for i in columns if i not in shrunk]
    free = [i for i in columns if i in shrunk]
    out = [i for i in range(stats.p) if i not in columns]
    y = np.zeros(stats.p + 1)
    y[-1] = 1.0
    # y was shifted by X shift: coefficients that are out of the model, and those whose prior is
    # centred at zero, are put back.
    y[out + free] = stats.shift[out + free]
    rhs = forms @ y
    start = prior_mean[fixed] - stats.shift[fixed]
    sd, unit = prior_sd[fixed], prior_sd[free]
    A = forms[:, fixed, :][:, :, fixed] * sd[:, None] * sd
    B = forms[:, free, :][:, :, fixed] * unit[:, None] * sd
    C = forms[:, free, :][:, :, free] * unit[:, None] * unit
    offset = start / sd
    residual = rhs[:, fixed] * sd - A @ offset  # X'W(y - X b0), in units of the prior
    pull = rhs[:, free] * unit - B @ offset
    quadratic = rhs @ y - 2 * (rhs[:, fixed] * sd) @ offset + (A @ offset) @ offset
    inner = np.linalg.inv(np.eye(len(fixed)) + A)
    solved = np.einsum("gij,gj->gi", inner, residual)
    carried = B @ inner  # (g, free, fixed)
    quadratic = quadratic - np.einsum("gi,gi->g", residual, solved)
    base = -0.5 * (stats.k * LOG_2PI + logdet - np.linalg.slogdet(inner)[1] + quadratic)
    e, Q = np.linalg.eigh(C - carried @ B.transpose(0, 2, 1))
    e = np.maximum(e, 0.0)  # of a positive semi-definite matrix; rounding may fall below
    c = np.einsum("gij,gi->gj", Q, pull - np.einsum("gij,gj->gi", carried, residual))
    square = scales[:, None] ** 2
    ratio = square / (1 + square * e[:, None, :])  # (g, c, free): variance along each eigenvector
    gain = np.log1p(square * e[:, None, :]) - ratio * c[:, None, :] ** 2
    loglik = (base[:, None] - 0.5 * gain.sum(axis=2)).ravel()
    if not moments:
        return Coefficients(loglik, np.zeros((len(loglik), 0)), np.zeros((len(loglik), 0, 0)))
    mean_free = np.einsum("gij,gcj->gci", Q, ratio * c[:, None, :])
    cov_free = np.einsum("gij,gcj,gkj->gcik", Q, ratio, Q, optimize=True)
    mean_fixed = solved[:, None, :] - np.einsum("gji,gcj->gci", carried, mean_free)
    cross = -np.einsum("gji,gcjk->gcik", carried, cov_free, optimize=True)
    cov_fixed = inner[:, None] - np.einsum("gcij,gjk->gcik", cross, carried, optimize=True)
    p = len(columns)
    mean, cov = np.empty((*ratio.shape[:2], p)), np.empty((*ratio.shape[:2], p, p))
    at = {column: i for i, column in enumerate(columns)}
    f, s = [at[i] for i in fixed], [at[i] for i in free]
    mean[..., f] = mean_fixed * sd + prior_mean[fixed]
    mean[..., s] = mean_free * unit
    cov[..., np.array(f)[:, None], f] = cov_fixed * sd[:, None] * sd
    cov[..., np.array(s)[:, None], s] = cov_free * unit[:, None] * unit
    cov[..., np.array(f)[:, None], s] = cross * sd[:, None] * unit
    cov[..., np.array(s)[:, None], f] = (cross * sd[:, None] * unit).swapaxes(-1, -2)
    return Coefficients(loglik, mean.reshape(-1, p), cov.reshape(-1, p, p))
