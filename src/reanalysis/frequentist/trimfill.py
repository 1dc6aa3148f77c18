"""Trim-and-fill (Duval & Tweedie 2000a, JASA 95, 89-98; 2000b, Biometrics 56, 455-463)."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reanalysis.design import Design
from reanalysis.frequentist.likelihood import Likelihood, make_likelihood
from reanalysis.frequentist.optimise import maximise
from reanalysis.frequentist.regression import with_predictor
from reanalysis.frequentist.small_study import (
    SmallStudyResult,
    dependence_limit,
    independent_rows,
)
from reanalysis.frequentist.wald import wald_rows
from reanalysis.spec import ModelSpec

__all__ = ["fit_trimfill"]

Vector = NDArray[np.float64]
Estimator = Literal["L0", "R0", "Q0"]
Side = Literal["left", "right"]
Fit = Literal["REML", "ML", "EE"]

MAX_ROUNDS = 100
LIMITS = (
    "Trim-and-fill assumes that the most extreme effects on one side are missing, and no other "
    "reason for asymmetry. It fills in effects where there is only heterogeneity, and too few "
    "where studies are selected by p-value, so the adjusted mean is a sensitivity check, not an "
    "estimate; 'none missing' does not show that nothing is missing (Terrin et al. 2003, "
    "Statistics in Medicine 22, 2113-2126; Moreno et al. 2009, BMC Medical Research Methodology "
    "9, 2)."
)


def fit_trimfill(
    design: Design,
    spec: ModelSpec,
    *,
    estimator: Estimator = "L0",
    side: Side | Literal["auto"] = "auto",
    model: Fit = "REML",
) -> SmallStudyResult:
    """Estimate the number of missing effects and fill in their mirror images.

    Parameters
    ----------
    design : Design
        The arrays of the model, without moderators; its rows are taken as independent.
    spec : ModelSpec
        The model; not read, but every function here takes it.
    estimator : {"L0", "R0", "Q0"}, default "L0"
        Estimator of the number missing.
    side : {"auto", "left", "right"}, default "auto"
        Side on which effects are missing; ``auto`` takes the left if the regression on the
        standard error rises, else the right.
    model : {"REML", "ML", "EE"}, default "REML"
        Random-effects model, or the equal-effects model.

    Returns
    -------
    SmallStudyResult
        The mean before and after; ``numbers`` has ``k0`` (effects filled in), ``k0_se``,
        ``tau2`` after, and with R0 ``k0_p`` (no effect missing against at least one); `data`
        holds all effects with a column ``filled``.

    Raises
    ------
    EngineError
        If there are moderators or fewer than 4 effects.
    """
    rows = independent_rows(design, least=4)
    chosen = _side(rows, model) if side == "auto" else side
    sign = -1.0 if chosen == "right" else 1.0
    order = np.argsort(sign * rows.yi, kind="stable")
    mirrored = replace(rows, yi=sign * rows.yi[order], vi=rows.vi[order])
    k0, center, k0_se = _number_missing(mirrored, estimator, model)
    extreme = slice(rows.k - k0, rows.k)
    filled = 2.0 * center - mirrored.yi[extreme]
    yi = sign * np.concatenate([mirrored.yi, filled])
    vi = np.concatenate([mirrored.vi, mirrored.vi[extreme]])
    completed = _rows(rows, yi, vi)
    before, after = _fit(rows, model), _fit(completed, model)
    table = pd.concat(
        [
            wald_rows(part, "Wald z", coef, np.sqrt(np.diagonal(vcov)), np.inf)
            for part, (coef, vcov, _) in ((rows, before), (completed, after))
        ],
        ignore_index=True,
    )
    table.insert(0, "data", ["as published", f"{k0} filled in"])
    numbers = {"k0": float(k0), "k0_se": k0_se, "tau2": after[2]}
    if estimator == "R0":
        # The rightmost run is geometric when nothing is missing (Duval & Tweedie 2000a, sec. 3).
        numbers["k0_p"] = 0.5 ** (k0 + 1)
    names = [*np.asarray(rows.row_names, dtype=object)[order], *["filled in"] * k0]
    return SmallStudyResult(
        method=f"Trim-and-fill ({estimator}, {model}, missing on the {chosen})",
        table=table,
        limits=LIMITS + dependence_limit(design),
        numbers=numbers,
        data=pd.DataFrame(
            {"row": names, "yi": yi, "vi": vi, "filled": np.arange(rows.k + k0) >= rows.k}
        ),
    )


def _number_missing(rows: Design, estimator: Estimator, model: Fit) -> tuple[int, float, float]:
    """Return the number missing on the left, the trimmed mean, and the number's standard error."""
    k, k0 = rows.k, 0
    for _ in range(MAX_ROUNDS):
        kept = _rows(rows, rows.yi[: k - k0], rows.vi[: k - k0])
        center = float(_fit(kept, model)[0][0])
        deviation = rows.yi - center
        ranks = np.empty(k)
        ranks[np.argsort(np.abs(deviation), kind="stable")] = np.arange(1, k + 1)
        estimate, se = _estimators(ranks, deviation, estimator)
        last, k0 = k0, min(max(0, round(estimate)), k - 2)
        if k0 == last:
            break
    return k0, center, se


def _estimators(ranks: Vector, deviation: Vector, estimator: Estimator) -> tuple[float, float]:
    """Return one estimate of the number missing, with its standard error."""
    k = len(ranks)
    if estimator == "R0":
        negative = ranks[deviation < 0]
        estimate = k - (float(np.max(negative)) if negative.size else 0.0) - 1
        return estimate, float(np.sqrt(2 * max(0.0, estimate) + 2))
    wilcoxon = float(np.sum(ranks[deviation > 0]))
    if estimator == "L0":
        estimate = (4 * wilcoxon - k * (k + 1)) / (2 * k - 1)
        return estimate, 4 * _wilcoxon_sd(k, max(0.0, estimate)) / (2 * k - 1)
    root = np.sqrt(2.0 * k**2 - 4 * wilcoxon + 0.25)
    estimate = k - 0.5 - root
    n0 = max(0.0, estimate)
    return estimate, 2 * _wilcoxon_sd(k, n0) / np.sqrt((k - 0.5) ** 2 - n0 * (2 * k - n0 - 1))


def _wilcoxon_sd(k: int, n0: float) -> float:
    """Return the standard deviation of the rank sum when n0 effects are missing."""
    polynomial = 10 * n0**3 + 27 * n0**2 + 17 * n0 - 18 * k * n0**2 - 18 * k * n0 + 6 * k**2 * n0
    return float(np.sqrt((k * (k + 1) * (2 * k + 1) + polynomial) / 24))


def _side(rows: Design, model: Fit) -> Side:
    """Return the side on which effects seem to be missing."""
    slope = _fit(with_predictor(rows, "sei", "slope"), model)[0][1]
    return "right" if slope < 0 else "left"


def _rows(like: Design, yi: Vector, vi: Vector) -> Design:
    """Return a design of independent rows."""
    k = len(yi)
    names = tuple(str(row) for row in range(k))
    return Design(
        yi=yi,
        vi=vi,
        X=np.ones((k, 1)),
        coefficients=("mu",),
        cluster=np.arange(k, dtype=np.intp),
        cluster_names=names,
        row_names=names,
        measure=like.measure,
        levels=2,
    )


def _fit(rows: Design, model: Fit) -> tuple[Vector, Vector, float]:
    """Return coefficients, their covariance and tau2."""
    likelihood: Likelihood = make_likelihood(rows, 0.0, "ML" if model == "ML" else "REML")
    best = maximise(likelihood, free=[model != "EE"]).evaluation
    return *likelihood.coefficients(best), float(best.tau2[0])
