"""The claims ledger: each claim of a paper beside what answers it here, with a verdict by rule.

The rules are stated in `RULES` before any number is seen and are printed with the ledger. A
Bayes factor of 3 is Jeffreys' (1961) boundary between anecdotal and moderate evidence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
import pandas as pd
from scipy.special import ndtr

from reanalysis.design import Design
from reanalysis.results import Estimate, FrequentistFit, Posterior
from reanalysis.spec import Claim

__all__ = ["RULES", "Entry", "coefficient", "ledger", "ledger_table"]

Verdict = Literal[
    "supported", "uncertain", "contradicted", "cannot be checked from the published data"
]
UNCHECKABLE: Verdict = "cannot be checked from the published data"

EVIDENCE = 3.0
SURE = 0.95
MODERATE_I2 = 50.0

RULES: Mapping[str, str] = {
    "effect": (
        "supported if the Bayes factor for an effect is at least 3 and the 95 % interval lies on "
        "the claimed side of zero; contradicted if the Bayes factor is at most 1/3; otherwise "
        "uncertain"
    ),
    "difference": (
        "supported if the Bayes factor for a difference is at least 3; contradicted if it is at "
        "most 1/3; otherwise uncertain"
    ),
    "no_difference": (
        "supported if the Bayes factor for a difference is at most 1/3; contradicted if it is at "
        "least 3; otherwise uncertain: a large p-value alone supports nothing"
    ),
    "smaller": (
        "supported if the posterior probability of being smaller than the benchmark, whose own "
        "uncertainty is counted, is at least .95; contradicted if it is at most .05; otherwise "
        "uncertain"
    ),
    "larger": (
        "supported if the posterior probability of being larger than the benchmark, whose own "
        "uncertainty is counted, is at least .95; contradicted if it is at most .05; otherwise "
        "uncertain"
    ),
    "low_heterogeneity": (
        "supported if the posterior probability that less than half of the total variance is "
        "heterogeneity (I² < 50 %, Higgins et al. 2003) is at least .95; contradicted if it is at "
        "most .05; otherwise uncertain"
    ),
    "no_bias": (
        "contradicted if the Bayes factor for publication bias, averaged over the model set, is "
        "at least 3; otherwise uncertain, never supported: such methods can find bias, but at "
        "this size their silence says nothing"
    ),
}


class Fitted(Protocol):
    """What the ledger needs of a fitted model."""

    @property
    def design(self) -> Design:
        """Arrays of the model."""

    @property
    def reml(self) -> FrequentistFit | None:
        """Frequentist fit."""

    @property
    def exact(self) -> Posterior | None:
        """Exact posterior."""

    @property
    def nuts(self) -> Posterior | None:
        """Sampled posterior."""


@dataclass(frozen=True)
class Entry:
    """One claim with its answer.

    Attributes
    ----------
    claim : Claim
        What the paper says.
    verdict : str
        ``supported``, ``uncertain``, ``contradicted`` or ``cannot be checked from the published
        data``.
    reason : str
        The verdict in one sentence, with the number that decides.
    rule : str
        The rule that gave it.
    reml : Estimate or None
        The parameter under REML.
    bayes : Estimate or None
        The parameter's posterior.
    bayes_factor : float or None
        Natural log of the Bayes factor that answers the claim.
    probability : float or None
        Posterior probability that answers the claim.
    p : float or None
        Frequentist p-value here.
    """

    claim: Claim
    verdict: Verdict
    reason: str
    rule: str
    reml: Estimate | None = None
    bayes: Estimate | None = None
    bayes_factor: float | None = None
    probability: float | None = None
    p: float | None = None


def ledger(
    claims: Sequence[Claim],
    fitted: Mapping[str, Fitted],
    *,
    bias_bayes_factor: float | None = None,
) -> tuple[Entry, ...]:
    """Answer each claim from the fitted models.

    Parameters
    ----------
    claims : sequence of Claim
        What the paper asserts.
    fitted : mapping of str to Fitted
        The models by name.
    bias_bayes_factor : float, optional
        Natural log of the inclusion Bayes factor for publication bias, from model averaging.

    Returns
    -------
    tuple of Entry
        One per claim, in order.
    """
    return tuple(
        _by_bias(claim, bias_bayes_factor)
        if claim.asserts == "no_bias"
        else _answer(claim, fitted.get(claim.model))
        for claim in claims
    )


def ledger_table(entries: Sequence[Entry]) -> pd.DataFrame:
    """Return the ledger as a table.

    Parameters
    ----------
    entries : sequence of Entry
        From `ledger`.

    Returns
    -------
    pandas.DataFrame
        One row per claim: ``claim``, ``printed``, ``reml``, ``bayes``, ``bayes_factor``,
        ``probability``, ``p``, ``verdict``, ``reason``.
    """
    rows = [
        {
            "claim": e.claim.text,
            "printed": e.claim.published.get("estimate"),
            "reml": e.reml.value if e.reml else None,
            "bayes": e.bayes.value if e.bayes else None,
            "bayes_factor": float(np.exp(e.bayes_factor)) if e.bayes_factor is not None else None,
            "probability": e.probability,
            "p": e.p,
            "verdict": e.verdict,
            "reason": e.reason,
        }
        for e in entries
    ]
    return pd.DataFrame(rows, index=pd.Index([e.claim.id for e in entries], name="id"))


def _answer(claim: Claim, model: Fitted | None) -> Entry:
    rule = RULES[claim.asserts]
    if not claim.model:
        return Entry(claim, UNCHECKABLE, claim.note or "No model of this spec answers it.", rule)
    if model is None:
        return Entry(claim, UNCHECKABLE, f"The model '{claim.model}' was not fitted.", rule)
    posterior = model.exact or model.nuts
    if posterior is None:
        return Entry(claim, UNCHECKABLE, "No Bayesian fit of this model is there.", rule)
    if not posterior.passed:
        return Entry(claim, UNCHECKABLE, "The fit of this model did not converge.", rule)
    name = coefficient(model.design, claim.parameter)
    frequentist = model.reml.estimates.get(name) if model.reml else None
    base = Entry(
        claim,
        "uncertain",
        "",
        rule,
        reml=frequentist,
        bayes=posterior.estimates.get(name),
        p=_p_value(model.reml, name),
    )
    if claim.asserts in ("effect", "difference", "no_difference"):
        return _by_bayes_factor(base, model)
    if claim.asserts == "low_heterogeneity":
        return _by_heterogeneity(base, model, posterior)
    return _by_benchmark(base, model, posterior)


def coefficient(design: Design, parameter: str) -> str:
    """Return the coefficient of a moderator that has only one; the parameter itself otherwise.

    Parameters
    ----------
    design : Design
        Arrays of the model.
    parameter : str
        As a claim names it: a parameter, a coefficient or a moderator.

    Returns
    -------
    str
        Its key among the Bayes factors.
    """
    columns = design.factors.get(parameter, ())
    return design.coefficients[columns[0]] if len(columns) == 1 else parameter


def _by_bias(claim: Claim, log_bf: float | None) -> Entry:
    rule = RULES["no_bias"]
    if log_bf is None:
        reason = (
            "The data do not say: an absence of asymmetry among this few samples is expected "
            "with and without selection."
        )
        return Entry(claim, "uncertain", reason, rule)
    reason = (
        f"The Bayes factor {_odds(log_bf)} publication bias, averaged over the model set; the "
        "data do not rule it out."
    )
    verdict: Verdict = "contradicted" if log_bf >= np.log(EVIDENCE) else "uncertain"
    return Entry(claim, verdict, reason, rule, bayes_factor=log_bf)


def _p_value(reml: FrequentistFit | None, parameter: str) -> float | None:
    """Return the p-value of a coefficient, or of the omnibus test for a whole factor."""
    if reml is None:
        return None
    if parameter in reml.estimates:
        return reml.estimates[parameter].p
    return reml.qm_p


def _by_bayes_factor(base: Entry, model: Fitted) -> Entry:
    claim = base.claim
    factors = model.exact.bayes_factors if model.exact else {}
    name = coefficient(model.design, claim.parameter)
    if name not in factors:
        reason = f"The exact engine gave no Bayes factor for '{claim.parameter}'."
        return replace(base, reason=reason)
    log_bf = factors[name]
    word = "an effect" if claim.asserts == "effect" else "a difference"
    reason = f"The Bayes factor {_odds(log_bf)} {word}."
    strong, against = log_bf >= np.log(EVIDENCE), log_bf <= -np.log(EVIDENCE)
    verdict: Verdict = "uncertain"
    if claim.asserts == "no_difference":
        verdict = "supported" if against else "contradicted" if strong else "uncertain"
    elif against:
        verdict = "contradicted"
    elif strong:
        verdict = "supported"
        bayes = base.bayes
        sign = np.sign(float(claim.published.get("estimate", 0.0)))
        if claim.asserts == "effect" and bayes is not None and sign:
            ends = np.array([bayes.lower, bayes.upper], dtype=float) * sign
            if not np.all(ends > 0):
                verdict = "uncertain"
                reason += " The 95 % interval reaches zero."
    return replace(base, verdict=verdict, reason=reason, bayes_factor=log_bf)


def _odds(log_bf: float) -> str:
    size = abs(log_bf)
    if size > np.log(10_000):
        odds = "more than 10,000"
    else:
        odds = f"{np.exp(size):,.1f}" if size < np.log(100) else f"{np.exp(size):,.0f}"
    return f"is {odds} to 1 {'for' if log_bf > 0 else 'against'}"


def _by_heterogeneity(base: Entry, model: Fitted, posterior: Posterior) -> Entry:
    name = "tau" if "tau" in posterior.densities else "tau_between"
    if name not in posterior.densities:
        return replace(base, reason="No density of tau is there.")
    limit = float(np.sqrt(_typical_variance(model.design)))
    x, density = posterior.densities[name]
    probability = _mass_below(x, density, limit)
    reason = (
        f"The posterior probability that I² is below {MODERATE_I2:.0f} % is {probability:.2f} "
        f"(heterogeneity below {limit:.3f})."
    )
    return replace(base, verdict=_sure(probability), reason=reason, probability=probability)


def _by_benchmark(base: Entry, model: Fitted, posterior: Posterior) -> Entry:
    claim = base.claim
    if claim.parameter not in posterior.densities or "estimate" not in claim.against:
        reason = "The claim names no benchmark ('against'), or its parameter has no density."
        return replace(base, verdict=UNCHECKABLE, reason=reason)
    centre, se = _benchmark(claim.against, model.design.measure)
    x, density = posterior.densities[claim.parameter]
    if se > 0:
        below = ndtr((centre - x) / se)
        probability = float(np.trapezoid(density * below, x) / np.trapezoid(density, x))
    else:
        probability = _mass_below(x, density, centre)
    if claim.asserts == "larger":
        probability = 1 - probability
    word = "smaller" if claim.asserts == "smaller" else "larger"
    counted = "its uncertainty counted" if se > 0 else "taken as known"
    reason = (
        f"The posterior probability of being {word} than {claim.against['estimate']:g} "
        f"({counted}) is {probability:.3f}."
    )
    return replace(base, verdict=_sure(probability), reason=reason, probability=probability)


def _sure(probability: float) -> Verdict:
    if probability >= SURE:
        return "supported"
    return "contradicted" if probability <= 1 - SURE else "uncertain"


def _benchmark(against: Mapping[str, float | str], measure: str) -> tuple[float, float]:
    """Return the benchmark and its standard error on the analysis scale."""
    on_r = against.get("scale") == "r" and measure == "ZCOR"
    values = {k: float(against[k]) for k in ("estimate", "lower", "upper") if k in against}
    if on_r:
        values = {k: float(np.arctanh(v)) for k, v in values.items()}
    if "lower" in values and "upper" in values:
        return values["estimate"], (values["upper"] - values["lower"]) / (2 * 1.959964)
    return values["estimate"], float(against.get("se", 0.0))


def _mass_below(x: np.ndarray, density: np.ndarray, limit: float) -> float:
    fine = np.linspace(x[0], x[-1], 4001)
    y = np.interp(fine, x, density)
    return float(np.trapezoid(np.where(fine <= limit, y, 0.0), fine) / np.trapezoid(y, fine))


def _typical_variance(design: Design) -> float:
    """Return the typical sampling variance of Higgins & Thompson (2002), equation 9."""
    w = 1 / design.vi
    return float((design.k - 1) * w.sum() / (w.sum() ** 2 - (w**2).sum()))
