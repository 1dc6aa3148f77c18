"""The integral behind a normal model: its data, its priors, and how its variables are mapped.

The heterogeneity standard deviations are written in polar form, ``tau_between = tau cos(phi)`` and
``tau_within = tau sin(phi)``: what data determine well is the total, which is then one axis, and
priors on the parts or on the total with its share are both smooth in it. The total is mapped by
``tau = scale * sinh(t)``, linear near zero and logarithmic far out, so that heavy-tailed priors
need no more nodes than light ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from reanalysis.exact.quadrature import Interval, legendre_rule
from reanalysis.marginal import Statistics
from reanalysis.priors import Prior

__all__ = ["Heterogeneity", "Problem"]

Vector = NDArray[np.float64]
Heterogeneity = Literal["both", "between", "within", "none"]

UPPER_TAIL = 1e-13
RHO_NODES = 12


@dataclass(frozen=True, eq=False)
class Problem:
    """One integral: a design, its priors and the parameters that are not fixed at zero.

    Attributes
    ----------
    stats : Statistics
        The data.
    priors : mapping of str to Prior
        Priors of the variance parameters.
    prior_mean, prior_sd : numpy.ndarray of shape (p,)
        Normal priors of the coefficients.
    columns : sequence of int
        Coefficients in the model.
    heterogeneity : str
        Which of tau_between and tau_within are in the model.
    rho : float or Prior
        Sampling correlation.
    scale : float
        Scale of the map from ``t`` to ``tau``, and to the common scale.
    shrunk : tuple of int
        Coefficients whose prior standard deviation is in units of a common scale.
    common_scale : Prior or None
        Prior of that scale.
    """

    stats: Statistics
    priors: Mapping[str, Prior]
    prior_mean: Vector
    prior_sd: Vector
    columns: tuple[int, ...]
    heterogeneity: Heterogeneity
    rho: float | Prior
    scale: float
    shrunk: tuple[int, ...] = ()
    common_scale: Prior | None = None

    def tau(self, t: Vector) -> Vector:
        """Return the total standard deviation at ``t``."""
        return self.scale * np.sinh(t)

    def log_prior(self, t: Vector, phi: Vector) -> Vector:
        """Return the log prior density of the variance parameters with respect to (t, phi)."""
        tau = self.tau(t)
        jacobian = np.log(self.scale) + np.log(np.cosh(t))
        if self.heterogeneity == "both":
            if "tau_within" in self.priors:
                between = self.priors["tau_between"].logpdf(tau * np.cos(phi))
                within = self.priors["tau_within"].logpdf(tau * np.sin(phi))
                with np.errstate(divide="ignore"):
                    return jacobian + between + within + np.log(tau)
            share = self.priors["between_share"].logpdf(np.cos(phi) ** 2)
            with np.errstate(divide="ignore"):
                polar = np.log(np.sin(2 * phi))
            return jacobian + self.priors["tau"].logpdf(tau) + share + polar
        return jacobian + self.tau_prior().logpdf(tau)

    def tau_prior(self) -> Prior:
        """Return the prior of the only standard deviation."""
        name = f"tau_{self.heterogeneity}"
        return self.priors[name] if name in self.priors else self.priors["tau"]

    def tau_range(self) -> Interval:
        """Return the range of the total standard deviation with all but 1e-13 of the prior."""
        if self.heterogeneity != "both":
            prior = self.tau_prior()
            low = max(prior.support[0], 0.0)
            return low, float(prior.ppf(1 - UPPER_TAIL))
        if "tau_within" in self.priors:
            ends = [
                float(self.priors[f"tau_{n}"].ppf(1 - UPPER_TAIL)) for n in ("between", "within")
            ]
            return 0.0, float(np.hypot(ends[0], ends[1]))
        prior = self.priors["tau"]
        return max(prior.support[0], 0.0), float(prior.ppf(1 - UPPER_TAIL))

    def rho_nodes(self) -> tuple[Vector, Vector]:
        """Return nodes and prior weights of the sampling correlation."""
        if not isinstance(self.rho, Prior):
            return np.array([self.rho]), np.array([1.0])
        rule = legendre_rule(RHO_NODES)
        probability = (rule.nodes + 1) / 2
        return np.minimum(self.rho.ppf(probability), 1 - 1e-9), rule.weights / 2

    def scale_range(self) -> Interval:
        """Return the interval of ``arcsinh(s / scale)`` with all but 1e-13 of the prior of s."""
        assert self.common_scale is not None
        low = max(self.common_scale.support[0], 0.0)
        high = float(self.common_scale.ppf(1 - UPPER_TAIL))
        return float(np.arcsinh(low / self.scale)), float(np.arcsinh(high / self.scale))

    def scale_nodes(self, n: int) -> tuple[Vector, Vector]:
        """Return n nodes and prior weights of the common scale; one where there is none.

        It is mapped as ``tau`` is: for a scale of several coefficients that map needs fewer
        nodes than the prior's probability, above all where the data disagree with the prior.
        """
        if self.common_scale is None:
            return np.ones(1), np.ones(1)
        rule = legendre_rule(n)
        low, high = self.scale_range()
        t = low + (rule.nodes + 1) / 2 * (high - low)
        values = self.tau(t)
        width = rule.weights * (high - low) / 2 * self.scale * np.cosh(t)
        return values, width * np.exp(self.common_scale.logpdf(values))
