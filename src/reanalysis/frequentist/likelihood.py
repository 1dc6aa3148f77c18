"""The restricted and the full log-likelihood with exact first and second derivatives.

The coefficients are profiled out, so that only the variance components remain. All derivatives
are cluster sums (Lindstrom & Bates 1988, JASA 83, 1014-1022; Jennrich & Schluchter 1986,
Biometrics 42, 805-820): one evaluation costs O(k p), never a k x k matrix.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from reanalysis.design import Design
from reanalysis.frequentist.covariance import Covariance, make_covariance
from reanalysis.frequentist.structure import Structure, make_structure
from reanalysis.results import EngineError

__all__ = ["Evaluation", "Likelihood", "make_likelihood"]

Vector = NDArray[np.float64]
Method = Literal["REML", "ML"]

LOG_2PI = float(np.log(2 * np.pi))
NONE: Vector = np.empty(0)
IDENTIFIED = 1e-9  # relative size of an information that is not rounding
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
    gamma, inverse : numpy.ndarray of shape (p,) and (p, p)
        Generalised least-squares coefficients of the orthonormal basis, and their covariance.
    rss : float
        Residual sum of squares weighted by the inverse covariance.
    gradient : numpy.ndarray of shape (c,)
        First derivatives with respect to the variance components; empty if not asked for.
    hessian, information : numpy.ndarray of shape (c, c)
        Second derivatives, and their negative expectation; empty if not asked for.
    """

    tau2: Vector
    loglik: float
    gamma: Vector
    inverse: Vector
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
    rows : numpy.ndarray of shape (p + 2, k)
        An orthonormal basis of the columns of X, then `yi`, then ones. With this basis the
        restricted likelihood has no ``log|X'X|`` term, and badly scaled moderators cost no digits.
    back : numpy.ndarray of shape (p, p)
        Turns coefficients of the basis into those of X: ``X @ back`` is the basis.
    method : str
        ``REML`` or ``ML``.
    """

    structure: Structure
    yi: Vector
    rows: Vector
    back: Vector
    method: Method

    @property
    def k(self) -> int:
        """Number of rows."""
        return len(self.yi)

    @property
    def p(self) -> int:
        """Number of coefficients."""
        return len(self.back)

    @property
    def basis(self) -> Vector:
        """Orthonormal basis of the columns of X, shape (p, k)."""
        return self.rows[: self.p]

    def coefficients(self, evaluation: Evaluation) -> tuple[Vector, Vector]:
        """Return the coefficients of X, shape (p,), and their covariance, shape (p, p)."""
        return self.back @ evaluation.gamma, self.back @ evaluation.inverse @ self.back.T

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
        covariance = make_covariance(self.structure, tau2)
        p = self.p
        solved = covariance.solve(self.rows if derivatives else self.rows[: p + 1])
        wx = solved[:p]
        # One product gives X'WX and X'Wy, and in its last row y'WX and y'Wy.
        gram = solved[: p + 1] @ self.rows[: p + 1].T
        inverse, logdet = _invert(gram[:p, :p])
        gamma = inverse @ gram[:p, p]
        e = solved[p] - gamma @ wx
        rss = float((self.yi - gamma @ self.basis) @ e)
        loglik = -0.5 * (self.k * LOG_2PI + covariance.logdet + rss)
        if self.method == "REML":
            loglik += 0.5 * (p * LOG_2PI - logdet)
        if not derivatives:
            return Evaluation(tau2, loglik, gamma, inverse, rss, NONE, NONE, NONE)
        solved[p] = e  # from here on W (y - X b) takes the place of W y
        derived = self._derivatives(covariance, solved, inverse)
        return Evaluation(tau2, loglik, gamma, inverse, rss, *derived)

    def _derivatives(
        self, covariance: Covariance, solved: Vector, inverse: Vector
    ) -> tuple[Vector, Vector, Vector]:
        """Return gradient, Hessian and expected information.

        Write S_i for the derivative of the covariance by component i, W for its inverse, A for
        X'WX and P = W - W X A^-1 X' W. Then the gradient is (e'S_i e - tr(P S_i)) / 2, the
        expected information tr(P S_i P S_j) / 2, and the Hessian is the information minus
        e'S_i P S_j e, with e = P y. ML has W for P in the traces. The rows of `solved` are W X, e
        and W 1.
        """
        s, p = self.structure, self.p
        c = len(s.components)
        outer = np.empty((c, p, p))  # X'W S_i W X
        middle = np.empty((c, c, p, p))  # X'W S_i W S_j W X
        trace, square = np.empty(c), np.empty(c)  # tr(W S_i), e'S_i e
        traces, forms = np.empty((c, c)), np.empty((c, c))  # tr(W S_i W S_j), e'S_i W S_j e
        cross = np.empty((c, p))  # X'W S_i e
        both, w1 = solved[: p + 1], solved[p + 1]
        if s.shared is not None:
            b = s.shared
            every = s.cluster_sums(solved)
            sums, ones = every[: p + 1], every[p + 1]
            q, f = sums[:p], sums[p]
            products = sums @ sums.T
            outer[b], cross[b], square[b] = products[:p, :p], products[:p, p], products[p, p]
            weighted = (sums * ones) @ sums.T
            middle[b, b], forms[b, b] = weighted[:p, :p], weighted[p, p]
            trace[b], traces[b, b] = ones.sum(), ones @ ones
        if s.own is not None:
            w = s.own
            scaled = s.shares * both
            products = scaled @ both.T
            outer[w], cross[w], square[w] = products[:p, :p], products[:p, p], products[p, p]
            weighted = scaled @ covariance.solve(scaled).T
            middle[w, w], forms[w, w] = weighted[:p, :p], weighted[p, p]
            trace[w] = s.shares @ covariance.diagonal()
            traces[w, w] = covariance.weighted_norm(s.shares)
            if s.shared is not None:
                mixed = s.cluster_sums(scaled * w1)
                traces[b, w] = traces[w, b] = s.shares @ (w1 * w1)
                forms[b, w] = forms[w, b] = f @ mixed[p]
                middle[b, w] = q @ mixed[:p].T
                middle[w, b] = middle[b, w].T
        if self.method == "REML":
            left = inverse @ outer
            trace -= outer.reshape(c, -1) @ inverse.ravel()
            traces -= 2.0 * (middle.reshape(c, c, -1) @ inverse.ravel())
            traces += left.reshape(c, -1) @ left.transpose(0, 2, 1).reshape(c, -1).T
        information = 0.5 * traces
        forms -= cross @ inverse @ cross.T
        return 0.5 * (square - trace), information - forms, information


def _invert(a: Vector) -> tuple[Vector, float]:
    """Return the inverse of a positive definite matrix and its log determinant."""
    if len(a) == 1:
        # The most common case: LAPACK's wrappers would take a third of a small evaluation.
        value = a.item()
        return np.array([[1.0 / value]]), math.log(value)
    factor = np.linalg.cholesky(a)
    return np.linalg.inv(a), 2.0 * float(np.log(np.diagonal(factor)).sum())


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
        If there are not more rows than coefficients, the columns of X are collinear, or the
        variance components cannot be told apart.
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
    likelihood = Likelihood(
        structure=make_structure(design, rho),
        yi=design.yi,
        rows=np.vstack([basis.T, design.yi, np.ones(design.k)]),
        back=np.linalg.inv(triangle),
        method=method,
    )
    _check_identified(likelihood, design)
    return likelihood


def _check_identified(likelihood: Likelihood, design: Design) -> None:
    """Refuse variance components that the residuals cannot determine.

    What is left of X's column space must show differences between samples, and differences within
    them that are not proportional to those. Whether it does, does not depend on the variances, so
    the restricted information of unit variances tells.
    """
    if design.p < design.m < design.k - design.p or likelihood.structure.shared is None:
        return  # by the ranks of the two derivative matrices
    k = design.k
    unit = replace(likelihood.structure, vi=np.ones(k), rho=np.zeros(k), given=())
    plain = replace(likelihood, structure=unit, method="REML")
    components = unit.components
    information = plain.at(np.zeros(len(components)), derivatives=True).information
    if information[0, 0] <= IDENTIFIED * k:
        raise EngineError(
            f"the coefficients absorb every difference between the {design.m} samples, so "
            "tau_between cannot be estimated; use fewer moderators."
        )
    if len(components) > 1 and np.linalg.det(information) <= IDENTIFIED * np.prod(
        np.diagonal(information)
    ):
        raise EngineError(
            "tau_between and tau_within cannot be told apart in these data; fit a model with "
            "levels = 2."
        )
