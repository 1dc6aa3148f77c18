"""Selection for publication: what each mechanism makes of the average, and what the data say."""

from collections.abc import Mapping, Sequence
from typing import Any

from reanalysis.plots.source import Selected
from reanalysis.report.answer import usable
from reanalysis.report.tables import Cell, Column, Table, estimate, interval, missing, numeric, text
from reanalysis.wording import number, parameter_name, plain

__all__ = ["MECHANISMS", "identification", "mechanisms_table", "weights_table"]

MECHANISMS = {
    "none": "Everything was published; nothing is corrected for selection.",
    "joint": "A sample is seen only if all of its effects survive selection by p-value.",
    "replace": "Every sample is seen; an effect that fails selection is replaced by another.",
    "study": "One decision for each sample, on its most significant effect.",
    "thin": "Of the effects measured, each is reported with a weight by its p-value.",
    "pet": "Effects shift with their standard error (PET).",
    "peese": "Effects shift with their sampling variance (PEESE).",
}


PRIMARY = "One decision for each sample, on its primary effect."


def mechanisms_table(models: Sequence[Selected]) -> Table | None:
    """Return the average under each idea of how results were selected.

    Parameters
    ----------
    models : sequence of Selected
        All models, the headline first.

    Returns
    -------
    Table or None
        The headline model and every model that corrects; None where none does.
    """
    correcting = [m for m in models if m.model["spec"]["mechanism"] != "none"]
    if not correcting:
        return None
    rows = []
    for chosen in (models[0], *[m for m in correcting if m is not models[0]]):
        mechanism, primary = (chosen.model["spec"].get(key) for key in ("mechanism", "primary"))
        said = PRIMARY if primary else MECHANISMS.get(mechanism, mechanism)
        found = chosen.posterior[1]["estimates"] if chosen.posterior and usable(chosen) else {}
        mean, new = found.get(chosen.focus), found.get("new_sample")
        rows.append(
            (
                text(said, chosen.model.get("title", chosen.name)),
                missing() if mean is None else estimate(chosen, chosen.focus, mean),
                interval(chosen, new),
                _strength(chosen, found),
            )
        )
    symbol = models[0].scale.symbol
    return Table(
        "The average under each mechanism of selection",
        (
            Column("If …", numeric=False),
            Column(f"Average ({symbol})"),
            Column(f"A new sample ({symbol})"),
            Column("Strength of selection", numeric=False),
        ),
        tuple(rows),
        note="The mechanisms are compared, not elected: a wrong one can fit best. Second line: "
        "95 % interval.",
    )


def weights_table(models: Sequence[Selected]) -> Table | None:
    """Return prior and posterior of the publication weights.

    Parameters
    ----------
    models : sequence of Selected
        All models.

    Returns
    -------
    Table or None
        One row for each mechanism and bin of p-values; None without weights.
    """
    rows = []
    for chosen in models:
        selection = chosen.model.get("selection", {})
        for one in selection.get("bins", ()):
            if "posterior_median" not in one or one["posterior_lower"] == one["posterior_upper"]:
                continue
            rows.append(
                (
                    text(str(one["bin"]).replace("<=", "≤"), selection["mechanism"]),
                    numeric(f"{one['effects']:.0f}", float(one["effects"])),
                    _weight(one, "prior"),
                    _weight(one, "posterior"),
                )
            )
    if not rows:
        return None
    return Table(
        "Publication weights before and after the data",
        (
            Column("One-sided p-value", numeric=False),
            Column("Effects"),
            Column("Before the data"),
            Column("After the data"),
        ),
        tuple(rows),
        note="Weight 1: published as often as the most significant results. Medians; second line: "
        "95 % interval.",
    )


def identification(models: Sequence[Selected]) -> list[str]:
    """Return what the data say about the weights, sentence by sentence.

    Parameters
    ----------
    models : sequence of Selected
        All models.

    Returns
    -------
    list of str
        One sentence for each selection model, beginning with its mechanism.
    """
    sentences = []
    for chosen in models:
        selection = chosen.model.get("selection", {})
        if found := selection.get("identification"):
            said = plain(found["sentence"]).replace("<=", "≤")
            sentences.append(f"{plain(selection['mechanism']).capitalize()}: {said}")
    return sentences


def _strength(chosen: Selected, found: Mapping[str, Any]) -> Cell:
    """Return the weights, or the slope, of a model in one cell."""
    if held := chosen.model["spec"].get("omega"):
        return text("weights held at " + ", ".join(f"{weight:g}" for weight in held))
    parts = [
        f"{parameter_name(name)}: {number(e['mean'], 2)} "
        f"({number(e['lower'], 2)} to {number(e['upper'], 2)})"
        for name, e in found.items()
        if name.startswith("omega[") or name in ("pet", "peese")
    ]
    return text("; ".join(parts)) if parts else missing()


def _weight(one: Mapping[str, Any], when: str) -> Cell:
    lower, middle, upper = (one[f"{when}_{end}"] for end in ("lower", "median", "upper"))
    ends = f"{number(lower, 2, leading_zero=False)} to {number(upper, 2, leading_zero=False)}"
    return numeric(number(middle, 2, leading_zero=False), float(middle), ends)
