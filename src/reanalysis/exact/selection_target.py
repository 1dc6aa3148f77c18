"""The posterior of a selection model as a function of box coordinates.

Coordinates, in this order: the coefficients; ``t`` and the angle ``phi`` of the heterogeneity
(`reanalysis.exact.problem`); ``s`` of the PET or PEESE coefficient; the square roots of the
weights' coordinates (`WeightPrior`), because weights near zero matter on a finer scale. Quadrature
and importance sampling both integrate this one function, by routes that share nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from reanalysis.exact.problem import Problem
from reanalysis.priors import Prior
from reanalysis.selection import (
    SelectionData,
    WeightPrior,
    log_factor,
    log_unselected,
)

__all__ = ["Target"]

Vector = NDArray[np.float64]

NEGLIGIBLE = 40.0  # nats below the best point
PER_UNREPORTED = 3.0  # nats that an unreported effect may cost at the best point


@dataclass(frozen=True, eq=False)
class Target:
    """A posterior density to integrate.

    Attributes
    ----------
    problem : Problem
        The normal part: data, priors of coefficients and heterogeneity. Its ``columns`` are the
        free coefficients, the others are zero.
    data : SelectionData
        Effects in the expected direction; mechanism ``none`` for PET and PEESE.
    X : numpy.ndarray of shape (k, p)
        Design matrix in the expected direction.
    weights : WeightPrior
        Prior of the selection weights; fixed at 1 for PET and PEESE.
    predictor : numpy.ndarray of shape (k,) or None
        Predictor of PET (standard error) or PEESE (variance).
    bias_prior : Prior or None
        Prior of its coefficient.
    """

    problem: Problem
    data: SelectionData
    X: Vector
    weights: WeightPrior
    predictor: Vector | None = None
    bias_prior: Prior | None = None

    @property
    def layout(self) -> Mapping[str, slice]:
        """Place of each group of coordinates."""
        taus = {"none": 0, "between": 1, "within": 1, "both": 2}[self.problem.heterogeneity]
        sizes = {
            "beta": len(self.problem.columns),
            "tau": taus,
            "bias": int(self.bias_prior is not None),
            "omega": self.weights.dimension,
        }
        ends = np.cumsum(list(sizes.values())).tolist()
        starts = [0, *ends[:-1]]
        return {name: slice(a, b) for name, a, b in zip(sizes, starts, ends, strict=True)}

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        return self.layout["omega"].stop

    @property
    def limits(self) -> Vector:
        """Natural limits of the coordinates, shape (d, 2)."""
        layout, problem = self.layout, self.problem
        limits = np.tile([-np.inf, np.inf], (self.dimension, 1))
        if problem.heterogeneity == "both":
            limits[layout["tau"]] = [[0.0, np.inf], [0.0, np.pi / 2]]
        elif problem.heterogeneity != "none":
            limits[layout["tau"]] = np.arcsinh(
                np.array(problem.tau_prior().support) / problem.scale
            )
        limits[layout["bias"]] = [0.0, np.inf]
        limits[layout["omega"]] = [0.0, 1.0]
        return limits

    @property
    def bias_scale(self) -> float:
        """Scale of the map ``coefficient = scale * sinh(s)``: a shift of half the median sei."""
        assert self.predictor is not None
        return float(0.5 * np.sqrt(np.median(self.data.vi)) / np.median(self.predictor))

    def heterogeneity(self, points: Vector) -> tuple[Vector, Vector]:
        """Return tau_between and tau_within at points (S, d) or (S, base part of d)."""
        coordinates = points[:, self.layout["tau"]]
        zero = np.zeros(len(points))
        if self.problem.heterogeneity == "none":
            return zero, zero
        tau = self.problem.tau(coordinates[:, 0])
        if self.problem.heterogeneity == "both":
            return tau * np.cos(coordinates[:, 1]), tau * np.sin(coordinates[:, 1])
        return (tau, zero) if self.problem.heterogeneity == "between" else (zero, tau)

    def bias(self, points: Vector) -> Vector:
        """Return the PET or PEESE coefficient, shape (S,)."""
        return self.bias_scale * np.sinh(points[:, self.layout["bias"]][:, 0])

    def means(self, points: Vector) -> Vector:
        """Return the expected effect of each row, shape (S, k)."""
        columns = list(self.problem.columns)
        eta = points[:, self.layout["beta"]] @ self.X[:, columns].T
        if self.predictor is not None:
            eta = eta + self.bias(points)[:, None] * self.predictor
        return eta

    def log_prior_base(self, points: Vector) -> Vector:
        """Return the log prior of all coordinates but the weights', shape (S,)."""
        layout, problem = self.layout, self.problem
        columns = list(problem.columns)
        standard = (points[:, layout["beta"]] - problem.prior_mean[columns]) / problem.prior_sd[
            columns
        ]
        value = -0.5 * np.sum(standard**2 + np.log(2 * np.pi), axis=1)
        value -= np.sum(np.log(problem.prior_sd[columns]))
        if problem.heterogeneity != "none":
            coordinates = points[:, layout["tau"]]
            angle = coordinates[:, 1] if problem.heterogeneity == "both" else coordinates[:, 0]
            value += problem.log_prior(coordinates[:, 0], angle)
        if self.bias_prior is not None:
            s = points[:, layout["bias"]][:, 0]
            value += self.bias_prior.logpdf(self.bias(points))
            value += np.log(self.bias_scale) + np.log(np.cosh(s))
        return value

    def log_density(self, points: Vector) -> Vector:
        """Return log prior plus log-likelihood at points (S, d), shape (S,).

        Points that cannot come within e^-40 of the best one are given none at all: far out, the
        integral over the sample effect may need more nodes than there are.
        """
        v = points[:, self.layout["omega"]]
        prior = self.log_prior_base(points) + self.log_prior_weights(v)
        eta, (between, within) = self.means(points), self.heterogeneity(points)
        omega = self.weights.omega(v**2)
        value = prior + log_unselected(self.data, eta, between, within)
        value = np.where(np.isnan(value), -np.inf, value)
        if self.data.mechanism == "none":
            return value
        least = value + np.log(omega) @ self.data.decided
        most = least + self._largest_factor(eta, between, within, omega)
        near = most > least.max() - self._margin
        value[~near] = -np.inf
        if near.any():
            value[near] += log_factor(
                self.data, eta[near], between[near], within[near], omega[near], paired=True
            )
        return value

    def _largest_factor(
        self, eta: Vector, between: Vector, within: Vector, omega: Vector
    ) -> Vector:
        """Return an upper bound of minus the log normaliser at paired points, shape (S,)."""
        falling = np.all(np.diff(omega, axis=1) <= 0) and not self.data.bins.two_sided
        if self.data.mechanism == "replace" or not falling:
            return -self.data.decided.sum() * np.log(omega.min(axis=1))
        # All A_k(u) rise with u, so E[prod A_k] >= prod E[A_k] (association), and neither
        # 'study' nor 'thin' is seen less often than 'joint'.
        alone = replace(
            self.data,
            cluster=np.arange(self.data.k),
            mechanism="joint",
            n_measured=None,
            primary=None,
        )
        factor = log_factor(alone, eta, between, within, omega, paired=True)
        return factor - np.log(omega) @ alone.decided

    def log_prior_weights(self, v: Vector) -> Vector:
        """Return the log prior of the weights' coordinates (S, J - 1), shape (S,)."""
        with np.errstate(divide="ignore"):
            return self.weights.logpdf(v**2) + np.sum(np.log(2 * v), axis=-1)

    def log_density_table(self, base: Vector, v: Vector) -> Vector:
        """Return the log density at every pair of base (S, ...) and weight (R, J - 1) points.

        As in `log_density`, base points that cannot matter are given none.
        """
        eta, (between, within) = self.means(base), self.heterogeneity(base)
        omega, prior = self.weights.omega(v**2), self.log_prior_weights(v)
        value = self.log_prior_base(base) + log_unselected(self.data, eta, between, within)
        if self.data.mechanism == "none":
            return value[:, None] + prior
        reported = np.log(omega) @ self.data.decided
        rarest = np.broadcast_to(omega.min(axis=0), (len(base), omega.shape[1]))
        most = value + reported.max() + self._largest_factor(eta, between, within, rarest)
        near = most > value.max() + reported.max() - self._margin
        table = np.full((len(base), len(omega)), -np.inf)
        table[near] = (
            value[near, None]
            + log_factor(self.data, eta[near], between[near], within[near], omega)
            + prior
        )
        return table

    @property
    def _margin(self) -> float:
        """How far below the best point's bound a point cannot matter, in nats."""
        # Under `thin` the best point has a factor below 1 for every unreported effect.
        return NEGLIGIBLE + PER_UNREPORTED * float(self.data.missing.sum())

    def constrain(self, z: Vector) -> tuple[Vector, Vector]:
        """Map the real line to the coordinates; return points and log Jacobian."""
        limits = self.limits
        points, jacobian = z.copy(), np.zeros(len(z))
        for i, (low, high) in enumerate(limits):
            if np.isfinite(high):
                points[:, i] = low + (high - low) * special.expit(z[:, i])
                jacobian += np.log(high - low) + special.log_expit(z[:, i])
                jacobian += special.log_expit(-z[:, i])
            elif np.isfinite(low):
                points[:, i] = low - special.log_expit(-z[:, i])  # log(1 + exp(z))
                jacobian += special.log_expit(z[:, i])
        return points, jacobian
