"""Model averaging over effect, heterogeneity and publication bias.

Every model of the set is integrated exactly (`reanalysis.exact.selection_fit`); posterior model
probabilities follow from the marginal likelihoods, not from sampling over models.

References
----------
Maier, M., Bartoš, F., & Wagenmakers, E.-J. (2023). Psychological Methods, 28(1), 107-122.
Bartoš, F., Maier, M., Wagenmakers, E.-J., Doucouliagos, H., & Stanley, T. D. (2023). Research
Synthesis Methods, 14(1), 99-116 (the 36 models, "RoBMA-PSMA").
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reanalysis.design import Design, resolve_priors
from reanalysis.exact.selection import make_target
from reanalysis.exact.selection_fit import integrate_target
from reanalysis.exact.selection_margins import Margin
from reanalysis.exact.selection_quantiles import find_quantiles
from reanalysis.exact.selection_summaries import parameter_margins
from reanalysis.exact.selection_target import Target
from reanalysis.priors import Prior
from reanalysis.results import EngineError, Estimate
from reanalysis.selection.bias_priors import BIAS_PRIORS
from reanalysis.spec import Bias, ModelSpec

__all__ = [
    "PSMA",
    "BiasModel",
    "ModelAverage",
    "average_models",
    "named_biases",
    "psma_by_mechanism",
]

Vector = NDArray[np.float64]
SAME = 1e-9  # relative difference of variances that is rounding
BiasMechanism = Literal["none", "joint", "replace", "study", "pet", "peese"]

PROBABILITIES = np.array([0.025, 0.5, 0.975])
# Below this share a model cannot change a printed number, and its own numbers are not printed.
NEGLIGIBLE = 1e-6


@dataclass(frozen=True)
class BiasModel:
    """One way of publication bias in a set of models.

    Attributes
    ----------
    name : str
        Name in tables.
    mechanism : str
        ``none``, ``joint``, ``replace``, ``study``, ``pet`` or ``peese``. ``thin`` cannot be
        averaged with the others: it also models how many effects are reported.
    weight : float
        Prior weight, relative to the others that are ``none`` or that are not.
    steps, two_sided
        Bins of p-values of a selection mechanism.
    """

    name: str
    mechanism: BiasMechanism
    weight: float = 1.0
    steps: tuple[float, ...] = (0.025, 0.5)
    two_sided: bool = False

    def __post_init__(self) -> None:
        """Check the mechanism and the weight."""
        known = ("none", "joint", "replace", "study", "pet", "peese")
        if self.mechanism not in known:
            raise ValueError(
                f"'{self.mechanism}' cannot be averaged over; choose from {', '.join(known)}"
            )
        if not 0 < self.weight < np.inf:
            raise ValueError(f"the weight of '{self.name}' must be positive, not {self.weight}")


PSMA: tuple[BiasModel, ...] = (
    BiasModel("none", "none"),
    BiasModel("two-sided .05", "joint", 1 / 12, (0.05,), True),
    BiasModel("two-sided .05, .10", "joint", 1 / 12, (0.05, 0.1), True),
    BiasModel("one-sided .05", "joint", 1 / 12, (0.05,)),
    BiasModel("one-sided .025, .05", "joint", 1 / 12, (0.025, 0.05)),
    BiasModel("one-sided .05, .50", "joint", 1 / 12, (0.05, 0.5)),
    BiasModel("one-sided .025, .05, .50", "joint", 1 / 12, (0.025, 0.05, 0.5)),
    BiasModel("PET", "pet", 1 / 4),
    BiasModel("PEESE", "peese", 1 / 4),
)


def named_biases(given: Sequence[Bias]) -> tuple[BiasModel, ...]:
    """Return the set of bias models that a spec lists, each with a name for tables.

    Parameters
    ----------
    given : sequence of Bias
        From the spec.

    Returns
    -------
    tuple of BiasModel
        For `average_models`.
    """
    models = []
    for one in given:
        name = {"none": "none", "pet": "PET", "peese": "PEESE"}.get(one.mechanism)
        if name is None:
            sides = "two-sided" if one.two_sided else "one-sided"
            steps = ", ".join(f"{step:g}".removeprefix("0") for step in one.steps)
            name = f"{sides} {steps} ({one.mechanism})"
        models.append(BiasModel(name, one.mechanism, one.weight, one.steps, one.two_sided))
    return tuple(models)


def psma_by_mechanism(
    mechanisms: Sequence[BiasMechanism] = ("joint", "replace", "study"),
) -> tuple[BiasModel, ...]:
    """Return the set of RoBMA-PSMA with every weight function under several mechanisms.

    Parameters
    ----------
    mechanisms : sequence of str
        Mechanisms that share the prior weight of each weight function.

    Returns
    -------
    tuple of BiasModel
        For `average_models`; for samples with several effects.
    """
    models = []
    for bias in PSMA:
        if bias.mechanism != "joint":
            models.append(bias)
            continue
        models += [
            replace(
                bias,
                name=f"{bias.name} ({mechanism})",
                mechanism=mechanism,
                weight=bias.weight / len(mechanisms),
            )
            for mechanism in mechanisms
        ]
    return tuple(models)


@dataclass(frozen=True, eq=False)
class ModelAverage:
    """Models, their probabilities, and what they say together.

    Attributes
    ----------
    models : pandas.DataFrame
        One row per model: ``effect``, ``heterogeneity`` (bool), ``bias``, ``mechanism``,
        ``prior`` and ``posterior`` probability, ``log_marginal_likelihood`` with ``error`` (the
        change on refining the grid) and ``check`` (difference from importance sampling), and the
        posterior mean and SD of ``mu`` in that model.
    inclusion : pandas.DataFrame
        One row per component (``effect``, ``heterogeneity``, ``bias`` and each kind of bias):
        prior and posterior probability, Bayes factor and its natural log.
    averaged : mapping of str to Estimate
        Over all models; a parameter is zero in the models without it.
    conditional : mapping of str to Estimate
        Over the models that have the parameter.
    weight_function : pandas.DataFrame
        Averaged mean weight on each bin of one-sided p-values (1 without selection).
    """

    models: pd.DataFrame
    inclusion: pd.DataFrame
    averaged: Mapping[str, Estimate]
    conditional: Mapping[str, Estimate]
    weight_function: pd.DataFrame = field(repr=False)


@dataclass(frozen=True, eq=False)
class _Fitted:
    """One model of the set after integration."""

    effect: bool
    heterogeneity: bool
    bias: BiasModel
    prior: float
    evidence: float
    error: float
    check: float
    target: Target
    margins: Mapping[str, Margin]


def average_models(
    design: Design,
    spec: ModelSpec,
    priors: Mapping[str, Prior] | None = None,
    *,
    biases: Sequence[BiasModel] = PSMA,
    prior_effect: float = 0.5,
    prior_heterogeneity: float = 0.5,
    prior_bias: float = 0.5,
    direction: int = 1,
    p_values: Literal["z", "t"] = "z",
    seed: int = 2021,
) -> ModelAverage:
    """Average over effect, heterogeneity and bias.

    Parameters
    ----------
    design : Design
        The data; intercept only.
    spec : ModelSpec
        The model whose priors are used; its mechanism and steps are not.
    priors : mapping of str to Prior, optional
        Instead of those of the spec; ``pet`` and ``peese`` are half-Cauchy by default.
    biases : sequence of BiasModel
        The bias component; RoBMA-PSMA by default.
    prior_effect, prior_heterogeneity, prior_bias : float
        Prior probability that the component is there.
    direction : int
        Expected direction of the effects, 1 or -1.
    p_values : str
        ``z`` for p-values of ``yi / sei``, ``t`` for those of the t test of a correlation (RoBMA).
    seed : int
        Seed of the importance sampler.

    Returns
    -------
    ModelAverage
        Model and inclusion probabilities, averaged and conditional estimates.

    Raises
    ------
    ValueError
        If a probability or the set of bias models cannot be used.
    EngineError
        If a model cannot be integrated, or the design has moderators.
    """
    if design.coefficients != ("mu",):
        raise EngineError("model averaging is for models with one mean and no moderators")
    for name, value in (
        ("prior_effect", prior_effect),
        ("prior_heterogeneity", prior_heterogeneity),
        ("prior_bias", prior_bias),
    ):
        if not 0 < value < 1:
            raise ValueError(f"{name} must be between 0 and 1, not {value}")
    shares = _bias_shares(biases, prior_bias)
    same = np.ptp(design.vi) <= SAME * design.vi.max()
    if same and any(bias.mechanism in ("pet", "peese") for bias in biases):
        raise EngineError(
            "PET and PEESE ask how effects change with their standard error, but all have the "
            f"same, {np.sqrt(design.vi[0]):.3g}; list other models of bias under [average]"
        )
    if priors is None:
        priors = resolve_priors(design, replace(spec, mechanism="none", omega=(), primary=""))
    priors = {**BIAS_PRIORS, **priors}
    fitted = []
    for effect in (False, True):
        for heterogeneity in (False, True):
            for bias, share in zip(biases, shares, strict=True):
                prior = share * (prior_effect if effect else 1 - prior_effect)
                prior *= prior_heterogeneity if heterogeneity else 1 - prior_heterogeneity
                target = make_target(
                    design,
                    replace(spec, mechanism=bias.mechanism, steps=bias.steps, omega=()),
                    priors,
                    two_sided=bias.two_sided,
                    direction=direction,
                    p_values=p_values,
                    columns=(0,) if effect else (),
                    heterogeneity=None if heterogeneity else "none",
                )
                fitted.append(_fit(effect, heterogeneity, bias, prior, target, seed))
    return _average(fitted)


def _bias_shares(biases: Sequence[BiasModel], prior_bias: float) -> list[float]:
    totals = {
        present: sum(b.weight for b in biases if (b.mechanism != "none") == present)
        for present in (False, True)
    }
    if not totals[True] or not totals[False]:
        raise ValueError("the set needs at least one model with bias and one without")
    return [
        (prior_bias if b.mechanism != "none" else 1 - prior_bias)
        * b.weight
        / totals[b.mechanism != "none"]
        for b in biases
    ]


def _fit(
    effect: bool, heterogeneity: bool, bias: BiasModel, prior: float, target: Target, seed: int
) -> _Fitted:
    if target.dimension == 0:
        evidence = float(target.log_density(np.empty((1, 0)))[0])
        return _Fitted(effect, heterogeneity, bias, prior, evidence, 0.0, 0.0, target, {})
    integral = integrate_target(target, seed=seed)
    name = bias.mechanism if target.predictor is not None else ""
    margins = parameter_margins(integral.fine, ("mu",) if effect else (), name)
    check = integral.check
    return _Fitted(
        effect,
        heterogeneity,
        bias,
        prior,
        check.quadrature,
        abs(check.refinement),
        check.difference,
        target,
        margins,
    )


def _average(fitted: Sequence[_Fitted]) -> ModelAverage:
    prior = np.array([f.prior for f in fitted])
    evidence = np.array([f.evidence for f in fitted])
    posterior = prior * np.exp(evidence - evidence.max())
    posterior /= posterior.sum()
    moments = [f.margins["mu"].moments() if f.effect else (0.0, 0.0) for f in fitted]
    models = pd.DataFrame(
        {
            "effect": [f.effect for f in fitted],
            "heterogeneity": [f.heterogeneity for f in fitted],
            "bias": [f.bias.name for f in fitted],
            "mechanism": [f.bias.mechanism for f in fitted],
            "prior": prior,
            "posterior": posterior,
            "log_marginal_likelihood": evidence,
            "error": [f.error for f in fitted],
            "check": [f.check for f in fitted],
            "mu": [mean for mean, _ in moments],
            "mu_sd": [sd for _, sd in moments],
        }
    )
    components: dict[str, Callable[[_Fitted], bool]] = {
        "effect": lambda f: f.effect,
        "heterogeneity": lambda f: f.heterogeneity,
        "bias": lambda f: f.bias.mechanism != "none",
    }
    for mechanism in dict.fromkeys(f.bias.mechanism for f in fitted):
        if mechanism != "none":
            components[f"bias: {mechanism}"] = partial(_has_mechanism, mechanism)
    rows = []
    for name, has in components.items():
        inside = np.array([has(f) for f in fitted])
        before, after = prior[inside].sum(), posterior[inside].sum()
        without = posterior[~inside].sum()
        log_bf = np.log(after) - np.log(without) - np.log(before) + np.log1p(-before)
        rows.append((name, before, after, np.exp(log_bf), log_bf))
    columns = ["component", "prior", "posterior", "bayes_factor", "log_bayes_factor"]
    inclusion = pd.DataFrame(rows, columns=columns).set_index("component")
    names = dict.fromkeys(name for f in fitted for name in f.margins if "omega" not in name)
    return ModelAverage(
        models,
        inclusion,
        {name: _mixture(name, fitted, posterior, conditional=False) for name in names},
        {name: _mixture(name, fitted, posterior, conditional=True) for name in names},
        _weight_function(fitted, posterior),
    )


def _has_mechanism(mechanism: str, fitted: _Fitted) -> bool:
    return fitted.bias.mechanism == mechanism


def _mixture(
    name: str, fitted: Sequence[_Fitted], posterior: Vector, *, conditional: bool
) -> Estimate:
    """Return the mixture over models of one parameter, with a spike at zero where it is absent."""
    present = [
        (probability, f.margins[name])
        for f, probability in zip(fitted, posterior, strict=True)
        if name in f.margins
    ]
    total = sum(probability for probability, _ in present)
    scale = 1 / total if conditional else 1.0
    weights = scale * np.array([probability for probability, _ in present])
    moments = np.array([distribution.moments() for _, distribution in present])
    mean = float(weights @ moments[:, 0])
    square = float(weights @ (moments[:, 1] ** 2 + moments[:, 0] ** 2))
    spike = 0.0 if conditional else float(1 - total)
    used = [
        (weight, distribution)
        for weight, (_, distribution) in zip(weights, present, strict=True)
        if weight > NEGLIGIBLE * weights.max()
    ]
    kept = sum(weight for weight, _ in used) / weights.sum()

    def cdf(x: Vector) -> Vector:
        value = sum(weight * distribution.cdf_pdf(x)[0] for weight, distribution in used) / kept
        return np.asarray(value + spike * (x >= 0))

    ends = [distribution.range for _, distribution in used]
    low, high = min(min(e) for e in ends), max(max(e) for e in ends)
    quantiles = find_quantiles(cdf, PROBABILITIES, (min(low, 0.0), max(high, 0.0)))
    below = cdf(np.array([0.0]))[0] - spike
    at_zero = (spike > 0) & (below < PROBABILITIES) & (below + spike >= PROBABILITIES)
    lower, median, upper = np.where(at_zero, 0.0, quantiles).tolist()
    return Estimate(
        name, mean, float(np.sqrt(max(square - mean**2, 0.0))), lower, upper, median=median
    )


def _weight_function(fitted: Sequence[_Fitted], posterior: Vector) -> pd.DataFrame:
    """Return the averaged mean weight on bins of one-sided p-values."""
    selections = [f.target.data.bins for f in fitted if f.target.weights.dimension]
    cuts = {0.0, 1.0}
    for bins in selections:
        steps = [s / 2 for s in bins.steps] if bins.two_sided else list(bins.steps)
        cuts |= {*steps, *(1 - s for s in steps if bins.two_sided)}
    edges = np.array(sorted(cuts))
    middle = (edges[1:] + edges[:-1]) / 2
    mean = np.zeros(len(middle))
    for f, probability in zip(fitted, posterior, strict=True):
        if not f.target.weights.dimension:
            mean += probability
            continue
        bins = f.target.data.bins
        p = 2 * np.minimum(middle, 1 - middle) if bins.two_sided else middle
        omega = [1.0] + [f.margins[f"omega[{b}]"].moments()[0] for b in range(2, bins.count + 1)]
        mean += probability * np.array(omega)[np.searchsorted(bins.steps, p, side="left")]
    return pd.DataFrame({"p_from": edges[:-1], "p_to": edges[1:], "mean": mean})
