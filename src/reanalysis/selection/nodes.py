"""Nodes and weights for the integral over a standard normal variable.

Few nodes: Gauss-Hermite. Many: the trapezoidal rule, which converges as fast for these integrands
and does not waste nodes far out, where a long Gauss-Hermite rule puts most of its own.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["LADDER", "half_width", "normal_nodes", "trapezoid_nodes"]

Vector = NDArray[np.float64]

# Tried in turn until doubling the number changes the result by less than the tolerance.
LADDER = (6, 9, 13, 18, 26, 40, 64, 100, 160, 260, 420, 700, 1200, 2000)
HERMITE_MOST = 20
HALF_WIDTH = 7.5  # standard deviations; a normal leaves 6e-14 outside


def half_width(floor: float) -> float:
    """Return a range outside which an integrand between exp(-floor) and 1 is negligible.

    Parameters
    ----------
    floor : float
        Minus log of the smallest value, relative to the largest.

    Returns
    -------
    float
        Standard deviations of the normal weight, in halves.
    """
    return float(np.ceil(2 * np.sqrt(HALF_WIDTH**2 + 2 * max(floor, 0.0))) / 2)


@cache
def normal_nodes(count: int, reach: float) -> tuple[Vector, Vector]:
    """Return nodes and weights for the expectation under a standard normal.

    Parameters
    ----------
    count : int
        Number of nodes: a Gauss-Hermite rule if few, otherwise equally spaced.
    reach : float
        End of the range of equally spaced nodes.

    Returns
    -------
    nodes, weights : numpy.ndarray of shape (count,)
        The weights add up to 1.
    """
    if count > HERMITE_MOST:
        return trapezoid_nodes(count, reach)
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    return _frozen(nodes, weights / weights.sum())


@cache
def trapezoid_nodes(count: int, reach: float) -> tuple[Vector, Vector]:
    """Return equally spaced nodes on ``[-reach, reach]`` and normal weights.

    Parameters
    ----------
    count : int
        Number of nodes.
    reach : float
        End of the range in standard deviations.

    Returns
    -------
    nodes, weights : numpy.ndarray of shape (count,)
        Weights are the step times the standard normal density.
    """
    nodes = np.linspace(-reach, reach, count)
    weights = np.exp(-0.5 * nodes**2) * (nodes[1] - nodes[0]) / np.sqrt(2 * np.pi)
    return _frozen(nodes, weights)


def _frozen(nodes: Vector, weights: Vector) -> tuple[Vector, Vector]:
    nodes.setflags(write=False)
    weights.setflags(write=False)
    return nodes, weights
