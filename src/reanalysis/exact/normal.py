"""The exact engine of the two- and three-level normal model.

Coefficients are integrated analytically, the variance parameters by quadrature. Each answer is
computed on two grids; their difference is its numerical error. Where it stays above the tolerance
on the finest grid, nothing is returned.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from reanalysis.design import Design, resolve_priors
from reanalysis.exact.coefficients import CoefficientPosterior
from reanalysis.exact.derived import mean_correlation
from reanalysis.exact.evaluation import evaluate_grid, find_box, point_loglik
from reanalysis.exact.grid import Grid
from reanalysis.exact.mixtures import NormalMixtures
from reanalysis.exact.problem import Heterogeneity, Problem
from reanalysis.exact.shrinkage import shrink
from reanalysis.exact.side import side_curve, side_estimate, side_parameters
from reanalysis.marginal import Statistics
from reanalysis.moderators import COMMON_SCALE, shrunk_columns
from reanalysis.results import EngineError, Estimate, Posterior
from reanalysis.spec import ModelSpec

__all__ = [
    "Detail",
    "coefficient_posterior",
    "fit_normal",
    "log_evidence",
    "make_problem",
    "refined_grids",
]

Vector = NDArray[np.float64]
Detail = Literal["full", "curves", "parameters"]

PROBABILITIES = np.array([0.025, 0.5, 0.975])
ORDERS_2D = ((24, 14), (40, 20), (60, 44), (100, 84), (160, 140))
ORDERS_1D = ((32, 1), (48, 1), (80, 1), (160, 1), (400, 1))
SCALE_ORDERS = (12, 18, 27, 40, 60)  # nodes of a common scale, beside each of the above
LOG_EVIDENCE_TOLERANCE = 1e-4  # nats: a Bayes factor to a hundredth of a percent
MEAN_TOLERANCE = 1e-4  # posterior standard deviations
PROBABILITY_TOLERANCE = 1e-5  # a bound; quantiles are off by a fifth of it at most
CURVE_POINTS = 121
CURVE_BINS = 400  # of a curve's normals, by their width: no visible difference
MODERATORS = "moderators"  # all terms at once


def fit_normal(design: Design, spec: ModelSpec, *, detail: Detail = "full") -> Posterior:
    """Fit the normal model by quadrature.

    Parameters
    ----------
    design : Design
        The data of the model.
    spec : ModelSpec
        The model; ``mechanism`` must be ``none``.
    detail : str
        ``parameters`` leaves out what is derived from the parameters: predictions, the mean
        correlation, density curves, Bayes factors and the true effects of the rows; ``curves``
        keeps the density curves.

    Returns
    -------
    Posterior
        With engine ``exact``, each estimate with its numerical error.

    Raises
    ------
    EngineError
        If a coefficient's prior is not normal, or the tolerance is not reached.
    """
    problem = make_problem(design, spec)
    coarse, fine = _refine(problem, spec.name)
    estimates = _parameters(design, fine, coarse)
    evidence = fine.log_marginal_likelihood
    posterior = Posterior(
        engine="exact",
        estimates=estimates,
        log_marginal_likelihood=evidence,
        log_marginal_likelihood_error=abs(evidence - coarse.log_marginal_likelihood),
    )
    if detail == "parameters":
        return posterior
    posterior = replace(posterior, densities=_densities(design, fine, estimates))
    if detail == "curves":
        return posterior
    return replace(
        posterior,
        estimates=estimates | _predictions(design, fine, coarse),
        bayes_factors=_bayes_factors(design, problem, evidence, spec.name),
        effects=shrink(design, fine.merged()),
    )


def log_evidence(
    design: Design,
    spec: ModelSpec,
    *,
    without: Sequence[str] = (),
) -> float:
    """Return the log marginal likelihood of a model or of one nested in it.

    Parameters
    ----------
    design : Design
        The data of the model.
    spec : ModelSpec
        The model.
    without : sequence of str
        Parameters fixed at zero: names of coefficients or of terms, ``moderators`` for all
        terms; ``tau_between``, ``tau_within``, or ``tau`` for both.

    Returns
    -------
    float
        Natural log.

    Raises
    ------
    EngineError
        If the tolerance is not reached.
    """
    return _evidence(_restrict(design, make_problem(design, spec), without), spec.name)


def coefficient_posterior(design: Design, spec: ModelSpec) -> CoefficientPosterior:
    """Return the joint posterior of the coefficients.

    Parameters
    ----------
    design : Design
        The data of the model.
    spec : ModelSpec
        The model; ``mechanism`` must be ``none``.

    Returns
    -------
    CoefficientPosterior
        A mixture of normals, for any linear combination of the coefficients.

    Raises
    ------
    EngineError
        As for `fit_normal`.
    """
    coarse, fine = refined_grids(design, spec)
    return CoefficientPosterior.of(fine.weight, fine.mean, fine.cov, coarse.weight @ coarse.mean)


def refined_grids(design: Design, spec: ModelSpec) -> tuple[Grid, Grid]:
    """Return the posterior of the variance parameters on two successive grids that agree.

    Parameters
    ----------
    design : Design
        The data of the model.
    spec : ModelSpec
        The model; ``mechanism`` must be ``none``.

    Returns
    -------
    coarse, fine : Grid
        The finer one is the answer, their difference its error.

    Raises
    ------
    EngineError
        As for `fit_normal`.
    """
    return _refine(make_problem(design, spec), spec.name)


def make_problem(design: Design, spec: ModelSpec) -> Problem:
    """Return the integral behind a model.

    Parameters
    ----------
    design : Design
        The data of the model.
    spec : ModelSpec
        The model; ``mechanism`` must be ``none``.

    Returns
    -------
    Problem
        Data and resolved priors.

    Raises
    ------
    EngineError
        If the heterogeneity changes with a moderator, effects are Student-t, or a coefficient's
        prior is not normal.
    """
    if design.scale is not None:
        raise EngineError(f"model '{spec.name}' has a scale_moderator; only fit_exact takes it")
    if spec.effects != "normal":
        raise EngineError(f"model '{spec.name}' has Student-t effects; only fit_exact takes it")
    priors = resolve_priors(design, spec)
    odd = [name for name in design.coefficients if priors[name].family != "normal"]
    if odd:
        raise EngineError(
            f"the exact engine integrates coefficients with normal priors only; '{odd[0]}' has "
            f"{priors[odd[0]]}"
        )
    shrunk = shrunk_columns(design.coefficients, priors)
    stats = Statistics.of(
        design.yi, design.vi, design.X, design.cluster, design.n_averaged, design.V
    )
    return Problem(
        stats=stats,
        priors=priors,
        prior_mean=np.array([priors[name].parameters["mu"] for name in design.coefficients]),
        prior_sd=np.array([priors[name].parameters["sigma"] for name in design.coefficients]),
        columns=tuple(range(design.p)),
        heterogeneity="both" if design.levels == 3 else "between",
        rho=spec.sampling_correlation,
        scale=float(np.sqrt(np.median(design.vi))) / 2,
        shrunk=shrunk,
        common_scale=priors.get(COMMON_SCALE),
    )


def _refine(problem: Problem, name: str, *, moments: bool = True) -> tuple[Grid, Grid]:
    """Return the first pair of successive grids that agree."""
    box = find_box(problem)
    orders = ORDERS_2D if problem.heterogeneity == "both" else ORDERS_1D
    steps = list(zip(orders, SCALE_ORDERS, strict=True))
    coarse = evaluate_grid(problem, box, *steps[0], moments=moments)
    gap = np.inf
    for step in steps[1:]:
        fine = evaluate_grid(problem, box, *step, moments=moments)
        gap = abs(fine.log_marginal_likelihood - coarse.log_marginal_likelihood)
        moved = _moved(coarse, fine)
        settled = gap < LOG_EVIDENCE_TOLERANCE and moved < MEAN_TOLERANCE
        # An evidence alone needs no quantiles.
        if settled and (not moments or fine.misplaced < PROBABILITY_TOLERANCE):
            return coarse, fine
        coarse = fine
    raise EngineError(
        f"model '{name}': the quadrature did not settle: on the finest grid the log marginal "
        f"likelihood still changes by {gap:.1e}, a mean by {moved:.1e} posterior standard "
        f"deviations, and up to {fine.misplaced:.1e} of the probability is misplaced"
    )


def _moved(coarse: Grid, fine: Grid) -> float:
    """Return the largest change of a mean or spread, in posterior standard deviations."""
    largest = 0.0
    before, after = dict(coarse.moments), dict(fine.moments)
    for name in side_parameters(fine):
        before[name], after[name] = (_mean_and_sd(grid, name) for grid in (coarse, fine))
    for name, (mean, sd) in after.items():
        if sd > 0:
            largest = max(largest, abs(mean - before[name][0]) / sd, abs(before[name][1] / sd - 1))
    return largest


def _mean_and_sd(grid: Grid, name: str) -> tuple[float, float]:
    values = grid.values(name)
    mean = float(grid.weight @ values)
    return mean, float(np.sqrt(grid.weight @ (values - mean) ** 2))


def _parameters(design: Design, fine: Grid, coarse: Grid) -> dict[str, Estimate]:
    estimates = _normal_estimates(
        design.coefficients, fine, coarse, fine.mean.T, np.diagonal(fine.cov, axis1=1, axis2=2).T
    )
    taus = _taus(design)
    for name, (lower, median, upper) in zip(
        taus, fine.quantiles(taus, PROBABILITIES).tolist(), strict=True
    ):
        mean, sd = fine.moments[name]
        error = abs(mean - coarse.moments[name][0])
        estimates[name] = Estimate(
            name, mean, sd, lower, upper, median=median, numerical_error=error
        )
    if "between_share" in fine.problem.priors and fine.angles is not None:
        estimates["between_share"] = _share(fine, coarse)
    for name, side in side_parameters(fine).items():
        estimates[name] = side_estimate(name, side, fine, coarse, PROBABILITIES)
    return estimates


def _taus(design: Design) -> tuple[str, ...]:
    return ("tau_between", "tau_within", "tau") if design.levels == 3 else ("tau_between",)


def _predictions(design: Design, fine: Grid, coarse: Grid) -> dict[str, Estimate]:
    """Return the effect of a new sample, a new effect, and the mean correlation."""
    estimates: dict[str, Estimate] = {}
    if design.coefficients == ("mu",):
        between, total = fine.tau_between**2, fine.tau_between**2 + fine.tau_within**2
        means, variance = fine.mean[:, 0], fine.cov[:, 0, 0]
        estimates = _normal_estimates(
            ("new_sample", "new_effect"),
            fine,
            coarse,
            np.stack([means, means]),
            np.stack([variance + between, variance + total]),
        )
        if design.measure == "ZCOR":
            estimates["mean_r"] = mean_correlation(fine, coarse, PROBABILITIES)
    return estimates


def _share(fine: Grid, coarse: Grid) -> Estimate:
    """Summarise the share of the heterogeneity that lies between samples."""
    values, before = (np.tile(np.cos(g.outer) ** 2, len(g.density)) for g in (fine, coarse))
    mean = float(fine.weight @ values)
    lower, median, upper = fine.share_quantiles(PROBABILITIES)
    return Estimate(
        "between_share",
        mean,
        float(np.sqrt(fine.weight @ (values - mean) ** 2)),
        float(lower),
        float(upper),
        median=float(median),
        numerical_error=abs(mean - float(coarse.weight @ before)),
    )


def _normal_estimates(
    names: Sequence[str], fine: Grid, coarse: Grid, means: Vector, variances: Vector
) -> dict[str, Estimate]:
    """Summarise quantities that are normal given the variance parameters."""
    mixtures = NormalMixtures.of(fine.weight, means, variances)
    centre, spread = mixtures.moments()
    quantiles = mixtures.quantiles(PROBABILITIES)
    # A prediction has the mean of the coefficient it is for, and so its numerical error.
    before = np.broadcast_to(coarse.weight @ coarse.mean, (len(names),))
    return {
        name: Estimate(
            name,
            float(centre[i]),
            float(spread[i]),
            float(quantiles[i, 0]),
            float(quantiles[i, 2]),
            median=float(quantiles[i, 1]),
            numerical_error=abs(float(centre[i]) - float(before[i])),
        )
        for i, name in enumerate(names)
    }


def _densities(
    design: Design, grid: Grid, estimates: Mapping[str, Estimate]
) -> dict[str, tuple[Vector, Vector]]:
    """Return density curves of the coefficients and standard deviations."""
    mixtures = NormalMixtures.of(
        grid.weight, grid.mean.T, np.diagonal(grid.cov, axis1=1, axis2=2).T, bins=CURVE_BINS
    )
    mean, sd = mixtures.moments()
    x = mean[:, None] + sd[:, None] * np.linspace(-4, 4, CURVE_POINTS)
    density = mixtures.pdf(x)
    curves = {name: (x[i], density[i]) for i, name in enumerate(design.coefficients)}
    taus = _taus(design)
    tops = [estimates[name].value + 5 * (estimates[name].sd or 0.0) for name in taus]
    points = np.linspace(0.0, tops, CURVE_POINTS, axis=1)
    heights = grid.cdf_pdf(taus, np.maximum(points, points[:, 1:2] * 1e-6))[1]
    curves |= {name: (points[i], heights[i]) for i, name in enumerate(taus)}
    for name, side in side_parameters(grid).items():
        curves[name] = side_curve(side, grid, CURVE_POINTS)
    return curves


def _restrict(design: Design, problem: Problem, without: Sequence[str]) -> Problem:
    columns = set(problem.columns)
    zero: set[str] = set()
    for name in without:
        if name in design.coefficients:
            columns.discard(design.coefficients.index(name))
        elif name in design.tested:
            columns -= set(design.tested[name])
        elif name == MODERATORS:
            columns -= {i for group in design.factors.values() for i in group}
        elif name in ("tau_between", "tau_within", "tau"):
            zero.add(name)
        else:
            raise ValueError(f"no parameter '{name}'; known: {', '.join(design.coefficients)}")
    heterogeneity: Heterogeneity = problem.heterogeneity
    if "tau" in zero or {"tau_between", "tau_within"} <= zero:
        heterogeneity = "none"
    elif "tau_between" in zero:
        heterogeneity = "within" if problem.heterogeneity == "both" else "none"
    elif "tau_within" in zero:
        heterogeneity = "between"
    shrunk = tuple(i for i in problem.shrunk if i in columns)
    return replace(
        problem,
        columns=tuple(sorted(columns)),
        heterogeneity=heterogeneity,
        shrunk=shrunk,
        common_scale=problem.common_scale if shrunk else None,
    )


def _evidence(problem: Problem, name: str) -> float:
    if problem.heterogeneity == "none":
        return point_loglik(problem)
    return _refine(problem, name, moments=False)[1].log_marginal_likelihood


def _bayes_factors(
    design: Design, problem: Problem, evidence: float, name: str
) -> dict[str, float]:
    """Return log Bayes factors of the full model against each parameter being zero."""
    targets = _tested_coefficients(design)
    targets += ["tau_between", "tau_within", "tau"] if design.levels == 3 else ["tau_between"]
    return {
        target: evidence - _evidence(_restrict(design, problem, (target,)), name)
        for target in targets
    }


def _tested_coefficients(design: Design) -> list[str]:
    """Return what a Bayes factor is for: coefficients, and terms of several.

    A sum-to-zero contrast of three or more levels is no hypothesis of anybody's; only its term is.
    """
    contrasts = {
        i
        for term in design.terms
        for i in term.columns
        if len(term.columns) > 1 and not any(variable.reference for variable in term.variables)
    }
    targets = [name for i, name in enumerate(design.coefficients) if i not in contrasts]
    targets += [name for name, columns in design.tested.items() if len(columns) > 1]
    return targets + ([MODERATORS] if len(design.factors) > 1 else [])
