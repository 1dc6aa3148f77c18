"""The restricted and the full log-likelihood with exact first and second derivatives.

The coefficients are profiled out, so that only the variance components remain. All derivatives
are cluster sums (Lindstrom & Bates 1988, JASA 83, 1014-1022; Jennrich & Schluchter 1986,
Biometrics 42, 805-820): one evaluation costs O(k p), never a k x k matrix.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from reanalysis.design import Design
from reanalysis.frequentist.covariance import Covariance, Structure, make_structure
from reanalysis.results import EngineError

__all__ = ["Evaluation", "Likelihood", "make_likelihood"]

Vector = NDArray[np.float64]
Method = Literal["REML", "ML"]

LOG_2PI = float(np.log(2 * np.pi))
RANK_TOLERANCE = 1e-10  # relative to the column's own length, after its predecessors are removed


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The log-likelihood at one value of the variance components.

    Attributes
    ----------
    tau2 : numpy.ndarray of shape (c,)
        The variance components.
    loglik : float
        Restricted (REML) or full (ML) log-likelihood.
    coef, vcov : numpy.ndarray of shape (p,) and (p, p)
        Generalised least-squares coefficients and their covariance.
    rss : float
        Residual sum of squares weighted by the inverse covariance.
    gradient : numpy.ndarray of shape (c,)
        First derivatives with respect to the variance components; empty if not asked for.
    hessian, information : numpy.ndarray of shape (c, c)
        Second derivatives, and their negative expectation; empty if not asked for.
    """

    tau2: Vector
    loglik: float
    coef: Vector
    vcov: Vector
    rss: float
    gradient: Vector
    hessian: Vector
    information: Vector


@dataclass(frozen=True, eq=False)
class Likelihood:
    """A design made ready for repeated evaluation.

    Attributes
    ----------
    structure : Structure
        Covariance blocks.
    yi : numpy.ndarray of shape (k,)
        Effect-size estimates.
    basis : numpy.ndarray of shape (p, k)
        Orthonormal basis of the columns of X, as rows. With it the restricted likelihood has no
        ``log|X'X|`` term, and badly scaled moderators cost no digits.
    triangle : numpy.ndarray of shape (p, p)
        ``X = basis' @ triangle``.
    method : str
        ``REML`` or ``ML``.
    """

    structure: Structure
    yi: Vector
    basis: Vector
    triangle: Vector
    method: Method

    @property
    def k(self) -> int:
        """Number of rows."""
        return len(self.yi)

    @property
    def p(self) -> int:
        """Number of coefficients."""
        return len(self.basis)

    def at(self, tau2: Vector, *, derivatives: bool = False) -> Evaluation:
        """Evaluate the log-likelihood.

        Parameters
        ----------
        tau2 : numpy.ndarray of shape (c,)
            Variance components, each 0 or more.
        derivatives : bool, default False
            Also return gradient, Hessian and expected information.

        Returns
        -------
        Evaluation
            Everything at this point.
        """
        covariance = self.structure.covariance(tau2)
        p = self.p
        stacked = np.vstack([self.basis, self.yi, np.ones(self.k)]) if derivatives else None
        solved = covariance.solve(np.vstack([self.basis, self.yi]) if stacked is None else stacked)
        wx, wy = solved[:p], solved[p]
        a = wx @ self.basis.T
        factor = np.linalg.cholesky(a)
        inverse = np.linalg.inv(a)
        gamma = inverse @ (wx @ self.yi)
        residual = self.yi - gamma @ self.basis
        e = wy - gamma @ wx
        rss = float(residual @ e)
        loglik = -0.5 * (self.k * LOG_2PI + covariance.logdet + rss)
        if self.method == "REML":
            loglik += 0.5 * p * LOG_2PI - float(np.sum(np.log(np.diagonal(factor))))
        back = np.linalg.inv(self.triangle)
        coef, vcov = back @ gamma, back @ inverse @ back.T
        if stacked is None:
            empty = np.empty(0)
            return Evaluation(tau2, loglik, coef, vcov, rss, empty, empty, empty)
        gradient, hessian, information = self._derivatives(
            covariance, wx, solved[p + 1], e, inverse
        )
        return Evaluation(tau2, loglik, coef, vcov, rss, gradient, hessian, information)

    def _derivatives(
        self, covariance: Covariance, wx: Vector, w1: Vector, e: Vector, inverse: Vector
    ) -> tuple[Vector, Vector, Vector]:
        """Return gradient, Hessian and expected information.

        Write S_i for the derivative of the covariance by component i, W for its inverse, A for
        X'WX and P = W - W X A^-1 X' W. Then the gradient is (e'S_i e - tr(P S_i)) / 2, the
        expected information tr(P S_i P S_j) / 2, and the Hessian is the information minus
        e'S_i P S_j e. ML has W for P in the traces.
        """
        s = self.structure
        c = len(s.components)
        outer: list[Vector] = [np.empty(0)] * c  # X'W S_i W X
        trace = np.empty(c)  # tr(W S_i)
        traces = np.empty((c, c))  # tr(W S_i W S_j)
        middle = np.empty((c, c, self.p, self.p))  # X'W S_i W S_j W X
        cross: list[Vector] = [np.empty(0)] * c  # X'W S_i e
        square = np.empty(c)  # e'S_i e
        forms = np.empty((c, c))  # e'S_i W S_j e
        if s.shared is not None:
            b = s.shared
            sums = s.cluster_sums(np.vstack([wx, w1, e]))
            q, ones, f = sums[:-2], sums[-2], sums[-1]
            outer[b], cross[b] = q @ q.T, q @ f
            trace[b], square[b] = np.sum(ones), f @ f
            traces[b, b], forms[b, b] = ones @ ones, (f * f) @ ones
            middle[b, b] = (q * ones) @ q.T
        if s.own is not None:
            w = s.own
            weighted = s.shares * np.vstack([wx, e])
            solved = covariance.solve(weighted)
            outer[w], cross[w] = weighted[:-1] @ wx.T, wx @ weighted[-1]
            trace[w], square[w] = s.shares @ covariance.diagonal(), weighted[-1] @ e
            traces[w, w] = covariance.weighted_norm(s.shares)
            forms[w, w] = weighted[-1] @ solved[-1]
            middle[w, w] = weighted[:-1] @ solved[:-1].T
            if s.shared is not None:
                mixed = s.cluster_sums(weighted * w1)
                traces[b, w] = traces[w, b] = np.sum(s.shares * w1 * w1)
                forms[b, w] = forms[w, b] = f @ mixed[-1]
                middle[b, w] = q @ mixed[:-1].T
                middle[w, b] = middle[b, w].T
        gradient, information = np.empty(c), np.empty((c, c))
        for i in range(c):
            gradient[i] = 0.5 * (square[i] - trace[i])
            if self.method == "REML":
                gradient[i] += 0.5 * np.sum(inverse * outer[i])
            for j in range(c):
                information[i, j] = traces[i, j]
                if self.method == "REML":
                    information[i, j] -= 2.0 * np.sum(inverse * middle[i, j])
                    information[i, j] += np.sum((inverse @ outer[i]) * (inverse @ outer[j]).T)
                forms[i, j] -= cross[i] @ inverse @ cross[j]
        information *= 0.5
        return gradient, information - forms, information


def make_likelihood(design: Design, rho: float, method: Method) -> Likelihood:
    """Return the likelihood of a design.

    Parameters
    ----------
    design : Design
        The arrays of the model.
    rho : float
        Correlation of sampling errors within a sample.
    method : str
        ``REML`` or ``ML``.

    Returns
    -------
    Likelihood
        Ready for evaluation.

    Raises
    ------
    EngineError
        If there are not more rows than coefficients, or the columns of X are collinear.
    """
    if design.k <= design.p:
        raise EngineError(
            f"{design.k} rows cannot determine {design.p} coefficients and a variance; "
            "use fewer moderators."
        )
    basis, triangle = np.linalg.qr(design.X)
    lengths = np.linalg.norm(design.X, axis=0)
    weak = np.abs(np.diagonal(triangle)) <= RANK_TOLERANCE * lengths
    if np.any(weak):
        names = ", ".join(np.asarray(design.coefficients)[weak])
        raise EngineError(
            f"the coefficients {names} are a linear combination of the ones before them; "
            "drop a moderator or merge its levels."
        )
    return Likelihood(
        structure=make_structure(design, rho),
        yi=design.yi,
        basis=np.ascontiguousarray(basis.T),
        triangle=triangle,
        method=method,
    )
