"""Distributions of single parameters from the grid of a selection posterior."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from reanalysis.exact.quadrature import Cumulative, Rule
from reanalysis.exact.selection_grid import SelectionGrid
from reanalysis.exact.selection_quantiles import find_quantiles

__all__ = ["SINH", "SQUARE", "Margin", "Transform", "margin"]

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Margin:
    """One parameter of a grid, monotone in one axis given some others.

    Attributes
    ----------
    rule, interval : Rule, tuple of float
        Of the axis.
    density : numpy.ndarray of shape (n, c)
        Joint density along the axis, times the weight of each combination of the others.
    value : numpy.ndarray of shape (n, c)
        The parameter at those nodes.
    locate : callable
        Takes values ``(x, 1)`` of the parameter to coordinates of the axis ``(x, c)`` and the
        derivative of the coordinate there.
    range : tuple of float
        Smallest and largest value of the parameter.
    """

    rule: Rule
    interval: tuple[float, float]
    density: Vector
    value: Vector
    locate: Callable[[Vector], tuple[Vector, Vector]]
    range: tuple[float, float]

    @cached_property
    def cumulative(self) -> Cumulative:
        """The integral along the axis."""
        return Cumulative.of(self.rule, self.interval, self.density)

    def moments(self) -> tuple[float, float]:
        """Return mean and standard deviation."""
        mass = self.density * (self.rule.weights * np.diff(self.interval) / 2)[:, None]
        mean = float(np.sum(mass * self.value))
        return mean, float(np.sqrt(max(np.sum(mass * (self.value - mean) ** 2), 0.0)))

    def cdf_pdf(self, x: Vector) -> tuple[Vector, Vector]:
        """Return distribution function and density at values ``(x,)``."""
        place, slope = self.locate(x[:, None])
        integral, value = self.cumulative.at(place)
        return integral.sum(axis=1), (value * slope).sum(axis=1)

    def quantiles(self, probabilities: Vector) -> Vector:
        """Return quantiles."""
        return find_quantiles(lambda x: self.cdf_pdf(x)[0], probabilities, self.range)


@dataclass(frozen=True)
class Transform:
    """A monotone map ``g`` of a coordinate, its inverse, and the inverse's derivative."""

    forward: Callable[[Vector], Vector]
    inverse: Callable[[Vector], Vector]
    slope: Callable[[Vector], Vector]


SINH = Transform(np.sinh, np.arcsinh, lambda y: 1 / np.sqrt(1 + y**2))
SQUARE = Transform(
    np.square,
    lambda y: np.sqrt(np.maximum(y, 0.0)),
    lambda y: 0.5 / np.sqrt(np.maximum(y, 1e-300)),
)


def margin(
    grid: SelectionGrid,
    axis: int,
    others: list[int],
    transform: Transform,
    *,
    offset: Vector | float = 0.0,
    factor: Vector | float = 1.0,
) -> Margin:
    """Return the parameter ``offset + factor * g(coordinate)``.

    Parameters
    ----------
    grid : SelectionGrid
        The posterior.
    axis : int
        Axis of the coordinate.
    others : list of int
        Axes that `offset` and `factor` depend on.
    transform : Transform
        The function g.
    offset, factor : numpy.ndarray of shape (c,), or float
        At all combinations of the nodes of `others`, the last running fastest.

    Returns
    -------
    Margin
        Its distribution.
    """
    kept = sorted([axis, *others])
    table = np.moveaxis(grid.marginal(kept), kept.index(axis), 0)
    lengths = np.ones(1)
    for other in sorted(others):
        lengths = np.outer(lengths, grid.lengths(other)).ravel()
    density = table.reshape(len(table), -1) * lengths
    offset = np.broadcast_to(offset, lengths.shape)
    factor = np.maximum(np.broadcast_to(factor, lengths.shape), 1e-300)

    def forward(t: Vector) -> Vector:
        return offset + factor * transform.forward(t)[:, None]

    def locate(x: Vector) -> tuple[Vector, Vector]:
        y = (x - offset) / factor
        return transform.inverse(y), transform.slope(y) / factor

    ends = forward(grid.box.ends[axis])
    return Margin(
        grid.rules[axis],
        (float(grid.box.ends[axis][0]), float(grid.box.ends[axis][1])),
        density,
        forward(grid.nodes(axis)),
        locate,
        (float(ends.min()), float(ends.max())),
    )
