"""The true effect behind every row, given the data: shrinkage estimates."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reanalysis.design import Design
from reanalysis.exact.grid import Grid
from reanalysis.exact.mixtures import NormalMixtures

__all__ = ["shrink"]

Vector = NDArray[np.float64]

NEGLIGIBLE = 1e-6
BINS = 128  # interval ends move by less than 1e-3 standard deviations
PROBABILITIES = np.array([0.025, 0.975])


def shrink(design: Design, grid: Grid) -> pd.DataFrame:
    """Return the posterior of each row's true effect.

    Parameters
    ----------
    design : Design
        The data of the model.
    grid : Grid
        Posterior of the variance parameters with the coefficients given them.

    Returns
    -------
    pandas.DataFrame
        One row per effect: ``row``, ``sample``, ``yi``, ``vi``, ``mean``, ``sd``, ``lower``,
        ``upper`` on the analysis scale. For an averaged row it is the mean of its effects.

    Notes
    -----
    With ``Sigma = Cov(theta) + V`` the true effects are normal given the variances, with mean
    ``y - V Sigma^-1 (y - X b)`` and covariance ``V - V Sigma^-1 V``; the coefficients'
    uncertainty is added through ``V Sigma^-1 X``. Written with V, a very precise row keeps its
    digits.
    """
    keep = grid.weight > NEGLIGIBLE * grid.weight.max()
    weight = grid.weight[keep] / grid.weight[keep].sum()
    between, within = grid.tau_between[keep] ** 2, grid.tau_within[keep] ** 2
    rho, b, cov = grid.rho[keep], grid.mean[keep], grid.cov[keep]
    means, variances = np.empty((design.k, len(weight))), np.empty((design.k, len(weight)))
    for j in range(design.m):
        at = np.flatnonzero(design.cluster == j)
        sample = _Sample.of(design, at, between, within, rho)
        X = np.broadcast_to(design.X[at], (len(weight), len(at), design.p))
        fitted = b @ design.X[at].T
        residual = design.yi[at] - fitted
        pulled = sample.pulled(np.concatenate([X, residual[:, :, None]], axis=2))
        carried = pulled[:, :, :-1]
        means[at] = (design.yi[at] - pulled[:, :, -1]).T
        variances[at] = sample.variance().T
        variances[at] += np.einsum("gap,gpq,gaq->ga", carried, cov, carried).T
    mixtures = NormalMixtures.of(weight, means, variances, bins=BINS)
    centre, spread = mixtures.moments()
    quantiles = mixtures.quantiles(PROBABILITIES)
    return pd.DataFrame(
        {
            "row": design.rows,
            "label": design.row_names,
            "sample": [design.cluster_names[j] for j in design.cluster],
            "yi": design.yi,
            "vi": design.vi,
            "mean": centre,
            "sd": spread,
            "lower": quantiles[:, 0],
            "upper": quantiles[:, 1],
        }
    )


@dataclass(frozen=True, eq=False)
class _Sample:
    """One sample at every node: ``Sigma = diag(d) + U U'``, or a dense matrix for a given V."""

    between: Vector  # (g,)
    own: Vector  # (g, a): tau_within**2 / n_averaged
    diagonal: Vector  # (g, a)
    U: Vector  # (g, a, 2)
    V: Vector | None  # (a, a)
    root: Vector  # (a,): sqrt(v)
    rho: Vector  # (g,)

    @classmethod
    def of(
        cls, design: Design, at: NDArray[np.intp], between: Vector, within: Vector, rho: Vector
    ) -> "_Sample":
        own = within[:, None] / design.n_averaged[at]
        root = np.sqrt(design.vi[at])
        shared = np.broadcast_to(np.sqrt(between)[:, None], own.shape)
        U = np.stack([np.sqrt(rho)[:, None] * root, shared], axis=2)
        V = None if design.V is None else design.V[np.ix_(at, at)]
        return cls(between, own, (1 - rho)[:, None] * root**2 + own, U, V, root, rho)

    def solve(self, A: Vector) -> Vector:
        """Return ``Sigma^-1 A`` for ``A`` of shape (g, a, c)."""
        if self.V is not None:
            total = self.V + self.between[:, None, None] + _diagonal(self.own)
            return np.linalg.solve(total, A)
        scaled = A / self.diagonal[:, :, None]
        crossed = np.einsum("gau,gac->guc", self.U, scaled)
        return scaled - np.einsum("gau,guw,gwc->gac", *self._correction, crossed)

    @cached_property
    def _correction(self) -> tuple[Vector, Vector]:
        """Return ``D^-1 U`` and ``(I + U' D^-1 U)^-1``, a 2 x 2 matrix per node."""
        weighted = self.U / self.diagonal[:, :, None]
        inner = np.einsum("gau,gaw->guw", self.U, weighted)
        a, b, c = 1 + inner[:, 0, 0], inner[:, 0, 1], 1 + inner[:, 1, 1]
        inverse = np.stack([np.stack([c, -b], axis=1), np.stack([-b, a], axis=1)], axis=1)
        return weighted, inverse / (a * c - b * b)[:, None, None]

    def pulled(self, A: Vector) -> Vector:
        """Return ``V Sigma^-1 A``: how far the estimates are pulled from what was observed."""
        solved = self.solve(A)
        if self.V is not None:
            return self.V @ solved
        rho, root = self.rho[:, None, None], self.root[:, None]
        shared = (root * solved).sum(axis=1, keepdims=True)
        return (1 - rho) * root**2 * solved + rho * root * shared

    def variance(self) -> Vector:
        """Return the diagonal of ``Cov(theta | y, variances) = V - V Sigma^-1 V``."""
        if self.V is not None:
            V = np.broadcast_to(self.V, (len(self.between), *self.V.shape))
            return np.diagonal(self.V) - np.einsum("gab,gba->ga", V, self.solve(V))
        # V = (1 - rho) diag(v) + rho s s': its columns are a multiple of e_a plus one of s.
        weighted, inner = self._correction
        inverse = 1 / self.diagonal - np.einsum("gau,guw,gaw->ga", weighted, inner, weighted)
        root = np.broadcast_to(self.root, self.own.shape)
        rooted = self.solve(root[:, :, None])[:, :, 0]
        rho, v = self.rho[:, None], self.root**2
        removed = (
            (1 - rho) ** 2 * v**2 * inverse
            + 2 * (1 - rho) * v * rho * root * rooted
            + rho**2 * v * (root * rooted).sum(axis=1, keepdims=True)
        )
        return v - removed


def _diagonal(values: Vector) -> Vector:
    return values[:, :, None] * np.eye(values.shape[1])
