"""Cluster-robust standard errors and small-sample tests: CR0, CR1, CR2.

The sandwich estimator needs only that samples are independent; the working covariance may be
wrong. CR2 with Satterthwaite degrees of freedom keeps its level with few samples (Bell &
McCaffrey 2002; Tipton 2015; Pustejovsky & Tipton 2018, Journal of Business & Economic Statistics
36, 672-683). With a sampling correlation in the model this is the CHE working model of
Pustejovsky & Tipton (2022, Prevention Science 23, 425-438).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reanalysis.design import Design
from reanalysis.frequentist.covariance import make_covariance
from reanalysis.frequentist.distributions import f_sf
from reanalysis.frequentist.likelihood import Likelihood
from reanalysis.frequentist.wald import tested_columns, wald_chi2, wald_rows
from reanalysis.frequentist.working import fitted_likelihood
from reanalysis.results import EngineError, FrequentistFit
from reanalysis.spec import ModelSpec

__all__ = ["RobustFit", "fit_robust", "robust_fit"]

Vector = NDArray[np.float64]
Kind = Literal["CR0", "CR1", "CR1p", "CR2"]

SINGULAR = 1e-10  # relative eigenvalue below which a direction carries no information


@dataclass(frozen=True, eq=False)
class RobustFit:
    """Cluster-robust inference for the coefficients of a fit.

    Attributes
    ----------
    kind : str
        ``CR0``; ``CR1`` (times m/(m-1)); ``CR1p`` (times m/(m-p)); ``CR2`` (bias-reduced).
    vcov : numpy.ndarray of shape (p, p)
        Robust covariance of the coefficients.
    df : numpy.ndarray of shape (p,)
        Satterthwaite degrees of freedom.
    tests : pandas.DataFrame
        One row per coefficient, as in ``FrequentistFit.tables["tests"]``.
    f, f_df1, f_df2, f_p : float or None
        Omnibus test of the moderators: the approximate Hotelling T-squared test (HTZ) of
        Pustejovsky & Tipton (2018); None without moderators.
    """

    kind: Kind
    vcov: Vector
    df: Vector
    tests: pd.DataFrame
    f: float | None = None
    f_df1: int | None = None
    f_df2: float | None = None
    f_p: float | None = None

    def _repr_html_(self) -> str:
        return self.tests._repr_html_()  # type: ignore[operator]


def fit_robust(
    design: Design, spec: ModelSpec, fit: FrequentistFit, *, kind: Kind = "CR2"
) -> RobustFit:
    """Return cluster-robust tests of a fitted model, clustered by sample.

    Parameters
    ----------
    design : Design
        The arrays of the model.
    spec : ModelSpec
        The model.
    fit : FrequentistFit
        The fit of that design and model.
    kind : {"CR0", "CR1", "CR1p", "CR2"}, default "CR2"
        Small-sample correction of the sandwich.

    Returns
    -------
    RobustFit
        Covariance, Satterthwaite degrees of freedom, t tests and the omnibus F test.
    """
    work, likelihood, tau2 = fitted_likelihood(design, spec, fit)
    return robust_fit(work, likelihood, tau2, kind)


def robust_fit(design: Design, likelihood: Likelihood, tau2: Vector, kind: Kind) -> RobustFit:
    """Return cluster-robust tests for given variance components.

    Parameters
    ----------
    design : Design
        The arrays of the model.
    likelihood : Likelihood
        The likelihood of that design.
    tau2 : numpy.ndarray of shape (c,)
        Variance components of the working covariance.
    kind : str
        Small-sample correction.

    Returns
    -------
    RobustFit
        Covariance, Satterthwaite degrees of freedom, t tests and the omnibus F test.

    Raises
    ------
    EngineError
        If there are not more samples than coefficients.
    """
    if design.m <= design.p:
        raise EngineError(
            f"cluster-robust tests need more samples than coefficients; there are {design.m} "
            f"samples and {design.p} coefficients."
        )
    evaluation = likelihood.at(tau2)
    coef, vcov = likelihood.coefficients(evaluation)
    # Each row's pull on the coefficients, (k, p), and the working covariance times it.
    pull, covered = _pulls(design, likelihood, tau2, vcov, kind)
    sums = likelihood.structure.cluster_sums
    residual = design.yi - design.X @ coef
    scores = sums(pull.T * residual)
    robust = scores @ scores.T
    own = sums(np.einsum("ks,kt->stk", pull, covered))
    reach = sums(np.einsum("kx,ks->xsk", design.X, pull))
    moments = _Moments(own, reach, vcov)
    df = np.array([moments.satterthwaite(s) for s in range(design.p)])
    tests = wald_rows(design, kind, coef, np.sqrt(np.diagonal(robust)), df)
    columns = tested_columns(design)
    if columns.size == 0:
        return RobustFit(kind, robust, df, tests)
    eta = moments.hotelling_df(columns)
    q = columns.size
    df2 = eta - q + 1
    f = df2 / (eta * q) * wald_chi2(coef, robust, columns)
    return RobustFit(kind, robust, df, tests, f, q, df2, f_sf(f, q, df2) if df2 > 0 else None)


def _pulls(
    design: Design, likelihood: Likelihood, tau2: Vector, vcov: Vector, kind: Kind
) -> tuple[Vector, Vector]:
    """Return ``A W X M`` and ``S A W X M``, with S the covariance, W its inverse, M the vcov.

    A is a multiple of the identity except for CR2, where it makes the expected square of each
    sample's score right under the working model (Pustejovsky & Tipton 2018, eq. 8).
    """
    structure = likelihood.structure
    m, p = len(structure.starts), design.p
    bread = make_covariance(structure, tau2).solve(design.X.T).T @ vcov
    if kind != "CR2":
        factor = {"CR0": 1.0, "CR1": m / (m - 1), "CR1p": m / (m - p) if m > p else np.inf}[kind]
        return np.sqrt(factor) * bread, np.sqrt(factor) * (design.X @ vcov)
    pull, covered = np.empty_like(bread), np.empty_like(bread)
    for rows, blocks in structure.blocks(tau2):
        X = design.X[rows]
        lower = np.linalg.cholesky(blocks)
        upper = lower.transpose(0, 2, 1)
        left_out = blocks - X @ vcov @ X.transpose(0, 2, 1)
        values, vectors = np.linalg.eigh(upper @ left_out @ lower)
        kept = values > SINGULAR * values[:, -1:]
        roots = np.where(kept, 1.0 / np.sqrt(np.where(kept, values, 1.0)), 0.0)
        root = (vectors * roots[:, None, :]) @ vectors.transpose(0, 2, 1)
        pull[rows] = lower @ (root @ (upper @ bread[rows]))
        covered[rows] = blocks @ pull[rows]
    return pull, covered


@dataclass(frozen=True, eq=False)
class _Moments:
    """Moments of the robust covariance under the working model.

    For coefficients s and t and samples i and j, write
    ``P_ij = delta_ij own_i[s, t] - reach_i[:, s]' M reach_j[:, t]``, the covariance of the two
    samples' scores. Every sum over pairs of samples then splits into sums over samples.
    """

    own: Vector  # (p, p, m)
    reach: Vector  # (x, p, m)
    M: Vector  # (x, x)

    def satterthwaite(self, s: int) -> float:
        """Return ``(sum P_ii)^2 / sum P_ij^2`` of one coefficient."""
        expected = self._expected(s, s)
        variance = self._covariance(s, s)
        # A coefficient that rests on one cluster has no robust variance, and so no degrees of
        # freedom: its tests are not defined.
        return float(2.0 * expected**2 / variance) if variance > 0 else float("nan")

    def hotelling_df(self, columns: NDArray[np.intp]) -> float:
        """Return the degrees of freedom of the approximate Hotelling test (HTZ)."""
        omega = np.array([[self._expected(s, t) for t in columns] for s in columns])
        values, vectors = np.linalg.eigh(omega)
        turn = np.zeros((self.own.shape[0], columns.size))
        turn[columns] = vectors / np.sqrt(values)
        turned = _Moments(
            own=np.einsum("as,abm,bt->stm", turn, self.own, turn),
            reach=np.einsum("xam,as->xsm", self.reach, turn),
            M=self.M,
        )
        q = columns.size
        total = sum(turned._covariance(s, t) for s in range(q) for t in range(q))
        return float(q * (q + 1) / total)

    def _expected(self, s: int, t: int) -> float:
        projected = np.einsum("xm,xy,ym->m", self.reach[:, s], self.M, self.reach[:, t])
        return float(np.sum(self.own[s, t] - projected))

    def _covariance(self, s: int, t: int) -> float:
        """Return ``sum_ij (P_ij[s, s] P_ij[t, t] + P_ij[s, t] P_ij[t, s])``."""
        zs, zt, M = self.reach[:, s], self.reach[:, t], self.M
        ss, tt, st = self.own[s, s], self.own[t, t], self.own[s, t]
        by_s, by_t = M @ zs, M @ zt
        K = zs @ zt.T
        left, right = M @ K, M @ K.T
        plain = ss @ tt - ss @ np.sum(zt * by_t, axis=0) - tt @ np.sum(zs * by_s, axis=0)
        crossed = st @ st - 2.0 * (st @ np.sum(zs * by_t, axis=0))
        return float(plain + crossed + np.sum(left * right.T) + np.sum(right * right.T))
