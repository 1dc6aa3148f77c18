"""The contour-enhanced funnel plot (Peters et al. 2008)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import ndtri

from reanalysis.plots.source import select
from reanalysis.plots.style import BLUE, GREY, INK, ORANGE, canvas, readable_axis, round_numbers

if TYPE_CHECKING:
    from reanalysis.analysis import Analysis

__all__ = ["CAPTION", "describe_funnel", "plot_funnel"]

CAPTION = (
    "Each dot is an effect: precise ones at the top, imprecise ones at the bottom. The shading "
    "shows how far from zero an effect must lie to reach p < .10, .05 and .01 (two-sided); the "
    "dashed line is the average. Were small samples published only when significant, dots at the "
    "bottom would be missing from the white region in the middle. Few or similar samples cannot "
    "show it. Dotted orange, if a model has selection: where the p-value passes one of its steps."
)
# |z| of two-sided p = .10, .05, .01
CONTOURS = ((0.10, 1.644854, "#cfd6de"), (0.05, 1.959964, "#dfe4ea"), (0.01, 2.575829, "#eff2f5"))


def plot_funnel(
    source: "Analysis | Mapping[str, Any]", model: str | None = None, *, ax: Axes | None = None
) -> Figure:
    """Draw effects against their standard errors, over regions of significance.

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
        Contours are centred at zero; the axis has the spacing of the analysis scale and labels
        of the readable one.
    """
    chosen = select(source, model)
    yi = np.array([e["yi"] for e in chosen.model["effects"]])
    sei = np.sqrt([e["vi"] for e in chosen.model["effects"]])
    own = ax is None
    figure, ax = canvas(ax, 5.6, 3.9)
    if own:
        ax.set_position((0.12, 0.13, 0.85, 0.8))
    bottom = 1.06 * float(sei.max())
    reach = max(float(np.abs(yi).max()) * 1.08, 2.9 * bottom)
    top = 0.0
    readable_axis(ax, chosen.scale, (-reach, reach))
    ax.spines["left"].set_visible(True)
    ax.spines["left"].set_color(GREY)
    se = np.array([top, bottom])
    for i, (p, z, colour) in enumerate(CONTOURS):
        beyond = CONTOURS[i + 1][1] * se if i + 1 < len(CONTOURS) else np.full(2, reach)
        for side in (-1.0, 1.0):
            ax.fill_betweenx(se, side * z * se, side * beyond, color=colour, lw=0)
        inside, at = ax.transAxes, 0.95 - 0.065 * i
        ax.plot([0.03], [at], "s", color=colour, mec=GREY, mew=0.5, ms=7, transform=inside)
        key = f"p < .{p * 100:02.0f}"
        ax.text(0.055, at, key, color=INK, va="center", size=8.5, transform=inside)
    expected = -1.0 if chosen.document["data"].get("direction") == "negative" else 1.0
    for step in _steps(chosen.document):
        edge = -expected * float(ndtri(step))
        if abs(edge) > 1e-9:
            ax.plot(edge * se, se, color=ORANGE, lw=1.1, ls=(0, (1, 1.5)))
    ax.axvline(0.0, color=GREY, lw=0.8)
    found = chosen.estimate(chosen.focus)
    if found is not None:
        ax.axvline(found["mean"], color=BLUE, lw=1.1, ls=(0, (4, 3)))
    ax.plot(yi, sei, "o", color=BLUE, ms=5, mec="white", mew=0.6)
    ax.set_ylim(bottom, top)
    ax.yaxis.set_visible(True)
    ticks = round_numbers(0.0, bottom, at_most=6)
    ax.set_yticks(ticks, [f"{t:g}" for t in ticks])
    ax.tick_params(axis="y", colors=INK, labelsize=9, color=GREY, length=3)
    ax.set_xlabel(chosen.scale.symbol, color=INK, size=10, parse_math=False)
    ax.set_ylabel("standard error", color=INK, size=10)
    return figure


def _steps(document: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the one-sided p-values at which a selection model of the document has its steps."""
    return next(
        (
            tuple(model["spec"]["steps"])
            for model in document["models"].values()
            if model["spec"]["mechanism"] not in ("none", "pet", "peese")
        ),
        (),
    )


def describe_funnel(source: "Analysis | Mapping[str, Any]", model: str | None = None) -> str:
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
    effects = chosen.model["effects"]
    z = np.array([e["yi"] / np.sqrt(e["vi"]) for e in effects])
    significant = int((np.abs(z) > CONTOURS[1][1]).sum())
    sei = np.sqrt([e["vi"] for e in effects])
    return (
        f"Funnel plot of {len(effects)} effects, standard errors {sei.min():.2f} to "
        f"{sei.max():.2f}: {significant} lie in the regions beyond p < .05, "
        f"{len(effects) - significant} inside."
    )
