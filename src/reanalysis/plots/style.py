"""What all figures share: colours, a canvas without pyplot's state, axes in readable units, SVG.

Blue and orange are told apart with every common colour vision; shape and position always say
the same as the colour. The figures have no background of their own, so that a page may show
them on paper white or, inverted, on a dark screen.
"""

import io
import re
import warnings
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator
from numpy.typing import NDArray

from reanalysis.wording import Scale, number

__all__ = [
    "BLUE",
    "GREY",
    "INK",
    "ORANGE",
    "PALE",
    "canvas",
    "density_axis",
    "padded",
    "readable_axis",
    "round_numbers",
    "to_svg",
]

INK = "#1d2733"
GREY = "#66707c"
PALE = "#c9d0d8"
BLUE = "#0f5c9c"
ORANGE = "#b5530a"

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', Arial, sans-serif"
STEPS = (0.05, 0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


def canvas(ax: Axes | None, width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure and the axes to draw on.

    Parameters
    ----------
    ax : matplotlib.axes.Axes or None
        The caller's axes; a new figure is made without them.
    width, height : float
        Size of a new figure, in inches.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure of the axes.
    ax : matplotlib.axes.Axes
        The axes.
    """
    if ax is not None:
        figure = ax.get_figure(root=True)
        if figure is None:
            raise ValueError("these axes belong to no figure any more; make new ones.")
        return figure, ax
    figure = Figure(figsize=(width, height))
    FigureCanvasSVG(figure)
    return figure, figure.add_axes((0.0, 0.0, 1.0, 1.0))


def readable_axis(ax: Axes, scale: Scale, limits: tuple[float, float], *, at_most: int = 8) -> None:
    """Give a horizontal analysis-scale axis ticks at round numbers of the readable scale.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes that are drawn on the analysis scale (Fisher's z), so that intervals are symmetric.
    scale : Scale
        The readable scale (r), in which the ticks are labelled.
    limits : tuple of float
        Ends of the axis, on the analysis scale.
    at_most : int
        Largest number of intervals between ticks.
    """
    ax.set_xlim(*limits)
    positions, labels = _ticks(scale, limits, at_most)
    ax.xaxis.set_major_locator(FixedLocator(positions))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(positions, labels, parse_math=False)
    _quiet(ax)


def padded(values: NDArray[np.float64], margin: float) -> tuple[float, float]:
    """Return the ends of an axis that shows values with some room on both sides.

    Parameters
    ----------
    values : numpy.ndarray
        Everything that is drawn.
    margin : float
        Room on each side, in units of the range of the values.

    Returns
    -------
    tuple of float
        Lower and upper end.
    """
    low, high = float(np.min(values)), float(np.max(values))
    return low - margin * (high - low), high + margin * (high - low)


def density_axis(ax: Axes, limits: tuple[float, float]) -> None:
    """Give a horizontal axis of a standard deviation its ticks.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        The axes.
    limits : tuple of float
        Ends of the axis.
    """
    ax.set_xlim(*limits)
    positions = round_numbers(*limits, at_most=6)
    ax.set_xticks(positions, [f"{p:g}" for p in positions])
    _quiet(ax)


def round_numbers(lower: float, upper: float, *, at_most: int) -> NDArray[np.float64]:
    """Return evenly spaced round numbers inside a range, for ticks.

    Parameters
    ----------
    lower, upper : float
        Ends of the range.
    at_most : int
        Largest number of intervals between them.

    Returns
    -------
    numpy.ndarray
        Multiples of the smallest round step that gives so few.
    """
    step = next((s for s in STEPS if (upper - lower) / s <= at_most), (upper - lower) / at_most)
    first = np.ceil(lower / step - 1e-9)
    last = np.floor(upper / step + 1e-9)
    return np.round(np.arange(first, last + 1) * step, 10) + 0.0


def to_svg(figure: Figure) -> str:
    """Return a figure as SVG text, the same bytes for the same figure.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure.

    Returns
    -------
    str
        SVG whose labels are text in the reader's own font: narrower than the one they were
        measured with, a third smaller than outlines, and right in every script.
    """
    out = io.StringIO()
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "reanalysis",
        "path.simplify": False,
    }
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with mpl.rc_context(settings), warnings.catch_warnings():
        # The reader's browser has glyphs that the measuring font lacks.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from", category=UserWarning)
        figure.savefig(out, format="svg", transparent=True, metadata=metadata)
    svg = re.sub(r"(font: [^;\"]*?px) [^;\"]*", rf"\1 {FONT}", out.getvalue())
    return svg[svg.index("<svg") :]


def _ticks(
    scale: Scale, limits: tuple[float, float], at_most: int
) -> tuple[list[float], list[str]]:
    """Return tick positions on the analysis scale and their labels on the readable one."""
    grid = np.linspace(*limits, 801)
    shown = scale.measure.back(grid) if scale.measure.back else grid
    if scale.transformed and scale.back(0.0) == 1.0:  # a ratio: 0.5 and 2 are equally far from 1
        values = [m * 10.0**e for e in range(-6, 7) for m in (1, 2, 5)]
        labels = [f"{v:g}" for v in values]
    else:
        values = list(round_numbers(shown[0], shown[-1], at_most=at_most))
        digits = 2 if any(abs(v * 10 - round(v * 10)) > 1e-6 for v in values) else 1
        labels = [
            "0" if v == 0 else number(v, digits, leading_zero=not scale.bounded) for v in values
        ]
    inside = [i for i, v in enumerate(values) if shown[0] <= v <= shown[-1]]
    positions = np.interp([values[i] for i in inside], shown, grid)
    return [float(p) for p in positions], [labels[i] for i in inside]


def _quiet(ax: Axes, hidden: Sequence[str] = ("left", "right", "top")) -> None:
    """Leave only the horizontal axis, in grey; a hidden axis also costs no time to draw."""
    ax.spines[list(hidden)].set_visible(False)
    ax.yaxis.set_visible(False)
    ax.spines["bottom"].set_color(GREY)
    ax.patch.set_visible(False)
    ax.tick_params(axis="x", colors=INK, labelsize=9, length=3, color=GREY)
