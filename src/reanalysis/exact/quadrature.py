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

DROP = 25.0  # nats below the maximum that are left out of the box: e**-25 = 1e-11
SCAN_CELLS = (24, 10)
SETTLED = 1e-10  # in probability
KEEP_SHARE = 0.85  # zooming stops when a box keeps this share of its width


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
    integral, value, slope : numpy.ndarray of shape (3 n, n)
        Take values at the nodes to the integral from -1, the value and the derivative at
        `points`; exact for polynomials of degree n - 1.
    """

    nodes: Vector
    weights: Vector
    coefficients: Vector
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
        integrals @ coefficients,
        values @ coefficients,
        slopes @ coefficients,
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
    nodes, weights : numpy.ndarray of shape (2 n,)
        Gauss-Legendre in ``u`` with ``1 - end * x = 2 u**3``.
    matrix : numpy.ndarray of shape (2 n, n)
        Takes values at the Legendre nodes to values at the new nodes.
    """
    u, w = legendre.leggauss(2 * n)
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


@dataclass(frozen=True, eq=False)
class Cumulative:
    """Integral, value and slope of densities at the points of a rule, for interpolation.

    Attributes
    ----------
    rule : Rule
        The rule.
    interval : tuple of float
        Ends of the interval that the rule is mapped to.
    integral, value, slope : numpy.ndarray of shape (3 n, c)
        At ``rule.points``, one column per density.
    """

    rule: Rule
    interval: Interval
    integral: Vector
    value: Vector
    slope: Vector

    @classmethod
    def of(cls, rule: Rule, interval: Interval, density: Vector) -> "Cumulative":
        """Prepare densities given at the nodes of a rule, of shape ``(n, c)``."""
        half = _width(interval) / 2
        return cls(
            rule,
            interval,
            half * (rule.integral @ density),
            rule.value @ density,
            (rule.slope @ density) / half,
        )

    def at(self, t: Vector) -> tuple[Vector, Vector]:
        """Return the cumulative integral and the density of each column at given points.

        Parameters
        ----------
        t : numpy.ndarray of shape (x, c)
            Points, clipped to the interval.

        Returns
        -------
        integral, value : numpy.ndarray of shape (x, c)
            Quintic Hermite interpolation between the points of the rule; the error is of order
            (node spacing)^6.
        """
        points, half = self.rule.points, _width(self.interval) / 2
        u = np.clip((t - self.interval[0]) / half - 1, -1, 1)
        left = np.clip(np.searchsorted(points, u, side="right") - 1, 0, len(points) - 2)
        column = np.arange(self.value.shape[1])
        width = np.diff(points)[left]
        h = half * width
        s = (u - points[left]) / width
        right = left + 1
        a = self.integral[left, column]
        rise = self.integral[right, column] - a
        b, b1 = h * self.value[left, column], h * self.value[right, column]
        c, c1 = h * h * self.slope[left, column], h * h * self.slope[right, column]
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
        Quantiles, to 1e-10 in probability.
    """
    low, high = np.full_like(start, bracket[0]), np.full_like(start, bracket[1])
    x = np.clip(start, low, high)
    for _ in range(100):
        value, density = cdf_pdf(x)
        gap = value - probabilities
        settled = np.abs(gap) < SETTLED
        if np.all(settled | (high - low <= 4 * np.spacing(np.abs(x)))):
            break
        low, high = np.where(gap < 0, x, low), np.where(gap < 0, high, x)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            step = x - gap / density
        # A settled point stays: its Newton step ends on the bracket, and bisecting would undo it.
        safe = np.where((step > low) & (step < high), step, (low + high) / 2)
        x = np.where(settled, x, safe)
    return x
