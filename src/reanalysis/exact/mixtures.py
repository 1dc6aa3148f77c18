"""Finite mixtures of normals: marginal posteriors over a quadrature grid."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from reanalysis.exact.quadrature import invert

__all__ = ["NormalMixtures"]

Vector = NDArray[np.float64]

NEGLIGIBLE = 1e-12
SD_FLOOR = 1e-300  # an effect known exactly has no spread; keeps the division defined


@dataclass(frozen=True, eq=False)
class NormalMixtures:
    """Several mixtures of normal distributions, one per row.

    Attributes
    ----------
    weight, mean, sd : numpy.ndarray of shape (r, c)
        Components; the weights of a row sum to 1.
    """

    weight: Vector
    mean: Vector
    sd: Vector

    @classmethod
    def of(
        cls, weight: Vector, mean: Vector, variance: Vector, *, bins: int | None = None
    ) -> "NormalMixtures":
        """Return the mixtures over a grid, without its negligible nodes.

        Parameters
        ----------
        weight : numpy.ndarray of shape (g,)
            Weights of the grid's nodes, shared by all rows.
        mean, variance : numpy.ndarray of shape (r, g)
            Conditional means and variances of each row.
        bins : int, optional
            Nodes whose standard deviations fall into one of so many equal bins become one
            normal with their joint mean and variance; for many rows, where it saves time.

        Returns
        -------
        NormalMixtures
            One mixture per row; means and variances are kept exactly.
        """
        keep = weight > NEGLIGIBLE * weight.max()
        weight = weight[keep] / weight[keep].sum()
        mean, variance = mean[:, keep], variance[:, keep]
        sd = np.sqrt(np.maximum(variance, 0.0))
        rows, nodes = sd.shape
        if bins is None or nodes <= bins:
            return cls(np.broadcast_to(weight, sd.shape), mean, np.maximum(sd, SD_FLOOR))
        low, high = sd.min(axis=1, keepdims=True), sd.max(axis=1, keepdims=True)
        width = np.maximum(high - low, SD_FLOOR) / bins
        place = np.minimum((sd - low) / width, bins - 1).astype(np.intp)
        place = (place + bins * np.arange(rows)[:, None]).ravel()

        def summed(values: Vector) -> Vector:
            return np.bincount(place, values.ravel(), rows * bins).reshape(rows, bins)

        mass = summed(np.broadcast_to(weight, sd.shape))
        divisor = np.where(mass > 0, mass, 1.0)
        centre = summed(weight * mean) / divisor
        apart = mean - np.take_along_axis(
            centre, place.reshape(rows, -1) - bins * np.arange(rows)[:, None], axis=1
        )
        square = summed(weight * (variance + apart**2)) / divisor
        return cls(mass, centre, np.where(mass > 0, np.maximum(np.sqrt(square), SD_FLOOR), 1.0))

    def moments(self) -> tuple[Vector, Vector]:
        """Return means and standard deviations, each of shape ``(r,)``."""
        mean = (self.weight * self.mean).sum(axis=1)
        spread = self.sd**2 + (self.mean - mean[:, None]) ** 2
        return mean, np.sqrt((self.weight * spread).sum(axis=1))

    def cdf_pdf(self, x: Vector) -> tuple[Vector, Vector]:
        """Return distribution functions and densities at points of shape ``(r, q)``."""
        z = self._standardised(x)
        return (ndtr(z) @ self.weight[:, :, None])[:, :, 0], self._density(z)

    def pdf(self, x: Vector) -> Vector:
        """Return densities at points of shape ``(r, q)``."""
        return self._density(self._standardised(x))

    def _standardised(self, x: Vector) -> Vector:
        return (x[:, :, None] - self.mean[:, None, :]) / self.sd[:, None, :]

    def _density(self, z: Vector) -> Vector:
        height = self.weight / (self.sd * np.sqrt(2 * np.pi))
        return np.asarray((np.exp(-0.5 * z * z) @ height[:, :, None])[:, :, 0])

    def quantiles(self, probabilities: Vector) -> Vector:
        """Return quantiles, of shape ``(r, q)``."""
        mean, sd = self.moments()
        shape = len(mean), len(probabilities)
        ends = self.mean - 8 * self.sd, self.mean + 8 * self.sd

        def standardised(x: Vector) -> tuple[Vector, Vector]:
            at = mean[:, None] + sd[:, None] * x.reshape(shape)
            value, density = self.cdf_pdf(at)
            return value.ravel(), (density * sd[:, None]).ravel()

        reach = float(
            max(
                np.max((ends[1].max(axis=1) - mean) / sd), np.max((mean - ends[0].min(axis=1)) / sd)
            )
        )
        found = invert(
            standardised,
            np.tile(probabilities, shape[0]),
            (-reach, reach),
            np.tile(ndtri(probabilities), shape[0]),
        )
        return mean[:, None] + sd[:, None] * found.reshape(shape)
