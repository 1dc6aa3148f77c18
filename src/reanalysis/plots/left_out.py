"""The average effect without each sample in turn."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reanalysis.plots.style import BLUE, GREY, INK, ORANGE, PALE, canvas, readable_axis
from reanalysis.wording import readable_scale, shorten

__all__ = ["CAPTION", "describe_left_out", "plot_left_out"]

CAPTION = (
    "Each row leaves out one sample: the average effect of the others with its 95 % interval, "
    "sorted by what the sample does to it. The grey band is the average with all samples; the "
    "sample that moves it most is orange."
)
MOST_ROWS = 40  # of more samples, those that move the average most
ROW = 0.2  # inches


def plot_left_out(
    samples: Sequence[Mapping[str, Any]],
    whole: Mapping[str, float],
    measure: str,
    *,
    ax: Axes | None = None,
) -> Figure:
    """Draw the average without each sample.

    Parameters
    ----------
    samples : sequence of mapping
        Rows of `reanalysis.sensitivity.leave_samples_out`.
    whole : mapping
        ``lower`` and ``upper`` end of the interval with all samples.
    measure : str
        Effect-size measure.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on.

    Returns
    -------
    matplotlib.figure.Figure
        The axis has the spacing of the analysis scale and labels of the readable one.
    """
    scale = readable_scale(measure)
    rows = _shown(samples)
    height = 0.6 + ROW * len(rows)
    figure, ax = canvas(ax, 6.4, height)
    ax.set_position((0.32, 0.5 / height, 0.64, 1 - 0.55 / height))
    ends = [0.0, *(row["lower"] for row in rows), *(row["upper"] for row in rows)]
    low, high = min(ends), max(ends)
    pad = 0.04 * (high - low or 1.0)
    readable_axis(ax, scale, (low - pad, high + pad), at_most=7)
    ax.axvspan(whole["lower"], whole["upper"], color=PALE, alpha=0.4, lw=0)
    if scale.measure.zero_is_null:
        ax.axvline(0.0, color=GREY, lw=0.8)
    most = max(rows, key=lambda row: abs(row["shift"]))
    for i, row in enumerate(rows):
        colour = ORANGE if row is most else BLUE
        ax.plot([row["lower"], row["upper"]], [i, i], color=colour, lw=1.4)
        ax.plot([row["estimate"]], [i], "o", color=colour, ms=4)
        ax.text(
            -0.02,
            i,
            shorten(row["sample"], 28),
            transform=ax.get_yaxis_transform(),
            ha="right",
            va="center",
            color=INK,
            size=8.5,
            parse_math=False,
        )
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel(scale.symbol, color=INK, size=10, parse_math=False)
    return figure


def describe_left_out(
    samples: Sequence[Mapping[str, Any]], whole: Mapping[str, float], measure: str
) -> str:
    """Return the text alternative of the figure, with its numbers.

    Parameters
    ----------
    samples, whole, measure
        As in `plot_left_out`.

    Returns
    -------
    str
        At most 300 characters.
    """
    scale = readable_scale(measure)
    estimates = [row["estimate"] for row in samples]
    most = max(samples, key=lambda row: abs(row["shift"]))
    return (
        f"Average effect ({scale.symbol}) without each of {len(samples)} samples: from "
        f"{scale.value(min(estimates), 3)} to {scale.value(max(estimates), 3)}; the largest move "
        f"is without {shorten(most['sample'], 40)}, to {scale.value(most['estimate'], 3)}."
    )


def _shown(samples: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the rows that are drawn, from the lowest estimate to the highest."""
    most = sorted(samples, key=lambda row: -abs(row["shift"]))[:MOST_ROWS]
    return sorted(most, key=lambda row: row["estimate"])
