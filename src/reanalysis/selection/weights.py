"""Priors on the selection weights, and the coordinates the engines integrate over.

The weight of the most significant bin is 1. Both priors offered are products of independent beta
distributions in suitable coordinates: the weights themselves, or the ratios of neighbouring
weights, which is what a cumulative Dirichlet prior becomes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

__all__ = ["WeightPrior"]

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class WeightPrior:
    """A prior on the weights of J bins.

    Use `cumulative_dirichlet`, `independent_beta` or `fixed` to make one.

    Attributes
    ----------
    a, b : tuple of float
        Beta parameters of the J - 1 coordinates; empty for fixed weights.
    ordered : bool
        True: the coordinates are ratios ``omega[b + 1] / omega[b]``; False: the weights.
    values : tuple of float
        Fixed weights of all J bins; empty otherwise.
    """

    a: tuple[float, ...] = ()
    b: tuple[float, ...] = ()
    ordered: bool = True
    values: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Check that every parameter is usable."""
        if len(self.a) != len(self.b) or min((*self.a, *self.b), default=1.0) <= 0:
            raise ValueError(f"beta parameters must be positive, in pairs; not {self.a}, {self.b}")
        if self.values and (self.values[0] != 1 or not all(0 <= v < np.inf for v in self.values)):
            raise ValueError(
                f"weights must start with 1 and be non-negative numbers, not {list(self.values)}"
            )

    @classmethod
    def cumulative_dirichlet(
        cls, count: int, concentration: ArrayLike | None = None
    ) -> "WeightPrior":
        """Return the prior of weights that fall from bin to bin.

        ``omega[b] = eta[b] + ... + eta[J]`` with ``eta ~ Dirichlet(concentration)``; all ones by
        default, which is uniform on ordered weights (Maier, Bartoš & Wagenmakers 2023).

        Parameters
        ----------
        count : int
            Number of bins J.
        concentration : array_like of shape (J,), optional
            Dirichlet parameters from the most significant bin on.

        Returns
        -------
        WeightPrior
            In the coordinates ``omega[b + 1] / omega[b]``, independent betas.
        """
        alpha = np.ones(count) if concentration is None else np.asarray(concentration, dtype=float)
        if alpha.shape != (count,):
            raise ValueError(f"{count} bins need {count} Dirichlet parameters, not {alpha.size}")
        # Aggregation: (eta_{b+1} + ... + eta_J) / (eta_b + ... + eta_J) ~ Beta(tail sum, alpha_b).
        tail = np.cumsum(alpha[::-1])[::-1][1:]
        return cls(tuple(tail.tolist()), tuple(alpha[:-1].tolist()))

    @classmethod
    def independent_beta(cls, count: int, alpha: float = 1.0, beta: float = 1.0) -> "WeightPrior":
        """Return independent ``Beta(alpha, beta)`` priors, in no order, for J bins."""
        return cls((alpha,) * (count - 1), (beta,) * (count - 1), ordered=False)

    @classmethod
    def fixed(cls, values: ArrayLike) -> "WeightPrior":
        """Return weights held at `values` (J of them, the first 1), for sensitivity analysis."""
        return cls(values=tuple(np.atleast_1d(np.asarray(values, dtype=float)).tolist()))

    @property
    def dimension(self) -> int:
        """Number of free coordinates."""
        return len(self.a)

    @property
    def count(self) -> int:
        """Number of bins J."""
        return len(self.values) or len(self.a) + 1

    def omega(self, x: ArrayLike) -> Vector:
        """Return the weights at given coordinates.

        Parameters
        ----------
        x : array_like of shape (..., d)
            Coordinates in (0, 1).

        Returns
        -------
        numpy.ndarray of shape (..., J)
            Weights, the first of them 1.
        """
        x = np.asarray(x, dtype=float)
        if self.values:
            return np.broadcast_to(self.values, (*x.shape[:-1], len(self.values)))
        free = np.cumprod(x, axis=-1) if self.ordered else x
        return np.concatenate([np.ones((*x.shape[:-1], 1)), free], axis=-1)

    def logpdf(self, x: ArrayLike) -> Vector:
        """Return the log prior density of coordinates `x`, shape (..., d) to (...)."""
        x = np.asarray(x, dtype=float)
        a, b = np.asarray(self.a), np.asarray(self.b)
        terms = special.xlogy(a - 1, x) + special.xlog1py(b - 1, -x) - special.betaln(a, b)
        return np.asarray(np.sum(terms, axis=-1))

    def rvs(self, size: int, rng: np.random.Generator) -> Vector:
        """Return random weights, shape (size, J)."""
        return self.omega(rng.beta(self.a, self.b, size=(size, self.dimension)))

    def quantiles(self, q: ArrayLike) -> Vector:
        """Return prior quantiles of each weight, shape (len(q), J): its marginal is a beta."""
        q = np.atleast_1d(np.asarray(q, dtype=float))
        if self.values:
            return np.tile(self.values, (q.size, 1))
        a, b = np.asarray(self.a), np.asarray(self.b)
        if self.ordered:
            b = np.cumsum(b)
        free = special.betaincinv(a, b, q[:, None])
        return np.column_stack([np.ones(q.size), free])
