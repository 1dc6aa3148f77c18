"""Corrected against uncorrected: the average effect by every way of allowing for bias."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reanalysis.plots.source import Selected
from reanalysis.plots.style import BLUE, GREY, INK, ORANGE, PALE, canvas, readable_axis
from reanalysis.wording import shorten

__all__ = ["CAPTION", "Corrected", "corrected_estimates", "describe_corrected", "plot_corrected"]

CAPTION = (
    "The average effect with its 95 % interval, uncorrected (grey band and first row) and by each "
    "way of allowing for publication bias: Bayesian models blue, frequentist methods orange. They "
    "rest on different ideas of how results went missing, and are compared, not elected."
)


class Corrected(NamedTuple):
    """One estimate of the average, on the analysis scale."""

    label: str
    estimate: float
    lower: float
    upper: float
    bayesian: bool


def corrected_estimates(document: Mapping[str, Any], models: Sequence[Selected]) -> list[Corrected]:
    """Return the headline's average and every corrected one.

    Parameters
    ----------
    document : mapping
        The results document.
    models : sequence of Selected
        All models, the headline first.

    Returns
    -------
    list of Corrected
        The headline first; methods without an interval are left out.
    """
    rows = []
    for one in models:
        corrects = one.model["spec"]["mechanism"] != "none"
        found = one.estimate(one.focus)
        if found is None or "lower" not in found or not (corrects or one.headline):
            continue
        label = "Uncorrected" if one.headline else one.model.get("title", one.name)
        rows.append(Corrected(label, found["mean"], found["lower"], found["upper"], True))
    average = document.get("average", {}).get("averaged", {}).get("mu")
    if average and "lower" in average:
        ends = average["lower"], average["upper"]
        rows.append(
            Corrected("Averaged over models with and without bias", average["mean"], *ends, True)
        )
    headline = models[0].name
    for method in document.get("small_study", {}).get(headline, {}).get("methods", ()):
        if {"mean", "lower", "upper"} <= method.keys() and not method["name"].startswith("egger"):
            ends = method["lower"], method["upper"]
            rows.append(Corrected(method["method"], method["mean"], *ends, False))
    return rows


def plot_corrected(
    rows: Sequence[Corrected], models: Sequence[Selected], *, ax: Axes | None = None
) -> Figure:
    """Draw all averages below each other.

    Parameters
    ----------
    rows : sequence of Corrected
        From `corrected_estimates`.
    models : sequence of Selected
        All models, the headline first.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on.

    Returns
    -------
    matplotlib.figure.Figure
        The axis has the spacing of the analysis scale and labels of the readable one.
    """
    scale = models[0].scale
    height = 0.6 + 0.28 * len(rows)
    figure, ax = canvas(ax, 7.4, height)
    ax.set_position((0.46, 0.5 / height, 0.34, 1 - 0.55 / height))
    ends = [0.0, *(end for row in rows for end in (row.lower, row.upper))]
    pad = 0.05 * (max(ends) - min(ends) or 1.0)
    readable_axis(ax, scale, (min(ends) - pad, max(ends) + pad), at_most=5)
    ax.axvspan(rows[0].lower, rows[0].upper, color=PALE, alpha=0.4, lw=0)
    if scale.measure.zero_is_null:
        ax.axvline(0.0, color=GREY, lw=0.8)
    style: dict[str, Any] = {
        "transform": ax.get_yaxis_transform(),
        "va": "center",
        "color": INK,
        "size": 9,
        "parse_math": False,
    }
    for i, row in enumerate(rows):
        colour = BLUE if row.bayesian else ORANGE
        ax.plot([row.lower, row.upper], [i, i], color=colour, lw=1.8)
        ax.plot([row.estimate], [i], "o" if row.bayesian else "D", color=colour, ms=5)
        ax.text(-0.03, i, shorten(row.label, 44), ha="right", **style)
        ax.text(
            1.03,
            i,
            f"{scale.value(row.estimate)} [{scale.interval(row.lower, row.upper)}]",
            **style,
        )
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel(scale.symbol, color=INK, size=10, parse_math=False)
    return figure


def describe_corrected(rows: Sequence[Corrected], models: Sequence[Selected]) -> str:
    """Return the text alternative of the figure, with its numbers.

    Parameters
    ----------
    rows, models
        As in `plot_corrected`.

    Returns
    -------
    str
        At most 300 characters.
    """
    scale = models[0].scale
    others = [row.estimate for row in rows[1:]]
    zero = sum(row.lower <= 0 <= row.upper for row in rows[1:])
    return (
        f"Average effect ({scale.symbol}): uncorrected {scale.value(rows[0].estimate)}; by "
        f"{len(others)} ways of allowing for bias between {scale.value(min(others))} and "
        f"{scale.value(max(others))}; {zero} of their intervals hold zero."
    )
