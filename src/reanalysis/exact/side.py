"""Parameters on nodes of their prior's probability: sampling correlation and common scale.

They are integrated beside the standard deviations; on the probability scale of their prior the
nodes are those of a Legendre rule on (0, 1) and the prior density is one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reanalysis.exact.grid import Grid
from reanalysis.exact.quadrature import Cumulative, Rule, invert, legendre_rule
from reanalysis.moderators import COMMON_SCALE
from reanalysis.priors import Prior
from reanalysis.results import Estimate

__all__ = ["Side", "side_curve", "side_estimate", "side_parameters"]

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Side:
    """One such parameter.

    Attributes
    ----------
    prior : Prior
        Its prior.
    axis : int
        Its place among the axes beside the standard deviations: 0 for the sampling correlation,
        1 for the common scale.
    """

    prior: Prior
    axis: int


def side_parameters(grid: Grid) -> Mapping[str, Side]:
    """Return the parameters of a grid that lie on nodes of their prior's probability.

    Parameters
    ----------
    grid : Grid
        The grid.

    Returns
    -------
    mapping of str to Side
        ``sampling_correlation`` and ``beta_scale``, where they have a prior.
    """
    found: dict[str, Side] = {}
    if isinstance(grid.problem.rho, Prior):
        found["sampling_correlation"] = Side(grid.problem.rho, 0)
    if grid.problem.common_scale is not None:
        found[COMMON_SCALE] = Side(grid.problem.common_scale, 1)
    return found


def side_estimate(
    name: str, side: Side, fine: Grid, coarse: Grid, probabilities: Vector
) -> Estimate:
    """Summarise such a parameter.

    Parameters
    ----------
    name : str
        Its name.
    side : Side
        Its prior and axis.
    fine, coarse : Grid
        Posterior on two grids.
    probabilities : numpy.ndarray of shape (3,)
        Lower end, median and upper end.

    Returns
    -------
    Estimate
        Moments and quantiles.
    """
    mean = float(fine.weight @ fine.values(name))
    rule, density = _density(side, fine)
    cumulative = Cumulative.of(rule, (0.0, 1.0), density[:, None])

    def cdf_pdf(u: Vector) -> tuple[Vector, Vector]:
        F, f = cumulative.at(u[:, None])
        return F[:, 0], f[:, 0]

    lower, median, upper = side.prior.ppf(invert(cdf_pdf, probabilities, (0.0, 1.0), probabilities))
    return Estimate(
        name,
        mean,
        float(np.sqrt(fine.weight @ (fine.values(name) - mean) ** 2)),
        float(lower),
        float(upper),
        median=float(median),
        numerical_error=abs(mean - float(coarse.weight @ coarse.values(name))),
    )


def side_curve(side: Side, grid: Grid, points: int) -> tuple[Vector, Vector]:
    """Return the posterior density of such a parameter.

    Parameters
    ----------
    side : Side
        Its prior and axis.
    grid : Grid
        The posterior.
    points : int
        Number of points of the curve, evenly spaced in prior probability.

    Returns
    -------
    x, density : numpy.ndarray of shape (points,)
        The curve.
    """
    rule, density = _density(side, grid)
    u = (np.arange(points) + 0.5) / points
    height = Cumulative.of(rule, (0.0, 1.0), density[:, None]).at(u[:, None])[1][:, 0]
    x = side.prior.ppf(u)
    return x, height * np.exp(side.prior.logpdf(x))


def _density(side: Side, grid: Grid) -> tuple[Rule, Vector]:
    """Return the rule on the prior's probability and the posterior density at its nodes."""
    axes = len(grid.problem.rho_nodes()[0]), grid.scale_nodes
    mass = grid.weight.reshape(-1, *axes).sum(axis=(0, 2 - side.axis))
    rule = legendre_rule(len(mass))
    return rule, mass / (rule.weights / 2)
