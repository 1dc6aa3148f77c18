"""Maximise the log-likelihood over the variance components.

Newton's method with exact derivatives, Fisher scoring where the likelihood is not concave, and a
projection on ``tau2 >= 0``. The likelihood can have more than one maximum, and a general-purpose
optimiser stops short of zero at the boundary. So the search starts from several points, also fits
every model with components held at exactly zero, and keeps the best.

There are one or two components, so their arithmetic is in plain floats.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from reanalysis.frequentist.likelihood import Evaluation, Likelihood

__all__ = ["Optimum", "climb", "maximise"]

Vector = NDArray[np.float64]

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
        Likelihood at the end point, not always with derivatives.
    converged : bool
        Whether it is a stationary point, or a point of the boundary that no step improves.
    """

    evaluation: Evaluation
    converged: bool


def maximise(likelihood: Likelihood, *, free: Sequence[bool] | None = None) -> Optimum:
    """Return the best maximum over all starting points and all edges.

    Parameters
    ----------
    likelihood : Likelihood
        What to maximise.
    free : sequence of bool, optional
        Components to estimate; the others are held at zero. Default: all.

    Returns
    -------
    Optimum
        The best end point.
    """
    count = len(likelihood.structure.components)
    wanted = (True,) * count if free is None else tuple(bool(value) for value in free)
    total, floor = _moment_estimate(likelihood)
    starts = _starts(likelihood, wanted, total)
    best = climb(likelihood, starts[0], wanted, floor)
    assert best is not None  # only a rival makes a climb give up
    for start in starts[1:]:
        best = _better(best, climb(likelihood, start, wanted, floor, best))
    # The widest edges first, so that most climbs on the others can stop early.
    for edge in sorted(product((False, True), repeat=count), key=sum, reverse=True):
        if edge != wanted and all(w or not e for w, e in zip(wanted, edge, strict=True)):
            start = [sum(starts[0]) / max(sum(edge), 1) * chosen for chosen in edge]
            best = _better(best, climb(likelihood, start, edge, floor, best))
    return best


def climb(
    likelihood: Likelihood,
    start: Sequence[float],
    free: Sequence[bool],
    floor: float,
    rival: Optimum | None = None,
) -> Optimum | None:
    """Climb from one starting point.

    Parameters
    ----------
    likelihood : Likelihood
        What to maximise.
    start : sequence of float
        Variance components to start from.
    free : sequence of bool
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
    here, tau2 = likelihood.at(np.array(start), derivatives=any(free)), list(start)
    if not any(free):
        return Optimum(here, True)
    for _ in range(MAX_STEPS):
        gradient = here.gradient.tolist()
        moving = [i for i, t in enumerate(tau2) if free[i] and (t > 0 or gradient[i] > 0)]
        step, concave = _ascent(here, tau2, gradient, moving)
        if rival and concave and _hopeless(here, tau2, gradient, step, floor, rival.evaluation):
            return None
        last = concave and _is_small(step, tau2, STEP_TOLERANCE, floor)
        ahead = _line_search(likelihood, here, tau2, step, derivatives=not last)
        if last or ahead is None:
            # No rise left but rounding: the end if the step was small, a failure otherwise.
            end = here if ahead is None else ahead
            return Optimum(end, last or _is_small(step, tau2, 1e-3, floor))
        here, tau2 = ahead, ahead.tau2.tolist()
    return Optimum(here, False)


def _ascent(
    here: Evaluation, tau2: list[float], gradient: list[float], moving: list[int]
) -> tuple[list[float], bool]:
    """Return a step, and whether the likelihood is concave there so that it is Newton's."""
    step = [0.0] * len(tau2)
    for matrix, concave in ((-here.hessian, True), (here.information, False)):
        solved = _solve_positive(matrix.tolist(), gradient, moving)
        if solved is not None:
            for i, value in zip(moving, solved, strict=True):
                step[i] = value
            return step, concave
    for i in moving:
        step[i] = tau2[i] if gradient[i] > 0 else -tau2[i]
    return step, False


def _solve_positive(
    matrix: list[list[float]], target: list[float], chosen: list[int]
) -> list[float] | None:
    """Solve the chosen equations, or return None if their matrix is not positive definite."""
    if not chosen:
        return []
    if len(chosen) == 1:
        i = chosen[0]
        return [target[i] / matrix[i][i]] if matrix[i][i] > 0 else None
    (a, b), (_, d) = matrix
    determinant = a * d - b * b
    if a <= 0 or determinant <= 1e-14 * a * d:
        return None
    x, y = target
    return [(d * x - b * y) / determinant, (a * y - b * x) / determinant]


def _line_search(
    likelihood: Likelihood,
    here: Evaluation,
    tau2: list[float],
    step: list[float],
    *,
    derivatives: bool,
) -> Evaluation | None:
    """Return the first point along the projected step that does not lower the likelihood."""
    allowed = FLAT * (1 + abs(here.loglik))
    for halvings in range(40):
        length = 0.5**halvings
        point = [max(t + length * s, 0.0) for t, s in zip(tau2, step, strict=True)]
        ahead = likelihood.at(np.array(point), derivatives=derivatives)
        if ahead.loglik >= here.loglik - allowed:
            return ahead
    return None


def _is_small(step: Sequence[float], tau2: Sequence[float], tolerance: float, floor: float) -> bool:
    pairs = zip(step, tau2, strict=True)
    return all(abs(change) <= tolerance * (value + floor) for change, value in pairs)


def _better(best: Optimum, end: Optimum | None) -> Optimum:
    """Return the higher of two end points, the first unless the gain is more than rounding."""
    if end is None:
        return best
    gain = end.evaluation.loglik - best.evaluation.loglik
    return end if gain > FLAT * (1 + abs(best.evaluation.loglik)) else best


def _hopeless(
    here: Evaluation,
    tau2: list[float],
    gradient: list[float],
    step: list[float],
    floor: float,
    rival: Evaluation,
) -> bool:
    """Whether a climb is on the rival's hill, or so near its own top that it stays below."""
    if here.loglik > rival.loglik:
        return False
    top = rival.tau2.tolist()
    if _is_small([a - b for a, b in zip(tau2, top, strict=True)], top, SAME, floor):
        return True
    # Half of gradient'step is what the quadratic approximation promises; ten times that is ample
    # where the approximation holds, that is where the step is short.
    promised = 5.0 * sum(g * s for g, s in zip(gradient, step, strict=True))
    return _is_small(step, tau2, 0.5, floor) and here.loglik + promised < rival.loglik


def _moment_estimate(likelihood: Likelihood) -> tuple[float, float]:
    """Return a rough total heterogeneity, and the size of a negligible one."""
    residual = likelihood.yi - (likelihood.basis @ likelihood.yi) @ likelihood.basis
    spread = float(residual @ residual) / (likelihood.k - likelihood.p)
    vi = likelihood.structure.vi
    typical = float(np.median(vi))
    return max(spread - float(np.mean(vi)), 0.1 * typical), 1e-3 * typical


def _starts(likelihood: Likelihood, wanted: Sequence[bool], total: float) -> list[list[float]]:
    """Return the peaks of a coarse grid of variance components, highest first."""
    if not any(wanted):
        return [[0.0] * len(wanted)]
    if all(wanted) and len(wanted) > 1:
        splits = [[share, 1 - share] for share in SHARES]
    else:
        splits = [[float(chosen) for chosen in wanted]]
    grid = {
        (i, j): [scale * total * share for share in split]
        for i, split in enumerate(splits)
        for j, scale in enumerate(SCALES)
    }
    height = {at: likelihood.at(np.array(point)).loglik for at, point in grid.items()}
    peaks = [
        (i, j)
        for i, j in grid
        if all(
            height[i, j] >= height.get((i + di, j + dj), -np.inf)
            for di in (-1, 0, 1)
            for dj in (-1, 0, 1)
        )
    ]
    return [grid[peak] for peak in sorted(peaks, key=lambda peak: -height[peak])]
