"""The joint posterior of the coefficients, for contrasts and marginal means.

Given the variance parameters the coefficients are normal, so their posterior is a mixture of
normals over the nodes of the quadrature, and every linear combination of them is one as well.
"""

from dataclasses import dataclass

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from reanalysis.exact.mixtures import NormalMixtures
from reanalysis.exact.quadrature import invert

__all__ = ["CoefficientPosterior", "TanhDifference"]

Vector = NDArray[np.float64]

NEGLIGIBLE = 1e-10
SD_FLOOR = 1e-300
BINS = 200  # of conditional standard deviations; moments are kept in each
M_NODES, M_WEIGHTS = hermegauss(24)
M_WEIGHTS = M_WEIGHTS / M_WEIGHTS.sum()


@dataclass(frozen=True, eq=False)
class TanhDifference:
    """The difference of two correlations whose Fisher z are bivariate normal mixtures.

    Attributes
    ----------
    weight : numpy.ndarray of shape (c,)
        Components; they sum to 1.
    middle, spread : numpy.ndarray of shape (c,)
        Mean and standard deviation of the average of the two z.
    apart, slope, left : numpy.ndarray of shape (c,)
        Mean of their difference, its regression on the average, and what standard deviation
        that leaves.
    """

    weight: Vector
    middle: Vector
    spread: Vector
    apart: Vector
    slope: Vector
    left: Vector

    def cdf_pdf(self, x: Vector) -> tuple[Vector, Vector]:
        """Return distribution function and density at points of shape ``(q,)`` in (-2, 2).

        Given the average m of the two z, ``tanh(m + d/2) - tanh(m - d/2)`` increases with their
        difference d, and ``x (cosh 2m + cosh d) = 2 sinh d`` is a quadratic equation in exp(d).
        """
        m = (self.middle[:, None] + self.spread[:, None] * M_NODES)[None]
        x = np.clip(x, -2 + 1e-12, 2 - 1e-12)[:, None, None]
        c = np.cosh(2 * m)
        root = np.sqrt((x * c) ** 2 + 4 - x**2)
        # Of the two forms of the root, the one whose terms have one sign.
        d = np.where(x > 0, np.log((x * c + root) / (2 - x)), -np.log((root - x * c) / (2 + x)))
        centre = self.apart[:, None] + self.slope[:, None] * (m - self.middle[:, None])
        z = (d - centre) / self.left[:, None]
        rate = (c + np.cosh(d)) / (2 * np.cosh(d) - x * np.sinh(d))  # dd/dx
        density = np.exp(-0.5 * z * z) / (self.left[:, None] * np.sqrt(2 * np.pi)) * rate
        return (ndtr(z) @ M_WEIGHTS) @ self.weight, (density @ M_WEIGHTS) @ self.weight

    def mean(self) -> float:
        """Return the mean."""
        variance = self.left**2 + (self.slope * self.spread) ** 2
        covariance = self.slope * self.spread**2
        total = 0.0
        for sign in (1, -1):
            centre = self.middle + sign * self.apart / 2
            sd = np.sqrt(self.spread**2 + variance / 4 + sign * covariance)
            total += sign * float(
                self.weight @ (np.tanh(centre[:, None] + sd[:, None] * M_NODES) @ M_WEIGHTS)
            )
        return total

    def quantiles(self, probabilities: Vector) -> Vector:
        """Return quantiles, of the shape of the probabilities."""
        slope = 1 / np.cosh(self.weight @ self.middle) ** 2
        sd = np.sqrt(self.left**2 + (self.slope * self.spread) ** 2)
        start = slope * (self.weight @ self.apart + (self.weight @ sd) * ndtri(probabilities))
        return invert(self.cdf_pdf, probabilities, (-2.0, 2.0), np.clip(start, -1.9, 1.9))


@dataclass(frozen=True, eq=False)
class CoefficientPosterior:
    """A mixture of p-variate normals.

    Attributes
    ----------
    weight : numpy.ndarray of shape (g,)
        Components; they sum to 1.
    mean : numpy.ndarray of shape (g, p)
        Their means.
    cov : numpy.ndarray of shape (g, p, p)
        Their covariances.
    coarse_mean : numpy.ndarray of shape (p,)
        Posterior mean on a coarser grid; its distance from the mean is the numerical error.
    """

    weight: Vector
    mean: Vector
    cov: Vector
    coarse_mean: Vector

    @classmethod
    def of(
        cls, weight: Vector, mean: Vector, cov: Vector, coarse_mean: Vector
    ) -> "CoefficientPosterior":
        """Return the mixture without components of negligible weight."""
        keep = weight > NEGLIGIBLE * weight.max()
        return cls(weight[keep] / weight[keep].sum(), mean[keep], cov[keep], coarse_mean)

    def linear(self, weights: Vector) -> NormalMixtures:
        """Return linear combinations of the coefficients.

        Parameters
        ----------
        weights : numpy.ndarray of shape (r, p)
            One combination per row.

        Returns
        -------
        NormalMixtures
            Their r marginal posteriors.
        """
        variance = np.einsum("rp,gpq,rq->rg", weights, self.cov, weights, optimize=True)
        return NormalMixtures.of(self.weight, (self.mean @ weights.T).T, variance, bins=2 * BINS)

    def errors(self, weights: Vector) -> Vector:
        """Return the numerical error of the mean of each linear combination."""
        return np.abs(weights @ (self.weight @ self.mean - self.coarse_mean))

    def tanh_difference(self, first: Vector, second: Vector) -> TanhDifference:
        """Return ``tanh(first' b) - tanh(second' b)``.

        Parameters
        ----------
        first, second : numpy.ndarray of shape (p,)
            Two linear combinations of the coefficients.

        Returns
        -------
        TanhDifference
            Components with similar spread are merged, their joint moments kept.
        """
        pair = np.stack([(first + second) / 2, first - second])
        mean = self.mean @ pair.T
        cov = np.einsum("rp,gpq,sq->grs", pair, self.cov, pair, optimize=True)
        weight, mean, cov = _merged(self.weight, mean, cov)
        spread = np.sqrt(np.maximum(cov[:, 0, 0], 0.0))
        slope = np.divide(
            cov[:, 0, 1], cov[:, 0, 0], out=np.zeros_like(spread), where=cov[:, 0, 0] > 0
        )
        left = np.sqrt(np.maximum(cov[:, 1, 1] - slope * cov[:, 0, 1], SD_FLOOR))
        return TanhDifference(weight, mean[:, 0], spread, mean[:, 1], slope, left)


def _merged(weight: Vector, mean: Vector, cov: Vector) -> tuple[Vector, Vector, Vector]:
    """Return a mixture whose components of similar spread are one, their joint moments kept."""
    if len(weight) <= BINS:
        return weight, mean, cov
    sd = np.sqrt(np.maximum(cov[:, 1, 1], 0.0))
    width = max(float(np.ptp(sd)), SD_FLOOR) / BINS
    place = np.minimum(((sd - sd.min()) / width).astype(np.intp), BINS - 1)

    def summed(values: Vector) -> Vector:
        flat = values.reshape(len(weight), -1)
        sums = [np.bincount(place, weight * column, BINS) for column in flat.T]
        return np.stack(sums, axis=1).reshape(BINS, *values.shape[1:])

    total = np.bincount(place, weight, BINS)
    used = total > 0
    divisor = np.where(used, total, 1.0)
    centre = summed(mean) / divisor[:, None]
    apart = mean - centre[place]
    joint = summed(cov + apart[:, :, None] * apart[:, None, :]) / divisor[:, None, None]
    return total[used], centre[used], joint[used]
