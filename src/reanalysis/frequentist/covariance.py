"""The marginal covariance of a design, block by block, in O(k).

Every row has variance ``vi + tau_within**2 / n_averaged``, rows of one sample share
``tau_between**2`` and have correlated sampling errors. With a constant sampling correlation a
sample's block is diagonal plus rank two, so the Woodbury identity inverts it in a few sums; only
a covariance matrix that was given needs dense blocks. The blocks never leave this file: the rest
of the package asks for ``solve``, ``logdet`` and two traces.
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from reanalysis.design import Design
from reanalysis.results import EngineError

__all__ = ["Covariance", "Structure", "make_structure"]

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


@dataclass(frozen=True, eq=False)
class Structure:
    """What stays the same while the variance components vary.

    Attributes
    ----------
    components : tuple of str
        Names of the variance components: ``tau_between``, and ``tau_within`` with three levels.
    vi : numpy.ndarray of shape (k,)
        Sampling variances.
    rho : numpy.ndarray of shape (k,)
        Sampling correlation of each row with the others of its sample; 0 for a row on its own.
    shares : numpy.ndarray of shape (k,)
        ``1 / n_averaged``: how much of ``tau_within**2`` a row carries.
    cluster, starts, sizes : numpy.ndarray
        Sample of each row; first row and number of rows of each sample.
    shared : int or None
        Position in `components` of the variance that the rows of a sample share.
    own : int or None
        Position in `components` of the variance that every row has for itself.
    given : tuple of (rows, blocks)
        Samples grouped by size with the covariance matrix that was given for them: row numbers
        of shape (g, n) and blocks of shape (g, n, n). Empty without a given matrix.
    """

    components: tuple[str, ...]
    vi: Vector
    rho: Vector
    shares: Vector
    cluster: NDArray[np.intp]
    starts: NDArray[np.intp]
    sizes: NDArray[np.intp]
    shared: int | None
    own: int | None
    given: tuple[tuple[NDArray[np.intp], Vector], ...] = ()
    correlated: bool = field(init=False)

    def __post_init__(self) -> None:
        """Note whether any two sampling errors are correlated."""
        object.__setattr__(self, "correlated", bool(np.any(self.rho != 0)))

    def covariance(self, tau2: Vector) -> Covariance:
        """Return the inverted covariance for given variance components.

        Parameters
        ----------
        tau2 : numpy.ndarray of shape (c,)
            Variance components in the order of `components`.

        Returns
        -------
        Covariance
            The blocks, inverted.

        Raises
        ------
        EngineError
            If a given covariance matrix is not positive definite.
        """
        between, within = self._split(tau2)
        if self.given:
            return DenseBlocks(self, between, within)
        if self.correlated:
            return RankTwoBlocks(self, between, within)
        return RankOneBlocks(self, between, within)

    def blocks(self, tau2: Vector) -> list[tuple[NDArray[np.intp], Vector]]:
        """Return the covariance blocks themselves, samples of one size together.

        Parameters
        ----------
        tau2 : numpy.ndarray of shape (c,)
            Variance components in the order of `components`.

        Returns
        -------
        list of (rows, blocks)
            Row numbers of shape (g, n) and covariance blocks of shape (g, n, n).
        """
        between, within = self._split(tau2)
        sampling = self.given or [
            (rows, self._sampling(rows)) for rows in _rows_by_size(self.starts, self.sizes)
        ]
        return [(rows, V + between + _diagonal(within * self.shares[rows])) for rows, V in sampling]

    def sample_block(self, tau2: Vector, sample: int) -> Vector:
        """Return the covariance block of one sample, shape (n, n)."""
        between, within = self._split(tau2)
        first = self.starts[sample]
        rows = first + np.arange(self.sizes[sample])[None, :]
        V = self._sampling(rows)
        for members, given in self.given:
            if members.shape[1] == rows.shape[1]:
                V = given[members[:, 0] == first]
        return (V + between + _diagonal(within * self.shares[rows]))[0]

    def variances(self, tau2: Vector) -> Vector:
        """Return the diagonal of the covariance, shape (k,)."""
        between, within = self._split(tau2)
        return self.vi + between + within * self.shares

    def _split(self, tau2: Vector) -> tuple[float, float]:
        """Return the variance that a sample's rows share, and the one of each row."""
        between = 0.0 if self.shared is None else float(tau2[self.shared])
        within = 0.0 if self.own is None else float(tau2[self.own])
        return between, within

    def _sampling(self, rows: NDArray[np.intp]) -> Vector:
        """Return sampling covariances, shape (g, n, n), of samples with rows of shape (g, n)."""
        sei, rho = np.sqrt(self.vi[rows]), self.rho[rows[:, :1]]
        return rho[:, :, None] * sei[:, :, None] * sei[:, None, :] + _diagonal((1 - rho) * sei**2)

    def cluster_sums(self, rows: Vector) -> Vector:
        """Return sums over the rows of each sample, along the last axis."""
        return np.add.reduceat(rows, self.starts, axis=-1)

    def spread(self, values: Vector) -> Vector:
        """Return each sample's value for each of its rows, along the last axis."""
        return np.take(values, self.cluster, axis=-1)


def make_structure(design: Design, rho: float) -> Structure:
    """Return the covariance structure of a design.

    Parameters
    ----------
    design : Design
        The arrays of the model.
    rho : float
        Correlation of sampling errors within a sample; ignored where the design gives `V`.

    Returns
    -------
    Structure
        Components and blocks.

    Raises
    ------
    EngineError
        If `rho` is outside (-1, 1), or the two variance components of a three-level model
        cannot be told apart.
    """
    if not -1 < rho < 1:
        raise EngineError(f"sampling_correlation is {rho:g}; it must lie between -1 and 1.")
    starts = design.starts
    sizes = np.diff(np.r_[starts, design.k]).astype(np.intp)
    single = bool(np.all(sizes == 1))
    shares = 1.0 / design.n_averaged
    if design.levels == 3 and single and np.ptp(shares) == 0:
        raise EngineError(
            "every sample has one row, so tau_between and tau_within cannot be told apart; "
            "fit a model with levels = 2."
        )
    if design.levels == 3:
        components: tuple[str, ...] = ("tau_between", "tau_within")
        shared: int | None = 0
        own: int | None = 1
    else:
        # A lone row per sample makes the shared variance the row's own: a diagonal covariance.
        components = ("tau_between",)
        shared, own = (None, 0) if single else (0, None)
        shares = np.ones(design.k)
    given = () if design.V is None or single else _blocks_by_size(design.V, starts, sizes)
    return Structure(
        components=components,
        vi=design.vi,
        rho=np.where(np.repeat(sizes, sizes) == 1, 0.0, rho),
        shares=shares,
        cluster=design.cluster,
        starts=starts,
        sizes=sizes,
        shared=shared,
        own=own,
        given=given,
    )


def _blocks_by_size(
    V: Vector, starts: NDArray[np.intp], sizes: NDArray[np.intp]
) -> tuple[tuple[NDArray[np.intp], Vector], ...]:
    """Group the diagonal blocks of V by size, so that each group is one batched operation."""
    return tuple(
        (rows, V[rows[:, :, None], rows[:, None, :]]) for rows in _rows_by_size(starts, sizes)
    )


def _rows_by_size(starts: NDArray[np.intp], sizes: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Return the row numbers of the samples, one (g, n) array per size n."""
    return [starts[sizes == size][:, None] + np.arange(size) for size in np.unique(sizes)]


def _diagonal(values: Vector) -> Vector:
    """Return diagonal matrices, shape (g, n, n), for values of shape (g, n)."""
    return values[:, :, None] * np.eye(values.shape[1])


class RankOneBlocks:
    """Blocks ``diag(d) + between * 1 1'``: independent sampling errors."""

    def __init__(self, structure: Structure, between: float, within: float) -> None:
        self.structure = structure
        d = structure.vi + within * structure.shares
        self.weights = 1.0 / d
        self.logdet = float(np.sum(np.log(d)))
        self.pull: Vector | None = None
        if structure.shared is not None:
            total = structure.cluster_sums(self.weights)
            self.pull = between / (1.0 + between * total)
            self.logdet += float(np.sum(np.log1p(between * total)))

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
        norm = float(np.sum(scaled**2))
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
        # K = C (I + H C)^-1 with C = diag(between, rho): defined also where C is singular.
        determinant = (1 + between * h11) * (1 + first * h22) - between * first * h12**2
        if np.any(determinant <= 0):
            raise EngineError(
                f"a sampling correlation of {rho.min():g} is not possible in a sample of "
                f"{structure.sizes.max()} rows: the covariance is not positive definite."
            )
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
            blocks = V + between + _diagonal(within * structure.shares[rows])
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
