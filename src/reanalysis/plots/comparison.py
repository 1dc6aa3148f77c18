"""The paper's estimate and ours, one interval above the other."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reanalysis.plots.source import Selected, select
from reanalysis.plots.style import BLUE, GREY, INK, ORANGE, PALE, canvas, readable_axis

if TYPE_CHECKING:
    from reanalysis.analysis import Analysis

__all__ = ["CAPTION", "describe_comparison", "plot_comparison"]

CAPTION = (
    "Dots are estimates of the average effect, lines their 95 % intervals. The wide pale bar is "
    "where 95 % of new samples are expected: it also holds how much samples differ. Bias allowed "
    "for, where it was: averaged over models with and without publication bias."
)

DIGITS = 3  # engines agree to about .001; two digits would part them where one rounds up


class _Row(NamedTuple):
    label: str
    estimate: float
    lower: float | None
    upper: float | None
    colour: str
    marker: str


def plot_comparison(
    source: "Analysis | Mapping[str, Any]", model: str | None = None, *, ax: Axes | None = None
) -> Figure:
    """Draw the average effect from every source, and where a new sample is expected.

    Parameters
    ----------
    source : Analysis or mapping
        A finished analysis, or its results document.
    model : str, optional
        Name of the model; the headline by default.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on.

    Returns
    -------
    matplotlib.figure.Figure
        The axis has the spacing of the analysis scale and labels of the readable one.
    """
    chosen = select(source, model)
    rows = _rows(chosen)
    new = _prediction(chosen)
    height = 0.75 + 0.4 * (len(rows) + (new is not None))
    figure, ax = canvas(ax, 4.7, height)
    ax.set_position((0.3, 0.55 / height, 0.36, 1 - 0.65 / height))
    ends = [v for r in rows for v in (r.estimate, r.lower, r.upper) if v is not None]
    ends += [v for v in new or () if v is not None]
    lower, upper = min([0.0, *ends]), max([0.0, *ends])
    pad = 0.06 * (upper - lower or 1.0)
    readable_axis(ax, chosen.scale, (lower - pad, upper + pad), at_most=5)
    if chosen.scale.measure.zero_is_null:
        ax.axvline(0.0, color=GREY, lw=0.8)
    text = ax.get_yaxis_transform()
    for i, row in enumerate(rows):
        if row.lower is not None and row.upper is not None:
            ax.plot([row.lower, row.upper], [i, i], color=row.colour, lw=2.2)
        ax.plot([row.estimate], [i], row.marker, color=row.colour, ms=7)
        ax.text(-0.04, i, row.label, transform=text, ha="right", va="center", color=INK, size=10)
        ax.text(1.04, i, _numbers(chosen, row), transform=text, va="center", color=INK, size=10)
    if new is not None:
        at = len(rows)
        ax.barh([at], [new[1] - new[0]], 0.3, new[0], color=PALE, edgecolor=GREY, lw=0.8)
        style: dict[str, Any] = {"transform": text, "va": "center", "color": INK, "size": 10}
        ax.text(-0.04, at, "A new sample", ha="right", **style)
        ax.text(1.04, at, chosen.scale.interval(*new, DIGITS), **style)
    ax.set_ylim(len(rows) + (new is not None) - 0.4, -0.6)
    ax.set_xlabel(chosen.scale.symbol, color=INK, size=10, parse_math=False)
    return figure


def describe_comparison(source: "Analysis | Mapping[str, Any]", model: str | None = None) -> str:
    """Return the text alternative of the figure, with its numbers.

    Parameters
    ----------
    source : Analysis or mapping
        A finished analysis, or its results document.
    model : str, optional
        Name of the model; the headline by default.

    Returns
    -------
    str
        At most 300 characters.
    """
    chosen = select(source, model)
    parts = [f"{row.label} {_numbers(chosen, row)}" for row in _rows(chosen)]
    new = _prediction(chosen)
    if new is not None:
        parts.append(f"new sample {chosen.scale.interval(*new, DIGITS)}")
    return f"Average effect ({chosen.scale.symbol}): {'; '.join(parts)}."


def _rows(chosen: Selected) -> list[_Row]:
    looks = {
        "published": ("Paper, as printed", GREY, "s"),
        "reml": ("REML, here", ORANGE, "D"),
        "exact": ("Bayesian, exact", BLUE, "o"),
        "nuts": ("Bayesian, NUTS", BLUE, "o"),
    }
    rows = [
        _Row(looks[key][0], e["mean"], e.get("lower"), e.get("upper"), *looks[key][1:])
        for key, e in chosen.estimates(chosen.focus).items()
    ]
    averaged = chosen.document.get("average", {}).get("averaged", {}).get("mu")
    if chosen.headline and averaged is not None and "lower" in averaged:
        ends = averaged["lower"], averaged["upper"]
        rows.append(_Row("Bias allowed for", averaged["mean"], *ends, BLUE, "d"))
    return rows


def _prediction(chosen: Selected) -> tuple[float, float] | None:
    found = chosen.estimate("new_sample")
    if found is None or "lower" not in found or "upper" not in found:
        return None
    return found["lower"], found["upper"]


def _numbers(chosen: Selected, row: _Row) -> str:
    estimate = chosen.scale.value(row.estimate, DIGITS)
    if row.lower is None or row.upper is None:
        return estimate
    ends = (chosen.scale.value(end, DIGITS) for end in (row.lower, row.upper))
    return f"{estimate} [{', '.join(ends)}]"
