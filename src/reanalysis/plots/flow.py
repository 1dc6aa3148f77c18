"""The flow of studies: what was found, left out and kept (PRISMA)."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reanalysis.plots.style import GREY, INK, canvas
from reanalysis.wording import plain, shorten

__all__ = ["CAPTION", "describe_flow", "plot_flow"]

CAPTION = (
    "Down the left what was left at each step, to the right what was taken out or added, as the "
    "source reports it."
)
ROW = 0.62  # inches


def plot_flow(flow: Sequence[Mapping[str, Any]], *, ax: Axes | None = None) -> Figure:
    """Draw the flow of studies.

    Parameters
    ----------
    flow : sequence of mapping
        ``step``, ``what``, ``count``; ``acts_on`` names the step that a removal belongs to.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on.

    Returns
    -------
    matplotlib.figure.Figure
        One box per step.
    """
    steps = [row for row in flow if not row["acts_on"]]
    height = ROW * len(steps)
    figure, ax = canvas(ax, 6.6, height)
    ax.axis("off")
    ax.set_xlim(0, 1)
    ax.set_ylim(len(steps) - 0.5, -0.5)
    box: dict[str, Any] = {"boxstyle": "round,pad=0.45", "fc": "none", "ec": GREY, "lw": 0.9}
    style: dict[str, Any] = {"va": "center", "color": INK, "size": 9.5, "parse_math": False}
    for i, row in enumerate(steps):
        if i:
            ax.annotate(
                "",
                (0.24, i - 0.3),
                (0.24, i - 0.7),
                arrowprops={"arrowstyle": "->", "color": GREY, "lw": 0.9},
            )
        ax.text(0.24, i, _words(row), ha="center", bbox=box, **style)
        side = [other for other in flow if other["acts_on"] == row["step"]]
        for other in side:
            ax.annotate(
                "",
                (0.58, i + 0.5),
                (0.24, i + 0.5),
                arrowprops={"arrowstyle": "->", "color": GREY, "lw": 0.9},
            )
            ax.text(0.6, i + 0.5, _words(other), ha="left", **style)
    return figure


def describe_flow(flow: Sequence[Mapping[str, Any]]) -> str:
    """Return the text alternative of the figure, with its numbers.

    Parameters
    ----------
    flow : sequence of mapping
        As in `plot_flow`.

    Returns
    -------
    str
        The steps that are left, in order.
    """
    steps = [row for row in flow if not row["acts_on"]]
    return f"Flow of studies: {'; '.join(_words(row) for row in steps)}."


def _words(row: Mapping[str, Any]) -> str:
    return f"{row['count']:,} {shorten(plain(row['what']), 44)}"
