"""Test statistics and p-values as correlations, and back.

A statistic that has lost its sign (F, chi-squared, p) takes it back as an argument, so that a
negative association cannot turn into a positive one unnoticed.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from reanalysis.effect_sizes.validation import Vector, numbers, require, require_correlation

__all__ = [
    "chi2_to_r",
    "f_to_r",
    "p_to_r",
    "r_to_p",
    "r_to_t",
    "t_to_r",
    "z_statistic_to_r",
]


def t_to_r(ti: ArrayLike, df: ArrayLike) -> Vector:
    """Return the correlation that belongs to a t statistic.

    Parameters
    ----------
    ti : array_like of shape (k,)
        t statistics, with their sign.
    df : array_like of shape (k,)
        Degrees of freedom, greater than 0: n - 2 for a correlation or for two groups. With the
        residual df of a regression the result is the partial correlation.

    Returns
    -------
    numpy.ndarray of shape (k,)
        ``ti / sqrt(ti**2 + df)``, on the r scale. From two groups it is the point-biserial
        correlation, exactly.

    Raises
    ------
    ValueError
        If a value is not finite or `df` is not positive.

    References
    ----------
    Rosenthal, R. (1991). Meta-analytic procedures for social research (rev. ed.), ch. 2.

    Examples
    --------
    >>> t_to_r([2.0, -2.0], 96).round(4)
    array([ 0.2, -0.2])
    """
    t, nu = numbers(ti=ti, df=df)
    require("df", nu, nu > 0, "degrees of freedom, greater than 0")
    return t / np.hypot(t, np.sqrt(nu))


def r_to_t(ri: ArrayLike, df: ArrayLike) -> Vector:
    """Return the t statistic that belongs to a correlation; the inverse of `t_to_r`.

    Parameters
    ----------
    ri : array_like of shape (k,)
        Correlations, each in (-1, 1).
    df : array_like of shape (k,)
        Degrees of freedom, greater than 0; n - 2 for a correlation.

    Returns
    -------
    numpy.ndarray of shape (k,)
        ``ri sqrt(df / (1 - ri**2))``.

    Raises
    ------
    ValueError
        If a correlation is outside (-1, 1) or `df` is not positive.

    Examples
    --------
    >>> r_to_t(0.2, 96).round(4)
    np.float64(2.0)
    """
    r, nu = numbers(ri=ri, df=df)
    require_correlation("ri", r)
    require("df", nu, nu > 0, "degrees of freedom, greater than 0")
    return r * np.sqrt(nu / ((1 - r) * (1 + r)))


def f_to_r(fi: ArrayLike, df2: ArrayLike, sign: ArrayLike) -> Vector:
    """Return the correlation that belongs to an F statistic with one numerator df.

    Parameters
    ----------
    fi : array_like of shape (k,)
        F statistics with df1 = 1, 0 or more.
    df2 : array_like of shape (k,)
        Denominator degrees of freedom, greater than 0.
    sign : array_like of shape (k,)
        Direction of the association, 1 or -1: F does not tell it.

    Returns
    -------
    numpy.ndarray of shape (k,)
        ``sign sqrt(fi / (fi + df2))``, on the r scale.

    Raises
    ------
    ValueError
        If `fi` is negative, `df2` is not positive, or a sign is neither 1 nor -1.

    References
    ----------
    Rosenthal, R. (1991). Meta-analytic procedures for social research (rev. ed.), ch. 2.

    Examples
    --------
    >>> f_to_r(4.0, 96, sign=-1).round(4)
    np.float64(-0.2)
    """
    f, nu, direction = numbers(fi=fi, df2=df2, sign=sign)
    require("fi", f, f >= 0, "an F statistic, 0 or more")
    require("df2", nu, nu > 0, "degrees of freedom, greater than 0")
    _require_sign(direction)
    return direction * np.sqrt(f / (f + nu))


def p_to_r(p: ArrayLike, df: ArrayLike, sign: ArrayLike) -> Vector:
    """Return the correlation that has a given two-sided p-value in a t test.

    Parameters
    ----------
    p : array_like of shape (k,)
        Two-sided p-values in (0, 1]. "p < .05" is a bound and not a value.
    df : array_like of shape (k,)
        Degrees of freedom, greater than 0; n - 2 for a correlation.
    sign : array_like of shape (k,)
        Direction of the association, 1 or -1.

    Returns
    -------
    numpy.ndarray of shape (k,)
        Correlations on the r scale; 0 for p = 1.

    Raises
    ------
    ValueError
        If a p-value is outside (0, 1], `df` is not positive, or a sign is neither 1 nor -1.

    Notes
    -----
    Without an association ``r**2`` is Beta(1/2, df/2) distributed, so that no t quantile is
    needed and tiny p-values keep their digits.

    Examples
    --------
    >>> p_to_r([0.0483, 1.0], 96, sign=[-1, 1]).round(3)
    array([-0.2,  0. ])
    """
    probability, nu, direction = numbers(p=p, df=df, sign=sign)
    require("p", probability, (probability > 0) & (probability <= 1), "in (0, 1]")
    require("df", nu, nu > 0, "degrees of freedom, greater than 0")
    _require_sign(direction)
    return direction * np.sqrt(special.betainccinv(0.5, nu / 2, probability))


def r_to_p(ri: ArrayLike, df: ArrayLike) -> Vector:
    """Return the two-sided p-value of a correlation; the inverse of `p_to_r`.

    Parameters
    ----------
    ri : array_like of shape (k,)
        Correlations, each in (-1, 1).
    df : array_like of shape (k,)
        Degrees of freedom, greater than 0; n - 2 for a correlation.

    Returns
    -------
    numpy.ndarray of shape (k,)
        Two-sided p-values of the t test against zero, in (0, 1].

    Raises
    ------
    ValueError
        If a correlation is outside (-1, 1) or `df` is not positive.

    Examples
    --------
    The converted correlation of Alfonsson et al. in Kaiser et al. (2021), .05 with n = 96:

    >>> r_to_p(0.05, 94).round(2)
    np.float64(0.63)
    """
    r, nu = numbers(ri=ri, df=df)
    require_correlation("ri", r)
    require("df", nu, nu > 0, "degrees of freedom, greater than 0")
    return special.betaincc(0.5, nu / 2, r**2)


def chi2_to_r(chi2: ArrayLike, ni: ArrayLike, sign: ArrayLike) -> Vector:
    """Return the phi coefficient that belongs to a chi-squared statistic with one df.

    Parameters
    ----------
    chi2 : array_like of shape (k,)
        Chi-squared statistics of 2x2 tables without continuity correction, 0 or more.
    ni : array_like of shape (k,)
        Total number of people in each table, greater than 0.
    sign : array_like of shape (k,)
        Direction of the association, 1 or -1.

    Returns
    -------
    numpy.ndarray of shape (k,)
        ``sign sqrt(chi2 / ni)``, on the r scale.

    Raises
    ------
    ValueError
        If `chi2` is negative or not below `ni` (it cannot be above), `ni` is not positive, or a
        sign is neither 1 nor -1.

    References
    ----------
    Rosenthal, R. (1991). Meta-analytic procedures for social research (rev. ed.), ch. 2.

    Examples
    --------
    >>> chi2_to_r(4.0, 100, sign=-1).round(2)
    np.float64(-0.2)
    """
    statistic, n, direction = numbers(chi2=chi2, ni=ni, sign=sign)
    require("chi2", statistic, statistic >= 0, "a chi-squared statistic, 0 or more")
    require("ni", n, n > 0, "a sample size greater than 0")
    _require_sign(direction)
    statistic, n, direction = np.broadcast_arrays(statistic, n, direction)
    require("chi2", statistic, statistic < n, "below ni, the largest value a 2x2 table can give")
    return direction * np.sqrt(statistic / n)


def z_statistic_to_r(z: ArrayLike, ni: ArrayLike) -> Vector:
    """Return the correlation that belongs to a z statistic (a Wald test, not Fisher's z).

    Parameters
    ----------
    z : array_like of shape (k,)
        Standard normal test statistics, with their sign.
    ni : array_like of shape (k,)
        Sample sizes, greater than 0.

    Returns
    -------
    numpy.ndarray of shape (k,)
        ``z / sqrt(ni)``, on the r scale.

    Raises
    ------
    ValueError
        If a sample size is not positive, or if ``z**2`` is not below ``ni``.

    References
    ----------
    Rosenthal, R. (1991). Meta-analytic procedures for social research (rev. ed.), ch. 2.

    Examples
    --------
    >>> z_statistic_to_r([2.0, -2.0], 100)
    array([ 0.2, -0.2])
    """
    statistic, n = numbers(z=z, ni=ni)
    require("ni", n, n > 0, "a sample size greater than 0")
    statistic, n = np.broadcast_arrays(statistic, n)
    require("z", statistic, statistic**2 < n, "below sqrt(ni) in size")
    return statistic / np.sqrt(n)


def _require_sign(sign: Vector) -> None:
    """Raise unless every sign is 1 or -1."""
    require("sign", sign, np.abs(sign) == 1, "1 or -1")
