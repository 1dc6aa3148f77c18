"""The arrays of one model."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from reanalysis.moderators import ModeratorTerm, Variable

__all__ = ["Design"]

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
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
    primary : numpy.ndarray of bool, shape (k,), or None
        Primary effect of each sample, on which the ``study`` selection mechanism decides.
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
    terms : tuple of ModeratorTerm
        What the columns of `X` mean: how levels are coded, where numbers are zero.
    moderators : mapping of str to numpy.ndarray of shape (k,)
        The moderators as they are in the table: numbers, or levels as text.
    notes : tuple of str
        How the moderators enter and what is odd about them, in sentences.
    direction : int
        Expected direction of the effects, 1 or -1.
    scale : numpy.ndarray of shape (k,) or None
        Moderator of the heterogeneity, the same in all rows of a sample: the standard deviations
        are multiplied by ``exp(log_tau_ratio * scale)``.
    scale_variable : Variable or None
        What it is: levels, or centre and unit.
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
    primary: NDArray[np.bool_] | None = None
    ni: Vector | None = None
    V: Vector | None = None
    factors: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    rows: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, dtype=np.intp))
    dropped: tuple[str, ...] = ()
    terms: tuple[ModeratorTerm, ...] = ()
    moderators: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    direction: int = 1
    scale: Vector | None = None
    scale_variable: Variable | None = None

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
        optional = ("n_measured", "primary", "ni", "V", "rows")
        for name in ("yi", "vi", "X", "cluster", "n_averaged", *optional):
            array = getattr(self, name)
            if array is not None:
                array.setflags(write=False)

    def __repr__(self) -> str:
        """Return the size of the design and its coefficients, not its arrays."""
        return (
            f"Design({self.measure}: k = {self.k} effects, m = {self.m} samples, "
            f"{self.levels} levels, coefficients {', '.join(self.coefficients)})"
        )

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

    @property
    def tested(self) -> dict[str, tuple[int, ...]]:
        """Columns that are tested together: of each term, and of a moderator split in two.

        A split moderator that is the only one has no entry of its own: it is all there is.
        """
        parts: dict[str, list[tuple[int, ...]]] = {}
        for term in self.terms:
            parts.setdefault(term.moderator, []).append(term.columns)
        split = {name: found[0] + found[1] for name, found in parts.items() if len(found) == 2}
        return {**self.factors, **{n: both for n, both in split.items() if len(both) < self.p - 1}}

    @property
    def scale_levels(self) -> list[tuple[str, float]]:
        """Levels of the scale moderator, or its ends, with their value in comparisons."""
        variable = self.scale_variable
        assert variable is not None
        if variable.levels:
            rows = variable.coding[:, 0] / variable.unit
            return list(zip(variable.levels, rows.tolist(), strict=True))
        return [
            (f"{variable.name}={value:.4g}", (value - variable.centre) / variable.unit)
            for value in variable.limits
        ]

    def rescaled(self, log_tau_ratio: float) -> "Design":
        """Return the design in units of each sample's heterogeneity, for a model of it.

        With ``c = exp(log_tau_ratio * scale)`` a sample's covariance is ``V + c² T``, which is
        ``c² (V / c² + T)``: the rows divided by c have the same heterogeneity T in all samples.
        Their log-likelihood is that of the original rows plus ``sum(log c)``.

        Parameters
        ----------
        log_tau_ratio : float
            Log ratio of the standard deviations per comparison of the scale moderator.

        Returns
        -------
        Design
            Without a scale moderator.
        """
        assert self.scale is not None
        c = np.exp(log_tau_ratio * self.scale)
        return replace(
            self,
            yi=self.yi / c,
            vi=self.vi / c**2,
            X=self.X / c[:, None],
            V=None if self.V is None else self.V / np.outer(c, c),
            scale=None,
            scale_variable=None,
        )
