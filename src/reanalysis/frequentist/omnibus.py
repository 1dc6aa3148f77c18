"""Omnibus tests of moderators, and the adjustment for testing several.

Each moderator's coefficients are tested together: the Wald chi-square QM, its F version with
containment degrees of freedom, and the cluster-robust HTZ test.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from reanalysis.design import Design
from reanalysis.frequentist.distributions import chi2_sf, f_sf
from reanalysis.frequentist.wald import containment_df, tested_columns, wald_chi2

__all__ = ["adjust_p_values", "omnibus_tests"]

Vector = NDArray[np.float64]


def omnibus_tests(design: Design, coef: Vector, vcov: Vector) -> pd.DataFrame:
    """Return the omnibus test of all moderators together and of each.

    Parameters
    ----------
    design : Design
        The arrays of the model; its `factors` name the columns of each moderator.
    coef, vcov : numpy.ndarray of shape (p,) and (p, p)
        Coefficients and their covariance.

    Returns
    -------
    pandas.DataFrame
        One row per test: ``moderator`` (``all``, then each term where there are several, and each
        moderator that was split in two),
        ``qm``, ``df``, ``p``, ``f``, ``df1``, ``df2`` (the smallest containment df of the
        coefficients tested), ``f_p``. Empty without moderators.
    """
    columns = tested_columns(design)
    groups: dict[str, NDArray[np.intp]] = {"all": columns} if columns.size else {}
    if len(design.factors) > 1:
        groups |= {name: np.asarray(c, dtype=np.intp) for name, c in design.tested.items()}
    df2 = containment_df(design)
    rows = []
    for name, chosen in groups.items():
        qm, count = wald_chi2(coef, vcov, chosen), len(chosen)
        smallest = float(np.min(df2[chosen]))
        f_p = f_sf(qm / count, count, smallest)
        rows.append((name, qm, count, chi2_sf(qm, count), qm / count, count, smallest, f_p))
    names = ["moderator", "qm", "df", "p", "f", "df1", "df2", "f_p"]
    return pd.DataFrame(rows, columns=names)


def adjust_p_values(p: ArrayLike) -> pd.DataFrame:
    """Adjust p-values for multiple testing.

    Parameters
    ----------
    p : array_like of shape (n,)
        Unadjusted p-values, each in [0, 1].

    Returns
    -------
    pandas.DataFrame
        In the same order: ``p``, ``bonferroni`` (``min(1, n p)``) and ``holm`` (Holm 1979,
        Scandinavian Journal of Statistics 6, 65-70).

    Raises
    ------
    ValueError
        If a p-value is outside [0, 1].

    Examples
    --------
    >>> adjust_p_values([0.01, 0.04, 0.03])
          p  bonferroni  holm
    0  0.01        0.03  0.03
    1  0.04        0.12  0.06
    2  0.03        0.09  0.06
    """
    values = np.asarray(p, dtype=float)
    if np.any(~((values >= 0) & (values <= 1))):
        raise ValueError(f"p-values must lie in [0, 1]; got {values.tolist()}.")
    n = values.size
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(np.minimum(1.0, (n - np.arange(n)) * values[order]))
    holm = np.empty(n)
    holm[order] = stepped
    return pd.DataFrame({"p": values, "bonferroni": np.minimum(1.0, n * values), "holm": holm})
