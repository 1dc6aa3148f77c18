"""Odds ratios, with or without their interval, as effect sizes and as correlations."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from reanalysis.effect_sizes.standardized import d_to_r
from reanalysis.effect_sizes.statistics_to_r import z_statistic_to_r
from reanalysis.effect_sizes.validation import Vector, numbers, require

__all__ = [
    "odds_ratio_interval_to_log",
    "odds_ratio_interval_to_r",
    "odds_ratio_interval_to_z",
    "odds_ratio_to_d",
    "odds_ratio_to_r",
]


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
    Hasselblad, V., & Hedges, L. V. (1995). Psychological Bulletin, 117, 167-178.
    Borenstein, M., Hedges, L. V., Higgins, J. P. T., & Rothstein, H. R. (2009). Introduction to
    meta-analysis, ch. 7.

    Examples
    --------
    >>> odds_ratio_to_d([1.21, 1 / 1.21]).round(4)
    array([ 0.1051, -0.1051])
    """
    (odds,) = numbers(or_=or_)
    require("or_", odds, odds > 0, "an odds ratio greater than 0, not its logarithm")
    return np.log(odds) * (np.sqrt(3) / np.pi)


def odds_ratio_to_r(or_: ArrayLike, n1i: ArrayLike = 1, n2i: ArrayLike = 1) -> Vector:
    """Return the correlation that belongs to an odds ratio, by way of d.

    Parameters
    ----------
    or_ : array_like of shape (k,)
        Odds ratios (not their logarithms) between two groups, each greater than 0. An odds ratio
        *per unit* of a continuous predictor has no groups, and this conversion is wrong for it by
        as much as the unit is arbitrary; `odds_ratio_interval_to_r` is free of the unit.
    n1i, n2i : array_like of shape (k,), default 1
        Group sizes, or their ratio; equal groups by default.

    Returns
    -------
    numpy.ndarray of shape (k,)
        ``d / sqrt(d**2 + a)`` with ``d = log(or_) sqrt(3) / pi`` and ``a`` as in `d_to_r`, on the
        r scale; negative for odds ratios below 1.

    Raises
    ------
    ValueError
        If an odds ratio or a group size is 0 or less.

    References
    ----------
    Borenstein, M., Hedges, L. V., Higgins, J. P. T., & Rothstein, H. R. (2009). Introduction to
    meta-analysis, ch. 7.

    Examples
    --------
    Kaiser et al. (2021) print r = .05 for the odds ratio 1.21 of Alfonsson et al. (2015):

    >>> odds_ratio_to_r([1.21]).round(4)
    array([0.0525])
    """
    return d_to_r(odds_ratio_to_d(or_), n1i, n2i)


def odds_ratio_interval_to_log(
    or_: ArrayLike, lower: ArrayLike, upper: ArrayLike, level: float = 0.95
) -> tuple[Vector, Vector]:
    """Return the log odds ratio and its sampling variance from a printed interval.

    Parameters
    ----------
    or_ : array_like of shape (k,)
        Odds ratios (not their logarithms).
    lower, upper : array_like of shape (k,)
        Ends of their Wald intervals, with ``0 < lower <= or_ <= upper`` and ``lower < upper``.
    level : float, default 0.95
        Coverage of the interval, in (0, 1).

    Returns
    -------
    yi : numpy.ndarray of shape (k,)
        ``log(or_)``.
    vi : numpy.ndarray of shape (k,)
        ``((log(upper) - log(lower)) / (2 z))**2`` with z the normal quantile of the interval.

    Raises
    ------
    ValueError
        If an odds ratio lies outside its interval, or a limit or the level is out of range.

    References
    ----------
    Higgins, J. P. T., et al. (eds.). Cochrane handbook for systematic reviews of interventions,
    section 6.3.2.

    Examples
    --------
    >>> yi, vi = odds_ratio_interval_to_log(1.21, 1.09, 1.34)
    >>> float(yi.round(4)), float(vi.round(6))
    (0.1906, 0.002775)
    """
    odds, low, high, coverage = numbers(or_=or_, lower=lower, upper=upper, level=level)
    require("level", coverage, (coverage > 0) & (coverage < 1), "in (0, 1)")
    require("lower", low, low > 0, "an odds ratio greater than 0, not its logarithm")
    odds, low, high = np.broadcast_arrays(odds, low, high)
    require("lower", low, low < high, "below the upper limit")
    require("or_", odds, (odds >= low) & (odds <= high), "inside its interval")
    width = np.log(high) - np.log(low)
    return np.log(odds), (width / (2 * special.ndtri(0.5 + coverage / 2))) ** 2


def odds_ratio_interval_to_z(
    or_: ArrayLike, lower: ArrayLike, upper: ArrayLike, level: float = 0.95
) -> Vector:
    """Return the z statistic of an odds ratio from its printed interval.

    Parameters
    ----------
    or_, lower, upper, level
        As in `odds_ratio_interval_to_log`.

    Returns
    -------
    numpy.ndarray of shape (k,)
        Log odds ratio over its standard error; negative for odds ratios below 1. A test statistic,
        not Fisher's z.

    Raises
    ------
    ValueError
        As `odds_ratio_interval_to_log`.

    Examples
    --------
    >>> odds_ratio_interval_to_z(1.21, 1.09, 1.34).round(2)
    np.float64(3.62)
    """
    yi, vi = odds_ratio_interval_to_log(or_, lower, upper, level)
    return yi / np.sqrt(vi)


def odds_ratio_interval_to_r(
    or_: ArrayLike, lower: ArrayLike, upper: ArrayLike, ni: ArrayLike, level: float = 0.95
) -> Vector:
    """Return the correlation that belongs to an odds ratio's z statistic.

    Parameters
    ----------
    or_, lower, upper, level
        As in `odds_ratio_interval_to_log`.
    ni : array_like of shape (k,)
        Sample sizes.

    Returns
    -------
    numpy.ndarray of shape (k,)
        ``z / sqrt(ni)``, on the r scale, with z from `odds_ratio_interval_to_z`. Unlike
        `odds_ratio_to_r` it does not depend on the unit of the predictor.

    Raises
    ------
    ValueError
        As `odds_ratio_interval_to_log` and `z_statistic_to_r`.

    Examples
    --------
    The same study that `odds_ratio_to_r` puts at .05:

    >>> odds_ratio_interval_to_r(1.21, 1.09, 1.34, 96).round(2)
    np.float64(0.37)
    """
    return z_statistic_to_r(odds_ratio_interval_to_z(or_, lower, upper, level), ni)
