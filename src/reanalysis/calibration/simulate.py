"""Data sets from a model, at the user's own design.

The normal model gives many at once; a selection mechanism, PET and PEESE give one at a time, by the
simulators of `reanalysis.selection`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reanalysis.design import LOG_TAU_RATIO, Design, resolve_priors
from reanalysis.exact.selection_calibration import simulate_replicate
from reanalysis.moderators import COMMON_SCALE, shrunk_columns
from reanalysis.priors import Prior
from reanalysis.results import EngineError
from reanalysis.spec import ModelSpec

__all__ = ["Simulation", "simulate", "simulate_each", "simulate_given"]

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Simulation:
    """Simulated data sets with the parameters they came from.

    Attributes
    ----------
    truth : pandas.DataFrame of shape (r, parameters)
        Coefficients, ``tau_between``, with three levels ``tau_within``, and where they have a
        prior ``nu`` of Student-t effects, ``log_tau_ratio`` of a heterogeneity that a moderator
        changes, ``beta_scale`` of coefficients with a common scale, ``sampling_correlation``.
    Y : numpy.ndarray of shape (r, k)
        Estimates on the analysis scale, one data set per row.
    """

    truth: pd.DataFrame
    Y: Vector


def simulate(
    design: Design,
    spec: ModelSpec,
    replicates: int,
    rng: np.random.Generator,
    *,
    fixed: Mapping[str, float] | None = None,
) -> Simulation:
    """Draw parameters from the priors and data from the model.

    Parameters
    ----------
    design : Design
        Which effects there are, with which precision; its `yi` is not used.
    spec : ModelSpec
        The model; ``mechanism`` must be ``none``.
    replicates : int
        Number of data sets.
    rng : numpy.random.Generator
        Source of randomness.
    fixed : mapping of str to float, optional
        Parameters that are not drawn: coefficients, ``tau_between``, ``tau_within``,
        ``sampling_correlation``.

    Returns
    -------
    Simulation
        True effects ``X b + u + w`` with sampling errors, one data set per row.

    Raises
    ------
    EngineError
        If the model has a selection mechanism.
    ValueError
        If `fixed` names a parameter that the model does not have.
    """
    if spec.mechanism != "none":
        raise EngineError(f"the normal simulator has no mechanism '{spec.mechanism}'")
    truth = _draw_parameters(design, spec, replicates, rng)
    unknown = [name for name in fixed or {} if name not in truth]
    if unknown:
        raise ValueError(f"no parameter '{unknown[0]}'; the model has {', '.join(truth)}")
    for name, value in (fixed or {}).items():
        truth[name] = np.full(replicates, float(value))
    return Simulation(pd.DataFrame(truth), simulate_given(design, spec, truth, rng))


def simulate_given(
    design: Design, spec: ModelSpec, truth: Mapping[str, Vector], rng: np.random.Generator
) -> Vector:
    """Draw data sets from the normal model with given parameters.

    Parameters
    ----------
    design : Design
        Which effects there are, with which precision.
    spec : ModelSpec
        The model; ``mechanism`` must be ``none``.
    truth : mapping of str to numpy.ndarray of shape (r,)
        Coefficients, ``tau_between``, with three levels ``tau_within``, and ``nu``,
        ``log_tau_ratio`` and ``sampling_correlation`` where they have a prior.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    numpy.ndarray of shape (r, k)
        Estimates on the analysis scale, one data set per row.
    """
    replicates = len(truth["tau_between"])
    beta = np.column_stack([truth[name] for name in design.coefficients])
    Y = beta @ design.X.T
    shape = (replicates, design.m)
    nu = truth.get("nu")
    u = rng.standard_normal(shape) if nu is None else rng.standard_t(nu[:, None], shape)
    heterogeneity = truth["tau_between"][:, None] * u[:, design.cluster]
    if "tau_within" in truth:
        own = rng.standard_normal(Y.shape) / np.sqrt(design.n_averaged)
        heterogeneity += truth["tau_within"][:, None] * own
    if design.scale is not None:
        heterogeneity *= np.exp(truth[LOG_TAU_RATIO][:, None] * design.scale)
    Y += heterogeneity
    rho = truth.get("sampling_correlation")
    if rho is None:
        assert not isinstance(spec.sampling_correlation, Prior)
        rho = np.full(replicates, float(spec.sampling_correlation))
    Y += _sampling_errors(design, rho[:, None], rng)
    return Y


def simulate_each(
    design: Design,
    spec: ModelSpec,
    replicates: int,
    rng: np.random.Generator,
    *,
    fixed: Mapping[str, float] | None = None,
) -> Iterator[tuple[dict[str, float], Design]]:
    """Yield data sets of any model with the parameters they came from.

    Parameters
    ----------
    design, spec, replicates, rng, fixed
        As for `simulate`; any mechanism.

    Yields
    ------
    truth : dict of str to float
        Parameters by name.
    published : Design
        The data set; under ``thin`` without the effects that were not reported.

    Raises
    ------
    EngineError, ValueError
        As `simulate`.
    """
    if spec.mechanism == "none":
        simulated = simulate(design, spec, replicates, rng, fixed=fixed)
        for truth, yi in zip(simulated.truth.to_dict(orient="records"), simulated.Y, strict=True):
            named = {str(name): float(value) for name, value in truth.items()}
            yield named, replace(design, yi=yi.copy())
        return
    priors = resolve_priors(design, spec)
    for _ in range(replicates):
        yield simulate_replicate(design, spec, priors, rng, fixed=fixed)


def _draw_parameters(
    design: Design, spec: ModelSpec, replicates: int, rng: np.random.Generator
) -> dict[str, Vector]:
    priors = resolve_priors(design, spec)
    truth = {name: priors[name].rvs(replicates, rng) for name in design.coefficients}
    if COMMON_SCALE in priors:
        scale = priors[COMMON_SCALE].rvs(replicates, rng)
        for i in shrunk_columns(design.coefficients, priors):
            truth[design.coefficients[i]] *= scale
        truth[COMMON_SCALE] = scale
    if "between_share" in priors:
        tau, share = (priors[name].rvs(replicates, rng) for name in ("tau", "between_share"))
        truth["tau_between"] = tau * np.sqrt(share)
        truth["tau_within"] = tau * np.sqrt(1 - share)
    else:
        names = ("tau_between", "tau_within")[: design.levels - 1]
        truth |= {name: priors[name].rvs(replicates, rng) for name in names}
    further = ("nu", LOG_TAU_RATIO, "sampling_correlation")
    return truth | {name: priors[name].rvs(replicates, rng) for name in further if name in priors}


def _sampling_errors(design: Design, rho: Vector, rng: np.random.Generator) -> Vector:
    """Return errors with correlation `rho` (r, 1) within samples, or with the given covariance."""
    r = len(rho)
    own = rng.standard_normal((r, design.k))
    if design.V is not None:
        return own @ np.linalg.cholesky(design.V).T
    shared = rng.standard_normal((r, design.m))[:, design.cluster]
    return np.sqrt(design.vi) * (np.sqrt(rho) * shared + np.sqrt(1 - rho) * own)
