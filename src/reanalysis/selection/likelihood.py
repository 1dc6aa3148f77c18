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

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reanalysis.selection.data import Layout, SelectionData
from reanalysis.selection.factors import Factor, Points, log_marginal, mechanism_factors
from reanalysis.selection.nodes import LADDER

__all__ = ["NormaliserError", "log_likelihood", "log_normaliser"]

Vector = NDArray[np.float64]

NODE_TOLERANCE = 2e-9  # doubling the nodes may change a sample's log factor by so much
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
    constant = np.log(points.omega) @ data.decided
    result = _unselected(points)[:, None] + (constant[:, None] if paired else constant)
    for layout, factor in mechanism_factors(data):
        result += _evaluate(points, layout, factor, total=True)
    return result[:, 0] if paired else result


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
    for layout, factor in mechanism_factors(data):
        result[:, layout.clusters] -= _evaluate(points, layout, factor, total=False)
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


def _evaluate(points: Points, layout: Layout, factor: Factor, *, total: bool) -> Vector:
    """Return a log factor at all points, its sum over samples if `total`.

    Points are taken in order of difficulty, in chunks that each use as many nodes as their
    hardest points need.
    """
    precision = np.add.reduceat(1 / points.row_variance, points.data.starts, axis=1)
    difficulty = points.between * np.sqrt(precision.max(axis=1))
    order = np.argsort(difficulty, kind="stable")
    level, done, parts = 0, 0, []
    while done < len(order):
        width = len(layout.rows) * LADDER[level] * (1 if points.paired else len(points.omega))
        chunk = order[done : done + max(1, CHUNK // width)]
        level = _settle(points, layout, factor, chunk, level)
        value = factor(points.take(chunk), layout, LADDER[level])
        parts.append(np.sum(value, axis=1) if total else value)
        done += len(chunk)
    return np.concatenate(parts)[np.argsort(order, kind="stable")]


def _settle(
    points: Points, layout: Layout, factor: Factor, chunk: NDArray[np.intp], level: int
) -> int:
    """Return the first level of `LADDER`, from `level` on, whose doubling changes nothing."""
    if points.paired:
        rarest = chunk[np.argmin(points.omega[chunk].min(axis=1))]
        probes = points.take(np.array([chunk[len(chunk) // 2], chunk[-1], rarest]))
    else:
        extremes = [len(points.omega) // 2, int(np.argmin(points.omega.min(axis=1)))]
        probes = points.take(chunk[[len(chunk) // 2, -1]], points.omega[extremes])
    for candidate in range(level, len(LADDER)):
        nodes = LADDER[candidate]
        change = factor(probes, layout, nodes) - factor(probes, layout, 2 * nodes)
        if np.max(np.abs(change)) <= NODE_TOLERANCE:
            return candidate
    raise NormaliserError(
        f"{LADDER[-1]} nodes are not enough for the integral over the sample effect (tau_between "
        f"up to {probes.between.max():.3g}, smallest standard error "
        f"{np.sqrt(points.data.vi.min()):.3g})"
    )
