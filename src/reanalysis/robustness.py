"""What the headline and the ledger rest on: single samples, priors, and the shape of the effects.

Every number is an exact refit, but for those that weight the draws of NUTS anew and say so.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pandas as pd

from reanalysis.claims import Entry, Fitted, coefficient, ledger
from reanalysis.dataset import Dataset
from reanalysis.design import ZCOR_PRIORS, Design, resolve_priors
from reanalysis.exact import Detail, fit_exact, log_evidence
from reanalysis.moderators import COMMON_SCALE
from reanalysis.multiverse.fitting import Fit, fit_key
from reanalysis.plan import PlannedModel
from reanalysis.priors import Prior
from reanalysis.results import EngineError, FrequentistFit, Posterior
from reanalysis.sensitivity import leave_samples_out, scale_curve, scale_priors, without_sample
from reanalysis.spec import Claim, ModelSpec

if TYPE_CHECKING:
    import xarray as xr

    from reanalysis.sampled_sensitivity import LeftOut

__all__ = [
    "HeavyTails",
    "Robustness",
    "make_robustness",
    "verdicts_by_prior_width",
    "verdicts_without_samples",
]

WIDTHS = (0.5, 2.0)
SMALLEST = 3  # samples; without one of fewer nothing is left to compare
BY_BAYES_FACTOR = ("effect", "difference", "no_difference")


@dataclass(frozen=True)
class HeavyTails:
    """The headline with Student-t in place of normal deviations of the samples.

    Attributes
    ----------
    estimate, lower, upper : float
        Of the first coefficient, on the analysis scale.
    shift : float
        Its distance from the headline's, in posterior standard deviations of that.
    degrees : float
        Posterior median of the degrees of freedom.
    log_bayes_factor : float
        Of Student-t against normal deviations.
    """

    estimate: float
    lower: float
    upper: float
    shift: float
    degrees: float
    log_bayes_factor: float


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
    scaling : pandas.DataFrame
        From `reanalysis.sampled_sensitivity.scale_groups`.
    loo : LeftOut or None
        From `reanalysis.sampled_sensitivity.leave_one_out`.
    heavy_tails : HeavyTails or None
        The robust alternative.
    skipped : mapping of str to str
        Part that could not be computed to the reason; its table is empty.
    """

    model: str
    measure: str
    samples: pd.DataFrame
    curve: pd.DataFrame
    powers: pd.DataFrame
    verdicts: pd.DataFrame
    widths: pd.DataFrame
    scaling: pd.DataFrame = field(default_factory=pd.DataFrame)
    loo: "LeftOut | None" = None
    heavy_tails: HeavyTails | None = None
    skipped: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return everything, for JSON."""
        tables = ("samples", "curve", "powers", "verdicts", "widths", "scaling")
        return {
            "model": self.model,
            "measure": self.measure,
            **{name: getattr(self, name).to_dict(orient="records") for name in tables},
            "loo": self.loo.document() if self.loo else None,
            "heavy_tails": asdict(self.heavy_tails) if self.heavy_tails else None,
            "skipped": dict(self.skipped),
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
    fits: Mapping[str, Fitted],
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
    fits : mapping of str to Fitted
        The models as they were fitted; draws of the headline are used, and a model with Student-t
        effects that is the headline otherwise.

    Returns
    -------
    Robustness
        All tables; what could not be computed is empty and has its reason.
    """
    name, headline = next(iter(models.items()))
    design, spec = headline.design, headline.spec
    skipped: dict[str, str] = {}

    def part[Part](key: str, compute: Callable[[], Part], absent: Part) -> Part:
        try:
            return compute()
        except EngineError as error:
            skipped[key] = str(error)
            return absent

    empty = pd.DataFrame()
    samples = part("samples", lambda: leave_samples_out(data, spec), empty)
    scaling = part("scaling", lambda: _scaled(_draws(fits[name])), empty)
    answered = {entry.claim.id: entry for entry in entries}
    return Robustness(
        model=spec.name,
        measure=design.measure,
        samples=samples,
        curve=part("curve", lambda: scale_curve(design, spec), empty),
        powers=part("powers", lambda: scale_priors(design, spec), empty),
        verdicts=verdicts_without_samples(models, claims, answered),
        widths=verdicts_by_prior_width(models, claims, answered),
        scaling=scaling,
        loo=part("loo", lambda: _left_out(_draws(fits[name]), samples), None),
        heavy_tails=part("heavy_tails", lambda: _heavy_tails(models, fits), None),
        skipped=MappingProxyType(skipped),
    )


def _draws(fit: Fitted) -> "xr.DataTree":
    """Return the draws of a fit that passed its gate."""
    if fit.nuts is None or fit.nuts.draws is None or fit.nuts.diagnostics is None:
        raise EngineError("it needs draws of the headline model by NUTS, and there are none")
    if not fit.nuts.diagnostics.passed:
        raise EngineError("NUTS did not pass its gate, so its draws are no basis for weights")
    return fit.nuts.draws


def _scaled(draws: "xr.DataTree") -> pd.DataFrame:
    # Imported here: ArviZ takes a second, and is there already if there are draws.
    from reanalysis.sampled_sensitivity import scale_groups

    return scale_groups(draws)


def _left_out(draws: "xr.DataTree", samples: pd.DataFrame) -> "LeftOut | None":
    from reanalysis.sampled_sensitivity import leave_one_out

    if samples.empty:
        raise EngineError("it needs exact refits where weights fail, and there are none")
    return leave_one_out(draws, samples)


def _heavy_tails(models: Mapping[str, PlannedModel], fits: Mapping[str, Fitted]) -> HeavyTails:
    name, headline = next(iter(models.items()))
    design, spec = headline.design, headline.spec
    if spec.mechanism != "none" or design.scale is not None or spec.effects != "normal":
        raise EngineError("it is the alternative to a plain normal model only")
    robust = next(
        (
            fits[other].exact
            for other, planned in models.items()
            if planned.spec.effects == "student_t" and _same_but_tails(planned, headline)
        ),
        None,
    )
    if robust is None:
        robust = fit_exact(design, replace(spec, effects="student_t"), detail="parameters")
    plain = fits[name].exact or fit_exact(design, spec, detail="parameters")
    first = design.coefficients[0]
    mean, before = robust.estimates[first], plain.estimates[first]
    degrees = robust.estimates["nu"].median
    assert mean.lower is not None and mean.upper is not None
    assert before.sd is not None and degrees is not None
    evidence, without = robust.log_marginal_likelihood, plain.log_marginal_likelihood
    assert evidence is not None and without is not None
    return HeavyTails(
        estimate=mean.value,
        lower=mean.lower,
        upper=mean.upper,
        shift=(mean.value - before.value) / before.sd,
        degrees=degrees,
        log_bayes_factor=evidence - without,
    )


def _same_but_tails(one: PlannedModel, other: PlannedModel) -> bool:
    """Return whether two models differ at most in the tails of the samples' deviations."""
    priors = {name: prior for name, prior in one.spec.priors.items() if name != "nu"}
    normal = replace(one.spec, effects="normal", priors=priors)
    return fit_key(Fit(one.design, normal)) == fit_key(Fit(other.design, other.spec))


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
            for again in _again(asked, design, planned.spec):
                if again.verdict != entries[again.claim.id].verdict:
                    changed[again.claim.id].append(sample)
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
            (again,) = _again([claim], planned.design, spec)
            row[f"verdict_{word}"] = again.verdict
            row[f"log_bayes_factor_{word}"] = again.bayes_factor
        rows.append(row)
    return pd.DataFrame(rows)


def _again(claims: Sequence[Claim], design: Design, spec: ModelSpec) -> tuple[Entry, ...]:
    """Answer claims about one model from a refit that computes no more than their rules need."""
    tested = [claim for claim in claims if claim.asserts in BY_BAYES_FACTOR]
    detail: Detail = "parameters" if len(tested) == len(claims) else "curves"
    found = fit_exact(design, spec, detail=detail)
    assert found.log_marginal_likelihood is not None
    factors: dict[str, float] = {}
    for claim in tested:
        null = log_evidence(design, spec, without=(claim.parameter,))
        names = claim.parameter, coefficient(design, claim.parameter)
        factors |= dict.fromkeys(names, found.log_marginal_likelihood - null)
    refit = _Refit(design, replace(found, bayes_factors=factors))
    return ledger(claims, {claim.model: refit for claim in claims})


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
