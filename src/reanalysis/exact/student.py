"""The exact engine for Student-t effects: samples whose deviations have heavy tails.

A sample's deviation is normal given its precision, ``u ~ N(0, tau_between² / lambda)`` with
``lambda ~ Gamma(nu/2, nu/2)``, so that a sample's likelihood is an integral over one number, of a
normal density of the sample's own weighted mean. Nothing else can be integrated in closed form:
mean, heterogeneity and nu are nodes of one grid. Each answer is computed on two grids, and their
difference is its numerical error.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainccinv, gammaincinv, ndtr, ndtri

from reanalysis.design import Design, resolve_priors
from reanalysis.exact.evaluation import find_box
from reanalysis.exact.grid import Grid
from reanalysis.exact.normal import Detail
from reanalysis.exact.normal_estimates import CURVE_POINTS, density_curves, parameter_estimates
from reanalysis.exact.problem import Problem
from reanalysis.exact.quadrature import Cumulative, Interval, Rule, invert, legendre_rule
from reanalysis.exact.refinement import (
    LOG_EVIDENCE_TOLERANCE,
    MEAN_TOLERANCE,
    PROBABILITY_TOLERANCE,
    make_problem,
    refined_grids,
)
from reanalysis.priors import LOG_2PI, Prior
from reanalysis.results import EngineError, Estimate, Posterior
from reanalysis.spec import ModelSpec

__all__ = ["fit_student"]

Vector = NDArray[np.float64]
Box = tuple[Interval, Interval | None]

# Nodes along t, phi, nu, mu and lambda.
ORDERS = (
    (16, 10, 16, 20, 16),
    (30, 18, 20, 28, 20),
    (40, 24, 28, 40, 28),
    (52, 40, 36, 56, 40),
)
SLACK = 10  # times the tolerance of the normal engine: there are two more dimensions
NU_TAIL = 1e-6  # prior probability left out at each end
MEAN_REACH = 20.0  # standard deviations of the normal model's mean
NODE_REACH = 8.5  # standard deviations: the precisions are quantiles of a normal number
MOST_SAMPLES = 200  # beyond that the grid takes minutes; NUTS does not
LARGEST = 1e200  # variance
ELEMENTS = 100_000  # of one work array, which stays in the cache
PROBABILITIES = np.array([0.025, 0.5, 0.975])


def fit_student(design: Design, spec: ModelSpec, *, detail: Detail = "full") -> Posterior:
    """Fit a model of one mean with Student-t effects by quadrature.

    Parameters
    ----------
    design : Design
        The data of the model.
    spec : ModelSpec
        The model, with ``effects = "student_t"``.
    detail : str
        ``parameters`` leaves out density curves and Bayes factors, ``curves`` the latter.

    Returns
    -------
    Posterior
        ``mu``, the standard deviations (``tau_between`` is the scale of the t distribution) and
        ``nu``. The Bayes factor of ``nu`` is that of Student-t against normal effects.

    Raises
    ------
    EngineError
        If there are moderators, a prior of the sampling correlation or too many samples, or the
        tolerance is not reached.
    """
    why = None
    if design.coefficients != ("mu",):
        why = "takes no moderators"
    elif isinstance(spec.sampling_correlation, Prior):
        why = "takes no prior of the sampling correlation"
    elif design.m > MOST_SAMPLES:
        why = f"takes at most {MOST_SAMPLES} samples, not {design.m}"
    if why:
        raise EngineError(f"the exact engine of Student-t effects {why}; NUTS does not mind")
    priors = {name: prior for name, prior in spec.priors.items() if name != "nu"}
    normal = replace(spec, effects="normal", priors=priors)
    model = _Model.of(design, spec, normal)
    coarse, fine = _refine(model, spec.name)
    estimates = parameter_estimates(design, fine.grid, coarse.grid)
    estimates |= {"mu": fine.estimate("mu", coarse), "nu": fine.estimate("nu", coarse)}
    posterior = Posterior(
        engine="exact",
        estimates=estimates,
        log_marginal_likelihood=fine.evidence,
        log_marginal_likelihood_error=abs(fine.evidence - coarse.evidence),
    )
    if detail == "parameters":
        return posterior
    densities = density_curves(design, fine.grid, estimates)
    densities |= {name: fine.curve(name) for name in ("mu", "nu")}
    posterior = replace(posterior, densities=densities)
    if detail == "curves":
        return posterior
    without = _refine(replace(model, centre=0.0, spread=0.0), spec.name)[1]
    against_normal = refined_grids(design, normal)[1].log_marginal_likelihood
    return replace(
        posterior,
        bayes_factors={
            "mu": fine.evidence - without.evidence,
            "nu": fine.evidence - against_normal,
        },
    )


@dataclass(frozen=True, eq=False)
class _Model:
    """The data of every sample, turned so that its known errors are independent, and the priors.

    Attributes
    ----------
    problem : Problem
        Priors of the heterogeneity, and the map of its nodes.
    mean, nu : Prior
        Of mu and nu.
    box : tuple
        Intervals of ``t`` and ``phi``.
    centre, spread : float
        Of the nodes of mu; a spread of 0 fixes mu at the centre.
    y, one, variance : numpy.ndarray of shape (k,)
        Rows, what a unit of the mean adds to them, and variances without heterogeneity.
    starts : numpy.ndarray of shape (m,)
        First row of each sample.
    log_jacobian : float
        What turning the rows adds to the log-likelihood.
    """

    problem: Problem
    mean: Prior
    nu: Prior
    box: Box
    centre: float
    spread: float
    y: Vector
    one: Vector
    variance: Vector
    starts: NDArray[np.intp]
    log_jacobian: float

    @classmethod
    def of(cls, design: Design, spec: ModelSpec, normal: ModelSpec) -> "_Model":
        priors = resolve_priors(design, spec)
        problem = make_problem(design, normal)
        y, one, variance = (np.empty(design.k) for _ in range(3))
        bounds = np.append(design.starts, design.k)
        for j in range(design.m):
            rows = slice(bounds[j], bounds[j + 1])
            V = _sampling_covariance(design, spec, rows)
            scale = np.sqrt(design.n_averaged[rows])
            # N^(1/2) (V + tau_within² N^-1) N^(1/2) = Q (L + tau_within²) Q', N = diag(n_averaged)
            variance[rows], Q = np.linalg.eigh(V * np.outer(scale, scale))
            y[rows], one[rows] = Q.T @ (scale * design.yi[rows]), Q.T @ scale
        # One sample far out leaves the normal model no small heterogeneity, and this one plenty.
        (_, top), across = find_box(problem)
        low = float(np.arcsinh(problem.tau_range()[0] / problem.scale))
        box = (low, top), None if across is None else (0.0, np.pi / 2)
        centre, spread = _normal_mean(design, normal)
        return cls(
            problem=problem,
            mean=priors["mu"],
            nu=priors["nu"],
            box=box,
            centre=centre,
            spread=spread,
            y=y,
            one=one,
            variance=variance,
            starts=design.starts,
            log_jacobian=0.5 * float(np.log(design.n_averaged).sum()),
        )

    def reduce(self, tau2_within: Vector) -> tuple[Vector, Vector, Vector]:
        """Return weighted mean and its variance, (g, m), and the rest of the log-likelihood, (g,).

        The rest is what the rows say beside their weighted mean.
        """
        variance = self.variance + tau2_within[:, None]
        precision = np.add.reduceat(self.one**2 / variance, self.starts, axis=1)
        mean = np.add.reduceat(self.one * self.y / variance, self.starts, axis=1) / precision
        rows = np.log(variance) + self.y**2 / variance + LOG_2PI
        samples = np.log(precision) + precision * mean**2 - LOG_2PI
        rest = -0.5 * (rows.sum(axis=1) + (samples - 2 * precision * mean**2).sum(axis=1))
        return mean, 1 / precision, self.log_jacobian + rest


@dataclass(frozen=True, eq=False)
class _Posterior:
    """The posterior on a grid.

    Attributes
    ----------
    grid : Grid
        Of the heterogeneity, with mu and nu integrated out.
    evidence : float
        Log marginal likelihood.
    margins : dict of str to tuple
        Rule, interval and density of the coordinates of mu and nu; empty for a fixed mu.
    """

    grid: Grid
    evidence: float
    margins: dict[str, "_Margin"]

    def estimate(self, name: str, coarse: "_Posterior") -> Estimate:
        margin = self.margins[name]
        mean, sd = margin.moments
        lower, median, upper = margin.quantiles(PROBABILITIES).tolist()
        moved = abs(mean - coarse.margins[name].moments[0])
        return Estimate(name, mean, sd, lower, upper, median=median, numerical_error=moved)

    def curve(self, name: str) -> tuple[Vector, Vector]:
        margin = self.margins[name]
        low, high = margin.quantiles(np.array([1e-4, 1 - 1e-4]))
        x = np.linspace(low, high, CURVE_POINTS)
        return x, margin.cdf_pdf(x)[1]


@dataclass(frozen=True, eq=False)
class _Margin:
    """A parameter that is a monotone function of a coordinate: sinh for mu, exp for nu."""

    kind: Literal["mu", "nu"]
    centre: float
    spread: float
    rule: Rule
    interval: Interval
    density: Vector  # at the nodes of the coordinate

    def value(self, coordinate: Vector) -> Vector:
        if self.kind == "nu":
            return np.exp(coordinate)
        return self.centre + self.spread * np.sinh(coordinate)

    @cached_property
    def moments(self) -> tuple[float, float]:
        nodes, width = _nodes(self.rule, self.interval)
        mass, value = self.density * width, self.value(nodes)
        mean = float(mass @ value)
        return mean, float(np.sqrt(mass @ (value - mean) ** 2))

    def cdf_pdf(self, x: Vector) -> tuple[Vector, Vector]:
        if self.kind == "nu":
            coordinate, slope = np.log(x), 1 / x
        else:
            ratio = (x - self.centre) / self.spread
            coordinate, slope = np.arcsinh(ratio), 1 / (self.spread * np.sqrt(1 + ratio**2))
        F, f = Cumulative.of(self.rule, self.interval, self.density[:, None]).at(
            coordinate[:, None]
        )
        return F[:, 0], f[:, 0] * slope

    def quantiles(self, probabilities: Vector) -> Vector:
        low, high = self.value(np.array(self.interval)).tolist()
        mean, sd = self.moments
        start = np.clip(mean + sd * ndtri(probabilities), low, high)
        return invert(self.cdf_pdf, probabilities, (low, high), start)


def _refine(model: _Model, name: str) -> tuple[_Posterior, _Posterior]:
    """Return the first pair of successive grids that agree."""
    coarse = _evaluate(model, ORDERS[0])
    for order in ORDERS[1:]:
        fine = _evaluate(model, order)
        gap, moved = abs(fine.evidence - coarse.evidence), _moved(coarse, fine)
        settled = gap < SLACK * LOG_EVIDENCE_TOLERANCE and moved < SLACK * MEAN_TOLERANCE
        if settled and fine.grid.misplaced < SLACK * PROBABILITY_TOLERANCE:
            return coarse, fine
        coarse = fine
    raise EngineError(
        f"model '{name}': the quadrature did not settle: on the finest grid the log marginal "
        f"likelihood still changes by {gap:.1e} and a mean by {moved:.1e} posterior standard "
        "deviations"
    )


def _moved(coarse: _Posterior, fine: _Posterior) -> float:
    """Return the largest change of a mean or spread, in posterior standard deviations."""
    pairs = [(coarse.margins[name].moments, m.moments) for name, m in fine.margins.items()]
    for name in ("tau_between", "tau_within", "tau"):
        pairs.append(tuple(_moments(p.grid, name) for p in (coarse, fine)))  # type: ignore[arg-type]
    return max(
        max(abs(after[0] - before[0]) / after[1], abs(before[1] / after[1] - 1))
        for before, after in pairs
        if after[1] > 0
    )


def _moments(grid: Grid, name: str) -> tuple[float, float]:
    values = grid.values(name)
    mean = float(grid.weight @ values)
    return mean, float(np.sqrt(grid.weight @ (values - mean) ** 2))


def _evaluate(model: _Model, order: tuple[int, int, int, int, int]) -> _Posterior:
    problem = model.problem
    t_box, phi_box = model.box
    t_rule = legendre_rule(order[0])
    t, t_width = _nodes(t_rule, t_box)
    phi, phi_width, angles = np.zeros(1), np.ones(1), None
    if phi_box is not None:
        angles = legendre_rule(order[1]), phi_box
        phi, phi_width = _nodes(*angles)
    nu_rule = legendre_rule(order[2])
    nu_box = tuple(np.log(model.nu.ppf(np.array([NU_TAIL, 1 - NU_TAIL]))).tolist())
    log_nu, nu_width = _nodes(nu_rule, nu_box)
    log_prior_nu = model.nu.logpdf(np.exp(log_nu)) + log_nu + np.log(nu_width)

    reach = float(np.arcsinh(MEAN_REACH))
    mu_rule, mu_box = legendre_rule(order[3]), (-reach, reach)
    q, q_width = _nodes(mu_rule, mu_box)
    if model.spread:
        mu = model.centre + model.spread * np.sinh(q)
        log_prior_mu = model.mean.logpdf(mu) + np.log(model.spread * np.cosh(q) * q_width)
    else:
        mu, log_prior_mu = np.array([model.centre]), np.zeros(1)

    all_t, all_phi = np.repeat(t, len(phi)), np.tile(phi, len(t))
    log_prior = problem.log_prior(all_t, all_phi)
    log_prior += np.log(np.outer(t_width, phi_width).ravel())
    tau = problem.tau(all_t)
    between, within = tau * np.cos(all_phi), tau * np.sin(all_phi)
    log_mass = np.empty((len(tau), len(log_nu), len(mu)))
    for g, loglik in _logliks(model, between**2, within**2, np.exp(log_nu), mu, order[4]):
        log_mass[g] = loglik
    log_mass += log_prior[:, None, None] + log_prior_nu[:, None] + log_prior_mu
    top = log_mass.max()
    mass = np.exp(log_mass - top)
    total = mass.sum()
    mass /= total

    weight = mass.sum(axis=(1, 2))
    by_mu = mass.sum(axis=1)
    given = by_mu / np.maximum(weight, 1e-300)[:, None]
    mean = given @ mu
    variance = (given * (mu - mean[:, None]) ** 2).sum(axis=1)
    grid = Grid(
        problem=problem,
        rule=t_rule,
        interval=t_box,
        density=weight.reshape(len(t), -1) / t_width[:, None],
        weight=weight,
        tau_between=between,
        tau_within=within,
        rho=np.full(len(tau), problem.rho_nodes()[0][0]),
        common_scale=np.ones(len(tau)),
        outer=phi,
        angles=angles,
        mean=mean[:, None],
        cov=variance[:, None, None],
        log_marginal_likelihood=float(np.log(total) + top),
    )
    margins = {"nu": _Margin("nu", 0.0, 1.0, nu_rule, nu_box, mass.sum(axis=(0, 2)) / nu_width)}
    if model.spread:
        density = by_mu.sum(axis=0) / q_width
        margins["mu"] = _Margin("mu", model.centre, model.spread, mu_rule, mu_box, density)
    return _Posterior(grid, grid.log_marginal_likelihood, margins)


def _logliks(
    model: _Model, tau2_between: Vector, tau2_within: Vector, nu: Vector, mu: Vector, n: int
) -> Iterator[tuple[slice, Vector]]:
    """Yield chunks of nodes with their log-likelihoods, (g, nu, mu)."""
    precision, log_weight = _precisions(nu, n)
    step = max(1, ELEMENTS // (len(model.starts) * n * len(mu)))
    for first in range(0, len(tau2_between), step):
        chunk = slice(first, first + step)
        centre, error, rest = model.reduce(tau2_within[chunk])
        apart = -0.5 * (centre[:, :, None] - mu) ** 2  # (g, m, mu)
        found = np.empty((len(rest), len(nu), len(mu)))
        for i in range(len(nu)):
            # A precision may be too small for a number: a deviation of any size, of no weight.
            with np.errstate(divide="ignore", over="ignore"):
                spread = tau2_between[chunk, None, None] / precision[i]
                variance = error[:, :, None] + np.minimum(spread, LARGEST)  # (g, m, lambda)
                weight = np.exp(log_weight) / np.sqrt(2 * np.pi * variance)
                kernel = apart[:, :, None, :] * (1 / variance)[..., None]
                np.exp(kernel, out=kernel)
                density = np.matmul(weight[:, :, None, :], kernel)[:, :, 0, :]  # (g, m, mu)
                found[:, i] = np.log(density).sum(axis=1) + rest[:, None]
        yield chunk, found


def _precisions(nu: Vector, n: int) -> tuple[Vector, Vector]:
    """Return precisions as quantiles of a normal number, (nu, n), and the log weights, (n,).

    The trapezoidal rule for that number, whose normal density falls fast on both sides.
    """
    g = np.linspace(-NODE_REACH, NODE_REACH, n)
    shape = nu[:, None] / 2
    upper = g > 0
    quantile = np.where(
        upper,
        gammainccinv(shape, ndtr(-np.abs(g))),
        gammaincinv(shape, ndtr(-np.abs(g))),
    )
    return quantile / shape, -0.5 * (g**2 + LOG_2PI) + np.log(g[1] - g[0])


def _nodes(rule: Rule, interval: Interval) -> tuple[Vector, Vector]:
    half = (interval[1] - interval[0]) / 2
    return interval[0] + (rule.nodes + 1) * half, rule.weights * half


def _sampling_covariance(design: Design, spec: ModelSpec, rows: slice) -> Vector:
    if design.V is not None:
        return design.V[rows, rows]
    root = np.sqrt(design.vi[rows])
    assert not isinstance(spec.sampling_correlation, Prior)
    V = spec.sampling_correlation * np.outer(root, root)
    np.fill_diagonal(V, design.vi[rows])
    return V


def _normal_mean(design: Design, normal: ModelSpec) -> tuple[float, float]:
    """Return posterior mean and standard deviation of mu under normal effects."""
    grid = refined_grids(design, normal)[1]
    mean = float(grid.weight @ grid.mean[:, 0])
    variance = grid.cov[:, 0, 0] + (grid.mean[:, 0] - mean) ** 2
    return mean, float(np.sqrt(grid.weight @ variance))
