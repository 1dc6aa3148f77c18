"""Odds ratios as standardised mean differences and as correlations."""

import numpy as np
from numpy.typing import ArrayLike

from reanalysis.effect_sizes.validation import Vector, numbers, require

__all__ = ["odds_ratio_to_d", "odds_ratio_to_r"]


def odds_ratio_to_d(or_: ArrayLike) -> Vector:
    """Return the standardised mean difference that belongs to an odds ratio.

    Parameters
    ----------
    or_ : array_like of shape (k,)
        Odds ratios (not their logarithms), each greater than 0.

    Returns
    -------
    numpy.ndarray of shape (k,)
        ``log(or_) sqrt(3) / pi``, in standard deviations of a logistic latent variable; negative
        for odds ratios below 1.

    Raises
    ------
    ValueError
        If an odds ratio is 0 or less.

    References
    ----------
    Hasselblad, V., & Hedges, L. V. (1995). Meta-analysis of screening and diagnostic tests.
    Psychological Bulletin, 117, 167-178.
    Chinn, S. (2000). Statistics in Medicine, 19, 3127-3131.

    Examples
    --------
    >>> odds_ratio_to_d([1.21, 1 / 1.21]).round(4)
    array([ 0.1051, -0.1051])
    """
    (odds,) = numbers(or_=or_)
    require("or_", odds, odds > 0, "an odds ratio greater than 0, not its logarithm")
    return np.log(odds) * np.sqrt(3) / np.pi


def odds_ratio_to_r(or_: ArrayLike) -> Vector:
    """Return the correlation that belongs to an odds ratio, by way of d and for equal groups.

    Parameters
    ----------
    or_ : array_like of shape (k,)
        Odds ratios (not their logarithms), each greater than 0.

    Returns
    -------
    numpy.ndarray of shape (k,)
        ``d / sqrt(d**2 + 4)`` with ``d = log(or_) sqrt(3) / pi``, on the r scale; negative for
        odds ratios below 1.

    Raises
    ------
    ValueError
        If an odds ratio is 0 or less.

    References
    ----------
    Borenstein, M., Hedges, L. V., Higgins, J. P. T., & Rothstein, H. R. (2009). Introduction to
    meta-analysis, ch. 7, eqs. 7.1 and 7.7.

    Examples
    --------
    Kaiser et al. (2021) print r = .05 for the odds ratio 1.21 of Alfonsson et al. (2015):

    >>> odds_ratio_to_r([1.21]).round(4)
    array([0.0525])
    """
    d = odds_ratio_to_d(or_)
    return d / np.sqrt(d**2 + 4)
