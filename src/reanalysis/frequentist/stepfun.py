"""The likelihood of a step-function selection model, with exact derivatives.

An effect with p-value in bin b is published with probability proportional to ``weights[b]``
(Hedges 1992, Statistical Science 7, 246-255; Vevea & Hedges 1995, Psychometrika 60, 419-435).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = ["Alternative", "StepEvaluation", "StepLikelihood", "make_step_likelihood"]

Vector = NDArray[np.float64]
Alternative = Literal["greater", "less", "two-sided"]

LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True, eq=False)
class StepEvaluation:
    """The log-likelihood at one point, in the parameters (beta, tau2, weights[1:]).

    Attributes
    ----------
    loglik : float
        Log-likelihood.
    gradient : numpy.ndarray of shape (q,)
        First derivatives.
    hessian : numpy.ndarray of shape (q, q)
        Second derivatives.
    """

    loglik: float
    gradient: Vector
    hessian: Vector


@dataclass(frozen=True, eq=False)
class StepLikelihood:
    """Effects with their bins.

    Attributes
    ----------
    yi, vi : numpy.ndarray of shape (k,)
        Effects and sampling variances.
    X : numpy.ndarray of shape (k, p)
        Design matrix.
    bins : numpy.ndarray of int, shape (k,)
        Bin of each effect's p-value, 0 = most significant.
    counts : numpy.ndarray of int, shape (b,)
        Effects per bin.
    tails : tuple of (cuts, sign)
        For each tail that counts as significant, the effect sizes (k, b-1) at which the p-value
        equals a step, and +1 for an upper or -1 for a lower tail.
    """

    yi: Vector
    vi: Vector
    X: Vector
    bins: NDArray[np.intp]
    counts: NDArray[np.intp]
    tails: tuple[tuple[Vector, float], ...]

    def at(self, beta: Vector, tau2: float, weights: Vector) -> StepEvaluation:
        """Evaluate the log-likelihood with first and second derivatives.

        Parameters
        ----------
        beta : numpy.ndarray of shape (p,)
            Coefficients.
        tau2 : float
            Heterogeneity variance.
        weights : numpy.ndarray of shape (b,)
            Relative publication probabilities; the first is 1.

        Returns
        -------
        StepEvaluation
            Log-likelihood, gradient and Hessian.
        """
        k, p, b = len(self.yi), self.X.shape[1], len(weights)
        mean, s2 = self.X @ beta, tau2 + self.vi
        residual = self.yi - mean
        # Derivatives of the normal log density by the mean (m) and by tau2 (t).
        f_m, f_t = residual / s2, 0.5 * (residual**2 / s2 - 1) / s2
        f_mm, f_mt, f_tt = -1 / s2, -residual / s2**2, (0.5 - residual**2 / s2) / s2**2
        # Probability of a p-value below each step, and its derivatives: (k, b - 1) each.
        below = [np.zeros((k, b - 1)) for _ in range(6)]
        for cuts, sign in self.tails:
            s = np.sqrt(s2)[:, None]
            u = sign * (mean[:, None] - cuts) / s
            phi = np.exp(-0.5 * (u * u + LOG_2PI))
            for total, term in zip(
                below,
                (
                    special.ndtr(u),
                    sign * phi / s,
                    -0.5 * u * phi / s**2,
                    -u * phi / s**2,
                    0.5 * sign * phi * (u * u - 1) / s**3,
                    0.25 * u * phi * (3 - u * u) / s**4,
                ),
                strict=True,
            ):
                total += term
        steps = weights[:-1] - weights[1:]
        S, m, t, mm, mt, tt = below
        norm = weights[-1] + S @ steps
        q = p + 1 + (b - 1)
        # Gradient of the normaliser, one row per effect, and of the log-likelihood terms.
        edge = np.ones((k, 1))
        shares = np.diff(np.hstack([S, edge]), axis=1)
        d = np.hstack([(m @ steps)[:, None] * self.X, (t @ steps)[:, None], shares]) / norm[:, None]
        gradient = np.concatenate(
            [self.X.T @ f_m, [np.sum(f_t)], self.counts[1:] * _inverse(weights)]
        )
        gradient -= np.sum(d, axis=0)
        hessian = d.T @ d
        second_mm = f_mm - (mm @ steps) / norm
        second_mt = f_mt - (mt @ steps) / norm
        hessian[:p, :p] += (self.X * second_mm[:, None]).T @ self.X
        hessian[:p, p] += self.X.T @ second_mt
        hessian[p, p] += np.sum(f_tt - (tt @ steps) / norm)
        zero = np.zeros((k, 1))
        m_share = np.diff(np.hstack([m, zero]), axis=1) / norm[:, None]
        t_share = np.diff(np.hstack([t, zero]), axis=1) / norm[:, None]
        hessian[:p, p + 1 :] -= self.X.T @ m_share
        hessian[p, p + 1 :] -= np.sum(t_share, axis=0)
        index = np.arange(p + 1, q)
        hessian[index, index] -= self.counts[1:] * _inverse(weights) ** 2
        hessian = np.triu(hessian) + np.triu(hessian, 1).T
        loglik = -0.5 * float(np.sum(LOG_2PI + np.log(s2) + residual**2 / s2))
        loglik += float(np.sum(special.xlogy(self.counts, weights)) - np.sum(np.log(norm)))
        return StepEvaluation(loglik, gradient, hessian)


def _inverse(weights: Vector) -> Vector:
    """Return ``1 / weights[1:]``, 0 for the weight 0 of an empty bin."""
    rest = weights[1:]
    return np.divide(1.0, rest, out=np.zeros_like(rest), where=rest > 0)


def make_step_likelihood(
    yi: Vector, vi: Vector, X: Vector, steps: tuple[float, ...], alternative: Alternative
) -> StepLikelihood:
    """Sort effects into bins of p-values.

    Parameters
    ----------
    yi, vi : numpy.ndarray of shape (k,)
        Effects and sampling variances.
    X : numpy.ndarray of shape (k, p)
        Design matrix.
    steps : tuple of float
        Ascending p-values in (0, 1) at which the weight may change; a bin includes its upper end.
    alternative : {"greater", "less", "two-sided"}
        Whose p-values.

    Returns
    -------
    StepLikelihood
        The effects with their bins.
    """
    sei = np.sqrt(vi)
    z = yi / sei
    edges = np.asarray(steps)
    if alternative == "two-sided":
        p = 2 * special.ndtr(-np.abs(z))
        cuts = -special.ndtri(edges / 2) * sei[:, None]
        tails: tuple[tuple[Vector, float], ...] = ((cuts, 1.0), (-cuts, -1.0))
    else:
        sign = 1.0 if alternative == "greater" else -1.0
        p = special.ndtr(-sign * z)
        tails = ((-sign * special.ndtri(edges) * sei[:, None], sign),)
    bins = np.searchsorted(edges, p, side="left").astype(np.intp)
    counts = np.bincount(bins, minlength=edges.size + 1).astype(np.intp)
    return StepLikelihood(yi, vi, X, bins, counts, tails)
