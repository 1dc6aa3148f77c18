"""The exact engine for many data sets at one design.

Given the variance parameters, the weights, determinants and factorisations depend on the design
alone; the data enter through quadratic forms. Many data sets on one grid of variances are therefore
a few matrix products. Data sets with similar heterogeneity share a grid, so that it stays small;
each data set is held to the tolerance of `reanalysis.exact.normal` by itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.polynomial import legendre
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from reanalysis.design import Design
from reanalysis.exact.grid import Problem
from reanalysis.exact.normal import (
    LOG_EVIDENCE_TOLERANCE,
    MEAN_TOLERANCE,
    ORDERS_1D,
    ORDERS_2D,
    _problem,
)
from reanalysis.exact.quadrature import Interval, Rule, graded, invert, legendre_rule, zoom
from reanalysis.priors import LOG_2PI
from reanalysis.results import EngineError
from reanalysis.spec import ModelSpec
from reanalysis.threads import one_blas_thread

__all__ = ["BatchFit", "fit_batch"]

Vector = NDArray[np.float64]
Index = NDArray[np.intp]

GROUP = 128  # data sets on one grid: its arrays stay near the cache
SCAN = (40, 8)  # first look at the whole prior range, only to sort the data sets
PROBABILITIES = (0.025, 0.5, 0.975)
MEMORY = 4_000_000  # elements of one working array
TINY = 1e-300
NO_SCALE = "the batched engine has no method for heterogeneity that a moderator changes"
NEGLIGIBLE = 1e-12  # probability of a node
BINS = 32  # normals that stand for all nodes in a first guess at a quantile
REACH = 40.0  # standard deviations that hold the 2.5 % quantile of any mixture


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
    problem = _problem(design, spec)
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

    def solve(self, Y: Vector) -> Iterator[tuple[Index, "_Posteriors", Vector]]:
        """Yield rows of `Y` that share a grid, their posteriors, and the change on refining."""
        size = self._group()
        order = np.argsort(self._typical_t(Y)) if len(Y) > size else np.arange(len(Y))
        for start in range(0, len(Y), size):
            yield from self._solve(Y, order[start : start + size])

    def _typical_t(self, Y: Vector) -> Vector:
        """Return the posterior mean of ``t`` on a coarse grid over the whole prior range."""
        boxes = self._prior_box()
        nodes = _nodes(self.problem, boxes, SCAN if boxes[1] else (SCAN[0], 1))
        found = np.empty(len(Y))
        for start in range(0, len(Y), GROUP):
            part = slice(start, start + GROUP)
            density = self.conditional(Y[part], nodes).loglik + nodes.log_prior
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

    def _solve(self, Y: Vector, rows: Index) -> Iterator[tuple[Index, "_Posteriors", Vector]]:
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
                nodes = _Nodes.of(self.problem, t, angle, np.full_like(t, r), prior)
                values.append(self.conditional(data, nodes).loglik)
            density = np.max(values, axis=0) + prior
            return np.max(density - density.max(axis=1, keepdims=True), axis=0)

        return zoom(log_density, *self._prior_box())

    def _moved(self, coarse: "_Posteriors", fine: "_Posteriors") -> Vector:
        moved = np.zeros(len(fine.evidence))
        for name in self.taus:
            mean, sd = fine.moments(name)
            before = coarse.moments(name)[0]
            moved = np.maximum(moved, np.abs(mean - before) / np.maximum(sd, TINY))
        return moved

    def _posteriors(
        self, data: Vector, box: tuple[Interval, Interval | None], order: Sequence[int]
    ) -> "_Posteriors":
        nodes = _nodes(self.problem, box, order)
        given = self.conditional(data, nodes)
        log_density = given.loglik + nodes.log_prior
        top = log_density.max(axis=1, keepdims=True)
        mass = np.exp(log_density - top)
        total = mass.sum(axis=1)
        return _Posteriors(self, nodes, given, mass / total[:, None], np.log(total) + top[:, 0])

    def conditional(self, Y: Vector, nodes: "_Nodes") -> "_Conditional":
        """Return the coefficients and the log density of each data set given each node."""
        design, problem = self.design, self.problem
        centred = Y - design.X @ problem.prior_mean
        G, p = len(nodes.t), design.p
        logdet, information = np.zeros(G), np.zeros((G, p, p))
        square, linear = np.zeros((len(Y), G)), np.zeros((len(Y), G, p))
        for rows in self._blocks(G):
            inverse, determinant = _invert(design, rows, nodes)
            logdet += determinant
            X, E = design.X[rows], centred[:, rows]
            pulled = inverse @ X  # (G, n, a, p)
            information += np.einsum("nap,gnaq->gpq", X, pulled)
            outer = (E[..., :, None] * E[..., None, :]).reshape(len(Y), -1)
            square += outer @ inverse.reshape(G, -1).T
            flat = pulled.transpose(1, 2, 0, 3).reshape(rows.size, G * p)
            linear += (E.reshape(len(Y), -1) @ flat).reshape(len(Y), G, p)
        sd = problem.prior_sd
        scaled = np.eye(p) + information * sd[:, None] * sd
        cov = np.linalg.inv(scaled) * sd[:, None] * sd if p > 1 else sd**2 / scaled
        log_scaled = np.linalg.slogdet(scaled)[1] if p > 1 else np.log(scaled[:, 0, 0])
        offset = np.einsum("rgp,gpq->rgq", linear, cov) if p > 1 else linear * cov[:, :, 0]
        base = -0.5 * (design.k * LOG_2PI + logdet)
        explained = np.einsum("rgp,rgp->rg", linear, offset)
        loglik = base - 0.5 * (log_scaled + square - explained)
        return _Conditional(
            loglik, offset + problem.prior_mean, cov, base, square, linear, information
        )

    def _blocks(self, G: int) -> Iterator[Index]:
        """Yield the rows of samples of equal size, (n, a), few enough for the memory."""
        starts = self.design.starts
        sizes = np.diff(np.r_[starts, self.design.k])
        for a in np.unique(sizes):
            first = starts[sizes == a]
            step = max(1, MEMORY // (G * int(a) ** 2))
            for i in range(0, len(first), step):
                yield first[i : i + step, None] + np.arange(a)


@dataclass(frozen=True, eq=False)
class _Nodes:
    """Nodes ``(t, phi, rho)``; the log prior includes the weights of the quadrature."""

    t: Vector
    tau_between: Vector
    tau_within: Vector
    rho: Vector
    log_prior: Vector
    rule: Rule | None = None
    t_box: Interval = (0.0, 0.0)
    phi: Vector | None = None
    phi_box: Interval | None = None
    n_rho: int = 1

    @classmethod
    def of(
        cls, problem: Problem, t: Vector, phi: Vector, rho: Vector, log_prior: Vector
    ) -> "_Nodes":
        tau = problem.tau(t)
        return cls(t, tau * np.cos(phi), tau * np.sin(phi), rho, log_prior)


def _nodes(problem: Problem, box: tuple[Interval, Interval | None], order: Sequence[int]) -> _Nodes:
    """Return a tensor grid on a box."""
    t_box, phi_box = box
    rule = legendre_rule(order[0])
    half = (t_box[1] - t_box[0]) / 2
    t = t_box[0] + (rule.nodes + 1) * half
    rho, rho_weight = problem.rho_nodes()
    phi, phi_weight = np.zeros(1), np.ones(1)
    if phi_box is not None:
        across = legendre_rule(order[1])
        phi_half = (phi_box[1] - phi_box[0]) / 2
        phi, phi_weight = phi_box[0] + (across.nodes + 1) * phi_half, across.weights * phi_half
    all_t, all_phi, all_rho = (a.ravel() for a in np.meshgrid(t, phi, rho, indexing="ij"))
    weight = (rule.weights * half)[:, None, None] * phi_weight[:, None] * rho_weight
    log_prior = problem.log_prior(all_t, all_phi) + np.log(weight.ravel())
    tau = problem.tau(all_t)
    return _Nodes(
        all_t,
        tau * np.cos(all_phi),
        tau * np.sin(all_phi),
        all_rho,
        log_prior,
        rule,
        t_box,
        phi,
        phi_box,
        len(rho),
    )


def _invert(design: Design, rows: Index, nodes: _Nodes) -> tuple[Vector, Vector]:
    """Return the inverse covariance of samples of equal size, (G, n, a, a), and log determinants.

    Without a given covariance it is a diagonal plus rank two (Woodbury), as in
    `reanalysis.marginal`.
    """
    between = nodes.tau_between[:, None, None] ** 2
    own = nodes.tau_within[:, None, None] ** 2 / design.n_averaged[rows]
    a = rows.shape[1]
    eye = np.eye(a)
    if design.V is not None:
        V = design.V[rows[:, :, None], rows[:, None, :]]
        sigma = V + between[..., None] + own[..., None] * eye
        return np.linalg.inv(sigma), np.linalg.slogdet(sigma)[1].sum(axis=1)
    v, rho = design.vi[rows], nodes.rho[:, None, None]
    d = (1 - rho) * v + own
    if a == 1:
        total = d + rho * v + between
        return 1 / total[..., None], np.log(total).sum(axis=(1, 2))
    u1, u2 = np.sqrt(rho * v), np.broadcast_to(np.sqrt(between), d.shape)
    w1, w2 = u1 / d, u2 / d
    m11, m22 = 1 + (u1 * w1).sum(axis=2), 1 + (u2 * w2).sum(axis=2)
    m12 = (u1 * w2).sum(axis=2)
    determinant = m11 * m22 - m12**2
    f11, f22, f12 = (x[:, :, None, None] / determinant[:, :, None, None] for x in (m22, m11, m12))
    cross = w1[..., :, None] * w2[..., None, :]
    inverse = eye / d[..., None] - (
        f11 * w1[..., :, None] * w1[..., None, :]
        + f22 * w2[..., :, None] * w2[..., None, :]
        - f12 * (cross + cross.swapaxes(2, 3))
    )
    return inverse, np.log(d).sum(axis=(1, 2)) + np.log(determinant).sum(axis=1)


@dataclass(frozen=True, eq=False)
class _Conditional:
    """What is known given each node; r data sets, G nodes, p coefficients."""

    loglik: Vector  # (r, G), coefficients integrated out
    mean: Vector  # (r, G, p)
    cov: Vector  # (G, p, p)
    base: Vector  # (G,)
    square: Vector  # (r, G)
    linear: Vector  # (r, G, p)
    information: Vector  # (G, p, p)

    def take(self, keep: NDArray[np.bool_]) -> "_Conditional":
        return _Conditional(
            self.loglik[keep],
            self.mean[keep],
            self.cov,
            self.base,
            self.square[keep],
            self.linear[keep],
            self.information,
        )

    def log_likelihood(self, row: Index, node: Index, b: Vector) -> Vector:
        """Return the log-likelihood at coefficients `b`, taken from the prior mean."""
        fitted = np.einsum("...p,...p->...", b, self.linear[row, node])
        spent = np.einsum("...p,...pq,...q->...", b, self.information[node], b)
        return np.asarray(self.base[node] - 0.5 * (self.square[row, node] - 2 * fitted + spent))


@dataclass(frozen=True, eq=False)
class _Posteriors:
    """Posteriors of r data sets on one grid."""

    batch: _Batch
    nodes: _Nodes
    given: _Conditional
    weight: Vector  # (r, G)
    evidence: Vector  # (r,)

    def take(self, keep: NDArray[np.bool_]) -> "_Posteriors":
        return _Posteriors(
            self.batch, self.nodes, self.given.take(keep), self.weight[keep], self.evidence[keep]
        )

    def moments(self, name: str) -> tuple[Vector, Vector]:
        """Return posterior mean and standard deviation of a parameter."""
        if name in self.batch.design.coefficients:
            i = self.batch.design.coefficients.index(name)
            value, variance = self.given.mean[:, :, i], self.given.cov[:, i, i]
            mean = (self.weight * value).sum(axis=1)
            spread = self.weight @ variance
            spread += (self.weight * (value - mean[:, None]) ** 2).sum(axis=1)
            return mean, np.sqrt(spread)
        value = self._values(name)
        mean = self.weight @ value
        square = self.weight @ (value - value.mean()) ** 2 - (mean - value.mean()) ** 2
        return mean, np.sqrt(np.maximum(square, 0.0))

    def quantiles(
        self, name: str, probabilities: Sequence[float], moments: tuple[Vector, Vector]
    ) -> Vector:
        """Return quantiles, of shape (probabilities, r)."""
        targets = [np.full(len(self.evidence), q) for q in probabilities]
        mean, sd = moments
        if name in self.batch.design.coefficients:
            rough = self._binned(name)

            def standardised(z: Vector) -> tuple[Vector, Vector]:
                value, density = _normal_mixtures(*rough, mean + sd * z)
                return value, density * sd

            found = []
            for full in targets:
                x = mean + sd * invert(standardised, full, (-REACH, REACH), ndtri(full))
                # From here Newton's error squares: 1e-4 of a standard deviation becomes 1e-8.
                value, density = self.cdf_pdf(name, x)
                found.append(x - (value - full) / density)
            return np.array(found)

        def own(x: Vector) -> tuple[Vector, Vector]:
            return self.cdf_pdf(name, x)

        top = float(self.batch.problem.tau(np.array(self.nodes.t_box[1])))
        spread = np.log1p((sd / mean) ** 2)
        return np.array(
            [
                invert(
                    own, full, (0.0, top), mean * np.exp(np.sqrt(spread) * ndtri(full) - spread / 2)
                )
                for full in targets
            ]
        )

    def cdf_pdf(self, name: str, x: Vector) -> tuple[Vector, Vector]:
        """Return distribution functions and densities, each data set at its own point (r,)."""
        if name in self.batch.design.coefficients:
            i = self.batch.design.coefficients.index(name)
            keep = self.weight.max(axis=0) > NEGLIGIBLE
            sd = np.sqrt(self.given.cov[keep, i, i])
            return _normal_mixtures(self.weight[:, keep], self.given.mean[:, keep, i], sd, x)
        share, series, integral = self._slices[name]
        half = (self.nodes.t_box[1] - self.nodes.t_box[0]) / 2
        divisor = np.maximum(share, TINY) * self.batch.problem.scale
        ratio = x[:, None] / divisor
        u = (np.arcsinh(ratio) - self.nodes.t_box[0]) / half - 1
        basis = legendre.legvander(np.clip(u, -1, 1), series.shape[2])
        cumulative = half * np.einsum("rsn,rsn->rs", basis, integral)
        density = np.einsum("rsn,rsn->rs", basis[:, :, :-1], series)
        density = np.where(np.abs(u) <= 1, density, 0.0) / (np.sqrt(1 + ratio**2) * divisor)
        return cumulative.sum(axis=1), density.sum(axis=1)

    def rank_loglik(
        self, Y: Vector, truth: Mapping[str, Vector], draws: int, rng: np.random.Generator
    ) -> Vector:
        """Return the posterior probability of a lower log-likelihood than at the truth.

        From `draws` draws, with a uniform number in place of the tie, so that it is uniform on
        (0, 1) if the posterior is right.
        """
        design, problem = self.batch.design, self.batch.problem
        r, p = len(Y), design.p
        rows = np.arange(r)
        rho = truth.get("sampling_correlation")
        if rho is None:
            rho = np.full(r, problem.rho_nodes()[0][0])
        zero = np.zeros(r)
        true = _Nodes(zero, truth["tau_between"], truth.get("tau_within", zero), rho, zero)
        b = np.column_stack([truth[name] for name in design.coefficients]) - problem.prior_mean
        observed = self.batch.conditional(Y, true).log_likelihood(rows, rows, b)
        cumulative = np.cumsum(self.weight, axis=1)
        uniform = rng.uniform(size=(r, draws)) * cumulative[:, -1:]
        node = np.array(
            [np.searchsorted(c, u) for c, u in zip(cumulative, uniform, strict=True)]
        ).clip(max=self.weight.shape[1] - 1)
        root = np.linalg.cholesky(self.given.cov)
        noise = np.einsum("rdpq,rdq->rdp", root[node], rng.standard_normal((r, draws, p)))
        drawn = self.given.mean[rows[:, None], node] - problem.prior_mean + noise
        values = self.given.log_likelihood(rows[:, None], node, drawn)
        lower = (values < observed[:, None]).sum(axis=1)
        return (lower + rng.uniform(size=r)) / (draws + 1)

    def _binned(self, name: str) -> tuple[Vector, Vector, Vector]:
        """Return the mixture of a coefficient with nodes of similar spread joined into one."""
        i = self.batch.design.coefficients.index(name)
        variance = self.given.cov[:, i, i]
        order = np.argsort(variance)
        share = np.cumsum(self.weight.mean(axis=0)[order])
        edges = np.interp(np.arange(1, BINS) / BINS, share, variance[order])
        member = np.searchsorted(edges, variance)[:, None] == np.arange(BINS)
        mass = self.weight @ member + TINY
        centre = (self.weight * self.given.mean[:, :, i]) @ member / mass
        square = (self.weight * (self.given.mean[:, :, i] ** 2 + variance)) @ member / mass
        return mass, centre, np.sqrt(np.maximum(square - centre**2, TINY))

    def _values(self, name: str) -> Vector:
        if name == "tau_between":
            return self.nodes.tau_between
        if name == "tau_within":
            return self.nodes.tau_within
        return np.hypot(self.nodes.tau_between, self.nodes.tau_within)

    @cached_property
    def _slices(self) -> dict[str, tuple[Vector, Vector, Vector]]:
        """For each standard deviation: its share of ``tau`` by slice, and Legendre series along t.

        The series are those of the density, (r, slices, n_t), and of its integral. A small
        ``tau_between`` is a narrow range of angles, so the slices crowd there, as in
        `reanalysis.exact.grid.Grid`.
        """
        nodes = self.nodes
        assert nodes.rule is not None and nodes.phi is not None
        rule, n_t, n_phi = nodes.rule, len(nodes.rule.nodes), len(nodes.phi)
        half = (nodes.t_box[1] - nodes.t_box[0]) / 2
        density = self.weight.reshape(-1, n_t, n_phi, nodes.n_rho).sum(axis=3)
        density = density.transpose(0, 2, 1) / (rule.weights * half)  # (r, n_phi, n_t)
        series = density @ rule.coefficients.T
        if nodes.phi_box is None:
            return {"tau_between": (np.ones(1), *_with_integral(series))}
        total = series.sum(axis=1, keepdims=True)
        found = {"tau": (np.ones(1), *_with_integral(total))}
        low, high = nodes.phi_box
        across, phi_half = legendre_rule(n_phi), (high - low) / 2
        by_angle = series / (across.weights * phi_half)[:, None]
        for name, end, part in (("tau_between", 1, np.cos), ("tau_within", -1, np.sin)):
            x, weights, matrix = graded(n_phi, end)
            sliced = np.einsum("sa,ran->rsn", matrix * (weights * phi_half)[:, None], by_angle)
            found[name] = part(low + (x + 1) * phi_half), *_with_integral(sliced)
        return found


def _normal_mixtures(weight: Vector, mean: Vector, sd: Vector, x: Vector) -> tuple[Vector, Vector]:
    """Return distribution functions and densities of mixtures (r, G), each at its point (r,)."""
    z = (x[:, None] - mean) / sd
    below: Vector = (weight * ndtr(z)).sum(axis=1)
    density: Vector = (weight * np.exp(-0.5 * z * z) / (sd * np.sqrt(2 * np.pi))).sum(axis=1)
    return below, density


def _with_integral(series: Vector) -> tuple[Vector, Vector]:
    """Return Legendre series along the last axis with the series of their integrals from -1."""
    return series, np.asarray(legendre.legint(series, lbnd=-1, axis=2), dtype=float)
