"""Tests of funnel-plot asymmetry: Egger's regression and Begg's rank correlation."""

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reanalysis.design import Design
from reanalysis.frequentist.distributions import two_sided_p
from reanalysis.frequentist.likelihood import make_likelihood
from reanalysis.frequentist.optimise import maximise
from reanalysis.frequentist.regression import (
    check_variances_differ,
    weighted_least_squares,
    with_predictor,
)
from reanalysis.frequentist.small_study import (
    SmallStudyResult,
    dependence_limit,
    independent_rows,
)
from reanalysis.frequentist.wald import wald_rows
from reanalysis.spec import ModelSpec

__all__ = ["fit_egger", "fit_rank_test", "kendall_tau"]

Vector = NDArray[np.float64]

EXACT_BELOW = 50  # number of effects from which the normal approximation is good enough
LIMITS = (
    "A significant result says that small studies report other effects than large ones, not why; "
    "with fewer than about 10 effects the test has little power, so a non-significant result says "
    "little (Sterne et al. 2011, BMJ 343, d4002). The standard error of a correlation-like effect "
    "may depend on the effect itself, which inflates the test; Fisher's z does not have this flaw."
)


def fit_egger(
    design: Design,
    spec: ModelSpec,
    *,
    model: Literal["classical", "mixed"] = "classical",
    predictor: Literal["sei", "vi"] = "sei",
) -> SmallStudyResult:
    """Regress the effects on their standard errors (or variances).

    Parameters
    ----------
    design : Design
        The arrays of the model, without moderators; its rows are taken as independent.
    spec : ModelSpec
        The model; not read, but every function here takes it.
    model : {"classical", "mixed"}, default "classical"
        Weighted least squares with a multiplicative dispersion and a t test (Egger et al. 1997,
        BMJ 315, 629-634), or a mixed-effects meta-regression fitted by REML with a z test
        (Sterne & Egger 2005).
    predictor : {"sei", "vi"}, default "sei"
        Standard error, or sampling variance.

    Returns
    -------
    SmallStudyResult
        Rows ``limit`` (the effect expected as the predictor goes to 0) and ``slope`` (the test of
        asymmetry); ``numbers`` has ``statistic``, ``df`` and ``p`` of the slope.
    """
    rows = with_predictor(independent_rows(design), predictor, "slope")
    if model == "classical":
        coef, vcov = weighted_least_squares(rows)
        df, kind = float(rows.k - 2), "t"
    else:
        likelihood = make_likelihood(rows, 0.0, "REML")
        coef, vcov = likelihood.coefficients(maximise(likelihood).evaluation)
        df, kind = np.inf, "z"
    table = wald_rows(rows, kind, coef, np.sqrt(np.diagonal(vcov)), df)
    table["parameter"] = ["limit", "slope"]
    slope = table.iloc[1]
    return SmallStudyResult(
        method=f"Egger's test ({model}, {predictor})",
        table=table,
        limits=LIMITS + dependence_limit(design),
        numbers={name: float(slope[name]) for name in ("statistic", "df", "p")},
    )


def fit_rank_test(design: Design, spec: ModelSpec) -> SmallStudyResult:
    """Correlate the ranks of standardised effects and sampling variances.

    Parameters
    ----------
    design : Design
        The arrays of the model, without moderators; its rows are taken as independent.
    spec : ModelSpec
        The model; not read, but every function here takes it.

    Returns
    -------
    SmallStudyResult
        Kendall's tau-b with a two-sided p-value, exact without ties and with fewer than 50
        effects; ``numbers`` has ``tau`` and ``p``.

    References
    ----------
    Begg, C. B., & Mazumdar, M. (1994). Biometrics, 50, 1088-1101.
    """
    rows = independent_rows(design)
    check_variances_differ(rows)
    weights = 1.0 / rows.vi
    mean = np.sum(weights * rows.yi) / np.sum(weights)
    deviates = (rows.yi - mean) / np.sqrt(rows.vi - 1.0 / np.sum(weights))
    tau, p, exact = kendall_tau(deviates, rows.vi)
    return SmallStudyResult(
        method="Begg's rank correlation",
        table=pd.DataFrame(
            {
                "parameter": ["Kendall's tau"],
                "test": "exact" if exact else "normal approximation",
                "value": tau,
                "p": p,
            }
        ),
        limits=f"{LIMITS} It has less power than the regression test.{dependence_limit(design)}",
        numbers={"tau": tau, "p": p},
    )


def kendall_tau(x: Vector, y: Vector) -> tuple[float, float, bool]:
    """Return Kendall's tau-b, its two-sided p-value, and whether that is exact.

    Parameters
    ----------
    x, y : numpy.ndarray of shape (n,)
        Paired values.

    Returns
    -------
    tau : float
        Correlation, with the correction for ties.
    p : float
        Two-sided p-value; with ties or 50 and more pairs from the normal approximation with the
        variance of Kendall (1970, Rank Correlation Methods, section 4.4).
    exact : bool
        Which of the two.
    """
    n = len(x)
    # Row by row: all pairs at once would take gigabytes for large tables.
    score = float(
        sum(np.sum(np.sign(x[i] - x[i + 1 :]) * np.sign(y[i] - y[i + 1 :])) for i in range(n - 1))
    )
    pairs = n * (n - 1) / 2
    tx, ty = (np.unique(values, return_counts=True)[1].astype(float) for values in (x, y))
    tied = [float(np.sum(t * (t - 1))) for t in (tx, ty)]
    tau = score / np.sqrt((pairs - tied[0] / 2) * (pairs - tied[1] / 2))
    if n < EXACT_BELOW and not any(tied):
        concordant = round((score + pairs) / 2)
        below = _inversion_cdf(n)
        lower = below[concordant]
        upper_tail = 1.0 - (below[concordant - 1] if concordant > 0 else 0.0)
        return tau, float(min(1.0, 2.0 * min(lower, upper_tail))), True
    variance = (n * (n - 1) * (2 * n + 5) - sum(_tie_term(t) for t in (tx, ty))) / 18
    variance += tied[0] * tied[1] / (2 * n * (n - 1))
    triples = [float(np.sum(t * (t - 1) * (t - 2))) for t in (tx, ty)]
    variance += triples[0] * triples[1] / (9 * n * (n - 1) * (n - 2))
    return tau, float(two_sided_p(score / np.sqrt(variance))), False


def _tie_term(counts: Vector) -> float:
    return float(np.sum(counts * (counts - 1) * (2 * counts + 5)))


def _inversion_cdf(n: int) -> Vector:
    """Return the distribution function of the number of inversions of a random permutation."""
    probabilities = np.ones(1)
    for size in range(2, n + 1):
        probabilities = np.convolve(probabilities, np.full(size, 1.0 / size))
    return np.minimum(np.cumsum(probabilities), 1.0)
