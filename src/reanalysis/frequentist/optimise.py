"""Maximise the log-likelihood over the variance components.

Newton's method with exact derivatives, Fisher scoring where the likelihood is not concave, and a
projection on ``tau2 >= 0``. The likelihood can have more than one maximum, and a general-purpose
optimiser stops short of zero at the boundary. So the search starts from several points, also fits
every model with components held at exactly zero, and keeps the best.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from reanalysis.frequentist.likelihood import Evaluation, Likelihood

__all__ = ["Optimum", "maximise", "maximise_from"]

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]

STEP_TOLERANCE = 1e-9  # Newton converges quadratically: the step after this one is below 1e-15
FLAT = 1e-12  # smallest relative fall of the log-likelihood that is not rounding
MAX_STEPS = 100
SHARES = (0.95, 0.5, 0.05)  # of the first component in the total, for the starting points
SCALES = (0.1, 1.0, 10.0)  # times the moment estimate of the total


@dataclass(frozen=True, eq=False)
class Optimum:
    """Where a search ended.

    Attributes
    ----------
    evaluation : Evaluation
        Likelihood with derivatives at the end point.
    converged : bool
        Whether the last step was below the tolerance.
    """

    evaluation: Evaluation
    converged: bool


def maximise(likelihood: Likelihood, *, free: Mask | None = None) -> Optimum:
    """Return the global maximum among all starting points and all edges.

    Parameters
    ----------
    likelihood : Likelihood
        What to maximise.
    free : numpy.ndarray of bool, shape (c,), optional
        Components to estimate; the others are held at zero. Default: all.

    Returns
    -------
    Optimum
        The best end point.
    """
    count = len(likelihood.structure.components)
    wanted = np.ones(count, dtype=bool) if free is None else free
    total, floor = _moment_estimate(likelihood)
    best: Optimum | None = None
    # The widest model first; its edges then mostly confirm that they are lower.
    for chosen in sorted(product((False, True), repeat=count), key=sum, reverse=True):
        mask = np.array(chosen, dtype=bool)
        if np.any(mask & ~wanted):
            continue
        found: list[Optimum] = []
        for start in _starts(likelihood, mask, total):
            end = maximise_from(likelihood, start, mask, floor, known=found)
            if end is not None:
                found.append(end)
        for end in found:
            gain = 0.0 if best is None else end.evaluation.loglik - best.evaluation.loglik
            if best is None or gain > FLAT * (1 + abs(best.evaluation.loglik)):
                best = end
    assert best is not None
    return best


def maximise_from(
    likelihood: Likelihood,
    start: Vector,
    free: Mask,
    floor: float,
    known: list[Optimum] | None = None,
) -> Optimum | None:
    """Climb from one starting point.

    Parameters
    ----------
    likelihood : Likelihood
        What to maximise.
    start : numpy.ndarray of shape (c,)
        Variance components to start from.
    free : numpy.ndarray of bool, shape (c,)
        Components that may move.
    floor : float
        Size of a negligible variance; a component below it may be zero.
    known : list of Optimum, optional
        End points found before; a climb that runs into one of them is abandoned.

    Returns
    -------
    Optimum or None
        The end point, or None if it is a known one.
    """
    here = likelihood.at(start, derivatives=True)
    for _ in range(MAX_STEPS):
        if known and any(_close(here, end.evaluation, floor) for end in known):
            return None
        moving = free & ~((here.tau2 <= 0) & (here.gradient <= 0))
        if not np.any(moving):
            return Optimum(here, True)
        step = np.zeros_like(here.tau2)
        step[moving] = _ascent(here, moving)
        ahead = _line_search(likelihood, here, step)
        if ahead is None:
            return Optimum(here, _is_small(step, here.tau2, 1e3 * STEP_TOLERANCE, floor))
        moved = ahead.tau2 - here.tau2
        here = ahead
        if _is_small(moved, here.tau2, STEP_TOLERANCE, floor):
            stuck = free & (here.tau2 <= 0) & (here.gradient > 0)
            if not np.any(stuck):
                return Optimum(here, True)
    return Optimum(here, False)


def _ascent(here: Evaluation, moving: Mask) -> Vector:
    """Return the Newton step, or the Fisher-scoring step where Newton's would not ascend."""
    index = np.ix_(moving, moving)
    gradient = here.gradient[moving]
    for matrix in (-here.hessian[index], here.information[index]):
        if np.all(np.linalg.eigvalsh(matrix) > 0):
            return np.linalg.solve(matrix, gradient)
    return gradient * here.tau2[moving] ** 2


def _line_search(likelihood: Likelihood, here: Evaluation, step: Vector) -> Evaluation | None:
    """Return the first point along the projected step that does not lower the likelihood."""
    allowed = FLAT * (1 + abs(here.loglik))
    for halvings in range(40):
        tau2 = np.maximum(here.tau2 + step * 0.5**halvings, 0.0)
        ahead = likelihood.at(tau2, derivatives=True)
        if ahead.loglik >= here.loglik - allowed:
            return ahead
    return None


def _is_small(step: Vector, tau2: Vector, tolerance: float, floor: float) -> bool:
    return bool(np.all(np.abs(step) <= tolerance * (tau2 + floor)))


def _close(here: Evaluation, end: Evaluation, floor: float) -> bool:
    """Whether a climb has come so near to a known end point that it will end there too."""
    near = np.abs(here.tau2 - end.tau2) <= 1e-3 * (end.tau2 + floor)
    return bool(np.all(near) and here.loglik <= end.loglik)


def _moment_estimate(likelihood: Likelihood) -> tuple[float, float]:
    """Return a rough total heterogeneity, and the size of a negligible one."""
    residual = likelihood.yi - (likelihood.basis @ likelihood.yi) @ likelihood.basis
    spread = float(residual @ residual) / (likelihood.k - likelihood.p)
    vi = likelihood.structure.vi
    typical = float(np.median(vi))
    return max(spread - float(np.mean(vi)), 0.1 * typical), 1e-3 * typical


def _starts(likelihood: Likelihood, mask: Mask, total: float) -> list[Vector]:
    """Return starting points for the components in the mask: the best scale of each split."""
    free = np.flatnonzero(mask)
    if free.size == 0:
        return [np.zeros(mask.size)]
    splits = [np.ones(1)] if free.size == 1 else [np.array([s, 1 - s]) for s in SHARES]
    starts = []
    for split in splits:
        points = []
        for scale in SCALES:
            tau2 = np.zeros(mask.size)
            tau2[free] = scale * total * split
            points.append(likelihood.at(tau2))
        starts.append(max(points, key=lambda point: point.loglik))
    starts.sort(key=lambda point: point.loglik, reverse=True)
    return [point.tau2 for point in starts]
