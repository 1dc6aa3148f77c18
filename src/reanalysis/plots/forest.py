"""The forest plot: every effect as printed and as shrunken, the mean, and a new sample."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import NDArray

from reanalysis.plots.source import Selected, select
from reanalysis.plots.style import BLUE, GREY, INK, ORANGE, PALE, canvas, readable_axis
from reanalysis.wording import plain, shorten

if TYPE_CHECKING:
    from reanalysis.analysis import Analysis

__all__ = ["CAPTION", "describe_forest", "forest_rows", "plot_forest", "pooling_weights"]

CAPTION = (
    "Grey: each effect as reported, with its 95 % interval; the larger the square, the more it "
    "weighs in the average. Blue: what the model believes about the same effect once it has "
    "learned from all the others; small samples are drawn towards the average most. Arrows mark "
    "intervals that go on beyond the edge. Bottom: the average (diamond) and the range in which "
    "95 % of new samples are expected (pale bar)."
)
ROW = 0.235  # inches
BELOW, ABOVE = 0.52, 0.03  # inches under and over the axes
TOP = -1.7  # of the vertical axis, in rows: room for the heads of the columns
WIDTH, LEFT, ACROSS = 7.4, 0.35, 0.35  # of the figure in inches; of the axes as fractions of it
LAST_COLUMN = (0.985 - LEFT) / ACROSS  # right edge of the figure, in axes' widths
Z95 = 1.959964


def plot_forest(
    source: "Analysis | Mapping[str, Any]",
    model: str | None = None,
    *,
    order: Literal["data", "effect", "precision"] = "data",
    ax: Axes | None = None,
) -> Figure:
    """Draw every effect of a model with its interval and its shrunken estimate.

    Parameters
    ----------
    source : Analysis or mapping
        A finished analysis, or its results document.
    model : str, optional
        Name of the model; the headline by default.
    order : {"data", "effect", "precision"}
        Order of the rows: as in the data, or by size, largest first.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on.

    Returns
    -------
    matplotlib.figure.Figure
        The axis has the spacing of the analysis scale and labels of the readable one. Labels are
        cut at 38 characters; the report's table has them in full.
    """
    chosen = select(source, model)
    effects = _ordered(chosen.model["effects"], order)
    yi = np.array([e["yi"] for e in effects])
    half = Z95 * np.sqrt(np.array([float(e["vi"]) for e in effects]))
    summaries = _summaries(chosen)
    k = len(effects)
    height, bottom = _size(k + len(summaries))
    own = ax is None
    figure, ax = canvas(ax, WIDTH, height)
    if own:
        ax.set_position((LEFT, BELOW / height, ACROSS, 1 - (BELOW + ABOVE) / height))
    limits = _limits(yi, half, summaries)
    readable_axis(ax, chosen.scale, limits)
    ax.set_ylim(bottom, TOP)
    rows = np.arange(k, dtype=np.float64)
    if chosen.scale.measure.zero_is_null:
        ax.vlines(0.0, -0.6, k + len(summaries) + 0.6, color=GREY, lw=0.8, zorder=1)
    if summaries:
        ax.vlines(summaries[0][1], -0.6, k + 0.7, color=BLUE, lw=0.8, ls=(0, (4, 3)), zorder=1)
    _intervals(ax, yi - half, yi + half, rows - 0.1, limits, GREY, 1.1)
    _squares(ax, yi, rows - 0.1, pooling_weights(chosen.model), limits, height)
    _shrunken(ax, chosen, effects, rows + 0.2, limits)
    _labels(ax, chosen, effects, half)
    for i, (label, mean, lower, upper, kind) in enumerate(summaries):
        at = k + 0.9 + i
        _summary(ax, mean, lower, upper, at, kind)
        style: dict[str, Any] = {"va": "center", "size": 9, "weight": "bold", "color": INK}
        style["transform"] = ax.get_yaxis_transform()
        ax.text(-0.03, at, label, ha="right", **style)
        shown = chosen.scale.interval(lower, upper)
        if kind != "bar":
            ends = f"{chosen.scale.value(lower)}, {chosen.scale.value(upper)}"
            shown = f"{chosen.scale.value(mean)} [{ends}]"
        ax.text(1.03, at, shown, **style)
    ax.set_xlabel(chosen.scale.symbol, color=INK, size=10, parse_math=False)
    return figure


def describe_forest(source: "Analysis | Mapping[str, Any]", model: str | None = None) -> str:
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
    effects = sorted(chosen.model["effects"], key=lambda e: e["yi"])
    scale = chosen.scale
    lowest, highest = effects[0], effects[-1]
    parts = [
        f"Forest plot of {len(effects)} effects ({scale.symbol}), from "
        f"{scale.value(lowest['yi'])} ({shorten(lowest['label'], 40)}) to "
        f"{scale.value(highest['yi'])} ({shorten(highest['label'], 40)})."
    ]
    for label, mean, lower, upper, kind in _summaries(chosen):
        point = "" if kind == "bar" else f"{scale.value(mean)}, "
        parts.append(f"{label}: {point}{scale.interval(lower, upper)}.")
    return " ".join(parts)[:300]


def forest_rows(
    source: "Analysis | Mapping[str, Any]", model: str | None = None
) -> list[tuple[float, float, str]]:
    """Return where each effect's row lies in the figure, and its numbers in words.

    Parameters
    ----------
    source : Analysis or mapping
        A finished analysis, or its results document.
    model : str, optional
        Name of the model; the headline by default.

    Returns
    -------
    list of tuple
        Upper edge and height as fractions of the figure's height, and a sentence; in the order of
        the data, which is that of the figure by default.
    """
    chosen = select(source, model)
    scale, effects = chosen.scale, chosen.model["effects"]
    height, bottom = _size(len(effects) + len(_summaries(chosen)))
    row = (height - BELOW - ABOVE) / (bottom - TOP) / height
    rows = []
    for i, (e, weight) in enumerate(zip(effects, pooling_weights(chosen.model), strict=True)):
        half = Z95 * float(e["vi"]) ** 0.5
        parts = [
            f"{plain(e['label'])}: {scale.symbol} = {scale.value(e['yi'])} "
            f"({scale.interval(e['yi'] - half, e['yi'] + half)})"
        ]
        if "ni" in e:
            parts.append(f"n = {e['ni']:,.0f}")
        parts.append(f"{100 * weight:.1f} % of the weight")
        if chosen.posterior and chosen.posterior[0] in e:
            own = e[chosen.posterior[0]]
            ends = scale.interval(own["lower"], own["upper"])
            parts.append(f"shrunken {scale.value(own['mean'])} ({ends})")
        rows.append((ABOVE / height + (i - TOP - 0.5) * row, row, "; ".join(parts)))
    return rows


def pooling_weights(model: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return each effect's weight in the average, given the heterogeneity found.

    Parameters
    ----------
    model : mapping
        A model of the results document.

    Returns
    -------
    numpy.ndarray of shape (k,)
        Generalised least squares weights, adding up to 1. The heterogeneity is REML's, or the
        posterior mean where REML did not run; a sampling correlation that is not a number is
        taken as 0.
    """
    effects = model["effects"]
    vi = np.array([e["vi"] for e in effects])
    averaged = np.array([e.get("n_averaged", 1.0) for e in effects])
    between2, within2 = _heterogeneity(model)
    rho = model["spec"].get("sampling_correlation", 0.0)
    rho = rho if isinstance(rho, float) else 0.0
    samples = np.array([e["sample"] for e in effects])
    weights = np.empty(len(effects), dtype=np.float64)
    for sample in dict.fromkeys(samples.tolist()):
        rows = np.flatnonzero(samples == sample)
        sei = np.sqrt(vi[rows])
        cov = rho * np.outer(sei, sei) + between2
        cov[np.diag_indices(len(rows))] = vi[rows] + within2 / averaged[rows] + between2
        weights[rows] = np.linalg.solve(cov, np.ones(len(rows)))
    return weights / weights.sum()


def _heterogeneity(model: Mapping[str, Any]) -> tuple[float, float]:
    """Return the between- and the within-sample variance."""
    if "reml" in model:
        reml = model["reml"]
        return float(reml.get("tau2_between", 0.0)), float(reml.get("tau2_within", 0.0))
    bayes = model.get("exact", model.get("nuts", {}))
    passed = bayes.get("diagnostics", {}).get("passed", True)
    estimates = bayes.get("estimates", {}) if passed else {}
    between, within = (
        float(estimates.get(name, {}).get("mean", 0.0)) for name in ("tau_between", "tau_within")
    )
    return between**2, within**2


def _size(rows: int) -> tuple[float, float]:
    """Return the figure's height in inches, and the lower end of its vertical axis in rows."""
    return ROW * (rows + 0.6 - TOP) + 0.6, rows + 0.6


def _ordered(effects: list[Mapping[str, Any]], order: str) -> list[Mapping[str, Any]]:
    if order == "effect":
        return sorted(effects, key=lambda e: -e["yi"])
    if order == "precision":
        return sorted(effects, key=lambda e: e["vi"])
    return list(effects)


def _summaries(chosen: Selected) -> list[tuple[str, float, float, float, str]]:
    """Return the bottom rows: label, mean, lower, upper, kind of mark."""
    rows = []
    found = chosen.estimate(chosen.focus)
    if found and "lower" in found and "upper" in found:
        label = "Average (Bayesian)" if chosen.posterior else "Average (REML)"
        rows.append((label, found["mean"], found["lower"], found["upper"], "diamond"))
    reml = chosen.reml(chosen.focus)
    if reml and "lower" in reml and chosen.posterior:
        rows.append(("Average (REML)", reml["mean"], reml["lower"], reml["upper"], "open"))
    new = chosen.estimate("new_sample")
    if new and "lower" in new:
        rows.append(("A new sample", new["mean"], new["lower"], new["upper"], "bar"))
    return rows


def _limits(
    yi: NDArray[np.float64],
    half: NDArray[np.float64],
    summaries: list[tuple[str, float, float, float, str]],
) -> tuple[float, float]:
    """Return the ends of the axis: few very wide intervals must not flatten all the others."""
    reach = float(np.quantile(half, 0.75))
    ends = [v for _, _, lower, upper, _ in summaries for v in (lower, upper)]
    lower = min(0.0, float(yi.min()) - reach, *ends)
    upper = max(0.0, float(yi.max()) + reach, *ends)
    pad = 0.02 * (upper - lower)
    return lower - pad, upper + pad


def _intervals(
    ax: Axes,
    lower: NDArray[np.float64],
    upper: NDArray[np.float64],
    rows: NDArray[np.float64],
    limits: tuple[float, float],
    colour: str,
    width: float,
) -> None:
    """Draw intervals, with arrowheads where they go on beyond the axis."""
    gap = np.full(len(rows), np.nan)  # one broken line: a tenth of the cost of a line for each row
    x = np.column_stack((np.maximum(lower, limits[0]), np.minimum(upper, limits[1]), gap))
    ax.plot(x.ravel(), np.repeat(rows, 3), color=colour, lw=width, zorder=2)
    for beyond, edge, marker in ((lower < limits[0], 0, "<"), (upper > limits[1], 1, ">")):
        if beyond.any():
            at = np.full(int(beyond.sum()), limits[edge])
            ax.plot(at, rows[beyond], marker, color=colour, ms=4, clip_on=False)


def _squares(
    ax: Axes,
    yi: NDArray[np.float64],
    rows: NDArray[np.float64],
    weights: NDArray[np.float64],
    limits: tuple[float, float],
    height: float,
) -> None:
    """Draw squares whose area is proportional to the weight; the largest fills its row."""
    bottom, top = ax.get_ylim()
    box = ax.get_position()
    tall = 0.34 * np.sqrt(weights / weights.max()) + 0.03
    inches_per_row = box.height * height / abs(bottom - top)
    wide = tall * inches_per_row * (limits[1] - limits[0]) / (box.width * WIDTH)
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    centres, sizes = np.column_stack((yi, rows)), np.column_stack((wide, tall))
    squares = Path.make_compound_path_from_polys(centres[:, None] + corners * sizes[:, None])
    ax.add_patch(PathPatch(squares, facecolor=GREY, linewidth=0, zorder=3))


def _shrunken(
    ax: Axes,
    chosen: Selected,
    effects: list[Mapping[str, Any]],
    rows: NDArray[np.float64],
    limits: tuple[float, float],
) -> None:
    if chosen.posterior is None or chosen.posterior[0] not in effects[0]:
        return
    found = [e[chosen.posterior[0]] for e in effects]
    lower, upper, mean = (np.array([f[key] for f in found]) for key in ("lower", "upper", "mean"))
    _intervals(ax, lower, upper, rows, limits, BLUE, 1.6)
    ax.plot(mean, rows, "o", color=BLUE, ms=3.6, zorder=4)


def _labels(
    ax: Axes, chosen: Selected, effects: list[Mapping[str, Any]], half: NDArray[np.float64]
) -> None:
    """Write each effect's name on the left, its numbers on the right."""
    text = ax.get_yaxis_transform()
    names = [shorten(e["label"]) for e in effects]
    scale, engine = chosen.scale, chosen.posterior[0] if chosen.posterior else ""
    right: dict[str, Any] = {"transform": text, "va": "center", "size": 8.5, "parse_math": False}
    ax.text(1.03, -1.25, "as reported", color=GREY, **right)
    if engine:
        ax.text(LAST_COLUMN, -1.25, "shrunken", color=BLUE, ha="right", **right)
    for i, (e, name, h) in enumerate(zip(effects, names, half, strict=True)):
        ax.text(-0.03, i, name, color=INK, ha="right", **right)
        ends = f"{scale.value(e['yi'] - h)}, {scale.value(e['yi'] + h)}"
        ax.text(1.03, i, f"{scale.value(e['yi'])} [{ends}]", color=INK, **right)
        if engine in e:
            ax.text(LAST_COLUMN, i, scale.value(e[engine]["mean"]), color=BLUE, ha="right", **right)


def _summary(ax: Axes, mean: float, lower: float, upper: float, at: float, kind: str) -> None:
    if kind == "bar":
        ax.barh([at], [upper - lower], 0.5, lower, color=PALE, edgecolor=GREY, lw=0.8, zorder=2)
        return
    face, edge = (BLUE, BLUE) if kind == "diamond" else ("none", ORANGE)
    x, y = [lower, mean, upper, mean], [at, at - 0.32, at, at + 0.32]
    ax.fill(x, y, facecolor=face, edgecolor=edge, lw=1.3, zorder=3)
