"""The arrays a selection likelihood needs, laid out for fast products within samples."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from reanalysis.selection.bins import Bins

__all__ = ["MECHANISMS", "Layout", "Mechanism", "SelectionData"]

Vector = NDArray[np.float64]
Index = NDArray[np.intp]
Mechanism = Literal["none", "joint", "replace", "study", "thin"]
MECHANISMS: tuple[Mechanism, ...] = ("none", "joint", "replace", "study", "thin")


@dataclass(frozen=True, eq=False)
class Layout:
    """Rows of some samples, reordered so that a product within samples is a few slices.

    Attributes
    ----------
    clusters : numpy.ndarray of int
        The samples, largest first.
    rows : numpy.ndarray of int
        The first rows of all of them, then the second rows of those that have one, and so on.
    widths : tuple of int
        How many samples have a first row, a second row, ...
    alike : bool
        Whether the rows of each sample are all alike; then only the first of each is in `rows`.
    """

    clusters: Index
    rows: Index
    widths: tuple[int, ...]
    alike: bool = False

    @property
    def owner(self) -> Index:
        """Position in `clusters` of the sample that each of `rows` belongs to."""
        widths = self.widths[:1] if self.alike else self.widths
        return np.concatenate([np.arange(width) for width in widths])

    @classmethod
    def of(cls, clusters: Index, starts: Index, sizes: Index, *, alike: bool = False) -> "Layout":
        """Lay out the given samples; `starts` and `sizes` describe all samples."""
        clusters = clusters[np.argsort(-sizes[clusters], kind="stable")]
        most = int(sizes[clusters].max(initial=0))
        having = [clusters[sizes[clusters] > position] for position in range(most)]
        rows = [starts[some] + position for position, some in enumerate(having)]
        return cls(
            clusters,
            np.concatenate([np.empty(0, dtype=np.intp), *(rows[:1] if alike else rows)]),
            tuple(len(some) for some in having),
            alike,
        )

    def parts(self, factors: Vector) -> list[Vector]:
        """Return views of the first rows, the second rows, ... along axis 1 of `factors`."""
        if self.alike:
            return [factors[:, :width] for width in self.widths]
        ends = np.cumsum(self.widths).tolist()
        return [factors[:, end - n : end] for n, end in zip(self.widths, ends, strict=True)]

    def product(self, factors: Vector) -> Vector:
        """Return products over the rows of each sample; axis 1 of `factors` is in row order."""
        first, *others = self.parts(factors)
        if not others:
            return first
        result = first.copy()
        for part in others:
            result[:, : part.shape[1]] *= part
        return result


@dataclass(frozen=True, eq=False)
class SelectionData:
    """Effects in the expected direction, their samples, and the claim about what went missing.

    Attributes
    ----------
    yi, vi : numpy.ndarray of shape (k,)
        Effects, oriented so that the expected direction is positive, and sampling variances.
    cluster : numpy.ndarray of shape (k,)
        Integer code of each row's sample, 0..m-1, non-decreasing.
    bins : Bins
        Bins of p-values.
    mechanism : str
        ``none``, ``joint``, ``replace``, ``study`` or ``thin`` (METHODS section 5).
    n_averaged : numpy.ndarray of shape (k,)
        Effects averaged in each row; ones by default.
    n_measured : numpy.ndarray of shape (m,) or None
        Effects each sample measured; needed by ``thin`` only.
    primary : numpy.ndarray of bool, shape (k,), or None
        The effect of each sample that ``study`` decides on; its most significant one if None.
    cutoffs : numpy.ndarray of shape (k, J - 1)
        Smallest effect that reaches each step, decreasing along the last axis; by default where
        ``yi / sqrt(vi)`` reaches it.
    """

    yi: Vector
    vi: Vector
    cluster: Index
    bins: Bins = field(default_factory=Bins)
    mechanism: Mechanism = "joint"
    n_averaged: Vector = field(default_factory=lambda: np.empty(0))
    n_measured: Vector | None = None
    primary: NDArray[np.bool_] | None = None
    cutoffs: Vector = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        """Check the arrays and prepare the layout."""
        k = len(self.yi)
        for name in ("yi", "vi", "n_averaged"):
            array = np.array(getattr(self, name), dtype=float)
            if name == "n_averaged" and not array.size:
                array = np.ones(k)
            if array.shape != (k,) or not np.all(np.isfinite(array)):
                raise ValueError(f"{name} must hold {k} finite numbers")
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if k == 0:
            raise ValueError("a selection model needs at least one effect")
        if np.any(self.vi <= 0):
            raise ValueError("sampling variances vi must be positive")
        cluster = np.array(self.cluster, dtype=np.intp)
        if cluster.shape != (k,) or cluster[0] != 0 or np.any((np.diff(cluster) | 1) != 1):
            raise ValueError("cluster codes must be 0, ..., m - 1 in order, one per row")
        object.__setattr__(self, "cluster", cluster)
        cutoffs = np.array(self.cutoffs, dtype=float)
        if not cutoffs.size:
            cutoffs = self.bins.cutoffs(np.sqrt(self.vi))
        if cutoffs.shape != (k, self.bins.count - 1) or np.any(np.diff(cutoffs, axis=1) >= 0):
            raise ValueError(f"cutoffs must decrease and have shape ({k}, {self.bins.count - 1})")
        cutoffs.setflags(write=False)
        object.__setattr__(self, "cutoffs", cutoffs)
        if self.mechanism not in MECHANISMS:
            raise ValueError(
                f"unknown mechanism '{self.mechanism}'; it is one of {', '.join(MECHANISMS)}"
            )
        self._check_measured()
        if self.primary is not None:
            primary = np.array(self.primary, dtype=bool)
            if np.any(np.bincount(cluster, primary, self.m) != 1):
                raise ValueError("primary must mark exactly one effect of every sample")
            object.__setattr__(self, "primary", primary)

    def _check_measured(self) -> None:
        if self.mechanism != "thin":
            return
        if self.n_measured is None:
            raise ValueError(
                "the mechanism 'thin' needs n_measured, the number of effects that each sample "
                "measured; add the column or choose another mechanism"
            )
        measured = np.array(self.n_measured, dtype=float)
        if measured.shape != (self.m,) or np.any(measured != np.floor(measured)):
            raise ValueError(f"n_measured must hold {self.m} whole numbers, one per sample")
        short = np.flatnonzero(measured < self.sizes)
        if short.size:
            j = int(short[0])
            raise ValueError(
                f"sample {j + 1} reports {self.sizes[j]} effects, but n_measured is "
                f"{measured[j]:g}; n_measured counts reported and unreported effects together"
            )
        object.__setattr__(self, "n_measured", measured)

    @property
    def k(self) -> int:
        """Number of effects."""
        return len(self.yi)

    @property
    def m(self) -> int:
        """Number of samples."""
        return int(self.cluster[-1]) + 1

    @cached_property
    def starts(self) -> Index:
        """First row of each sample."""
        return np.flatnonzero(np.r_[True, np.diff(self.cluster) > 0])

    @cached_property
    def sizes(self) -> Index:
        """Number of rows of each sample."""
        return np.bincount(self.cluster)

    @cached_property
    def missing(self) -> Vector:
        """Number of unreported effects of each sample; zero unless `thin`."""
        if self.mechanism != "thin" or self.n_measured is None:
            return np.zeros(self.m)
        return np.asarray(self.n_measured - self.sizes)

    @cached_property
    def bin(self) -> Index:
        """Bin of each effect; one exactly on a cut-off is on its significant side."""
        effect = np.abs(self.yi) if self.bins.two_sided else self.yi
        return np.sum(effect[:, None] < self.cutoffs, axis=1)

    @cached_property
    def decided(self) -> Index:
        """Number of decisions per bin, shape (J,).

        One decision per effect; for ``study`` one per sample, on its most significant or its
        primary effect; none for the mechanism ``none``.
        """
        if self.mechanism == "none":
            return np.zeros(self.bins.count, dtype=np.intp)
        if self.mechanism == "study" and self.primary is not None:
            return np.bincount(self.bin[self.primary], minlength=self.bins.count)
        if self.mechanism == "study":
            best = np.minimum.reduceat(self.bin, self.starts)
            return np.bincount(best, minlength=self.bins.count)
        return np.bincount(self.bin, minlength=self.bins.count)

    @cached_property
    def same_precision(self) -> NDArray[np.bool_]:
        """Whether the rows of each sample have the same variance, average and cut-offs."""
        columns = np.column_stack([self.vi, self.n_averaged, self.cutoffs])
        return ~np.any(columns != columns[self.starts][self.cluster], axis=1)

    @cached_property
    def single(self) -> Layout:
        """Samples with one effect, whose sample effect is absorbed into the row's variance."""
        return Layout.of(np.flatnonzero(self.sizes + self.missing == 1), self.starts, self.sizes)

    @cached_property
    def multiple(self) -> Layout:
        """Samples with several effects, whose sample effect is integrated numerically."""
        return Layout.of(np.flatnonzero(self.sizes + self.missing > 1), self.starts, self.sizes)
