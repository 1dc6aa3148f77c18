"""Posteriors of many data sets of one design, on one grid of variance parameters.

Given the variance parameters, the weights, determinants and factorisations depend on the design
alone; the data enter through quadratic forms, for all data sets in a few matrix products. Where the
grid lies is decided in `reanalysis.exact.batch`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from reanalysis.design import Design
from reanalysis.exact.problem import Problem
from reanalysis.exact.quadrature import Interval, Rule, graded, invert, legendre_rule
from reanalysis.priors import LOG_2PI

__all__ = ["MEMORY", "Conditional", "Nodes", "Posteriors", "condition", "make_nodes"]

Vector = NDArray[np.float64]
Index = NDArray[np.intp]

MEMORY = 4_000_000  # elements of one working array
TINY = 1e-300
NEGLIGIBLE = 1e-12  # probability of a node
BINS = 32  # normals that stand for all nodes in a first guess at a quantile
REACH = 40.0  # standard deviations that hold the 2.5 % quantile of any mixture


@dataclass(frozen=True, eq=False)
class Nodes:
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
    ) -> "Nodes":
        """Return single nodes, with what their prior weighs."""
        tau = problem.tau(t)
        return cls(t, tau * np.cos(phi), tau * np.sin(phi), rho, log_prior)


def make_nodes(
    problem: Problem, box: tuple[Interval, Interval | None], order: Sequence[int]
) -> Nodes:
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
    return Nodes(
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


@dataclass(frozen=True, eq=False)
class Conditional:
    """What is known given each node; r data sets, G nodes, p coefficients."""

    loglik: Vector  # (r, G), coefficients integrated out
    mean: Vector  # (r, G, p)
    cov: Vector  # (G, p, p)
    base: Vector  # (G,)
    square: Vector  # (r, G)
    linear: Vector  # (r, G, p)
    information: Vector  # (G, p, p)

    def take(self, keep: NDArray[np.bool_]) -> "Conditional":
        """Return the same for some of the data sets."""
        return Conditional(
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


def condition(design: Design, problem: Problem, Y: Vector, nodes: Nodes) -> Conditional:
    """Return the coefficients and the log density of each data set given each node."""
    centred = Y - design.X @ problem.prior_mean
    G, p = len(nodes.t), design.p
    logdet, information = np.zeros(G), np.zeros((G, p, p))
    square, linear = np.zeros((len(Y), G)), np.zeros((len(Y), G, p))
    for rows in _blocks(design, G):
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
    return Conditional(loglik, offset + problem.prior_mean, cov, base, square, linear, information)


@dataclass(frozen=True, eq=False)
class Posteriors:
    """Posteriors of r data sets on one grid."""

    design: Design
    problem: Problem
    nodes: Nodes
    given: Conditional
    weight: Vector  # (r, G)
    evidence: Vector  # (r,)

    def take(self, keep: NDArray[np.bool_]) -> "Posteriors":
        """Return the same for some of the data sets."""
        return Posteriors(
            self.design,
            self.problem,
            self.nodes,
            self.given.take(keep),
            self.weight[keep],
            self.evidence[keep],
        )

    def moments(self, name: str) -> tuple[Vector, Vector]:
        """Return posterior mean and standard deviation of a parameter."""
        if name in self.design.coefficients:
            i = self.design.coefficients.index(name)
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
        if name in self.design.coefficients:
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

        top = float(self.problem.tau(np.array(self.nodes.t_box[1])))
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
        if name in self.design.coefficients:
            i = self.design.coefficients.index(name)
            keep = self.weight.max(axis=0) > NEGLIGIBLE
            sd = np.sqrt(self.given.cov[keep, i, i])
            return _normal_mixtures(self.weight[:, keep], self.given.mean[:, keep, i], sd, x)
        share, series, integral = self._slices[name]
        half = (self.nodes.t_box[1] - self.nodes.t_box[0]) / 2
        divisor = np.maximum(share, TINY) * self.problem.scale
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
        design, problem = self.design, self.problem
        r, p = len(Y), design.p
        rows = np.arange(r)
        rho = truth.get("sampling_correlation")
        if rho is None:
            rho = np.full(r, problem.rho_nodes()[0][0])
        zero = np.zeros(r)
        true = Nodes(zero, truth["tau_between"], truth.get("tau_within", zero), rho, zero)
        b = np.column_stack([truth[name] for name in design.coefficients]) - problem.prior_mean
        observed = condition(design, problem, Y, true).log_likelihood(rows, rows, b)
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
        i = self.design.coefficients.index(name)
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


def _blocks(design: Design, G: int) -> Iterator[Index]:
    """Yield the rows of samples of equal size, (n, a), few enough for the memory."""
    starts = design.starts
    sizes = np.diff(np.r_[starts, design.k])
    for a in np.unique(sizes):
        first = starts[sizes == a]
        step = max(1, MEMORY // (G * int(a) ** 2))
        for i in range(0, len(first), step):
            yield first[i : i + step, None] + np.arange(a)


def _invert(design: Design, rows: Index, nodes: Nodes) -> tuple[Vector, Vector]:
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


def _normal_mixtures(weight: Vector, mean: Vector, sd: Vector, x: Vector) -> tuple[Vector, Vector]:
    """Return distribution functions and densities of mixtures (r, G), each at its point (r,)."""
    z = (x[:, None] - mean) / sd
    below: Vector = (weight * ndtr(z)).sum(axis=1)
    density: Vector = (weight * np.exp(-0.5 * z * z) / (sd * np.sqrt(2 * np.pi))).sum(axis=1)
    return below, density


def _with_integral(series: Vector) -> tuple[Vector, Vector]:
    """Return Legendre series along the last axis with the series of their integrals from -1."""
    return series, np.asarray(legendre.legint(series, lbnd=-1, axis=2), dtype=float)
