"""Bins of p-values: which bin an effect falls in, and where the cut-offs lie on its own scale.

Selection acts on the one-sided p-value of ``z = yi / sei`` in the expected direction, or on the
two-sided one. Everything is compared on the z scale, so that no p-value can underflow.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

__all__ = ["Bins"]

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Bins:
    """Bins of p-values, from the most significant to the least.

    Parameters
    ----------
    steps : tuple of float
        Increasing p-values in (0, 1) that separate the bins; J - 1 steps make J bins.
    two_sided : bool, default False
        Whether the steps are two-sided p-values, so that the weight depends on ``abs(z)``.
        False: one-sided p-values, small for large positive effects.

    Raises
    ------
    ValueError
        If there is no step, a step is outside (0, 1), or the steps do not increase.

    Examples
    --------
    >>> bins = Bins((0.025, 0.5))
    >>> bins.labels
    ('p <= 0.025', '0.025 < p <= 0.5', 'p > 0.5')
    >>> bins.of([0.3, 0.1, -0.2], [0.1, 0.1, 0.1])
    array([0, 1, 2])
    """

    steps: tuple[float, ...] = (0.025, 0.5)
    two_sided: bool = False

    def __post_init__(self) -> None:
        """Check the steps."""
        object.__setattr__(self, "steps", tuple(float(step) for step in self.steps))
        if not self.steps:
            raise ValueError("steps must hold at least one p-value, such as (0.025, 0.5)")
        for step in self.steps:
            if not 0 < step < 1:
                raise ValueError(f"each step must be a p-value between 0 and 1, not {step:g}")
        if any(a >= b for a, b in pairwise(self.steps)):
            raise ValueError(f"steps must increase from step to step, not {list(self.steps)}")

    @property
    def count(self) -> int:
        """Number of bins, and so of weights (the first weight is 1)."""
        return len(self.steps) + 1

    @property
    def labels(self) -> tuple[str, ...]:
        """Words for each bin, most significant first."""
        inner = [f"{low:g} < p <= {high:g}" for low, high in pairwise(self.steps)]
        return (f"p <= {self.steps[0]:g}", *inner, f"p > {self.steps[-1]:g}")

    @property
    def z(self) -> Vector:
        """Critical values of z (of ``abs(z)`` if two-sided), shape (J - 1,), decreasing."""
        steps = np.asarray(self.steps)
        return -special.ndtri(steps / 2 if self.two_sided else steps)

    def cutoffs(self, sei: ArrayLike) -> Vector:
        """Return the smallest effect that reaches each step.

        Parameters
        ----------
        sei : array_like of shape (k,)
            Standard errors.

        Returns
        -------
        numpy.ndarray of shape (k, J - 1)
            Cut-offs on the scale of the effects, decreasing along the last axis.
        """
        return np.asarray(sei, dtype=float)[:, None] * self.z

    def of(self, yi: ArrayLike, sei: ArrayLike) -> NDArray[np.intp]:
        """Return the bin of each effect; one exactly on a step belongs to the smaller p.

        Parameters
        ----------
        yi, sei : array_like of shape (k,)
            Effects, in the expected direction, and their standard errors.

        Returns
        -------
        numpy.ndarray of shape (k,)
            Bin, 0 for the most significant.
        """
        effect = np.asarray(yi, dtype=float)
        effect = np.abs(effect) if self.two_sided else effect
        return np.sum(effect[:, None] < self.cutoffs(sei), axis=1)

    def counts(self, yi: ArrayLike, sei: ArrayLike) -> NDArray[np.intp]:
        """Return the number of effects in each bin, shape (J,)."""
        return np.bincount(self.of(yi, sei), minlength=self.count)
