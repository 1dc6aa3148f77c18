"""The parameters that are integrated beside the standard deviations.

The sampling correlation lies on its prior's probability, where the prior is flat; the common scale
of coefficients on ``arcsinh`` of itself, as the total standard deviation does.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reanalysis.exact.grid import Grid
from reanalysis.exact.quadrature import Cumulative, Interval, invert, legendre_rule
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
    axis : int
        Its place among the axes beside the standard deviations: 0 for the sampling correlation,
        1 for the common scale.
    interval : tuple of float
        Ends of its coordinate.
    value : callable
        From the coordinate to the parameter; increasing.
    log_rate : callable
        Log of the derivative of the parameter along the coordinate.
    """

    axis: int
    interval: Interval
    value: Callable[[Vector], Vector]
    log_rate: Callable[[Vector], Vector]


def side_parameters(grid: Grid) -> Mapping[str, Side]:
    """Return such parameters of a grid.

    Parameters
    ----------
    grid : Grid
        The grid.

    Returns
    -------
    mapping of str to Side
        ``sampling_correlation`` and ``beta_scale``, where they have a prior.
    """
    problem = grid.problem
    found: dict[str, Side] = {}
    if isinstance(problem.rho, Prior):
        rho = problem.rho
        found["sampling_correlation"] = Side(
            0, (0.0, 1.0), rho.ppf, lambda u: -rho.logpdf(rho.ppf(u))
        )
    if problem.common_scale is not None:
        log_scale = np.log(problem.scale)
        found[COMMON_SCALE] = Side(
            1, problem.scale_range(), problem.tau, lambda t: log_scale + np.log(np.cosh(t))
        )
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
        Its coordinate.
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
    cumulative = _cumulative(side, fine)

    def cdf_pdf(x: Vector) -> tuple[Vector, Vector]:
        F, f = cumulative.at(x[:, None])
        return F[:, 0], f[:, 0]

    low, high = side.interval
    start = low + probabilities * (high - low)
    found = invert(cdf_pdf, probabilities, side.interval, start)
    lower, median, upper = side.value(found)
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
        Its coordinate.
    grid : Grid
        The posterior.
    points : int
        Number of points of the curve, evenly spaced along the axis.

    Returns
    -------
    x, density : numpy.ndarray of shape (points,)
        The curve.
    """
    low, high = side.interval
    x = low + (np.arange(points) + 0.5) / points * (high - low)
    height = _cumulative(side, grid).at(x[:, None])[1][:, 0]
    return side.value(x), height * np.exp(-side.log_rate(x))


def _cumulative(side: Side, grid: Grid) -> Cumulative:
    """Return the posterior along a parameter's own axis, for interpolation."""
    axes = len(grid.problem.rho_nodes()[0]), grid.scale_nodes
    mass = grid.weight.reshape(-1, *axes).sum(axis=(0, 2 - side.axis))
    rule = legendre_rule(len(mass))
    width = rule.weights * (side.interval[1] - side.interval[0]) / 2
    return Cumulative.of(rule, side.interval, (mass / width)[:, None])
