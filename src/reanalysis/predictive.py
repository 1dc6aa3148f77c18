"""Predictive checks: what the model expects before the data, and whether it could have made them.

Data sets are drawn from the prior and from the exact posterior at the same design, and compared
with the observed one by statistics that matter to a meta-analyst.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reanalysis.calibration import simulate, simulate_given
from reanalysis.design import Design
from reanalysis.exact.refinement import refined_grids
from reanalysis.results import EngineError
from reanalysis.spec import ModelSpec

__all__ = ["STATISTICS", "Predictive", "check_predictions", "posterior_parameters"]

Vector = NDArray[np.float64]
Statistic = Callable[[Vector, Design], Vector]

DRAWS = 4000
MOST_NUMBERS = 4_000_000  # in one array
BINS = 24
CRITICAL = 1.959963984540054


def _q(Y: Vector, design: Design) -> Vector:
    w = 1 / design.vi
    centre = Y @ w / w.sum()
    return (Y - centre[:, None]) ** 2 @ w


def _significant(Y: Vector, design: Design) -> Vector:
    return (np.abs(Y) > CRITICAL * np.sqrt(design.vi)).sum(axis=1).astype(float)


def _within(Y: Vector, design: Design) -> Vector:
    """Return the root mean square deviation of effects from their sample's mean."""
    counts = np.bincount(design.cluster, minlength=design.m)
    many = counts[design.cluster] > 1
    sums = np.add.reduceat(Y, design.starts, axis=1)
    apart = (Y - (sums / counts)[:, design.cluster])[:, many]
    return np.sqrt((apart**2).sum(axis=1) / (counts[counts > 1] - 1).sum())


STATISTICS: Mapping[str, tuple[str, Statistic]] = MappingProxyType(
    {
        "q": ("Cochran's Q", _q),
        "significant": ("Effects with p < .05", _significant),
        "smallest": ("Smallest effect", lambda Y, design: Y.min(axis=1)),
        "largest": ("Largest effect", lambda Y, design: Y.max(axis=1)),
        "extreme": ("Largest effect of either sign", lambda Y, design: np.abs(Y).max(axis=1)),
        "spread": ("Standard deviation of the effects", lambda Y, design: Y.std(axis=1, ddof=1)),
        "within": ("Spread within samples", _within),
    }
)


@dataclass(frozen=True, eq=False)
class Predictive:
    """What the model expected, before and after the data.

    Attributes
    ----------
    model, measure : str
        The model, and the effect-size measure.
    draws : int
        Simulated data sets, each before and after.
    table : pandas.DataFrame
        One row per statistic: ``statistic`` (a key of `STATISTICS`), ``title``, ``observed``;
        median and central 95 % of the prior (``prior``, ``prior_lower``, ``prior_upper``) and of
        the posterior prediction; ``p``, the posterior probability of a value at least as large as
        the observed (ties count half), with its Monte-Carlo error ``mcse``; on the analysis scale.
    histograms : mapping of str to tuple
        Statistic to edges ``(b + 1,)`` and shares ``(b,)`` of the posterior prediction.
    """

    model: str
    measure: str
    draws: int
    table: pd.DataFrame
    histograms: Mapping[str, tuple[Vector, Vector]]

    def document(self) -> dict[str, Any]:
        """Return everything, for JSON."""
        return {
            "model": self.model,
            "measure": self.measure,
            "draws": self.draws,
            "statistics": self.table.to_dict(orient="records"),
            "histograms": {
                name: {"edges": edges.tolist(), "shares": shares.tolist()}
                for name, (edges, shares) in self.histograms.items()
            },
        }

    def _repr_html_(self) -> str:
        return self.table._repr_html_()  # type: ignore[operator]


def check_predictions(
    design: Design, spec: ModelSpec, *, seed: int, draws: int = DRAWS
) -> Predictive:
    """Compare the data with what the model predicts before and after it has seen them.

    Parameters
    ----------
    design : Design
        The data.
    spec : ModelSpec
        The model; ``mechanism`` must be ``none``.
    seed : int
        Seed of the simulation.
    draws : int
        Number of data sets; fewer for large tables.

    Returns
    -------
    Predictive
        All statistics that the design has.

    Raises
    ------
    EngineError
        If the exact engine or the simulator has no method for the model.

    References
    ----------
    Gelman, A., Meng, X.-L., & Stern, H. (1996). Posterior predictive assessment of model fitness
    via realized discrepancies. Statistica Sinica, 6(4), 733-760.
    """
    if spec.mechanism != "none" or design.scale is not None:
        raise EngineError("predictive checks are made for the plain normal model only")
    draws = min(draws, max(400, MOST_NUMBERS // design.k))
    rng = np.random.default_rng([seed, 8])
    before = simulate(design, spec, draws, rng).Y
    after = simulate_given(design, spec, posterior_parameters(design, spec, draws, rng), rng)
    nested = design.m < design.k
    rows, histograms = [], {}
    for name, (title, statistic) in STATISTICS.items():
        if name == "within" and not nested:
            continue
        observed = float(statistic(design.yi[None, :], design)[0])
        prior, posterior = statistic(before, design), statistic(after, design)
        p = float(np.mean(posterior > observed) + 0.5 * np.mean(posterior == observed))
        row = {"statistic": name, "title": title, "observed": observed}
        for word, values in (("prior", prior), ("posterior", posterior)):
            lower, middle, upper = np.quantile(values, [0.025, 0.5, 0.975])
            row |= {word: middle, f"{word}_lower": lower, f"{word}_upper": upper}
        rows.append(row | {"p": p, "mcse": float(np.sqrt(p * (1 - p) / draws))})
        histograms[name] = _histogram(posterior, whole=name == "significant")
    return Predictive(
        spec.name, design.measure, draws, pd.DataFrame(rows), MappingProxyType(histograms)
    )


def posterior_parameters(
    design: Design, spec: ModelSpec, draws: int, rng: np.random.Generator
) -> dict[str, Vector]:
    """Draw parameters from the exact posterior.

    Parameters
    ----------
    design : Design
        The data.
    spec : ModelSpec
        The model.
    draws : int
        Number of draws.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    dict of str to numpy.ndarray of shape (draws,)
        Coefficients, ``tau_between``, with three levels ``tau_within``, and
        ``sampling_correlation`` where that has a prior. The variance parameters are those of the
        quadrature's nodes, the coefficients are drawn given them.

    Raises
    ------
    EngineError
        As for the exact engine.
    """
    grid = refined_grids(design, spec)[1]
    node = rng.choice(len(grid.weight), size=draws, p=grid.weight)
    root = np.linalg.cholesky(grid.cov)[node]
    noise = rng.standard_normal((draws, design.p))
    beta = grid.mean[node] + np.einsum("dij,dj->di", root, noise)
    found = {name: beta[:, i] for i, name in enumerate(design.coefficients)}
    found["tau_between"] = grid.tau_between[node]
    if design.levels == 3:
        found["tau_within"] = grid.tau_within[node]
    if not isinstance(spec.sampling_correlation, float):
        found["sampling_correlation"] = grid.rho[node]
    return found


def _histogram(values: Vector, *, whole: bool) -> tuple[Vector, Vector]:
    low, high = np.quantile(values, [0.001, 0.999])
    if whole:
        edges = np.arange(np.floor(low) - 0.5, np.ceil(high) + 1.0)
    else:
        edges = np.linspace(low, high, BINS + 1)
    counts, edges = np.histogram(values, edges)
    return edges, counts / len(values)
