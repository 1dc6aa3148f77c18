"""Gauss-Legendre quadrature on a box found by zooming, with cumulative integrals.

The integrand lives on ``(t, outer)``: ``t`` is one coordinate, ``outer`` indexes everything else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

__all__ = ["Cumulative", "Interval", "Rule", "graded", "invert", "legendre_rule", "zoom"]

Vector = NDArray[np.float64]
Interval = tuple[float, float]

DROP = 22.0  # nats below the maximum that are left out of the box: e**-22 = 3e-10
SCANNED = (24, 12)
RESOLVED = 0.4  # of the scanned cells: a peak that fills so many is not lost between them
SLICES = 36  # more than there are nodes: a distribution function cuts across them
NEAR = 1e-4  # of the smaller tail; a Newton step from here leaves some 1e-9 in probability


@dataclass(frozen=True, eq=False)
class Rule:
    """A Gauss-Legendre rule of n nodes on [-1, 1] with matrices for cumulative integrals.

    Attributes
    ----------
    nodes, weights : numpy.ndarray of shape (n,)
        Nodes and weights.
    coefficients : numpy.ndarray of shape (n, n)
        Take values at the nodes to Legendre coefficients.
    points : numpy.ndarray of shape (3 n,)
        Chebyshev points, ends included, for interpolation between them.
    widths : numpy.ndarray of shape (3 n - 1,)
        Distances between the points.
    matrices : numpy.ndarray of shape (3, 3 n, n)
        Take values at the nodes to the integral from -1, the value and the derivative at
        `points`; exact for polynomials of degree n - 1.
    """

    nodes: Vector
    weights: Vector
    coefficients: Vector
    points: Vector
    widths: Vector
    matrices: Vector


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
    points = -np.cos(np.linspace(0.0, np.pi, 3 * n))
    degree = np.arange(n)
    coefficients = (2 * degree[:, None] + 1) / 2 * legendre.legvander(nodes, n - 1).T * weights
    basis = np.eye(n)
    integrals = legendre.legvander(points, n) @ legendre.legint(basis, lbnd=-1)
    slopes = legendre.legvander(points, max(n - 2, 0)) @ legendre.legder(basis)
    values = legendre.legvander(points, n - 1)
    return Rule(
        nodes,
        weights,
        coefficients,
        points,
        np.diff(points),
        np.stack([integrals, values, slopes]) @ coefficients,
    )


@lru_cache(maxsize=32)
def graded(n: int, end: int) -> tuple[Vector, Vector, Vector]:
    """Return a rule on [-1, 1] whose nodes crowd towards one end.

    Parameters
    ----------
    n : int
        Number of nodes of the Legendre rule that carries the integrand.
    end : int
        1 or -1.

    Returns
    -------
    nodes, weights : numpy.ndarray of shape (n + 36,)
        Gauss-Legendre in ``u`` with ``1 - end * x = 2 u**3``.
    matrix : numpy.ndarray of shape (n + 36, n)
        Takes values at the Legendre nodes to values at the new nodes.
    """
    u, w = legendre.leggauss(n + SLICES)
    u, w = (u + 1) / 2, w / 2
    x = end * (1 - 2 * u**3)
    return x, w * 6 * u**2, legendre.legvander(x, n - 1) @ legendre_rule(n).coefficients


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
        The two intervals. While few cells hold the peak a margin of one stays on each side, so
        that a peak between scanned points is not lost.
    """
    for _ in range(60):
        n_t, n_outer = SCANNED if outer_box else (SCANNED[0], 1)
        t = t_box[0] + (np.arange(n_t) + 0.5) / n_t * _width(t_box)
        # Crowded at both ends, where a ridge along t is narrow.
        low, high = outer_box or (0.0, 0.0)
        crowded = 0.5 - 0.5 * np.cos((np.arange(n_outer) + 0.5) / n_outer * np.pi)
        outer = low + crowded * (high - low)
        value = log_density(np.repeat(t, n_outer), np.tile(outer, n_t)).reshape(n_t, n_outer)
        value -= np.max(value) - DROP
        along, across = value.max(axis=1), value.max(axis=0)
        # Where t jumps over its peak, or the peak falls between two t, the outer profile is too
        # low: the outer side waits for t, and neither is cut closely before both are resolved.
        seen = _resolved(along)
        exact = seen and (outer_box is None or _resolved(across))
        t_box = _shrink(t_box, t, along, exact=exact)
        if outer_box and seen:
            outer_box = _shrink(outer_box, outer, across, exact=exact)
        if exact:
            break
    return t_box, outer_box


def _width(interval: Interval) -> float:
    return interval[1] - interval[0]


def _resolved(profile: Vector) -> bool:
    return int(np.count_nonzero(profile > 0)) >= RESOLVED * len(profile)


def _shrink(interval: Interval, x: Vector, profile: Vector, *, exact: bool) -> Interval:
    """Return the part of an interval where a profile is positive, exactly or with a margin."""
    first, last = np.flatnonzero(profile > 0)[[0, -1]]
    places = np.r_[interval[0], interval[0], x, interval[1], interval[1]]  # x[i] is places[i + 2]
    if not exact:
        return float(places[first]), float(places[last + 4])
    levels = np.r_[-np.inf, profile, -np.inf]
    low, high = (
        _crossing(places[at + 2], places[at + 2 + way], levels[at + 1], levels[at + 1 + way])
        for at, way in ((first, -1), (last, 1))
    )
    return low, high


def _crossing(inside: float, outside: float, above: float, below: float) -> float:
    """Return where between two points a profile falls to zero; at the outer one if to nothing."""
    share = above / (above - below) if np.isfinite(below) else 1.0
    return float(inside + share * (outside - inside))


@dataclass(frozen=True, eq=False)
class Cumulative:
    """Integral, value and slope of densities at the points of a rule, for interpolation.

    Attributes
    ----------
    rule : Rule
        The rule.
    interval : tuple of float
        Ends of the interval that the rule is mapped to.
    table : numpy.ndarray of shape (3, 3 n, c)
        Integral, value and slope at ``rule.points``, one column per density.
    """

    rule: Rule
    interval: Interval
    table: Vector

    @classmethod
    def of(cls, rule: Rule, interval: Interval, density: Vector) -> "Cumulative":
        """Prepare densities given at the nodes of a rule, of shape ``(n, c)``."""
        half = _width(interval) / 2
        return cls(rule, interval, (rule.matrices @ density) * [[[half]], [[1.0]], [[1 / half]]])

    def at(self, t: Vector, column: NDArray[np.intp] | None = None) -> tuple[Vector, Vector]:
        """Return the cumulative integral and the density of columns at given points.

        Parameters
        ----------
        t : numpy.ndarray of shape (..., c)
            Points, clipped to the interval.
        column : numpy.ndarray of int, optional
            Which column each point is for, broadcast to the shape of `t`; by default the last
            axis runs over all columns.

        Returns
        -------
        integral, value : numpy.ndarray of the shape of t
            Quintic Hermite interpolation between the points of the rule; the error is of order
            (node spacing)^6.
        """
        points, half = self.rule.points, _width(self.interval) / 2
        columns = self.table.shape[2]
        u = np.minimum(np.maximum((t - self.interval[0]) / half - 1, -1), 1)
        left = np.searchsorted(points, u, side="right") - 1
        left = np.minimum(left, len(points) - 2)  # the end belongs to the last piece
        width = self.rule.widths[left]
        h = half * width
        s = (u - points[left]) / width
        flat = left * columns + (np.arange(columns) if column is None else column)
        table = self.table.reshape(3, -1)
        a, b, c = table.take(flat, axis=1)
        rise, b1, c1 = table.take(flat + columns, axis=1)
        rise = rise - a
        b, b1, c, c1 = h * b, h * b1, h * h * c, h * h * c1
        p3 = 10 * rise - 6 * b - 4 * b1 - 1.5 * c + 0.5 * c1
        p4 = -15 * rise + 8 * b + 7 * b1 + 1.5 * c - c1
        p5 = 6 * rise - 3 * b - 3 * b1 - 0.5 * c + 0.5 * c1
        integral = a + s * (b + s * (0.5 * c + s * (p3 + s * (p4 + s * p5))))
        value = (b + s * (c + s * (3 * p3 + s * (4 * p4 + s * 5 * p5)))) / h
        inside = (t >= self.interval[0]) & (t <= self.interval[1])
        return integral, np.where(inside, value, 0.0)


def invert(
    cdf_pdf: Callable[[Vector], tuple[Vector, Vector]],
    probabilities: Vector,
    bracket: Interval,
    start: Vector,
) -> Vector:
    """Return quantiles by safeguarded Newton steps, all at once.

    Parameters
    ----------
    cdf_pdf : callable
        Takes points ``(q,)`` and returns distribution function and density at each; the points
        may belong to different distributions.
    probabilities : numpy.ndarray of shape (q,)
        Wanted probabilities.
    bracket : tuple of float
        Interval that holds all mass.
    start : numpy.ndarray of shape (q,)
        First guesses.

    Returns
    -------
    numpy.ndarray of shape (q,)
        Quantiles, to about 1e-9 in probability.

    Notes
    -----
    The steps are Newton's for the logarithm of the survival function, which is nearly straight
    in an upper tail and, like the distribution function, near a lower end.
    """
    low, high = np.full_like(start, bracket[0]), np.full_like(start, bracket[1])
    x = np.clip(start, low, high)
    close = NEAR * np.minimum(probabilities, 1 - probabilities)
    for _ in range(100):
        value, density = cdf_pdf(x)
        gap = value - probabilities
        low, high = np.where(gap < 0, x, low), np.where(gap < 0, high, x)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            step = x + np.log1p(-gap / (1 - probabilities)) * (1 - value) / density
        near = np.abs(gap) < close
        # Near its end a step may leave the bracket by rounding, and bisecting would undo it all.
        other = np.where(near, x, (low + high) / 2)
        x, before = np.where((step > low) & (step < high), step, other), x
        if np.all(near | (high - low <= 4 * np.spacing(np.abs(before)))):
            break
    return x
