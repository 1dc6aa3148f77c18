"""The bubble plot: effects against a moderator that is a number, with the fitted line."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reanalysis.plots.source import Selected, select
from reanalysis.plots.style import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    canvas,
    padded,
    readable_axis,
    round_numbers,
)
from reanalysis.wording import Scale

if TYPE_CHECKING:
    from reanalysis.analysis import Analysis

__all__ = ["CAPTION", "describe_bubble", "number_terms", "plot_bubble"]

CAPTION = (
    "Each circle is an effect; the larger, the more it weighs. Blue: the mean effect along the "
    "moderator, with its 95 % interval; orange, dashed: the same by REML. The line rests on "
    "differences between samples, which may differ in more than this moderator."
)
AREA = 320.0  # of the largest circle, in square points


def number_terms(chosen: Selected) -> list[str]:
    """Return the numbers among the moderators of a model that have a line to draw.

    Parameters
    ----------
    chosen : Selected
        One model of a document.

    Returns
    -------
    list of str
        Names of terms, in the order of the model.
    """
    lines = chosen.model.get("moderation", {}).get("lines", ())
    return list(dict.fromkeys(str(row["term"]) for row in lines))


def plot_bubble(
    source: "Analysis | Mapping[str, Any]",
    model: str | None = None,
    *,
    term: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw effects against a moderator, with the fitted line.

    Parameters
    ----------
    source : Analysis or mapping
        A finished analysis, or its results document.
    model : str, optional
        Name of the model; the headline by default.
    term : str, optional
        Name of the moderator; the model's first number by default.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on.

    Returns
    -------
    matplotlib.figure.Figure
        The vertical axis has the spacing of the analysis scale and labels of the readable one.

    Raises
    ------
    KeyError
        If the model has no such moderator.
    """
    chosen = select(source, model)
    term = chosen.term(term, number_terms(chosen), "number")
    terms = chosen.model["moderation"]["terms"]
    x = np.array(next(t["x"] for t in terms if t["name"] == term))
    yi, size = chosen.weighed(AREA)
    lines = _lines(chosen, term)
    own = ax is None
    figure, ax = canvas(ax, 5.6, 4.0)
    if own:
        ax.set_position((0.12, 0.13, 0.85, 0.83))
    # REML's line has no band, so its interval takes no room.
    ends = np.concatenate([e[:, 1:2] if n == "reml" else e[:, 2:] for n, e in lines.items()], None)
    _vertical_axis(ax, chosen.scale, padded(np.concatenate([yi, ends]), 0.07))
    left, right = padded(x, 0.06)
    ax.set_xlim(left, right)
    ticks = round_numbers(left, right, at_most=7)
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    if chosen.scale.measure.zero_is_null:
        ax.axhline(0.0, color=GREY, lw=0.8, zorder=1)
    ax.scatter(x, yi, s=size, fc="none", ec=GREY, lw=1.0, zorder=2)
    for engine, line in lines.items():
        if engine == "reml":
            ax.plot(line[:, 0], line[:, 1], color=ORANGE, lw=1.4, ls=(0, (4, 3)), zorder=3)
            continue
        ax.fill_between(line[:, 0], line[:, 2], line[:, 3], color=BLUE, alpha=0.14, lw=0)
        ax.plot(line[:, 0], line[:, 1], color=BLUE, lw=1.8, zorder=4)
    ax.set_xlabel(term, color=INK, size=10, parse_math=False)
    ax.set_ylabel(chosen.scale.symbol, color=INK, size=10, parse_math=False)
    return figure


def describe_bubble(
    source: "Analysis | Mapping[str, Any]", model: str | None = None, *, term: str | None = None
) -> str:
    """Return the text alternative of the figure, with its numbers.

    Parameters
    ----------
    source : Analysis or mapping
        A finished analysis, or its results document.
    model : str, optional
        Name of the model; the headline by default.
    term : str, optional
        Name of the moderator; the model's first number by default.

    Returns
    -------
    str
        The ends of the line, from the Bayesian engine where there is one.
    """
    chosen = select(source, model)
    term = chosen.term(term, number_terms(chosen), "number")
    first, last = next(iter(_lines(chosen, term).values()))[[0, -1]]
    parts = [
        f"{chosen.scale.value(end[1])} ({chosen.scale.interval(end[2], end[3])}) at {end[0]:.4g}"
        for end in (first, last)
    ]
    return (
        f"{len(chosen.model['effects'])} effects against {term}: the mean effect "
        f"({chosen.scale.symbol}) goes from {' to '.join(parts)}."
    )


def _lines(chosen: Selected, term: str) -> dict[str, np.ndarray]:
    """Return x, value and interval by engine."""
    keys = ("x", "value", "lower", "upper")
    return {
        name: np.array([[row[key] for key in keys] for row in rows])
        for name, rows in chosen.answers("lines", term).items()
    }


def _vertical_axis(ax: Axes, scale: Scale, limits: tuple[float, float]) -> None:
    """Give the vertical axis the ticks that a horizontal one would have."""
    spare = Figure().add_subplot()
    readable_axis(spare, scale, limits)
    ax.set_ylim(*limits)
    labels = [label.get_text() for label in spare.get_xticklabels()]
    ax.set_yticks(spare.get_xticks(), labels, parse_math=False)
    ax.spines[["right", "top"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GREY)
    ax.patch.set_visible(False)
    ax.tick_params(colors=INK, labelsize=9, length=3, color=GREY)
