"""Maximise the likelihood of a step-function selection model.

The likelihood can have several maxima: a large mean with weak selection and a small mean with
strong selection often fit about as well. So Newton's method, on log weights, starts from a grid
of means and heterogeneities, and the model without heterogeneity is fitted as well.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from reanalysis.frequentist.stepfun import StepEvaluation, StepLikelihood

__all__ = ["StepOptimum", "maximise_steps"]

Vector = NDArray[np.float64]

TOLERANCE = 1e-12  # of the rise that the next Newton step promises; that step is still taken
FLAT = 1e-12  # smallest relative fall of the log-likelihood that is not rounding
MAX_STEPS = 200
LONGEST = 2.0  # longest step of a log weight
MEANS = (1.0, 0.5, 0.0)  # times the unselected coefficients, for the starting points
VARIANCES = (1.0, 0.1, 4.0)  # times the unselected tau2, or a tenth of the typical variance


@dataclass(frozen=True, eq=False)
class StepOptimum:
    """A maximum of the likelihood.

    Attributes
    ----------
    beta : numpy.ndarray of shape (p,)
        Coefficients.
    tau2 : float
        Heterogeneity variance.
    weights : numpy.ndarray of shape (b,)
        Relative publication probabilities; the first is 1, that of an empty bin 0.
    evaluation : StepEvaluation
        Likelihood and derivatives there.
    converged : bool
        Whether it is a stationary point or a boundary.
    """

    beta: Vector
    tau2: float
    weights: Vector
    evaluation: StepEvaluation
    converged: bool

    @property
    def loglik(self) -> float:
        """Log-likelihood."""
        return self.evaluation.loglik

    def standard_errors(self) -> Vector:
        """Return standard errors of (beta, tau2, weights[1:]), NaN where not defined.

        They come from the observed information of the parameters inside the parameter space; a
        parameter on the boundary is held there.
        """
        inside = np.concatenate(
            [np.ones(len(self.beta), bool), [self.tau2 > 0], self.weights[1:] > 0]
        )
        information = -self.evaluation.hessian[np.ix_(inside, inside)]
        se = np.full(inside.size, np.nan)
        if np.all(np.linalg.eigvalsh(information) > 0):
            se[inside] = np.sqrt(np.diagonal(np.linalg.inv(information)))
        return se


def maximise_steps(
    data: StepLikelihood, beta: Vector, tau2: float, *, homogeneous: bool = False
) -> StepOptimum:
    """Return the best maximum over a grid of starting points.

    Parameters
    ----------
    data : StepLikelihood
        The effects with their bins.
    beta : numpy.ndarray of shape (p,)
        Coefficients of the model without selection, to start from.
    tau2 : float
        Its heterogeneity variance.
    homogeneous : bool, default False
        Hold ``tau2`` at zero.

    Returns
    -------
    StepOptimum
        The best end point.
    """
    typical = max(tau2, 0.1 * float(np.median(data.vi)))
    variances = (0.0,) if homogeneous else tuple(typical * scale for scale in VARIANCES)
    ends = [
        _climb(data, scale * beta, variance, fixed=homogeneous)
        for scale, variance in product(MEANS, variances)
    ]
    return max(ends, key=lambda end: end.loglik)


def _climb(data: StepLikelihood, beta: Vector, tau2: float, *, fixed: bool) -> StepOptimum:
    """Climb from one starting point with all weights of used bins at 1."""
    # The likelihood falls in the weight of an empty bin, so its maximum is at zero.
    weights = np.where(data.counts > 0, 1.0, 0.0)
    p, used = len(beta), data.counts[1:] > 0
    here = data.at(beta, tau2, weights)
    for _ in range(MAX_STEPS):
        gradient, hessian = _on_log_weights(here, weights[1:], p)
        moves_tau2 = not fixed and (tau2 > 0 or gradient[p] > 0)
        free = np.concatenate([np.ones(p, bool), [moves_tau2], used])
        step = np.zeros(free.size)
        step[free] = _newton(gradient[free], hessian[np.ix_(free, free)])
        promise = float(gradient @ step)
        longest = float(np.max(np.abs(step[p + 1 :]), initial=0.0))
        length = min(1.0, LONGEST / longest) if longest > 0 else 1.0
        for _ in range(40):
            ahead_beta = beta + length * step[:p]
            ahead_tau2 = max(0.0, tau2 + length * float(step[p]))
            ahead_weights = np.concatenate([[1.0], weights[1:] * np.exp(length * step[p + 1 :])])
            ahead = data.at(ahead_beta, ahead_tau2, ahead_weights)
            if ahead.loglik >= here.loglik - FLAT * (1 + abs(here.loglik)):
                break
            length /= 2
        else:
            return StepOptimum(beta, tau2, weights, here, promise < 1e-6)
        beta, tau2, weights, here = ahead_beta, ahead_tau2, ahead_weights, ahead
        left_behind = not fixed and tau2 == 0 and here.gradient[p] > 0
        if promise < TOLERANCE and not left_behind:
            return StepOptimum(beta, tau2, weights, here, True)
    return StepOptimum(beta, tau2, weights, here, False)


def _on_log_weights(here: StepEvaluation, weights: Vector, p: int) -> tuple[Vector, Vector]:
    """Return gradient and Hessian with respect to (beta, tau2, log weights)."""
    scale = np.concatenate([np.ones(p + 1), weights])
    gradient = here.gradient * scale
    curvature = np.concatenate([np.zeros(p + 1), gradient[p + 1 :]])
    return gradient, here.hessian * np.outer(scale, scale) + np.diag(curvature)


def _newton(gradient: Vector, hessian: Vector) -> Vector:
    """Return an ascent step: Newton's, with the curvature made negative where it is not."""
    size = np.sqrt(np.maximum(np.abs(np.diagonal(hessian)), 1e-12))
    values, vectors = np.linalg.eigh(-hessian / np.outer(size, size))
    bounded = np.maximum(np.abs(values), 1e-8)
    return vectors @ ((vectors.T @ (gradient / size)) / bounded) / size
