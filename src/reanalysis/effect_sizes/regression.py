"""Standardised regression coefficients as correlations."""

import numpy as np
from numpy.typing import ArrayLike

from reanalysis.effect_sizes.validation import Vector, numbers, require

__all__ = ["beta_to_r"]


def beta_to_r(b: ArrayLike, *, extrapolate: bool = False) -> Vector:
    """Return an estimate of the correlation behind a standardised regression coefficient.

    Parameters
    ----------
    b : array_like of shape (k,)
        Standardised regression coefficients, each in [-0.5, 0.5].
    extrapolate : bool, default False
        Use the formula beyond [-0.5, 0.5] too, as long as the result is a correlation.

    Returns
    -------
    numpy.ndarray of shape (k,)
        ``0.98 b + 0.05 lambda`` with ``lambda = 1`` if ``b >= 0`` and 0 otherwise, on the r scale.
        The sign is that of `b`. The formula jumps at zero, where it gives .05.

    Raises
    ------
    ValueError
        If a coefficient is outside [-0.5, 0.5], the range the formula was derived from, unless
        `extrapolate` is set: an extrapolated correlation looks like any other in a table, so it
        takes a decision. Also if the result would be 1 or more in size.

    References
    ----------
    Peterson, R. A., & Brown, S. P. (2005). On the use of beta coefficients in meta-analysis.
    Journal of Applied Psychology, 90, 175-181.

    Examples
    --------
    Kaiser et al. (2021) convert a beta of .21 to r = .26, and report -.15 as their smallest r,
    which comes from a beta of -.15:

    >>> beta_to_r([0.21, -0.15]).round(3)
    array([ 0.256, -0.147])
    """
    (b,) = numbers(b=b)
    if not extrapolate:
        rule = "between -0.5 and 0.5, the range of Peterson & Brown (2005), or set extrapolate"
        require("b", b, np.abs(b) <= 0.5, rule)
    r = 0.98 * b + 0.05 * (b >= 0)
    require("b", b, np.abs(r) < 1, "small enough to give a correlation between -1 and 1")
    return r
