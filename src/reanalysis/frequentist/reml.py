"""REML and ML fits of the two- and three-level model: `fit_reml`.

This file fits and collects. The likelihood, the search for its maximum, the tests and the
intervals each have their own file beside it. Nothing here is shared with the Bayesian engines.
"""

from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reanalysis.design import Design
from reanalysis.frequentist.blups import predict_effects
from reanalysis.frequentist.distributions import chi2_sf, interval, two_sided_p
from reanalysis.frequentist.heterogeneity import describe_heterogeneity
from reanalysis.frequentist.likelihood import Likelihood, make_likelihood
from reanalysis.frequentist.model_tests import component_tests, information_criteria
from reanalysis.frequentist.omnibus import omnibus_tests
from reanalysis.frequentist.optimise import Optimum, maximise
from reanalysis.frequentist.prediction import prediction_table
from reanalysis.frequentist.profile import profile_intervals
from reanalysis.frequentist.robust import robust_fit
from reanalysis.frequentist.wald import (
    coefficient_tests,
    containment_df,
    tested_columns,
    wald_chi2,
)
from reanalysis.frequentist.working import sampling_correlation, working_design
from reanalysis.results import Estimate, FrequentistFit
from reanalysis.spec import ModelSpec

__all__ = ["fit_reml"]

Vector = NDArray[np.float64]

NO_EFFECTS = pd.DataFrame()  # shared: making an empty frame would take a tenth of a small fit


def fit_reml(
    design: Design,
    spec: ModelSpec,
    *,
    method: Literal["REML", "ML"] = "REML",
    details: bool = True,
) -> FrequentistFit:
    """Fit the hierarchical model by (restricted) maximum likelihood.

    Parameters
    ----------
    design : Design
        The arrays of the model; two or three levels.
    spec : ModelSpec
        The model. Its sampling correlation is used as a number (the median, if it is a prior);
        a mechanism ``pet`` or ``peese`` adds that column.
    method : {"REML", "ML"}, default "REML"
        Restricted or full maximum likelihood.
    details : bool, default True
        False leaves out all that takes longer than the fit itself: profile-likelihood intervals
        and likelihood-ratio tests of the variance components, cluster-robust tests, BLUPs and
        tables.

    Returns
    -------
    FrequentistFit
        Coefficients with Wald z intervals, the convention of the published analyses, and variance
        components as standard deviations with profile-likelihood intervals. A component estimated
        as zero is listed in `boundary`: that is a result, not a failure. In a model without
        moderators, ``new_sample`` and ``new_effect`` carry the prediction intervals. `tables` has

        ``tests``
            each coefficient with Wald z, t with residual and with containment degrees of freedom,
            Knapp-Hartung (one row per sample), CR1 and CR2;
        ``variance_components``
            tau2 and tau with profile intervals and likelihood-ratio tests;
        ``heterogeneity``
            Q, and I2 by both definitions with their formulas;
        ``omnibus``
            QM and its F version, for all moderators and each factor;
        ``prediction``
            intervals for the mean, a new sample and a new effect;
        ``fit``
            log-likelihood, AIC, BIC, AICc.

    Raises
    ------
    EngineError
        If the model is not identified, or the mechanism has no restricted likelihood.

    References
    ----------
    Konstantopoulos, S. (2011). Research Synthesis Methods, 2, 61-76.
    Cheung, M. W.-L. (2014). Psychological Methods, 19, 211-229.
    """
    if design.scale is not None:
        # Imported here: most runs have no such model, and SciPy's optimisers take their time.
        from reanalysis.frequentist.scale import fit_scale_profile

        return fit_scale_profile(
            design,
            spec,
            lambda scaled: fit_reml(scaled, spec, method=method, details=False),
            restricted=method == "REML",
        )
    work = working_design(design, spec)
    likelihood = make_likelihood(work, sampling_correlation(spec), method)
    optimum = maximise(likelihood)
    fit = _record(work, likelihood, optimum)
    if not details:
        return fit
    best = optimum.evaluation
    variances = profile_intervals(likelihood, best).merge(component_tests(likelihood, best))
    tables = {
        "tests": _tests(work, likelihood, optimum),
        "variance_components": variances,
        "heterogeneity": describe_heterogeneity(likelihood, best.tau2).table,
        "omnibus": omnibus_tests(work, fit.coef, fit.vcov),
        "fit": information_criteria(likelihood, best.loglik),
    }
    if work.coefficients == ("mu",):
        tables["prediction"] = prediction_table(
            float(fit.coef[0]),
            float(np.sqrt(fit.vcov[0, 0])),
            (fit.tau2_between, fit.tau2_within),
            {
                "Wald z": np.inf,
                "t(residual)": float(work.k - work.p),
                "t(containment)": float(containment_df(work)[0]),
            },
        )
    return replace(
        fit,
        estimates={**fit.estimates, **_profiled(variances)},
        effects=predict_effects(work, likelihood, best),
        tables=tables,
    )


def _record(design: Design, likelihood: Likelihood, optimum: Optimum) -> FrequentistFit:
    """Put a maximum into a record, without what takes longer than finding it."""
    best = optimum.evaluation
    coef, vcov = likelihood.coefficients(best)
    components = likelihood.structure.components
    tau2 = dict(zip(components, best.tau2.tolist(), strict=True))
    between, within = tau2["tau_between"], tau2.get("tau_within", 0.0)
    heterogeneity = describe_heterogeneity(likelihood, best.tau2)
    columns = tested_columns(design)
    qm = wald_chi2(coef, vcov, columns) if columns.size else None
    estimates = {}
    se = np.sqrt(np.diagonal(vcov))
    numbers = np.stack([coef, se, *interval(coef, se), two_sided_p(coef / se)], axis=1)
    for name, (value, sd, lower, upper, p) in zip(
        design.coefficients, numbers.tolist(), strict=True
    ):
        estimates[name] = Estimate(name, value, sd, lower, upper, interval="Wald z", p=p)
    for name in components:
        estimates[name] = Estimate(name, float(np.sqrt(tau2[name])), interval="not computed")
    if len(components) > 1:
        estimates["tau"] = Estimate(
            "tau", float(np.sqrt(between + within)), interval="not computed"
        )
    if design.coefficients == ("mu",):
        sds = np.sqrt(vcov[0, 0] + np.array([between, between + within]))
        ends = np.stack([sds, *interval(coef, sds)], axis=1).tolist()
        for name, (sd, lower, upper) in zip(("new_sample", "new_effect"), ends, strict=True):
            value = float(coef[0])
            estimates[name] = Estimate(name, value, sd, lower, upper, interval="prediction, z")
    return FrequentistFit(
        method=likelihood.method,
        estimates=estimates,
        coefficients=design.coefficients,
        coef=coef,
        vcov=vcov,
        tau2_between=between,
        tau2_within=within,
        loglik=best.loglik,
        q=heterogeneity.q,
        q_df=heterogeneity.q_df,
        q_p=heterogeneity.q_p,
        i2_total=heterogeneity.total,
        i2_between=heterogeneity.between,
        i2_within=heterogeneity.within,
        i2_q=heterogeneity.q_based,
        converged=optimum.converged,
        qm=qm,
        qm_df=columns.size if qm is not None else None,
        qm_p=chi2_sf(qm, columns.size) if qm is not None else None,
        boundary=tuple(name for name in components if tau2[name] == 0),
        effects=NO_EFFECTS,
    )


def _tests(design: Design, likelihood: Likelihood, optimum: Optimum) -> pd.DataFrame:
    """Return all tests of the coefficients, model-based and cluster-robust."""
    best = optimum.evaluation
    coef, vcov = likelihood.coefficients(best)
    tables = [coefficient_tests(design, coef, vcov, best.rss)]
    if design.m > design.p:
        tables.append(robust_fit(design, likelihood, best.tau2, "CR1p").tests)
        tables.append(robust_fit(design, likelihood, best.tau2, "CR2").tests)
    return pd.concat(tables, ignore_index=True)


def _profiled(variances: pd.DataFrame) -> dict[str, Estimate]:
    """Return the standard deviations with their profile intervals and likelihood-ratio tests."""
    numbers = variances[["tau", "tau_lower", "tau_upper", "p"]].to_numpy(dtype=float).tolist()
    return {
        name: Estimate(
            name,
            tau,
            lower=lower,
            upper=upper if np.isfinite(upper) else None,
            interval="profile likelihood",
            p=p,
        )
        for name, (tau, lower, upper, p) in zip(variances["component"], numbers, strict=True)
    }
