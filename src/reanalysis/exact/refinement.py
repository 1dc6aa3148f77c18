"""Evaluate the posterior of a normal model on ever finer grids, until two of them agree."""

import numpy as np

from reanalysis.design import Design, resolve_priors
from reanalysis.exact.evaluation import evaluate_grid, find_box
from reanalysis.exact.grid import Grid
from reanalysis.exact.problem import Problem
from reanalysis.exact.side import side_parameters
from reanalysis.marginal import Statistics
from reanalysis.moderators import COMMON_SCALE, shrunk_columns
from reanalysis.results import EngineError
from reanalysis.spec import ModelSpec

__all__ = [
    "LOG_EVIDENCE_TOLERANCE",
    "MEAN_TOLERANCE",
    "ORDERS_1D",
    "ORDERS_2D",
    "PROBABILITY_TOLERANCE",
    "make_problem",
    "refine",
    "refined_grids",
]

ORDERS_2D = ((24, 14), (40, 20), (60, 44), (100, 84), (160, 140))
ORDERS_1D = ((32, 1), (48, 1), (80, 1), (160, 1), (400, 1))
SCALE_ORDERS = (12, 18, 27, 40, 60)  # nodes of a common scale, beside each of the above
LOG_EVIDENCE_TOLERANCE = 1e-4  # nats: a Bayes factor to a hundredth of a percent
MEAN_TOLERANCE = 1e-4  # posterior standard deviations
PROBABILITY_TOLERANCE = 1e-5  # a bound; quantiles are off by a fifth of it at most


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
    return refine(make_problem(design, spec), spec.name)


def refine(problem: Problem, name: str, *, moments: bool = True) -> tuple[Grid, Grid]:
    """Return the first pair of successive grids that agree.

    Parameters
    ----------
    problem : Problem
        The integral; with heterogeneity.
    name : str
        Name of the model, for the error.
    moments : bool
        False leaves the coefficients out, for an evidence alone.

    Returns
    -------
    coarse, fine : Grid
        The finer one is the answer, their difference its error.

    Raises
    ------
    EngineError
        If the finest grids still differ by more than the tolerance.
    """
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
