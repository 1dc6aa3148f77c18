"""Gauss-Legendre quadrature on a box found by zooming, with cumulative integrals.

The integrand lives on ``(t, outer)``: ``t`` is one coordinate, ``outer`` indexes everything else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

__all__ = ["Interval", "Rule", "cumulative", "invert", "legendre_rule", "zoom"]

Vector = NDArray[np.float64]
Interval = tuple[float, float]

DROP = 32.0  # nats below the maximum that are left out of the box: e**-32 = 1e-14
SCAN_CELLS = (24, 10)
KEEP_SHARE = 0.7  # zooming stops when a box keeps this share of its width


@dataclass(frozen=True, eq=False)
class Rule:
    """A Gauss-Legendre rule of n nodes on [-1, 1] with matrices for cumulative integrals.

    Attributes
    ----------
    nodes, weights : numpy.ndarray of shape (n,)
        Nodes and weights.
    points : numpy.ndarray of shape (n + 2,)
        The nodes with both ends.
    integral, value, slope : numpy.ndarray of shape (n + 2, n)
        Take values at the nodes to the integral from -1, the value and the derivative at
        `points`; exact for polynomials of degree n - 1.
    """

    nodes: Vector
    weights: Vector
    points: Vector
    integral: Vector
    value: Vector
    slope: Vector


@lru_cache(maxsize=32)
def legendre_rule(n: int) -> Rule:
    """Return the Gauss-Legendre rule of n nodes.

    Parameters
    ----------
    n : int
        Number of nodes.

    Returns
    -------
    Rule
        Nodes, weights and matrices; computed once per n.
    """
    nodes, weights = legendre.leggauss(n)
    points = np.r_[-1.0, nodes, 1.0]
    degree = np.arange(n)
    coefficients = (2 * degree[:, None] + 1) / 2 * legendre.legvander(nodes, n - 1).T * weights
    values = legendre.legvander(points, n - 1)
    integrals = np.stack(
        [legendre.legval(points, legendre.legint(row, lbnd=-1)) for row in np.eye(n)], axis=1
    )
    slopes = np.stack([legendre.legval(points, legendre.legder(row)) for row in np.eye(n)], axis=1)
    return Rule(
        nodes,
        weights,
        points,
        integrals @ coefficients,
        values @ coefficients,
        slopes @ coefficients,
    )


def zoom(
    log_density: Callable[[Vector, Vector], Vector], t_box: Interval, outer_box: Interval | None
) -> tuple[Interval, Interval | None]:
    """Shrink a box to where the density is not negligible.

    Parameters
    ----------
    log_density : callable
        Takes 1-D arrays of ``t`` and of the outer coordinate of equal length.
    t_box, outer_box : tuple of float
        Box to start from; ``None`` where there is no outer coordinate.

    Returns
    -------
    tuple
        The two intervals. A margin of one scanned cell stays on each side, so a peak between
        scanned points is not lost.
    """
    for _ in range(60):
        n_t, n_outer = SCAN_CELLS if outer_box else (SCAN_CELLS[0], 1)
        t = t_box[0] + (np.arange(n_t) + 0.5) / n_t * (t_box[1] - t_box[0])
        low, high = outer_box or (0.0, 0.0)
        outer = low + (np.arange(n_outer) + 0.5) / n_outer * (high - low)
        value = log_density(np.repeat(t, n_outer), np.tile(outer, n_t)).reshape(n_t, n_outer)
        keep = value > np.max(value) - DROP
        old = t_box, outer_box
        t_box = _shrink(t_box, np.flatnonzero(keep.any(axis=1)), n_t)
        if outer_box:
            outer_box = _shrink(outer_box, np.flatnonzero(keep.any(axis=0)), n_outer)
        if all(
            new is None or old_side is None or _width(new) > KEEP_SHARE * _width(old_side)
            for new, old_side in zip((t_box, outer_box), old, strict=True)
        ):
            break
    return t_box, outer_box


def _width(interval: Interval) -> float:
    return interval[1] - interval[0]


def _shrink(interval: Interval, kept: NDArray[np.intp], n: int) -> Interval:
    cell = _width(interval) / n
    first, last = max(kept[0] - 1, 0), min(kept[-1] + 2, n)
    return interval[0] + first * cell, interval[0] + last * cell


def cumulative(rule: Rule, interval: Interval, density: Vector, t: Vector) -> tuple[Vector, Vector]:
    """Return the cumulative integral and the density of each column at given points.

    Parameters
    ----------
    rule : Rule
        Rule whose nodes carry `density`.
    interval : tuple of float
        Ends of the interval that the rule is mapped to.
    density : numpy.ndarray of shape (n, c)
        Values at the nodes, one column per outer node.
    t : numpy.ndarray of shape (x, c)
        Points, clipped to the interval.

    Returns
    -------
    integral, value : numpy.ndarray of shape (x, c)
        Quintic Hermite interpolation between the nodes of the polynomial's own integral, value
        and slope; error of order (node spacing)^6.
    """
    half = _width(interval) / 2
    F = half * (rule.integral @ density)
    f = rule.value @ density
    slope = (rule.slope @ density) / half
    u = np.clip((t - interval[0]) / half - 1, -1, 1)
    left = np.clip(np.searchsorted(rule.points, u, side="right") - 1, 0, len(rule.points) - 2)
    column = np.arange(density.shape[1])
    h = half * np.diff(rule.points)[left]
    s = (u - rule.points[left]) / np.diff(rule.points)[left]
    s2 = s * s
    s3 = s2 * s
    a0, a1 = F[left, column], F[left + 1, column]
    b0, b1 = h * f[left, column], h * f[left + 1, column]
    c0, c1 = h * h * slope[left, column], h * h * slope[left + 1, column]
    rise = a1 - a0
    integral = (
        a0
        + b0 * s
        + 0.5 * c0 * s2
        + s3
        * (
            (10 * rise - 6 * b0 - 4 * b1 - 1.5 * c0 + 0.5 * c1)
            + s * (-15 * rise + 8 * b0 + 7 * b1 + 1.5 * c0 - c1)
            + s2 * (6 * rise - 3 * b0 - 3 * b1 - 0.5 * c0 + 0.5 * c1)
        )
    )
    value = (
        b0
        + c0 * s
        + s2
        * (
            3 * (10 * rise - 6 * b0 - 4 * b1 - 1.5 * c0 + 0.5 * c1)
            + 4 * s * (-15 * rise + 8 * b0 + 7 * b1 + 1.5 * c0 - c1)
            + 5 * s2 * (6 * rise - 3 * b0 - 3 * b1 - 0.5 * c0 + 0.5 * c1)
        )
    ) / h
    inside = (t >= interval[0]) & (t <= interval[1])
    return integral, np.where(inside, value, 0.0)


def invert(
    cdf_pdf: Callable[[Vector], tuple[Vector, Vector]],
    probabilities: Vector,
    bracket: Interval,
    cells: int = 32,
) -> Vector:
    """Return quantiles by safeguarded Newton steps, all at once.

    Parameters
    ----------
    cdf_pdf : callable
        Takes points ``(x,)`` and returns distribution function and density there.
    probabilities : numpy.ndarray
        Wanted probabilities.
    bracket : tuple of float
        Interval that holds all mass.
    cells : int
        Points of the table that starts the search.

    Returns
    -------
    numpy.ndarray
        Quantiles.
    """
    grid = np.linspace(*bracket, cells)
    table = np.maximum.accumulate(cdf_pdf(grid)[0])
    right = np.clip(np.searchsorted(table, probabilities), 1, cells - 1)
    low, high = grid[right - 1], grid[right]
    width = table[right] - table[right - 1]
    share = np.divide(
        probabilities - table[right - 1], width, out=np.full_like(width, 0.5), where=width > 0
    )
    x = low + np.clip(share, 0, 1) * (high - low)
    tolerance = 1e-12 * max(abs(bracket[0]), abs(bracket[1]))
    for _ in range(100):
        value, density = cdf_pdf(x)
        gap = value - probabilities
        low, high = np.where(gap < 0, x, low), np.where(gap < 0, high, x)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            step = x - gap / density
        new = np.where((step > low) & (step < high), step, (low + high) / 2)
        moved = np.abs(new - x)
        x = new
        if np.all((moved <= tolerance) | (high - low <= tolerance) | (np.abs(gap) < 1e-13)):
            break
    return x
