"""What the model integrates out, put back: random effects and likelihoods of each sample.

Given the coefficients and variance parameters of a draw, the random effects are normal with
known mean and covariance, so they are drawn directly, for all posterior draws at once. The notation
is that of `reanalysis.builders.hierarchical`, here in NumPy.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reanalysis.builders.blocks import Blocks

__all__ = ["draw_effects", "sample_loglik"]

Vector = NDArray[np.float64]

LOG_2PI = float(np.log(2 * np.pi))
CHUNK = 2**20  # numbers per work array, so that 5 000 effects need megabytes and not gigabytes


def sample_loglik(blocks: Blocks, parameters: Mapping[str, Vector]) -> Vector:
    """Return each sample's log-likelihood for each draw, random effects integrated out.

    Parameters
    ----------
    blocks : Blocks
        Rows of the design.
    parameters : mapping of str to numpy.ndarray
        ``beta`` of shape (n, p) and, each of shape (n,), ``tau_between`` and, where the model
        has them, ``tau_within`` and ``sampling_correlation``.

    Returns
    -------
    numpy.ndarray of shape (n, m)
        Natural logs, with all constants.
    """
    result = np.empty((len(parameters["beta"]), len(blocks.starts)))
    for chunk, part in _chunks(blocks, parameters):
        given = _condition(blocks, part)
        by_row = LOG_2PI + np.log(given.variance) + given.residual**2 / given.variance
        quadratic = _by_sample(blocks, by_row) - given.explained
        result[chunk] = blocks.log_jacobian - 0.5 * (quadratic + np.log(given.determinant))
    return result


def draw_effects(
    blocks: Blocks,
    parameters: Mapping[str, Vector],
    rng: np.random.Generator,
) -> tuple[Vector, Vector]:
    """Draw the random effects from their conditional distribution, one set for each draw.

    Parameters
    ----------
    blocks : Blocks
        Rows of the design.
    parameters : mapping of str to numpy.ndarray
        As for `sample_loglik`.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    u : numpy.ndarray of shape (n, m)
        Deviation of each sample from what its moderators predict.
    w : numpy.ndarray of shape (n, k)
        Deviation of each effect from its sample; zero with two levels.
    """
    n, k, m = len(parameters["beta"]), len(blocks.yi), len(blocks.starts)
    u, w = np.empty((n, m)), np.zeros((n, k))
    for chunk, part in _chunks(blocks, parameters):
        given = _condition(blocks, part)
        z = rng.standard_normal((2, *given.mean_u.shape))
        scale_u = np.sqrt(given.var_u)
        u[chunk] = given.mean_u + scale_u * z[0]
        if "tau_within" not in part:
            continue
        left = given.residual - blocks.loading * u[chunk][:, blocks.cluster]
        if "sampling_correlation" in part:
            slope = np.divide(given.cov_ug, scale_u, out=np.zeros_like(scale_u), where=scale_u > 0)
            scale_g = np.sqrt(np.maximum(given.var_g - slope**2, 0.0))  # rounding may go below
            g = given.mean_g + slope * z[0] + scale_g * z[1]
            left -= np.sqrt(blocks.vi) * g[:, blocks.cluster]
        share = given.spread / given.variance
        noise = rng.standard_normal(left.shape)
        w[chunk] = share * left + np.sqrt(share * given.noise) * noise
    bounds = np.append(blocks.starts, k)
    for j, back in blocks.rotations.items():
        rows = slice(bounds[j], bounds[j + 1])
        w[:, rows] = w[:, rows] @ back.T
    return u, w


@dataclass(frozen=True, eq=False)
class _Given:
    """Sample deviations u and shared errors g given the data, for one chunk of draws.

    Rows have shape (n, k), samples (n, m); ``explained`` is what integrating u and g out takes
    off the weighted sum of squares.
    """

    residual: Vector
    noise: Vector
    spread: Vector
    variance: Vector
    determinant: Vector
    explained: Vector
    mean_u: Vector
    var_u: Vector
    mean_g: Vector
    var_g: Vector
    cov_ug: Vector


def _condition(blocks: Blocks, parameters: Mapping[str, Vector]) -> _Given:
    def column(name: str) -> Vector:
        return parameters[name][:, None] if name in parameters else np.zeros((1, 1))

    rho, tau2 = column("sampling_correlation"), column("tau_between") ** 2
    noise = (1 - rho) * blocks.vi
    spread = column("tau_within") ** 2 * blocks.within
    variance = noise + spread
    residual = blocks.yi - parameters["beta"] @ blocks.X.T
    weighted = blocks.loading / variance
    A = _by_sample(blocks, weighted * blocks.loading)
    R = _by_sample(blocks, weighted * residual)
    B = C = S = np.zeros((1, 1))
    if "sampling_correlation" in parameters:
        shared = np.sqrt(blocks.vi)
        B = _by_sample(blocks, weighted * shared)
        C = _by_sample(blocks, blocks.vi / variance)
        S = _by_sample(blocks, shared * residual / variance)
    determinant = (1 + tau2 * A) * (1 + rho * C) - tau2 * rho * B**2
    var_u = tau2 * (1 + rho * C) / determinant
    var_g = rho * (1 + tau2 * A) / determinant
    cov_ug = -tau2 * rho * B / determinant
    mean_u = var_u * R + cov_ug * S
    mean_g = cov_ug * R + var_g * S
    explained = mean_u * R + mean_g * S
    return _Given(
        residual,
        noise,
        spread,
        variance,
        determinant,
        explained,
        mean_u,
        var_u,
        mean_g,
        var_g,
        cov_ug,
    )


def _by_sample(blocks: Blocks, rows: Vector) -> Vector:
    return np.add.reduceat(rows, blocks.starts, axis=1)


def _chunks(
    blocks: Blocks, parameters: Mapping[str, Vector]
) -> Iterator[tuple[slice, dict[str, Vector]]]:
    n = len(parameters["beta"])
    step = max(1, CHUNK // len(blocks.yi))
    for first in range(0, n, step):
        chunk = slice(first, first + step)
        yield chunk, {name: values[chunk] for name, values in parameters.items()}
