"""The true effect behind every row, given the data: shrinkage estimates."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reanalysis.design import Design
from reanalysis.exact.grid import Grid
from reanalysis.exact.mixtures import NormalMixtures

__all__ = ["shrink"]

Vector = NDArray[np.float64]

NEGLIGIBLE = 1e-7
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
    With ``T = Cov(theta)`` and ``Sigma = T + V`` the true effects are normal given the variances,
    with mean ``X b + T Sigma^-1 (y - X b)``; the coefficients' uncertainty is added through
    ``(I - T Sigma^-1) X``.
    """
    keep = grid.weight > NEGLIGIBLE * grid.weight.max()
    weight = grid.weight[keep] / grid.weight[keep].sum()
    between, within = grid.tau_between[keep] ** 2, grid.tau_within[keep] ** 2
    rho, b, cov = grid.rho[keep], grid.mean[keep], grid.cov[keep]
    means, variances = np.empty((design.k, len(weight))), np.empty((design.k, len(weight)))
    for j in range(design.m):
        at = np.flatnonzero(design.cluster == j)
        V = _sampling(design, at, rho)
        T = between[:, None, None] + within[:, None, None] * np.diag(1 / design.n_averaged[at])
        gain = np.swapaxes(np.linalg.solve(T + V, T), 1, 2)  # T Sigma^-1; both are symmetric
        X = design.X[at]
        fitted = b @ X.T
        carried = X - gain @ X
        means[at] = (fitted + np.einsum("gab,gb->ga", gain, design.yi[at] - fitted)).T
        # Cov(theta | y, variances) = T - T Sigma^-1 T = T Sigma^-1 V: no cancellation.
        variances[at] = np.einsum("gab,gba->ga", gain, V).T
        variances[at] += np.einsum("gap,gpq,gaq->ga", carried, cov, carried).T
    mixtures = NormalMixtures.of(weight, means, variances)
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


def _sampling(design: Design, at: NDArray[np.intp], rho: Vector) -> Vector:
    """Return the sampling covariance of one sample's rows for every rho."""
    if design.V is not None:
        return np.broadcast_to(design.V[np.ix_(at, at)], (len(rho), len(at), len(at)))
    root = np.sqrt(design.vi[at])
    outer = np.outer(root, root)
    identity = np.eye(len(at))
    return outer * (rho[:, None, None] * (1 - identity) + identity)
