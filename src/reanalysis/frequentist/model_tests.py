"""Tests of whole models: likelihood ratios of the variance components, information criteria."""

import numpy as np
import pandas as pd

from reanalysis.frequentist.distributions import chi2_sf
from reanalysis.frequentist.likelihood import Evaluation, Likelihood
from reanalysis.frequentist.optimise import maximise

__all__ = ["component_tests", "information_criteria"]


def component_tests(likelihood: Likelihood, best: Evaluation) -> pd.DataFrame:
    """Return likelihood-ratio tests of each variance component against zero.

    Parameters
    ----------
    likelihood : Likelihood
        The fitted likelihood; restricted likelihoods are comparable, as both models have the
        same coefficients.
    best : Evaluation
        Its maximum.

    Returns
    -------
    pandas.DataFrame
        One row per component: ``component``, ``loglik`` without it, ``lrt``, ``df``, ``p`` from
        chi-square with 1 df (conservative, as metafor prints it), and ``p_mixture`` from the
        50:50 mixture of chi-square with 0 and 1 df that holds on the boundary (Self & Liang
        1987, Journal of the American Statistical Association 82, 605-610).
    """
    components = likelihood.structure.components
    rows = []
    for index, name in enumerate(components):
        free = [position != index for position in range(len(components))]
        reduced = maximise(likelihood, free=free).evaluation.loglik
        lrt = max(0.0, 2.0 * (best.loglik - reduced))
        p = chi2_sf(lrt, 1)
        rows.append((name, reduced, lrt, 1, p, 0.5 * p if lrt > 0 else 1.0))
    return pd.DataFrame(rows, columns=["component", "loglik", "lrt", "df", "p", "p_mixture"])


def information_criteria(likelihood: Likelihood, loglik: float) -> pd.DataFrame:
    """Return AIC, BIC and AICc.

    Parameters
    ----------
    likelihood : Likelihood
        The fitted likelihood.
    loglik : float
        Its maximum.

    Returns
    -------
    pandas.DataFrame
        One row: ``method``, ``loglik``, ``parameters``, ``deviance`` (``-2 loglik``), ``aic``,
        ``bic``, ``aicc``. The number of observations is ``k`` for ML and ``k - p`` for REML;
        REML criteria compare only models with the same coefficients.
    """
    reml = likelihood.method == "REML"
    observations = likelihood.k - likelihood.p if reml else likelihood.k
    count = likelihood.p + len(likelihood.structure.components)
    deviance = -2.0 * loglik
    # With few rows the correction is taken at count + 2 observations, where it is still defined.
    effective = max(observations, count + 2)
    return pd.DataFrame(
        {
            "method": [likelihood.method],
            "loglik": loglik,
            "parameters": count,
            "deviance": deviance,
            "aic": deviance + 2 * count,
            "bic": deviance + np.log(observations) * count,
            "aicc": deviance + 2 * count * effective / (effective - count - 1),
        }
    )
