"""One model's inside: its data, priors and convergence."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from reanalysis.plots.source import Selected
from reanalysis.report.tables import (
    Cell,
    Column,
    Table,
    caption,
    mark,
    missing,
    numeric,
    plain_number,
    text,
)
from reanalysis.wording import (
    is_mean,
    number,
    parameter_name,
    parameter_symbol,
    plain,
    readable_scale,
)

__all__ = [
    "convergence_table",
    "effects_table",
    "gate_table",
    "priors_table",
    "source_table",
]

Z95 = 1.959964
# The gate of METHODS section 3 (Vehtari et al. 2021), as the reader is told it.
GATE = (
    ("rhat_max", "Largest R̂", "at most 1.01", 4),
    ("ess_bulk_min", "Smallest effective sample size, bulk", "at least 400", 0),
    ("ess_tail_min", "Smallest effective sample size, tails", "at least 400", 0),
    ("divergences", "Divergent transitions", "none", 0),
    ("ebfmi_min", "Smallest E-BFMI", "at least 0.3", 2),
)


def effects_table(chosen: Selected) -> Table:
    """Return the effects that enter a model, with their shrunken estimates.

    Parameters
    ----------
    chosen : Selected
        The model.

    Returns
    -------
    Table
        Sortable, one row for each effect, labels in full.
    """
    scale, effects = chosen.scale, chosen.model["effects"]
    engine = chosen.posterior[0] if chosen.posterior and usable_effects(chosen) else ""
    with_n = any("ni" in e for e in effects)
    averaged = any(e.get("n_averaged", 1.0) > 1 for e in effects)
    columns = [Column("Effect", numeric=False), Column("Sample", numeric=False)]
    columns += [Column("n")] if with_n else []
    columns += [Column("Mean of")] if averaged else []
    columns.append(Column(f"As reported ({scale.symbol})"))
    columns += [Column(scale.measure.label)] if scale.transformed else []
    columns.append(Column("SE"))
    columns += [Column(f"Shrunken ({scale.symbol})")] if engine else []
    rows = []
    for e in effects:
        sei = float(np.sqrt(e["vi"]))
        ends = scale.interval(e["yi"] - Z95 * sei, e["yi"] + Z95 * sei, 3)
        cells = [text(e["label"]), _text_or_number(e["sample"])]
        cells += [numeric(plain_number(e["ni"]), e["ni"]) if "ni" in e else missing()] * with_n
        cells += [numeric(plain_number(e["n_averaged"]), e["n_averaged"])] * averaged
        cells.append(numeric(scale.value(e["yi"], 3), e["yi"], ends))
        cells += [numeric(number(e["yi"], 4), e["yi"])] * scale.transformed
        cells.append(numeric(number(sei, 4), sei))
        if engine:
            found = e[engine]
            inside = scale.interval(found["lower"], found["upper"], 3)
            cells.append(numeric(scale.value(found["mean"], 3), found["mean"], inside))
        rows.append(tuple(cells))
    note = "“Mean of”: how many effects a row averages. " if averaged else ""
    return Table(
        caption("Effects in the model", chosen),
        tuple(columns),
        tuple(rows),
        sortable=True,
        note=note + "Second line of a cell: 95 % interval.",
    )


def usable_effects(chosen: Selected) -> bool:
    """Whether every effect has an estimate from the shown Bayesian engine.

    Parameters
    ----------
    chosen : Selected
        The model.

    Returns
    -------
    bool
        False without a posterior.
    """
    return chosen.posterior is not None and all(
        chosen.posterior[0] in e for e in chosen.model["effects"]
    )


def source_table(data: Mapping[str, Any]) -> Table:
    """Return the table as the data folder holds it, without columns that are empty.

    Parameters
    ----------
    data : mapping
        The document's part about the data.

    Returns
    -------
    Table
        Sortable; every other column.
    """
    filled = [i for i, _ in enumerate(data["columns"]) if any(row[i] != "" for row in data["rows"])]
    names = [str(data["columns"][i]) for i in filled]
    label = names.index("label") if "label" in names else 0
    order = [filled[label], *(i for j, i in enumerate(filled) if j != label)]
    of_numbers = [
        all(isinstance(row[i], (int, float)) for row in data["rows"] if row[i] != "") for i in order
    ]
    columns = tuple(
        Column(plain(data["columns"][i]), numeric=n) for i, n in zip(order, of_numbers, strict=True)
    )
    rows = tuple(tuple(_text_or_number(row[i]) for i in order) for row in data["rows"])
    return Table(f"Table “{plain(data['table'])}” of the data", columns, rows, sortable=True)


def priors_table(chosen: Selected, measure: str) -> Table | None:
    """Return the priors with what they say in words, and why they were chosen.

    Parameters
    ----------
    chosen : Selected
        The model.
    measure : str
        Code of the effect-size measure.

    Returns
    -------
    Table or None
        None where the model has no prior.
    """
    rows = [
        (
            text(parameter_name(row["parameter"]), parameter_symbol(row["parameter"])),
            _prior(row),
            text(_prior_in_words(row, measure)),
            text(row.get("rationale", "") or "None given."),
        )
        for row in chosen.model.get("priors", ())
    ]
    if not rows:
        return None
    heads = ("", "Prior", "What it says", "Why")
    return Table(
        caption("Priors, and why", chosen),
        tuple(Column(h, numeric=False) for h in heads),
        tuple(rows),
    )


def gate_table(chosen: Selected) -> Table | None:
    """Return the convergence gate, threshold by threshold.

    Parameters
    ----------
    chosen : Selected
        The model.

    Returns
    -------
    Table or None
        None where NUTS did not run.
    """
    found = chosen.model.get("nuts", {}).get("diagnostics")
    if not found:
        return None
    passes = {
        "rhat_max": lambda x: x <= 1.01,
        "ess_bulk_min": lambda x: x >= 400,
        "ess_tail_min": lambda x: x >= 400,
        "divergences": lambda x: x == 0,
        "ebfmi_min": lambda x: x >= 0.3,
    }
    rows = [
        (
            text(label),
            numeric(f"{found[key]:,.{digits}f}", found[key]),
            text(limit),
            mark(passes[key](found[key])),
        )
        for key, label, limit, digits in GATE
        if key in found
    ]
    sampler = found.get("sampler", {})
    return Table(
        caption("Convergence gate of NUTS", chosen),
        (
            Column("", numeric=False),
            Column("Found"),
            Column("Needed", numeric=False),
            Column("Passed", numeric=False),
        ),
        tuple(rows),
        note="; ".join(f"{name.replace('_', ' ')}: {plain(v)}" for name, v in sampler.items()),
    )


def convergence_table(chosen: Selected) -> Table | None:
    """Return R-hat, effective sample sizes and Monte-Carlo errors, by quantity.

    Parameters
    ----------
    chosen : Selected
        The model.

    Returns
    -------
    Table or None
        None where NUTS did not run.
    """
    records = chosen.model.get("nuts", {}).get("diagnostics", {}).get("table", ())
    if not records:
        return None
    rows = []
    for record in records:
        name = str(record["parameter"])
        cells = [text(parameter_name(name), parameter_symbol(name))]
        for key, digits in (("rhat", 4), ("ess_bulk", 0), ("ess_tail", 0), ("mcse", 5)):
            value = record.get(key)
            cells.append(missing() if value is None else numeric(f"{value:,.{digits}f}", value))
        rows.append(tuple(cells))
    heads = ("R̂", "ESS bulk", "ESS tail", "Monte-Carlo error of the mean")
    return Table(
        caption("Convergence by quantity", chosen),
        (Column("", numeric=False), *map(Column, heads)),
        tuple(rows),
    )


def _prior(row: Mapping[str, Any]) -> Cell:
    settings = ", ".join(f"{name} = {plain_number(v)}" for name, v in row["parameters"].items())
    return text(row["family"].replace("_", "-"), settings)


def _prior_in_words(row: Mapping[str, Any], measure: str) -> str:
    """Say what a prior holds to be plausible, from its quantiles at 2.5, 50 and 97.5 %."""
    low, middle, high = row["quantiles"]
    scale = readable_scale(measure)
    if abs(low + high) < 1e-9 * high:
        says = f"Centred on 0; 95 % within ±{number(high, 2)}"
    else:
        says = f"Half of it below {number(middle, 2)}; 95 % between {number(low, 2)} and "
        says += number(high, 2)
    if "times" in row:
        return f"{says}, times the {parameter_name(row['times']).lower()}."
    if is_mean(row["parameter"]) and scale.transformed:
        says += f"; as {scale.symbol}, from {scale.interval(low, high)}"
    return f"{says}."


def _text_or_number(value: object) -> Cell:
    if value == "":
        return missing()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return numeric(plain_number(float(value)), float(value))
    return text(value)
