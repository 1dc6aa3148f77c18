"""Which effect, and which sample, drives the result.

Every case is left out in turn and the model fitted again, variance components included
(Viechtbauer & Cheung 2010, Research Synthesis Methods 1, 112-125, whose notation this file
follows). Residuals that need no refit are in `standardised_residuals`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reanalysis.design import Design
from reanalysis.frequentist.covariance import make_covariance
from reanalysis.frequentist.distributions import chi2_sf, interval, two_sided_p
from reanalysis.frequentist.heterogeneity import describe_heterogeneity
from reanalysis.frequentist.likelihood import Evaluation, Likelihood, make_likelihood
from reanalysis.frequentist.optimise import maximise
from reanalysis.frequentist.working import fitted_likelihood, sampling_correlation
from reanalysis.results import EngineError, FrequentistFit
from reanalysis.spec import ModelSpec

__all__ = ["Influence", "leave_one_out", "standardised_residuals"]

Vector = NDArray[np.float64]
Rows = NDArray[np.intp]
Unit = Literal["effect", "sample"]


@dataclass(frozen=True, eq=False)
class Influence:
    """What leaving out each effect, or each sample, does.

    Attributes
    ----------
    unit : str
        ``effect`` or ``sample``.
    refits : pandas.DataFrame
        One row per case left out and coefficient: ``omitted``, ``parameter``, ``value``, ``se``,
        ``lower``, ``upper`` (95 %, z), ``p``, and ``dfbetas`` (standardised change; beyond 1 in
        absolute value is large).
    cases : pandas.DataFrame
        One row per case: ``omitted``, ``rows`` (how many were left out), ``tau_between``,
        ``tau_within``, ``q``, ``q_p``, ``i2``, ``cook`` (Cook's distance), ``cov_ratio``,
        ``statistic`` with ``df`` and ``p`` (the deleted residuals of the case, standardised by the
        model fitted without it: chi-square), and ``note`` (why a refit was not possible).
        For effects also ``rstudent``, the signed root of the statistic, and with one row per
        sample ``dffits``. The covariance of an effect with the others of its sample does not enter
        its standardisation; leaving out samples avoids the question.
    """

    unit: Unit
    refits: pd.DataFrame
    cases: pd.DataFrame

    def _repr_html_(self) -> str:
        return self.cases._repr_html_()  # type: ignore[operator]


def leave_one_out(
    design: Design, spec: ModelSpec, fit: FrequentistFit, *, unit: Unit = "sample"
) -> Influence:
    """Leave out each effect or each sample in turn and fit again.

    Parameters
    ----------
    design : Design
        The arrays of the model.
    spec : ModelSpec
        The model.
    fit : FrequentistFit
        The fit of that design and model with all rows.
    unit : {"sample", "effect"}, default "sample"
        What is left out at a time.

    Returns
    -------
    Influence
        Estimates without each case, and how far they move.
    """
    work, full, tau2 = fitted_likelihood(design, spec, fit)
    hat = _leverage(work, full, tau2, fit.vcov)
    refits: list[pd.DataFrame] = []
    cases: list[dict[str, str | float]] = []
    for omitted, rows in _cases(work, unit):
        keep = np.ones(work.k, dtype=bool)
        keep[rows] = False
        try:
            rest = make_likelihood(_subset(work, keep), sampling_correlation(spec), fit.method)
        except EngineError as error:
            cases.append({"omitted": omitted, "rows": len(rows), "note": str(error)})
            continue
        best = maximise(rest).evaluation
        coef, vcov = rest.coefficients(best)
        with_all = full.coefficients(full.at(best.tau2))[1]
        change = fit.coef - coef
        se = np.sqrt(np.diagonal(vcov))
        lower, upper = interval(coef, se)
        refits.append(
            pd.DataFrame(
                {
                    "omitted": omitted,
                    "parameter": work.coefficients,
                    "value": coef,
                    "se": se,
                    "lower": lower,
                    "upper": upper,
                    "p": two_sided_p(coef / se),
                    "dfbetas": change / np.sqrt(np.diagonal(with_all)),
                }
            )
        )
        heterogeneity = describe_heterogeneity(rest, best.tau2)
        tau = dict(zip(rest.structure.components, np.sqrt(best.tau2).tolist(), strict=True))
        case = {
            "omitted": omitted,
            "rows": len(rows),
            **tau,
            "q": heterogeneity.q,
            "q_p": heterogeneity.q_p,
            "i2": heterogeneity.total,
            "cook": float(change @ np.linalg.solve(fit.vcov, change)),
            "cov_ratio": float(np.linalg.det(vcov) / np.linalg.det(fit.vcov)),
        }
        case |= _deleted_residuals(work, full, best, coef, vcov, rows)
        if unit == "effect" and work.k == work.m:
            row = int(rows[0])
            total = float(full.structure.variances(best.tau2)[row])
            case["dffits"] = float(work.X[row] @ change / np.sqrt(hat[row] * total))
        cases.append(case)
    columns = ["omitted", "parameter", "value", "se", "lower", "upper", "p", "dfbetas"]
    return Influence(
        unit=unit,
        refits=pd.concat(refits, ignore_index=True) if refits else pd.DataFrame(columns=columns),
        cases=pd.DataFrame(cases),
    )


def standardised_residuals(
    design: Design, spec: ModelSpec, fit: FrequentistFit
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return internally standardised residuals, by effect and by sample.

    Parameters
    ----------
    design : Design
        The arrays of the model.
    spec : ModelSpec
        The model.
    fit : FrequentistFit
        The fit of that design and model.

    Returns
    -------
    effects : pandas.DataFrame
        One row per effect: ``row``, ``sample``, ``residual``, ``se``, ``z``, and ``hat`` (its
        leverage on its own fitted value).
    samples : pandas.DataFrame
        One row per sample: ``sample``, ``rows``, ``statistic`` (its residuals together, weighted
        by their covariance), ``df`` (rank of that covariance), ``p`` (chi-square).
    """
    work, likelihood, tau2 = fitted_likelihood(design, spec, fit)
    residual = work.yi - work.X @ fit.coef
    fitted_variance = np.sum((work.X @ fit.vcov) * work.X, axis=1)
    se = np.sqrt(np.maximum(likelihood.structure.variances(tau2) - fitted_variance, 0.0))
    effects = pd.DataFrame(
        {
            "row": work.row_names,
            "sample": np.asarray(work.cluster_names, dtype=object)[work.cluster],
            "residual": residual,
            "se": se,
            "z": np.divide(residual, se, out=np.zeros(work.k), where=se > 0),
            "hat": _leverage(work, likelihood, tau2, fit.vcov),
        }
    )
    samples = []
    for name, rows in _cases(work, "sample"):
        block = likelihood.structure.sample_block(tau2, int(work.cluster[rows[0]]))
        left = block - work.X[rows] @ fit.vcov @ work.X[rows].T
        statistic, df, p = _chi_square(residual[rows], left)
        samples.append((name, len(rows), statistic, df, p))
    return effects, pd.DataFrame(samples, columns=["sample", "rows", "statistic", "df", "p"])


def _leverage(design: Design, likelihood: Likelihood, tau2: Vector, vcov: Vector) -> Vector:
    """Return the diagonal of the hat matrix ``X (X'WX)^-1 X'W``."""
    solved = make_covariance(likelihood.structure, tau2).solve(design.X.T)
    return np.sum((design.X @ vcov) * solved.T, axis=1)


def _cases(design: Design, unit: Unit) -> Iterator[tuple[str, Rows]]:
    """Yield the name and the rows of every case."""
    if unit == "effect":
        for row, name in enumerate(design.row_names):
            yield name, np.array([row])
    else:
        ends = np.append(design.starts[1:], design.k)
        for name, first, end in zip(design.cluster_names, design.starts, ends, strict=True):
            yield name, np.arange(first, end)


def _subset(design: Design, keep: NDArray[np.bool_]) -> Design:
    """Return the design with some of its rows; samples without a row disappear."""
    present, cluster = np.unique(design.cluster[keep], return_inverse=True)
    return replace(
        design,
        yi=design.yi[keep],
        vi=design.vi[keep],
        X=design.X[keep],
        cluster=cluster.astype(np.intp),
        cluster_names=tuple(design.cluster_names[j] for j in present),
        row_names=tuple(np.asarray(design.row_names, dtype=object)[keep]),
        n_averaged=design.n_averaged[keep],
        n_measured=None if design.n_measured is None else design.n_measured[present],
        ni=None if design.ni is None else design.ni[keep],
        V=None if design.V is None else design.V[np.ix_(keep, keep)],
        rows=design.rows[keep],
    )


def _deleted_residuals(
    design: Design, full: Likelihood, best: Evaluation, coef: Vector, vcov: Vector, rows: Rows
) -> dict[str, float]:
    """Return how far a case lies from what the others predict for it."""
    sample = int(design.cluster[rows[0]])
    block = full.structure.sample_block(best.tau2, sample)
    local = rows - design.starts[sample]
    residual = design.yi[rows] - design.X[rows] @ coef
    covariance = block[np.ix_(local, local)] + design.X[rows] @ vcov @ design.X[rows].T
    statistic, df, p = _chi_square(residual, covariance)
    result = {"statistic": statistic, "df": df, "p": p}
    if len(rows) == 1:
        result["rstudent"] = float(np.sign(residual[0]) * np.sqrt(statistic))
    return result


def _chi_square(residual: Vector, covariance: Vector) -> tuple[float, int, float]:
    """Return ``r' C^- r``, the rank of C, and the p-value."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > 1e-10 * values[-1]
    turned = vectors[:, kept].T @ residual
    statistic, df = float(np.sum(turned**2 / values[kept])), int(np.sum(kept))
    return statistic, df, chi2_sf(statistic, df)
