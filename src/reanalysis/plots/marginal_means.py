"""The mean effect at each level of a factor, with the samples that it rests on."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reanalysis.plots.source import Selected, select
from reanalysis.plots.style import BLUE, GREY, INK, ORANGE, canvas, padded, readable_axis
from reanalysis.wording import shorten

if TYPE_CHECKING:
    from reanalysis.analysis import Analysis

__all__ = ["CAPTION", "describe_marginal_means", "factor_terms", "plot_marginal_means"]

CAPTION = (
    "Grey circles: the effects of each level as reported; the larger the circle, the more it "
    "weighs. Blue: the mean effect of the level with its 95 % interval, from the model; orange: "
    "the same by REML. A level of few samples is drawn towards the others."
)
ROW = 0.5  # inches for one level
WIDTH, LEFT, ACROSS = 6.6, 0.26, 0.70  # of the figure in inches; of the axes as fractions of it
AREA = 160.0  # of the largest circle, in square points
SPREAD = 0.17  # between the two lines of circles, in rows
LOOKS = {"exact": (BLUE, "o", 0.1), "nuts": (BLUE, "o", 0.1), "reml": (ORANGE, "D", 0.27)}


def factor_terms(chosen: Selected) -> list[str]:
    """Return the factors of a model that have mean effects to draw.

    Parameters
    ----------
    chosen : Selected
        One model of a document.

    Returns
    -------
    list of str
        Names of terms, in the order of the model.
    """
    terms = chosen.model.get("moderation", {}).get("terms", ())
    return [
        str(term["name"])
        for term in terms
        if len(term["variables"]) == 1
        and "levels" in term["variables"][0]
        and term["part"] != "within"
    ]


def plot_marginal_means(
    source: "Analysis | Mapping[str, Any]",
    model: str | None = None,
    *,
    term: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw the mean effect at each level of a factor, over the effects themselves.

    Parameters
    ----------
    source : Analysis or mapping
        A finished analysis, or its results document.
    model : str, optional
        Name of the model; the headline by default.
    term : str, optional
        Name of the factor; the model's first by default.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on.

    Returns
    -------
    matplotlib.figure.Figure
        The axis has the spacing of the analysis scale and labels of the readable one.

    Raises
    ------
    KeyError
        If the model has no such factor.
    """
    chosen = select(source, model)
    term = chosen.term(term, factor_terms(chosen), "factor")
    moderation = chosen.model["moderation"]
    entry = next(t for t in moderation["terms"] if t["name"] == term)
    levels = entry["variables"][0]["levels"]
    values = moderation["values"][entry["variables"][0]["name"]]
    yi, size = chosen.weighed(AREA)
    means = [row for rows in chosen.answers("means", term).values() for row in rows]
    height = ROW * len(levels) + 0.75
    own = ax is None
    figure, ax = canvas(ax, WIDTH, height)
    if own:
        ax.set_position((LEFT, 0.5 / height, ACROSS, 1 - 0.6 / height))
    ends = [row[key] for row in means for key in ("lower", "upper")]
    readable_axis(ax, chosen.scale, padded(np.concatenate([yi, ends]), 0.06))
    ax.set_ylim(len(levels) - 0.4, -0.6)
    if chosen.scale.measure.zero_is_null:
        ax.axvline(0.0, color=GREY, lw=0.8, zorder=1)
    counts = {row["level"]: row for row in moderation["counts"] if row["term"] == term}
    for at, level in enumerate(levels):
        mine = np.array([value == level for value in values])
        # Alternate sides in order of size, so that equal effects stay apart.
        offset = SPREAD * (np.argsort(np.argsort(yi[mine])) % 2 - 1.0) - 0.12
        ax.scatter(yi[mine], at + offset, s=size[mine], fc="none", ec=GREY, lw=0.9, zorder=2)
        for row in means:
            if row["label"] == level:
                colour, marker, below = LOOKS[row["engine"]]
                y = at + below
                ax.plot([row["lower"], row["upper"]], [y, y], color=colour, lw=2.0, zorder=3)
                ax.plot(row["value"], y, marker, color=colour, ms=6, mec="white", zorder=4)
        label = f"{shorten(level, 24)}\n{_counted(counts.get(level, {}))}"
        where: dict[str, Any] = {"transform": ax.get_yaxis_transform(), "color": INK}
        ax.text(-0.02, at, label, ha="right", va="center", size=9, parse_math=False, **where)
    ax.set_xlabel(chosen.scale.symbol, color=INK, size=10, parse_math=False)
    return figure


def describe_marginal_means(
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
        Name of the factor; the model's first by default.

    Returns
    -------
    str
        The mean of every level, from the Bayesian engine where there is one.
    """
    chosen = select(source, model)
    term = chosen.term(term, factor_terms(chosen), "factor")
    moderation = chosen.model["moderation"]
    counts = {row["level"]: row for row in moderation["counts"] if row["term"] == term}
    shown = next(iter(chosen.answers("means", term).values()))
    parts = [
        f"{row['label']} {chosen.scale.value(row['value'])} "
        f"({chosen.scale.interval(row['lower'], row['upper'])}), "
        f"{_counted(counts.get(row['label'], {}))}"
        for row in shown
    ]
    return f"Mean effect ({chosen.scale.symbol}) by {term}: {'; '.join(parts)}."


def _counted(count: Mapping[str, Any]) -> str:
    if not count:
        return ""
    samples, effects = count["samples"], count["effects"]
    return f"{samples} sample{'s' * (samples != 1)}, {effects} effect{'s' * (effects != 1)}"
