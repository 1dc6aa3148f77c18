"""Where data meet model: plain arrays that every engine takes.

`make_design` is the only place that looks at both a `Dataset` and a `ModelSpec`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Design"]

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Design:
    """The arrays of one model, rows ordered by sample.

    Attributes
    ----------
    yi : numpy.ndarray of shape (k,)
        Effect-size estimates on the analysis scale (Fisher z for ZCOR).
    vi : numpy.ndarray of shape (k,)
        Sampling variances (not standard errors).
    X : numpy.ndarray of shape (k, p)
        Design matrix; a column of ones when there are no moderators.
    coefficients : tuple of str
        Names of the p coefficients: ``("mu",)``, or ``("beta[intercept]", "beta[late]", ...)``.
    cluster : numpy.ndarray of shape (k,)
        Integer code of each row's sample, 0..m-1, non-decreasing.
    cluster_names : tuple of str
        Names of the m samples.
    row_names : tuple of str
        Label of each row.
    measure : str
        Effect-size measure: ``ZCOR``, ``SMD``, ...
    levels : int
        2 (one variance component) or 3.
    n_averaged : numpy.ndarray of shape (k,)
        Number of effects averaged in each row (1 = a single effect): the row's within-sample
        variance is ``tau_within**2 / n_averaged``.
    n_measured : numpy.ndarray of shape (m,) or None
        Number of effects each sample measured, for the ``thin`` selection mechanism.
    ni : numpy.ndarray of shape (k,) or None
        Sample sizes, where known.
    V : numpy.ndarray of shape (k, k) or None
        Given sampling covariance, block-diagonal by sample; its diagonal is `vi`.
        None: the covariance follows from the model's sampling correlation.
    factors : mapping of str to tuple of int
        Columns of `X` that belong to each moderator.
    rows : numpy.ndarray of shape (k,)
        Position of each row in the data table (0-based).
    dropped : tuple of str
        Rows left out because a moderator is missing, in words.
    """

    yi: Vector
    vi: Vector
    X: Vector
    coefficients: tuple[str, ...]
    cluster: NDArray[np.intp]
    cluster_names: tuple[str, ...]
    row_names: tuple[str, ...]
    measure: str = "GEN"
    levels: int = 3
    n_averaged: Vector = field(default_factory=lambda: np.empty(0))
    n_measured: Vector | None = None
    ni: Vector | None = None
    V: Vector | None = None
    factors: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    rows: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, dtype=np.intp))
    dropped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check shapes and values, and freeze the arrays."""
        k = len(self.yi)
        if self.n_averaged.size == 0:
            object.__setattr__(self, "n_averaged", np.ones(k))
        if self.rows.size == 0:
            object.__setattr__(self, "rows", np.arange(k))
        shapes = {
            "yi": (self.yi, (k,)),
            "vi": (self.vi, (k,)),
            "X": (self.X, (k, len(self.coefficients))),
            "cluster": (self.cluster, (k,)),
            "n_averaged": (self.n_averaged, (k,)),
        }
        for name, (array, shape) in shapes.items():
            if array.shape != shape:
                raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
        if not np.all(np.isfinite(self.yi)) or not np.all(np.isfinite(self.X)):
            raise ValueError("yi and X must be finite")
        if not np.all((self.vi > 0) & np.isfinite(self.vi)):
            raise ValueError("sampling variances vi must be positive and finite")
        if np.any(self.n_averaged < 1):
            raise ValueError("n_averaged must be 1 or more")
        if k and (np.any(np.diff(self.cluster) < 0) or self.cluster[0] != 0):
            raise ValueError("cluster codes must start at 0 and be sorted")
        if self.levels not in (2, 3):
            raise ValueError(f"levels must be 2 or 3, not {self.levels}")
        for name in ("yi", "vi", "X", "cluster", "n_averaged", "n_measured", "ni", "V", "rows"):
            array = getattr(self, name)
            if array is not None:
                array.setflags(write=False)

    @property
    def k(self) -> int:
        """Number of effect sizes."""
        return len(self.yi)

    @property
    def m(self) -> int:
        """Number of samples."""
        return len(self.cluster_names)

    @property
    def p(self) -> int:
        """Number of coefficients."""
        return len(self.coefficients)

    @property
    def starts(self) -> NDArray[np.intp]:
        """First row of each sample, for ``np.add.reduceat``."""
        return np.flatnonzero(np.r_[True, np.diff(self.cluster) > 0])
