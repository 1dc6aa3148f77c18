"""Correlations corrected for measurement error."""

import numpy as np
from numpy.typing import ArrayLike

from reanalysis.effect_sizes.fisher import scaled_z
from reanalysis.effect_sizes.validation import Vector, numbers, require, require_correlation

__all__ = ["disattenuate_r", "disattenuate_z"]


def disattenuate_r(ri: ArrayLike, reliability_x: ArrayLike, reliability_y: ArrayLike = 1) -> Vector:
    """Return the correlation between true scores.

    Parameters
    ----------
    ri : array_like of shape (k,)
        Observed correlations, each in (-1, 1).
    reliability_x, reliability_y : array_like of shape (k,)
        Reliabilities of the two measures, each in (0, 1]; 1 corrects for nothing.

    Returns
    -------
    numpy.ndarray of shape (k,)
        ``ri / sqrt(reliability_x reliability_y)``, on the r scale.

    Raises
    ------
    ValueError
        If an argument is out of range, or if the result is 1 or more in size: then the
        reliabilities do not allow the observed correlation.

    References
    ----------
    Spearman, C. (1904). The proof and measurement of association between two things. American
    Journal of Psychology, 15, 72-101.

    Examples
    --------
    >>> disattenuate_r([0.36, -0.36], 0.8, 0.9).round(4)
    array([ 0.4243, -0.4243])
    """
    (r,) = numbers(ri=ri)
    require_correlation("ri", r)
    true = r * _factor(reliability_x, reliability_y)
    require_correlation("the correlation between true scores", true)
    return true


def disattenuate_z(
    ri: ArrayLike, ni: ArrayLike, reliability_x: ArrayLike, reliability_y: ArrayLike = 1
) -> tuple[Vector, Vector]:
    """Return the correlation between true scores as Fisher's z, with its sampling variance.

    Parameters
    ----------
    ri : array_like of shape (k,)
        Observed correlations, each in (-1, 1).
    ni : array_like of shape (k,)
        Sample sizes, each greater than 3.
    reliability_x, reliability_y : array_like of shape (k,)
        Reliabilities of the two measures, each in (0, 1].

    Returns
    -------
    yi : numpy.ndarray of shape (k,)
        ``arctanh`` of `disattenuate_r`, on the z scale.
    vi : numpy.ndarray of shape (k,)
        Sampling variance by the delta method (`scaled_z`), larger than ``1 / (ni - 3)``. The
        reliabilities count as known.

    Raises
    ------
    ValueError
        As `disattenuate_r`, or if a sample size is 3 or less.

    References
    ----------
    Hunter, J. E., & Schmidt, F. L. (2004). Methods of meta-analysis (2nd ed.), ch. 3.

    Examples
    --------
    >>> yi, vi = disattenuate_z(0.36, 103, 0.8, 0.9)
    >>> float(yi.round(4)), float(vi.round(5))
    (0.4529, 0.01565)
    """
    disattenuate_r(ri, reliability_x, reliability_y)  # its error speaks of reliabilities
    return scaled_z(ri, ni, _factor(reliability_x, reliability_y))


def _factor(reliability_x: ArrayLike, reliability_y: ArrayLike) -> Vector:
    """Return what the observed correlation is multiplied by, 1 or more."""
    rxx, ryy = numbers(reliability_x=reliability_x, reliability_y=reliability_y)
    require("reliability_x", rxx, (rxx > 0) & (rxx <= 1), "a reliability in (0, 1]")
    require("reliability_y", ryy, (ryy > 0) & (ryy <= 1), "a reliability in (0, 1]")
    return 1 / np.sqrt(rxx * ryy)
