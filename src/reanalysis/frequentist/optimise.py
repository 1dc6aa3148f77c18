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

__all__ = ["Optimum", "climb", "maximise"]

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]

STEP_TOLERANCE = 1e-6  # Newton converges quadratically: the error after such a step is near 1e-12
FLAT = 1e-12  # smallest relative fall of the log-likelihood that is not rounding
MAX_STEPS = 100
SAME = 0.1  # two climbs this close (relative) are on the same hill
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
        Whether it is a stationary point, or a point of the boundary that no step improves.
    """

    evaluation: Evaluation
    converged: bool


def maximise(likelihood: Likelihood, *, free: Mask | None = None) -> Optimum:
    """Return the best maximum over all starting points and all edges.

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
    # The widest model first: most climbs on its edges can then stop early.
    for chosen in sorted(product((False, True), repeat=count), key=sum, reverse=True):
        mask = np.array(chosen, dtype=bool)
        if np.any(mask & ~wanted):
            continue
        for start in _starts(likelihood, mask, total):
            end = climb(likelihood, start, mask, floor, best)
            if end is not None and (best is None or _higher(end, best)):
                best = end
    assert best is not None
    return best


def climb(
    likelihood: Likelihood, start: Vector, free: Mask, floor: float, rival: Optimum | None = None
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
    rival : Optimum, optional
        The best end point so far.

    Returns
    -------
    Optimum or None
        The end point, or None once it is clear that the climb ends at or below the rival.
    """
    here = likelihood.at(start, derivatives=True)
    for _ in range(MAX_STEPS):
        moving = free & ((here.tau2 > 0) | (here.gradient > 0))
        step, concave = np.zeros_like(here.tau2), True
        if np.any(moving):
            step[moving], concave = _ascent(here, moving)
        if rival is not None and concave and _hopeless(here, step, floor, rival.evaluation):
            return None
        if not np.any(moving):
            return Optimum(here, True)
        ahead = _line_search(likelihood, here, step)
        if ahead is None:
            # Rounding hides any further rise: fine if the step was tiny, a failure otherwise.
            return Optimum(here, _is_small(step, here.tau2, 1e-3, floor))
        moved, here = ahead.tau2 - here.tau2, ahead
        if _is_small(moved, here.tau2, STEP_TOLERANCE, floor):
            left_behind = free & (here.tau2 <= 0) & (here.gradient > 0)
            if not np.any(left_behind):
                return Optimum(here, True)
    return Optimum(here, False)


def _ascent(here: Evaluation, moving: Mask) -> tuple[Vector, bool]:
    """Return a step, and whether the likelihood is concave there so that it is Newton's."""
    index = np.ix_(moving, moving)
    gradient = here.gradient[moving]
    for matrix, concave in ((-here.hessian[index], True), (here.information[index], False)):
        try:
            np.linalg.cholesky(matrix)
        except np.linalg.LinAlgError:
            continue
        return np.linalg.solve(matrix, gradient), concave
    return np.sign(gradient) * here.tau2[moving], False


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


def _higher(end: Optimum, best: Optimum) -> bool:
    gain = end.evaluation.loglik - best.evaluation.loglik
    return gain > FLAT * (1 + abs(best.evaluation.loglik))


def _hopeless(here: Evaluation, step: Vector, floor: float, rival: Evaluation) -> bool:
    """Whether a climb is on the rival's hill, or so near its own top that it stays below."""
    if here.loglik > rival.loglik:
        return False
    if _is_small(here.tau2 - rival.tau2, rival.tau2, SAME, floor):
        return True
    # Half of gradient'step is what the quadratic approximation promises; ten times that is ample
    # where the approximation holds, that is where the step is short.
    promised = 5.0 * float(here.gradient @ step)
    return _is_small(step, here.tau2, 0.5, floor) and here.loglik + promised < rival.loglik


def _moment_estimate(likelihood: Likelihood) -> tuple[float, float]:
    """Return a rough total heterogeneity, and the size of a negligible one."""
    residual = likelihood.yi - (likelihood.basis @ likelihood.yi) @ likelihood.basis
    spread = float(residual @ residual) / (likelihood.k - likelihood.p)
    vi = likelihood.structure.vi
    typical = float(np.median(vi))
    return max(spread - float(np.mean(vi)), 0.1 * typical), 1e-3 * typical


def _starts(likelihood: Likelihood, mask: Mask, total: float) -> list[Vector]:
    """Return the peaks of a coarse grid of variance components, highest first."""
    free = np.flatnonzero(mask)
    if free.size == 0:
        return [np.zeros(mask.size)]
    splits = [np.ones(1)] if free.size == 1 else [np.array([s, 1 - s]) for s in SHARES]
    grid = np.full((len(splits) + 2, len(SCALES) + 2), -np.inf)
    points: dict[tuple[int, int], Vector] = {}
    for i, split in enumerate(splits, start=1):
        for j, scale in enumerate(SCALES, start=1):
            tau2 = np.zeros(mask.size)
            tau2[free] = scale * total * split
            points[i, j] = tau2
            grid[i, j] = likelihood.at(tau2).loglik
    peaks = [(i, j) for i, j in points if grid[i, j] >= np.max(grid[i - 1 : i + 2, j - 1 : j + 2])]
    return [points[peak] for peak in sorted(peaks, key=lambda peak: -grid[peak])]
