"""The list of steps of a reanalysis, in order: `run`."""

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
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
from reanalysis.plan import ENGINES, Plan, PlannedModel, plan
from reanalysis.priors import Prior
from reanalysis.progress import Progress, Steps
from reanalysis.results import EngineError, Estimate, FrequentistFit, Posterior
from reanalysis.spec import Claim, ModelSpec, Reanalysis, SpecError

if TYPE_CHECKING:
    from reanalysis.output import OutputFolder

__all__ = ["ENGINES", "Analysis", "ModelResult", "run"]

PACKAGES = ("reanalysis", "pymc", "nutpie", "arviz", "numpy", "scipy", "pandas", "xarray")
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
        Robust tests, influence and small-study methods of the frequentist fit.
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
        diagnostics = self.nuts.diagnostics if self.nuts else None
        return diagnostics.passed if diagnostics else True


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


def run(
    spec: str | Path | Reanalysis,
    engines: Sequence[str] = ENGINES,
    *,
    models: Sequence[str] = (),
    out: str | Path | None = None,
    seed: int | None = None,
    quick: bool = False,
    force: bool = False,
    allow_outside: bool = False,
    progress: Progress | None = None,
) -> Analysis:
    """Reanalyse a published meta-analysis.

    Parameters
    ----------
    spec : str, pathlib.Path or Reanalysis
        A TOML file, a CSV, the name of a spec at hand, or a loaded spec.
    engines : sequence of str
        Any of ``reml``, ``exact``, ``nuts``.
    models : sequence of str
        Models to fit; all by default.
    out : str or pathlib.Path, optional
        Folder for the report, results and fits; nothing is written without it.
    seed : int, optional
        Replaces the spec's seed.
    quick : bool
        Fewer draws.
    force : bool
        Refit what a former run left in `out`.
    allow_outside : bool
        Whether a spec may name data outside its own project.
    progress : callable, optional
        Called with a `reanalysis.progress.Stage` when a step starts and as draws come in.

    Returns
    -------
    Analysis
        Every fit, with what was not computed and why.

    Raises
    ------
    SpecError, DataError
        If the spec or the data are faulty; raised before anything is computed.
    OSError
        If `out` cannot be written; raised before anything is computed.
    """
    steps = Steps(progress)
    planned = plan(spec, models=models, allow_outside=allow_outside)
    unknown = [engine for engine in engines if engine not in ENGINES]
    if unknown:
        raise SpecError([f"unknown engine '{unknown[0]}'; engines are {', '.join(ENGINES)}."])
    options = _Options(
        asked=planned.asked,
        engines=tuple(engine for engine in ENGINES if engine in engines),
        seed=planned.asked.seed if seed is None else seed,
        quick=quick,
        force=force,
        steps=steps,
    )
    fits = sum(len(model.engines(options.engines)) for model in planned.models.values())
    steps.expect(fits + (out is not None))
    if out is None:
        return _fit_all(planned, options)
    from reanalysis.output import OutputFolder

    with OutputFolder(Path(out), tell=steps.note) as folder:
        analysis = _fit_all(planned, replace(options, folder=folder))
        steps.start("report", str(out))
        folder.write(analysis)
    return analysis


@dataclass(frozen=True, eq=False)
class _Options:
    """How a run fits its models."""

    asked: Reanalysis
    engines: tuple[str, ...]
    seed: int
    quick: bool
    force: bool
    steps: Steps
    folder: "OutputFolder | None" = None


def _fit_all(plan: Plan, options: _Options) -> Analysis:
    results: dict[str, ModelResult] = {}
    for planned in plan.models.values():
        results[planned.spec.name] = _fit_model(
            planned, options, first=not results, with_small_study=_wants(planned, results)
        )
    return Analysis(
        spec=plan.asked,
        data=plan.data,
        models=MappingProxyType(results),
        seed=options.seed,
        engines=options.engines,
        claims=ledger(plan.asked.claims, results),
        audit=audit(plan.data, plan.asked.claims),
        versions=_versions(),
    )


def _wants(planned: PlannedModel, results: Mapping[str, ModelResult]) -> bool:
    """Small-study methods are for the headline and for the first model of each number of levels."""
    levels = {result.design.levels for result in results.values()}
    return planned.design.p == 1 and planned.design.levels not in levels


def _fit_model(
    planned: PlannedModel, options: _Options, *, first: bool, with_small_study: bool
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
        "nuts": lambda: _fit_nuts(planned, priors, options),
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
    published = _published(options.asked.claims, model.name, design.measure)
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


def _fit_nuts(planned: PlannedModel, priors: Mapping[str, Prior], options: _Options) -> Posterior:
    # Imported here: PyMC and nutpie take seconds, and the other engines do not need them.
    from reanalysis.nuts import SamplerSettings, fit_nuts

    model, design, steps = planned.spec, planned.design, options.steps
    chosen = options.asked.sampler
    settings = SamplerSettings(
        sampler=chosen.sampler,
        chains=chosen.chains,
        tune=QUICK["tune"] if options.quick else chosen.tune,
        draws=QUICK["draws"] if options.quick else chosen.draws,
        target_accept=chosen.target_accept,
    )

    def compute() -> Posterior:
        steps.draws(0, settings.chains * (settings.tune + settings.draws))
        return fit_nuts(design, model, settings=settings, seed=options.seed, progress=steps.draws)

    if options.folder is None:
        return compute()
    return options.folder.fit(
        model.name,
        {
            "data": design,
            "mechanism": (model.mechanism, model.steps, model.sampling_correlation),
            "priors": priors,
            "settings": settings,
            "seed": options.seed,
            "versions": _versions(),
        },
        compute,
        design,
        force=options.force,
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


def _versions() -> Mapping[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
