"""The posterior of the variance parameters on nodes, and what is read off it.

`reanalysis.exact.problem` says what the nodes' variables are, `reanalysis.exact.evaluation` fills
a grid.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from reanalysis.exact.problem import Problem
from reanalysis.exact.quadrature import Cumulative, Interval, Rule, graded, invert

__all__ = ["Grid"]

Vector = NDArray[np.float64]

TINY = 1e-300


@dataclass(frozen=True, eq=False)
class _Columns:
    """Slices of some standard deviations: scale of each, its column, and how many each has."""

    divisor: Vector
    column: NDArray[np.intp]
    sizes: list[int]


@dataclass(frozen=True, eq=False)
class Grid:
    """Posterior of the variance parameters on nodes ``(t, phi, rho, common scale)``.

    Attributes
    ----------
    problem : Problem
        What was integrated.
    rule, interval : Rule, tuple of float
        Rule along ``t`` and the interval it is mapped to.
    density : numpy.ndarray of shape (n_t, n_outer)
        Posterior density along ``t``, times the weight of each outer node.
    weight : numpy.ndarray of shape (g,)
        Posterior probability of each node; sums to 1.
    tau_between, tau_within, rho, common_scale : numpy.ndarray of shape (g,)
        Parameters at the nodes; a common scale of 1 where the model has none.
    outer : numpy.ndarray of shape (n_outer,)
        Angle ``phi`` of each outer node.
    angles : tuple or None
        Rule along ``phi`` and its interval; None with one standard deviation.
    mean, cov : numpy.ndarray of shape (g, q), (g, q, q)
        Coefficients given the node.
    log_marginal_likelihood : float
        Natural log of the integral.
    scale_nodes : int
        Number of nodes of the common scale.
    """

    problem: Problem
    rule: Rule
    interval: Interval
    density: Vector
    weight: Vector
    tau_between: Vector
    tau_within: Vector
    rho: Vector
    common_scale: Vector
    outer: Vector
    angles: tuple[Rule, Interval] | None
    mean: Vector
    cov: Vector
    log_marginal_likelihood: float
    scale_nodes: int = 1

    @cached_property
    def _sliced(self) -> tuple[Mapping[str, tuple[Vector, slice]], Cumulative]:
        """For each standard deviation its share of ``tau`` by slice, and the slices' integrals.

        A small ``tau_between`` is a narrow range of angles at the end where cos(phi) = 0, so the
        slices crowd there; those of ``tau_within`` at the other end. The slice after the name's
        shares says in which columns of the integrals they are.
        """
        total, one = self.density.sum(axis=1, keepdims=True), np.ones(1)
        parts = (("tau_between", 1, np.cos), ("tau_within", -1, np.sin))
        if self.angles is None:
            places = {
                name: (np.round(part(self.outer[:1])), slice(0, 1)) for name, _, part in parts
            }
            whole = Cumulative.of(self.rule, self.interval, total)
            return {**places, "tau": (one, slice(0, 1))}, whole
        rule, (low, high) = self.angles
        half = (high - low) / 2
        columns, places = [total], {"tau": (one, slice(0, 1))}
        for name, end, part in parts:
            x, weights, matrix = graded(len(rule.nodes), end)
            first = sum(c.shape[1] for c in columns)
            columns.append((self._by_angle @ matrix.T) * (weights * half))
            places[name] = part(low + (x + 1) * half), slice(first, first + len(x))
        return places, Cumulative.of(self.rule, self.interval, np.hstack(columns))

    @cached_property
    def _by_angle(self) -> Vector:
        """The density along ``t`` and ``phi``, at the nodes of both."""
        assert self.angles is not None
        rule, (low, high) = self.angles
        density = self.density.reshape(len(self.density), len(rule.nodes), -1).sum(axis=2)
        return np.asarray(density / (rule.weights * (high - low) / 2))

    @cached_property
    def misplaced(self) -> float:
        """Bound of the posterior probability that interpolation between the nodes misplaces.

        From the last coefficients of the density's Legendre series: integrals over the whole box
        converge twice as fast as the distribution functions of the standard deviations.
        """
        half = (self.interval[1] - self.interval[0]) / 2
        last = self.rule.coefficients[-2:] @ self.density.sum(axis=1)
        along = half * float(np.abs(last).max()) / len(self.density)
        if self.angles is None:
            return along
        rule, (low, high) = self.angles
        last = np.abs(rule.coefficients[-2:] @ self._by_angle.T) @ (self.rule.weights * half)
        return max(along, (high - low) / 2 * float(last.max()) / len(rule.nodes))

    @cached_property
    def moments(self) -> Mapping[str, tuple[float, float]]:
        """Mean and standard deviation of each standard deviation."""
        names = ("tau_between", "tau_within", "tau")
        values = np.stack([self.values(name) for name in names])
        mean = values @ self.weight
        sd = np.sqrt((values - mean[:, None]) ** 2 @ self.weight)
        return dict(zip(names, zip(mean.tolist(), sd.tolist(), strict=True), strict=True))

    def values(self, parameter: str) -> Vector:
        """Return a parameter at the nodes; the total ``tau`` for any other name."""
        if parameter == "tau_between":
            return self.tau_between
        if parameter == "tau_within":
            return self.tau_within
        if parameter == "beta_scale":
            return self.common_scale
        if parameter == "sampling_correlation":
            return self.rho
        return np.hypot(self.tau_between, self.tau_within)

    def cdf_pdf(self, parameters: Sequence[str], x: Vector) -> tuple[Vector, Vector]:
        """Return distribution functions and densities of standard deviations.

        Parameters
        ----------
        parameters : sequence of str
            Any of ``tau_between``, ``tau_within`` and ``tau``.
        x : numpy.ndarray of shape (r, q)
            Points, a row for each parameter.

        Returns
        -------
        tuple of numpy.ndarray of shape (r, q)
            Distribution function and density at each point.
        """
        return self._at(self._columns(parameters), x)

    def _columns(self, parameters: Sequence[str]) -> "_Columns":
        """Return which slices the parameters need, one after the other."""
        places = self._sliced[0]
        chosen = [places[name] for name in parameters]
        share = np.concatenate([share for share, _ in chosen])
        # Where the share is zero the standard deviation is zero: its distribution function is 1.
        return _Columns(
            np.maximum(share, TINY) * self.problem.scale,
            np.concatenate([np.arange(c.start, c.stop) for _, c in chosen]),
            [len(share) for share, _ in chosen],
        )

    def _at(self, columns: "_Columns", x: Vector) -> tuple[Vector, Vector]:
        sizes, divisor = columns.sizes, columns.divisor
        ratio = np.repeat(x, sizes, axis=0).T / divisor  # (q, slices of all parameters)
        F, f = self._sliced[1].at(np.arcsinh(ratio), columns.column)
        first = np.cumsum([0, *sizes[:-1]])
        f = f / (np.sqrt(1 + ratio**2) * divisor)
        return np.add.reduceat(F, first, axis=1).T, np.add.reduceat(f, first, axis=1).T

    def quantiles(self, parameters: Sequence[str], probabilities: Vector) -> Vector:
        """Return quantiles of standard deviations.

        Parameters
        ----------
        parameters : sequence of str
            Any of ``tau_between``, ``tau_within`` and ``tau``.
        probabilities : numpy.ndarray of shape (q,)
            Probabilities.

        Returns
        -------
        numpy.ndarray of shape (r, q)
            Quantiles, a row for each parameter.
        """
        mean, sd = np.array([self.moments[name] for name in parameters]).T[:, :, None]
        start = gammaincinv((mean / sd) ** 2, probabilities) * sd**2 / mean
        top = float(self.problem.tau(np.array(self.interval[1])))

        columns = self._columns(parameters)

        def cdf_pdf(x: Vector) -> tuple[Vector, Vector]:
            F, f = self._at(columns, x.reshape(start.shape))
            return F.ravel(), f.ravel()

        every = np.tile(probabilities, len(parameters))
        return invert(cdf_pdf, every, (0.0, top), start.ravel()).reshape(start.shape)

    def share_quantiles(self, probabilities: Vector) -> Vector:
        """Return quantiles of the between share ``tau_between**2 / tau**2 = cos(phi)**2``."""
        assert self.angles is not None
        rule, interval = self.angles
        width = rule.weights * (interval[1] - interval[0]) / 2
        mass = self.weight.reshape(len(self.rule.nodes), len(rule.nodes), -1)
        density = mass.sum(axis=(0, 2)) / width
        cumulative = Cumulative.of(rule, interval, density[:, None])

        def cdf_pdf(phi: Vector) -> tuple[Vector, Vector]:
            F, f = cumulative.at(phi[:, None])
            return F[:, 0], f[:, 0]

        # The share falls with the angle: its lower quantile is an upper one of the angle.
        start = interval[0] + (1 - probabilities) * (interval[1] - interval[0])
        return np.cos(invert(cdf_pdf, 1 - probabilities, interval, start)) ** 2

    def merged(self) -> "Grid":
        """Return the grid without the common scale, integrated out of the coefficients.

        Their moments given the other parameters are kept; for what needs no more, such as the
        true effects of the rows, it saves most of the nodes.
        """
        if self.scale_nodes == 1:
            return self
        shape = len(self.weight) // self.scale_nodes, self.scale_nodes
        weight = self.weight.reshape(shape)
        total = weight.sum(axis=1)
        share = weight / np.maximum(total, TINY)[:, None]
        means = self.mean.reshape(*shape, -1)
        mean = np.einsum("gc,gcp->gp", share, means)
        apart = means - mean[:, None]
        cov = self.cov.reshape(*shape, *self.cov.shape[1:])
        cov = np.einsum("gc,gcpq->gpq", share, cov)
        cov += np.einsum("gc,gcp,gcq->gpq", share, apart, apart, optimize=True)
        every = slice(None, None, self.scale_nodes)
        return replace(
            self,
            density=self.density.reshape(len(self.density), -1, self.scale_nodes).sum(axis=2),
            weight=total,
            tau_between=self.tau_between[every],
            tau_within=self.tau_within[every],
            rho=self.rho[every],
            common_scale=np.ones(shape[0]),
            outer=self.outer[every],
            mean=mean,
            cov=cov,
            scale_nodes=1,
        )
