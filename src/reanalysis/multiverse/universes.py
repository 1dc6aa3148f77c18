"""Every combination of defensible decisions, each as a model with its data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any

import numpy as np

from reanalysis.dataset import DataError, Dataset
from reanalysis.design import Design, make_design, resolve_priors
from reanalysis.spec import Axis, ModelSpec, Option, SpecError

__all__ = ["LARGEST", "Universe", "expand", "pair", "resolve_axes", "vary"]

LARGEST = 200_000
NOTHING = "none"
MERGED = ("columns", "reference", "centring", "priors")
FILTERS = ("include", "exclude")
PARTS, TOTAL = {"tau_between", "tau_within"}, {"tau", "between_share"}
BIAS = {"omega", "pet", "peese"}
# What a design does not depend on; universes that differ only there share one.
NOT_READ = {
    "name",
    "title",
    "engines",
    "priors",
    "effects",
    "sampling_correlation",
    "mechanism",
    "steps",
    "two_sided",
    "omega",
}


@dataclass(frozen=True, eq=False)
class Universe:
    """One combination of decisions.

    Attributes
    ----------
    options : mapping of str to str
        Chosen option by axis.
    spec : ModelSpec
        The model.
    design : Design or None
        Its data; None if they cannot be brought together.
    fault : str
        Why not.
    """

    options: Mapping[str, str]
    spec: ModelSpec
    design: Design | None
    fault: str = ""


def vary(model: ModelSpec, settings: Mapping[str, Any]) -> ModelSpec:
    """Return a model with some settings replaced.

    Parameters
    ----------
    model : ModelSpec
        The model.
    settings : mapping
        New values by name. Mappings are merged entry by entry; new filters add to the old ones. A
        prior of the total heterogeneity replaces those of its parts, and the other way round.

    Returns
    -------
    ModelSpec
        The varied model.
    """
    changes: dict[str, Any] = {}
    for name, value in settings.items():
        old = getattr(model, name)
        if name == "priors":
            old = _without_rivals(old, value)
        if name in MERGED:
            changes[name] = {**old, **value}
        elif name in FILTERS:
            columns = {**old, **value}
            changes[name] = {
                column: tuple(dict.fromkeys((*old.get(column, ()), *value.get(column, ()))))
                for column in columns
            }
        else:
            changes[name] = value
    return replace(model, **changes)


def _without_rivals(old: Mapping[str, Any], new: Mapping[str, Any]) -> Mapping[str, Any]:
    for own, rival in ((PARTS, TOTAL), (TOTAL, PARTS)):
        if own & new.keys():
            old = {name: prior for name, prior in old.items() if name not in rival}
    return old


def resolve_axes(data: Dataset, model: ModelSpec, axes: Sequence[Axis]) -> tuple[Axis, ...]:
    """Return axes with their options, also where they leave out each value of a column.

    Parameters
    ----------
    data : Dataset
        The data.
    model : ModelSpec
        The headline model; its reading gives the values.
    axes : sequence of Axis
        The decisions.

    Returns
    -------
    tuple of Axis
        Every axis has options; the first leaves nothing out.

    Raises
    ------
    SpecError
        If a column is not there.
    """
    reading = data.reading(
        table=model.table,
        columns=model.columns,
        estimand=model.estimand,
        composites=model.composites,
    )
    resolved = []
    for axis in axes:
        if axis.leave_out:
            if axis.leave_out not in reading.table.columns:
                raise SpecError(
                    [
                        f"[[multiverse]] '{axis.name}': leave_out names the column "
                        f"'{axis.leave_out}', which the table does not have. Columns: "
                        f"{', '.join(str(c) for c in reading.table.columns)}."
                    ]
                )
            values = dict.fromkeys(reading.table[axis.leave_out].dropna())
            options = [Option(name=NOTHING)]
            options += [
                Option(
                    name=f"without {_plain(v)}",
                    settings={"exclude": {axis.leave_out: (_plain(v),)}},
                )
                for v in values
            ]
            axis = replace(axis, options=tuple(options), leave_out="")
        resolved.append(axis)
    return tuple(resolved)


def _plain(value: object) -> str:
    """Return a cell as the table's file shows it: whole numbers without a decimal point."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def expand(data: Dataset, model: ModelSpec, axes: Sequence[Axis]) -> list[Universe]:
    """Return every combination of the options, but for axes that are not crossed.

    Parameters
    ----------
    data : Dataset
        The data.
    model : ModelSpec
        The headline model, which each universe varies.
    axes : sequence of Axis
        Decisions with their options, from `resolve_axes`.

    Returns
    -------
    list of Universe
        The first takes the first option everywhere.

    Raises
    ------
    SpecError
        If there are too many.
    """
    count = int(np.prod([len(axis.options) for axis in axes], dtype=np.int64))
    if count > LARGEST:
        raise SpecError(
            [f"[[multiverse]]: {count:,} universes are more than {LARGEST:,}; leave out options."]
        )
    designs: dict[str, Design] = {}
    universes = []
    for chosen in product(*(axis.options for axis in axes)):
        if not _crossed(axes, chosen):
            continue
        names = {axis.name: option.name for axis, option in zip(axes, chosen, strict=True)}
        varied = model
        for option in chosen:
            varied = vary(varied, option.settings)
        try:
            design, spec = pair(data, varied, designs)
        except (SpecError, DataError) as error:
            universes.append(Universe(names, varied, None, error.problems[0]))
        else:
            universes.append(Universe(names, spec, design))
    return universes


def _crossed(axes: Sequence[Axis], chosen: Sequence[Option]) -> bool:
    """Return whether no axis has left its first option beside one that it is kept apart from."""
    moved = {a.name for a, option in zip(axes, chosen, strict=True) if option != a.options[0]}
    return not any(moved.intersection(axis.apart_from) for axis in axes if axis.name in moved)


def pair(
    data: Dataset, model: ModelSpec, designs: dict[str, Design] | None = None
) -> tuple[Design, ModelSpec]:
    """Bring data and a varied model together, without the priors that no longer apply.

    Parameters
    ----------
    data : Dataset
        The data.
    model : ModelSpec
        The model. Priors of parameters that it does not have in this reading are dropped:
        the split of the heterogeneity with two levels, weights without selection, degrees of
        freedom of normal effects.
    designs : dict, optional
        Designs made so far, which are used again.

    Returns
    -------
    design : Design
        The arrays.
    spec : ModelSpec
        The model with the priors that apply.

    Raises
    ------
    SpecError, DataError
        If they do not fit.
    """
    own = {"pet": {"pet"}, "peese": {"peese"}, "none": set()}.get(model.mechanism, {"omega"})
    own |= {"nu"} if model.effects == "student_t" else set()
    priors = {k: p for k, p in model.priors.items() if k not in (BIAS | {"nu"}) - own}
    total = priors.get("tau") or priors.get("tau_between")
    neutral = {k: p for k, p in priors.items() if k not in PARTS | TOTAL}
    if total is not None:
        neutral["tau"] = total
    read = [getattr(model, f.name) for f in fields(model) if f.name not in NOT_READ]
    key = repr((read, model.mechanism == "thin"))
    designs = {} if designs is None else designs
    if key not in designs:
        designs[key] = make_design(data, replace(model, priors=neutral))
    design = designs[key]
    if design.levels == 3 and not PARTS & priors.keys() - {"tau_between"}:
        neutral |= {k: p for k, p in priors.items() if k == "between_share"}
        priors = neutral
    elif design.levels == 2:
        priors = neutral
    spec = replace(model, priors=priors)
    resolve_priors(design, spec)
    return design, spec
