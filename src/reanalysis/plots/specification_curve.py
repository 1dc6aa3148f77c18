"""The specification curve: every universe's estimate, and the decisions below it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reanalysis.plots.style import BLUE, GREY, INK, ORANGE, PALE, canvas, round_numbers
from reanalysis.wording import Scale, number, readable_scale, shorten

if TYPE_CHECKING:
    from reanalysis.multiverse import Multiverse

__all__ = ["CAPTION", "describe_specification_curve", "plot_specification_curve"]

CAPTION = (
    "Each column is one combination of decisions, ordered by its estimate: a dot with its 95 % "
    "interval, and below it the options that were taken. The headline is orange."
)
MOST_COLUMNS = 600  # more are thinned evenly: an inch holds no more than a hundred lines
RARE = 30  # universes of an option that thinning leaves alone, lest it seems never taken
MOST_OPTIONS = 12  # an axis with more, such as one sample left out, shows none and any


def plot_specification_curve(
    source: "Multiverse | Mapping[str, Any]", *, ax: Axes | None = None
) -> Figure:
    """Draw the estimates of all universes in order, and the decisions behind each.

    Parameters
    ----------
    source : Multiverse or mapping
        A finished multiverse, or its document.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; the decisions take the lower part of it.

    Returns
    -------
    matplotlib.figure.Figure
        Estimates on the analysis scale with labels of the readable one.
    """
    table, axes, titles, scale = _read(source)
    order = table[table["conclusion"] != ""].sort_values("estimate", kind="stable")
    shown = _thinned(order, axes)
    rows = [(axis, option) for axis, options in axes.items() for option in _rows(options)]
    height = 2.4 + 0.19 * (len(rows) + len(axes))
    figure, ax = canvas(ax, 7.2, height)
    ax.set_position((0.33, 0.02, 0.66, 0.96))
    ax.axis("off")
    top = ax.inset_axes((0.0, 1 - 2.2 / height, 1.0, 2.2 / height))
    x = np.arange(len(shown))
    headline = shown.index.to_numpy() == table.index[0]
    for mask, colour, size in ((~headline, BLUE, 2.0), (headline, ORANGE, 5.0)):
        part = shown[mask]
        _strokes(top, x[mask], part["lower"], part["upper"], color=colour, lw=0.8, alpha=0.45)
        _strokes(top, x[mask], part["estimate"], part["estimate"], color=colour, lw=size)
    _vertical_axis(top, scale, (float(shown["lower"].min()), float(shown["upper"].max())))
    below = ax.inset_axes((0.0, 0.0, 1.0, 1 - 2.35 / height), sharex=top)
    _decisions(below, shown, axes, titles, headline)
    top.set_xlim(-1, len(shown))
    return figure


def describe_specification_curve(source: "Multiverse | Mapping[str, Any]") -> str:
    """Return the text alternative of the figure, with its numbers.

    Parameters
    ----------
    source : Multiverse or mapping
        A finished multiverse, or its document.

    Returns
    -------
    str
        One or two sentences.
    """
    table, axes, _, scale = _read(source)
    fitted = table[table["conclusion"] != ""]
    same = int((fitted["conclusion"] == fitted["conclusion"].iloc[0]).sum())
    low, high = float(fitted["estimate"].min()), float(fitted["estimate"].max())
    return (
        f"Specification curve of {len(fitted)} combinations of {len(axes)} decisions: estimates "
        f"({scale.symbol}) from {scale.value(low, 3)} to {scale.value(high, 3)}; {same} of "
        f"{len(fitted)} reach the headline's conclusion ({fitted['conclusion'].iloc[0]})."
    )


def _read(
    source: "Multiverse | Mapping[str, Any]",
) -> tuple[pd.DataFrame, Mapping[str, tuple[str, ...]], Mapping[str, str], Scale]:
    if isinstance(source, Mapping):
        table = pd.DataFrame(source["universes"])
        axes = {name: tuple(options) for name, options in source["axes"].items()}
        return table, axes, source["titles"], readable_scale(source["measure"])
    return source.universes, source.axes, source.titles, readable_scale(source.measure)


def _thinned(order: pd.DataFrame, axes: Mapping[str, tuple[str, ...]]) -> pd.DataFrame:
    """Return about `MOST_COLUMNS` rows: the headline and rare options among them."""
    if len(order) <= MOST_COLUMNS:
        return order
    kept = order.index == 0
    kept[np.linspace(0, len(order) - 1, MOST_COLUMNS).astype(int)] = True
    for axis, options in axes.items():
        if len(options) <= MOST_OPTIONS:
            counts = order[axis].map(order[axis].value_counts())
            kept |= (counts <= RARE).to_numpy()
    return order[kept]


def _rows(options: tuple[str, ...]) -> tuple[str, ...]:
    return options if len(options) <= MOST_OPTIONS else (options[0], "any other")


def _decisions(
    ax: Axes,
    shown: pd.DataFrame,
    axes: Mapping[str, tuple[str, ...]],
    titles: Mapping[str, str],
    headline: Any,
) -> None:
    """Draw a mark for each universe beside the option it takes."""
    x, y = np.arange(len(shown)), 0
    text = ax.get_yaxis_transform()
    style: dict[str, Any] = {"transform": text, "ha": "right", "va": "center", "parse_math": False}
    for axis, options in axes.items():
        ax.text(-0.01, y, shorten(titles[axis], 34), color=INK, size=8, weight="bold", **style)
        y += 1
        rows = _rows(options)
        for option in rows:
            taken = (shown[axis] == option).to_numpy()
            if option not in options:
                taken = (shown[axis] != rows[0]).to_numpy()
            ax.text(-0.01, y, shorten(option, 40), color=GREY, size=8, **style)
            ax.axhline(y, color=PALE, lw=0.4)
            for mask, colour in ((taken & ~headline, BLUE), (taken & headline, ORANGE)):
                _strokes(ax, x[mask], y - 0.3, y + 0.3, color=colour, lw=1.0)
            y += 1
    ax.set_ylim(y - 0.3, -0.7)
    ax.axis("off")


def _strokes(ax: Axes, x: Any, lower: Any, upper: Any, *, lw: float, **style: Any) -> None:
    """Draw vertical strokes, or round dots where both ends are equal, as one path.

    One path with gaps is a tenth of the size of a path for each.
    """
    ends = np.full((len(x), 3, 2), np.nan)
    ends[:, :2, 0] = np.asarray(x)[:, None]
    ends[:, 0, 1], ends[:, 1, 1] = lower, upper
    dots = np.array_equal(ends[:, 0, 1], ends[:, 1, 1])
    ends[:, 1, 1] += 1e-9 * dots  # a path of no length at all is not drawn by every viewer
    cap: Any = "round" if dots else "butt"
    ax.plot(*ends.reshape(-1, 2).T, solid_capstyle=cap, lw=lw, **style)


def _vertical_axis(ax: Axes, scale: Scale, limits: tuple[float, float]) -> None:
    pad = 0.05 * (limits[1] - limits[0])
    low, high = min(limits[0], 0.0) - pad, limits[1] + pad
    grid = np.linspace(low, high, 801)
    shown = scale.measure.back(grid) if scale.measure.back else grid
    values = round_numbers(float(shown[0]), float(shown[-1]), at_most=6)
    labels = ["0" if v == 0 else number(v, 2, leading_zero=not scale.bounded) for v in values]
    ax.set_yticks(np.interp(values, shown, grid), labels, parse_math=False)
    ax.set_ylim(low, high)
    if scale.measure.zero_is_null:
        ax.axhline(0.0, color=GREY, lw=0.8)
    ax.set_ylabel(scale.symbol, color=INK, size=10, parse_math=False)
    ax.spines[["right", "top", "bottom"]].set_visible(False)
    ax.spines["left"].set_color(GREY)
    ax.xaxis.set_visible(False)
    ax.patch.set_visible(False)
    ax.tick_params(axis="y", colors=INK, labelsize=9, length=3, color=GREY)
