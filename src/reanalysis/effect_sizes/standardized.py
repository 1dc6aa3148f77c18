"""Standardised mean differences of two groups: Hedges' g, and d as a correlation."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from reanalysis.effect_sizes.validation import Vector, numbers, require, require_correlation

__all__ = ["d_to_g", "d_to_r", "hedges_g", "hedges_j", "r_to_d", "t_to_d"]


def hedges_g(
    m1i: ArrayLike,
    m2i: ArrayLike,
    sd1i: ArrayLike,
    sd2i: ArrayLike,
    n1i: ArrayLike,
    n2i: ArrayLike,
) -> tuple[Vector, Vector]:
    """Return Hedges' g and its sampling variance from two groups' means and standard deviations.

    Parameters
    ----------
    m1i, m2i : array_like of shape (k,)
        Means of the first and the second group.
    sd1i, sd2i : array_like of shape (k,)
        Standard deviations (not standard errors), 0 or more and not both 0.
    n1i, n2i : array_like of shape (k,)
        Group sizes, at least 1 each and 4 together.

    Returns
    -------
    yi : numpy.ndarray of shape (k,)
        ``J (m1i - m2i) / sd_pooled`` in standard deviations; `hedges_j` gives J.
    vi : numpy.ndarray of shape (k,)
        Sampling variance as in `d_to_g`.

    Raises
    ------
    ValueError
        If a standard deviation is negative, both are 0, or a group is too small.

    References
    ----------
    Hedges, L. V. (1981). Journal of Educational Statistics, 6, 107-128.

    Examples
    --------
    Borenstein et al. (2009), ch. 4: g = 0.5924.

    >>> yi, vi = hedges_g(103, 100, 5.5, 4.5, 50, 50)
    >>> float(yi.round(4)), float(vi.round(4))
    (0.5924, 0.0418)
    """
    m1, m2, sd1, sd2, n1, n2 = numbers(m1i=m1i, m2i=m2i, sd1i=sd1i, sd2i=sd2i, n1i=n1i, n2i=n2i)
    require("sd1i", sd1, sd1 >= 0, "a standard deviation, 0 or more")
    require("sd2i", sd2, sd2 >= 0, "a standard deviation, 0 or more")
    df = _degrees_of_freedom(n1, n2)
    pooled = np.sqrt(((n1 - 1) * sd1**2 + (n2 - 1) * sd2**2) / df)
    require("the pooled standard deviation", pooled, pooled > 0, "greater than 0")
    return d_to_g((m1 - m2) / pooled, n1, n2)


def d_to_g(di: ArrayLike, n1i: ArrayLike, n2i: ArrayLike) -> tuple[Vector, Vector]:
    """Return Hedges' g and its sampling variance from Cohen's d.

    Parameters
    ----------
    di : array_like of shape (k,)
        Mean differences in pooled standard deviations, without small-sample correction.
    n1i, n2i : array_like of shape (k,)
        Group sizes, at least 1 each and 4 together.

    Returns
    -------
    yi : numpy.ndarray of shape (k,)
        ``g = J di``, with ``J = hedges_j(n1i + n2i - 2)``.
    vi : numpy.ndarray of shape (k,)
        Large-sample variance ``1 / n1i + 1 / n2i + g**2 / (2 (n1i + n2i))``, metafor's default
        (``vtype="LS"``). Borenstein et al. (2009, ch. 4) print the smaller ``J**2 V_d``.

    Raises
    ------
    ValueError
        If a value is not finite or a group is too small.

    References
    ----------
    Hedges, L. V., & Olkin, I. (1985). Statistical methods for meta-analysis, ch. 5.

    Examples
    --------
    >>> yi, vi = d_to_g([0.5970, -0.5970], 50, 50)
    >>> yi.round(4), vi.round(4)
    (array([ 0.5924, -0.5924]), array([0.0418, 0.0418]))
    """
    d, n1, n2 = numbers(di=di, n1i=n1i, n2i=n2i)
    g = hedges_j(_degrees_of_freedom(n1, n2)) * d
    return g, 1 / n1 + 1 / n2 + g**2 / (2 * (n1 + n2))


def hedges_j(df: ArrayLike) -> Vector:
    """Return Hedges' exact small-sample correction factor for d.

    Parameters
    ----------
    df : array_like of shape (k,)
        Degrees of freedom of the pooled standard deviation, greater than 1; n1 + n2 - 2.

    Returns
    -------
    numpy.ndarray of shape (k,)
        ``gamma(df / 2) / (sqrt(df / 2) gamma((df - 1) / 2))``, in (0, 1). The usual
        ``1 - 3 / (4 df - 1)`` approximates it.

    Raises
    ------
    ValueError
        If `df` is 1 or less, where d has no expectation.

    References
    ----------
    Hedges, L. V. (1981). Journal of Educational Statistics, 6, 107-128.

    Examples
    --------
    >>> hedges_j([2, 98]).round(4)
    array([0.5642, 0.9923])
    """
    (nu,) = numbers(df=df)
    require("df", nu, nu > 1, "degrees of freedom, greater than 1")
    # A ratio of gammas as one function: the difference of two log gammas loses nine digits at 1e6.
    return special.poch((nu - 1) / 2, 0.5) / np.sqrt(nu / 2)


def t_to_d(ti: ArrayLike, n1i: ArrayLike, n2i: ArrayLike) -> Vector:
    """Return Cohen's d from the t statistic of two independent groups.

    Parameters
    ----------
    ti : array_like of shape (k,)
        t statistics with their sign.
    n1i, n2i : array_like of shape (k,)
        Group sizes, greater than 0.

    Returns
    -------
    numpy.ndarray of shape (k,)
        ``ti sqrt(1 / n1i + 1 / n2i)``, without small-sample correction.

    Raises
    ------
    ValueError
        If a value is not finite or a group size is not positive.

    References
    ----------
    Borenstein, M., Hedges, L. V., Higgins, J. P. T., & Rothstein, H. R. (2009). Introduction to
    meta-analysis, ch. 4.

    Examples
    --------
    >>> t_to_d(-2.0, 50, 50).round(4)
    np.float64(-0.4)
    """
    t, n1, n2 = numbers(ti=ti, n1i=n1i, n2i=n2i)
    _require_groups(n1, n2)
    return t * np.sqrt(1 / n1 + 1 / n2)


def d_to_r(di: ArrayLike, n1i: ArrayLike = 1, n2i: ArrayLike = 1) -> Vector:
    """Return the point-biserial correlation that belongs to a standardised mean difference.

    Parameters
    ----------
    di : array_like of shape (k,)
        Standardised mean differences.
    n1i, n2i : array_like of shape (k,), default 1
        Group sizes, greater than 0. Only their ratio matters; equal groups by default.

    Returns
    -------
    numpy.ndarray of shape (k,)
        ``di / sqrt(di**2 + a)`` with ``a = (n1i + n2i)**2 / (n1i n2i)``, 4 for equal groups; on
        the r scale. The sample's own point-biserial correlation has ``n1i + n2i - 2`` for one of
        the two ``n1i + n2i``: it is ``t_to_r(t, n1i + n2i - 2)``.

    Raises
    ------
    ValueError
        If a value is not finite or a group size is not positive.

    References
    ----------
    Borenstein, M., Hedges, L. V., Higgins, J. P. T., & Rothstein, H. R. (2009). Introduction to
    meta-analysis, ch. 7.

    Examples
    --------
    >>> d_to_r([1.1547, -1.1547]).round(4), d_to_r(1.1547, 150, 50).round(4)
    (array([ 0.5, -0.5]), np.float64(0.4472))
    """
    d, n1, n2 = numbers(di=di, n1i=n1i, n2i=n2i)
    return d / np.hypot(d, np.sqrt(_imbalance(n1, n2)))


def r_to_d(ri: ArrayLike, n1i: ArrayLike = 1, n2i: ArrayLike = 1) -> Vector:
    """Return the standardised mean difference that belongs to a correlation.

    Parameters
    ----------
    ri : array_like of shape (k,)
        Correlations, each in (-1, 1).
    n1i, n2i : array_like of shape (k,), default 1
        Group sizes, greater than 0. Only their ratio matters; equal groups by default.

    Returns
    -------
    numpy.ndarray of shape (k,)
        ``ri sqrt(a / (1 - ri**2))`` with `a` as in `d_to_r`, whose inverse this is.

    Raises
    ------
    ValueError
        If a correlation is outside (-1, 1) or a group size is not positive.

    References
    ----------
    Borenstein, M., Hedges, L. V., Higgins, J. P. T., & Rothstein, H. R. (2009). Introduction to
    meta-analysis, ch. 7.

    Examples
    --------
    >>> r_to_d([0.5, -0.5]).round(4)
    array([ 1.1547, -1.1547])
    """
    r, n1, n2 = numbers(ri=ri, n1i=n1i, n2i=n2i)
    require_correlation("ri", r)
    return r * np.sqrt(_imbalance(n1, n2) / ((1 - r) * (1 + r)))


def _imbalance(n1: Vector, n2: Vector) -> Vector:
    """Return the inverse product of the two groups' shares: 4 for equal groups."""
    _require_groups(n1, n2)
    return (n1 + n2) ** 2 / (n1 * n2)


def _degrees_of_freedom(n1: Vector, n2: Vector) -> Vector:
    """Return n1 + n2 - 2, which must be 2 or more."""
    require("n1i", n1, n1 >= 1, "a group size, 1 or more")
    require("n2i", n2, n2 >= 1, "a group size, 1 or more")
    df = n1 + n2 - 2
    require("n1i + n2i - 2", df, df >= 2, "2 or more")
    return df


def _require_groups(n1: Vector, n2: Vector) -> None:
    """Raise unless both groups hold someone."""
    require("n1i", n1, n1 > 0, "a group size greater than 0")
    require("n2i", n2, n2 > 0, "a group size greater than 0")
