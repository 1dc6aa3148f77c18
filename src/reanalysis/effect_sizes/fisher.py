"""Pearson correlations on Fisher's z scale, and back."""

import numpy as np
from numpy.typing import ArrayLike

from reanalysis.effect_sizes.validation import Vector, numbers, require, require_correlation

__all__ = ["fisher_z", "z_to_r"]


def fisher_z(ri: ArrayLike, ni: ArrayLike) -> tuple[Vector, Vector]:
    """Return Fisher's z and its sampling variance for a correlation.

    Parameters
    ----------
    ri : array_like of shape (k,)
        Pearson correlations, each in (-1, 1).
    ni : array_like of shape (k,)
        Sample sizes (number of pairs), each greater than 3.

    Returns
    -------
    yi : numpy.ndarray of shape (k,)
        ``arctanh(ri)``, on the z scale (unitless).
    vi : numpy.ndarray of shape (k,)
        Sampling variance ``1 / (ni - 3)``; a variance, not a standard error.

    Raises
    ------
    ValueError
        If a correlation is outside (-1, 1) or a sample size is 3 or less.

    References
    ----------
    Fisher, R. A. (1921). Metron, 1, 3-32.

    Examples
    --------
    >>> yi, vi = fisher_z([0.5], [28])
    >>> yi.round(4), vi
    (array([0.5493]), array([0.04]))
    """
    ri, ni = numbers(ri=ri, ni=ni)
    require_correlation("ri", ri)
    require("ni", ni, ni > 3, "a sample size greater than 3")
    ri, ni = np.broadcast_arrays(ri, ni)
    return np.arctanh(ri), 1 / (ni - 3)


def z_to_r(z: ArrayLike) -> Vector:
    """Return the correlation that belongs to a Fisher's z.

    Parameters
    ----------
    z : array_like
        Values on Fisher's z scale, of any shape.

    Returns
    -------
    numpy.ndarray
        ``tanh(z)``, same shape. The ends of an interval for z become the ends of the interval for
        r; a mean of z becomes the *median* of r over samples, not the mean (see `mean_r`).

    Raises
    ------
    ValueError
        If a value is not finite.

    References
    ----------
    Fisher, R. A. (1921). Metron, 1, 3-32.

    Examples
    --------
    >>> z_to_r([0.5493, -0.5493]).round(4)
    array([ 0.5, -0.5])
    """
    (z,) = numbers(z=z)
    return np.tanh(z)
