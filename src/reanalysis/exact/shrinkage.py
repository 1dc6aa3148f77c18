"""The true effect behind every row, given the data: shrinkage estimates."""

from dataclasses import dataclass

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
    variances = grid.tau_between[keep] ** 2, grid.tau_within[keep] ** 2, grid.rho[keep]
    b, cov = grid.mean[keep], grid.cov[keep]
    residual = design.yi[:, None] - design.X @ b.T
    centre, spread = np.empty((2, design.k, len(weight)))
    starts = design.starts
    sizes = np.diff(np.append(starts, design.k))
    for size in np.unique(sizes):
        rows = starts[sizes == size, None] + np.arange(size)  # (n, a)
        samples = _Samples.of(design, rows, *variances)
        flat = rows.ravel()
        pulled = samples.pulled(residual[rows]).reshape(len(flat), -1)
        carried = np.stack([samples.pulled(x[rows][..., None]) for x in design.X.T])
        carried = carried.reshape(design.p, *pulled.shape).transpose(2, 0, 1)  # (g, p, rows)
        centre[flat] = design.yi[flat, None] - pulled
        spread[flat] = samples.variance().reshape(pulled.shape)
        spread[flat] += ((cov @ carried) * carried).sum(axis=1).T
    mixtures = NormalMixtures.of(weight, centre, spread, bins=BINS)
    mean, sd = mixtures.moments()
    quantiles = mixtures.quantiles(PROBABILITIES)
    return pd.DataFrame(
        {
            "row": design.rows,
            "label": design.row_names,
            "sample": [design.cluster_names[j] for j in design.cluster],
            "yi": design.yi,
            "vi": design.vi,
            "mean": mean,
            "sd": sd,
            "lower": quantiles[:, 0],
            "upper": quantiles[:, 1],
        }
    )


@dataclass(frozen=True, eq=False)
class _Samples:
    """Samples of one size at every node: ``Sigma = diag(d) + r r' + t t'``, or dense for a given V.

    Arrays are (n, a, g): samples, rows of a sample, nodes.
    """

    dense: tuple[Vector, Vector] | None  # a given V (n, 1, a, a), and Sigma (n, g, a, a)
    rho: Vector  # (g,)
    root: Vector  # (n, a, 1): sqrt(v)
    diagonal: Vector
    r: Vector  # sqrt(rho v) / d
    t: Vector  # tau_between / d
    inner: tuple[Vector, Vector, Vector]  # of (I + [r t]' diag(d) [r t])^-1, each (n, 1, g)

    @classmethod
    def of(
        cls, design: Design, rows: NDArray[np.intp], between: Vector, within: Vector, rho: Vector
    ) -> "_Samples":
        own = within / design.n_averaged[rows][..., None]
        root = np.sqrt(design.vi[rows])[..., None]
        dense = None
        if design.V is not None:
            V = design.V[rows[:, :, None], rows[:, None, :]][:, None]
            own_blocks = own.transpose(0, 2, 1)[..., None] * np.eye(rows.shape[1])
            dense = V, V + between[:, None, None] + own_blocks
        diagonal = (1 - rho) * root**2 + own
        u, q = np.sqrt(rho) * root, np.sqrt(between)
        r, t = u / diagonal, q / diagonal
        a, b, c = 1 + _sum(u * r), _sum(u * t), 1 + _sum(q * t)
        determinant = a * c - b * b
        inner = c / determinant, -b / determinant, a / determinant
        return cls(dense, rho, root, diagonal, r, t, inner)

    def solve(self, x: Vector) -> Vector:
        """Return ``Sigma^-1 x`` for a vector per sample, at every node or the same at all."""
        a, b, c = self.inner
        first, second = _sum(self.r * x), _sum(self.t * x)
        return (
            x / self.diagonal
            - self.r * (a * first + b * second)
            - self.t * (b * first + c * second)
        )

    def pulled(self, x: Vector) -> Vector:
        """Return ``V Sigma^-1 x``: how far the estimates are pulled from what was observed."""
        if self.dense is not None:
            V, sigma = self.dense
            at = np.broadcast_to(x, self.diagonal.shape).transpose(0, 2, 1)[..., None]
            return (V @ np.linalg.solve(sigma, at))[..., 0].transpose(0, 2, 1)
        solved = self.solve(x)
        shared = self.rho * self.root * _sum(self.root * solved)
        return (1 - self.rho) * self.root**2 * solved + shared

    def variance(self) -> Vector:
        """Return the diagonal of ``Cov(theta | y, variances) = V - V Sigma^-1 V``."""
        if self.dense is not None:
            V, sigma = self.dense
            left = V - V @ np.linalg.solve(sigma, np.broadcast_to(V, sigma.shape))
            return np.diagonal(left, axis1=2, axis2=3).transpose(0, 2, 1)
        # V = (1 - rho) diag(v) + rho s s': its columns are a multiple of e_a plus one of s.
        a, b, c = self.inner
        inverse = 1 / self.diagonal - (a * self.r**2 + 2 * b * self.r * self.t + c * self.t**2)
        rooted = self.solve(self.root)
        rho, root, v = self.rho, self.root, self.root**2
        removed = (
            (1 - rho) ** 2 * v**2 * inverse
            + 2 * (1 - rho) * v * rho * root * rooted
            + rho**2 * v * _sum(root * rooted)
        )
        return v - removed


def _sum(x: Vector) -> Vector:
    """Sum over the rows of a sample."""
    return np.asarray(x.sum(axis=1, keepdims=True))
