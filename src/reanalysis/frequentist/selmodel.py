"""Step-function selection models by maximum likelihood: `fit_selmodel`.

The counterpart of metafor's ``selmodel(type = "stepfun")`` for one effect per sample. With
several effects per sample the mechanism has to be named; the Bayesian engines do that.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reanalysis.design import Design
from reanalysis.frequentist.distributions import chi2_sf, interval, two_sided_p
from reanalysis.frequentist.likelihood import make_likelihood
from reanalysis.frequentist.optimise import maximise
from reanalysis.frequentist.small_study import dependence_limit
from reanalysis.frequentist.step_search import StepOptimum, maximise_steps
from reanalysis.frequentist.stepfun import Alternative, StepLikelihood, make_step_likelihood
from reanalysis.results import EngineError, Estimate, estimates_table
from reanalysis.spec import ModelSpec

__all__ = ["SelmodelFit", "fit_selmodel"]

Vector = NDArray[np.float64]

ROUNDING = 1e-10  # of log-likelihoods, when an interior point is compared with an edge
LIMITS = (
    "The model assumes that selection depends on the p-value alone, in the steps given, and that "
    "true effects are normal. Weights are relative to the most significant bin; with few effects "
    "in a bin its weight is hardly determined, and the likelihood-ratio test keeps its level only "
    "with many effects. A non-significant test does not show that nothing was selected (Hedges & "
    "Vevea 1996, Journal of Educational and Behavioral Statistics 21, 299-332)."
)


@dataclass(frozen=True, eq=False)
class SelmodelFit:
    """A step-function selection model.

    Attributes
    ----------
    alternative : str
        Whose p-values: ``greater``, ``less`` (one-sided) or ``two-sided``.
    estimates : mapping of str to Estimate
        Coefficients, ``tau_between``, and ``omega[b]`` for every bin; Wald intervals from the
        observed information, where that is positive definite. The p-value of a weight tests it
        against 1.
    tau2 : float
        Heterogeneity variance.
    tau2_se : float or None
        Its standard error; None on the boundary.
    loglik, loglik_unselected : float
        Log-likelihood, and that of the model without selection.
    lrt, lrt_df, lrt_p : float
        Likelihood-ratio test against no selection.
    lrt_tau2, lrt_tau2_p : float
        Likelihood-ratio test of heterogeneity under selection (chi-square, 1 df).
    bins : pandas.DataFrame
        One row per bin: ``lower``, ``upper`` (p-values), ``count``, ``weight``, ``se``.
    boundary : tuple of str
        Parameters estimated as exactly zero: ``tau_between``, the weight of an empty bin.
    converged : bool
        Whether the search ended in a stationary point.
    limits : str
        What the model can and cannot say.
    """

    alternative: Alternative
    estimates: Mapping[str, Estimate]
    tau2: float
    tau2_se: float | None
    loglik: float
    loglik_unselected: float
    lrt: float
    lrt_df: int
    lrt_p: float
    lrt_tau2: float
    lrt_tau2_p: float
    bins: pd.DataFrame
    boundary: tuple[str, ...]
    converged: bool
    limits: str

    @property
    def table(self) -> pd.DataFrame:
        """Estimates as a table."""
        return estimates_table(self.estimates)

    def _repr_html_(self) -> str:
        test = f"Against no selection: LRT({self.lrt_df}) = {self.lrt:.2f}, p = {self.lrt_p:.3f}."
        return (
            f"{self.table._repr_html_()}<p>{test}</p>"  # type: ignore[operator]
            f"{self.bins._repr_html_()}<p>{self.limits}</p>"  # type: ignore[operator]
        )


def fit_selmodel(
    design: Design,
    spec: ModelSpec,
    *,
    steps: tuple[float, ...] | None = None,
    alternative: Alternative = "greater",
) -> SelmodelFit:
    """Fit a step-function selection model by maximum likelihood.

    Parameters
    ----------
    design : Design
        The arrays of the model; its rows are taken as independent.
    spec : ModelSpec
        The model; gives the steps where `steps` is not given.
    steps : tuple of float, optional
        Ascending p-values at which the weight may change.
    alternative : {"greater", "less", "two-sided"}, default "greater"
        Direction of the p-values: the expected direction of the effects.

    Returns
    -------
    SelmodelFit
        Estimates, weights and likelihood-ratio tests.

    Raises
    ------
    EngineError
        If no effect lies in the most significant bin (the weights are relative to it), none
        outside it, or there are fewer effects than parameters.

    References
    ----------
    Vevea, J. L., & Hedges, L. V. (1995). Psychometrika, 60, 419-435.
    """
    edges = spec.steps if steps is None else steps
    data = make_step_likelihood(design.yi, design.vi, design.X, edges, alternative)
    _check(data, design, edges)
    base = make_likelihood(_as_independent(design), 0.0, "ML")
    unselected = maximise(base).evaluation
    start = base.coefficients(unselected)[0], float(unselected.tau2[0])
    best = maximise_steps(data, *start)
    fixed = maximise_steps(data, *start, homogeneous=True)
    if best.loglik <= fixed.loglik + ROUNDING:
        best = fixed
    lrt = 2.0 * (best.loglik - unselected.loglik)
    lrt_tau2 = max(0.0, 2.0 * (best.loglik - fixed.loglik))
    se = best.standard_errors()
    return SelmodelFit(
        alternative=alternative,
        estimates=_estimates(design, best, se),
        tau2=best.tau2,
        tau2_se=None if np.isnan(se[design.p]) else float(se[design.p]),
        loglik=best.loglik,
        loglik_unselected=unselected.loglik,
        lrt=lrt,
        lrt_df=len(edges),
        lrt_p=chi2_sf(lrt, len(edges)),
        lrt_tau2=lrt_tau2,
        lrt_tau2_p=chi2_sf(lrt_tau2, 1),
        bins=_bins(data, edges, best.weights, se[design.p + 1 :]),
        boundary=_boundary(best),
        converged=best.converged,
        limits=LIMITS + dependence_limit(design),
    )


def _as_independent(design: Design) -> Design:
    """Return the design with every row in a sample of its own."""
    return replace(
        design,
        levels=2,
        cluster=np.arange(design.k, dtype=np.intp),
        cluster_names=tuple(str(row) for row in range(design.k)),
        n_measured=None,
        V=None,
    )


def _check(data: StepLikelihood, design: Design, edges: tuple[float, ...]) -> None:
    """Refuse data that cannot determine the weights."""
    if list(edges) != sorted(set(edges)) or not edges or edges[0] <= 0 or edges[-1] >= 1:
        raise EngineError(f"steps must be ascending p-values between 0 and 1, not {edges}.")
    if data.counts[0] == 0:
        raise EngineError(
            f"no effect has a p-value of {edges[0]:g} or less, so weights relative to that bin "
            "cannot be estimated; move the first step up."
        )
    if data.counts[0] == design.k:
        raise EngineError(
            f"every effect has a p-value of {edges[0]:g} or less; there is nothing to say about "
            "the others."
        )
    needed = design.p + 1 + int(np.sum(data.counts[1:] > 0))
    if design.k <= needed:
        raise EngineError(f"{design.k} effects cannot determine {needed} parameters.")


def _estimates(design: Design, best: StepOptimum, se: Vector) -> dict[str, Estimate]:
    """Return coefficients, tau and weights; a missing standard error leaves the interval out."""
    p = design.p
    estimates = {}
    for name, value, sd in zip(design.coefficients, best.beta, se[:p], strict=True):
        estimates[name] = _wald(name, float(value), float(sd), null=0.0)
    estimates["tau_between"] = Estimate(
        "tau_between", float(np.sqrt(best.tau2)), interval="not computed"
    )
    estimates["omega[1]"] = Estimate("omega[1]", 1.0, interval="fixed")
    for b, (value, sd) in enumerate(zip(best.weights[1:], se[p + 1 :], strict=True), start=2):
        name = f"omega[{b}]"
        estimates[name] = _wald(name, float(value), float(sd), null=1.0, least=0.0)
    return estimates


def _wald(name: str, value: float, sd: float, *, null: float, least: float = -np.inf) -> Estimate:
    if np.isnan(sd):
        return Estimate(name, value, interval="not computed")
    lower, upper = (float(end) for end in interval(value, sd))
    p = float(two_sided_p((value - null) / sd))
    return Estimate(name, value, sd, max(lower, least), upper, interval="Wald z", p=p)


def _bins(
    data: StepLikelihood, edges: tuple[float, ...], weights: Vector, se: Vector
) -> pd.DataFrame:
    """Return the bins with their counts and weights."""
    return pd.DataFrame(
        {
            "lower": [0.0, *edges],
            "upper": [*edges, 1.0],
            "count": data.counts,
            "weight": weights,
            "se": [np.nan, *se],
        }
    )


def _boundary(best: StepOptimum) -> tuple[str, ...]:
    """Return the names of the parameters at zero."""
    names = ["tau_between"] if best.tau2 == 0 else []
    return (*names, *(f"omega[{b}]" for b, w in enumerate(best.weights, start=1) if w == 0))
