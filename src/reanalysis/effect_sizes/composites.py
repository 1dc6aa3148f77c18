"""One correlation for several dependent ones: the composite, and the mean behind a composite.

A composite is the correlation with the *sum* of m outcomes. It is larger than the mean of the m
correlations by the factor ``f = sqrt(m / (1 + (m - 1) * rho))``, because adding outcomes removes
error. The two are different estimands; no function here mixes them.
"""

import numpy as np
from numpy.typing import ArrayLike

from reanalysis.effect_sizes.fisher import scaled_z
from reanalysis.effect_sizes.validation import Vector, numbers, require, require_correlation

__all__ = ["composite_r", "composite_to_mean_r", "composite_to_mean_z"]


def composite_r(ri: ArrayLike, intercorrelation: ArrayLike = 0.7) -> Vector:
    """Return the correlation of one variable with the unit-weighted sum of m outcomes.

    Parameters
    ----------
    ri : array_like of shape (..., m)
        Correlations with each outcome, each in (-1, 1); the last axis runs over outcomes.
    intercorrelation : array_like of shape (...), default 0.7
        Mean correlation between the outcomes, in (-1 / (m - 1), 1].

    Returns
    -------
    numpy.ndarray of shape (...)
        ``sum(ri) / sqrt(m + m (m - 1) intercorrelation)``, on the r scale.

    Raises
    ------
    ValueError
        If a correlation is out of range, or if the composite would exceed 1 in size, which means
        that the intercorrelation is too low to be true together with these correlations.

    References
    ----------
    Hunter, J. E., & Schmidt, F. L. (2004). Methods of meta-analysis (2nd ed.), ch. 10, on the
    correlation with a composite of dependent variables.

    Examples
    --------
    The two printed composites of Kaiser et al. (2021) for Beckner et al. (2007), where one outcome
    was "n.s." and set to zero:

    >>> composite_r([[0.0, 0.4322], [0.0, -0.147]]).round(2)
    array([ 0.23, -0.08])
    """
    (ri,) = numbers(ri=ri)
    (rho,) = numbers(intercorrelation=intercorrelation)
    ri = np.atleast_1d(ri)
    require_correlation("ri", ri)
    m = ri.shape[-1]
    if m == 0:
        raise ValueError("ri holds no correlation; a composite needs at least one.")
    _require_intercorrelation(rho, np.float64(m))
    composite = ri.sum(axis=-1) / np.sqrt(m + m * (m - 1) * rho)
    require(
        "the composite",
        composite,
        np.abs(composite) <= 1,
        "between -1 and 1; the intercorrelation is too low for these correlations",
    )
    return composite


def composite_to_mean_r(c: ArrayLike, m: ArrayLike, intercorrelation: ArrayLike = 0.7) -> Vector:
    """Return the mean correlation that a composite of m outcomes stands for.

    Parameters
    ----------
    c : array_like of shape (k,)
        Composite correlations, each in (-1, 1).
    m : array_like of shape (k,)
        Number of outcomes in each composite, 1 or more.
    intercorrelation : array_like of shape (k,), default 0.7
        Mean correlation between the outcomes, in (-1 / (m - 1), 1].

    Returns
    -------
    numpy.ndarray of shape (k,)
        ``c / f`` with ``f = sqrt(m / (1 + (m - 1) intercorrelation))``, on the r scale.

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    The inverse of `composite_r`.

    Examples
    --------
    >>> composite_to_mean_r(0.23, [1, 2, 3]).round(3)
    array([0.23 , 0.212, 0.206])
    """
    (composite,) = numbers(c=c)
    require_correlation("c", composite)
    return composite * _mean_factor(m, intercorrelation)


def composite_to_mean_z(
    c: ArrayLike, ni: ArrayLike, m: ArrayLike, intercorrelation: ArrayLike = 0.7
) -> tuple[Vector, Vector]:
    """Return the mean correlation behind a composite as Fisher's z with its sampling variance.

    Parameters
    ----------
    c : array_like of shape (k,)
        Composite correlations, each in (-1, 1).
    ni : array_like of shape (k,)
        Sample sizes, each greater than 3.
    m : array_like of shape (k,)
        Number of outcomes in each composite, 1 or more.
    intercorrelation : array_like of shape (k,), default 0.7
        Mean correlation between the outcomes, in (-1 / (m - 1), 1].

    Returns
    -------
    yi : numpy.ndarray of shape (k,)
        ``arctanh(c / f)``, on the z scale.
    vi : numpy.ndarray of shape (k,)
        Sampling variance by the delta method. The composite is one correlation, so
        ``z = arctanh(c)`` has variance ``1 / (ni - 3)``, and
        ``dy/dz = (1 - c**2) / (f (1 - (c / f)**2))``.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> yi, vi = composite_to_mean_z(0.23, 48, 2)
    >>> float(yi.round(4)), float(vi.round(5))
    (0.2153, 0.01858)
    """
    return scaled_z(c, ni, _mean_factor(m, intercorrelation))


def _mean_factor(m: ArrayLike, intercorrelation: ArrayLike) -> Vector:
    """Return 1 / f, what a composite is multiplied by to give the mean; at most 1."""
    size, rho = numbers(m=m, intercorrelation=intercorrelation)
    require("m", size, size >= 1, "a number of outcomes, 1 or more")
    _require_intercorrelation(rho, size)
    return np.sqrt((1 + (size - 1) * rho) / size)


def _require_intercorrelation(rho: Vector, m: Vector | np.float64) -> None:
    """Raise unless m variables can have this mean correlation."""
    rho, m = np.broadcast_arrays(rho, m)
    require(
        "intercorrelation",
        rho,
        (rho <= 1) & (1 + (m - 1) * rho > 0),
        "at most 1 and greater than -1 / (m - 1)",
    )
