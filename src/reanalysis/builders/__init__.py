"""PyMC models: the tables of likelihoods and prior families, and `build_model`.

A selection mechanism is one entry of `LIKELIHOODS`, a prior family one entry of `PYMC_PRIORS`.
Builders never use `reanalysis.marginal` or `reanalysis.exact`: NUTS and the exact engine share no
likelihood code, so that their agreement is evidence.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray
from pytensor.tensor import TensorVariable

from reanalysis.builders.bias_parameters import RATIO, all_weights, bias_parameters
from reanalysis.builders.blocks import make_blocks
from reanalysis.builders.conditionals import draw_effects, sample_loglik
from reanalysis.builders.hierarchical import hierarchical_data, hierarchical_loglik, precisions
from reanalysis.builders.selection import bias_loglik, selection_data, selection_loglik
from reanalysis.builders.selection_conditionals import (
    bias_sample_loglik,
    draw_bias_effects,
    draw_selection_effects,
    make_enough_rows,
    selection_sample_loglik,
)
from reanalysis.builders.selection_rows import make_bias_blocks
from reanalysis.design import LOG_TAU_RATIO, Design
from reanalysis.moderators import COMMON_SCALE, shrunk_columns
from reanalysis.priors import Prior
from reanalysis.results import EngineError
from reanalysis.spec import ModelSpec

__all__ = [
    "LIKELIHOODS",
    "PYMC_PRIORS",
    "Likelihood",
    "build_model",
    "coefficient_labels",
    "find_likelihood",
    "free_parameters",
    "model_data",
    "model_structure",
]

Data = dict[str, NDArray[np.generic]]
Tensors = Mapping[str, TensorVariable]

# PyMC's distribution for each family, with its name for each parameter.
PYMC_PRIORS: Mapping[str, tuple[type[pm.Distribution], Mapping[str, str]]] = MappingProxyType(
    {
        "normal": (pm.Normal, {"mu": "mu", "sigma": "sigma"}),
        "half_normal": (pm.HalfNormal, {"sigma": "sigma"}),
        "student_t": (pm.StudentT, {"nu": "nu", "mu": "mu", "sigma": "sigma"}),
        "half_student_t": (pm.HalfStudentT, {"nu": "nu", "sigma": "sigma"}),
        "cauchy": (pm.Cauchy, {"mu": "alpha", "sigma": "beta"}),
        "half_cauchy": (pm.HalfCauchy, {"sigma": "beta"}),
        "exponential": (pm.Exponential, {"rate": "lam"}),
        "lognormal": (pm.LogNormal, {"mu": "mu", "sigma": "sigma"}),
        "gamma": (pm.Gamma, {"alpha": "alpha", "beta": "beta"}),
        "inverse_gamma": (pm.InverseGamma, {"alpha": "alpha", "beta": "beta"}),
        "beta": (pm.Beta, {"alpha": "alpha", "beta": "beta"}),
        "uniform": (pm.Uniform, {"lower": "lower", "upper": "upper"}),
    }
)


@dataclass(frozen=True)
class Likelihood:
    """One mechanism: its log-likelihood for the sampler, and what can be drawn afterwards.

    Attributes
    ----------
    rows : callable
        Design and spec to the rows that the other functions take.
    data : callable
        Rows to the arrays that enter the model as data.
    loglik : callable
        Data and parameters to the total log-likelihood, in PyTensor.
    sample_loglik : callable
        Rows and draws to each sample's log-likelihood, in NumPy; the total is `loglik`.
    draw_effects : callable
        Rows, draws and a random generator to draws of the random effects ``(u, w)``.
    """

    rows: Callable[[Design, ModelSpec], Any]
    data: Callable[[Any], Data]
    loglik: Callable[[Tensors, Tensors], TensorVariable]
    sample_loglik: Callable[[Any, Mapping[str, NDArray[np.float64]]], NDArray[np.float64]]
    draw_effects: Callable[
        [Any, Mapping[str, NDArray[np.float64]], np.random.Generator],
        tuple[NDArray[np.float64], NDArray[np.float64]],
    ]


NORMAL = Likelihood(
    make_blocks, hierarchical_data, hierarchical_loglik, sample_loglik, draw_effects
)
BIAS = Likelihood(
    make_bias_blocks, hierarchical_data, bias_loglik, bias_sample_loglik, draw_bias_effects
)


def _selection(mechanism: str) -> Likelihood:
    return Likelihood(
        make_enough_rows,
        selection_data,
        partial(selection_loglik, mechanism),
        selection_sample_loglik,
        draw_selection_effects,
    )


LIKELIHOODS: Mapping[str, Likelihood] = MappingProxyType(
    {
        "none": NORMAL,
        "pet": BIAS,
        "peese": BIAS,
        **{name: _selection(name) for name in ("joint", "replace", "study", "thin")},
    }
)

FURTHER = ("sampling_correlation", COMMON_SCALE, LOG_TAU_RATIO)

SUPPORTS = {  # where a prior must live for the model to be defined
    "tau_between": (0.0, np.inf),
    "tau_within": (0.0, np.inf),
    "tau": (0.0, np.inf),
    "between_share": (0.0, 1.0),
    "sampling_correlation": (0.0, 1.0),
    COMMON_SCALE: (0.0, np.inf),
    "omega": (0.0, 1.0),
    "pet": (0.0, np.inf),
    "peese": (0.0, np.inf),
    "nu": (0.0, np.inf),
}

# Standardised log precision of each sample's deviation, for Student-t effects.
LOG_PRECISION = "log_precision"
STANDARD_NORMAL = Prior("normal", {"mu": 0.0, "sigma": 1.0})


def build_model(design: Design, spec: ModelSpec, priors: Mapping[str, Prior]) -> pm.Model:
    """Return the PyMC model of a design, random effects integrated out.

    Parameters
    ----------
    design : Design
        The arrays of one model.
    spec : ModelSpec
        Mechanism and sampling correlation.
    priors : mapping of str to Prior
        A prior for each coefficient by name; ``tau_between``, and with three levels
        ``tau_within``, or ``tau`` and ``between_share``; ``sampling_correlation`` where it has
        a prior; ``beta_scale`` where the moderators' coefficients share one; ``log_tau_ratio``
        where a moderator changes the heterogeneity; ``omega``, ``pet`` or ``peese`` instead of
        their defaults.

    Returns
    -------
    pymc.Model
        Parameters ``mu``, or ``beta`` with dimension ``coefficient``; ``tau_between``,
        ``tau_within`` and ``tau`` (total); ``omega`` (the weights after the first), ``pet`` or
        ``peese``; ``nu`` and, by ``cluster``, ``lambda`` for Student-t effects. Data and prior
        parameters are `pymc.Data`.

    Raises
    ------
    EngineError
        If the data do not fit the mechanism, or a prior does not fit its parameter.
    """
    likelihood = find_likelihood(spec)
    free = free_parameters(design, spec, priors)
    coordinates = {"coefficient": coefficient_labels(design)}
    with pm.Model(coords=coordinates) as model:
        data = {k: pm.Data(k, v) for k, v in model_data(design, spec, priors).items()}
        variables = {name: _variable(name, members, data) for name, members in free.items()}
        parameters = {k: v for k, v in variables.items() if not _is_coefficient(k)}
        parameters["beta"] = _coefficients(design, priors, variables)
        if "between_share" in parameters:
            tau, share = parameters.pop("tau"), parameters.pop("between_share")
            parameters["tau_between"] = pm.Deterministic("tau_between", tau * pt.sqrt(share))
            parameters["tau_within"] = pm.Deterministic("tau_within", tau * pt.sqrt(1 - share))
        else:
            taus = [parameters[t] ** 2 for t in ("tau_between", "tau_within") if t in parameters]
            pm.Deterministic("tau", pt.sqrt(sum(taus)))
        if spec.omega:
            parameters["omega"] = pt.specify_shape(data["omega"], (len(spec.omega),))
        elif "omega" in parameters or RATIO in parameters:
            parameters["omega"] = all_weights(parameters)
        if "nu" in parameters:
            parameters["lambda"], density = precisions(
                parameters["nu"], parameters.pop(LOG_PRECISION)
            )
            pm.Deterministic("lambda", parameters["lambda"])
            pm.Potential("log_density_of_lambda", density)
        pm.Potential("log_likelihood", likelihood.loglik(data, parameters))
    return model


def find_likelihood(spec: ModelSpec) -> Likelihood:
    """Return the likelihood of a model's mechanism.

    Parameters
    ----------
    spec : ModelSpec
        The model.

    Returns
    -------
    Likelihood
        Its entry in `LIKELIHOODS`.
    """
    return LIKELIHOODS[spec.mechanism]


def free_parameters(
    design: Design, spec: ModelSpec, priors: Mapping[str, Prior]
) -> dict[str, tuple[Prior, ...]]:
    """Return the variables that are sampled, in order, with the prior of each element.

    Parameters
    ----------
    design : Design
        Tells the coefficients and the levels.
    spec : ModelSpec
        Mechanism and steps.
    priors : mapping of str to Prior
        As for `build_model`.

    Returns
    -------
    dict of str to tuple of Prior
        ``mu``, or ``beta``, or, where the coefficients' priors are of several families or have a
        common scale, one vector ``beta_<family>`` for each (in units of the scale); then the
        variance parameters and the common scale, and what the mechanism adds.

    Raises
    ------
    EngineError
        If a prior is missing or reaches outside its parameter's range.
    """
    names = ["tau_between"]
    if design.levels == 3:
        names = ["tau", "between_share"] if "between_share" in priors else [*names, "tau_within"]
    names += [name for name in (*FURTHER, "nu") if name in priors]
    for name in (*design.coefficients, *names):
        if name not in priors:
            raise EngineError(f"the model has no prior for '{name}'.")
        _check_support(name, priors[name])
    added = bias_parameters(spec, priors)
    for name, of_elements in added.items():
        _check_support(name, of_elements[0])
    groups = _families(design, priors)
    free: dict[str, tuple[Prior, ...]] = {}
    if design.coefficients == ("mu",):
        free["mu"] = (priors["mu"],)
    else:
        for family, members in groups.items():
            whole = len(groups) == 1 and COMMON_SCALE not in priors
            name = "beta" if whole else f"beta_{family}"
            free[name] = tuple(priors[design.coefficients[i]] for i in members)
    for name in names:
        free[name] = (priors[name],)
    if "nu" in free:
        free[LOG_PRECISION] = (STANDARD_NORMAL,) * design.m
    return free | added


def model_data(design: Design, spec: ModelSpec, priors: Mapping[str, Prior]) -> Data:
    """Return everything that enters the model as data: rows and prior parameters.

    Two models of one `model_structure` differ in these arrays only.

    Parameters
    ----------
    design : Design
        The arrays of one model.
    spec : ModelSpec
        Mechanism and sampling correlation.
    priors : mapping of str to Prior
        As for `build_model`.

    Returns
    -------
    dict of str to numpy.ndarray
        Row arrays, and ``<variable>_<prior parameter>``, e.g. ``tau_between_sigma``.
    """
    likelihood = find_likelihood(spec)
    data = likelihood.data(likelihood.rows(design, spec))
    if spec.omega:
        data["omega"] = np.array(spec.omega)
    for name, members in free_parameters(design, spec, priors).items():
        for parameter in PYMC_PRIORS[members[0].family][1]:
            values = np.array([prior.parameters[parameter] for prior in members])
            data[f"{name}_{parameter}"] = values if _is_vector(name) else values[0]
    return data


def model_structure(
    design: Design, spec: ModelSpec, priors: Mapping[str, Prior]
) -> tuple[str, ...]:
    """Return what decides the compiled code of a model, as a key for a cache.

    Parameters
    ----------
    design : Design
        The arrays of one model.
    spec : ModelSpec
        Mechanism and sampling correlation.
    priors : mapping of str to Prior
        As for `build_model`.

    Returns
    -------
    tuple of str
        Equal for two models that differ in data and prior parameters only.
    """
    free = free_parameters(design, spec, priors).items()
    coefficients = [priors[name].family for name in design.coefficients]
    coefficients += [f"shrunk:{i}" for i in shrunk_columns(design.coefficients, priors)]
    sides = "two-sided" if spec.two_sided else "one-sided"
    return (
        spec.mechanism,
        sides,
        f"{len(spec.omega)} fixed weights",
        *coefficients,
        *(f"{name}:{p[0].family}:{len(p)}" for name, p in free),
    )


def coefficient_labels(design: Design) -> list[str]:
    """Return the labels of the ``coefficient`` dimension: ``beta[late]`` is labelled ``late``."""
    return [name.removeprefix("beta[").removesuffix("]") for name in design.coefficients]


def _families(design: Design, priors: Mapping[str, Prior]) -> dict[str, list[int]]:
    """Group the coefficients by prior family: each group becomes one vector variable."""
    families: dict[str, list[int]] = {}
    for i, name in enumerate(design.coefficients):
        families.setdefault(priors[name].family, []).append(i)
    return families


def _check_support(name: str, prior: Prior) -> None:
    lower, upper = SUPPORTS.get(name, (-np.inf, np.inf))
    if prior.support[0] < lower or prior.support[1] > upper:
        raise EngineError(f"the prior {prior} of '{name}' reaches outside [{lower:g}, {upper:g}].")


def _is_coefficient(name: str) -> bool:
    return name in ("mu", "beta") or (name.startswith("beta_") and name != COMMON_SCALE)


def _is_vector(name: str) -> bool:
    return name in ("omega", RATIO, LOG_PRECISION) or (_is_coefficient(name) and name != "mu")


def _variable(name: str, priors: tuple[Prior, ...], data: Tensors) -> TensorVariable:
    distribution, their_names = PYMC_PRIORS[priors[0].family]
    arguments = {theirs: data[f"{name}_{ours}"] for ours, theirs in their_names.items()}
    if name == "beta":  # the shape beside the dimension keeps its length out of the data
        return distribution(name, **arguments, dims="coefficient", shape=(len(priors),))
    return distribution(name, **arguments, shape=(len(priors),) if _is_vector(name) else ())


def _coefficients(
    design: Design, priors: Mapping[str, Prior], variables: Tensors
) -> TensorVariable:
    """Return all coefficients as one vector, in the order of the design matrix."""
    if "mu" in variables:
        return variables["mu"][None]
    if "beta" in variables:
        return variables["beta"]
    families = _families(design, priors)
    parts = pt.concatenate([variables[f"beta_{family}"] for family in families])
    order = np.argsort(np.concatenate(list(families.values())))
    beta = parts[order]
    shrunk = shrunk_columns(design.coefficients, priors)
    if shrunk:  # sampled in units of the common scale: that way its posterior is no funnel
        mask = np.isin(np.arange(design.p), shrunk)
        beta = beta * pt.where(mask, variables[COMMON_SCALE], 1.0)
    return pm.Deterministic("beta", beta, dims="coefficient")
