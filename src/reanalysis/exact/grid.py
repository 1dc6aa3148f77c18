"""The posterior of the variance parameters on a quadrature grid.

The heterogeneity standard deviations are written in polar form, ``tau_between = tau cos(phi)`` and
``tau_within = tau sin(phi)``: what data determine well is the total, which is then one axis, and
priors on the parts or on the total with its share are both smooth in it. The total is mapped by
``tau = scale * sinh(t)``, linear near zero and logarithmic far out, so that heavy-tailed priors
need no more nodes than light ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from reanalysis.exact.common_scale import integrate_common_scale
from reanalysis.exact.quadrature import (
    Cumulative,
    Interval,
    Rule,
    graded,
    invert,
    legendre_rule,
    zoom,
)
from reanalysis.marginal import Coefficients, Statistics, integrate_coefficients, quadratic_forms
from reanalysis.priors import Prior

__all__ = ["Grid", "Heterogeneity", "Problem", "evaluate_grid", "find_box", "point_loglik"]

Vector = NDArray[np.float64]
Heterogeneity = Literal["both", "between", "within", "none"]

UPPER_TAIL = 1e-13
WIDER = 12  # times that the range may grow, each by a factor of e at its far end
RHO_NODES = 12
SCALE_NODES = 12  # of the first look
POINT_SCALE_NODES = 64  # without heterogeneity the scale is the only integral
TINY = 1e-300
ANGLE: Mapping[Heterogeneity, float] = {"between": 0.0, "within": np.pi / 2}


@dataclass(frozen=True, eq=False)
class Problem:
    """One integral: a design, its priors and the parameters that are not fixed at zero.

    Attributes
    ----------
    stats : Statistics
        The data.
    priors : mapping of str to Prior
        Priors of the variance parameters.
    prior_mean, prior_sd : numpy.ndarray of shape (p,)
        Normal priors of the coefficients.
    columns : sequence of int
        Coefficients in the model.
    heterogeneity : str
        Which of tau_between and tau_within are in the model.
    rho : float or Prior
        Sampling correlation.
    scale : float
        Scale of the map from ``t`` to ``tau``, and to the common scale.
    shrunk : tuple of int
        Coefficients whose prior standard deviation is in units of a common scale.
    common_scale : Prior or None
        Prior of that scale.
    """

    stats: Statistics
    priors: Mapping[str, Prior]
    prior_mean: Vector
    prior_sd: Vector
    columns: tuple[int, ...]
    heterogeneity: Heterogeneity
    rho: float | Prior
    scale: float
    shrunk: tuple[int, ...] = ()
    common_scale: Prior | None = None

    def tau(self, t: Vector) -> Vector:
        """Return the total standard deviation at ``t``."""
        return self.scale * np.sinh(t)

    def log_prior(self, t: Vector, phi: Vector) -> Vector:
        """Return the log prior density of the variance parameters with respect to (t, phi)."""
        tau = self.tau(t)
        jacobian = np.log(self.scale) + np.log(np.cosh(t))
        if self.heterogeneity == "both":
            if "tau_within" in self.priors:
                between = self.priors["tau_between"].logpdf(tau * np.cos(phi))
                within = self.priors["tau_within"].logpdf(tau * np.sin(phi))
                with np.errstate(divide="ignore"):
                    return jacobian + between + within + np.log(tau)
            share = self.priors["between_share"].logpdf(np.cos(phi) ** 2)
            with np.errstate(divide="ignore"):
                polar = np.log(np.sin(2 * phi))
            return jacobian + self.priors["tau"].logpdf(tau) + share + polar
        return jacobian + self.tau_prior().logpdf(tau)

    def tau_prior(self) -> Prior:
        """Return the prior of the only standard deviation."""
        name = f"tau_{self.heterogeneity}"
        return self.priors[name] if name in self.priors else self.priors["tau"]

    def tau_range(self) -> Interval:
        """Return the range of the total standard deviation with all but 1e-13 of the prior."""
        if self.heterogeneity != "both":
            prior = self.tau_prior()
            low = max(prior.support[0], 0.0)
            return low, float(prior.ppf(1 - UPPER_TAIL))
        if "tau_within" in self.priors:
            ends = [
                float(self.priors[f"tau_{n}"].ppf(1 - UPPER_TAIL)) for n in ("between", "within")
            ]
            return 0.0, float(np.hypot(ends[0], ends[1]))
        prior = self.priors["tau"]
        return max(prior.support[0], 0.0), float(prior.ppf(1 - UPPER_TAIL))

    def rho_nodes(self) -> tuple[Vector, Vector]:
        """Return nodes and prior weights of the sampling correlation."""
        if not isinstance(self.rho, Prior):
            return np.array([self.rho]), np.array([1.0])
        rule = legendre_rule(RHO_NODES)
        probability = (rule.nodes + 1) / 2
        return np.minimum(self.rho.ppf(probability), 1 - 1e-9), rule.weights / 2

    def scale_range(self) -> Interval:
        """Return the interval of ``arcsinh(s / scale)`` with all but 1e-13 of the prior of s."""
        assert self.common_scale is not None
        low = max(self.common_scale.support[0], 0.0)
        high = float(self.common_scale.ppf(1 - UPPER_TAIL))
        return float(np.arcsinh(low / self.scale)), float(np.arcsinh(high / self.scale))

    def scale_nodes(self, n: int) -> tuple[Vector, Vector]:
        """Return n nodes and prior weights of the common scale; one where there is none.

        It is mapped as ``tau`` is: for a scale of several coefficients that map needs fewer
        nodes than the prior's probability, above all where the data disagree with the prior.
        """
        if self.common_scale is None:
            return np.ones(1), np.ones(1)
        rule = legendre_rule(n)
        low, high = self.scale_range()
        t = low + (rule.nodes + 1) / 2 * (high - low)
        values = self.tau(t)
        width = rule.weights * (high - low) / 2 * self.scale * np.cosh(t)
        return values, width * np.exp(self.common_scale.logpdf(values))


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


def find_box(problem: Problem) -> tuple[Interval, Interval | None]:
    """Return the part of ``(t, phi)`` that holds the posterior.

    Parameters
    ----------
    problem : Problem
        The integral.

    Returns
    -------
    tuple
        Interval of ``t`` and, with both variance components, of ``phi``.
    """
    rho = problem.rho_nodes()[0]
    scanned = np.unique(rho[[0, len(rho) // 2, -1]])
    scales, weight = problem.scale_nodes(SCALE_NODES)
    with np.errstate(divide="ignore"):  # a prior may leave nothing at a node
        log_weight = np.log(weight)

    def log_density(t: Vector, phi: Vector) -> Vector:
        phi = _angle(problem, phi)
        values = [
            _given(problem, t, phi, np.full_like(t, r), scales, moments=False).loglik
            for r in scanned
        ]
        best = np.max(values, axis=0).reshape(len(t), -1) + log_weight
        return problem.log_prior(t, phi) + best.max(axis=1)

    low, high = problem.tau_range()
    start, end = float(np.arcsinh(low / problem.scale)), float(np.arcsinh(high / problem.scale))
    outer = (0.0, np.pi / 2) if problem.heterogeneity == "both" else None
    box = zoom(log_density, (start, end), outer)
    # Data that the prior held to be impossible push the posterior beyond the prior's range.
    for _ in range(WIDER):
        if box[0][1] < end or not np.isfinite(log_density(np.array([end + 1]), np.ones(1))[0]):
            break
        end += 1.0
        box = zoom(log_density, (start, end), outer)
    return box


def evaluate_grid(
    problem: Problem,
    box: tuple[Interval, Interval | None],
    orders: Sequence[int],
    scale_nodes: int = 1,
    *,
    moments: bool = True,
) -> Grid:
    """Evaluate the posterior on a tensor grid.

    Parameters
    ----------
    problem : Problem
        The integral.
    box : tuple
        From `find_box`.
    orders : sequence of int
        Number of nodes along ``t`` and along ``phi``.
    scale_nodes : int
        Number of nodes along the common scale, where there is one.
    moments : bool
        False leaves the coefficients out, for an evidence alone.

    Returns
    -------
    Grid
        Normalised posterior with the log marginal likelihood.
    """
    t_box, phi_box = box
    rule = legendre_rule(orders[0])
    t = t_box[0] + (rule.nodes + 1) / 2 * (t_box[1] - t_box[0])
    rho, rho_weight = problem.rho_nodes()
    if phi_box is None:
        phi, phi_weight, angles = _angle(problem, np.zeros(1)), np.ones(1), None
    else:
        across = legendre_rule(orders[1])
        angles = across, phi_box
        phi = phi_box[0] + (across.nodes + 1) / 2 * (phi_box[1] - phi_box[0])
        phi_weight = across.weights * (phi_box[1] - phi_box[0]) / 2
    scales, scale_weight = problem.scale_nodes(scale_nodes)
    side_weight = np.outer(rho_weight, scale_weight).ravel()
    outer_phi = np.repeat(phi, len(side_weight))
    with np.errstate(divide="ignore"):  # a prior may leave nothing at a node
        log_outer = np.log(np.outer(phi_weight, side_weight).ravel())
    n_t, n_outer = len(t), len(outer_phi)
    all_t, all_phi = np.repeat(t, n_outer), np.tile(outer_phi, n_t)
    all_rho = np.tile(np.repeat(rho, len(scales)), n_t * len(phi))
    every = slice(None, None, len(scales))  # the scales share the weighted cross-products
    given = _given(problem, all_t[every], all_phi[every], all_rho[every], scales, moments=moments)
    log_density = given.loglik + problem.log_prior(all_t, all_phi) + np.tile(log_outer, n_t)
    top = log_density.max()
    density = np.exp(log_density - top).reshape(n_t, n_outer)
    width = rule.weights * (t_box[1] - t_box[0]) / 2
    mass = density * width[:, None]
    total = mass.sum()
    tau = problem.tau(all_t)
    return Grid(
        problem=problem,
        rule=rule,
        interval=t_box,
        density=density / total,
        weight=(mass / total).ravel(),
        tau_between=tau * np.cos(all_phi),
        tau_within=tau * np.sin(all_phi),
        rho=all_rho,
        common_scale=np.tile(scales, len(all_t) // len(scales)),
        outer=outer_phi,
        angles=angles,
        mean=given.mean,
        cov=given.cov,
        log_marginal_likelihood=float(np.log(total) + top),
        scale_nodes=len(scales),
    )


def point_loglik(problem: Problem) -> float:
    """Return the log marginal likelihood without heterogeneity.

    Parameters
    ----------
    problem : Problem
        With ``heterogeneity="none"``.

    Returns
    -------
    float
        Natural log, the sampling correlation integrated out where it has a prior.
    """
    rho, weight = problem.rho_nodes()
    scales, scale_weight = problem.scale_nodes(POINT_SCALE_NODES)
    zero = np.zeros_like(rho)
    logdet, forms = quadratic_forms(problem.stats, zero, zero, rho)
    loglik = _integrate(problem, logdet, forms, scales, moments=False).loglik
    top = loglik.max()
    return float(top + np.log(np.outer(weight, scale_weight).ravel() @ np.exp(loglik - top)))


def _angle(problem: Problem, phi: Vector) -> Vector:
    if problem.heterogeneity == "both":
        return phi
    return np.full_like(phi, ANGLE[problem.heterogeneity])


def _given(
    problem: Problem, t: Vector, phi: Vector, rho: Vector, scales: Vector, *, moments: bool
) -> Coefficients:
    """Return the likelihood and the coefficients at each node, for each common scale."""
    tau2 = problem.tau(t) ** 2
    logdet, forms = quadratic_forms(
        problem.stats, tau2 * np.cos(phi) ** 2, tau2 * np.sin(phi) ** 2, rho
    )
    return _integrate(problem, logdet, forms, scales, moments=moments)


def _integrate(
    problem: Problem, logdet: Vector, forms: Vector, scales: Vector, *, moments: bool
) -> Coefficients:
    prior = problem.prior_mean, problem.prior_sd
    if problem.common_scale is None:
        return integrate_coefficients(problem.stats, logdet, forms, *prior, problem.columns)
    return integrate_common_scale(
        problem.stats,
        logdet,
        forms,
        *prior,
        problem.columns,
        problem.shrunk,
        scales,
        moments=moments,
    )
