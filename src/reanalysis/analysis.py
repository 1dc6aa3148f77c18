"""The list of steps of a reanalysis, in order: `run`."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from reanalysis.comparison import Comparison, make_comparison
from reanalysis.dataset import DataError, Dataset, load_dataset
from reanalysis.design import Design, make_design, resolve_priors
from reanalysis.exact import fit_exact
from reanalysis.frequentist import fit_reml
from reanalysis.locate import data_path, load_source
from reanalysis.priors import Prior
from reanalysis.progress import Progress, Steps
from reanalysis.results import EngineError, Estimate, FrequentistFit, Posterior
from reanalysis.spec import Claim, ModelSpec, Reanalysis, SpecError

if TYPE_CHECKING:
    from reanalysis.output import OutputFolder

__all__ = ["ENGINES", "Analysis", "ModelResult", "default_models", "plan", "read_data", "run"]

ENGINES = ("reml", "exact", "nuts")
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
    versions : mapping of str to str
        Versions of Python and of the packages that computed the numbers.
    """

    spec: Reanalysis
    data: Dataset
    models: Mapping[str, ModelResult]
    seed: int
    engines: tuple[str, ...]
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
    asked, data, designs = plan(spec, models=models, allow_outside=allow_outside)
    unknown = [engine for engine in engines if engine not in ENGINES]
    if unknown:
        raise SpecError([f"unknown engine '{unknown[0]}'; engines are {', '.join(ENGINES)}."])
    seed = asked.seed if seed is None else seed
    steps.expect(len(designs) * len(set(engines)) + (out is not None))
    if out is not None:
        from reanalysis.output import OutputFolder

        with OutputFolder(Path(out), tell=steps.note) as folder:
            analysis = _fit_all(asked, data, designs, engines, seed, quick, steps, folder, force)
            steps.start("report", str(out))
            folder.write(analysis)
        return analysis
    return _fit_all(asked, data, designs, engines, seed, quick, steps, None, force)


def plan(
    spec: str | Path | Reanalysis, *, models: Sequence[str] = (), allow_outside: bool = False
) -> tuple[Reanalysis, Dataset, dict[str, tuple[ModelSpec, Dataset, Design]]]:
    """Load and check everything that a run needs, without computing anything.

    Parameters
    ----------
    spec : str, pathlib.Path or Reanalysis
        What to run.
    models : sequence of str
        Models to keep; all by default.
    allow_outside : bool
        Whether the data may lie outside the spec's project.

    Returns
    -------
    spec : Reanalysis
        The spec, with the default models where it has none.
    data : Dataset
        The default reading.
    designs : dict
        Per model its spec, its reading of the data and its design.

    Raises
    ------
    SpecError, DataError
        With the faults of all models at once.
    """
    asked = spec if isinstance(spec, Reanalysis) else load_source(spec)
    data = read_data(asked, allow_outside=allow_outside)
    if not asked.models:
        asked = replace(asked, models=default_models(data))
    missing = [name for name in models if name not in asked.models]
    if missing:
        raise SpecError(
            [f"no model '{missing[0]}' in {asked.name}; it has {', '.join(asked.models)}."]
        )
    problems: list[str] = []
    designs = {}
    for name, model in asked.models.items():
        if models and name not in models:
            continue
        try:
            reading = data.reading(
                table=model.table,
                columns=model.columns,
                estimand=model.estimand,
                composites=model.composites,
            )
            designs[name] = (model, reading, make_design(data, model))
        except (SpecError, DataError) as error:
            problems += error.problems
    if problems:
        raise SpecError(list(dict.fromkeys(problems)))
    return asked, data, designs


def read_data(asked: Reanalysis, *, allow_outside: bool = False) -> Dataset:
    """Load the data of a spec in its default reading.

    Parameters
    ----------
    asked : Reanalysis
        The spec.
    allow_outside : bool
        Whether the data may lie outside the spec's project.

    Returns
    -------
    Dataset
        The default reading.

    Raises
    ------
    SpecError, DataError
        If the path leaves the project, or the data are faulty.
    """
    source = asked.data
    return load_dataset(
        data_path(asked, allow_outside=allow_outside),
        table=source.table,
        measure=source.measure,
        columns=source.columns,
        direction=source.direction,
        missing=source.missing,
        decimal=source.decimal,
        intercorrelation=source.intercorrelation,
    )


def default_models(data: Dataset) -> Mapping[str, ModelSpec]:
    """Return the models of a spec that states none.

    Parameters
    ----------
    data : Dataset
        The data.

    Returns
    -------
    mapping of str to ModelSpec
        A three-level model, also with correlated sampling errors, where a sample has several
        effects; a two-level model otherwise.
    """
    if data.m < data.k or bool((data.effects["n_averaged"] > 1).any()):
        models = [
            ModelSpec(name="three_level", title="Three levels"),
            ModelSpec(
                name="three_level_correlated",
                title="Three levels, sampling errors within a sample correlated by .6",
                sampling_correlation=0.6,
            ),
        ]
    else:
        models = [ModelSpec(name="two_level", title="Two levels")]
    return MappingProxyType({model.name: model for model in models})


def _fit_all(
    asked: Reanalysis,
    data: Dataset,
    designs: Mapping[str, tuple[ModelSpec, Dataset, Design]],
    engines: Sequence[str],
    seed: int,
    quick: bool,
    steps: Steps,
    folder: "OutputFolder | None",
    force: bool,
) -> Analysis:
    results = {}
    for name, (model, reading, design) in designs.items():
        priors = resolve_priors(design, model)
        skipped: dict[str, str] = {}
        reml = exact = nuts = None
        if "reml" in engines:
            steps.start("reml", name)
            try:
                reml = fit_reml(design, model)
            except EngineError as error:
                skipped["reml"] = str(error)
        if "exact" in engines:
            steps.start("exact", name)
            try:
                exact = fit_exact(design, model)
            except EngineError as error:
                skipped["exact"] = str(error)
        if "nuts" in engines:
            steps.start("nuts", name)
            try:
                nuts = _fit_nuts(asked, model, design, priors, seed, quick, steps, folder, force)
            except EngineError as error:
                skipped["nuts"] = str(error)
        skipped |= {e: "not asked for" for e in ENGINES if e not in engines}
        published = _published(asked.claims, name, design.measure)
        results[name] = ModelResult(
            spec=model,
            design=design,
            data=reading,
            priors=priors,
            reml=reml,
            exact=exact,
            nuts=nuts,
            comparison=make_comparison(reml, exact, nuts, published),
            skipped=MappingProxyType(skipped),
        )
    return Analysis(
        spec=asked,
        data=data,
        models=MappingProxyType(results),
        seed=seed,
        engines=tuple(engines),
        versions=_versions(),
    )


def _fit_nuts(
    asked: Reanalysis,
    model: ModelSpec,
    design: Design,
    priors: Mapping[str, Prior],
    seed: int,
    quick: bool,
    steps: Steps,
    folder: "OutputFolder | None",
    force: bool,
) -> Posterior:
    # Imported here: PyMC and nutpie take seconds, and the other engines do not need them.
    from reanalysis.nuts import SamplerSettings, fit_nuts

    chosen = asked.sampler
    settings = SamplerSettings(
        sampler=chosen.sampler,
        chains=chosen.chains,
        tune=QUICK["tune"] if quick else chosen.tune,
        draws=QUICK["draws"] if quick else chosen.draws,
        target_accept=chosen.target_accept,
    )

    def compute() -> Posterior:
        steps.draws(0, settings.chains * (settings.tune + settings.draws))
        return fit_nuts(design, model, settings=settings, seed=seed, progress=steps.draws)

    if folder is None:
        return compute()
    return folder.fit(
        model.name,
        {
            "data": design,
            "mechanism": (model.mechanism, model.steps, model.sampling_correlation),
            "priors": priors,
            "settings": settings,
            "seed": seed,
            "versions": _versions(),
        },
        compute,
        design,
        force=force,
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
