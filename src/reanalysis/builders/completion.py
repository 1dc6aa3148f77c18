"""What follows from sampled parameters, in NumPy: random effects, predictions, log densities."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from reanalysis.builders import coefficient_labels, find_likelihood, free_parameters
from reanalysis.builders.bias_parameters import RATIO, full_weights, weight_draws
from reanalysis.builders.conditionals import student_mean_r
from reanalysis.builders.selection_conditionals import check_nodes
from reanalysis.builders.selection_rows import SelectionRows
from reanalysis.design import LOG_TAU_RATIO, Design
from reanalysis.effect_sizes import mean_r
from reanalysis.moderators import COMMON_SCALE, shrunk_columns
from reanalysis.priors import Prior
from reanalysis.spec import ModelSpec

__all__ = ["complete_draws", "sample_logliks"]

Vector = NDArray[np.float64]

WEIGHTS = ("omega", RATIO)  # reported one by one, as omega[2], omega[3], ...


def complete_draws(
    design: Design,
    spec: ModelSpec,
    priors: Mapping[str, Prior],
    sampled: Mapping[str, Vector],
    statistics: Mapping[str, NDArray[np.generic]],
    rng: np.random.Generator,
) -> xr.DataTree:
    """Add what follows from the parameters: random effects, predictions, log densities.

    Parameters
    ----------
    design : Design
        The arrays of one model.
    spec : ModelSpec
        Mechanism and sampling correlation.
    priors : mapping of str to Prior
        As for `reanalysis.builders.build_model`.
    sampled : mapping of str to numpy.ndarray
        ``mu`` of shape (chains, draws) or ``beta`` of shape (chains, draws, p), and the variance
        parameters with the total ``tau``.
    statistics : mapping of str to numpy.ndarray
        The sampler's statistics, of shape (chains, draws).
    rng : numpy.random.Generator
        Source of randomness for random effects and predictions.

    Returns
    -------
    xarray.DataTree
        Groups ``posterior`` (also ``u`` by ``cluster`` and ``theta`` by ``effect``, and without
        moderators the predictions ``new_sample``, ``new_effect`` and, for correlations, ``mean_r``
        on the r scale; ``tau[LEVEL]`` where a moderator changes the heterogeneity),
        ``sample_stats``, ``log_prior`` and ``log_likelihood`` (``yi`` by ``cluster``: all effects
        of a sample at once, random effects integrated out).
    """
    likelihood = find_likelihood(spec)
    rows = likelihood.rows(design, spec)
    free = free_parameters(design, spec, priors)
    shape = sampled["tau_between"].shape
    flat = _flat(sampled, spec)
    if isinstance(rows, SelectionRows):
        check_nodes(rows, flat)
    u, w = likelihood.draw_effects(rows, flat, rng)
    robust = "nu" in sampled

    posterior = {name: values for name, values in sampled.items() if name not in WEIGHTS}
    between = sampled["tau_between"]
    total = sampled["tau"]
    if design.scale is not None:
        for level, at in design.scale_levels:
            posterior[f"tau[{level}]"] = total * np.exp(sampled[LOG_TAU_RATIO] * at)
    elif "mu" in sampled:
        deviation = rng.standard_t(sampled["nu"]) if robust else rng.standard_normal(shape)
        new_sample = sampled["mu"] + between * deviation
        within = np.sqrt(np.maximum(total**2 - between**2, 0.0))
        posterior["new_sample"] = new_sample
        posterior["new_effect"] = new_sample + within * rng.standard_normal(shape)
        if design.measure == "ZCOR":
            posterior["mean_r"] = (
                student_mean_r(sampled["mu"], between, within, sampled["nu"])
                if robust
                else mean_r(sampled["mu"], total)
            )
    posterior["u"] = u.reshape(*shape, -1)
    theta = flat["beta"] @ design.X.T + u[:, design.cluster] + w
    posterior["theta"] = theta.reshape(*shape, -1)

    log_prior = {
        name: members[0].logpdf(sampled[name])
        for name, members in free.items()
        if name in sampled and name not in ("beta", *WEIGHTS)
    }
    for name in set(WEIGHTS) & set(free):
        draws, density = weight_draws(sampled["omega"], free[name], ratios=name == RATIO)
        posterior |= draws
        log_prior |= density
    if "beta" in sampled:
        log_prior["beta"] = _coefficient_log_prior(design, priors, sampled)
    loglik = likelihood.sample_loglik(rows, flat).reshape(*shape, -1)
    return _tree(
        design,
        {
            "posterior": posterior,
            "sample_stats": statistics,
            "log_prior": log_prior,
            "log_likelihood": {"yi": loglik},
        },
    )


def sample_logliks(design: Design, spec: ModelSpec, sampled: Mapping[str, Vector]) -> Vector:
    """Return each sample's log-likelihood for each draw, random effects integrated out.

    Parameters
    ----------
    design : Design
        The arrays of one model.
    spec : ModelSpec
        Mechanism and sampling correlation.
    sampled : mapping of str to numpy.ndarray
        Parameters by name, as for `complete_draws`.

    Returns
    -------
    numpy.ndarray of shape (chains, draws, m)
        Natural logs, with all constants.
    """
    likelihood = find_likelihood(spec)
    rows = likelihood.rows(design, spec)
    shape = sampled["tau_between"].shape
    return likelihood.sample_loglik(rows, _flat(sampled, spec)).reshape(*shape, -1)


def _flat(sampled: Mapping[str, Vector], spec: ModelSpec) -> dict[str, Vector]:
    """Return parameters with chains and draws in one axis, and all coefficients and weights."""
    flat = {name: values.reshape(-1, *values.shape[2:]) for name, values in sampled.items()}
    if "mu" in flat:
        flat["beta"] = flat["mu"][:, None]
    if "omega" in flat:
        flat["omega"] = full_weights(flat["omega"])
    elif spec.omega:
        flat["omega"] = np.tile(spec.omega, (len(flat["beta"]), 1))
    return flat


def _coefficient_log_prior(
    design: Design, priors: Mapping[str, Prior], sampled: Mapping[str, Vector]
) -> Vector:
    """Return the log prior density of each coefficient, given their common scale."""
    shrunk = shrunk_columns(design.coefficients, priors)
    columns = []
    for i, name in enumerate(design.coefficients):
        values = sampled["beta"][..., i]
        if i in shrunk:
            scale = sampled[COMMON_SCALE]
            columns.append(priors[name].logpdf(values / scale) - np.log(scale))
        else:
            columns.append(priors[name].logpdf(values))
    return np.stack(columns, axis=-1)


def _tree(design: Design, groups: Mapping[str, Mapping[str, NDArray[np.generic]]]) -> xr.DataTree:
    dims = {
        "beta": "coefficient",
        "u": "cluster",
        "lambda": "cluster",
        "theta": "effect",
        "yi": "cluster",
    }
    labels = {
        "coefficient": coefficient_labels(design),
        "cluster": list(design.cluster_names),
        "effect": list(design.row_names),
    }
    datasets = {}
    for group, arrays in groups.items():
        used = {dims[name] for name in arrays if name in dims}
        chains, draws = next(iter(arrays.values())).shape[:2]
        datasets[group] = xr.Dataset(
            {
                name: (("chain", "draw", dims[name]) if name in dims else ("chain", "draw"), array)
                for name, array in arrays.items()
            },
            coords={
                "chain": np.arange(chains),
                "draw": np.arange(draws),
                **{dim: labels[dim] for dim in sorted(used)},
            },
        )
    return xr.DataTree.from_dict(datasets)
