"""The exact engine for many data sets at one design.

Many data sets on one grid of variances are a few matrix products
(`reanalysis.exact.batch_posterior`). Data sets with similar heterogeneity share a grid, so that it
stays small; each data set is held to the tolerance of `reanalysis.exact.refinement` by itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reanalysis.design import Design
from reanalysis.exact.batch_posterior import MEMORY, Nodes, Posteriors, condition, make_nodes
from reanalysis.exact.problem import Problem
from reanalysis.exact.quadrature import Interval, zoom
from reanalysis.exact.refinement import (
    LOG_EVIDENCE_TOLERANCE,
    MEAN_TOLERANCE,
    ORDERS_1D,
    ORDERS_2D,
    make_problem,
)
from reanalysis.results import EngineError
from reanalysis.spec import ModelSpec
from reanalysis.threads import one_blas_thread

__all__ = ["BatchFit", "fit_batch"]

Vector = NDArray[np.float64]
Index = NDArray[np.intp]

GROUP = 128  # data sets on one grid: its arrays stay near the cache
SCAN = (40, 8)  # first look at the whole prior range, only to sort the data sets
PROBABILITIES = (0.025, 0.5, 0.975)
TINY = 1e-300
NO_SCALE = "the batched engine has no method for heterogeneity that a moderator changes"


@dataclass(frozen=True, eq=False)
class BatchFit:
    """Posteriors of r data sets.

    Attributes
    ----------
    mean, sd, lower, median, upper : pandas.DataFrame of shape (r, parameters)
        Moments, median and central 95 % interval of every coefficient and standard deviation;
        NaN for a data set that did not settle, and for an interval that was not asked for.
    log_marginal_likelihood : numpy.ndarray of shape (r,)
        Natural log.
    numerical_error : numpy.ndarray of shape (r,)
        Change of it on refining the grid.
    settled : numpy.ndarray of bool, shape (r,)
        Whether the quadrature reached its tolerance.
    below : pandas.DataFrame
        Posterior probability that each parameter lies below a given value; and ``log_likelihood``,
        if draws were asked for.
    """

    mean: pd.DataFrame
    sd: pd.DataFrame
    lower: pd.DataFrame
    median: pd.DataFrame
    upper: pd.DataFrame
    log_marginal_likelihood: Vector
    numerical_error: Vector
    settled: NDArray[np.bool_]
    below: pd.DataFrame


def fit_batch(
    design: Design,
    spec: ModelSpec,
    Y: Vector,
    *,
    at: Mapping[str, Vector] | None = None,
    intervals: Sequence[str] | None = None,
    draws: int = 0,
    rng: np.random.Generator | None = None,
) -> BatchFit:
    """Fit the normal model to many data sets of one design.

    Parameters
    ----------
    design : Design
        The design; its `yi` is not used.
    spec : ModelSpec
        The model; ``mechanism`` must be ``none``.
    Y : numpy.ndarray of shape (r, k)
        Estimates on the analysis scale, one data set per row.
    at : mapping of str to numpy.ndarray of shape (r,), optional
        Values of parameters at which the posterior distribution functions are evaluated. ``tau``
        follows from its parts.
    intervals : sequence of str, optional
        Parameters that get a median and an interval; all by default. Those of standard deviations
        take most of the time.
    draws : int
        Posterior draws for the distribution of the log-likelihood at `at`, which must then hold
        all parameters; 0 leaves it out.
    rng : numpy.random.Generator, optional
        Source of the draws.

    Returns
    -------
    BatchFit
        The same numbers as from `reanalysis.exact.fit_exact`, within its tolerance.

    Raises
    ------
    EngineError
        If the engine has no method for the model.
    ValueError
        If a shape does not fit.

    Notes
    -----
    With ``W`` the inverse covariance at a node, ``b ~ N(b0, S)`` and ``e = y - X b0``, the log
    density of a data set is ``-(k log 2 pi + log|Sigma| + log|I + S X'WX| + q) / 2`` with
    ``q = e'We - (X'We)' (S^-1 + X'WX)^-1 X'We``: linear in ``e e'`` but for the last term.
    """
    Y = np.asarray(Y, dtype=float)
    if Y.ndim != 2 or Y.shape[1] != design.k:
        raise ValueError(f"Y has shape {Y.shape}, expected (r, {design.k})")
    if spec.mechanism != "none":
        raise EngineError(f"the batched engine has no method for mechanism '{spec.mechanism}'")
    if design.scale is not None:
        raise EngineError(NO_SCALE)
    problem = make_problem(design, spec)
    if problem.common_scale is not None:
        raise EngineError("the batched engine has no method for coefficients with a common scale")
    points = {name: np.asarray(value, dtype=float) for name, value in (at or {}).items()}
    if {"tau_between", "tau_within"} <= points.keys():
        points["tau"] = np.hypot(points["tau_between"], points["tau_within"])
    rng = rng or np.random.default_rng(0)
    wanted = intervals is None or any(name not in design.coefficients for name in intervals)
    batch = _Batch(design, problem, finer=wanted)
    columns = (*design.coefficients, *batch.taus)
    shape = (len(Y), len(columns))
    tables = {key: np.full(shape, np.nan) for key in ("mean", "sd", "lower", "median", "upper")}
    evidence, error = np.full(len(Y), np.nan), np.full(len(Y), np.nan)
    asked = [name for name in columns if name in points]
    below = {name: np.full(len(Y), np.nan) for name in asked}
    if draws:
        below["log_likelihood"] = np.full(len(Y), np.nan)
    with one_blas_thread():
        for rows, grid, moved in batch.solve(Y):
            evidence[rows], error[rows] = grid.evidence, moved
            for i, name in enumerate(columns):
                moments = grid.moments(name)
                tables["mean"][rows, i], tables["sd"][rows, i] = moments
                if intervals is None or name in intervals:
                    quantiles = grid.quantiles(name, PROBABILITIES, moments)
                    for key, value in zip(("lower", "median", "upper"), quantiles, strict=True):
                        tables[key][rows, i] = value
                if name in points:
                    below[name][rows] = grid.cdf_pdf(name, points[name][rows])[0]
            if draws:
                truth = {name: value[rows] for name, value in points.items()}
                below["log_likelihood"][rows] = grid.rank_loglik(Y[rows], truth, draws, rng)
    return BatchFit(
        **{key: pd.DataFrame(values, columns=columns) for key, values in tables.items()},
        log_marginal_likelihood=evidence,
        numerical_error=error,
        settled=np.isfinite(evidence),
        below=pd.DataFrame(below, index=range(len(Y))),
    )


@dataclass(frozen=True, eq=False)
class _Batch:
    """A design and its priors, ready for any data."""

    design: Design
    problem: Problem
    finer: bool

    @property
    def taus(self) -> tuple[str, ...]:
        if self.design.levels == 3:
            return "tau_between", "tau_within", "tau"
        return ("tau_between",)

    def solve(self, Y: Vector) -> Iterator[tuple[Index, Posteriors, Vector]]:
        """Yield rows of `Y` that share a grid, their posteriors, and the change on refining."""
        size = self._group()
        order = np.argsort(self._typical_t(Y)) if len(Y) > size else np.arange(len(Y))
        for start in range(0, len(Y), size):
            yield from self._solve(Y, order[start : start + size])

    def _typical_t(self, Y: Vector) -> Vector:
        """Return the posterior mean of ``t`` on a coarse grid over the whole prior range."""
        boxes = self._prior_box()
        nodes = make_nodes(self.problem, boxes, SCAN if boxes[1] else (SCAN[0], 1))
        found = np.empty(len(Y))
        for start in range(0, len(Y), GROUP):
            part = slice(start, start + GROUP)
            density = condition(self.design, self.problem, Y[part], nodes).loglik + nodes.log_prior
            weight = np.exp(density - density.max(axis=1, keepdims=True))
            found[part] = (weight @ nodes.t) / weight.sum(axis=1)
        return found

    def _prior_box(self) -> tuple[Interval, Interval | None]:
        low, high = (
            float(np.arcsinh(end / self.problem.scale)) for end in self.problem.tau_range()
        )
        return (low, high), (0.0, np.pi / 2) if self.problem.heterogeneity == "both" else None

    def _orders(self, outer: bool) -> tuple[tuple[int, int], ...]:
        """Return the grids to try; tails of standard deviations need finer ones."""
        if outer:
            return ORDERS_2D[2:] if self.finer else ORDERS_2D
        return ORDERS_1D[1:] if self.finer else ORDERS_1D

    def _group(self) -> int:
        """Return how many data sets may share a grid."""
        order = self._orders(self.problem.heterogeneity == "both")[1]
        nodes = order[0] * order[1] * len(self.problem.rho_nodes()[0])
        return max(1, min(GROUP, MEMORY // nodes))

    def _solve(self, Y: Vector, rows: Index) -> Iterator[tuple[Index, Posteriors, Vector]]:
        data = Y[rows]
        box = self._box(data)
        orders = self._orders(box[1] is not None)
        coarse = self._posteriors(data, box, orders[0])
        for order in orders[1:]:
            fine = self._posteriors(data, box, order)
            gap = np.abs(fine.evidence - coarse.evidence)
            settled = (gap < LOG_EVIDENCE_TOLERANCE) & (self._moved(coarse, fine) < MEAN_TOLERANCE)
            if settled.any():
                yield rows[settled], fine.take(settled), gap[settled]
            rows, data = rows[~settled], data[~settled]
            if not len(rows):
                return
            coarse = fine.take(~settled)
        # Alone, a data set has a tighter box than in company; what fails even so stays NaN.
        if len(settled) > 1:
            for row in rows:
                yield from self._solve(Y, np.array([row]))

    def _box(self, data: Vector) -> tuple[Interval, Interval | None]:
        """Return a box that holds the posterior of every data set."""
        rho = self.problem.rho_nodes()[0]
        scanned = np.unique(rho[[0, len(rho) // 2, -1]])

        def log_density(t: Vector, phi: Vector) -> Vector:
            angle = phi if self.problem.heterogeneity == "both" else np.zeros_like(phi)
            prior = self.problem.log_prior(t, angle)
            values = []
            for r in scanned:
                nodes = Nodes.of(self.problem, t, angle, np.full_like(t, r), prior)
                values.append(condition(self.design, self.problem, data, nodes).loglik)
            density = np.max(values, axis=0) + prior
            return np.max(density - density.max(axis=1, keepdims=True), axis=0)

        return zoom(log_density, *self._prior_box())

    def _moved(self, coarse: Posteriors, fine: Posteriors) -> Vector:
        moved = np.zeros(len(fine.evidence))
        for name in self.taus:
            mean, sd = fine.moments(name)
            before = coarse.moments(name)[0]
            moved = np.maximum(moved, np.abs(mean - before) / np.maximum(sd, TINY))
        return moved

    def _posteriors(
        self, data: Vector, box: tuple[Interval, Interval | None], order: Sequence[int]
    ) -> Posteriors:
        nodes = make_nodes(self.problem, box, order)
        given = condition(self.design, self.problem, data, nodes)
        log_density = given.loglik + nodes.log_prior
        top = log_density.max(axis=1, keepdims=True)
        mass = np.exp(log_density - top)
        total = mass.sum(axis=1)
        return Posteriors(
            self.design,
            self.problem,
            nodes,
            given,
            mass / total[:, None],
            np.log(total) + top[:, 0],
        )
