"""The block structure of a design's covariance: what stays while the variance components vary.

Every row has variance ``vi + tau_within**2 / n_averaged``, rows of one sample share
``tau_between**2``, and their sampling errors may be correlated. Rows of different samples are
independent. `reanalysis.frequentist.covariance` inverts the blocks.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from reanalysis.design import Design

__all__ = ["Structure", "diagonal_blocks", "make_structure"]

Vector = NDArray[np.float64]


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
        between, within = self.split(tau2)
        sampling = self.given or [
            (rows, self._sampling(rows)) for rows in _rows_by_size(self.starts, self.sizes)
        ]
        return [
            (rows, V + between + diagonal_blocks(within * self.shares[rows]))
            for rows, V in sampling
        ]

    def sample_block(self, tau2: Vector, sample: int) -> Vector:
        """Return the covariance block of one sample, shape (n, n)."""
        between, within = self.split(tau2)
        first = self.starts[sample]
        rows = first + np.arange(self.sizes[sample])[None, :]
        V = self._sampling(rows)
        for members, given in self.given:
            if members.shape[1] == rows.shape[1]:
                V = given[members[:, 0] == first]
        return (V + between + diagonal_blocks(within * self.shares[rows]))[0]

    def variances(self, tau2: Vector) -> Vector:
        """Return the diagonal of the covariance, shape (k,)."""
        between, within = self.split(tau2)
        return self.vi + between + within * self.shares

    def split(self, tau2: Vector) -> tuple[float, float]:
        """Return the variance that a sample's rows share, and the one of each row."""
        between = 0.0 if self.shared is None else float(tau2[self.shared])
        within = 0.0 if self.own is None else float(tau2[self.own])
        return between, within

    def _sampling(self, rows: NDArray[np.intp]) -> Vector:
        """Return sampling covariances, shape (g, n, n), of samples with rows of shape (g, n)."""
        sei, rho = np.sqrt(self.vi[rows]), self.rho[rows[:, :1]]
        return rho[:, :, None] * sei[:, :, None] * sei[:, None, :] + diagonal_blocks(
            (1 - rho) * sei**2
        )

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
        Correlation of sampling errors within a sample, at least 0 and below 1; ignored where the
        design gives `V`.

    Returns
    -------
    Structure
        Components and blocks.
    """
    starts = design.starts
    sizes = np.diff(np.r_[starts, design.k]).astype(np.intp)
    single = bool(np.all(sizes == 1))
    shares = 1.0 / design.n_averaged
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


def diagonal_blocks(values: Vector) -> Vector:
    """Return diagonal matrices, shape (g, n, n), for values of shape (g, n)."""
    return values[:, :, None] * np.eye(values.shape[1])
