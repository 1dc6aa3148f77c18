"""Wald tests of the coefficients: z, t with residual and with containment degrees of freedom."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reanalysis.design import Design
from reanalysis.frequentist.distributions import interval, two_sided_p

__all__ = [
    "coefficient_tests",
    "containment_df",
    "tested_columns",
    "wald_chi2",
    "wald_rows",
]

Vector = NDArray[np.float64]


def containment_df(design: Design) -> Vector:
    """Return the containment degrees of freedom of each coefficient.

    A column of X that never varies within a sample is estimated from the m samples and has
    ``m - p`` degrees of freedom; one that does vary has ``k - p`` (Pinheiro & Bates 2000,
    section 2.4.2, counted as in metafor's ``dfs = "contain"``). With one row per sample all have
    ``k - p``.

    Parameters
    ----------
    design : Design
        The arrays of the model.

    Returns
    -------
    numpy.ndarray of shape (p,)
        Degrees of freedom, at least 1.

    Notes
    -----
    metafor recognises a sample-level column only if no two samples share a value of it, so that a
    dummy variable of a sample-level factor gets ``k - p`` there. Here it gets ``m - p``.
    """
    first = design.X[design.starts]
    varies = np.any(first[design.cluster] != design.X, axis=0)
    return np.maximum(np.where(varies, design.k, design.m) - design.p, 1).astype(float)


def tested_columns(design: Design) -> NDArray[np.intp]:
    """Return the columns of X that the omnibus test asks about: all but the intercept.

    Parameters
    ----------
    design : Design
        The arrays of the model.

    Returns
    -------
    numpy.ndarray of int
        Column numbers; all columns in a model with moderators but without an intercept.
    """
    if design.p == 1 and design.coefficients[0] == "mu":
        return np.empty(0, dtype=np.intp)
    return np.flatnonzero(np.ptp(design.X, axis=0) != 0)


def wald_chi2(coef: Vector, vcov: Vector, columns: Sequence[int] | NDArray[np.intp]) -> float:
    """Return the Wald statistic ``b' V^-1 b`` of some coefficients.

    Parameters
    ----------
    coef, vcov : numpy.ndarray of shape (p,) and (p, p)
        Coefficients and their covariance.
    columns : sequence of int
        Which coefficients.

    Returns
    -------
    float
        Chi-square statistic with ``len(columns)`` degrees of freedom.
    """
    chosen = np.asarray(columns, dtype=np.intp)
    part = coef[chosen]
    return float(part @ np.linalg.solve(vcov[np.ix_(chosen, chosen)], part))


def wald_rows(
    design: Design, label: str, coef: Vector, se: Vector, df: Vector | float
) -> pd.DataFrame:
    """Return one tidy row per coefficient: estimate, se, statistic, df, p, interval.

    Parameters
    ----------
    design : Design
        Names the coefficients.
    label : str
        Kind of test, for the column ``test``.
    coef, se : numpy.ndarray of shape (p,)
        Estimates and standard errors.
    df : numpy.ndarray of shape (p,) or float
        Degrees of freedom; infinite for z.

    Returns
    -------
    pandas.DataFrame
        Columns ``parameter``, ``test``, ``value``, ``se``, ``statistic``, ``df``, ``p``,
        ``lower``, ``upper`` (95 %).
    """
    lower, upper = interval(coef, se, df)
    with np.errstate(divide="ignore", invalid="ignore"):  # identical effects: se is 0
        statistic = coef / se
    return pd.DataFrame(
        {
            "parameter": design.coefficients,
            "test": label,
            "value": coef,
            "se": se,
            "statistic": statistic,
            "df": np.broadcast_to(np.asarray(df, dtype=float), coef.shape),
            "p": two_sided_p(statistic, df),
            "lower": lower,
            "upper": upper,
        }
    )


def coefficient_tests(design: Design, coef: Vector, vcov: Vector, rss: float) -> pd.DataFrame:
    """Return the Wald tests of every coefficient.

    Parameters
    ----------
    design : Design
        The arrays of the model.
    coef, vcov : numpy.ndarray of shape (p,) and (p, p)
        Coefficients and their covariance.
    rss : float
        Residual sum of squares weighted by the inverse covariance.

    Returns
    -------
    pandas.DataFrame
        Tidy rows for ``Wald z``, ``t(residual)`` with ``k - p`` and ``t(containment)``; with one
        row per sample also ``Knapp-Hartung``, whose standard errors are scaled by
        ``sqrt(rss / (k - p))`` (Knapp & Hartung 2003, Statistics in Medicine 22, 2693-2710).
    """
    se = np.sqrt(np.diagonal(vcov))
    kinds: tuple[tuple[str, Vector | float], ...] = (
        ("Wald z", np.inf),
        ("t(residual)", float(design.k - design.p)),
        ("t(containment)", containment_df(design)),
    )
    tables = [wald_rows(design, label, coef, se, df) for label, df in kinds]
    if design.k == design.m:
        scale = np.sqrt(rss / (design.k - design.p))
        tables.append(wald_rows(design, "Knapp-Hartung", coef, scale * se, design.k - design.p))
    return pd.concat(tables, ignore_index=True)
