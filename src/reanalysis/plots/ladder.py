"""The ladder: the estimate after each change, from the printed number to ours."""

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reanalysis.plots.style import BLUE, GREY, INK, ORANGE, PALE, canvas, round_numbers
from reanalysis.wording import number, readable_scale, shorten

if TYPE_CHECKING:
    from reanalysis.ladder import Ladder

__all__ = ["CAPTION", "describe_ladder", "plot_ladder"]

CAPTION = (
    "Each row keeps every change above it and makes one more. Dots are estimates, lines their 95 % "
    "intervals, the number on the right is what this change alone did. The printed estimate is "
    "grey, the last one orange."
)
ROW = 0.34  # inches


def plot_ladder(source: "Ladder | Mapping[str, Any]", *, ax: Axes | None = None) -> Figure:
    """Draw the steps below each other.

    Parameters
    ----------
    source : Ladder or mapping
        A ladder, or its document.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on.

    Returns
    -------
    matplotlib.figure.Figure
        On the readable scale; a step that could not be fitted says so.
    """
    document = _document(source)
    scale = readable_scale(document["measure"])
    steps = document["steps"]
    height = 0.6 + ROW * len(steps)
    figure, ax = canvas(ax, 7.2, height)
    ax.set_position((0.45, 0.5 / height, 0.44, 1 - 0.55 / height))
    values = [s[key] for s in steps for key in ("estimate", "lower", "upper") if _has(s, key)]
    low, high = min([0.0, *values]), max([0.0, *values])
    pad = 0.05 * (high - low or 1.0)
    ax.set_xlim(low - pad, high + pad)
    ticks = round_numbers(low - pad, high + pad, at_most=6)
    labels = ["0" if t == 0 else number(t, 2, leading_zero=not scale.bounded) for t in ticks]
    ax.set_xticks(ticks, labels, parse_math=False)
    if scale.back(0.0) >= low:
        ax.axvline(scale.back(0.0), color=GREY, lw=0.8)
    fitted = [i for i, step in enumerate(steps) if _has(step, "estimate")]
    for before, after in pairwise(fitted):
        x = steps[before]["estimate"]
        ax.plot([x, x], [before, after], color=PALE, lw=1.0, zorder=0)
    style: dict[str, Any] = {
        "transform": ax.get_yaxis_transform(),
        "va": "center",
        "color": INK,
        "size": 9.5,
        "parse_math": False,
    }
    for i, step in enumerate(steps):
        ax.text(-0.03, i, shorten(step["title"], 46), ha="right", **style)
        if not _has(step, "estimate"):
            ax.text(0.02, i, "could not be fitted", **style)
            continue
        colour = GREY if i == 0 else ORANGE if i == fitted[-1] else BLUE
        if _has(step, "lower") and _has(step, "upper"):
            ax.plot([step["lower"], step["upper"]], [i, i], color=colour, lw=2)
        ax.plot([step["estimate"]], [i], "s" if i == 0 else "o", color=colour, ms=6)
        if i:
            sign = "+" if step["change"] > 0 else ""
            ax.text(1.03, i, f"{sign}{scale.printed(step['change'], 3)}", **style)
    ax.set_ylim(len(steps) - 0.4, -0.6)
    ax.set_xlabel(scale.symbol, color=INK, size=10, parse_math=False)
    ax.spines[["left", "right", "top"]].set_visible(False)
    ax.spines["bottom"].set_color(GREY)
    ax.yaxis.set_visible(False)
    ax.patch.set_visible(False)
    ax.tick_params(axis="x", colors=INK, labelsize=9, length=3, color=GREY)
    return figure


def describe_ladder(source: "Ladder | Mapping[str, Any]") -> str:
    """Return the text alternative of the figure, with its numbers.

    Parameters
    ----------
    source : Ladder or mapping
        A ladder, or its document.

    Returns
    -------
    str
        Both ends, and the largest change.
    """
    document = _document(source)
    scale = readable_scale(document["measure"])
    fitted = [step for step in document["steps"] if _has(step, "estimate")]
    most = max(fitted[1:], key=lambda step: abs(step["change"]))
    return (
        f"Estimate ({scale.symbol}) from {scale.printed(fitted[0]['estimate'], 3)} as printed to "
        f"{scale.printed(fitted[-1]['estimate'], 3)} after {len(fitted) - 1} changes; the largest "
        f"is {scale.printed(most['change'], 3)}: {shorten(most['title'], 60)}."
    )


def _document(source: "Ladder | Mapping[str, Any]") -> Mapping[str, Any]:
    return source if isinstance(source, Mapping) else source.document()


def _has(step: Mapping[str, Any], key: str) -> bool:
    return step.get(key) is not None
