"""What a reanalysis finds: every model of a plan, fitted and compared."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

import numpy as np

from reanalysis.audit import Finding, audit
from reanalysis.checks import Checks, make_checks
from reanalysis.claims import Entry, ledger
from reanalysis.comparison import Comparison, make_comparison
from reanalysis.dataset import Dataset
from reanalysis.design import Design, resolve_priors
from reanalysis.exact import fit_exact
from reanalysis.frequentist import fit_reml
from reanalysis.further import Further, make_further
from reanalysis.plan import ENGINES, Plan, PlannedModel
from reanalysis.priors import Prior
from reanalysis.progress import Steps
from reanalysis.results import EngineError, Estimate, FrequentistFit, Posterior
from reanalysis.sampler_settings import SamplerSettings
from reanalysis.spec import Claim, ModelSpec, Reanalysis
from reanalysis.threads import one_blas_thread
from reanalysis.versions import versions

if TYPE_CHECKING:
    from reanalysis.exact.average import ModelAverage

__all__ = ["Analysis", "Keep", "ModelResult", "Options", "fit_all"]

Keep = Callable[[str, Mapping[str, object], Callable[[], Posterior], Design], Posterior]
QUICK = {"tune": 500, "draws": 1000}


@dataclass(frozen=True, eq=False)
class ModelResult:
    """One model, fitted.

    Attributes
    ----------
    spec : ModelSpec
        The model.
    design : Design
        Its arrays.
    data : Dataset
        The reading it uses.
    priors : mapping of str to Prior
        Every prior in use, defaults included.
    reml, exact, nuts : FrequentistFit or Posterior or None
        The fits; None where an engine was not asked for or could not answer.
    comparison : Comparison
        The engines side by side.
    skipped : mapping of str to str
        Engine to the reason why it gave nothing.
    checks : Checks or None
        Influence and small-study methods of the frequentist fit.
    """

    spec: ModelSpec
    design: Design
    data: Dataset
    priors: Mapping[str, Prior]
    reml: FrequentistFit | None
    exact: Posterior | None
    nuts: Posterior | None
    comparison: Comparison
    skipped: Mapping[str, str]
    checks: Checks | None = None

    @property
    def converged(self) -> bool:
        """Whether NUTS, where it ran, passed its gate."""
        return self.nuts is None or self.nuts.passed


@dataclass(frozen=True, eq=False)
class Analysis:
    """A finished reanalysis; the report is made of this.

    Attributes
    ----------
    spec : Reanalysis
        What was asked for.
    data : Dataset
        The default reading of the data.
    models : mapping of str to ModelResult
        Every model, in the order of the spec; the first is the headline.
    seed : int
        Seed of every random step.
    engines : tuple of str
        Engines that were asked for.
    claims : tuple of Entry
        The ledger: each claim of the paper with what answers it.
    audit : tuple of Finding
        What the source's numbers contradict.
    average : ModelAverage or None
        The model set over effect, heterogeneity and bias, where the spec asks for it.
    further : Further
        Ladder, multiverse and calibration, where the spec asks for them.
    versions : mapping of str to str
        Versions of Python and of the packages that computed the numbers.
    """

    spec: Reanalysis
    data: Dataset
    models: Mapping[str, ModelResult]
    seed: int
    engines: tuple[str, ...]
    claims: tuple[Entry, ...] = ()
    audit: tuple[Finding, ...] = ()
    average: "ModelAverage | None" = None
    further: Further = field(default_factory=Further)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def converged(self) -> bool:
        """Whether every NUTS fit passed its gate."""
        return all(model.converged for model in self.models.values())

    @property
    def agrees(self) -> bool:
        """Whether NUTS and the exact engine agree in every model."""
        return all(model.comparison.agrees for model in self.models.values())

    def _repr_html_(self) -> str:
        parts = [f"<h3>{name}</h3>{m.comparison._repr_html_()}" for name, m in self.models.items()]
        return "".join(parts)


@dataclass(frozen=True, eq=False)
class Options:
    """How the models of a plan are fitted.

    Attributes
    ----------
    engines : tuple of str
        Engines to use, in the order of `reanalysis.plan.ENGINES`.
    seed : int
        Seed of every random step.
    quick : bool
        Fewer draws.
    steps : Steps
        Told what is going on.
    keep : callable or None
        Called with a model's name, everything that determines its draws, a function that fits
        it, and its design; returns the fit, possibly one that was saved before.
    store : pathlib.Path or None
        Folder that keeps the fits of multiverse and calibration as they come.
    scheduler : str
        Where these are done, as in `reanalysis.spread.spread`.
    """

    engines: tuple[str, ...]
    seed: int
    quick: bool = False
    steps: Steps = field(default_factory=lambda: Steps(None))
    keep: Keep | None = None
    store: Path | None = None
    scheduler: str = "here"


def fit_all(plan: Plan, options: Options) -> Analysis:
    """Fit every model of a plan.

    Parameters
    ----------
    plan : Plan
        Models with their data and designs.
    options : Options
        How to fit them.

    Returns
    -------
    Analysis
        Every fit, with what was not computed and why.

    Raises
    ------
    DataError
        If what the data folder declares for the audit cannot be read; before anything is fitted.
    """
    findings = audit(plan.data, plan.asked.claims)
    results: dict[str, ModelResult] = {}
    for planned in plan.models.values():
        results[planned.spec.name] = _fit_model(
            plan.asked,
            planned,
            options,
            first=not results,
            with_small_study=_wants(planned, results),
        )
    average, why_not = None, {}
    try:
        average = _average(plan, options)
    except EngineError as error:
        why_not = {"average": str(error)}
        options.steps.note(f"no average of models: {error}")
    claims = ledger(plan.asked.claims, results, bias_bayes_factor=_bias(average))
    further = make_further(
        plan,
        results,
        claims,
        options.engines,
        options.seed,
        options.steps,
        store=options.store,
        scheduler=options.scheduler,
    )
    return Analysis(
        spec=plan.asked,
        data=plan.data,
        models=MappingProxyType(results),
        seed=options.seed,
        engines=options.engines,
        claims=claims,
        average=average,
        audit=findings,
        further=replace(further, skipped={**why_not, **further.skipped}),
        versions=versions(),
    )


def _average(plan: Plan, options: Options) -> "ModelAverage | None":
    """Average the model that the spec names, where the exact engine is asked for."""
    wanted = plan.asked.average
    if wanted is None or "exact" not in options.engines or wanted.model not in plan.models:
        return None
    from reanalysis.exact.average import PSMA, average_models, named_biases, psma_by_mechanism

    planned = plan.models[wanted.model]
    options.steps.note(f"averaging models of {wanted.model} over effect, heterogeneity and bias")
    biases = PSMA if wanted.mechanisms == ("joint",) else psma_by_mechanism(wanted.mechanisms)
    biases = named_biases(wanted.bias) or biases
    with one_blas_thread():
        return average_models(
            planned.design,
            planned.spec,
            biases=biases,
            prior_effect=wanted.prior_effect,
            prior_heterogeneity=wanted.prior_heterogeneity,
            prior_bias=wanted.prior_bias,
            direction=planned.design.direction,
            seed=options.seed,
        )


def _bias(average: "ModelAverage | None") -> float | None:
    """Return the log Bayes factor for publication bias of a model average."""
    if average is None:
        return None
    return float(average.inclusion["log_bayes_factor"]["bias"])


def _wants(planned: PlannedModel, results: Mapping[str, ModelResult]) -> bool:
    """Small-study methods are for the headline and for the first model of each number of levels."""
    levels = {result.design.levels for result in results.values()}
    return planned.design.p == 1 and planned.design.levels not in levels


def _fit_model(
    asked: Reanalysis,
    planned: PlannedModel,
    options: Options,
    *,
    first: bool,
    with_small_study: bool,
) -> ModelResult:
    model, design = planned.spec, planned.design
    priors = resolve_priors(design, model)
    skipped = {
        engine: "not asked for" if engine not in options.engines else "left out by the model"
        for engine in ENGINES
        if engine not in planned.engines(options.engines)
    }
    found: dict[str, FrequentistFit | Posterior] = {}
    fits: dict[str, Callable[[], FrequentistFit | Posterior]] = {
        "reml": lambda: fit_reml(design, model),
        "exact": lambda: fit_exact(design, model),
        "nuts": lambda: _fit_nuts(asked, planned, priors, options),
    }
    for engine in planned.engines(options.engines):
        options.steps.start(engine, model.name)
        try:
            found[engine] = fits[engine]()
        except EngineError as error:
            skipped[engine] = str(error)
    reml = cast("FrequentistFit | None", found.get("reml"))
    exact = cast("Posterior | None", found.get("exact"))
    nuts = cast("Posterior | None", found.get("nuts"))
    published = _published(asked.claims, model.name, design.measure)
    checks = None
    if reml is not None:
        checks = make_checks(
            design,
            model,
            reml,
            direction=planned.data.direction,
            small_study=with_small_study,
            influence=first,
        )
    return ModelResult(
        spec=model,
        design=design,
        data=planned.data,
        priors=priors,
        reml=reml,
        exact=exact,
        nuts=nuts,
        comparison=make_comparison(reml, exact, nuts, published),
        skipped=MappingProxyType(skipped),
        checks=checks,
    )


def _fit_nuts(
    asked: Reanalysis, planned: PlannedModel, priors: Mapping[str, Prior], options: Options
) -> Posterior:
    model, design, steps = planned.spec, planned.design, options.steps
    chosen = asked.sampler
    settings = SamplerSettings(
        sampler=chosen.sampler,
        chains=chosen.chains,
        tune=QUICK["tune"] if options.quick else chosen.tune,
        draws=QUICK["draws"] if options.quick else chosen.draws,
        target_accept=chosen.target_accept,
    )

    def compute() -> Posterior:
        # Imported here: PyMC and nutpie take seconds, and a saved fit does not need them.
        from reanalysis.nuts import fit_nuts

        steps.draws(0, settings.chains * (settings.tune + settings.draws))
        return fit_nuts(
            design,
            model,
            settings=settings,
            seed=options.seed,
            progress=steps.draws,
            tell=steps.note,
        )

    if options.keep is None:
        return compute()
    return options.keep(
        model.name,
        {
            "data": design,
            "model": model,
            "priors": priors,
            "settings": settings,
            "seed": options.seed,
            "versions": versions(),
        },
        compute,
        design,
    )


def _published(claims: Sequence[Claim], model: str, measure: str) -> dict[str, Estimate]:
    """Return the printed estimates that claims attach to a model, on the analysis scale."""
    published = {}
    for claim in claims:
        if claim.model != model or "estimate" not in claim.published:
            continue
        on_r = claim.published.get("scale") == "r" and measure == "ZCOR"
        values = {
            key: float(claim.published[key])
            for key in ("estimate", "lower", "upper")
            if key in claim.published
        }
        if on_r:
            values = {key: float(np.arctanh(value)) for key, value in values.items()}
        p = claim.published.get("p")
        published[claim.parameter] = Estimate(
            claim.parameter,
            values["estimate"],
            lower=values.get("lower"),
            upper=values.get("upper"),
            interval="as published",
            p=float(p) if p is not None else None,
        )
    return published
