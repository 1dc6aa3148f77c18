"""Point-biserial correlations as biserial ones: what a dichotomised variable would have given."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from reanalysis.effect_sizes.validation import Vector, numbers, require, require_correlation

__all__ = ["biserial_variance", "point_biserial_to_biserial"]


def point_biserial_to_biserial(ri: ArrayLike, n1i: ArrayLike = 1, n2i: ArrayLike = 1) -> Vector:
    """Return the biserial correlation that belongs to a point-biserial one.

    Parameters
    ----------
    ri : array_like of shape (k,)
        Point-biserial correlations, each in (-1, 1).
    n1i, n2i : array_like of shape (k,), default 1
        Group sizes, greater than 0. Only their ratio matters; equal groups by default.

    Returns
    -------
    numpy.ndarray of shape (k,)
        ``ri sqrt(p (1 - p)) / f`` with ``p`` the share of one group and ``f`` the standard normal
        density at its quantile: the correlation with the normal variable behind the groups. At
        least 1.25 times `ri` in size.

    Raises
    ------
    ValueError
        If an argument is out of range, or if the result is 1 or more in size, which can happen
        when the variable behind the groups is not normal or the sample is small.

    References
    ----------
    Jacobs, P., & Viechtbauer, W. (2017). Estimation of the biserial correlation and its sampling
    variance for use in meta-analysis. Research Synthesis Methods, 8, 161-180.

    Examples
    --------
    >>> point_biserial_to_biserial([0.4, -0.4]).round(4)
    array([ 0.5013, -0.5013])
    >>> point_biserial_to_biserial(0.4, 1, 9).round(4)
    np.float64(0.6838)
    """
    r, n1, n2 = numbers(ri=ri, n1i=n1i, n2i=n2i)
    require_correlation("ri", r)
    share, density, _ = _split(n1, n2)
    biserial = r * np.sqrt(share * (1 - share)) / density
    require_correlation("the biserial correlation", biserial)
    return biserial


def biserial_variance(ri: ArrayLike, n1i: ArrayLike, n2i: ArrayLike) -> Vector:
    """Return the sampling variance of a biserial correlation.

    Parameters
    ----------
    ri : array_like of shape (k,)
        Biserial correlations, each in (-1, 1).
    n1i, n2i : array_like of shape (k,)
        Group sizes, greater than 0 and together more than 1.

    Returns
    -------
    numpy.ndarray of shape (k,)
        Soper's large-sample variance, with ``n = n1i + n2i``, ``p = n1i / n``, ``z`` the normal
        quantile of p and ``f`` the density there: ``(r**4 + r**2 (p (1 - p) z**2 / f**2 +
        (1 - 2 p) z / f - 5/2) + p (1 - p) / f**2) / (n - 1)``. Larger than that of a Pearson
        correlation.

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    Soper, H. E. (1914). On the probable error of the bi-serial expression for the correlation
    coefficient. Biometrika, 10, 384-390.

    Examples
    --------
    >>> biserial_variance([0.36, -0.36], 50, 50).round(5)
    array([0.01276, 0.01276])
    """
    r, n1, n2 = numbers(ri=ri, n1i=n1i, n2i=n2i)
    require_correlation("ri", r)
    share, density, quantile = _split(n1, n2)
    n = n1 + n2
    require("n1i + n2i", n, n > 1, "greater than 1")
    # quantile and (1 - 2 share) have opposite signs, so the groups may be swapped.
    spread = share * (1 - share) / density**2
    slope = spread * quantile**2 + (1 - 2 * share) * quantile / density - 2.5
    return (r**4 + r**2 * slope + spread) / (n - 1)


def _split(n1: Vector, n2: Vector) -> tuple[Vector, Vector, Vector]:
    """Return the first group's share, and the normal density and quantile there."""
    require("n1i", n1, n1 > 0, "a group size greater than 0")
    require("n2i", n2, n2 > 0, "a group size greater than 0")
    share = n1 / (n1 + n2)
    quantile = special.ndtri(share)
    return share, np.exp(-(quantile**2) / 2) / np.sqrt(2 * np.pi), quantile
