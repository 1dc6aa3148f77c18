"""The exact engine of a model whose heterogeneity depends on a moderator.

Given the log ratio of the standard deviations the model is an ordinary one of rescaled rows
(`Design.rescaled`). It is fitted at the nodes of a rule over the ratio's prior, and the fits are
averaged with their evidence.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from reanalysis.design import LOG_TAU_RATIO, Design, resolve_priors
from reanalysis.exact.coefficients import CoefficientPosterior
from reanalysis.exact.grid import Grid
from reanalysis.exact.mixtures import NormalMixtures
from reanalysis.exact.quadrature import Cumulative, Interval, invert, legendre_rule
from reanalysis.exact.refinement import refined_grids
from reanalysis.priors import Prior
from reanalysis.results import EngineError, Estimate, Posterior
from reanalysis.spec import ModelSpec

__all__ = ["fit_scale_model", "scale_coefficients"]

Vector = NDArray[np.float64]

REACH = 5.5  # standard normal quantiles of the prior: all but 4e-8
SCAN = 17  # points of a first look
DROP = 18.0  # nats below the maximum that are left out: 1e-8 of the mass
ORDERS = (12, 18, 27, 40)
TOLERANCE = 1e-4  # nats, and standard deviations, as for the model without the moderator
PROBABILITIES = np.array([0.025, 0.5, 0.975])
CURVE_POINTS = 121
BINS = 400


@dataclass(frozen=True, eq=False)
class _Average:
    """Fits at n values of the log ratio.

    Attributes
    ----------
    interval : tuple of float
        Ends of the rule over w.
    w : numpy.ndarray of shape (n,)
        Standard normal quantiles of the prior's probability: the nodes.
    ratio : numpy.ndarray of shape (n,)
        Log ratio of the standard deviations.
    weight : numpy.ndarray of shape (n,)
        Posterior probability of each node; sums to 1.
    grids : sequence of Grid
        The posterior of the rest, given the node.
    log_marginal_likelihood : float
        Natural log.
    """

    interval: Interval
    w: Vector
    ratio: Vector
    weight: Vector
    grids: Sequence[Grid]
    log_marginal_likelihood: float

    def values(self, of: Callable[[Grid], Vector]) -> tuple[Vector, Vector]:
        """Return weights and values over the nodes of all grids."""
        pairs = zip(self.weight, self.grids, strict=True)
        weight = np.concatenate([share * grid.weight for share, grid in pairs])
        return weight, np.concatenate([of(grid) for grid in self.grids])


def fit_scale_model(design: Design, spec: ModelSpec) -> Posterior:
    """Fit a model whose heterogeneity depends on a moderator.

    Parameters
    ----------
    design : Design
        The data, with a ``scale``.
    spec : ModelSpec
        The model.

    Returns
    -------
    Posterior
        With engine ``exact``. ``tau_between``, ``tau_within`` and ``tau`` are those where the
        moderator is zero (between two levels, or at a number's centre); ``tau[LEVEL]`` the total at
        each level or end; ``log_tau_ratio`` the log ratio per comparison, with its Bayes factor
        against a heterogeneity that is the same everywhere.

    Raises
    ------
    EngineError
        If the tolerance is not reached.
    """
    interval = _interval(design, spec)
    coarse = _average(design, spec, ORDERS[0], interval)
    gap = moved = np.inf
    for order in ORDERS[1:]:
        fine = _average(design, spec, order, interval)
        gap = abs(fine.log_marginal_likelihood - coarse.log_marginal_likelihood)
        mean = float(fine.weight @ fine.ratio)
        spread = float(np.sqrt(fine.weight @ (fine.ratio - mean) ** 2))
        moved = abs(mean - float(coarse.weight @ coarse.ratio)) / spread
        if gap < TOLERANCE and moved < TOLERANCE:
            return _posterior(design, spec, fine, coarse)
        coarse = fine
    raise EngineError(
        f"model '{spec.name}': the quadrature over the ratio of the standard deviations did not "
        f"settle: the log marginal likelihood still changes by {gap:.1e}, the mean by {moved:.1e} "
        "posterior standard deviations"
    )


def scale_coefficients(design: Design, spec: ModelSpec) -> CoefficientPosterior:
    """Return the joint posterior of the coefficients of such a model.

    Parameters
    ----------
    design : Design
        The data, with a ``scale``.
    spec : ModelSpec
        The model.

    Returns
    -------
    CoefficientPosterior
        A mixture of normals, over all nodes.
    """
    interval = _interval(design, spec)
    coarse, fine = (_average(design, spec, order, interval) for order in ORDERS[1:3])
    weight, mean = fine.values(lambda grid: grid.mean)
    before = coarse.values(lambda grid: grid.mean)
    cov = np.concatenate([grid.cov for grid in fine.grids])
    return CoefficientPosterior.of(weight, mean, cov, before[0] @ before[1])


def _interval(design: Design, spec: ModelSpec) -> Interval:
    """Return where the posterior of the ratio is, in standard normal quantiles of its prior."""
    low, high = -REACH, REACH
    for _ in range(2):
        w = np.linspace(low, high, SCAN)
        log_mass = _log_evidence(design, spec, w)[1] - 0.5 * w * w
        kept = np.flatnonzero(log_mass > log_mass.max() - DROP)
        low, high = float(w[max(kept[0] - 1, 0)]), float(w[min(kept[-1] + 1, SCAN - 1)])
    return low, high


def _average(design: Design, spec: ModelSpec, order: int, interval: Interval) -> _Average:
    rule = legendre_rule(order)
    low, high = interval
    w = low + (rule.nodes + 1) / 2 * (high - low)
    grids, evidence = _log_evidence(design, spec, w)
    ratio = resolve_priors(design, spec)[LOG_TAU_RATIO].ppf(ndtr(w))
    log_weight = np.log(rule.weights * (high - low) / 2) - 0.5 * w * w - 0.5 * np.log(2 * np.pi)
    log_mass = log_weight + evidence
    top = log_mass.max()
    mass = np.exp(log_mass - top)
    log_marginal_likelihood = float(top + np.log(mass.sum()))
    return _Average(interval, w, ratio, mass / mass.sum(), grids, log_marginal_likelihood)


def _log_evidence(design: Design, spec: ModelSpec, w: Vector) -> tuple[list[Grid], Vector]:
    """Return the posterior of the rest and its evidence at values of the ratio."""
    assert design.scale is not None
    ratio = resolve_priors(design, spec)[LOG_TAU_RATIO].ppf(ndtr(w))
    plain = _without_ratio(spec)
    grids = [refined_grids(design.rescaled(value), plain)[1] for value in ratio.tolist()]
    evidence = np.array([grid.log_marginal_likelihood for grid in grids])
    return grids, evidence - ratio * float(design.scale.sum())


def _without_ratio(spec: ModelSpec) -> ModelSpec:
    priors = {name: prior for name, prior in spec.priors.items() if name != LOG_TAU_RATIO}
    return replace(spec, priors=priors, scale_moderator="")


def _posterior(design: Design, spec: ModelSpec, fine: _Average, coarse: _Average) -> Posterior:
    estimates: dict[str, Estimate] = {}
    for i, name in enumerate(design.coefficients):
        estimates[name] = _coefficient(name, i, fine, coarse)
    names = ("tau_between", "tau_within", "tau") if design.levels == 3 else ("tau_between",)
    for name in names:
        estimates[name] = _tau(name, name, 0.0, fine, coarse)
    total = names[-1]
    for label, at in design.scale_levels:
        parameter = f"tau[{label}]"
        estimates[parameter] = _tau(parameter, total, at, fine, coarse)
    prior = resolve_priors(design, spec)[LOG_TAU_RATIO]
    estimates[LOG_TAU_RATIO] = _ratio(prior, fine, coarse)
    same = refined_grids(replace(design, scale=None, scale_variable=None), _without_ratio(spec))[1]
    return Posterior(
        engine="exact",
        estimates=estimates,
        log_marginal_likelihood=fine.log_marginal_likelihood,
        log_marginal_likelihood_error=abs(
            fine.log_marginal_likelihood - coarse.log_marginal_likelihood
        ),
        bayes_factors={LOG_TAU_RATIO: fine.log_marginal_likelihood - same.log_marginal_likelihood},
        densities={
            LOG_TAU_RATIO: _curve(prior, fine),
            **{name: _bell(i, fine) for i, name in enumerate(design.coefficients)},
        },
    )


def _bell(i: int, fine: _Average) -> tuple[Vector, Vector]:
    """Return the density curve of a coefficient."""
    mixture = _mixture(i, fine)
    mean, sd = mixture.moments()
    x = mean[:, None] + sd[:, None] * np.linspace(-4, 4, CURVE_POINTS)
    return x[0], mixture.pdf(x)[0]


def _mixture(i: int, fine: _Average) -> NormalMixtures:
    weight, mean = fine.values(lambda grid: grid.mean[:, i])
    variance = fine.values(lambda grid: grid.cov[:, i, i])[1]
    return NormalMixtures.of(weight, mean[None], variance[None], bins=BINS)


def _coefficient(name: str, i: int, fine: _Average, coarse: _Average) -> Estimate:
    mixture = _mixture(i, fine)
    centre, spread = mixture.moments()
    lower, median, upper = mixture.quantiles(PROBABILITIES)[0]
    before = coarse.values(lambda grid: grid.mean[:, i])
    return Estimate(
        name,
        float(centre[0]),
        float(spread[0]),
        float(lower),
        float(upper),
        median=float(median),
        numerical_error=abs(float(centre[0]) - float(before[0] @ before[1])),
    )


def _tau(parameter: str, name: str, at: float, fine: _Average, coarse: _Average) -> Estimate:
    """Summarise a standard deviation where the moderator has a value."""
    factors = np.exp(fine.ratio * at)

    def moments(average: _Average) -> tuple[float, float]:
        weight, values = average.values(lambda grid: grid.values(name))
        sizes = [len(grid.weight) for grid in average.grids]
        values = values * np.repeat(np.exp(average.ratio * at), sizes)
        mean = float(weight @ values)
        return mean, float(np.sqrt(weight @ (values - mean) ** 2))

    def cdf_pdf(x: Vector) -> tuple[Vector, Vector]:
        F, f = np.zeros_like(x), np.zeros_like(x)
        for share, factor, grid in zip(fine.weight, factors, fine.grids, strict=True):
            below, density = grid.cdf_pdf((name,), x[None] / factor)
            F, f = F + share * below[0], f + share * density[0] / factor
        return F, f

    mean, sd = moments(fine)
    tops = [float(g.problem.tau(np.array(g.interval[1]))) for g in fine.grids]
    start = np.maximum(mean + sd * np.array([-1.2, -0.1, 2.0]), 0.05 * mean)
    ends = invert(cdf_pdf, PROBABILITIES, (0.0, float(np.max(tops * factors))), start)
    return Estimate(
        parameter,
        mean,
        sd,
        float(ends[0]),
        float(ends[2]),
        median=float(ends[1]),
        numerical_error=abs(mean - moments(coarse)[0]),
    )


def _ratio(prior: Prior, fine: _Average, coarse: _Average) -> Estimate:
    mean = float(fine.weight @ fine.ratio)
    cumulative = _along(fine)

    def cdf_pdf(w: Vector) -> tuple[Vector, Vector]:
        F, f = cumulative.at(w[:, None])
        return F[:, 0], f[:, 0]

    centre = float(fine.weight @ fine.w)
    spread = float(np.sqrt(fine.weight @ (fine.w - centre) ** 2))
    start = centre + spread * np.array([-2.0, 0.0, 2.0])
    w = invert(cdf_pdf, PROBABILITIES, fine.interval, start)
    lower, median, upper = prior.ppf(ndtr(w))
    return Estimate(
        LOG_TAU_RATIO,
        mean,
        float(np.sqrt(fine.weight @ (fine.ratio - mean) ** 2)),
        float(lower),
        float(upper),
        median=float(median),
        numerical_error=abs(mean - float(coarse.weight @ coarse.ratio)),
    )


def _curve(prior: Prior, fine: _Average) -> tuple[Vector, Vector]:
    w = np.linspace(*fine.interval, CURVE_POINTS)
    height = np.maximum(_along(fine).at(w[:, None])[1][:, 0], 0.0)
    x = prior.ppf(ndtr(w))
    rate = np.exp(-0.5 * w * w) / np.sqrt(2 * np.pi) / np.exp(prior.logpdf(x))  # dx/dw
    return x, height / rate


def _along(fine: _Average) -> Cumulative:
    """Return the posterior of the ratio along its coordinate, for interpolation."""
    rule = legendre_rule(len(fine.w))
    half = (fine.interval[1] - fine.interval[0]) / 2
    return Cumulative.of(rule, fine.interval, (fine.weight / (half * rule.weights))[:, None])
