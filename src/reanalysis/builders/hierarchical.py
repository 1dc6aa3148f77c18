"""The hierarchical normal model in PyTensor, with the random effects integrated out.

Writes ``d`` for a row's independent variance, ``e`` for its residual, ``h`` for its loading on
the sample's deviation u ~ N(0, tau_between²) and, with an unknown sampling correlation rho,
``s = sqrt(v)`` for its loading on the shared standardised error g ~ N(0, rho). By the matrix
determinant lemma and the Woodbury identity a sample's log-likelihood needs only the sums
``A = Σ h²/d``, ``B = Σ hs/d``, ``C = Σ s²/d``, ``R = Σ he/d``, ``S = Σ se/d``:

    log|Σ| = Σ log d + log D                      D = (1 + t²A)(1 + rho C) - t² rho B²
    e'Σ⁻¹e = Σ e²/d - [t²(1 + rho C)R² - 2 t² rho B R S + rho(1 + t²A)S²] / D

with ``t = tau_between``. Without rho only A and R remain. Student-t deviations are normal given the
precision ``lambda`` of their sample, ``lambda ~ Gamma(nu/2, nu/2)``: then ``t² = tau_between² /
lambda``, and the deviation itself is integrated out as before. A moderator z of the heterogeneity
multiplies both standard deviations of its sample by ``exp(log_tau_ratio z)``.
"""

from collections.abc import Mapping

import numpy as np
import pytensor.tensor as pt
from numpy.typing import NDArray
from pytensor.tensor import TensorVariable

from reanalysis.builders.blocks import Blocks
from reanalysis.design import LOG_TAU_RATIO

__all__ = ["fitted_values", "hierarchical_data", "hierarchical_loglik", "precisions"]

LOG_2PI = float(np.log(2 * np.pi))
WRITTEN_OUT = 8  # coefficients


def hierarchical_data(blocks: Blocks) -> dict[str, NDArray[np.generic]]:
    """Return the arrays that enter the model as data.

    Parameters
    ----------
    blocks : Blocks
        Rows of the design.

    Returns
    -------
    dict of str to numpy.ndarray
        Arrays of shape (k,), (k, p) for ``X`` and (m,) for ``log_jacobian`` and, where a moderator
        changes the heterogeneity, ``scale``.
    """
    scale = {} if blocks.scale is None else {"scale": blocks.scale}
    return {
        "yi": blocks.yi,
        "vi": blocks.vi,
        "X": blocks.X,
        "loading": blocks.loading,
        "within": blocks.within,
        "cluster": blocks.cluster.astype(np.int64),
        "log_jacobian": blocks.log_jacobian,
        **scale,
    }


def hierarchical_loglik(
    data: Mapping[str, TensorVariable], parameters: Mapping[str, TensorVariable]
) -> TensorVariable:
    """Return the log-likelihood of all samples, random effects integrated out.

    Parameters
    ----------
    data : mapping of str to TensorVariable
        The arrays of `hierarchical_data`.
    parameters : mapping of str to TensorVariable
        ``beta`` of shape (p,), ``tau_between``; ``tau_within`` with three levels;
        ``sampling_correlation`` where it has a prior; ``lambda`` of shape (m,) for Student-t
        deviations; ``log_tau_ratio`` where a moderator changes the heterogeneity.

    Returns
    -------
    TensorVariable
        Scalar, with all normalising constants.
    """
    vi, loading, cluster = data["vi"], data["loading"], data["cluster"]
    rho = parameters.get("sampling_correlation")
    tau2 = parameters["tau_between"] ** 2
    if "lambda" in parameters:
        tau2 = tau2 / parameters["lambda"]
    within = data["within"]
    if LOG_TAU_RATIO in parameters:
        stretch2 = pt.exp(2 * parameters[LOG_TAU_RATIO] * data["scale"])
        tau2, within = tau2 * stretch2, within * stretch2[cluster]
    variance = vi if rho is None else (1 - rho) * vi
    if "tau_within" in parameters:
        variance = variance + parameters["tau_within"] ** 2 * within
    precision = 1 / variance
    residual = data["yi"] - fitted_values(data["X"], parameters["beta"])

    zeros = pt.zeros_like(data["log_jacobian"])

    def by_sample(rows: TensorVariable) -> TensorVariable:
        return pt.inc_subtensor(zeros[cluster], rows)

    A = by_sample(loading**2 * precision)
    R = by_sample(loading * residual * precision)
    if rho is None:
        determinant = 1 + tau2 * A
        explained = tau2 * R**2 / determinant
    else:
        shared = pt.sqrt(vi)
        B = by_sample(loading * shared * precision)
        C = by_sample(vi * precision)
        S = by_sample(shared * residual * precision)
        determinant = (1 + tau2 * A) * (1 + rho * C) - tau2 * rho * B**2
        explained = (
            tau2 * (1 + rho * C) * R**2 - 2 * tau2 * rho * B * R * S + rho * (1 + tau2 * A) * S**2
        ) / determinant
    by_row = LOG_2PI + pt.log(variance) + residual**2 * precision
    return (
        data["log_jacobian"].sum()
        - 0.5 * by_row.sum()
        - 0.5 * (pt.log(determinant) - explained).sum()
    )


def precisions(nu: TensorVariable, z: TensorVariable) -> tuple[TensorVariable, TensorVariable]:
    """Return the precisions of Student-t deviations from standardised logs, and their density.

    ``log lambda = sqrt(2 / nu) z``: its mode is 0 and its curvature there that of a standard normal
    for every nu, so that nu and the precisions are no funnel together.

    Parameters
    ----------
    nu : TensorVariable
        Degrees of freedom, scalar.
    z : TensorVariable of shape (m,)
        Standard normal a priori.

    Returns
    -------
    precisions : TensorVariable of shape (m,)
        Gamma with shape and rate nu / 2.
    density : TensorVariable
        What turns the density of `z` into that of the precisions, on the log scale.
    """
    shape = nu / 2
    x = z / pt.sqrt(shape)
    gamma = shape * pt.log(shape) - pt.gammaln(shape) + shape * (x - pt.exp(x))
    change = gamma - 0.5 * pt.log(shape) + 0.5 * (LOG_2PI + z**2)
    return pt.exp(x), change.sum()


def fitted_values(X: TensorVariable, beta: TensorVariable) -> TensorVariable:
    """Return ``X @ beta`` in a form that compiles fast.

    For the first time, eight coefficients take 46 s to compile as a matrix product, 10 s as a sum
    over an axis and 8 s written out; one coefficient takes 12 s and 7 s in the last two forms.
    """
    (p,) = beta.type.shape
    if p > WRITTEN_OUT:
        return (X * beta).sum(axis=1)
    return sum(X[:, i] * beta[i] for i in range(p))
