"""The posterior of a selection model on a tensor grid of Gauss-Legendre nodes.

The coefficients are rotated by their posterior covariance, so that the grid follows them, and
compressed by ``sinh``: given small weights and large heterogeneity their tail is long. Every other
coordinate is an axis as it is. Weights of the bins enter every likelihood linearly, so all
their nodes are evaluated together.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from reanalysis.exact.quadrature import Rule, legendre_rule
from reanalysis.exact.selection_target import Target

__all__ = ["Box", "SelectionGrid", "evaluate_selection_grid"]

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Box:
    """Where the posterior is.

    Attributes
    ----------
    ends : numpy.ndarray of shape (d, 2)
        Interval of every axis.
    centre : numpy.ndarray of shape (q,)
        Origin of the rotated coefficients.
    rotation : numpy.ndarray of shape (q, q)
        Lower triangular: ``beta = centre + rotation @ sinh(axis)``.
    """

    ends: Vector
    centre: Vector
    rotation: Vector

    @classmethod
    def around(
        cls, target: Target, points: Vector, weights: Vector, keep: NDArray[np.bool_]
    ) -> "Box":
        """Return a box around weighted draws.

        Parameters
        ----------
        target : Target
            The posterior.
        points, weights : numpy.ndarray of shape (S, d), (S,)
            Weighted draws.
        keep : numpy.ndarray of bool, shape (S,)
            Draws whose density is not negligible; the box holds them with a margin.
        """
        beta = points[:, target.layout["beta"]]
        centre = weights @ beta
        covariance = (beta - centre).T @ ((beta - centre) * weights[:, None])
        rotation = np.linalg.cholesky(covariance) if beta.shape[1] else np.zeros((0, 0))
        axes = points[keep].copy()
        scaled = np.linalg.solve(rotation, (beta[keep] - centre).T).T
        axes[:, target.layout["beta"]] = np.arcsinh(scaled)
        low, high = axes.min(axis=0), axes.max(axis=0)
        margin = 0.08 * (high - low)
        limits = target.limits
        # An interval that nearly reaches a natural limit is taken to reach it.
        low = np.where(low - limits[:, 0] < 0.25 * (high - low), limits[:, 0], low - margin)
        high = np.where(limits[:, 1] - high < 0.25 * (high - low), limits[:, 1], high + margin)
        return cls(np.column_stack([low, high]), centre, rotation)

    def widened(self, sides: NDArray[np.bool_], limits: Vector) -> "Box":
        """Return a box with some ends, marked in `sides` (d, 2), moved out by 30 % of its width."""
        step = 0.3 * np.diff(self.ends, axis=1) * np.array([-1.0, 1.0])
        ends = np.clip(self.ends + np.where(sides, step, 0.0), limits[:, :1], limits[:, 1:])
        return replace(self, ends=ends)

    def beta(self, axes: Vector) -> Vector:
        """Return coefficients at coordinates (S, q) of their axes."""
        return self.centre + np.sinh(axes) @ self.rotation.T


@dataclass(frozen=True, eq=False)
class SelectionGrid:
    """Normalised posterior on a tensor grid.

    Attributes
    ----------
    target : Target
        What was integrated.
    box : Box
        Where.
    rules : tuple of Rule
        Rule of each axis.
    density : numpy.ndarray of shape (n_1, ..., n_d)
        Posterior density with respect to the axes.
    log_marginal_likelihood : float
        Natural log of the integral.
    """

    target: Target
    box: Box
    rules: tuple[Rule, ...]
    density: Vector
    log_marginal_likelihood: float

    def nodes(self, axis: int) -> Vector:
        """Return the nodes of an axis."""
        low, high = self.box.ends[axis]
        return low + (self.rules[axis].nodes + 1) / 2 * (high - low)

    def lengths(self, axis: int) -> Vector:
        """Return the quadrature weights of an axis."""
        low, high = self.box.ends[axis]
        return self.rules[axis].weights * (high - low) / 2

    def marginal(self, axes: list[int]) -> Vector:
        """Return the density of some axes (in increasing order), the others integrated out."""
        value = self.density
        for axis in reversed(range(self.density.ndim)):
            if axis not in axes:
                value = np.tensordot(value, self.lengths(axis), axes=(axis, 0))
        return value

    def moments(self) -> tuple[Vector, Vector]:
        """Return mean and standard deviation of every coordinate, shapes (d,)."""
        mean, sd = np.empty(self.density.ndim), np.empty(self.density.ndim)
        for axis in range(self.density.ndim):
            mass = self.marginal([axis]) * self.lengths(axis)
            mean[axis] = mass @ self.nodes(axis)
            sd[axis] = np.sqrt(max(mass @ (self.nodes(axis) - mean[axis]) ** 2, 0.0))
        return mean, sd

    @cached_property
    def edges(self) -> Vector:
        """Largest log density at each end of the box relative to the peak, shape (d, 2).

        Minus infinity at an end that is a natural limit.
        """
        limits = self.target.limits
        peaks = np.full((self.density.ndim, 2), -np.inf)
        top = self.density.max()
        for axis in range(self.density.ndim):
            for side in (0, 1):
                if self.box.ends[axis, side] != limits[axis, side]:
                    end = np.take(self.density, -side, axis=axis).max()
                    peaks[axis, side] = np.log(max(end / top, 1e-300))
        return peaks


def evaluate_selection_grid(target: Target, box: Box, orders: list[int]) -> SelectionGrid:
    """Evaluate a posterior on a tensor grid.

    Parameters
    ----------
    target : Target
        The posterior.
    box : Box
        From `Box.around`.
    orders : list of int
        Number of nodes of each axis.

    Returns
    -------
    SelectionGrid
        Normalised, with the log marginal likelihood.
    """
    rules = tuple(legendre_rule(order) for order in orders)
    halves = np.diff(box.ends, axis=1)[:, 0] / 2
    nodes = [
        low + (rule.nodes + 1) * half
        for rule, (low, _), half in zip(rules, box.ends, halves, strict=True)
    ]
    split = target.layout["omega"].start
    base = _product(nodes[:split])
    axes = base[:, target.layout["beta"]].copy()
    base[:, target.layout["beta"]] = box.beta(axes)
    log_density = target.log_density_table(base, _product(nodes[split:]))
    log_density += np.sum(np.log(np.cosh(axes)), axis=1)[:, None]
    log_density += np.sum(np.log(np.diag(box.rotation)))
    top = log_density.max()
    density = np.exp(log_density - top).reshape(orders)
    total = density
    for axis in reversed(range(len(orders))):
        total = np.tensordot(total, rules[axis].weights * halves[axis], axes=(axis, 0))
    return SelectionGrid(target, box, rules, density / total, float(np.log(total) + top))


def _product(nodes: list[Vector]) -> Vector:
    """Return all combinations, the last coordinate running fastest, shape (N, len(nodes))."""
    if not nodes:
        return np.empty((1, 0))
    return np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1).reshape(-1, len(nodes))
