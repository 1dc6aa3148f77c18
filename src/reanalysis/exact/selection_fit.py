"""Integrating a selection posterior twice: by quadrature and by importance sampling.

Neither is believed alone. A quadrature whose box or nodes are wrong still gives a number that
looks right; importance sampling shows it, and its diagnostics show when it fails itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reanalysis.exact.selection_grid import Box, SelectionGrid, evaluate_selection_grid
from reanalysis.exact.selection_sampling import ImportanceSample, sample_importance
from reanalysis.exact.selection_target import Target
from reanalysis.results import EngineError
from reanalysis.selection import NormaliserError

__all__ = ["CrossCheck", "Integral", "integrate_target"]

Vector = NDArray[np.float64]

# Nodes per axis, from the first grid to the last, so that no axis errs much more than another.
# The last two are for weights alone: models that the data speak against put them close to zero.
ORDERS: Mapping[str, tuple[int, ...]] = {
    "beta": (11, 13, 18, 26, 36, 50, 36, 36),
    "tau": (10, 13, 16, 21, 30, 48, 30, 30),
    "angle": (6, 7, 9, 11, 16, 24, 16, 16),
    "bias": (22, 28, 36, 48, 66, 90, 66, 66),
}
OMEGA_ORDERS: Mapping[int, tuple[int, ...]] = {
    1: (6, 7, 9, 12, 20, 34, 60, 100),
    2: (5, 6, 8, 10, 17, 28, 45, 70),
    3: (5, 6, 7, 9, 12, 18, 26, 36),
}
LEVELS = 8
MOST_WEIGHTS = 3  # free weights on a tensor grid
MOST_COEFFICIENTS = 2
LARGEST_TABLE = 30_000_000
# On refining the grid; the finer of two is better than their difference by an order of magnitude.
EVIDENCE_TOLERANCE = 5e-3  # nats
CLOSED_TOLERANCE = 1e-3  # where nothing is integrated within samples, which is cheap
MEAN_TOLERANCE = 1e-2  # posterior standard deviations
DROP = 12.5  # nats below the peak that the box holds
EDGE = -9.0  # nats below the peak that an artificial edge must be
MOST_PARETO_K = 0.7
MOST_STANDARD_ERROR = 0.03
DISAGREEMENT = 5.0  # standard errors of the importance sampler
SLACK = 0.01  # nats that always pass: a Bayes factor to one per cent


@dataclass(frozen=True)
class CrossCheck:
    """The same log marginal likelihood from two independent methods.

    Attributes
    ----------
    quadrature, importance : float
        Log marginal likelihoods.
    refinement : float
        Change of the quadrature from its previous grid.
    standard_error : float
        Of the importance sampler.
    pareto_k : float
        Of its weights.
    effective : float
        Its effective number of draws.
    nodes : int
        Size of the final grid.
    """

    quadrature: float
    importance: float
    refinement: float
    standard_error: float
    pareto_k: float
    effective: float
    nodes: int

    @property
    def difference(self) -> float:
        """Quadrature minus importance sampling, in nats."""
        return self.quadrature - self.importance

    @property
    def agrees(self) -> bool:
        """Whether the difference is within the error of the importance sampler."""
        return abs(self.difference) <= max(DISAGREEMENT * self.standard_error, SLACK)


@dataclass(frozen=True, eq=False)
class Integral:
    """A posterior that two methods agree on.

    Attributes
    ----------
    target : Target
        What was integrated.
    fine, coarse : SelectionGrid
        The last two grids.
    sample : ImportanceSample
        The independent check.
    check : CrossCheck
        How well they agree.
    """

    target: Target
    fine: SelectionGrid
    coarse: SelectionGrid
    sample: ImportanceSample
    check: CrossCheck


def integrate_target(target: Target, *, seed: int = 2021) -> Integral:
    """Integrate a posterior by quadrature and by importance sampling.

    Parameters
    ----------
    target : Target
        The posterior; at least one free coordinate.
    seed : int
        Seed of the random shifts.

    Returns
    -------
    Integral
        Grids, draws and their agreement.

    Raises
    ------
    EngineError
        If a method does not reach its tolerance or the two disagree.
    """
    if target.weights.dimension > MOST_WEIGHTS or len(target.problem.columns) > MOST_COEFFICIENTS:
        raise EngineError(
            f"the exact engine integrates at most {MOST_COEFFICIENTS} coefficients and "
            f"{MOST_WEIGHTS} free weights of a selection model; this one has "
            f"{len(target.problem.columns)} and {target.weights.dimension}"
        )
    rng = np.random.default_rng(seed)
    try:
        sample = _sample(target, rng, 1)
        coarse, fine = _refine(target, sample)
        check = _compare(coarse, fine, sample)
        if not check.agrees:
            # Eight lattices sometimes underestimate their error; more points settle it.
            sample = _sample(target, rng, 6)
            check = _compare(coarse, fine, sample)
    except NormaliserError as error:
        raise EngineError(str(error)) from error
    if not check.agrees:
        raise EngineError(
            f"quadrature and importance sampling disagree on the log marginal likelihood: "
            f"{check.quadrature:.4f} against {check.importance:.4f} "
            f"(standard error {check.standard_error:.4f})"
        )
    return Integral(target, fine, coarse, sample, check)


def _compare(coarse: SelectionGrid, fine: SelectionGrid, sample: ImportanceSample) -> CrossCheck:
    return CrossCheck(
        quadrature=fine.log_marginal_likelihood,
        importance=sample.log_marginal_likelihood,
        refinement=fine.log_marginal_likelihood - coarse.log_marginal_likelihood,
        standard_error=sample.standard_error,
        pareto_k=sample.pareto_k,
        effective=sample.effective,
        nodes=fine.density.size,
    )


def _sample(target: Target, rng: np.random.Generator, times: int) -> ImportanceSample:
    start, scale = _start(target)
    size = times * (384 if _closed_form(target) else 256)
    for attempt in range(3):
        sample = sample_importance(target, start, scale, rng, size=size * 4**attempt)
        if sample.pareto_k <= MOST_PARETO_K and sample.standard_error < MOST_STANDARD_ERROR:
            return sample
    raise EngineError(
        f"importance sampling of the selection model failed: Pareto k {sample.pareto_k:.2f}, "
        f"standard error {sample.standard_error:.3f} of the log marginal likelihood"
    )


def _closed_form(target: Target) -> bool:
    data = target.data
    alone = data.primary is not None or (data.mechanism != "replace" and not data.multiple.widths)
    return data.mechanism == "none" or alone


def _start(target: Target) -> tuple[Vector, Vector]:
    """Return a rough centre and spread in unconstrained coordinates."""
    layout, problem = target.layout, target.problem
    centre, scale = np.zeros(target.dimension), np.full(target.dimension, 1.2)
    columns = list(problem.columns)
    spread = np.sqrt(target.data.vi + (2 * problem.scale) ** 2)
    design = target.X[:, columns] / spread[:, None]
    information = design.T @ design + np.diag(problem.prior_sd[columns] ** -2)
    score = design.T @ (target.data.yi / spread) + problem.prior_mean[columns] / (
        problem.prior_sd[columns] ** 2
    )
    centre[layout["beta"]] = np.linalg.solve(information, score)
    scale[layout["beta"]] = 2 * np.sqrt(np.diag(np.linalg.inv(information)))
    a, b = np.asarray(target.weights.a), np.asarray(target.weights.b)
    root = np.sqrt(a / (a + b))
    centre[layout["omega"]] = np.log(root / (1 - root))
    return centre, scale


def _refine(target: Target, sample: ImportanceSample) -> tuple[SelectionGrid, SelectionGrid]:
    """Return the first two successive grids that agree."""
    keep = sample.log_density > sample.log_density.max() - DROP
    coarse = _first_grid(target, Box.around(target, sample.points, sample.weights, keep))
    before, gap, moved = coarse, np.inf, np.inf
    tolerance = CLOSED_TOLERANCE if _closed_form(target) else EVIDENCE_TOLERANCE
    for level in range(_first_level(target) + 1, LEVELS):
        orders = _orders(target, level)
        if np.prod(orders) > LARGEST_TABLE:
            break
        fine = evaluate_selection_grid(target, coarse.box, orders)
        gap = abs(fine.log_marginal_likelihood - coarse.log_marginal_likelihood)
        mean, sd = fine.moments()
        moved = float(np.max(np.abs(mean - coarse.moments()[0]) / sd))
        if gap < tolerance and moved < MEAN_TOLERANCE:
            return coarse, fine
        before, coarse = coarse, fine
    # The finest grid will do where what is cheap for most targets needs more than there is.
    if gap < EVIDENCE_TOLERANCE and moved < MEAN_TOLERANCE:
        return before, coarse
    raise EngineError(
        f"the quadrature did not settle: on the finest grid the log marginal likelihood still "
        f"changes by {gap:.1e} and a mean by {moved:.1e} posterior standard deviations"
    )


def _first_grid(target: Target, box: Box) -> SelectionGrid:
    """Return a coarse grid, its box widened until nothing is cut off."""
    for _ in range(12):
        grid = evaluate_selection_grid(target, box, _orders(target, _first_level(target)))
        cut = grid.edges > EDGE
        if not cut.any():
            return grid
        box = box.widened(cut, target.limits)
    raise EngineError(
        f"the posterior has no end: its density at the edge of the box is still "
        f"e^{grid.edges.max():.0f} of the peak"
    )


def _first_level(target: Target) -> int:
    """Return where to start in the table of orders: higher where likelihoods are cheap."""
    if target.bias_prior is not None:
        # The mean is narrow given the bias coefficient, so its axis needs more nodes.
        return 2 if target.problem.heterogeneity == "both" else 3
    return int(_closed_form(target))


def _orders(target: Target, level: int) -> list[int]:
    taus = target.layout["tau"]
    free = target.weights.dimension
    orders = [ORDERS["beta"][level]] * len(target.problem.columns)
    orders += [ORDERS["tau"][level], ORDERS["angle"][level]][: taus.stop - taus.start]
    orders += [ORDERS["bias"][level]] * (target.bias_prior is not None)
    return orders + ([OMEGA_ORDERS[free][level]] * free if free else [])
