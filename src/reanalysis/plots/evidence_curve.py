"""The Bayes factor of the average effect, by the width of its prior."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reanalysis.plots.style import BLUE, GREY, INK, ORANGE, canvas
from reanalysis.wording import number, odds

__all__ = ["CAPTION", "describe_evidence_curve", "plot_evidence_curve"]

CAPTION = (
    "The Bayes factor for an average effect against none, by the standard deviation of the prior "
    "of the average. Orange: the prior of this report. A very wide prior spreads over effects that "
    "nobody expects, and any data then look like nothing."
)
LABELS = {1: "1", 3: "3", 10: "10", 100: "100", 1000: "1,000", 10**4: "10⁴", 10**6: "10⁶"}


def plot_evidence_curve(curve: Sequence[Mapping[str, Any]], *, ax: Axes | None = None) -> Figure:
    """Draw the Bayes factor against the prior's standard deviation.

    Parameters
    ----------
    curve : sequence of mapping
        Rows of `reanalysis.sensitivity.scale_curve`.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on.

    Returns
    -------
    matplotlib.figure.Figure
        Both axes are logarithmic.
    """
    figure, ax = canvas(ax, 4.8, 2.6)
    ax.set_position((0.17, 0.2, 0.79, 0.74))
    x = np.array([row["scale"] for row in curve])
    y = np.array([row["log_bayes_factor"] for row in curve])
    ax.plot(np.log(x), y, color=BLUE, lw=1.8)
    stated = next(row for row in curve if row["stated"])
    ax.plot([np.log(stated["scale"])], [stated["log_bayes_factor"]], "o", color=ORANGE, ms=7)
    low, high = min(0.0, float(y.min())), max(0.0, float(y.max()))
    pad = 0.06 * (high - low or 1.0)
    ax.set_ylim(low - pad, high + pad)
    ax.axhline(0.0, color=GREY, lw=0.8)
    steps = {np.log(value): label for value, label in LABELS.items()}
    steps |= {-np.log(value): f"1/{label}" for value, label in LABELS.items() if value > 1}
    inside = sorted(position for position in steps if low - pad <= position <= high + pad)
    ax.set_yticks(inside, [steps[position] for position in inside])
    widths = [w for w in (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0) if x.min() <= w <= x.max()]
    ax.set_xticks(np.log(widths), [f"{w:g}" for w in widths])
    ax.set_xlabel("standard deviation of the prior (analysis scale)", color=INK, size=9)
    ax.set_ylabel("Bayes factor", color=INK, size=9)
    ax.spines[["right", "top"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GREY)
    ax.patch.set_visible(False)
    ax.tick_params(colors=INK, labelsize=8.5, length=3, color=GREY)
    return figure


def describe_evidence_curve(curve: Sequence[Mapping[str, Any]]) -> str:
    """Return the text alternative of the figure, with its numbers.

    Parameters
    ----------
    curve : sequence of mapping
        As in `plot_evidence_curve`.

    Returns
    -------
    str
        At most 300 characters.
    """
    stated = next(row for row in curve if row["stated"])
    least = min(curve, key=lambda row: row["log_bayes_factor"])

    def words(row: Mapping[str, Any]) -> str:
        side = "for" if row["log_bayes_factor"] > 0 else "against"
        return f"{odds(row['log_bayes_factor'])} {side} an effect"

    return (
        f"Bayes factor by the prior's standard deviation, {number(curve[0]['scale'], 2)} to "
        f"{number(curve[-1]['scale'], 2)}: {words(stated)} at the stated "
        f"{number(stated['scale'], 2)}; the lowest is {words(least)} at "
        f"{number(least['scale'], 2)}."
    )
