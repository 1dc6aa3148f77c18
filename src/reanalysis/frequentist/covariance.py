"""The inverted covariance of a design, block by block, in O(k).

With a constant sampling correlation a sample's block is diagonal plus rank two (rank one without
correlation), so the Woodbury identity inverts it in a few sums; only a covariance matrix that was
given needs dense blocks. The blocks never leave this file: the rest of the package asks for
``solve``, ``logdet`` and two traces.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from reanalysis.frequentist.structure import Structure, diagonal_blocks
from reanalysis.results import EngineError

__all__ = ["Covariance", "make_covariance"]

Vector = NDArray[np.float64]


class Covariance(Protocol):
    """An inverted block-diagonal covariance matrix ``S`` of k rows."""

    logdet: float

    def solve(self, rows: Vector) -> Vector:
        """Return ``S^-1`` applied to each row of a (c, k) array."""

    def diagonal(self) -> Vector:
        """Return the diagonal of ``S^-1``."""

    def weighted_norm(self, weights: Vector) -> float:
        """Return ``tr(S^-1 N S^-1 N)`` for the diagonal matrix ``N`` of the weights."""


def make_covariance(structure: Structure, tau2: Vector) -> Covariance:
    """Return the inverted covariance for given variance components.

    Parameters
    ----------
    structure : Structure
        The blocks.
    tau2 : numpy.ndarray of shape (c,)
        Variance components in the order of ``structure.components``.

    Returns
    -------
    Covariance
        The blocks, inverted.

    Raises
    ------
    EngineError
        If the covariance is not positive definite.
    """
    between, within = structure.split(tau2)
    if structure.given:
        return DenseBlocks(structure, between, within)
    if structure.correlated:
        return RankTwoBlocks(structure, between, within)
    return RankOneBlocks(structure, between, within)


class RankOneBlocks:
    """Blocks ``diag(d) + between * 1 1'``: independent sampling errors."""

    def __init__(self, structure: Structure, between: float, within: float) -> None:
        self.structure = structure
        d = structure.vi + within * structure.shares
        self.weights = 1.0 / d
        self.logdet = float(np.log(d).sum())
        self.pull: Vector | None = None
        if structure.shared is not None:
            total = structure.cluster_sums(self.weights)
            self.pull = between / (1.0 + between * total)
            self.logdet += float(np.log1p(between * total).sum())

    def solve(self, rows: Vector) -> Vector:
        """Return ``S^-1`` applied to each row of a (c, k) array."""
        weighted = rows * self.weights
        if self.pull is None:
            return weighted
        common = self.pull * self.structure.cluster_sums(weighted)
        return weighted - self.weights * self.structure.spread(common)

    def diagonal(self) -> Vector:
        """Return the diagonal of ``S^-1``."""
        if self.pull is None:
            return self.weights
        return self.weights - self.weights**2 * self.structure.spread(self.pull)

    def weighted_norm(self, weights: Vector) -> float:
        """Return ``tr(S^-1 N S^-1 N)`` for the diagonal matrix ``N`` of the weights."""
        scaled = weights * self.weights
        norm = float(scaled @ scaled)
        if self.pull is None:
            return norm
        sums = self.structure.cluster_sums(
            np.stack([scaled**2 * self.weights, scaled * self.weights])
        )
        return norm - 2.0 * float(self.pull @ sums[0]) + float(np.sum((self.pull * sums[1]) ** 2))


class RankTwoBlocks:
    """Blocks ``diag(d) + between * 1 1' + rho * s s'`` with ``s = sqrt(vi)``.

    The diagonal is ``d = (1 - rho) * vi + within * shares``, so that the sampling part of the
    block is ``rho * s s'`` off and ``vi`` on the diagonal.
    """

    def __init__(self, structure: Structure, between: float, within: float) -> None:
        self.structure = structure
        rho = structure.rho
        d = (1.0 - rho) * structure.vi + within * structure.shares
        self.weights = 1.0 / d
        self.scale = np.sqrt(structure.vi)
        first = rho[structure.starts]
        w, s = self.weights, self.scale
        h11, h12, h22 = structure.cluster_sums(np.stack([w, w * s, w * s * s]))
        # K = C (I + H C)^-1 with C = diag(between, rho): defined also where C is singular. The
        # determinant is at least 1, as rho is not negative.
        determinant = (1 + between * h11) * (1 + first * h22) - between * first * h12**2
        self.k11 = between * (1 + first * h22) / determinant
        self.k12 = -between * first * h12 / determinant
        self.k22 = first * (1 + between * h11) / determinant
        self.logdet = float(np.sum(np.log(d)) + np.sum(np.log(determinant)))

    def solve(self, rows: Vector) -> Vector:
        """Return ``S^-1`` applied to each row of a (c, k) array."""
        spread, sums = self.structure.spread, self.structure.cluster_sums
        weighted = rows * self.weights
        plain, scaled = sums(weighted), sums(weighted * self.scale)
        common = spread(self.k11 * plain + self.k12 * scaled)
        slope = spread(self.k12 * plain + self.k22 * scaled)
        return weighted - self.weights * (common + self.scale * slope)

    def diagonal(self) -> Vector:
        """Return the diagonal of ``S^-1``."""
        return self.weights - self.weights**2 * self._quadratic()

    def weighted_norm(self, weights: Vector) -> float:
        """Return ``tr(S^-1 N S^-1 N)`` for the diagonal matrix ``N`` of the weights."""
        w, s = self.weights, self.scale
        scaled = weights * w
        m11, m12, m22 = self.structure.cluster_sums(
            np.stack([scaled * w, scaled * w * s, scaled * w * s * s])
        )
        a = self.k11 * m11 + self.k12 * m12
        b = self.k11 * m12 + self.k12 * m22
        c = self.k12 * m11 + self.k22 * m12
        d = self.k12 * m12 + self.k22 * m22
        cross = np.sum(scaled**2 * w * self._quadratic())
        return float(np.sum(scaled**2) - 2.0 * cross + np.sum(a**2 + 2.0 * b * c + d**2))

    def _quadratic(self) -> Vector:
        """Return ``u_k' K u_k`` with ``u_k = (1, s_k)``."""
        spread = self.structure.spread
        s = self.scale
        return spread(self.k11) + 2.0 * s * spread(self.k12) + s * s * spread(self.k22)


class DenseBlocks:
    """Blocks ``V_j + between * 1 1' + diag(within * shares)`` of a given covariance matrix V."""

    def __init__(self, structure: Structure, between: float, within: float) -> None:
        self.inverses: list[tuple[NDArray[np.intp], Vector]] = []
        self.logdet = 0.0
        self.k = len(structure.vi)
        for rows, V in structure.given:
            size = rows.shape[1]
            blocks = V + between + diagonal_blocks(within * structure.shares[rows])
            try:
                factors = np.linalg.cholesky(blocks)
            except np.linalg.LinAlgError as error:
                raise EngineError(
                    "the given covariance V is not positive definite in a sample of "
                    f"{size} rows; check the correlations it was made from."
                ) from error
            self.logdet += 2.0 * float(np.sum(np.log(np.diagonal(factors, axis1=-2, axis2=-1))))
            self.inverses.append((rows, np.linalg.inv(blocks)))

    def solve(self, rows: Vector) -> Vector:
        """Return ``S^-1`` applied to each row of a (c, k) array."""
        solved = np.empty(np.broadcast_shapes(rows.shape, (self.k,)))
        for index, inverse in self.inverses:
            solved[..., index] = np.einsum("gij,...gj->...gi", inverse, rows[..., index])
        return solved

    def diagonal(self) -> Vector:
        """Return the diagonal of ``S^-1``."""
        diagonal = np.empty(self.k)
        for index, inverse in self.inverses:
            diagonal[index] = np.diagonal(inverse, axis1=-2, axis2=-1)
        return diagonal

    def weighted_norm(self, weights: Vector) -> float:
        """Return ``tr(S^-1 N S^-1 N)`` for the diagonal matrix ``N`` of the weights."""
        norm = 0.0
        for index, inverse in self.inverses:
            local = weights[index]
            norm += float(np.sum(inverse**2 * local[:, :, None] * local[:, None, :]))
        return norm
