"""The mean correlation over samples, when Fisher's z is normal over samples.

Not the correlation of the average sample: ``tanh(mu)`` is the median of r over samples, and larger.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from reanalysis.effect_sizes.validation import Vector, numbers, require

__all__ = ["mean_r"]

# Trapezoidal sums over the whole line converge geometrically for analytic integrands, with an
# error of exp(-2 pi d / step), d the distance to the nearest pole off the line (Trefethen &
# Weideman 2014, SIAM Review 56, theorem 5.1). tanh(mu + tau x) has its poles at d = pi / (2 tau);
# Gauss-Hermite with as many points (67) is off by 1e-10 at tau = 1 and by 6e-6 at tau = 2.
# Up to tau = 1 the sum runs over x; beyond, where those poles come close, over sech(t)**2, whose
# own are at pi / 2.
NORMAL_STEP = 0.25  # error exp(-39)
NORMAL_NODES = NORMAL_STEP * np.arange(34)  # to 8.25 standard deviations
NORMAL_WEIGHTS = NORMAL_STEP * np.exp(-(NORMAL_NODES**2) / 2) / np.sqrt(2 * np.pi)
NORMAL_WEIGHTS[1:] *= 2  # the sum is folded at zero
SECH_NODES = 0.25 * np.arange(73)  # to 18: sech(18)**2 is 1e-15
SECH_WEIGHTS = 0.25 / np.cosh(SECH_NODES) ** 2
SECH_WEIGHTS[0] /= 2


def mean_r(mu: ArrayLike, tau: ArrayLike) -> Vector:
    """Return the mean of r = tanh(z) over samples with z ~ Normal(mu, tau**2).

    Parameters
    ----------
    mu : array_like
        Mean on Fisher's z scale.
    tau : array_like
        Standard deviation over samples on Fisher's z scale, 0 or more. For the mean over effects
        rather than samples, the total ``sqrt(tau_between**2 + tau_within**2)``.

    Returns
    -------
    numpy.ndarray
        ``E[tanh(z)]`` on the r scale, in the shape of `mu` and `tau` broadcast together; absolute
        error below 1e-12. Between 0 and ``tanh(mu)``, with the sign of `mu`.

    Raises
    ------
    ValueError
        If a value is not finite or `tau` is negative.

    Notes
    -----
    With ``t = tanh(mu)`` and ``s = tanh(tau x)``, folding the integral at ``x = 0`` gives
    ``t E[(1 - s**2) / (1 - t**2 s**2)]`` over a standard normal x: never of the wrong sign, and
    accurate relative to the result. For ``tau > 1``, partial integration gives the integral of
    ``sech(t)**2 (Phi((mu + t) / tau) - Phi((t - mu) / tau))`` over positive t.

    Examples
    --------
    >>> mean_r([0.2, -0.2, 0.2], [0.0, 0.4, 0.4]).round(4)
    array([ 0.1974, -0.1736,  0.1736])
    """
    center, spread = numbers(mu=mu, tau=tau)
    require("tau", spread, spread >= 0, "a standard deviation, 0 or more")
    center, spread = np.broadcast_arrays(center, spread)
    narrow = spread <= 1
    mean = np.empty(center.shape)
    mean[narrow] = _over_normal(center[narrow], spread[narrow])
    mean[~narrow] = _over_sech(center[~narrow], spread[~narrow])
    return mean[()]


def _over_normal(mu: Vector, tau: Vector) -> Vector:
    """Return the mean for tau up to 1, as a sum over a standard normal variable."""
    t = np.tanh(mu)
    s2 = np.tanh(tau[:, None] * NORMAL_NODES) ** 2
    return t * (((1 - s2) / (1 - (t**2)[:, None] * s2)) @ NORMAL_WEIGHTS)


def _over_sech(mu: Vector, tau: Vector) -> Vector:
    """Return the mean for tau above 1, as a sum over the derivative of tanh."""
    size, tau = np.abs(mu)[:, None], tau[:, None]
    above = special.ndtr((size + SECH_NODES) / tau)
    below = special.ndtr((SECH_NODES - size) / tau)
    return np.copysign((above - below) @ SECH_WEIGHTS, mu)
