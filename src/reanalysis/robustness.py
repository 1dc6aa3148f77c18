"""What the headline and the ledger rest on: single samples, and how wide the priors are.

Every number is an exact refit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from reanalysis.claims import Entry, coefficient, ledger
from reanalysis.dataset import Dataset
from reanalysis.design import ZCOR_PRIORS, Design, resolve_priors
from reanalysis.exact import fit_exact, log_evidence
from reanalysis.moderators import COMMON_SCALE
from reanalysis.plan import PlannedModel
from reanalysis.priors import Prior
from reanalysis.results import EngineError, FrequentistFit, Posterior
from reanalysis.sensitivity import leave_samples_out, scale_curve, scale_priors, without_sample
from reanalysis.spec import Claim, ModelSpec

__all__ = ["Robustness", "make_robustness", "verdicts_by_prior_width", "verdicts_without_samples"]

WIDTHS = (0.5, 2.0)
SMALLEST = 3  # samples; without one of fewer nothing is left to compare
BY_BAYES_FACTOR = ("effect", "difference", "no_difference")


@dataclass(frozen=True, eq=False)
class Robustness:
    """How far the headline model and the verdicts depend on priors and on single samples.

    Attributes
    ----------
    model, measure : str
        The headline model, and the effect-size measure.
    samples : pandas.DataFrame
        From `reanalysis.sensitivity.leave_samples_out`.
    curve : pandas.DataFrame
        From `reanalysis.sensitivity.scale_curve`; empty if the prior of the mean is not normal.
    powers : pandas.DataFrame
        From `reanalysis.sensitivity.scale_priors`.
    verdicts : pandas.DataFrame
        One row per claim that can be refitted: ``claim``, its ``verdict``, the number of
        ``samples``, without how many of them the verdict is another (``changes``), and ``without``,
        which.
    widths : pandas.DataFrame
        One row per claim that a Bayes factor answers: ``claim``, its ``verdict`` and
        ``log_bayes_factor``, and the same with a prior of ``half`` and ``twice`` the width.
    """

    model: str
    measure: str
    samples: pd.DataFrame
    curve: pd.DataFrame
    powers: pd.DataFrame
    verdicts: pd.DataFrame
    widths: pd.DataFrame

    def document(self) -> dict[str, Any]:
        """Return everything, for JSON."""
        tables = ("samples", "curve", "powers", "verdicts", "widths")
        return {
            "model": self.model,
            "measure": self.measure,
            **{name: getattr(self, name).to_dict(orient="records") for name in tables},
        }

    def _repr_html_(self) -> str:
        return self.samples._repr_html_()  # type: ignore[operator]


@dataclass(frozen=True, eq=False)
class _Refit:
    """A model fitted again by the exact engine alone, as the ledger wants it."""

    design: Design
    exact: Posterior
    reml: FrequentistFit | None = None
    nuts: Posterior | None = None


def make_robustness(
    data: Dataset,
    models: Mapping[str, PlannedModel],
    claims: Sequence[Claim],
    entries: Sequence[Entry],
) -> Robustness:
    """Refit the headline, and what answers the claims.

    Parameters
    ----------
    data : Dataset
        The data.
    models : mapping of str to PlannedModel
        The models; the first is the headline.
    claims : sequence of Claim
        What the paper asserts.
    entries : sequence of Entry
        The ledger with all samples and the stated priors.

    Returns
    -------
    Robustness
        All tables.

    Raises
    ------
    EngineError
        If the exact engine has no method for the headline model.
    """
    headline = next(iter(models.values()))
    try:
        curve = scale_curve(headline.design, headline.spec)
    except EngineError:  # a prior of the mean that is not normal has no scale to vary
        curve = pd.DataFrame()
    answered = {entry.claim.id: entry for entry in entries}
    return Robustness(
        model=headline.spec.name,
        measure=headline.design.measure,
        samples=leave_samples_out(data, headline.spec),
        curve=curve,
        powers=scale_priors(headline.design, headline.spec),
        verdicts=verdicts_without_samples(models, claims, answered),
        widths=verdicts_by_prior_width(models, claims, answered),
    )


def verdicts_without_samples(
    models: Mapping[str, PlannedModel], claims: Sequence[Claim], entries: Mapping[str, Entry]
) -> pd.DataFrame:
    """Return without which samples a claim gets another verdict.

    Parameters
    ----------
    models : mapping of str to PlannedModel
        The models.
    claims : sequence of Claim
        What the paper asserts.
    entries : mapping of str to Entry
        Their answers with all samples.

    Returns
    -------
    pandas.DataFrame
        As `Robustness.verdicts`. Claims that a selection model or several models answer, and
        those of models with few samples, are left out.
    """
    rows: dict[str, dict[str, Any]] = {}
    for name, planned in models.items():
        asked = [claim for claim in claims if claim.model == name and _refittable(planned, claim)]
        if not asked:
            continue
        changed: dict[str, list[str]] = {claim.id: [] for claim in asked}
        for j, sample in enumerate(planned.design.cluster_names):
            design = without_sample(planned.design, j)
            for claim in asked:
                if _again(claim, design, planned.spec).verdict != entries[claim.id].verdict:
                    changed[claim.id].append(sample)
        for claim in asked:
            rows[claim.id] = {
                "claim": claim.id,
                "verdict": entries[claim.id].verdict,
                "samples": planned.design.m,
                "changes": len(changed[claim.id]),
                "without": changed[claim.id],
            }
    return pd.DataFrame([rows[claim.id] for claim in claims if claim.id in rows])


def verdicts_by_prior_width(
    models: Mapping[str, PlannedModel], claims: Sequence[Claim], entries: Mapping[str, Entry]
) -> pd.DataFrame:
    """Return how a Bayes factor and its verdict depend on the width of the tested prior.

    Parameters
    ----------
    models : mapping of str to PlannedModel
        The models.
    claims : sequence of Claim
        What the paper asserts.
    entries : mapping of str to Entry
        Their answers with the stated priors.

    Returns
    -------
    pandas.DataFrame
        As `Robustness.widths`.
    """
    rows = []
    for claim in claims:
        planned = models.get(claim.model)
        entry = entries.get(claim.id)
        if planned is None or entry is None or entry.bayes_factor is None:
            continue
        if claim.asserts not in BY_BAYES_FACTOR or not _refittable(planned, claim):
            continue
        row: dict[str, Any] = {
            "claim": claim.id,
            "verdict": entry.verdict,
            "log_bayes_factor": entry.bayes_factor,
        }
        for word, factor in zip(("half", "twice"), WIDTHS, strict=True):
            spec = _widened(planned.design, planned.spec, factor)
            again = _again(claim, planned.design, spec)
            row[f"verdict_{word}"] = again.verdict
            row[f"log_bayes_factor_{word}"] = again.bayes_factor
        rows.append(row)
    return pd.DataFrame(rows)


def _again(claim: Claim, design: Design, spec: ModelSpec) -> Entry:
    """Answer a claim from a refit that computes no more than its rule needs."""
    if claim.asserts in BY_BAYES_FACTOR:
        found = fit_exact(design, spec, detail="parameters")
        assert found.log_marginal_likelihood is not None
        null = log_evidence(design, spec, without=(claim.parameter,))
        factors = dict.fromkeys(
            (claim.parameter, coefficient(design, claim.parameter)),
            found.log_marginal_likelihood - null,
        )
        found = replace(found, bayes_factors=factors)
    else:
        found = fit_exact(design, spec)
    (entry,) = ledger([claim], {claim.model: _Refit(design, found)})
    return entry


def _refittable(planned: PlannedModel, claim: Claim) -> bool:
    design, spec = planned.design, planned.spec
    plain = spec.mechanism == "none" and design.scale is None and COMMON_SCALE not in spec.priors
    return plain and "exact" in spec.engines and claim.asserts != "no_bias" and design.m > SMALLEST


def _widened(design: Design, spec: ModelSpec, factor: float) -> ModelSpec:
    """Return a model whose tested coefficients have priors of another width."""
    if design.p == 1:
        tested = {"mu": spec.priors.get("mu") or resolve_priors(design, spec)["mu"]}
    else:
        tested = {
            name: prior
            for name, prior in spec.priors.items()
            if name.startswith("beta") and name != "beta[intercept]"
        } or {"beta": ZCOR_PRIORS["beta"]}
    wider = {
        name: Prior(p.family, {**p.parameters, "sigma": factor * p.parameters["sigma"]})
        for name, p in tested.items()
    }
    return replace(spec, priors={**spec.priors, **wider})
