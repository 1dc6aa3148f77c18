"""Parameters that a selection mechanism, PET or PEESE adds to the hierarchical model.

Weights are sampled as they are where the model gives them a prior; otherwise as the ratios
``omega_{b+1} / omega_b``. With ``eta ~ Dirichlet(1, ..., 1)`` and ``omega_b`` the sum of
``eta_b, ..., eta_J``, the ratio is the share of that sum which is not ``eta_b``: one of
J - b + 1 exchangeable parts is left out, so it is Beta(J - b, 1), independent of the others.
"""

from collections.abc import Mapping

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray
from pytensor.tensor import TensorVariable

from reanalysis.priors import Prior
from reanalysis.selection.bias_priors import BIAS_PRIORS
from reanalysis.spec import ModelSpec

__all__ = ["RATIO", "all_weights", "bias_parameters", "full_weights", "weight_draws"]

Vector = NDArray[np.float64]

RATIO = "omega_ratio"


def bias_parameters(spec: ModelSpec, priors: Mapping[str, Prior]) -> dict[str, tuple[Prior, ...]]:
    """Return the variables that a mechanism adds, with the prior of each element.

    Parameters
    ----------
    spec : ModelSpec
        Mechanism and steps.
    priors : mapping of str to Prior
        ``omega`` for independent weights; ``pet`` or ``peese`` instead of their defaults.

    Returns
    -------
    dict of str to tuple of Prior
        ``pet``, ``peese``, ``omega`` or ``omega_ratio``; empty for the mechanism ``none`` and
        where the weights are held fixed.
    """
    if spec.mechanism == "none" or spec.omega:
        return {}
    if spec.mechanism in BIAS_PRIORS:
        return {spec.mechanism: (priors.get(spec.mechanism, BIAS_PRIORS[spec.mechanism]),)}
    free = len(spec.steps)
    if "omega" in priors:
        return {"omega": (priors["omega"],) * free}
    left = range(free, 0, -1)
    return {RATIO: tuple(Prior("beta", {"alpha": float(n), "beta": 1.0}) for n in left)}


def all_weights(variables: Mapping[str, TensorVariable]) -> TensorVariable:
    """Return the weights of all bins, the first of them 1; adds ``omega`` to the model.

    Parameters
    ----------
    variables : mapping of str to TensorVariable
        With ``omega`` or ``omega_ratio``.

    Returns
    -------
    TensorVariable
        Shape (J,).
    """
    if RATIO not in variables:
        return pt.concatenate([pt.ones(1), variables["omega"]])
    ratios = variables[RATIO]
    omega = [pt.ones(())]
    for b in range(ratios.type.shape[0]):
        omega.append(omega[-1] * ratios[b])
    pm.Deterministic("omega", pt.stack(omega[1:]))
    return pt.stack(omega)


def full_weights(omega: Vector) -> Vector:
    """Return drawn weights (n, J - 1) with the first weight, 1, before them."""
    return np.concatenate([np.ones((len(omega), 1)), omega], axis=1)


def weight_draws(
    omega: Vector, members: tuple[Prior, ...], *, ratios: bool
) -> tuple[dict[str, Vector], dict[str, Vector]]:
    """Return drawn weights under the names they are reported by, and their log prior densities.

    Parameters
    ----------
    omega : numpy.ndarray of shape (chains, draws, J - 1)
        Weights after the first.
    members : tuple of Prior
        Priors of the weights, or of their ratios.
    ratios : bool
        Which of the two.

    Returns
    -------
    draws, log_prior : dict of str to numpy.ndarray of shape (chains, draws)
        ``omega[2]``, ``omega[3]``, ...; each density is given the weight before.
    """
    draws, log_prior = {}, {}
    before = np.ones(omega.shape[:2])
    for b, prior in enumerate(members):
        name, weight = f"omega[{b + 2}]", omega[..., b]
        draws[name] = weight
        if ratios:
            log_prior[name] = prior.logpdf(weight / before) - np.log(before)
            before = weight
        else:
            log_prior[name] = prior.logpdf(weight)
    return draws, log_prior
