"""The mean correlation over samples, a non-linear function of mean and heterogeneity."""

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from reanalysis.exact.grid import Grid
from reanalysis.exact.quadrature import invert
from reanalysis.results import Estimate

__all__ = ["mean_correlation"]

Vector = NDArray[np.float64]

Z_NODES, Z_WEIGHTS = hermegauss(24)
Z_WEIGHTS = Z_WEIGHTS / Z_WEIGHTS.sum()
MU_NODES, MU_WEIGHTS = hermegauss(5)
MU_WEIGHTS = MU_WEIGHTS / MU_WEIGHTS.sum()
SMALL = 1e-7  # posterior share of nodes that the moments leave out


def mean_correlation(fine: Grid, coarse: Grid, probabilities: Vector) -> Estimate:
    """Return the posterior of the mean correlation over samples.

    Parameters
    ----------
    fine, coarse : Grid
        Posterior of an intercept-only model on Fisher's z.
    probabilities : numpy.ndarray of shape (3,)
        Lower end, median and upper end.

    Returns
    -------
    Estimate
        Of ``E[tanh(theta)]``, ``theta ~ N(mu, tau**2)``, on the r scale; not ``tanh(mu)``.
    """
    mean = _mean(fine)
    partial, second = _moments(fine)
    before = _mean(coarse)
    tau2 = fine.tau_between**2 + fine.tau_within**2
    keep = fine.weight > SMALL * fine.weight.max()
    weight = fine.weight[keep] / fine.weight[keep].sum()
    # The nodes of one t share their tau: a few dozen distinct values.
    totals, place = np.unique(np.sqrt(tau2[keep]).round(12), return_inverse=True)
    centre, spread = fine.mean[keep, 0], np.sqrt(fine.cov[keep, 0, 0])

    def cdf_pdf(r: Vector) -> tuple[Vector, Vector]:
        mu, slope = _inverse(r, totals)
        z = (mu[:, place] - centre) / spread
        density = np.exp(-0.5 * z * z) / (spread * np.sqrt(2 * np.pi)) / slope[:, place]
        return ndtr(z) @ weight, density @ weight

    sd = float(np.sqrt(second - partial**2))
    ends = max(mean - 10 * sd, -1 + 1e-9), min(mean + 10 * sd, 1 - 1e-9)
    start = mean + sd * ndtri(probabilities)
    lower, median, upper = invert(cdf_pdf, probabilities, ends, start)
    return Estimate(
        "mean_r",
        mean,
        sd,
        float(lower),
        float(upper),
        median=float(median),
        numerical_error=abs(mean - before),
        scale="r",
    )


def _mean(grid: Grid) -> float:
    """Return the mean of the mean correlation: tanh over mu and theta at once."""
    variance = grid.cov[:, 0, 0] + grid.tau_between**2 + grid.tau_within**2
    r = np.tanh(grid.mean[:, :1] + np.sqrt(variance)[:, None] * Z_NODES) @ Z_WEIGHTS
    return float(grid.weight @ r)


def _moments(grid: Grid) -> tuple[float, float]:
    """Return mean and mean square of the mean correlation."""
    keep = grid.weight > SMALL * grid.weight.max()
    weight = grid.weight[keep] / grid.weight[keep].sum()
    tau = np.hypot(grid.tau_between, grid.tau_within)[keep]
    mu = grid.mean[keep, :1] + np.sqrt(grid.cov[keep, 0, :1]) * MU_NODES
    r = np.tanh(mu[:, :, None] + tau[:, None, None] * Z_NODES) @ Z_WEIGHTS
    return float(weight @ (r @ MU_WEIGHTS)), float(weight @ (r**2 @ MU_WEIGHTS))


def _inverse(r: Vector, tau: Vector) -> tuple[Vector, Vector]:
    """Return the ``mu`` whose mean correlation is r, for every r and tau, and the slope there."""
    mu = np.repeat(np.arctanh(r)[:, None], len(tau), axis=1)
    for _ in range(50):
        t = np.tanh(mu[:, :, None] + tau[:, None] * Z_NODES)
        slope = (1 - t * t) @ Z_WEIGHTS
        step = (t @ Z_WEIGHTS - r[:, None]) / slope
        mu = mu - np.clip(step, -0.5, 0.5)
        if np.max(np.abs(step)) < 1e-12:
            break
    return mu, slope
