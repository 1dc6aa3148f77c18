"""The multiverse: how many ways of doing it agree, and which decision matters."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reanalysis.plots.source import Selected
from reanalysis.plots.specification_curve import (
    CAPTION,
    describe_specification_curve,
    plot_specification_curve,
)
from reanalysis.report.figures import to_image
from reanalysis.report.tables import Column, Table, missing, numeric, text
from reanalysis.wording import Scale, number, readable_scale

__all__ = ["make_multiverse"]

MEANING = {
    "substantial": "the interval lies beyond the smallest effect of interest",
    "positive": "above zero",
    "negative": "below zero",
    "unclear": "zero inside",
    "negligible": "too small to matter",
}


def make_multiverse(
    document: Mapping[str, Any], chosen: Mapping[str, Selected]
) -> dict[str, Any] | None:
    """Return what the multiverse's section shows.

    Parameters
    ----------
    document : mapping
        The results document.
    chosen : mapping of str to Selected
        Its models.

    Returns
    -------
    dict or None
        ``sentences``, ``decisions``, ``options``, ``image``, ``rule``; None without a multiverse.
    """
    found = document.get("multiverse")
    if not found:
        return None
    scale = readable_scale(found["measure"])
    return {
        "sentences": _sentences(found, scale),
        "decisions": _decisions(found),
        "options": _options(found, scale),
        "image": to_image(
            "specification_curve",
            plot_specification_curve(found),
            describe_specification_curve(found),
            CAPTION,
        ),
        "rule": found["rule"],
    }


def _sentences(found: Mapping[str, Any], scale: Scale) -> list[str]:
    universes = [u for u in found["universes"] if "estimate" in u]
    conclusions = [u["conclusion"] for u in universes]
    counts = {c: conclusions.count(c) for c in sorted(set(conclusions), key=conclusions.index)}
    tally = ", ".join(f"{name} ({MEANING[name]}) in {n:,}" for name, n in counts.items())
    estimates = [u["estimate"] for u in universes]
    low, high = min(estimates), max(estimates)
    sentences = [
        f"{len(universes):,} combinations of {len(found['axes'])} decisions were fitted by the "
        f"exact engine. The conclusion is {tally}; estimates ({scale.symbol}) go from "
        f"{scale.value(low, 3)} to {scale.value(high, 3)}."
    ]
    sentences += _common_causes(found, universes)
    turning = [d for d in found["decisions"] if d["changes_conclusion"]]
    if turning:
        names = "; ".join(
            f"{found['titles'][d['axis']]} ({d['changes_conclusion']:,} of {d['comparisons']:,})"
            for d in turning
        )
        sentences.append(f"Decisions that change the conclusion by themselves: {names}.")
        still = [d for d in found["decisions"] if not d["changes_conclusion"]]
        if still:
            names = "; ".join(found["titles"][d["axis"]] for d in still)
            sentences.append(f"Decisions that never do, whatever the others are: {names}.")
    else:
        sentences.append("No decision changes the conclusion by itself, whatever the others are.")
    if found["failed"]:
        sentences.append(
            f"{found['failed']:,} combinations could not be fitted; results.json names the reasons."
        )
    return sentences


def _common_causes(
    found: Mapping[str, Any], universes: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Name the decisions that every combination with some other conclusion takes differently."""
    headline = universes[0]
    for conclusion in dict.fromkeys(u["conclusion"] for u in universes):
        ending = [u for u in universes if u["conclusion"] == conclusion]
        causes = [
            f"{found['titles'][axis]} (not “{headline[axis]}”)"
            for axis in found["axes"]
            if all(u[axis] != headline[axis] for u in ending)
        ]
        if causes and conclusion != headline["conclusion"]:
            yield (
                f"All {len(ending):,} combinations that end {conclusion} decide otherwise than the "
                f"headline about: {'; '.join(causes)}."
            )


def _decisions(found: Mapping[str, Any]) -> Table:
    columns = (
        Column("Decision", numeric=False),
        Column("Options"),
        Column("Changes the conclusion"),
        Column("Largest shift"),
    )
    rows = tuple(
        (
            text(found["titles"][d["axis"]]),
            numeric(str(d["options"]), d["options"]),
            numeric(
                f"{d['changes_conclusion']:,} of {d['comparisons']:,} times", d.get("share", 0.0)
            ),
            numeric(number(d["largest_shift"], 3), d["largest_shift"])
            if "largest_shift" in d
            else missing(),
        )
        for d in found["decisions"]
    )
    note = (
        "The largest shift is the most that the estimate moves, on the analysis scale, when only "
        "this decision changes."
    )
    return Table("What each decision does", columns, rows, sortable=True, note=note)


def _options(found: Mapping[str, Any], scale: Scale) -> Table:
    columns = (
        Column("Option", numeric=False),
        Column("Decision", numeric=False),
        Column("Combinations"),
        Column("Same conclusion as the headline"),
        Column(f"Median estimate ({scale.symbol}) and range"),
    )
    rows = tuple(
        (
            text(o["option"]),
            text(found["titles"][o["axis"]]),
            numeric(
                f"{o['universes']:,}", o["universes"], f"{o['failed']} failed" * bool(o["failed"])
            ),
            numeric(f"{100 * o['same_conclusion']:.0f} %", o["same_conclusion"])
            if "same_conclusion" in o
            else missing(),
            numeric(
                scale.value(o["median"], 3),
                o["median"],
                f"{scale.value(o['lowest'], 3)} to {scale.value(o['highest'], 3)}",
            )
            if "median" in o
            else missing(),
        )
        for o in found["options"]
    )
    return Table("What happens under each option", columns, rows, sortable=True)
