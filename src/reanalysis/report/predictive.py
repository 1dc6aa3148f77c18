"""Predictive checks: what the model expects, and what it got."""

from collections.abc import Mapping
from typing import Any

from reanalysis.plots.predictive import CAPTION, describe_predictive, plot_predictive
from reanalysis.plots.source import Selected
from reanalysis.report.figures import to_image
from reanalysis.report.tables import Cell, Column, Table, numeric, text
from reanalysis.wording import number, p_value, plain, readable_scale

__all__ = ["make_predictive"]

FAR_OUT = 0.025


def make_predictive(
    document: Mapping[str, Any], chosen: Mapping[str, Selected]
) -> dict[str, Any] | None:
    """Return what the section of predictive checks shows.

    Parameters
    ----------
    document : mapping
        The results document.
    chosen : mapping of str to Selected
        Its models.

    Returns
    -------
    dict or None
        ``sentences``, ``image`` and ``table``; None where nothing was simulated.
    """
    found = document.get("predictive")
    if not found:
        return None
    k = chosen[found["model"]].model["k"]
    return {
        "sentences": _sentences(found, k),
        "image": to_image(
            "predictive", plot_predictive(found), describe_predictive(found), CAPTION
        ),
        "table": _table(found),
    }


def _sentences(found: Mapping[str, Any], k: int) -> list[str]:
    rows = {row["statistic"]: row for row in found["statistics"]}
    scale = readable_scale(found["measure"])
    significant, extreme = rows["significant"], rows.get("extreme", rows["largest"])
    low, middle, high = (
        f"{100 * significant[key] / k:.0f}" for key in ("prior_lower", "prior", "prior_upper")
    )
    sentences = [
        f"Before the data, the priors expected {middle} % of the {k} effects to have p < .05 "
        f"(95 %: {low} to {high} %) and the largest effect of either sign to be "
        f"{scale.value(extreme['prior'])} "
        f"({scale.interval(extreme['prior_lower'], extreme['prior_upper'])})."
    ]
    odd = [row for row in rows.values() if not FAR_OUT <= row["p"] <= 1 - FAR_OUT]
    if odd:
        named = "; ".join(f"{plain(row['title'])} (p {p_value(row['p'])})" for row in odd)
        sentences.append(f"The fitted model does not reproduce: {named}.")
    else:
        sentences.append(
            f"The fitted model reproduces all {len(rows)} statistics: each observed value lies "
            "inside the central 95 % of what it predicts."
        )
    return sentences


def _table(found: Mapping[str, Any]) -> Table:
    columns = (
        Column("Statistic", numeric=False),
        Column("Observed"),
        Column("Expected before the data"),
        Column("Predicted after"),
        Column("P(as large or larger)"),
    )
    rows = tuple(
        (
            text(row["title"]),
            numeric(_shown(row, row["observed"]), row["observed"]),
            _range(row, "prior"),
            _range(row, "posterior"),
            numeric(p_value(row["p"]).removeprefix("= "), row["p"], f"± {number(row['mcse'], 3)}"),
        )
        for row in found["statistics"]
    )
    note = (
        f"From {found['draws']:,} simulated data sets each; ± is the Monte-Carlo error. Effects "
        "on the analysis scale."
    )
    return Table("Observed and predicted", columns, rows, note=note)


def _range(row: Mapping[str, Any], which: str) -> Cell:
    ends = f"{_shown(row, row[f'{which}_lower'])} to {_shown(row, row[f'{which}_upper'])}"
    return numeric(_shown(row, row[which]), row[which], ends)


def _shown(row: Mapping[str, Any], value: float) -> str:
    return f"{value:.0f}" if row["statistic"] == "significant" else number(value, 2)
