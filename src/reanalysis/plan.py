"""Everything that can be wrong before a run: the spec, the data and the design of each model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from reanalysis.dataset import DataError, Dataset, load_dataset
from reanalysis.design import Design, make_design
from reanalysis.locate import data_path, load_source
from reanalysis.moderators import find_families
from reanalysis.spec import ModelSpec, Reanalysis, SpecError

__all__ = ["ENGINES", "Plan", "PlannedModel", "default_models", "plan", "read_data"]

ENGINES = ("reml", "exact", "nuts")


@dataclass(frozen=True, eq=False)
class PlannedModel:
    """A model with its data, ready to be fitted.

    Attributes
    ----------
    spec : ModelSpec
        The model.
    data : Dataset
        The reading it uses.
    design : Design
        Its arrays.
    """

    spec: ModelSpec
    data: Dataset
    design: Design

    def engines(self, asked: Sequence[str]) -> tuple[str, ...]:
        """Return the engines that are asked for and that the model wants, in order."""
        return tuple(e for e in ENGINES if e in asked and e in self.spec.engines)


@dataclass(frozen=True, eq=False)
class Plan:
    """What a run will do.

    Attributes
    ----------
    asked : Reanalysis
        The spec, with the default models where it has none.
    data : Dataset
        The default reading.
    models : mapping of str to PlannedModel
        Models in order.
    """

    asked: Reanalysis
    data: Dataset
    models: Mapping[str, PlannedModel]


def plan(
    spec: str | Path | Reanalysis, *, models: Sequence[str] = (), allow_outside: bool = False
) -> Plan:
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
    Plan
        The spec, the data and a design per model.

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
    where = f"{asked.path}: " if asked.path else ""
    problems: list[str] = []
    planned = {}
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
            planned[name] = PlannedModel(model, reading, make_design(data, model))
        except SpecError as error:
            problems += [f"{where}{problem}" for problem in error.problems]
        except DataError as error:
            problems += error.problems
    try:
        find_families(asked.models)
    except SpecError as error:
        problems += [f"{where}{problem}" for problem in error.problems]
    if problems:
        raise SpecError(list(dict.fromkeys(problems)))
    return Plan(asked, data, MappingProxyType(planned))


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
        encoding=source.encoding,
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
