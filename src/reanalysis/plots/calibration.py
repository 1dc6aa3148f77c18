"""Calibration: how far the posterior probabilities below the truth are from uniform."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reanalysis.calibration import points, uniform_band
from reanalysis.plots.style import BLUE, GREY, INK, ORANGE, PALE, canvas
from reanalysis.wording import p_value, parameter_name

if TYPE_CHECKING:
    from reanalysis.calibration import Calibration

__all__ = ["CAPTION", "describe_calibration", "plot_calibration"]

CAPTION = (
    "Distribution of the posterior probability below the true value over simulated data sets, "
    "minus the diagonal. A right posterior stays inside the band at every point with probability "
    "95 % (Säilynoja et al. 2022)."
)
SUSPECT = 0.05
TITLES = {
    "tau": "Heterogeneity",
    "tau_between": "Between samples",
    "tau_within": "Within samples",
    "log_likelihood": "Log-likelihood",
    "distance": "Distance from the data's mean",
}


def plot_calibration(
    source: "Calibration | Mapping[str, Any]", *, ax: Axes | None = None
) -> Figure:
    """Draw the ECDF difference of every quantity with its simultaneous band.

    Parameters
    ----------
    source : Calibration or mapping
        A calibration in which no parameter was fixed, or its document.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; it holds one panel per quantity.

    Returns
    -------
    matplotlib.figure.Figure
        One panel per quantity; a line that leaves the band is orange.

    Raises
    ------
    ValueError
        If parameters were fixed: then nothing is expected to be uniform.
    """
    rows = _rows(source)
    width = 1.75
    figure, ax = canvas(ax, width * len(rows) + 0.5, 2.1)
    ax.set_position((0.0, 0.0, 1.0, 1.0))
    ax.axis("off")
    total = width * len(rows) + 0.5
    for i, (name, p, n, shares) in enumerate(rows):
        panel = ax.inset_axes(((0.5 + width * i) / total, 0.2, (width - 0.15) / total, 0.64))
        z = points(n)
        lower, upper = uniform_band(n)
        panel.fill_between(z, lower - z, upper - z, color=PALE, lw=0)
        colour = ORANGE if p < SUSPECT else BLUE
        panel.plot(z, shares - z, color=colour, lw=1.4)
        panel.axhline(0.0, color=GREY, lw=0.6)
        reach = 1.6 * max(float(np.max(upper - z)), float(np.max(np.abs(shares - z))) / 1.5)
        panel.set_ylim(-reach, reach)
        panel.set_xlim(0, 1)
        panel.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
        panel.set_yticks([])
        panel.set_title(_title(name), size=9, color=INK, parse_math=False)
        panel.set_xlabel(f"p {p_value(p)}", size=8, color=INK)
        panel.patch.set_visible(False)
        panel.spines[["left", "right", "top"]].set_visible(False)
        panel.tick_params(colors=INK, labelsize=8, length=2, color=GREY)
    return figure


def describe_calibration(source: "Calibration | Mapping[str, Any]") -> str:
    """Return the text alternative of the figure, with its numbers.

    Parameters
    ----------
    source : Calibration or mapping
        A calibration, or its document.

    Returns
    -------
    str
        One sentence.
    """
    parts = [f"{_title(name)} p {p_value(p)}" for name, p, _, _ in _rows(source)]
    return f"Uniformity of the ranks of the truth: {'; '.join(parts)}."


def _title(name: str) -> str:
    return TITLES.get(name) or parameter_name(name)


def _rows(
    source: "Calibration | Mapping[str, Any]",
) -> list[tuple[str, float, int, NDArray[np.float64]]]:
    document = source if isinstance(source, Mapping) else source.document()
    if not document["uniformity"]:
        raise ValueError("parameters were fixed, so that ranks are not expected to be uniform")
    return [
        (
            row["quantity"],
            float(row["p"]),
            int(row["replicates"]),
            np.array(document["ecdf"][row["quantity"]]),
        )
        for row in document["uniformity"]
    ]
