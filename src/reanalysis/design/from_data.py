"""From the rows of a data set that a model selects to its arrays."""

from difflib import get_close_matches

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reanalysis.dataset import Dataset
from reanalysis.design.model_priors import resolve_priors
from reanalysis.design.record import Design
from reanalysis.moderators import moderator_columns
from reanalysis.selection_columns import direction_notes, effects_measured, primary_effects
from reanalysis.spec import ModelSpec, SpecError

__all__ = ["make_design"]

SAME = 1e-9  # relative difference of variances that is rounding


def make_design(data: Dataset, model: ModelSpec) -> Design:
    """Bring a data set and a model together.

    Parameters
    ----------
    data : Dataset
        The data.
    model : ModelSpec
        The model; its table, columns, estimand and filters select the reading and its rows.

    Returns
    -------
    Design
        Plain arrays, rows ordered by sample.

    Raises
    ------
    DataError
        If the reading has faulty values.
    SpecError
        If a filter, a moderator or a prior does not fit the data.
    """
    data = data.reading(
        table=model.table,
        columns=model.columns,
        estimand=model.estimand,
        composites=model.composites,
    )
    where = f"model '{model.name}'"
    keep = _filtered(data, model, where)
    moderators = moderator_columns(data, model, keep)
    keep &= moderators.complete
    effects = data.effects[keep]
    X = moderators.X[keep]
    if len(effects) < 2:
        raise SpecError([f"{where}: {len(effects)} rows are left; it needs at least two."])
    samples = list(dict.fromkeys(effects["sample"]))
    code = effects["sample"].map({name: i for i, name in enumerate(samples)}).to_numpy(np.intp)
    order = np.argsort(code, kind="stable")
    effects, X, code = effects.iloc[order], X[order], code[order]
    averaged = effects["n_averaged"].to_numpy(float)
    several = len(samples) < len(effects) or bool(np.any(averaged > 1))
    measured = effects_measured(effects, samples) if model.mechanism == "thin" else None
    sign = -1 if data.direction == "negative" else 1
    design = Design(
        yi=effects["yi"].to_numpy(float).copy(),
        vi=effects["vi"].to_numpy(float).copy(),
        X=X,
        coefficients=moderators.names,
        cluster=code,
        cluster_names=tuple(str(name) for name in samples),
        row_names=_row_names(effects),
        measure=data.measure,
        levels=(3 if several else 2) if model.levels == "auto" else model.levels,
        n_averaged=averaged.copy(),
        n_measured=measured,
        primary=primary_effects(data, model, keep)[order] if model.primary else None,
        ni=effects["ni"].to_numpy(float).copy() if effects["ni"].notna().all() else None,
        factors={term.name: term.columns for term in moderators.terms},
        rows=np.flatnonzero(keep)[order],
        dropped=moderators.dropped,
        direction=sign,
        terms=moderators.terms,
        moderators={name: v[keep][order] for name, v in moderators.values.items()},
        notes=(*moderators.notes, *direction_notes(model, effects["yi"].to_numpy(float), sign)),
        scale=None if moderators.scale is None else moderators.scale[keep][order],
        scale_variable=moderators.scale_variable,
    )
    if design.levels == 3 and not several:
        raise SpecError(
            [
                f"{where}: levels = 3, but every sample has one effect, so tau_within cannot be "
                'told from tau_between; set levels = 2 or "auto".'
            ]
        )
    if model.mechanism in ("pet", "peese") and np.ptp(design.vi) <= SAME * design.vi.max():
        raise SpecError(
            [
                f'{where}: mechanism = "{model.mechanism}" asks how effects change with their '
                f"standard error, but all have the same, {np.sqrt(design.vi[0]):.3g}; the data "
                "hold no information about that. Choose another mechanism."
            ]
        )
    resolve_priors(design, model)
    return design


def _filtered(data: Dataset, model: ModelSpec, where: str) -> NDArray[np.bool_]:
    keep = np.ones(data.k, dtype=bool)
    problems = []
    for word, table in (("include", model.include), ("exclude", model.exclude)):
        for column, values in table.items():
            if column not in data.table.columns:
                columns = [str(name) for name in data.table.columns]
                near = get_close_matches(column, columns, n=1)
                hint = f" Did you mean '{near[0]}'?" if near else ""
                problems.append(
                    f"{where}: {word} names the column '{column}', which the table does not "
                    f"have.{hint} Columns: {', '.join(columns)}."
                )
                continue
            cells = data.table[column]
            match = np.zeros(data.k, dtype=bool)
            for value in values:
                hit = cells.map(lambda cell, v=value: _same(cell, v)).to_numpy(bool)
                if not hit.any():
                    problems.append(f"{where}: {word}.{column}: no row holds {value!r}.")
                match |= hit
            keep &= match if word == "include" else ~match
    if problems:
        raise SpecError(problems)
    return keep


def _same(cell: object, value: object) -> bool:
    """Compare a cell with a spec's value; numbers as numbers, so that 3, 3.0 and "3" agree."""
    if isinstance(cell, float):
        try:
            return cell == float(str(value))
        except ValueError:
            return False
    return str(cell) == str(value)


def _row_names(effects: pd.DataFrame) -> tuple[str, ...]:
    """Return labels; rows that share one get their effect or a number."""
    counts = effects["label"].value_counts()
    names, seen = [], dict.fromkeys(counts.index, 0)
    for label, effect in zip(effects["label"], effects["effect"], strict=True):
        seen[label] += 1
        if counts[label] > 1:
            names.append(f"{label}, {effect}" if effect else f"{label} ({seen[label]})")
        else:
            names.append(str(label))
    return tuple(names)
