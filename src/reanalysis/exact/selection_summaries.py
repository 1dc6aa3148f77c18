"""Estimates and density curves from the integrated posterior of a selection model."""

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray
from scipy import special

from reanalysis.exact.quadrature import Cumulative
from reanalysis.exact.selection_grid import SelectionGrid
from reanalysis.exact.selection_margins import SINH, SQUARE, Margin, margin
from reanalysis.exact.selection_quantiles import find_quantiles
from reanalysis.results import Estimate

__all__ = ["density_curves", "parameter_margins", "summarise_margins", "summarise_predictions"]

Vector = NDArray[np.float64]

PROBABILITIES = np.array([0.025, 0.5, 0.975])
CURVE_POINTS = 121
CELLS = 100  # of the mean's distribution, for predictions
TANH_NODES, TANH_WEIGHTS = hermegauss(20)
TANH_WEIGHTS = TANH_WEIGHTS / TANH_WEIGHTS.sum()


def parameter_margins(
    grid: SelectionGrid, names: tuple[str, ...], bias_name: str = ""
) -> dict[str, Margin]:
    """Return the distribution of every parameter.

    Parameters
    ----------
    grid : SelectionGrid
        The posterior.
    names : tuple of str
        Names of the free coefficients.
    bias_name : str
        ``pet`` or ``peese`` where the model has that coefficient.

    Returns
    -------
    dict of str to Margin
        Coefficients, ``tau_between``, ``tau_within`` and ``tau``, the bias coefficient and
        ``omega[2]``, ``omega[3]``, ...; ``omega[1]`` is 1 and has none.
    """
    target, box = grid.target, grid.box
    layout, scale = target.layout, target.problem.scale
    margins = {}
    for i, name in enumerate(names):
        before = _combinations([np.sinh(grid.nodes(j)) for j in range(i)])
        margins[name] = margin(
            grid,
            i,
            list(range(i)),
            SINH,
            offset=box.centre[i] + before @ box.rotation[i, :i],
            factor=float(box.rotation[i, i]),
        )
    t = layout["tau"].start
    kind = target.problem.heterogeneity
    if kind == "both":
        phi = grid.nodes(t + 1)
        for name, part in (("tau_between", np.cos(phi)), ("tau_within", np.sin(phi))):
            margins[name] = margin(grid, t, [t + 1], SINH, factor=scale * part)
    elif kind != "none":
        margins[f"tau_{kind}"] = margin(grid, t, [], SINH, factor=scale)
    if kind != "none":
        margins["tau"] = margin(grid, t, [], SINH, factor=scale)
    if bias_name:
        bias = layout["bias"].start
        margins[bias_name] = margin(grid, bias, [], SINH, factor=target.bias_scale)
    first = layout["omega"].start
    for b in range(target.weights.dimension):
        axes = list(range(first, first + b)) if target.weights.ordered else []
        earlier = _combinations([grid.nodes(axis) ** 2 for axis in axes]).prod(axis=1)
        margins[f"omega[{b + 2}]"] = margin(grid, first + b, axes, SQUARE, factor=earlier)
    return margins


def _combinations(nodes: list[Vector]) -> Vector:
    if not nodes:
        return np.ones((1, 0))
    return np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1).reshape(-1, len(nodes))


def summarise_margins(
    fine: Mapping[str, Margin], coarse: Mapping[str, Margin]
) -> dict[str, Estimate]:
    """Return estimates with the change of the mean since the coarser grid as their error."""
    estimates = {}
    for name, distribution in fine.items():
        mean, sd = distribution.moments()
        lower, median, upper = distribution.quantiles(PROBABILITIES).tolist()
        estimates[name] = Estimate(
            name,
            mean,
            sd,
            lower,
            upper,
            median=median,
            numerical_error=abs(mean - coarse[name].moments()[0]),
        )
    return estimates


def density_curves(
    margins: Mapping[str, Margin], estimates: Mapping[str, Estimate]
) -> dict[str, tuple[Vector, Vector]]:
    """Return density curves of the parameters."""
    curves = {}
    for name, distribution in margins.items():
        e = estimates[name]
        assert e.sd is not None
        if name.startswith("omega"):
            low, high = 0.0, 1.0
        else:
            low = max(e.value - 5 * e.sd, distribution.range[0])
            high = min(e.value + 5 * e.sd, distribution.range[1])
        # A density may be singular at a natural end, so the ends are moved in by half a step.
        half = (high - low) / CURVE_POINTS / 2
        x = np.linspace(low + half, high - half, CURVE_POINTS)
        curves[name] = x, np.maximum(distribution.cdf_pdf(x)[1], 0.0)
    return curves


def summarise_predictions(
    fine: SelectionGrid, coarse: SelectionGrid, *, correlations: bool
) -> dict[str, Estimate]:
    """Return predictions for an unselected sample and effect, for a model with one mean.

    Parameters
    ----------
    fine, coarse : SelectionGrid
        Posterior with one coefficient, the mean.
    correlations : bool
        Whether effects are Fisher's z, so that ``mean_r`` can be given.

    Returns
    -------
    dict of str to Estimate
        ``new_sample``, ``new_effect`` and, for correlations, ``mean_r``: the mean of
        ``tanh(theta)``, ``theta ~ N(mu, tau**2)``.
    """
    cells, before = _cells(fine), _cells(coarse)
    keep = np.abs(cells[4]) > 1e-6 * cells[4].max()
    mu, width, between, total, weight = (column[keep] for column in cells)
    weight = weight / weight.sum()
    moved = abs(float(weight @ mu - before[4] @ before[0]))
    estimates = {}
    for name, tau in (("new_sample", between), ("new_effect", total)):
        spread = np.sqrt(tau**2 + width**2 / 12)
        mean = float(weight @ mu)
        sd = float(np.sqrt(weight @ ((mu - mean) ** 2 + spread**2)))
        lower, median, upper = find_quantiles(
            partial(_mixture_cdf, mu, spread, weight),
            PROBABILITIES,
            (float(np.min(mu - 6 * spread)), float(np.max(mu + 6 * spread))),
        ).tolist()
        estimates[name] = Estimate(
            name, mean, sd, lower, upper, median=median, numerical_error=moved
        )
    if correlations:
        r = np.tanh(mu[:, None] + total[:, None] * TANH_NODES) @ TANH_WEIGHTS
        old = np.tanh(before[0][:, None] + before[3][:, None] * TANH_NODES) @ TANH_WEIGHTS
        mean = float(weight @ r)
        order = np.argsort(r)
        middle = np.cumsum(weight[order]) - 0.5 * weight[order]
        lower, median, upper = np.interp(PROBABILITIES, middle, r[order]).tolist()
        estimates["mean_r"] = Estimate(
            "mean_r",
            mean,
            float(np.sqrt(weight @ (r - mean) ** 2)),
            lower,
            upper,
            median=median,
            numerical_error=abs(mean - float(before[4] @ old)),
            scale="r",
        )
    return estimates


def _mixture_cdf(mean: Vector, sd: Vector, weight: Vector, x: Vector) -> Vector:
    return special.ndtr((x[:, None] - mean) / sd) @ weight


def _cells(grid: SelectionGrid) -> tuple[Vector, Vector, Vector, Vector, Vector]:
    """Return mean, its cell's width, tau_between, tau and probability of many small cells."""
    target = grid.target
    taus = target.layout["tau"]
    axes = list(range(taus.start, taus.stop))
    lengths = np.ones(1)
    for axis in axes:
        lengths = np.outer(lengths, grid.lengths(axis)).ravel()
    table = grid.marginal([0, *axes]).reshape(len(grid.nodes(0)), -1) * lengths
    low, high = grid.box.ends[0]
    edges = np.linspace(low, high, CELLS + 1)
    integral, _ = Cumulative.of(grid.rules[0], (float(low), float(high)), table).at(
        np.repeat(edges[:, None], table.shape[1], axis=1)
    )
    # Not clipped at zero: the interpolant's small negative parts cancel its excess elsewhere.
    mass = np.diff(integral, axis=0)
    beta = grid.box.beta(edges[:, None])[:, 0]
    middle = grid.box.beta((edges[1:, None] + edges[:-1, None]) / 2)
    base = np.zeros((table.shape[1], target.layout["omega"].start))
    base[:, taus] = _combinations([grid.nodes(axis) for axis in axes])
    between, within = target.heterogeneity(base)
    shape = mass.shape
    return (
        np.broadcast_to(middle, shape).ravel(),
        np.broadcast_to(np.diff(beta)[:, None], shape).ravel(),
        np.broadcast_to(between, shape).ravel(),
        np.broadcast_to(np.hypot(between, within), shape).ravel(),
        (mass / mass.sum()).ravel(),
    )
