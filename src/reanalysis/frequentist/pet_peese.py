"""PET, PEESE and PET-PEESE: the effect extrapolated to a study of infinite size.

Stanley & Doucouliagos (2014, Research Synthesis Methods 5, 60-78). On data with several effects
per sample the multilevel regression with cluster-robust tests is the one to read; its slope is
the Egger test that respects the samples (Rodgers & Pustejovsky 2021, Psychological Methods 26,
141-160).
"""

from typing import Literal

import numpy as np
import pandas as pd

from reanalysis.design import Design
from reanalysis.frequentist.likelihood import make_likelihood
from reanalysis.frequentist.optimise import maximise
from reanalysis.frequentist.regression import weighted_least_squares, with_predictor
from reanalysis.frequentist.robust import robust_fit
from reanalysis.frequentist.small_study import SmallStudyResult, independent_rows
from reanalysis.frequentist.wald import coefficient_tests, wald_rows
from reanalysis.frequentist.working import sampling_correlation
from reanalysis.spec import ModelSpec

__all__ = ["fit_pet_peese"]

PREDICTORS = {"PET": "sei", "PEESE": "vi"}
ALPHA = 0.05  # one-sided, of the test that chooses between PET and PEESE
LIMITS = (
    "The intercept extrapolates to a standard error of zero, beyond all data; with few effects or "
    "similar sample sizes it says little. It is biased where effects are heterogeneous, and takes "
    "any relation between study size and effect for bias (Stanley 2017, Social Psychological and "
    "Personality Science 8, 581-591; Carter et al. 2019, AMPPS 2, 115-144)."
)


def fit_pet_peese(
    design: Design,
    spec: ModelSpec,
    *,
    direction: Literal["positive", "negative"] = "positive",
) -> SmallStudyResult:
    """Fit PET and PEESE, and choose between them by the conditional rule.

    Parameters
    ----------
    design : Design
        The arrays of the model, without moderators; two or three levels.
    spec : ModelSpec
        The model; its sampling correlation enters the multilevel version.
    direction : {"positive", "negative"}, default "positive"
        Direction in which an effect is expected, for the one-sided test of the conditional rule.

    Returns
    -------
    SmallStudyResult
        Rows by ``method`` (``PET``, ``PEESE``, ``PET-PEESE``), ``parameter`` (``mu``, the
        intercept; ``slope``) and ``test``: ``WLS t`` (rows independent, multiplicative
        dispersion), ``Wald z`` and ``t(containment)`` (the REML model of the design), ``CR2`` (the
        same, cluster-robust with Satterthwaite degrees of freedom). PET-PEESE is PEESE where PET's
        intercept differs from zero in the expected direction (one-sided p < .05), else PET;
        ``choice`` names it.
    """
    independent = independent_rows(design)
    tables = []
    for method, predictor in PREDICTORS.items():
        rows = with_predictor(independent, predictor, "slope")
        coef, vcov = weighted_least_squares(rows)
        classical = wald_rows(rows, "WLS t", coef, np.sqrt(np.diagonal(vcov)), rows.k - 2.0)
        work = with_predictor(design, predictor, "slope")
        likelihood = make_likelihood(work, sampling_correlation(spec), "REML")
        best = maximise(likelihood).evaluation
        model = coefficient_tests(work, *likelihood.coefficients(best), best.rss)
        parts = [classical, model[model["test"].isin(["Wald z", "t(containment)"])]]
        if work.m > work.p:
            parts.append(robust_fit(work, likelihood, best.tau2, "CR2").tests)
        table = pd.concat(parts, ignore_index=True)
        table.insert(0, "method", method)
        table["choice"] = ""
        tables.append(table)
    fits = pd.concat(tables, ignore_index=True)
    chosen = [_conditional(part, direction) for _, part in fits.groupby("test", sort=False)]
    table = pd.concat([fits, *chosen], ignore_index=True)
    means = table[table["parameter"] == "mu"]
    labels = means["method"] + " " + means["test"]
    numbers = dict(zip(labels, means["value"].to_numpy(dtype=float).tolist(), strict=True))
    return SmallStudyResult("PET-PEESE", table, LIMITS, numbers)


def _conditional(part: pd.DataFrame, direction: str) -> pd.DataFrame:
    """Return the PET-PEESE row of one kind of test."""
    intercepts = part[part["parameter"] == "mu"].set_index("method")
    pet = intercepts.loc["PET"]
    sign = 1.0 if direction == "positive" else -1.0
    significant = sign * pet["value"] > 0 and pet["p"] / 2 < ALPHA
    choice = "PEESE" if significant else "PET"
    row = intercepts.loc[[choice]].reset_index()
    return row.assign(method="PET-PEESE", choice=choice)
