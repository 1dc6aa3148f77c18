"""The z-plot: observed z statistics against those that a model implies.

References
----------
Bartoš, F., & Schimmack, U. (2025). arXiv:2509.07171.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from reanalysis.plots.source import Selected
from reanalysis.plots.style import BLUE, GREY, INK, ORANGE, PALE, canvas

__all__ = ["CAPTION", "describe_z_plot", "implied_density", "plot_z"]

CAPTION = (
    "Bars: observed z statistics (effect by its standard error). Blue: what the headline model "
    "implies at its posterior means; orange: the first selection model, with its weights. A jump "
    "at a dotted line, where a p-value passes a step, is what selection looks like. The figure "
    "tests the fit of single effects and cannot tell mechanisms apart."
)
REACH = 1.5  # beyond the outermost z
POINTS = 400


def plot_z(headline: Selected, selecting: Selected, sign: int, *, ax: Axes | None = None) -> Figure:
    """Draw observed and implied z statistics.

    Parameters
    ----------
    headline, selecting : Selected
        A model without selection, and one with weights; both with posterior means.
    sign : int
        Expected direction, 1 or -1.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on.

    Returns
    -------
    matplotlib.figure.Figure
        Densities on the z axis, in the expected direction.
    """
    z = sign * _observed(headline)
    low, high = float(z.min()) - REACH, float(z.max()) + REACH
    grid = np.linspace(low, high, POINTS)
    figure, ax = canvas(ax, 5.6, 2.9)
    ax.set_position((0.03, 0.17, 0.94, 0.8))
    shares, edges = np.histogram(
        z, np.arange(np.floor(low), np.ceil(high) + 0.5, 0.5), density=True
    )
    ax.stairs(shares, edges, fill=True, color=PALE)
    ax.plot(z, np.zeros_like(z), "|", color=GREY, ms=9)
    ax.plot(grid, implied_density(headline, grid, sign), color=BLUE, lw=1.8)
    ax.plot(grid, implied_density(selecting, grid, sign), color=ORANGE, lw=1.6)
    for step in selecting.model["spec"]["steps"]:
        ax.axvline(-float(ndtri(step)), color=INK, lw=0.9, ls=(0, (1, 2)))
    ax.set_xlim(low, high)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("z statistic, in the expected direction", color=INK, size=9)
    ax.set_yticks([])
    ax.spines[["left", "right", "top"]].set_visible(False)
    ax.spines["bottom"].set_color(GREY)
    ax.patch.set_visible(False)
    ax.tick_params(colors=INK, labelsize=8.5, length=3, color=GREY)
    return figure


def implied_density(chosen: Selected, grid: NDArray[np.float64], sign: int) -> NDArray[np.float64]:
    """Return the density of z statistics that a model implies at its posterior means.

    Parameters
    ----------
    chosen : Selected
        The model; with ``omega[b]`` among its estimates each effect's density is weighted and
        normalised by itself.
    grid : numpy.ndarray of shape (g,)
        Points, in the expected direction.
    sign : int
        Expected direction, 1 or -1.

    Returns
    -------
    numpy.ndarray of shape (g,)
        Mean over the effects of the model.
    """
    estimates = chosen.posterior[1]["estimates"] if chosen.posterior else {}
    effects = chosen.model["effects"]
    sei = np.sqrt([e["vi"] for e in effects])[:, None]
    averaged = np.array([e.get("n_averaged", 1.0) for e in effects])[:, None]
    between = estimates["tau_between"]["mean"]
    within = estimates.get("tau_within", {}).get("mean", 0.0)
    spread = np.sqrt(1 + (between**2 + within**2 / averaged) / sei**2)
    centre = sign * estimates[chosen.focus]["mean"] / sei
    u = (grid - centre) / spread
    density = np.exp(-0.5 * u * u) / (np.sqrt(2 * np.pi) * spread)
    spec = chosen.model["spec"]
    edges, weights = _weights(spec["steps"], spec.get("omega", ()), estimates)
    if len(weights) > 1:
        above = ndtr(-(np.array([np.inf, *edges, -np.inf]) - centre) / spread)
        mass = np.diff(above, axis=1) @ np.array(weights)
        bin_of = np.searchsorted(-np.array(edges), -grid, side="left")
        density = density * np.array(weights)[bin_of] / mass[:, None]
    return np.asarray(density.mean(axis=0))


def describe_z_plot(headline: Selected, selecting: Selected, sign: int) -> str:
    """Return the text alternative of the figure, with its numbers.

    Parameters
    ----------
    headline, selecting, sign
        As in `plot_z`.

    Returns
    -------
    str
        Observed and implied shares above the first step.
    """
    step = selecting.model["spec"]["steps"][0]
    edge = -float(ndtri(step))
    z = sign * _observed(headline)
    grid = np.linspace(edge, edge + 40, 4001)
    shares = [
        float(np.trapezoid(implied_density(one, grid, sign), grid)) for one in (headline, selecting)
    ]
    return (
        f"z statistics of {len(z)} effects: {100 * np.mean(z >= edge):.0f} % lie beyond p = "
        f"{step:g} (one-sided); the headline model implies {100 * shares[0]:.0f} %, the selection "
        f"model {100 * shares[1]:.0f} %."
    )


def _observed(chosen: Selected) -> NDArray[np.float64]:
    return np.array([e["yi"] / np.sqrt(e["vi"]) for e in chosen.model["effects"]])


def _weights(
    steps: Sequence[float], held: Sequence[float], estimates: Mapping[str, Any]
) -> tuple[list[float], list[float]]:
    """Return the critical values from the most significant down, and the weight of each bin."""
    weights = [float(weight) for weight in held] or [1.0]
    while f"omega[{len(weights) + 1}]" in estimates:
        weights.append(float(estimates[f"omega[{len(weights) + 1}]"]["mean"]))
    return [-float(ndtri(step)) for step in steps][: len(weights) - 1], weights
