"""Predictive checks: the observed value of each statistic over what the model predicts."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reanalysis.plots.style import BLUE, GREY, INK, ORANGE, canvas, round_numbers
from reanalysis.wording import number, p_value, plain

__all__ = ["CAPTION", "describe_predictive", "plot_predictive"]

CAPTION = (
    "Blue: each statistic in data sets that the fitted model made; orange: in the data themselves. "
    "A line far out in a tail is something that the model does not explain. Effects on the "
    "analysis scale."
)
ACROSS = 3
WIDTH, HEIGHT = 2.3, 1.55  # inches of a panel


def plot_predictive(found: Mapping[str, Any], *, ax: Axes | None = None) -> Figure:
    """Draw every statistic in a panel of its own.

    Parameters
    ----------
    found : mapping
        Document of a `reanalysis.predictive.Predictive`.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; it holds all panels.

    Returns
    -------
    matplotlib.figure.Figure
        Histograms with the observed value.
    """
    rows = found["statistics"]
    down = -(-len(rows) // ACROSS)
    figure, ax = canvas(ax, WIDTH * ACROSS, HEIGHT * down)
    ax.set_position((0.0, 0.0, 1.0, 1.0))
    ax.axis("off")
    for i, row in enumerate(rows):
        x, y = (i % ACROSS) / ACROSS, 1 - (i // ACROSS + 1) / down
        panel = ax.inset_axes(
            (x + 0.02, y + 0.27 / down, 1 / ACROSS - 0.04, 0.52 / down), transform=ax.transAxes
        )
        shape = found["histograms"][row["statistic"]]
        edges, shares = np.array(shape["edges"]), np.array(shape["shares"])
        panel.stairs(shares, edges, fill=True, color=BLUE, alpha=0.45, lw=0)
        panel.axvline(row["observed"], color=ORANGE, lw=2)
        low = min(float(edges[0]), row["observed"])
        high = max(float(edges[-1]), row["observed"])
        pad = 0.04 * (high - low or 1.0)
        panel.set_xlim(low - pad, high + pad)
        ticks = round_numbers(low, high, at_most=4)
        panel.set_xticks(ticks, [f"{t:g}".replace("-", "−") for t in ticks])
        panel.set_title(plain(row["title"]), size=9, color=INK, parse_math=False)
        panel.set_xlabel(f"p {p_value(row['p'])}", size=8, color=INK)
        panel.set_yticks([])
        panel.spines[["left", "right", "top"]].set_visible(False)
        panel.spines["bottom"].set_color(GREY)
        panel.patch.set_visible(False)
        panel.tick_params(colors=INK, labelsize=8, length=2, color=GREY)
    return figure


def describe_predictive(found: Mapping[str, Any]) -> str:
    """Return the text alternative of the figure, with its numbers.

    Parameters
    ----------
    found : mapping
        As in `plot_predictive`.

    Returns
    -------
    str
        Observed value and probability of each statistic.
    """
    parts = [
        f"{plain(row['title'])} {number(row['observed'], 2)} (p {p_value(row['p'])})"
        for row in found["statistics"]
    ]
    return f"Observed against predicted: {'; '.join(parts)}."
