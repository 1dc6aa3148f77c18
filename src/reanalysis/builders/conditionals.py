"""What the model integrates out, put back: random effects and likelihoods of each sample.

Given the coefficients and variance parameters of a draw, the random effects are normal with
known mean and covariance, so they are drawn directly, for all posterior draws at once. The notation
is that of `reanalysis.builders.hierarchical`, here in NumPy.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, xlogy

from reanalysis.builders.blocks import Blocks
from reanalysis.design import LOG_TAU_RATIO
from reanalysis.effect_sizes import mean_r

__all__ = ["draw_effects", "precision_nodes", "sample_loglik", "student_mean_r"]

Vector = NDArray[np.float64]

LOG_2PI = float(np.log(2 * np.pi))
PRECISION_NODES = 48
REACH = 40.0  # nats
ORIGIN = 0.5671432904097838  # where log lambda, q - exp(-q), is 0
FARTHEST = 20.0
CHUNK = 2**20  # numbers per work array, so that 5 000 effects need megabytes and not gigabytes


def sample_loglik(blocks: Blocks, parameters: Mapping[str, Vector]) -> Vector:
    """Return each sample's log-likelihood for each draw, random effects integrated out.

    Parameters
    ----------
    blocks : Blocks
        Rows of the design.
    parameters : mapping of str to numpy.ndarray
        ``beta`` of shape (n, p) and, each of shape (n,), ``tau_between`` and, where the model
        has them, ``tau_within``, ``sampling_correlation`` and ``nu``. For Student-t deviations the
        precisions are integrated out as well.

    Returns
    -------
    numpy.ndarray of shape (n, m)
        Natural logs, with all constants.
    """
    result = np.empty((len(parameters["beta"]), len(blocks.starts)))
    for chunk, part in _chunks(blocks, parameters):
        sums = _sum(blocks, part)
        by_row = LOG_2PI + np.log(sums.variance) + sums.residual**2 / sums.variance
        alone = blocks.log_jacobian - 0.5 * _by_sample(blocks, by_row)
        tau2 = part["tau_between"][:, None] ** 2 * _stretch2(blocks, part)
        if "nu" not in part:
            result[chunk] = alone + _log_gain(sums, tau2)
            continue
        x, log_weight = precision_nodes(part["nu"])
        gain = np.full(alone.shape, -np.inf)
        for i in range(x.shape[1]):
            at_node = _log_gain(sums, tau2 * np.exp(-x[:, i : i + 1]))
            gain = np.logaddexp(gain, at_node + log_weight[:, i : i + 1])
        result[chunk] = alone + gain
    return result


def precision_nodes(nu: Vector) -> tuple[Vector, Vector]:
    """Return nodes and weights for an integral over ``lambda ~ Gamma(nu/2, nu/2)``.

    The trapezoidal rule for q with ``log lambda = q - exp(-q)``: in q the integrand falls double
    exponentially on both sides, also where nu is small and ``log lambda`` far below zero counts.

    Parameters
    ----------
    nu : numpy.ndarray of shape (n,)
        Degrees of freedom.

    Returns
    -------
    x : numpy.ndarray of shape (n, nodes)
        Values of ``log lambda``.
    log_weight : numpy.ndarray of shape (n, nodes)
        Logs of density times step.
    """
    shape = nu[:, None] / 2
    low, high = (_end(shape, side) for side in (-1.0, 1.0))
    q = low + (high - low) * np.linspace(0.0, 1.0, PRECISION_NODES)
    x = q - np.exp(-q)
    log_density = xlogy(shape, shape) - gammaln(shape) + shape * (x - np.exp(x))
    step = (high - low) / (PRECISION_NODES - 1)
    return x, log_density + np.log(step * (1 + np.exp(-q)))


def _end(shape: Vector, side: float) -> Vector:
    """Return where the integrand over q has fallen by `REACH` nats.

    A normal density with variance proportional to ``1 / lambda`` falls at least as
    ``sqrt(lambda)`` for small lambda, which is what ends the integral when nu is small.
    """
    inner = np.full_like(shape, ORIGIN)
    outer = np.full_like(shape, ORIGIN + side * FARTHEST)
    for _ in range(50):
        q = (inner + outer) / 2
        x = q - np.exp(-q)
        fallen = shape * (np.exp(x) - 1 - x) + np.maximum(-x, 0.0) / 2
        inside = fallen < REACH
        inner, outer = np.where(inside, q, inner), np.where(inside, outer, q)
    return outer


def student_mean_r(mu: Vector, between: Vector, within: Vector, nu: Vector) -> Vector:
    """Return the mean correlation over samples whose deviations are Student-t.

    Parameters
    ----------
    mu, between, within, nu : numpy.ndarray of one shape
        Mean, scale of the deviations, standard deviation within samples, degrees of freedom; on
        Fisher's z.

    Returns
    -------
    numpy.ndarray
        The mean of ``tanh`` over true effects.
    """
    x, log_weight = precision_nodes(nu.ravel())
    total = np.zeros(nu.size)
    for i in range(x.shape[1]):
        spread = np.sqrt(between.ravel() ** 2 * np.exp(-x[:, i]) + within.ravel() ** 2)
        # Beyond a hundred the mean of tanh is that of its sign; the nodes there weigh nothing.
        total += np.exp(log_weight[:, i]) * mean_r(mu.ravel(), np.minimum(spread, 100.0))
    return total.reshape(nu.shape)


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
        As for `sample_loglik`; for Student-t deviations also ``lambda`` of shape (n, m).
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
        sums = _sum(blocks, part)
        tau2 = part["tau_between"][:, None] ** 2 * _stretch2(blocks, part)
        given = _condition(sums, tau2 / part["lambda"] if "lambda" in part else tau2)
        z = rng.standard_normal((2, *given.mean_u.shape))
        scale_u = np.sqrt(given.var_u)
        u[chunk] = given.mean_u + scale_u * z[0]
        if "tau_within" not in part:
            continue
        left = sums.residual - blocks.loading * u[chunk][:, blocks.cluster]
        if "sampling_correlation" in part:
            slope = np.divide(given.cov_ug, scale_u, out=np.zeros_like(scale_u), where=scale_u > 0)
            scale_g = np.sqrt(np.maximum(given.var_g - slope**2, 0.0))  # rounding may go below
            g = given.mean_g + slope * z[0] + scale_g * z[1]
            left -= np.sqrt(blocks.vi) * g[:, blocks.cluster]
        share = sums.spread / sums.variance
        noise = rng.standard_normal(left.shape)
        w[chunk] = share * left + np.sqrt(share * sums.noise) * noise
    bounds = np.append(blocks.starts, k)
    for j, back in blocks.rotations.items():
        rows = slice(bounds[j], bounds[j + 1])
        w[:, rows] = w[:, rows] @ back.T
    return u, w


@dataclass(frozen=True, eq=False)
class _Sums:
    """What does not depend on tau_between, for one chunk of draws.

    Rows have shape (n, k), samples (n, m), the sampling correlation (n, 1); the letters are those
    of `reanalysis.builders.hierarchical`.
    """

    residual: Vector
    noise: Vector
    spread: Vector
    variance: Vector
    rho: Vector
    A: Vector
    R: Vector
    B: Vector
    C: Vector
    S: Vector


@dataclass(frozen=True, eq=False)
class _Given:
    """Sample deviations u and shared errors g given the data, for one chunk of draws.

    ``explained`` is what integrating u and g out takes off the weighted sum of squares.
    """

    determinant: Vector
    explained: Vector
    mean_u: Vector
    var_u: Vector
    mean_g: Vector
    var_g: Vector
    cov_ug: Vector


def _sum(blocks: Blocks, parameters: Mapping[str, Vector]) -> _Sums:
    def column(name: str) -> Vector:
        return parameters[name][:, None] if name in parameters else np.zeros((1, 1))

    rho = column("sampling_correlation")
    noise = (1 - rho) * blocks.vi
    spread = column("tau_within") ** 2 * blocks.within
    if blocks.scale is not None:
        spread = spread * _stretch2(blocks, parameters)[:, blocks.cluster]
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
    return _Sums(residual, noise, spread, variance, rho, A, R, B, C, S)


def _condition(sums: _Sums, tau2: Vector) -> _Given:
    """Condition on the data, with variance `tau2` of the deviations, (n, 1) or (n, m)."""
    A, R, B, C, S, rho = sums.A, sums.R, sums.B, sums.C, sums.S, sums.rho
    determinant = (1 + tau2 * A) * (1 + rho * C) - tau2 * rho * B**2
    var_u = tau2 * (1 + rho * C) / determinant
    var_g = rho * (1 + tau2 * A) / determinant
    cov_ug = -tau2 * rho * B / determinant
    mean_u = var_u * R + cov_ug * S
    mean_g = cov_ug * R + var_g * S
    explained = mean_u * R + mean_g * S
    return _Given(determinant, explained, mean_u, var_u, mean_g, var_g, cov_ug)


def _log_gain(sums: _Sums, tau2: Vector) -> Vector:
    given = _condition(sums, tau2)
    return 0.5 * (given.explained - np.log(given.determinant))


def _stretch2(blocks: Blocks, parameters: Mapping[str, Vector]) -> Vector:
    """Return what multiplies each sample's heterogeneity variances, (n, m) or (1, 1)."""
    if blocks.scale is None:
        return np.ones((1, 1))
    return np.exp(2 * parameters[LOG_TAU_RATIO][:, None] * blocks.scale)


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
