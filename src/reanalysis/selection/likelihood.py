"""Log-likelihoods of the selection mechanisms (METHODS section 5).

For a row k of a sample write ``f_k(y | u) = N(y; eta_k + u, s2_k)``,
``s2_k = tau_within**2 / n_averaged_k + v_k`` and ``A_k(u) = sum_b omega_b P(bin b | u)``, with
``u ~ N(0, tau_between**2)`` the sample's effect. All mechanisms share the unselected density
``f(y) = int N(u) prod_k f_k du``, which is closed-form, and differ in the factor that comes with
it:

=========== ===============================================================================
``joint``   ``prod omega_k / E[prod A_k(u)]``
``replace`` ``prod omega_k * E[1 / prod A_k(u) | y]``
``study``   ``omega(T) / E[omega(T)]``, T the most significant effect of the sample
``thin``    ``prod omega_k * E[(1 - A(u))**(M - m) | y] / P(at least one is reported)``
=========== ===============================================================================

Expectations without ``| y`` are over the prior of u, the others over its posterior without
selection.

References
----------
Hedges, L. V. (1992). Statistical Science, 7(2), 246-255.
Vevea, J. L., & Hedges, L. V. (1995). Psychometrika, 60(3), 419-435.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reanalysis.selection.data import SelectionData
from reanalysis.selection.factors import Factor, Points, log_marginal, mechanism_factors
from reanalysis.selection.nodes import LADDER

__all__ = [
    "NormaliserError",
    "log_factor",
    "log_likelihood",
    "log_normaliser",
    "log_unselected",
]

Vector = NDArray[np.float64]

NODE_TOLERANCE = 2e-9  # doubling the nodes may change a sample's log factor by so much
LARGEST_LOG = 600.0  # a product may fall to e**-600
BLOCKS = 16  # of points that share a number of nodes, at most
BLOCK = 128  # points that are worth a block of their own
WORKING = 8  # arrays over the nodes that are in use where the nodes are summed first
CHUNK = 300_000  # numbers in the largest temporary array, which should stay in the cache


class NormaliserError(ArithmeticError):
    """The integral over the sample effect does not settle with the largest number of nodes."""


def log_likelihood(
    data: SelectionData,
    eta: ArrayLike,
    tau_between: ArrayLike,
    tau_within: ArrayLike,
    omega: ArrayLike,
    *,
    paired: bool = False,
) -> Vector:
    """Return the log-likelihood of a selection mechanism.

    Parameters
    ----------
    data : SelectionData
        Effects in the expected direction, and the mechanism.
    eta : array_like of shape (S, k)
        Expected effect of each row at S points, in the expected direction.
    tau_between, tau_within : array_like of shape (S,)
        Standard deviations of the sample effects and within samples, zero or more.
    omega : array_like of shape (R, J), or (S, J) if paired
        Positive weights of the bins, the first of them 1.
    paired : bool, default False
        False: every point with every row of `omega`. True: point by point.

    Returns
    -------
    numpy.ndarray of shape (S, R), or (S,) if paired
        Log-likelihood.

    Raises
    ------
    ValueError
        If a shape does not fit, a standard deviation is negative or a weight is not positive.
    NormaliserError
        If the integral over the sample effect does not settle.
    """
    points = _points(data, eta, tau_between, tau_within, omega, paired)
    unselected = _unselected(points)
    return (unselected if paired else unselected[:, None]) + _factor(points)


def log_factor(
    data: SelectionData,
    eta: ArrayLike,
    tau_between: ArrayLike,
    tau_within: ArrayLike,
    omega: ArrayLike,
    *,
    paired: bool = False,
) -> Vector:
    """Return the log-likelihood of a selection mechanism minus that of no selection.

    Parameters and errors are those of `log_likelihood`, and so is the shape of the result.
    """
    return _factor(_points(data, eta, tau_between, tau_within, omega, paired))


def log_unselected(
    data: SelectionData, eta: ArrayLike, tau_between: ArrayLike, tau_within: ArrayLike
) -> Vector:
    """Return the log-likelihood if everything were published, shape (S,).

    Parameters are those of `log_likelihood`; the mechanism of `data` does not matter.
    """
    ones = np.ones((1, data.bins.count))
    return _unselected(_points(data, eta, tau_between, tau_within, ones, False))


def log_normaliser(
    data: SelectionData,
    eta: ArrayLike,
    tau_between: ArrayLike,
    tau_within: ArrayLike,
    omega: ArrayLike,
) -> Vector:
    """Return the log of the factor by which a mechanism divides each sample's likelihood.

    For ``joint``, ``study`` and ``thin`` (with every effect reported) this is the probability
    that the sample is seen, relative to one whose weights are all 1; for ``replace`` it is
    ``1 / E[1 / prod A_k(u) | y]``.

    Parameters
    ----------
    data, eta, tau_between, tau_within, omega
        As for `log_likelihood`, every point with every row of `omega`.

    Returns
    -------
    numpy.ndarray of shape (S, m, R)
        Logs; zero for ``none``.
    """
    points = _points(data, eta, tau_between, tau_within, omega, False)
    result = np.zeros((len(points.eta), data.m, len(points.omega)))
    for factor in mechanism_factors(points):
        value = _evaluate(points, factor, np.log)
        result[:, factor.layout.clusters] += value if factor.divides else -value
    return result


def _points(
    data: SelectionData,
    eta: ArrayLike,
    tau_between: ArrayLike,
    tau_within: ArrayLike,
    omega: ArrayLike,
    paired: bool,
) -> Points:
    return Points(
        data,
        np.asarray(eta, dtype=float),
        np.asarray(tau_between, dtype=float),
        np.asarray(tau_within, dtype=float),
        np.asarray(omega, dtype=float),
        paired,
    )


def _unselected(points: Points) -> Vector:
    index = np.arange(len(points.eta))
    parts = np.array_split(index, max(1, len(index) * points.data.k // CHUNK))
    return np.concatenate([log_marginal(points.take(part))[0] for part in parts])


def _factor(points: Points) -> Vector:
    reported = np.log(points.omega) @ points.data.decided.astype(float)
    result = reported[:, None] if points.paired else np.tile(reported, (len(points.eta), 1))
    for factor in mechanism_factors(points):
        total = _evaluate(points, factor, partial(_log_product, _group(points, factor)))
        result += -total if factor.divides else total
    return result[:, 0] if points.paired else result


def _group(points: Points, factor: Factor) -> int:
    """Return how many samples can be multiplied without underflow: logs are the slow part."""
    floor = -len(factor.layout.widths) * float(np.log(points.omega.min()))
    return max(1, int(LARGEST_LOG / max(floor, 1.0))) if factor.bounded else 1


def _log_product(group: int, value: Vector) -> Vector:
    starts = np.arange(0, value.shape[1], group)
    return np.sum(np.log(np.multiply.reduceat(value, starts, axis=1)), axis=1)


def _evaluate(points: Points, factor: Factor, finish: Callable[[Vector], Vector]) -> Vector:
    """Return `finish` of a factor at all points.

    Points are taken in order of difficulty, in blocks that each use as many nodes as their
    hardest points need, and within a block in pieces that fit the cache.
    """
    precision = np.add.reduceat(1 / points.row_variance, points.data.starts, axis=1)
    difficulty = points.between * np.sqrt(precision.max(axis=1))
    order = np.argsort(difficulty, kind="stable")
    level, parts = 0, []
    blocks = min(BLOCKS, -(-len(order) // BLOCK)) if factor.integrates else 1
    for block in np.array_split(order, blocks):
        if factor.integrates:
            level = _settle(points, factor, block, level)
        nodes = LADDER[level] if factor.integrates else 1
        weights = 1 if points.paired else len(points.omega)
        weights = min(weights, WORKING) if factor.nodes_first else weights
        width = len(factor.layout.rows) * nodes * weights
        for piece in np.array_split(block, -(-len(block) * width // CHUNK)):
            parts.append(finish(factor.value(points.take(piece), factor.layout, nodes)))
    result = np.concatenate(parts)
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return result[back]


def _settle(points: Points, factor: Factor, block: NDArray[np.intp], level: int) -> int:
    """Return the first level of `LADDER`, from `level` on, whose doubling changes nothing."""
    if points.paired:
        rarest = block[np.argmin(points.omega[block].min(axis=1))]
        probes = points.take(np.array([block[len(block) // 2], block[-1], rarest]))
    else:
        extremes = [len(points.omega) // 2, int(np.argmin(points.omega.min(axis=1)))]
        probes = points.take(block[[len(block) // 2, -1]], points.omega[extremes])
    for candidate in range(level, len(LADDER)):
        nodes = LADDER[candidate]
        coarse = factor.value(probes, factor.layout, nodes)
        fine = factor.value(probes, factor.layout, 2 * nodes)
        if np.max(np.abs(np.log(coarse / fine))) <= NODE_TOLERANCE:
            return candidate
    raise NormaliserError(
        f"{LADDER[-1]} nodes are not enough for the integral over the sample effect (tau_between "
        f"up to {probes.between.max():.3g}, smallest standard error "
        f"{np.sqrt(points.data.vi.min()):.3g})"
    )
