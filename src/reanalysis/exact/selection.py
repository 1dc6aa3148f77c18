"""The exact engine of the selection mechanisms, PET and PEESE.

A posterior is integrated by quadrature and, independently, by importance sampling
(`reanalysis.exact.selection_fit`); only if both agree is anything returned.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from reanalysis.design import Design, resolve_priors
from reanalysis.exact.normal import Detail
from reanalysis.exact.problem import Heterogeneity, Problem
from reanalysis.exact.selection_fit import CrossCheck, integrate_target
from reanalysis.exact.selection_summaries import (
    density_curves,
    parameter_margins,
    summarise_margins,
    summarise_predictions,
)
from reanalysis.exact.selection_target import Target
from reanalysis.marginal import Statistics
from reanalysis.priors import Prior
from reanalysis.results import EngineError, Estimate, Posterior
from reanalysis.selection import Bins, Mechanism, SelectionData, WeightPrior
from reanalysis.selection.bias_priors import BIAS_PRIORS
from reanalysis.selection_columns import direction_notes
from reanalysis.spec import ModelSpec

__all__ = ["SelectionPosterior", "fit_exact_selection", "make_target"]

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SelectionPosterior(Posterior):
    """A posterior of a selection model, PET or PEESE, with what it rests on.

    Attributes
    ----------
    mechanism : str
        The claim about how results went missing.
    check : CrossCheck or None
        The two log marginal likelihoods.
    bins : pandas.DataFrame
        One row per bin of p-values: ``bin``, ``effects`` (number of effects), ``decisions``
        (number of selection decisions observed there: one per effect, or per sample for
        ``study``), and the mean and central 95 % interval of its weight before and after the data,
        or the ``weight`` that was held fixed.
    weight_prior : WeightPrior or None
        Prior of the weights.
    notes : tuple of str
        What a reader must know about this fit, in sentences.
    """

    mechanism: str = ""
    check: CrossCheck | None = None
    bins: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)
    weight_prior: WeightPrior | None = None
    notes: tuple[str, ...] = ()


def fit_exact_selection(
    design: Design,
    spec: ModelSpec,
    priors: Mapping[str, Prior] | None = None,
    *,
    weights: WeightPrior | None = None,
    two_sided: bool = False,
    direction: int = 1,
    p_values: Literal["z", "t"] = "z",
    seed: int = 2021,
    detail: Detail = "full",
) -> SelectionPosterior:
    """Fit a selection mechanism, PET or PEESE exactly.

    Parameters
    ----------
    design : Design
        The data of the model; sampling errors must be independent.
    spec : ModelSpec
        The model; its mechanism may be any but ``none``.
    priors : mapping of str to Prior, optional
        Prior of every parameter; those of `resolve_priors` by default. ``omega``, a beta prior,
        makes the weights independent.
    weights : WeightPrior, optional
        Prior of the weights; by default those that the spec holds fixed, or cumulative Dirichlet
        with ones.
    two_sided : bool
        Whether the steps are two-sided p-values.
    direction : int
        Expected direction of the effects, 1 or -1.
    p_values : str
        ``z`` for p-values of ``yi / sei``, ``t`` for those of the t test of a correlation.
    seed : int
        Seed of the importance sampler.
    detail : str
        As for `reanalysis.exact.fit_exact`.

    Returns
    -------
    SelectionPosterior
        Estimates, densities, log marginal likelihood with its error, bins and notes.

    Raises
    ------
    ValueError
        If the data do not fit the mechanism.
    EngineError
        If the engine has no method for the model or cannot reach its tolerance.
    """
    priors = resolve_priors(design, spec) if priors is None else priors
    target = make_target(
        design,
        spec,
        priors,
        weights=weights,
        two_sided=two_sided,
        direction=direction,
        p_values=p_values,
    )
    integral = integrate_target(target, seed=seed)
    bias_name = spec.mechanism if target.predictor is not None else ""
    margins = parameter_margins(integral.fine, design.coefficients, bias_name)
    coarse = parameter_margins(integral.coarse, design.coefficients, bias_name)
    estimates = summarise_margins(margins, coarse)
    curves = {} if detail == "parameters" else density_curves(margins, estimates)
    if detail == "full" and design.coefficients == ("mu",):
        estimates |= summarise_predictions(
            integral.fine, integral.coarse, correlations=design.measure == "ZCOR"
        )
    check = integral.check
    return SelectionPosterior(
        engine="exact",
        estimates=estimates,
        log_marginal_likelihood=check.quadrature,
        log_marginal_likelihood_error=abs(check.refinement),
        densities=curves,
        mechanism=spec.mechanism,
        check=check,
        bins=_bin_table(target, estimates),
        weight_prior=target.weights if target.predictor is None else None,
        notes=_notes(design, target, spec, direction),
    )


def make_target(
    design: Design,
    spec: ModelSpec,
    priors: Mapping[str, Prior],
    *,
    weights: WeightPrior | None = None,
    two_sided: bool = False,
    direction: int = 1,
    p_values: Literal["z", "t"] = "z",
    columns: tuple[int, ...] | None = None,
    heterogeneity: Heterogeneity | None = None,
) -> Target:
    """Return the posterior to integrate.

    Parameters
    ----------
    design, spec, priors, weights, two_sided, direction
        As for `fit_exact_selection`; the mechanism may also be ``none``.
    p_values : str
        ``z``: p-values of ``yi / sei``. ``t``: those of the t test of a correlation with ``n - 2``
        degrees of freedom, which papers print and RoBMA uses; for Fisher's z with known n.
    columns : tuple of int, optional
        Free coefficients, the others are zero; all by default.
    heterogeneity : str, optional
        Heterogeneity in the model; by default what the levels of the design say.

    Returns
    -------
    Target
        For `integrate_target`.
    """
    if direction not in (1, -1):
        raise ValueError(f"direction must be 1 or -1, not {direction}")
    if design.V is not None or spec.sampling_correlation != 0:
        raise EngineError(
            "selection models, PET and PEESE need independent sampling errors within a sample; set "
            "sampling_correlation = 0 for them"
        )
    odd = [name for name in design.coefficients if priors[name].family != "normal"]
    if odd:
        raise EngineError(
            f"the exact engine needs normal priors of coefficients; '{odd[0]}' has {priors[odd[0]]}"
        )
    bins = Bins(spec.steps, two_sided)
    regression = spec.mechanism in ("pet", "peese")
    mechanism: Mechanism = "none" if regression else spec.mechanism  # type: ignore[assignment]
    data = SelectionData(
        direction * design.yi,
        design.vi,
        design.cluster,
        bins,
        mechanism,
        n_averaged=design.n_averaged,
        n_measured=design.n_measured,
        primary=design.primary if mechanism == "study" else None,
        cutoffs=_t_cutoffs(design, bins) if p_values == "t" else np.empty(0),
    )
    if mechanism == "none":
        weights = WeightPrior.fixed(np.ones(bins.count))
    elif weights is None and spec.omega:
        weights = WeightPrior.fixed(spec.omega)
    elif weights is None:
        weights = _weight_prior(bins.count, priors.get("omega"))
    if weights.count != bins.count:
        raise ValueError(f"{weights.count} weights were given for {bins.count} bins of p-values")
    predictor = None
    if regression:
        predictor = np.sqrt(design.vi) if spec.mechanism == "pet" else design.vi
    return Target(
        Problem(
            stats=Statistics.of(design.yi, design.vi, design.X, design.cluster, design.n_averaged),
            priors=priors,
            prior_mean=np.array([priors[name].parameters["mu"] for name in design.coefficients]),
            prior_sd=np.array([priors[name].parameters["sigma"] for name in design.coefficients]),
            columns=tuple(range(design.p)) if columns is None else columns,
            heterogeneity=heterogeneity or ("both" if design.levels == 3 else "between"),
            rho=0.0,
            scale=float(np.sqrt(np.median(design.vi))) / 2,
        ),
        data,
        direction * design.X,
        weights,
        predictor,
        priors.get(spec.mechanism, BIAS_PRIORS[spec.mechanism]) if regression else None,
    )


def _t_cutoffs(design: Design, bins: Bins) -> Vector:
    """Return Fisher's z of the correlations whose t test gives the steps."""
    if design.measure != "ZCOR" or design.ni is None:
        raise ValueError(
            "p-values of the t test need correlations with their sample sizes (measure ZCOR, ni)"
        )
    df = design.ni[:, None] - 2
    steps = np.asarray(bins.steps) / (2 if bins.two_sided else 1)
    t = -special.stdtrit(df, steps)
    return np.arctanh(t / np.sqrt(t**2 + df))


def _weight_prior(count: int, prior: Prior | None) -> WeightPrior:
    if prior is None:
        return WeightPrior.cumulative_dirichlet(count)
    if prior.family == "uniform" and prior.support == (0.0, 1.0):
        return WeightPrior.independent_beta(count)
    if prior.family != "beta":
        raise ValueError(
            f"the prior of omega must be a beta distribution (independent weights), not {prior}; "
            "leave it out for ordered weights"
        )
    return WeightPrior.independent_beta(count, prior.parameters["alpha"], prior.parameters["beta"])


def _bin_table(target: Target, estimates: Mapping[str, Estimate]) -> pd.DataFrame:
    data, prior = target.data, target.weights
    table = pd.DataFrame(
        {
            "bin": data.bins.labels,
            "effects": np.bincount(data.bin, minlength=data.bins.count),
            "decisions": data.decided,
        }
    )
    if target.predictor is not None:
        return table
    if prior.values:
        table["weight"] = prior.values
        return table
    before = prior.quantiles([0.025, 0.5, 0.975])
    table["prior_lower"], table["prior_median"], table["prior_upper"] = before
    after = [estimates.get(f"omega[{b + 1}]") for b in range(data.bins.count)]
    for column, attribute in (
        ("lower", "lower"),
        ("median", "median"),
        ("upper", "upper"),
        ("mean", "value"),
        ("sd", "sd"),
    ):
        values = [1.0 if e is None else getattr(e, attribute) for e in after]
        if column == "sd":
            values[0] = 0.0
        table[f"posterior_{column}"] = np.array(values, dtype=float)
    return table


def _notes(design: Design, target: Target, spec: ModelSpec, direction: int) -> tuple[str, ...]:
    data = target.data
    oriented = replace(spec, two_sided=data.bins.two_sided)
    notes = [*direction_notes(oriented, direction * data.yi, direction)]
    counts = np.bincount(data.bin, minlength=data.bins.count)
    if target.predictor is not None:
        if design.measure == "ZCOR":
            notes.append(
                "The sampling variance of Fisher's z depends on the sample size only, so the "
                "predictor is not correlated with the effects by construction."
            )
        return tuple(notes)
    listed = ", ".join(f"{label}: {n}" for label, n in zip(data.bins.labels, counts, strict=True))
    notes.append(f"Effects per bin of p-values: {listed}.")
    if target.weights.values:
        held = ", ".join(f"{value:g}" for value in target.weights.values)
        return (*notes, f"The weights are held at {held}; nothing was estimated about them.")
    for label, n in zip(data.bins.labels, counts, strict=True):
        if n == 0:
            notes.append(
                f"No effect has {label}: what is said about this bin comes from the prior and "
                "from what the model expects there."
            )
        if n == data.k:
            notes.append(
                f"All {data.k} effects have {label}: relative weights rest on the prior and on "
                "what the model expects elsewhere."
            )
    if spec.mechanism == "replace":
        notes.append("Every sample is seen under this mechanism; only effects are exchanged.")
    return tuple(notes)
