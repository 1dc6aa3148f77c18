"""What the model integrates out, put back: random effects and likelihoods of each sample.

Given the coefficients and variance parameters of a draw, the random effects are normal with
known mean and covariance, so they are drawn directly, for all posterior draws at once. The notation
is that of `reanalysis.builders.hierarchical`, here in NumPy.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from reanalysis.builders.blocks import Blocks

__all__ = ["draw_effects", "sample_loglik"]

Vector = NDArray[np.float64]

LOG_2PI = float(np.log(2 * np.pi))
CHUNK = 2**20  # numbers per work array, so that 5 000 effects need megabytes and not gigabytes


class _Sums:
    """Row variances, residuals and sums by sample, for one chunk of draws."""

    def __init__(self, blocks: Blocks, parameters: Mapping[str, Vector]) -> None:
        def column(name: str) -> Vector:
            return parameters[name][:, None] if name in parameters else np.zeros((1, 1))

        self.rho = column("sampling_correlation")
        self.tau2 = column("tau_between") ** 2
        self.noise = (1 - self.rho) * blocks.vi
        self.spread = column("tau_within") ** 2 * blocks.within
        self.variance = self.noise + self.spread
        self.shared = np.sqrt(blocks.vi)
        self.residual = blocks.yi - parameters["beta"] @ blocks.X.T

        def by_sample(rows: Vector) -> Vector:
            return np.add.reduceat(rows, blocks.starts, axis=1)

        self.by_sample = by_sample
        weighted = blocks.loading / self.variance
        A = by_sample(weighted * blocks.loading)
        B = by_sample(weighted * self.shared)
        C = by_sample(blocks.vi / self.variance)
        R = by_sample(weighted * self.residual)
        S = by_sample(self.shared * self.residual / self.variance)
        self.determinant = (1 + self.tau2 * A) * (1 + self.rho * C) - self.tau2 * self.rho * B**2
        # Conditional covariance of (u, g) and its product with (R, S), the conditional mean.
        self.var_u = self.tau2 * (1 + self.rho * C) / self.determinant
        self.cov_ug = -self.tau2 * self.rho * B / self.determinant
        self.var_g = self.rho * (1 + self.tau2 * A) / self.determinant
        self.mean_u = self.var_u * R + self.cov_ug * S
        self.mean_g = self.cov_ug * R + self.var_g * S
        self.explained = self.mean_u * R + self.mean_g * S


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
        sums = _Sums(blocks, part)
        by_row = LOG_2PI + np.log(sums.variance) + sums.residual**2 / sums.variance
        by_sample = sums.by_sample(by_row) + np.log(sums.determinant) - sums.explained
        result[chunk] = blocks.log_jacobian - 0.5 * by_sample
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
        sums = _Sums(blocks, part)
        z = rng.standard_normal((2, *sums.mean_u.shape))
        scale_u = np.sqrt(sums.var_u)
        slope = np.divide(sums.cov_ug, scale_u, out=np.zeros_like(scale_u), where=scale_u > 0)
        scale_g = np.sqrt(np.maximum(sums.var_g - slope**2, 0.0))  # rounding may fall below zero
        u[chunk] = sums.mean_u + scale_u * z[0]
        g = sums.mean_g + slope * z[0] + scale_g * z[1]
        if "tau_within" not in part:
            continue
        left = (
            sums.residual
            - blocks.loading * u[chunk][:, blocks.cluster]
            - sums.shared * g[:, blocks.cluster]
        )
        share = sums.spread / sums.variance
        noise = rng.standard_normal(left.shape)
        w[chunk] = share * left + np.sqrt(share * sums.noise) * noise
    bounds = np.append(blocks.starts, k)
    for j, back in blocks.rotations.items():
        rows = slice(bounds[j], bounds[j + 1])
        w[:, rows] = w[:, rows] @ back.T
    return u, w


def _chunks(
    blocks: Blocks, parameters: Mapping[str, Vector]
) -> Iterator[tuple[slice, dict[str, Vector]]]:
    n = len(parameters["beta"])
    step = max(1, CHUNK // len(blocks.yi))
    for first in range(0, n, step):
        chunk = slice(first, first + step)
        yield chunk, {name: values[chunk] for name, values in parameters.items()}
