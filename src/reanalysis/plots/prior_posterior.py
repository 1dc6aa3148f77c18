"""What was believed before the data, and what is believed after them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reanalysis.plots.source import Selected, select
from reanalysis.plots.style import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    PALE,
    canvas,
    density_axis,
    readable_axis,
)
from reanalysis.priors import Prior
from reanalysis.wording import is_mean, number, parameter_name, parameter_symbol, shorten

if TYPE_CHECKING:
    from reanalysis.analysis import Analysis

__all__ = ["CAPTION", "describe_prior_posterior", "plot_prior_posterior", "shown_parameters"]

CAPTION = (
    "Height is plausibility. Pale area: before the data (the prior). Blue line: after the data "
    "(the posterior, exact); dashed orange, where there is one: the same from NUTS. A posterior "
    "much narrower than its prior means that the data spoke; one that follows its prior means "
    "that they said little. Where priors were set for the total heterogeneity and its split, those "
    "drawn for its parts are the ones that follow."
)
AT_MOST = 6
Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


def plot_prior_posterior(
    source: "Analysis | Mapping[str, Any]",
    model: str | None = None,
    parameters: Sequence[str] = (),
    *,
    ax: Axes | None = None,
) -> Figure:
    """Draw prior and posterior density, one panel for each parameter.

    Parameters
    ----------
    source : Analysis or mapping
        A finished analysis, or its results document.
    model : str, optional
        Name of the model; the headline by default.
    parameters : sequence of str
        What to draw; by default the first six with a posterior density.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; needs exactly one parameter.

    Returns
    -------
    matplotlib.figure.Figure
        Densities are on the analysis scale; a mean effect's axis is labelled on the readable one.

    Raises
    ------
    ValueError
        If axes are given for several parameters, or nothing has a density.
    """
    chosen = select(source, model)
    names = list(parameters) or shown_parameters(chosen)
    if not names:
        raise ValueError(f"model '{chosen.name}' has no posterior density to draw.")
    if ax is not None:
        if len(names) != 1:
            raise ValueError(f"axes hold one parameter, not {len(names)}; name it.")
        _panel(ax, chosen, names[0])
        return canvas(ax, 0.0, 0.0)[0]
    rows = (len(names) + 1) // 2
    figure = canvas(None, 6.6, 2.1 * rows)[0]
    figure.clear()
    for i, name in enumerate(names):
        left, bottom = 0.03 + 0.5 * (i % 2), 1 - (i // 2 + 1) / rows + 0.38 / (2.1 * rows)
        _panel(figure.add_axes((left, bottom, 0.44, 1.4 / (2.1 * rows))), chosen, name)
    return figure


def describe_prior_posterior(
    source: "Analysis | Mapping[str, Any]", model: str | None = None
) -> str:
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
    parts = []
    for name in shown_parameters(chosen):
        found = chosen.estimate(name)
        if found and "lower" in found and "upper" in found:
            ends = _ends(chosen, name, found)
            parts.append(f"{parameter_symbol(name) or name} {ends}")
    return f"Prior and posterior densities; 95 % posterior intervals: {'; '.join(parts)}."[:300]


def shown_parameters(chosen: Selected) -> list[str]:
    """Return the parameters with a posterior density, at most six.

    Parameters
    ----------
    chosen : Selected
        The model.

    Returns
    -------
    list of str
        Names; one of two that are the same quantity is left out.
    """
    names = dict.fromkeys([*_densities(chosen, "exact"), *_densities(chosen, "nuts")])
    if chosen.model.get("levels") == 2 and "tau_between" in names:
        names.pop("tau", None)
    return list(names)[:AT_MOST]


def prior_density(
    priors: Mapping[str, Mapping[str, Any]], name: str, x: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return the prior density of a parameter, stated or implied.

    Parameters
    ----------
    priors : mapping of str to mapping
        Priors of the document, by parameter.
    name : str
        The parameter.
    x : numpy.ndarray of shape (n,)
        Points on the parameter's scale.

    Returns
    -------
    numpy.ndarray of shape (n,) or None
        The density. With priors on the total τ and on the share s between samples, that of
        τ_between = τ√s is ∫ p_τ(x/u) p_s(u²) 2 du over u in (0, 1), and likewise with 1 − s for
        τ_within. None where nothing is stated.
    """
    if name in priors:
        return np.exp(_prior(priors[name]).logpdf(x))
    if name in ("tau_between", "tau_within") and {"tau", "between_share"} <= set(priors):
        u = (np.arange(400) + 0.5) / 400
        share = u**2 if name == "tau_between" else 1.0 - u**2
        weight = 2.0 * np.exp(_prior(priors["between_share"]).logpdf(share)) / len(u)
        return np.exp(_prior(priors["tau"]).logpdf(x[:, None] / u)) @ weight
    return None


def _prior(row: Mapping[str, Any]) -> Prior:
    return Prior(row["family"], row["parameters"])


def _densities(chosen: Selected, engine: str) -> Mapping[str, Mapping[str, Any]]:
    if engine == "nuts" and chosen.nuts_failed:
        return {}
    return chosen.model.get(engine, {}).get("densities", {})  # type: ignore[no-any-return]


def _panel(ax: Axes, chosen: Selected, name: str) -> None:
    curves = {
        engine: (np.asarray(c["x"]), np.asarray(c["density"]))
        for engine in ("exact", "nuts")
        if (c := _densities(chosen, engine).get(name))
    }
    limits = _limits(list(curves.values()), name)
    priors = {p["parameter"]: p for p in chosen.model.get("priors", ())}
    top = max(float(y.max()) for _, y in curves.values())
    x = np.linspace(*limits, 101)
    before = prior_density(priors, name, x)
    if before is not None:
        shown = np.minimum(before, 1.05 * top)
        ax.fill_between(x, shown, color=PALE, lw=0)
        ax.plot(x, shown, color=GREY, lw=0.8)
    if "exact" in curves:
        ax.plot(*curves["exact"], color=BLUE, lw=1.8)
    if "nuts" in curves:
        ax.plot(*curves["nuts"], color=ORANGE, lw=1.4, ls=(0, (4, 2)))
    if is_mean(name):
        readable_axis(ax, chosen.scale, limits)
        ax.axvline(0.0, color=GREY, lw=0.8)
    else:
        density_axis(ax, limits)
    ax.set_ylim(0, 1.12 * top)
    unit = f" ({chosen.scale.symbol})" if is_mean(name) else ""
    title = shorten(f"{parameter_name(name)}{unit}", 44)
    ax.set_title(title, size=9.5, color=INK, loc="left", parse_math=False)


def _limits(curves: list[Curve], name: str) -> tuple[float, float]:
    """Return ends that show the whole posterior, zero, and some of the prior beside it."""
    lower = min(float(x.min()) for x, _ in curves)
    upper = max(float(x.max()) for x, _ in curves)
    if lower >= 0 and not is_mean(name) and not name.startswith("beta"):
        return 0.0, 1.15 * upper
    margin = 0.35 * (upper - lower)
    return min(lower - margin, -margin / 3), max(upper + margin, margin / 3)


def _ends(chosen: Selected, name: str, found: Mapping[str, Any]) -> str:
    if is_mean(name):
        return chosen.scale.interval(found["lower"], found["upper"])
    return f"{number(found['lower'], 2)} to {number(found['upper'], 2)}"
