"""REML and ML fits of the two- and three-level model: `fit_reml`.

This file fits and collects. The likelihood, the search for its maximum, the tests and the
intervals each have their own file beside it. Nothing here is shared with the Bayesian engines.
"""

from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reanalysis.design import Design
from reanalysis.frequentist.blups import predict_effects
from reanalysis.frequentist.distributions import chi2_sf, interval, two_sided_p
from reanalysis.frequentist.heterogeneity import describe_heterogeneity
from reanalysis.frequentist.likelihood import Likelihood, make_likelihood
from reanalysis.frequentist.optimise import Optimum, maximise
from reanalysis.frequentist.wald import coefficient_tests, moderator_columns, wald_chi2
from reanalysis.frequentist.working import sampling_correlation, working_design
from reanalysis.results import Estimate, FrequentistFit

if TYPE_CHECKING:
    from reanalysis.spec import ModelSpec

__all__ = ["fit_reml"]

Vector = NDArray[np.float64]


def fit_reml(
    design: Design,
    spec: "ModelSpec",
    *,
    method: Literal["REML", "ML"] = "REML",
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

    Returns
    -------
    FrequentistFit
        Coefficients with Wald z intervals (the published convention; further tests in
        ``tables["tests"]``), variance components, Q, I2, and BLUPs. A variance component
        estimated as zero is listed in `boundary`; that is a result, not a failure.

    Raises
    ------
    EngineError
        If the model is not identified, or the mechanism has no restricted likelihood.

    References
    ----------
    Konstantopoulos, S. (2011). Research Synthesis Methods, 2, 61-76.
    Cheung, M. W.-L. (2014). Psychological Methods, 19, 211-229.
    """
    work = working_design(design, spec)
    likelihood = make_likelihood(work, sampling_correlation(spec), method)
    optimum = maximise(likelihood)
    return _collect(work, likelihood, optimum)


def _collect(design: Design, likelihood: Likelihood, optimum: Optimum) -> FrequentistFit:
    """Put a fitted likelihood into a record."""
    best = optimum.evaluation
    components = likelihood.structure.components
    tau2 = dict(zip(components, best.tau2.tolist(), strict=True))
    between, within = tau2["tau_between"], tau2.get("tau_within", 0.0)
    se = np.sqrt(np.diagonal(best.vcov))
    lower, upper = interval(best.coef, se)
    p_values = two_sided_p(best.coef / se)
    estimates = {
        name: Estimate(
            name,
            value=float(best.coef[i]),
            sd=float(se[i]),
            lower=float(lower[i]),
            upper=float(upper[i]),
            interval="Wald z",
            p=float(p_values[i]),
        )
        for i, name in enumerate(design.coefficients)
    }
    for name in components:
        estimates[name] = Estimate(name, value=float(np.sqrt(tau2[name])), interval="none")
    i2 = describe_heterogeneity(likelihood, best.tau2)
    columns = moderator_columns(design)
    qm = wald_chi2(best.coef, best.vcov, columns) if columns.size else None
    tables: dict[str, pd.DataFrame] = {
        "tests": coefficient_tests(design, best.coef, best.vcov),
    }
    return FrequentistFit(
        method=likelihood.method,
        estimates=estimates,
        coefficients=design.coefficients,
        coef=best.coef,
        vcov=best.vcov,
        tau2_between=between,
        tau2_within=within,
        loglik=best.loglik,
        q=i2.q,
        q_df=i2.q_df,
        q_p=i2.q_p,
        i2_total=i2.total,
        i2_between=i2.between,
        i2_within=i2.within,
        i2_q=i2.q_based,
        converged=optimum.converged,
        qm=qm,
        qm_df=columns.size if qm is not None else None,
        qm_p=chi2_sf(qm, columns.size) if qm is not None else None,
        boundary=tuple(name for name in components if tau2[name] == 0),
        effects=predict_effects(design, likelihood, best),
        tables=tables,
    )
