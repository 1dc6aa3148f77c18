"""How likely results are to be published, by their p-value: prior and posterior weights."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reanalysis.plots.source import select
from reanalysis.plots.style import BLUE, GREY, INK, ORANGE, PALE, canvas
from reanalysis.wording import number, shorten

if TYPE_CHECKING:
    from reanalysis.analysis import Analysis

__all__ = ["CAPTION", "describe_weights", "plot_weights", "weighted_models"]

CAPTION = (
    "How likely an effect is to be published, compared with a clearly significant one, by its "
    "one-sided p-value. Pale bars: before the data (95 %). Marks and lines: after the data, one "
    "for each idea of how selection worked (median, 95 %). Where the lines are as long as the "
    "bars, the data do not tell how strong selection was."
)
LOOKS = ((BLUE, "o"), (ORANGE, "s"), (GREY, "D"), (INK, "^"))


def weighted_models(document: Mapping[str, Any]) -> list[tuple[str, Sequence[Mapping[str, Any]]]]:
    """Return the models that estimate publication weights.

    Parameters
    ----------
    document : mapping
        The results document.

    Returns
    -------
    list of tuple
        Mechanism, and its p-value bins with prior and posterior of the weight.
    """
    found: list[tuple[str, Sequence[Mapping[str, Any]]]] = []
    for model in document["models"].values():
        selection = model.get("selection", {})
        bins = [b for b in selection.get("bins", ()) if "posterior_median" in b]
        if any(b["posterior_upper"] > b["posterior_lower"] for b in bins):
            found.append((str(selection["mechanism"]), bins))
    return found


def plot_weights(
    source: "Analysis | Mapping[str, Any]", model: str | None = None, *, ax: Axes | None = None
) -> Figure:
    """Draw prior and posterior publication weights of every selection model.

    Parameters
    ----------
    source : Analysis or mapping
        A finished analysis, or its results document.
    model : str, optional
        Not used: the figure sets all mechanisms beside each other.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on.

    Returns
    -------
    matplotlib.figure.Figure
        One group for each bin of one-sided p-values, from the most significant.

    Raises
    ------
    ValueError
        If no model has publication weights.
    """
    models = weighted_models(select(source).document)
    if not models:
        raise ValueError("no model of this analysis has publication weights to draw.")
    own = ax is None
    figure, ax = canvas(ax, 5.6, 3.3)
    if own:
        ax.set_position((0.1, 0.2, 0.88, 0.76))
    bins = models[0][1]
    for i, one in enumerate(bins):
        if one["prior_upper"] > one["prior_lower"]:
            tall = one["prior_upper"] - one["prior_lower"]
            ax.bar([i], [tall], 0.72, one["prior_lower"], color=PALE, edgecolor=GREY, lw=0.8)
    step = 0.5 / max(len(models), 1)
    for j, (mechanism, own_bins) in enumerate(models):
        colour, marker = LOOKS[j % len(LOOKS)]
        shift = (j - (len(models) - 1) / 2) * step
        at = [i + shift for i in range(len(own_bins))]
        for x, one in zip(at, own_bins, strict=True):
            ax.plot([x, x], [one["posterior_lower"], one["posterior_upper"]], color=colour, lw=1.8)
        medians = [one["posterior_median"] for one in own_bins]
        ax.plot(at, medians, marker, color=colour, ms=6, ls="none", label=mechanism)
    ax.set_xlim(-0.5, len(bins) - 0.5)
    ax.set_ylim(0, 1.04)
    labels = [
        f"{shorten(b['bin'], 24).replace('<=', '≤')}\n{b['effects']:.0f} effects" for b in bins
    ]
    ax.set_xticks(range(len(bins)), labels, parse_math=False)
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GREY)
    ax.patch.set_visible(False)
    ax.tick_params(colors=INK, labelsize=9, color=GREY, length=3)
    ax.set_ylabel("weight", color=INK, size=10)
    ax.legend(loc="lower left", frameon=False, fontsize=9, labelcolor=INK, handletextpad=0.3)
    return figure


def describe_weights(source: Mapping[str, Any], model: str | None = None) -> str:
    """Return the text alternative of the figure, with its numbers.

    Parameters
    ----------
    source : mapping
        The results document.
    model : str, optional
        Not used: the figure sets all mechanisms beside each other.

    Returns
    -------
    str
        At most 300 characters.
    """
    parts = []
    for mechanism, bins in weighted_models(source):
        last = bins[-1]
        ends = " to ".join(
            number(last[f"posterior_{end}"], 2, leading_zero=False) for end in ("lower", "upper")
        )
        middle = number(last["posterior_median"], 2, leading_zero=False)
        parts.append(f"{mechanism} {middle} ({ends})")
    return f"Publication weight of the least significant results: {'; '.join(parts)}."[:300]
