"""Prediction intervals: where the mean of a new sample, or a new single effect, would lie.

Higgins, Thompson & Spiegelhalter (2009, JRSS A 172, 137-159) for two levels; with three levels a
new sample varies by ``tau_between`` and a new effect also by ``tau_within``.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from reanalysis.design import Design
from reanalysis.frequentist.distributions import interval
from reanalysis.frequentist.wald import containment_df
from reanalysis.results import FrequentistFit
from reanalysis.spec import ModelSpec

__all__ = ["predict_new", "prediction_table"]

Vector = NDArray[np.float64]


def predict_new(design: Design, spec: ModelSpec, fit: FrequentistFit, x: ArrayLike) -> pd.DataFrame:
    """Return the expected effect at given moderator values, with prediction intervals.

    Parameters
    ----------
    design : Design
        The arrays of the model.
    spec : ModelSpec
        The model; not read, but every function here takes it.
    fit : FrequentistFit
        The fit of that design and model.
    x : array_like of shape (p,)
        One row of the design matrix, in the order of ``fit.coefficients``.

    Returns
    -------
    pandas.DataFrame
        As `prediction_table`.

    Raises
    ------
    ValueError
        If `x` does not have one value per coefficient.
    """
    point = np.asarray(x, dtype=float)
    if point.shape != fit.coef.shape:
        raise ValueError(
            f"x has {point.size} values; the model has {fit.coef.size} coefficients: "
            f"{', '.join(fit.coefficients)}."
        )
    df = np.min(containment_df(design))
    return prediction_table(
        float(point @ fit.coef),
        float(np.sqrt(point @ fit.vcov @ point)),
        (fit.tau2_between, fit.tau2_within),
        {"Wald z": np.inf, "t(residual)": design.k - fit.coef.size, "t(containment)": df},
    )


def prediction_table(
    value: float, se: float, tau2: tuple[float, float], kinds: dict[str, float]
) -> pd.DataFrame:
    """Return confidence and prediction intervals around one expected effect.

    Parameters
    ----------
    value, se : float
        Expected effect and its standard error.
    tau2 : tuple of float
        Variance between samples and within them.
    kinds : dict of str to float
        Kind of interval and its degrees of freedom (infinite for z).

    Returns
    -------
    pandas.DataFrame
        Columns ``target`` (``mean``, ``new_sample``, ``new_effect``), ``interval``, ``value``,
        ``sd``, ``df``, ``lower``, ``upper`` (95 %).
    """
    spread = {"mean": 0.0, "new_sample": tau2[0], "new_effect": tau2[0] + tau2[1]}
    rows = []
    for target, variance in spread.items():
        sd = float(np.sqrt(se**2 + variance))
        for kind, df in kinds.items():
            lower, upper = interval(value, sd, df)
            rows.append((target, kind, value, sd, float(df), float(lower), float(upper)))
    return pd.DataFrame(rows, columns=["target", "interval", "value", "sd", "df", "lower", "upper"])
