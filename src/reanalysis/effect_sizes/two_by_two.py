"""Two-by-two tables: log odds ratio, log risk ratio and risk difference.

Cells by metafor's names: the first group has `ai` people with the event and `bi` without, the
second `ci` and `di`. To each cell of a table that holds a zero, 1/2 is added.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reanalysis.effect_sizes.validation import Vector, numbers, require

__all__ = ["is_double_zero", "log_odds_ratio", "log_risk_ratio", "risk_difference"]

DoubleZeros = Literal["error", "correct"]


def log_odds_ratio(
    ai: ArrayLike,
    bi: ArrayLike,
    ci: ArrayLike,
    di: ArrayLike,
    *,
    double_zeros: DoubleZeros = "error",
) -> tuple[Vector, Vector]:
    """Return log odds ratios and their sampling variances.

    Parameters
    ----------
    ai, bi : array_like of shape (k,)
        People with and without the event in the first group, 0 or more and not both 0.
    ci, di : array_like of shape (k,)
        The same in the second group.
    double_zeros : {"error", "correct"}
        What to do with tables where nobody, or everybody, has the event (`is_double_zero`): they
        say nothing about the ratio. "correct" adds 1/2 as to any other table with a zero.

    Returns
    -------
    yi : numpy.ndarray of shape (k,)
        ``log(ai di / (bi ci))``.
    vi : numpy.ndarray of shape (k,)
        ``1 / ai + 1 / bi + 1 / ci + 1 / di``.

    Raises
    ------
    ValueError
        If a cell is negative, a group is empty, or a table is a double zero and these are not to
        be corrected; names the first such table.

    References
    ----------
    Woolf, B. (1955). Annals of Human Genetics, 19, 251-253.

    Examples
    --------
    Borenstein et al. (2009), ch. 5: -0.7472 with variance 0.3216.

    >>> yi, vi = log_odds_ratio(5, 95, 10, 90)
    >>> float(yi.round(4)), float(vi.round(4))
    (-0.7472, 0.3216)
    """
    a, b, c, d = _cells(ai, bi, ci, di, double_zeros)
    return np.log(a) + np.log(d) - np.log(b) - np.log(c), 1 / a + 1 / b + 1 / c + 1 / d


def log_risk_ratio(
    ai: ArrayLike,
    bi: ArrayLike,
    ci: ArrayLike,
    di: ArrayLike,
    *,
    double_zeros: DoubleZeros = "error",
) -> tuple[Vector, Vector]:
    """Return log risk ratios and their sampling variances.

    Parameters
    ----------
    ai, bi, ci, di, double_zeros
        As in `log_odds_ratio`.

    Returns
    -------
    yi : numpy.ndarray of shape (k,)
        ``log((ai / n1) / (ci / n2))`` with ``n1 = ai + bi`` and ``n2 = ci + di``.
    vi : numpy.ndarray of shape (k,)
        ``1 / ai - 1 / n1 + 1 / ci - 1 / n2``.

    Raises
    ------
    ValueError
        As `log_odds_ratio`.

    References
    ----------
    Katz, D., Baptista, J., Azen, S. P., & Pike, M. C. (1978). Biometrics, 34, 469-474.

    Examples
    --------
    Borenstein et al. (2009), ch. 5: -0.6931 with variance 0.2800.

    >>> yi, vi = log_risk_ratio(5, 95, 10, 90)
    >>> float(yi.round(4)), float(vi.round(4))
    (-0.6931, 0.28)
    """
    a, b, c, d = _cells(ai, bi, ci, di, double_zeros)
    n1, n2 = a + b, c + d
    return np.log(a / n1) - np.log(c / n2), b / (a * n1) + d / (c * n2)


def risk_difference(
    ai: ArrayLike, bi: ArrayLike, ci: ArrayLike, di: ArrayLike
) -> tuple[Vector, Vector]:
    """Return risk differences and their sampling variances.

    Parameters
    ----------
    ai, bi, ci, di : array_like of shape (k,)
        As in `log_odds_ratio`. A double zero is informative here: both risks are about equal.

    Returns
    -------
    yi : numpy.ndarray of shape (k,)
        ``p1 - p2`` with ``p1 = ai / n1`` and ``p2 = ci / n2``.
    vi : numpy.ndarray of shape (k,)
        ``p1 (1 - p1) / n1 + p2 (1 - p2) / n2``.

    Raises
    ------
    ValueError
        If a cell is negative or a group is empty.

    References
    ----------
    Borenstein, M., Hedges, L. V., Higgins, J. P. T., & Rothstein, H. R. (2009). Introduction to
    meta-analysis, ch. 5.

    Examples
    --------
    The table of ch. 5: -0.0500 with variance 0.001375.

    >>> yi, vi = risk_difference(5, 95, 10, 90)
    >>> float(yi.round(4)), float(vi.round(6))
    (-0.05, 0.001375)
    """
    a, b, c, d = _cells(ai, bi, ci, di, "correct")
    n1, n2 = a + b, c + d
    return a / n1 - c / n2, a * b / n1**3 + c * d / n2**3


def is_double_zero(ai: ArrayLike, bi: ArrayLike, ci: ArrayLike, di: ArrayLike) -> NDArray[np.bool_]:
    """Return which tables have no event in either group, or events only.

    Parameters
    ----------
    ai, bi, ci, di : array_like of shape (k,)
        As in `log_odds_ratio`.

    Returns
    -------
    numpy.ndarray of bool, shape (k,)
        True where ``ai = ci = 0`` or ``bi = di = 0``.

    Raises
    ------
    ValueError
        If a value is not a finite number.

    Examples
    --------
    >>> is_double_zero([0, 0, 7], [9, 9, 0], [0, 2, 5], [8, 8, 0])
    array([ True, False,  True])
    """
    a, b, c, d = np.broadcast_arrays(*numbers(ai=ai, bi=bi, ci=ci, di=di))
    return ((a == 0) & (c == 0)) | ((b == 0) & (d == 0))


def _cells(
    ai: ArrayLike, bi: ArrayLike, ci: ArrayLike, di: ArrayLike, double_zeros: DoubleZeros
) -> tuple[Vector, ...]:
    """Return checked cells of one shape, with 1/2 added to all cells of tables with a zero."""
    if double_zeros not in ("error", "correct"):
        raise ValueError(f"double_zeros is {double_zeros!r}; it must be 'error' or 'correct'.")
    cells = np.broadcast_arrays(*numbers(ai=ai, bi=bi, ci=ci, di=di))
    for name, cell in zip(("ai", "bi", "ci", "di"), cells, strict=True):
        require(name, cell, cell >= 0, "a number of people, 0 or more")
    a, b, c, d = cells
    require("ai + bi", a + b, a + b > 0, "greater than 0, people in the first group")
    require("ci + di", c + d, c + d > 0, "greater than 0, people in the second group")
    if double_zeros == "error":
        events = a + c
        rule = (
            "more than none and fewer than all people, or the table says nothing about a ratio: "
            "leave it out, or set double_zeros='correct'"
        )
        require("ai + ci", events, ~is_double_zero(a, b, c, d), rule)
    correction = np.where((a == 0) | (b == 0) | (c == 0) | (d == 0), 0.5, 0.0)
    return a + correction, b + correction, c + correction, d + correction
