"""Where the distribution of the coefficients comes from: normals, or draws.

Both answer the same four questions, so that the tables need not know which it is.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from reanalysis.exact.coefficients import CoefficientPosterior

__all__ = ["Drawn", "Normals", "Source", "Summary"]

Vector = NDArray[np.float64]
Limits = tuple[float, float]

ENDS = np.array([0.025, 0.975])


@dataclass(frozen=True, eq=False)
class Summary:
    """Quantities with their uncertainty, each array of shape (r,).

    Attributes
    ----------
    value, sd, lower, upper : numpy.ndarray
        Mean, standard deviation and central 95 % interval.
    positive : numpy.ndarray
        Probability of being above zero.
    error : numpy.ndarray
        Numerical error of the mean.
    """

    value: Vector
    sd: Vector
    lower: Vector
    upper: Vector
    positive: Vector
    error: Vector


class Source(Protocol):
    """A distribution of p coefficients."""

    def summarise(self, weights: Vector) -> Summary:
        """Summarise linear combinations, weights of shape (r, p)."""

    def inside(self, weights: Vector, limits: Limits) -> float:
        """Return the probability that a linear combination lies between limits."""

    def correlations(self, first: Vector, second: Vector) -> tuple[float, float, float]:
        """Return mean and interval of the difference of two correlations."""

    def correlations_inside(self, first: Vector, second: Vector, limits: Limits) -> float:
        """Return the probability that the difference of two correlations lies between limits."""


@dataclass(frozen=True, eq=False)
class Normals:
    """A mixture of normals: the exact engine's posterior, or one normal for REML."""

    posterior: CoefficientPosterior

    def summarise(self, weights: Vector) -> Summary:
        """Summarise linear combinations, weights of shape (r, p)."""
        mixtures = self.posterior.linear(weights)
        value, sd = mixtures.moments()
        ends = mixtures.quantiles(ENDS)
        above = 1 - mixtures.cdf_pdf(np.zeros((len(weights), 1)))[0][:, 0]
        errors = self.posterior.errors(weights)
        return Summary(value, sd, ends[:, 0], ends[:, 1], above, errors)

    def inside(self, weights: Vector, limits: Limits) -> float:
        """Return the probability that a linear combination lies between limits."""
        below = self.posterior.linear(weights[None]).cdf_pdf(np.array([limits]))[0][0]
        return float(below[1] - below[0])

    def correlations(self, first: Vector, second: Vector) -> tuple[float, float, float]:
        """Return mean and interval of the difference of two correlations."""
        apart = self.posterior.tanh_difference(first, second)
        lower, upper = apart.quantiles(ENDS)
        return apart.mean(), float(lower), float(upper)

    def correlations_inside(self, first: Vector, second: Vector, limits: Limits) -> float:
        """Return the probability that the difference of two correlations lies between limits."""
        below = self.posterior.tanh_difference(first, second).cdf_pdf(np.array(limits))[0]
        return float(below[1] - below[0])


@dataclass(frozen=True, eq=False)
class Drawn:
    """Posterior draws of the coefficients, of shape (chains, draws, p)."""

    draws: Vector

    def summarise(self, weights: Vector) -> Summary:
        """Summarise linear combinations, weights of shape (r, p)."""
        # ArviZ is there already where draws are, and takes seconds to load where not.
        import xarray as xr

        from reanalysis.summaries import summarise_draws

        values = self.draws @ weights.T
        names = [str(i) for i in range(len(weights))]
        table = summarise_draws(
            xr.Dataset({n: (("chain", "draw"), values[..., i]) for i, n in enumerate(names)})
        )
        value, sd, lower, upper, error = (
            table[column].to_numpy(float) for column in ("mean", "sd", "lower", "upper", "mcse")
        )
        return Summary(value, sd, lower, upper, (values > 0).mean(axis=(0, 1)), error)

    def inside(self, weights: Vector, limits: Limits) -> float:
        """Return the probability that a linear combination lies between limits."""
        values = self.draws @ weights
        return float(np.mean((values > limits[0]) & (values < limits[1])))

    def correlations(self, first: Vector, second: Vector) -> tuple[float, float, float]:
        """Return mean and interval of the difference of two correlations."""
        apart = np.tanh(self.draws @ first) - np.tanh(self.draws @ second)
        lower, upper = np.quantile(apart, ENDS)
        return float(apart.mean()), float(lower), float(upper)

    def correlations_inside(self, first: Vector, second: Vector, limits: Limits) -> float:
        """Return the probability that the difference of two correlations lies between limits."""
        apart = np.tanh(self.draws @ first) - np.tanh(self.draws @ second)
        return float(np.mean((apart > limits[0]) & (apart < limits[1])))
