"""Finite mixtures of normals: the marginal posterior of a coefficient over a grid."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from reanalysis.exact.quadrature import invert

__all__ = ["NormalMixture"]

Vector = NDArray[np.float64]

NEGLIGIBLE = 1e-15


@dataclass(frozen=True, eq=False)
class NormalMixture:
    """A mixture of normal distributions.

    Attributes
    ----------
    weight, mean, sd : numpy.ndarray of shape (g,)
        Components; the weights sum to 1.
    """

    weight: Vector
    mean: Vector
    sd: Vector

    @classmethod
    def of(cls, weight: Vector, mean: Vector, variance: Vector) -> "NormalMixture":
        """Return the mixture without its negligible components."""
        keep = weight > NEGLIGIBLE * weight.max()
        return cls(weight[keep] / weight[keep].sum(), mean[keep], np.sqrt(variance[keep]))

    def moments(self) -> tuple[float, float]:
        """Return mean and standard deviation."""
        mean = float(self.weight @ self.mean)
        variance = float(self.weight @ (self.sd**2 + (self.mean - mean) ** 2))
        return mean, float(np.sqrt(variance))

    def cdf_pdf(self, x: Vector) -> tuple[Vector, Vector]:
        """Return distribution function and density at points ``(x,)``."""
        z = (x[:, None] - self.mean) / self.sd
        density = np.exp(-0.5 * z * z) / (self.sd * np.sqrt(2 * np.pi))
        return ndtr(z) @ self.weight, density @ self.weight

    def quantiles(self, probabilities: Vector) -> Vector:
        """Return quantiles."""
        reach = 9 * self.sd
        ends = float(np.min(self.mean - reach)), float(np.max(self.mean + reach))
        return invert(self.cdf_pdf, probabilities, ends)
