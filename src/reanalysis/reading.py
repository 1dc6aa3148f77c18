"""From text cells to effect sizes: one reading of one table.

All faults of a table are collected before the first is reported.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reanalysis.effect_sizes import composite_to_mean_z, fisher_z
from reanalysis.row_checks import (
    correlation_faults,
    effect_faults,
    oddities,
    role_faults,
    structure_faults,
)
from reanalysis.tables import DataError, TextTable, parse_number

__all__ = ["Composites", "EffectTable", "Estimand", "Reading", "read_effects"]

Vector = NDArray[np.float64]
Estimand = Literal["mean", "composite"]
Composites = Literal["collapse", "spread"]

MISSING = frozenset({"", "NA"})
NUMERIC_ROLES = (
    "yi",
    "vi",
    "sei",
    "ri",
    "ni",
    "n_averaged",
    "composite_of",
    "composite",
    "n_measured",
)
TEXT_ROLES = ("sample", "study", "label", "effect")
EMPTY = frozenset({""})
MOST = 1e6  # effects behind one row
NORMAL_975 = 1.959963984540054
COUNT_ROLES = ("n_averaged", "composite_of", "n_measured")


@dataclass(frozen=True)
class Reading:
    """How a table is read.

    Attributes
    ----------
    roles : mapping of str to str
        Column of each role.
    measure : str
        metafor's code.
    schema : mapping
        Declared fields by name; empty for a bare CSV.
    blanks : frozenset of str
        Cells that count as missing.
    decimal : str
        Decimal mark.
    missing : str
        ``error`` or ``drop``.
    intercorrelation : float
        Correlation assumed among the effects of a composite.
    estimand : str
        ``mean`` or ``composite``.
    composites : str
        ``collapse`` or ``spread``.
    """

    roles: Mapping[str, str]
    measure: str
    schema: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    blanks: frozenset[str] = MISSING
    decimal: str = "."
    missing: Literal["error", "drop"] = "error"
    intercorrelation: float = 0.7
    estimand: Estimand = "mean"
    composites: Composites = "collapse"


@dataclass(frozen=True, eq=False)
class EffectTable:
    """The effect sizes of a reading.

    Attributes
    ----------
    table : pandas.DataFrame
        The source's columns, typed, with ``yi`` and ``vi``.
    effects : pandas.DataFrame
        Standard columns, see `reanalysis.dataset.Dataset`.
    mixed : mapping of str to str
        Columns that are numeric but for a few cells: the first such cell, in words.
    notes : tuple of str
        What was dropped or looks odd.
    """

    table: pd.DataFrame
    effects: pd.DataFrame
    mixed: Mapping[str, str]
    notes: tuple[str, ...]


def read_effects(text: TextTable, reading: Reading) -> EffectTable:
    """Turn text cells into effect sizes on the analysis scale.

    Parameters
    ----------
    text : TextTable
        The table as text.
    reading : Reading
        How to read it.

    Returns
    -------
    EffectTable
        Typed columns and effect sizes, in the order of the file.

    Raises
    ------
    DataError
        With every fault, each with its line and label.
    """
    roles = reading.roles
    problems = role_faults(text, roles, reading.measure)
    where = _places(text, roles)
    numbers, faults, bad = _role_numbers(text, reading, where)
    if problems:
        raise DataError(problems + faults)
    table, mixed, problems = _typed(text, reading, where)
    problems = list(dict.fromkeys(problems + faults))
    effects = _standard_columns(text, roles, numbers)
    problems += [
        f"{where[i]}: column '{roles['sample']}' is empty; every row needs its sample."
        for i, sample in enumerate(effects["sample"])
        if not sample
    ]
    keep = np.ones(len(where), dtype=bool)
    if "ri" in roles:
        ri = numbers["ri"].copy()
        if "composite" in roles:
            keep = _use_composites(ri, numbers["composite"], effects, reading.composites)
        checked = keep & ~bad
        problems += correlation_faults(
            ri, numbers["ni"], where, roles, checked, reading.missing == "drop"
        )
        _convert_correlations(ri, numbers["ni"], effects, keep, reading)
    else:
        effects["yi"] = numbers["yi"]
        effects["vi"] = numbers["vi"] if "vi" in roles else numbers["sei"] ** 2
        problems += effect_faults(
            numbers, where, roles, reading.measure, ~bad, reading.missing == "drop"
        )
    notes = []
    lost = keep & ~np.isfinite(effects[["yi", "vi"]].to_numpy()).all(axis=1)
    if reading.missing == "drop" and lost.any():
        names = ", ".join(
            f"line {text.lines[i]} ({effects['label'][i]})" for i in np.flatnonzero(lost)
        )
        notes.append(f"{text.file}: left out for want of an effect size: {names}.")
    keep &= ~lost
    problems += structure_faults(text, roles, effects, where)
    if not problems and keep.sum() < 2:
        problems.append(f"{text.source}: {_too_few(effects[keep])}")
    if problems:
        raise DataError(problems)
    effects = effects[keep].reset_index(drop=True)
    notes += oddities(effects, text.file)
    table = table[keep].reset_index(drop=True).assign(yi=effects["yi"], vi=effects["vi"])
    return EffectTable(table, effects, mixed, tuple(notes))


def _places(text: TextTable, roles: Mapping[str, str]) -> list[str]:
    """Return the place of each row for messages: file, line and label."""
    column = next((roles[r] for r in ("label", "study", "sample") if r in roles), "")
    names = text.column(column) if column in text.header else [""] * len(text.rows)
    return [
        f"{text.source}:{line}" + (f" ('{' '.join(name.split())}')" if name else "")
        for line, name in zip(text.lines, names, strict=True)
    ]


def _too_few(effects: pd.DataFrame) -> str:
    """Say that nothing can be pooled; of a single effect, all there is to say."""
    need = "a meta-analysis needs at least two effect sizes"
    if effects.empty:
        return f"no usable row; {need}."
    yi, sei = float(effects["yi"].iloc[0]), float(np.sqrt(effects["vi"].iloc[0]))
    return (
        f"one usable row; {need}. All this one says is its own estimate, {yi:.3g} (95 % interval "
        f"{yi - NORMAL_975 * sei:.3g} to {yi + NORMAL_975 * sei:.3g}) on the analysis scale."
    )


def _standard_columns(
    text: TextTable, roles: Mapping[str, str], numbers: Mapping[str, Vector]
) -> pd.DataFrame:
    k = len(text.rows)

    def names(role: str, default: Sequence[str]) -> Sequence[str]:
        return text.column(roles[role]) if role in roles else default

    def count(role: str) -> Vector:
        return np.where(np.isnan(numbers[role]), 1.0, numbers[role]) if role in numbers else one

    one = np.ones(k)
    unknown = np.full(k, np.nan)
    sample = names("sample", [str(i + 1) for i in range(k)])
    return pd.DataFrame(
        {
            "yi": unknown,
            "vi": unknown,
            "ni": numbers.get("ni", unknown),
            "sample": sample,
            "label": names("label", names("study", sample)),
            "effect": names("effect", [""] * k),
            "n_averaged": count("n_averaged"),
            "n_measured": numbers.get("n_measured", unknown),
            "composite": count("composite_of"),
            "line": text.lines,
        }
    )


def _convert_correlations(
    ri: Vector, ni: Vector, effects: pd.DataFrame, keep: NDArray[np.bool_], reading: Reading
) -> None:
    """Write Fisher's z and its variance, and the mean effect behind a composite."""
    usable = keep & (np.abs(ri) < 1) & (ni > 3)
    yi, vi = np.full(len(ri), np.nan), np.full(len(ri), np.nan)
    yi[usable], vi[usable] = fisher_z(ri[usable], ni[usable])
    of = effects["composite"].to_numpy()
    convert = usable & (of > 1) & (reading.estimand == "mean")
    if convert.any():
        yi[convert], vi[convert] = composite_to_mean_z(
            ri[convert], ni[convert], of[convert], reading.intercorrelation
        )
        if reading.composites == "collapse":
            effects.loc[convert, "n_averaged"] = of[convert]
    effects["yi"], effects["vi"] = yi, vi


def _typed(
    text: TextTable, reading: Reading, where: Sequence[str]
) -> tuple[pd.DataFrame, dict[str, str], list[str]]:
    """Return the typed columns, the mixed columns and the cells that break the schema."""
    names = {reading.roles[role] for role in TEXT_ROLES if role in reading.roles}
    columns: dict[str, Any] = {}
    mixed: dict[str, str] = {}
    problems: list[str] = []
    for name in text.header:
        cells = text.column(name)
        # A study may be called "NA"; where it is missing, its cell is empty.
        blanks = EMPTY if name in names and not reading.schema else reading.blanks
        few = sum(cell not in blanks for cell in cells) / 4
        spec = reading.schema.get(name, {})
        kind = spec.get("type", "any")
        values: list[float] = []
        bad: list[tuple[str, str]] = []
        for place, cell in zip(where, cells, strict=True):
            if kind not in ("any", "number", "integer"):
                break
            if cell in blanks:
                values.append(np.nan)
                continue
            try:
                values.append(parse_number(cell, decimal=reading.decimal))
            except ValueError as error:
                values.append(np.nan)
                bad.append((place, str(error)))
                if kind == "any" and len(bad) > few:
                    break  # plainly text
        problems += _schema_faults(text, name, spec, blanks, where)
        if kind in ("number", "integer"):
            problems += [f"{place}: column '{name}': {why}." for place, why in bad]
            problems += _limit_faults(name, spec, values, where)
            columns[name] = values
        elif kind == "any" and not bad and not np.isnan(values).all():
            columns[name] = values
        else:
            if kind == "any" and bad and len(bad) <= few:
                mixed[name] = f"{bad[0][0]}: column '{name}': {bad[0][1]}"
            columns[name] = [None if cell in blanks else cell for cell in cells]
    return pd.DataFrame(columns), mixed, problems


def _schema_faults(
    text: TextTable,
    name: str,
    spec: Mapping[str, Any],
    blanks: frozenset[str],
    where: Sequence[str],
) -> list[str]:
    rules = spec.get("constraints", {})
    if not rules:
        return []
    problems = []
    seen: dict[str, int] = {}
    for place, line, cell in zip(where, text.lines, text.column(name), strict=True):
        if cell in blanks:
            if rules.get("required"):
                problems.append(f"{place}: column '{name}' is empty; fill it in, it is required.")
            continue
        allowed = rules.get("enum")
        if allowed and cell not in [str(value) for value in allowed]:
            choices = ", ".join(map(str, allowed))
            problems.append(f"{place}: column '{name}': '{cell}' is not one of {choices}.")
        if rules.get("unique") and cell in seen:
            problems.append(
                f"{place}: column '{name}': '{cell}' is already in line {seen[cell]}; "
                "the data package wants each value once."
            )
        seen.setdefault(cell, line)
    return problems


def _limit_faults(
    name: str, spec: Mapping[str, Any], values: Sequence[float], where: Sequence[str]
) -> list[str]:
    rules = spec.get("constraints", {})
    lowest, highest = rules.get("minimum", -np.inf), rules.get("maximum", np.inf)
    return [
        f"{place}: column '{name}': {value:g} is not between {lowest:g} and {highest:g}, as the "
        "data package has it; correct the cell or the package."
        for place, value in zip(where, values, strict=True)
        if value < lowest or value > highest
    ]


def _role_numbers(
    text: TextTable, reading: Reading, where: Sequence[str]
) -> tuple[dict[str, Vector], list[str], NDArray[np.bool_]]:
    """Return the numbers of each role, the cells that are none, and the rows that have such."""
    numbers: dict[str, Vector] = {}
    problems = []
    bad = np.zeros(len(text.rows), dtype=bool)
    roles = reading.roles
    for role in NUMERIC_ROLES:
        if roles.get(role) not in text.header:
            continue
        column, values = roles[role], []
        for i, (place, cell) in enumerate(zip(where, text.column(column), strict=True)):
            value = np.nan
            if cell not in reading.blanks:
                try:
                    value = parse_number(cell, decimal=reading.decimal)
                except ValueError as error:
                    bad[i] = True
                    problems.append(f"{place}: column '{column}': {error}.")
            if (
                role in COUNT_ROLES
                and np.isfinite(value)
                and not (1 <= value <= MOST and value % 1 == 0)
            ):
                problems.append(
                    f"{place}: column '{column}': '{cell}' is not a count; write 1, 2, …"
                )
            values.append(value)
        numbers[role] = np.array(values)
    return numbers, problems, bad


def _use_composites(
    ri: Vector, composite: Vector, effects: pd.DataFrame, composites: Composites
) -> NDArray[np.bool_]:
    """Fill missing correlations from their sample's composite; collapse them to one row."""
    keep = np.ones(len(ri), dtype=bool)
    waiting = ~np.isfinite(ri) & np.isfinite(composite)
    for _, rows in effects[waiting].groupby("sample", sort=False):
        index = rows.index.to_numpy()
        ri[index] = composite[index]
        effects.loc[index, "composite"] = float(len(index))
        if composites == "collapse":
            keep[index[1:]] = False
    return keep
