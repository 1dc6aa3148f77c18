"""Risk of bias: one light per sample and domain, told apart by colour and by sign."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reanalysis.plots.style import BLUE, GREY, INK, ORANGE, PALE, canvas
from reanalysis.wording import shorten

__all__ = ["CAPTION", "WORDS", "describe_risk_of_bias", "plot_risk_of_bias"]

CAPTION = (
    "Risk of bias as the source judged it: + low, − high, ? unclear; no sign where it does not "
    "apply."
)
WORDS = {"+": "low", "-": "high", "?": "unclear", "/": "not applicable"}
COLOURS = {"+": BLUE, "-": ORANGE, "?": GREY}
SIGNS = {"+": "+", "-": "−", "?": "?"}
ROW = 0.24  # inches


def plot_risk_of_bias(found: Mapping[str, Any], *, ax: Axes | None = None) -> Figure:
    """Draw the lights.

    Parameters
    ----------
    found : mapping
        ``domains``, and ``samples`` with ``label`` and ``marks``.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on.

    Returns
    -------
    matplotlib.figure.Figure
        Samples down, domains across.
    """
    samples, domains = found["samples"], found["domains"]
    top = 1.7
    height = top + ROW * len(samples) + 0.1
    figure, ax = canvas(ax, 3.4 + 0.5 * len(domains), height)
    ax.set_position((0.0, 0.0, 1.0, 1.0))
    ax.axis("off")
    ax.set_xlim(0, 3.4 + 0.5 * len(domains))
    ax.set_ylim(height, 0)
    style: dict[str, Any] = {"color": INK, "size": 8.5, "parse_math": False}
    for j, domain in enumerate(domains):
        ax.text(2.75 + 0.5 * j, top - 0.12, shorten(domain, 30), rotation=40, va="bottom", **style)
    # Few artists for many marks: each of its own would take the longest of all figures.
    rows = [top + ROW * (i + 0.5) for i in range(len(samples))]
    lines = [y + ROW / 2 for y in rows]
    ax.hlines(lines, 0.0, 2.4 + 0.5 * len(domains), color=PALE, lw=0.4)
    places: dict[str, list[tuple[float, float]]] = {mark: [] for mark in COLOURS}
    for y, sample in zip(rows, samples, strict=True):
        ax.text(2.4, y, shorten(sample["label"], 38), ha="right", va="center", **style)
        for j, mark in enumerate(sample["marks"]):
            if mark in COLOURS:
                places[mark].append((2.75 + 0.5 * j, y))
    for mark, at in places.items():
        ax.plot([x for x, _ in at], [y for _, y in at], "o", color=COLOURS[mark], ms=11)
        for x, y in at:
            ax.text(x, y, SIGNS[mark], ha="center", va="center", color="white", size=9)
    return figure


def describe_risk_of_bias(found: Mapping[str, Any]) -> str:
    """Return the text alternative of the figure, with its numbers.

    Parameters
    ----------
    found : mapping
        As in `plot_risk_of_bias`.

    Returns
    -------
    str
        How often each judgement was given.
    """
    marks = [mark for sample in found["samples"] for mark in sample["marks"]]
    parts = [f"{marks.count(mark)} {word}" for mark, word in WORDS.items() if mark in marks]
    return (
        f"Risk of bias of {len(found['samples'])} samples in {len(found['domains'])} domains: "
        f"{', '.join(parts)}."
    )
