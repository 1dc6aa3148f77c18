"""Simulation-based calibration of the exact engine at the user's own design.

Parameters are drawn from the prior, a literature is simulated by the mechanism's own simulator
(which knows no normaliser) and fitted. Then the posterior probability below the true value of each
parameter is uniform (Talts et al. 2018, arXiv:1804.06788); so is that of the log-likelihood, which
sees faults that single parameters hide (Modrák et al. 2023, Bayesian Analysis).
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reanalysis.design import Design
from reanalysis.exact.selection import make_target
from reanalysis.exact.selection_fit import integrate_target
from reanalysis.exact.selection_summaries import parameter_margins
from reanalysis.exact.selection_target import Target
from reanalysis.priors import Prior
from reanalysis.results import EngineError
from reanalysis.selection import Mechanism, simulate_selection
from reanalysis.spec import ModelSpec

__all__ = ["calibrate_selection", "simulate_replicate"]

Vector = NDArray[np.float64]


def simulate_replicate(
    design: Design, spec: ModelSpec, priors: Mapping[str, Prior], rng: np.random.Generator
) -> tuple[dict[str, float], Design]:
    """Draw parameters from their priors and a literature from the mechanism.

    Parameters
    ----------
    design : Design
        Which effects are measured, with which precision; its `yi` is not used.
    spec : ModelSpec
        Model with a selection mechanism.
    priors : mapping of str to Prior
        Priors of all parameters.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    truth : dict of str to float
        Parameters by name.
    published : Design
        What is published; under ``thin`` some rows are missing.
    """
    target = make_target(design, spec, priors)
    truth = {name: float(priors[name].rvs(1, rng)[0]) for name in design.coefficients}
    if "tau" in priors and "between_share" in priors:
        tau, share = (float(priors[name].rvs(1, rng)[0]) for name in ("tau", "between_share"))
        truth |= {"tau_between": tau * share**0.5, "tau_within": tau * (1 - share) ** 0.5}
    else:
        names = ("tau_between", "tau_within")[: design.levels - 1]
        truth |= {name: float(priors[name].rvs(1, rng)[0]) for name in names}
    omega = target.weights.rvs(1, rng)[0]
    truth |= {f"omega[{b + 1}]": float(omega[b]) for b in range(1, len(omega))}
    mechanism: Mechanism = target.data.mechanism
    published = simulate_selection(
        mechanism,
        design.X @ np.array([truth[name] for name in design.coefficients]),
        design.vi,
        design.cluster,
        truth["tau_between"],
        truth.get("tau_within", 0.0),
        omega,
        rng,
        bins=target.data.bins,
        n_averaged=design.n_averaged,
    )
    row = published.row
    return truth, replace(
        design,
        yi=published.data.yi,
        vi=design.vi[row],
        X=design.X[row],
        cluster=design.cluster[row],
        row_names=tuple(design.row_names[i] for i in row),
        n_averaged=design.n_averaged[row],
        n_measured=published.data.n_measured,
        ni=None if design.ni is None else design.ni[row],
        rows=design.rows[row],
    )


def calibrate_selection(
    design: Design,
    spec: ModelSpec,
    priors: Mapping[str, Prior],
    *,
    replicates: int,
    seed: int = 2021,
) -> pd.DataFrame:
    """Simulate, fit and locate the truth in its posterior, many times.

    Parameters
    ----------
    design, spec, priors
        As for `simulate_replicate`.
    replicates : int
        How many literatures.
    seed : int
        Seed of the first; replicate r uses ``seed + r``.

    Returns
    -------
    pandas.DataFrame
        One row per replicate and one column per parameter: posterior probability below the truth.
        The last column, ``log_likelihood``, is for the log posterior density, from the importance
        sample. A replicate whose fit failed holds NaN in every column.
    """
    rows = []
    for replicate in range(replicates):
        rng = np.random.default_rng(seed + replicate)
        truth, published = simulate_replicate(design, spec, priors, rng)
        try:
            integral = integrate_target(make_target(published, spec, priors), seed=seed)
        except EngineError:
            rows.append(dict.fromkeys((*truth, "log_likelihood"), np.nan))
            continue
        margins = parameter_margins(integral.fine, design.coefficients)
        row = {
            name: float(margins[name].cdf_pdf(np.array([value]))[0][0])
            for name, value in truth.items()
        }
        at_truth = integral.target.log_density(_coordinates(integral.target, truth, design))
        sample = integral.sample
        row["log_likelihood"] = float(sample.weights @ (sample.log_density < at_truth[0]))
        rows.append(row)
    return pd.DataFrame(rows)


def _coordinates(target: Target, truth: Mapping[str, float], design: Design) -> Vector:
    """Return the point (1, d) of true values."""
    between, within = truth["tau_between"], truth.get("tau_within", 0.0)
    point = [truth[name] for name in design.coefficients]
    point.append(float(np.arcsinh(np.hypot(between, within) / target.problem.scale)))
    if target.problem.heterogeneity == "both":
        point.append(float(np.arctan2(within, between)))
    omega = [1.0] + [truth[f"omega[{b + 2}]"] for b in range(target.weights.dimension)]
    ratios = np.array(omega[1:]) / (np.array(omega[:-1]) if target.weights.ordered else 1.0)
    return np.r_[point, np.sqrt(ratios)][None]
