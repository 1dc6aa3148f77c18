"""Cochran's Q and I2 in both definitions.

The two definitions differ, and papers seldom say which they print. The *variance-ratio* I2 is
``tau2 / (tau2 + s2)`` with the typical sampling variance ``s2`` of Higgins & Thompson (2002,
Statistics in Medicine 21, 1539-1558, eq. 9), here for several rows per sample with
``s2 = (k - p) / tr(P)`` and ``P`` the residual projection weighted by the inverse sampling
covariance; it splits over the levels. The *Q-based* I2 is ``(Q - df) / Q``.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reanalysis.frequentist.covariance import make_covariance
from reanalysis.frequentist.distributions import chi2_sf
from reanalysis.frequentist.likelihood import Likelihood

__all__ = ["Heterogeneity", "describe_heterogeneity"]


@dataclass(frozen=True)
class Heterogeneity:
    """Q and I2 of one fit.

    Attributes
    ----------
    q, q_df, q_p : float, int, float
        Cochran's Q (weighted by the inverse sampling covariance), degrees of freedom, p-value.
    typical_variance : float
        Typical sampling variance of one row.
    total, between, within : float
        Variance-ratio I2, percent.
    q_based : float
        ``max(0, (Q - df) / Q)``, percent.
    """

    q: float
    q_df: int
    q_p: float
    typical_variance: float
    total: float
    between: float
    within: float
    q_based: float

    @property
    def table(self) -> pd.DataFrame:
        """Every figure with the formula it follows."""
        ratio = "tau2 / (sum of tau2 + typical sampling variance)"
        rows = [
            ("Q", self.q, "sum of squared residuals weighted by the inverse sampling covariance"),
            ("Q df", self.q_df, "k - p"),
            ("Q p", self.q_p, "chi-square, upper tail"),
            ("typical sampling variance", self.typical_variance, "(k - p) / tr(P)"),
            ("I2 total", self.total, f"{ratio}, percent"),
            ("I2 between samples", self.between, f"{ratio}, percent"),
            ("I2 within samples", self.within, f"{ratio}, percent"),
            ("I2 from Q", self.q_based, "max(0, (Q - df) / Q), percent"),
        ]
        return pd.DataFrame(rows, columns=["quantity", "value", "formula"])


def describe_heterogeneity(likelihood: Likelihood, tau2: NDArray[np.float64]) -> Heterogeneity:
    """Return Q and I2 for given variance components.

    Parameters
    ----------
    likelihood : Likelihood
        The fitted model.
    tau2 : numpy.ndarray of shape (c,)
        Variance components in the order of its structure.

    Returns
    -------
    Heterogeneity
        Q and I2.
    """
    none = np.zeros_like(tau2)
    homogeneous = likelihood.at(none)
    q, df = homogeneous.rss, likelihood.k - likelihood.p
    covariance = make_covariance(likelihood.structure, none)
    wx = covariance.solve(likelihood.basis)
    # tr(P) with P = W - W X (X'WX)^-1 X'W.
    trace = covariance.diagonal().sum() - (homogeneous.inverse * (wx @ wx.T)).sum()
    typical = df / float(trace)
    total = float(np.sum(tau2)) + typical
    shares = dict(zip(likelihood.structure.components, 100 * tau2 / total, strict=True))
    return Heterogeneity(
        q=q,
        q_df=df,
        q_p=chi2_sf(q, df),
        typical_variance=typical,
        total=float(sum(shares.values())),
        between=float(shares["tau_between"]),
        within=float(shares.get("tau_within", 0.0)),
        q_based=100 * max(0.0, (q - df) / q) if q > 0 else 0.0,
    )
