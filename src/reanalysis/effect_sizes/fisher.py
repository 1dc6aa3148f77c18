"""Pearson correlations on Fisher's z scale, and back."""

import numpy as np
from numpy.typing import ArrayLike

from reanalysis.effect_sizes.validation import Vector, numbers, require, require_correlation

__all__ = ["fisher_z", "raw_r", "scaled_z", "z_to_r"]


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
    return scaled_z(ri, ni, 1.0)


def scaled_z(ri: ArrayLike, ni: ArrayLike, factor: ArrayLike) -> tuple[Vector, Vector]:
    """Return Fisher's z of a correlation times a known factor, with its sampling variance.

    Parameters
    ----------
    ri : array_like of shape (k,)
        Correlations as observed, each in (-1, 1).
    ni : array_like of shape (k,)
        Sample sizes, each greater than 3.
    factor : array_like of shape (k,)
        Known factors ``a``, greater than 0; ``a * ri`` must lie in (-1, 1).

    Returns
    -------
    yi : numpy.ndarray of shape (k,)
        ``arctanh(a ri)``, on the z scale.
    vi : numpy.ndarray of shape (k,)
        Sampling variance by the delta method: ``arctanh(ri)`` has variance ``1 / (ni - 3)``, and
        the slope of ``yi`` against it is ``a (1 - ri**2) / (1 - (a ri)**2)``.

    Raises
    ------
    ValueError
        If an argument is out of range, or if a scaled correlation is.

    Examples
    --------
    >>> yi, vi = scaled_z(0.5, 28, 0.8)
    >>> float(yi.round(4)), float(vi.round(5))
    (0.4236, 0.02041)
    """
    r, n, a = numbers(ri=ri, ni=ni, factor=factor)
    require_correlation("ri", r)
    require("ni", n, n > 3, "a sample size greater than 3")
    require("factor", a, a > 0, "greater than 0")
    r, n, a = np.broadcast_arrays(r, n, a)
    scaled = a * r
    require_correlation("the scaled correlation", scaled)
    slope = a * (1 - r**2) / (1 - scaled**2)
    return np.arctanh(scaled), slope**2 / (n - 3)


def raw_r(ri: ArrayLike, ni: ArrayLike) -> tuple[Vector, Vector]:
    """Return correlations on their own scale with their sampling variance.

    Parameters
    ----------
    ri : array_like of shape (k,)
        Pearson correlations, each in (-1, 1).
    ni : array_like of shape (k,)
        Sample sizes, each greater than 1.

    Returns
    -------
    yi : numpy.ndarray of shape (k,)
        `ri`, unchanged.
    vi : numpy.ndarray of shape (k,)
        Large-sample variance ``(1 - ri**2)**2 / (ni - 1)``. It depends on the correlation itself;
        that is why Fisher's z is the default scale.

    Raises
    ------
    ValueError
        If a correlation is outside (-1, 1) or a sample size is 1 or less.

    References
    ----------
    Borenstein, M., Hedges, L. V., Higgins, J. P. T., & Rothstein, H. R. (2009). Introduction to
    meta-analysis, ch. 6.

    Examples
    --------
    >>> raw_r([0.5], [100])[1].round(4)
    array([0.0057])
    """
    r, n = numbers(ri=ri, ni=ni)
    require_correlation("ri", r)
    require("ni", n, n > 1, "a sample size greater than 1")
    r, n = np.broadcast_arrays(r, n)
    return r.copy(), (1 - r**2) ** 2 / (n - 1)


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
        r; the mean of z becomes the *median* of r over samples, not its mean (see `mean_r`).

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
    (values,) = numbers(z=z)
    return np.tanh(values)
