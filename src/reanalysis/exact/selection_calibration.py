"""Simulation-based calibration of the exact engine at the user's own design.

Parameters are drawn from the prior, a literature is simulated by the mechanism's own simulator
(which knows no normaliser) and fitted. Then the posterior probability below the true value of each
parameter is uniform (Talts et al. 2018, arXiv:1804.06788); so is that of the log-likelihood, which
sees faults that single parameters hide (Modrák et al. 2023, Bayesian Analysis).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

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

__all__ = ["Located", "calibrate_selection", "locate_truth", "simulate_replicate"]

Vector = NDArray[np.float64]

ENDS = np.array([0.025, 0.975])


@dataclass(frozen=True)
class Located:
    """Where the truth lies in a posterior.

    Attributes
    ----------
    below : mapping of str to float
        Posterior probability below the true value of each parameter, and of the log posterior
        density as ``log_likelihood``.
    intervals : mapping of str to tuple of float
        Central 95 % interval of each coefficient.
    """

    below: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]


def simulate_replicate(
    design: Design,
    spec: ModelSpec,
    priors: Mapping[str, Prior],
    rng: np.random.Generator,
    *,
    fixed: Mapping[str, float] | None = None,
) -> tuple[dict[str, float], Design]:
    """Draw parameters from their priors and a literature from the mechanism.

    Parameters
    ----------
    design : Design
        Which effects are measured, with which precision, and the expected direction; its `yi` is
        not used.
    spec : ModelSpec
        Model with a selection mechanism, PET or PEESE.
    priors : mapping of str to Prior
        Priors of all parameters.
    rng : numpy.random.Generator
        Source of randomness.
    fixed : mapping of str to float, optional
        Parameters that are not drawn.

    Returns
    -------
    truth : dict of str to float
        Parameters by name.
    published : Design
        What is published; under ``thin`` some rows are missing.

    Raises
    ------
    ValueError
        If `fixed` names a parameter that the model does not have.
    """
    direction = design.direction
    target = make_target(design, spec, priors, two_sided=spec.two_sided, direction=direction)
    truth = {name: float(priors[name].rvs(1, rng)[0]) for name in design.coefficients}
    if "tau" in priors and "between_share" in priors:
        tau, share = (float(priors[name].rvs(1, rng)[0]) for name in ("tau", "between_share"))
        truth |= {"tau_between": tau * share**0.5, "tau_within": tau * (1 - share) ** 0.5}
    else:
        names = ("tau_between", "tau_within")[: design.levels - 1]
        truth |= {name: float(priors[name].rvs(1, rng)[0]) for name in names}
    if target.bias_prior is not None:
        truth[spec.mechanism] = float(target.bias_prior.rvs(1, rng)[0])
    else:
        drawn = target.weights.rvs(1, rng)[0]
        truth |= {f"omega[{b + 1}]": float(drawn[b]) for b in range(1, len(drawn))}
    unknown = [name for name in fixed or {} if name not in truth]
    if unknown:
        raise ValueError(f"no parameter '{unknown[0]}'; the model has {', '.join(truth)}")
    truth |= {name: float(value) for name, value in (fixed or {}).items()}
    eta = target.X @ np.array([truth[name] for name in design.coefficients])
    if target.predictor is not None:
        eta = eta + truth[spec.mechanism] * target.predictor
    weights = [truth.get(f"omega[{b + 2}]", 1.0) for b in range(target.data.bins.count - 1)]
    mechanism: Mechanism = target.data.mechanism
    published = simulate_selection(
        mechanism,
        eta,
        design.vi,
        design.cluster,
        truth["tau_between"],
        truth.get("tau_within", 0.0),
        np.array([1.0, *weights]),
        rng,
        bins=target.data.bins,
        n_averaged=design.n_averaged,
        primary=design.primary,
    )
    row = published.row
    return truth, replace(
        design,
        yi=direction * published.data.yi,
        vi=design.vi[row],
        X=design.X[row],
        cluster=design.cluster[row],
        row_names=tuple(design.row_names[i] for i in row),
        n_averaged=design.n_averaged[row],
        n_measured=published.data.n_measured,
        primary=published.data.primary,
        ni=None if design.ni is None else design.ni[row],
        rows=design.rows[row],
        moderators={name: values[row] for name, values in design.moderators.items()},
    )


def locate_truth(
    truth: Mapping[str, float],
    published: Design,
    spec: ModelSpec,
    priors: Mapping[str, Prior],
    *,
    seed: int,
) -> Located:
    """Fit a simulated literature and say where the truth lies in its posterior.

    Parameters
    ----------
    truth : mapping of str to float
        Parameters by name.
    published : Design
        The literature.
    spec, priors
        The model that is fitted, and its priors.
    seed : int
        Seed of the importance sampler.

    Returns
    -------
    Located
        Probabilities below the truth, and intervals.

    Raises
    ------
    EngineError
        If the engine cannot fit the model.
    """
    target = make_target(
        published, spec, priors, two_sided=spec.two_sided, direction=published.direction
    )
    integral = integrate_target(target, seed=seed)
    bias_name = spec.mechanism if target.predictor is not None else ""
    margins = parameter_margins(integral.fine, published.coefficients, bias_name)
    below = {
        name: float(margins[name].cdf_pdf(np.array([value]))[0][0])
        for name, value in truth.items()
        if name in margins
    }
    at_truth = target.log_density(_coordinates(target, truth, published, bias_name))
    sample = integral.sample
    below["log_likelihood"] = float(sample.weights @ (sample.log_density < at_truth[0]))
    intervals = {}
    for name in published.coefficients:
        lower, upper = margins[name].quantiles(ENDS)
        intervals[name] = float(lower), float(upper)
    return Located(below, intervals)


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
            rows.append(dict(locate_truth(truth, published, spec, priors, seed=seed).below))
        except EngineError:
            rows.append(dict.fromkeys((*truth, "log_likelihood"), np.nan))
    return pd.DataFrame(rows)


def _coordinates(
    target: Target, truth: Mapping[str, float], design: Design, bias_name: str
) -> Vector:
    """Return the point (1, d) of true values."""
    between, within = truth["tau_between"], truth.get("tau_within", 0.0)
    point = [truth[name] for name in design.coefficients]
    point.append(float(np.arcsinh(np.hypot(between, within) / target.problem.scale)))
    if target.problem.heterogeneity == "both":
        point.append(float(np.arctan2(within, between)))
    if bias_name:
        return np.r_[point, np.arcsinh(truth[bias_name] / target.bias_scale)][None]
    omega = [1.0] + [truth[f"omega[{b + 2}]"] for b in range(target.weights.dimension)]
    ratios = np.array(omega[1:]) / (np.array(omega[:-1]) if target.weights.ordered else 1.0)
    return np.r_[point, np.sqrt(ratios)][None]
