"""The model average: effect, heterogeneity and bias, over all models that the spec allows."""

from collections.abc import Mapping, Sequence
from typing import Any

from reanalysis.plots.source import Selected
from reanalysis.report.tables import (
    Cell,
    Column,
    Table,
    caption,
    estimate,
    missing,
    numeric,
    parameter,
    record_table,
    text,
)
from reanalysis.wording import evidence, number, odds, p_value, plain

__all__ = ["average_tables", "averaged_effect"]

REGRESSIONS = {"pet": "PET", "peese": "PEESE"}


def averaged_effect(document: Mapping[str, Any]) -> tuple[float, Mapping[str, float], int] | None:
    """Return what is left of the effect once bias is allowed for.

    Parameters
    ----------
    document : mapping
        The results document.

    Returns
    -------
    tuple or None
        Log inclusion Bayes factor of the effect, averaged estimate (``mean``, ``lower``,
        ``upper``), and number of models; None where nothing was averaged.
    """
    average = document.get("average")
    if not average:
        return None
    factor = _inclusion(average, "effect").get("log_bayes_factor")
    mean = average["averaged"].get("mu")
    if factor is None or mean is None or "lower" not in mean:
        return None
    return float(factor), mean, len(average["models"])


def average_tables(
    document: Mapping[str, Any], models: Mapping[str, Selected]
) -> tuple[Table, ...]:
    """Return the tables of the model average.

    Parameters
    ----------
    document : mapping
        The results document.
    models : mapping of str to Selected
        The models by name; the average is over variants of one of them.

    Returns
    -------
    tuple of Table
        Inclusion, estimates, weights and models; empty where nothing was averaged.
    """
    average = document.get("average")
    if not average:
        return ()
    chosen = models.get(average["model"], next(iter(models.values())))
    tables = [_inclusion_table(average["inclusion"]), _estimates_table(average, chosen)]
    if average.get("weight_function"):
        tables.append(_weights_table(average["weight_function"]))
    tables.append(record_table("All averaged models", [_model(row) for row in average["models"]]))
    return tuple(tables)


def _inclusion(average: Mapping[str, Any], component: str) -> Mapping[str, Any]:
    return next((r for r in average["inclusion"] if r.get("component") == component), {})


def _inclusion_table(inclusion: Sequence[Mapping[str, Any]]) -> Table:
    rows = []
    for row in inclusion:
        factor = row.get("log_bayes_factor")
        rows.append(
            (
                text(_component(str(row.get("component", "")))),
                _probability(row["prior"]),
                _probability(row["posterior"]),
                missing()
                if factor is None
                else numeric(f"{odds(factor)} {'for' if factor > 0 else 'against'}", factor),
                text("") if factor is None else text(evidence(factor)),
            )
        )
    return Table(
        "Is it there? Probabilities over all averaged models",
        (
            Column("", numeric=False),
            Column("Before the data"),
            Column("After the data"),
            Column("Odds"),
            Column("Usual label", numeric=False),
        ),
        tuple(rows),
        note="Odds: inclusion Bayes factors, of all models with the component against all "
        "without it.",
    )


def _component(name: str) -> str:
    """Return the name of a component as it is read: one of the three, or a kind of bias."""
    kind, _, bias = name.partition(": ")
    return (
        f"{kind.capitalize()}: {REGRESSIONS.get(bias, f'selection ({bias})')}"
        if bias
        else kind.capitalize()
    )


def _estimates_table(average: Mapping[str, Any], chosen: Selected) -> Table:
    names = list(dict.fromkeys([*average["averaged"], *average["conditional"]]))
    names.sort(key=lambda name: name != "mu")
    rows = [
        (
            parameter(name),
            *(
                estimate(chosen, name, average[kind][name]) if name in average[kind] else missing()
                for kind in ("averaged", "conditional")
            ),
        )
        for name in names
        if not (name == "tau" and chosen.model.get("levels") == 2)
    ]
    return Table(
        caption("Estimates over all averaged models", chosen),
        (Column("", numeric=False), Column("Over all models"), Column("Over those that have it")),
        tuple(rows),
        note="Over all models, a quantity counts as zero in the models without it.",
    )


def _weights_table(bins: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        (
            text(f"{number(b['p_from'], 3)} to {number(b['p_to'], 3)}"),
            numeric(number(b["mean"], 2, leading_zero=False), float(b["mean"])),
        )
        for b in bins
    ]
    return Table(
        "Averaged publication weight by one-sided p-value",
        (Column("p from … to", numeric=False), Column("Weight")),
        tuple(rows),
    )


def _model(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of the list of models, with the columns that a reader needs."""
    return {
        "bias": plain(row["bias"]),
        "effect": "yes" if row["effect"] else "no",
        "heterogeneity": "yes" if row["heterogeneity"] else "no",
        "prior": row["prior"],
        "posterior": row["posterior"],
        "log marginal likelihood": row["log_marginal_likelihood"],
    }


def _probability(p: float) -> Cell:
    """Return a probability; like a p-value, it is never printed as 0 or 1."""
    return numeric(p_value(p).removeprefix("= "), float(p))
