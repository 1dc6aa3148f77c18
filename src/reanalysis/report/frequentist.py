"""The frequentist check: heterogeneity, tests, influence and small-study methods."""

from collections.abc import Mapping
from typing import Any

from reanalysis.plots.source import Selected
from reanalysis.report.tables import (
    Column,
    Table,
    caption,
    estimate,
    missing,
    numeric,
    record_tables,
    text,
)
from reanalysis.wording import number, p_value, plain

__all__ = [
    "frequentist_tables",
    "heterogeneity_table",
    "influence_table",
    "small_study_limits",
    "small_study_table",
]

OWN_PLACE = ("heterogeneity", "leave_one_sample_out", "influence")


def heterogeneity_table(chosen: Selected) -> Table | None:
    """Return REML's heterogeneity statistics, each with its formula.

    Parameters
    ----------
    chosen : Selected
        The model.

    Returns
    -------
    Table or None
        None where REML did not run.
    """
    records = chosen.model.get("reml", {}).get("tables", {}).get("heterogeneity", ())
    if not records:
        return None
    rows = []
    for record in records:
        name, value = str(record["quantity"]), record["value"]
        percent = name.startswith("I2")
        printed = f"{number(value, 1)} %" if percent else _statistic(name, value)
        cell = numeric(printed, value)
        formula = str(record["formula"]).replace("tau2", "τ²").replace(" - ", " − ")
        rows.append((text(name.replace("I2", "I²")), cell, text(formula)))
    return Table(
        caption("Heterogeneity by REML", chosen),
        (Column("", numeric=False), Column("Value"), Column("Formula", numeric=False)),
        tuple(rows),
        note="I² by variance ratio and I² from Q are different quantities; a printed I² must be "
        "compared with the one that has the same formula.",
    )


def frequentist_tables(chosen: Selected) -> tuple[Table, ...]:
    """Return REML's further tables: tests, intervals, predictions, fit.

    Parameters
    ----------
    chosen : Selected
        The model.

    Returns
    -------
    tuple of Table
        In the order of the document, without those that have a place of their own.
    """
    tables = chosen.model.get("reml", {}).get("tables", {})
    rest = {
        name: [{k: v for k, v in row.items() if k != "level"} for row in rows]
        for name, rows in tables.items()
        if name not in OWN_PLACE
    }
    return record_tables(caption("REML", chosen), rest)


def influence_table(chosen: Selected) -> Table | None:
    """Return what the average becomes without each sample.

    Parameters
    ----------
    chosen : Selected
        The model.

    Returns
    -------
    Table or None
        Sortable; None where no sample was left out.
    """
    tables = chosen.model.get("reml", {}).get("tables", {})
    refits = [
        row for row in tables.get("leave_one_sample_out", ()) if row["parameter"] == chosen.focus
    ]
    full = chosen.reml(chosen.focus)
    if not refits or full is None:
        return None
    cases = {str(row["omitted"]): row for row in tables.get("influence", ())}
    labels: dict[str, list[str]] = {}
    for e in chosen.model["effects"]:
        labels.setdefault(str(e["sample"]), []).append(plain(e["label"]))
    rows = []
    for row in refits:
        name = str(row["omitted"])
        refit = {"mean": row["value"], **row}
        shift = chosen.scale.back(row["value"]) - chosen.scale.back(full["mean"])
        case = cases.get(name, {})
        rows.append(
            (
                text("; ".join(labels.get(name, [plain(name)]))),
                estimate(chosen, chosen.focus, refit),
                numeric(chosen.scale.printed(shift, 3), shift),
                numeric(p_value(row["p"]).removeprefix("= "), row["p"])
                if "p" in row
                else missing(),
                numeric(number(case["cook"], 2), case["cook"]) if "cook" in case else missing(),
                numeric(number(case["rstudent"], 2), case["rstudent"])
                if "rstudent" in case
                else missing(),
            )
        )
    heads = (
        f"Average without it ({chosen.scale.symbol})",
        "Change",
        "p",
        "Cook’s distance",
        "Studentised residual",
    )
    return Table(
        caption("Leaving out one sample at a time, by REML", chosen),
        (Column("Left out", numeric=False), *map(Column, heads)),
        tuple(rows),
        sortable=True,
    )


def small_study_table(document: Mapping[str, Any], chosen: Selected) -> Table | None:
    """Return the small-study methods of a model beside each other.

    Parameters
    ----------
    document : mapping
        The results document.
    chosen : Selected
        The model.

    Returns
    -------
    Table or None
        None where none was computed.
    """
    methods = _small_study(document, chosen).get("methods", ())
    if not methods:
        return None
    rows = []
    for row in methods:
        found = {"mean": row["mean"], **row} if "mean" in row else None
        rows.append(
            (
                text(row["method"]),
                missing() if found is None else estimate(chosen, "mu", found),
                text(row["test"]) if row.get("test") else missing(),
                numeric(p_value(row["p"]).removeprefix("= "), row["p"])
                if "p" in row
                else missing(),
            )
        )
    return Table(
        caption("Methods for small-study effects", chosen),
        (
            Column("Method", numeric=False),
            Column(f"Average it implies ({chosen.scale.symbol})"),
            Column("Test", numeric=False),
            Column("p"),
        ),
        tuple(rows),
        note="Second line: 95 % confidence interval. None of these methods can show that there is "
        "no publication bias.",
    )


def small_study_limits(
    document: Mapping[str, Any], chosen: Selected
) -> tuple[tuple[str, str], ...]:
    """Return what each small-study method cannot show, or why it was not computed.

    Parameters
    ----------
    document : mapping
        The results document.
    chosen : Selected
        The model.

    Returns
    -------
    tuple of tuple of str
        Method and sentence; methods that share a sentence are named together.
    """
    found = _small_study(document, chosen)
    by_sentence: dict[str, list[str]] = {}
    for detail in found.get("details", {}).values():
        if detail.get("limits"):
            by_sentence.setdefault(plain(detail["limits"]), []).append(plain(detail["method"]))
    for name, reason in found.get("skipped", {}).items():
        sentence = f"Not computed: {plain(reason)}"
        by_sentence.setdefault(sentence, []).append(plain(name).replace("_", " "))
    return tuple(("; ".join(names), sentence) for sentence, names in by_sentence.items())


def _small_study(document: Mapping[str, Any], chosen: Selected) -> Mapping[str, Any]:
    return document.get("small_study", {}).get(chosen.name, {})  # type: ignore[no-any-return]


def _statistic(name: str, value: float) -> str:
    if name == "Q p":
        return p_value(value).removeprefix("= ")
    if name == "Q df":
        return f"{value:.0f}"
    return number(value, 2 if name == "Q" else 4)
