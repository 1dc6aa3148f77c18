"""The average effect for every assumed strength of selection."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reanalysis.plots.style import BLUE, GREY, INK, ORANGE, canvas, round_numbers
from reanalysis.wording import Scale, number

__all__ = ["CAPTION", "describe_assumed_weights", "plot_assumed_weights"]

CAPTION = (
    "The average effect (95 % interval) if results outside the most significant bin had been "
    "published with the weight on the axis, compared with those in it; 1 is no selection. Orange: "
    "the weight at which the interval reaches zero. Nothing here is estimated from the data: it "
    "says how strong selection would have to be."
)
SMALLEST = 0.02  # the worst case would need an axis of its own


def plot_assumed_weights(
    found: Mapping[str, Any], scale: Scale, *, ax: Axes | None = None
) -> Figure:
    """Draw the average against the assumed weight.

    Parameters
    ----------
    found : mapping
        Document of a `reanalysis.exact.selection_sensitivity.AssumedWeights`.
    scale : Scale
        The readable scale.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on.

    Returns
    -------
    matplotlib.figure.Figure
        The weight falls from left to right.
    """
    rows = [row for row in found["curve"] if row["weight"] >= SMALLEST]
    figure, ax = canvas(ax, 5.2, 3.0)
    ax.set_position((0.13, 0.17, 0.83, 0.78))
    x = -np.log([row["weight"] for row in rows])
    back = np.vectorize(scale.back)
    lower, middle, upper = (back([row[key] for row in rows]) for key in ("lower", "value", "upper"))
    ax.fill_between(x, lower, upper, color=BLUE, alpha=0.2, lw=0)
    ax.plot(x, middle, color=BLUE, lw=1.8)
    if scale.measure.zero_is_null:
        ax.axhline(scale.back(0.0), color=GREY, lw=0.8)
    tipping = found.get("tipping_weight")
    if tipping is not None and tipping >= SMALLEST:
        ax.axvline(-np.log(tipping), color=ORANGE, lw=1.4, ls=(0, (4, 3)))
    weights = [w for w in (1.0, 0.5, 0.2, 0.1, 0.05, 0.02) if w >= SMALLEST]
    ax.set_xticks(-np.log(weights), ["1", ".5", ".2", ".1", ".05", ".02"][: len(weights)])
    values = round_numbers(float(lower.min()), float(upper.max()), at_most=6)
    labels = ["0" if v == 0 else number(v, 2, leading_zero=not scale.bounded) for v in values]
    ax.set_yticks(values, labels, parse_math=False)
    ax.set_xlabel("assumed weight of less significant results", color=INK, size=9)
    ax.set_ylabel(scale.symbol, color=INK, size=10, parse_math=False)
    ax.spines[["right", "top"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GREY)
    ax.patch.set_visible(False)
    ax.tick_params(colors=INK, labelsize=8.5, length=3, color=GREY)
    return figure


def describe_assumed_weights(found: Mapping[str, Any], scale: Scale) -> str:
    """Return the text alternative of the figure, with its numbers.

    Parameters
    ----------
    found, scale
        As in `plot_assumed_weights`.

    Returns
    -------
    str
        At most 300 characters.
    """
    rows = [row for row in found["curve"] if row["weight"] >= SMALLEST]
    first, last = rows[0], rows[-1]
    tipping = found.get("tipping_weight")
    tail = f" The interval reaches zero at {number(tipping, 3)}." if tipping is not None else ""
    return (
        f"Average ({scale.symbol}) by the assumed weight of less significant results: "
        f"{scale.value(first['value'])} at {first['weight']:g}, {scale.value(last['value'])} at "
        f"{last['weight']:g}.{tail}"
    )
