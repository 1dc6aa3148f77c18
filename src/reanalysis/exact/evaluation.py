"""Evaluate the integral of a normal model: find where the posterior is, then fill a grid there."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from reanalysis.exact.common_scale import integrate_common_scale
from reanalysis.exact.grid import Grid
from reanalysis.exact.problem import Heterogeneity, Problem
from reanalysis.exact.quadrature import Interval, legendre_rule, zoom
from reanalysis.marginal import Coefficients, integrate_coefficients, quadratic_forms

__all__ = ["evaluate_grid", "find_box", "point_loglik"]

Vector = NDArray[np.float64]

WIDER = 12  # times that the range may grow, each by a factor of e at its far end
SCALE_NODES = 12  # of the first look
POINT_SCALE_NODES = 64  # without heterogeneity the scale is the only integral
ANGLE: Mapping[Heterogeneity, float] = {"between": 0.0, "within": np.pi / 2}


def find_box(problem: Problem) -> tuple[Interval, Interval | None]:
    """Return the part of ``(t, phi)`` that holds the posterior.

    Parameters
    ----------
    problem : Problem
        The integral.

    Returns
    -------
    tuple
        Interval of ``t`` and, with both variance components, of ``phi``.
    """
    rho = problem.rho_nodes()[0]
    scanned = np.unique(rho[[0, len(rho) // 2, -1]])
    scales, weight = problem.scale_nodes(SCALE_NODES)
    with np.errstate(divide="ignore"):  # a prior may leave nothing at a node
        log_weight = np.log(weight)

    def log_density(t: Vector, phi: Vector) -> Vector:
        phi = _angle(problem, phi)
        values = [
            _given(problem, t, phi, np.full_like(t, r), scales, moments=False).loglik
            for r in scanned
        ]
        best = np.max(values, axis=0).reshape(len(t), -1) + log_weight
        return problem.log_prior(t, phi) + best.max(axis=1)

    low, high = problem.tau_range()
    start, end = float(np.arcsinh(low / problem.scale)), float(np.arcsinh(high / problem.scale))
    outer = (0.0, np.pi / 2) if problem.heterogeneity == "both" else None
    box = zoom(log_density, (start, end), outer)
    # Data that the prior held to be impossible push the posterior beyond the prior's range.
    for _ in range(WIDER):
        if box[0][1] < end or not np.isfinite(log_density(np.array([end + 1]), np.ones(1))[0]):
            break
        end += 1.0
        box = zoom(log_density, (start, end), outer)
    return box


def evaluate_grid(
    problem: Problem,
    box: tuple[Interval, Interval | None],
    orders: Sequence[int],
    scale_nodes: int = 1,
    *,
    moments: bool = True,
) -> Grid:
    """Evaluate the posterior on a tensor grid.

    Parameters
    ----------
    problem : Problem
        The integral.
    box : tuple
        From `find_box`.
    orders : sequence of int
        Number of nodes along ``t`` and along ``phi``.
    scale_nodes : int
        Number of nodes along the common scale, where there is one.
    moments : bool
        False leaves the coefficients out, for an evidence alone.

    Returns
    -------
    Grid
        Normalised posterior with the log marginal likelihood.
    """
    t_box, phi_box = box
    rule = legendre_rule(orders[0])
    t = t_box[0] + (rule.nodes + 1) / 2 * (t_box[1] - t_box[0])
    rho, rho_weight = problem.rho_nodes()
    if phi_box is None:
        phi, phi_weight, angles = _angle(problem, np.zeros(1)), np.ones(1), None
    else:
        across = legendre_rule(orders[1])
        angles = across, phi_box
        phi = phi_box[0] + (across.nodes + 1) / 2 * (phi_box[1] - phi_box[0])
        phi_weight = across.weights * (phi_box[1] - phi_box[0]) / 2
    scales, scale_weight = problem.scale_nodes(scale_nodes)
    side_weight = np.outer(rho_weight, scale_weight).ravel()
    outer_phi = np.repeat(phi, len(side_weight))
    with np.errstate(divide="ignore"):  # a prior may leave nothing at a node
        log_outer = np.log(np.outer(phi_weight, side_weight).ravel())
    n_t, n_outer = len(t), len(outer_phi)
    all_t, all_phi = np.repeat(t, n_outer), np.tile(outer_phi, n_t)
    all_rho = np.tile(np.repeat(rho, len(scales)), n_t * len(phi))
    every = slice(None, None, len(scales))  # the scales share the weighted cross-products
    given = _given(problem, all_t[every], all_phi[every], all_rho[every], scales, moments=moments)
    log_density = given.loglik + problem.log_prior(all_t, all_phi) + np.tile(log_outer, n_t)
    top = log_density.max()
    density = np.exp(log_density - top).reshape(n_t, n_outer)
    width = rule.weights * (t_box[1] - t_box[0]) / 2
    mass = density * width[:, None]
    total = mass.sum()
    tau = problem.tau(all_t)
    return Grid(
        problem=problem,
        rule=rule,
        interval=t_box,
        density=density / total,
        weight=(mass / total).ravel(),
        tau_between=tau * np.cos(all_phi),
        tau_within=tau * np.sin(all_phi),
        rho=all_rho,
        common_scale=np.tile(scales, len(all_t) // len(scales)),
        outer=outer_phi,
        angles=angles,
        mean=given.mean,
        cov=given.cov,
        log_marginal_likelihood=float(np.log(total) + top),
        scale_nodes=len(scales),
    )


def point_loglik(problem: Problem) -> float:
    """Return the log marginal likelihood without heterogeneity.

    Parameters
    ----------
    problem : Problem
        With ``heterogeneity="none"``.

    Returns
    -------
    float
        Natural log, the sampling correlation integrated out where it has a prior.
    """
    rho, weight = problem.rho_nodes()
    scales, scale_weight = problem.scale_nodes(POINT_SCALE_NODES)
    zero = np.zeros_like(rho)
    logdet, forms = quadratic_forms(problem.stats, zero, zero, rho)
    loglik = _integrate(problem, logdet, forms, scales, moments=False).loglik
    top = loglik.max()
    return float(top + np.log(np.outer(weight, scale_weight).ravel() @ np.exp(loglik - top)))


def _angle(problem: Problem, phi: Vector) -> Vector:
    if problem.heterogeneity == "both":
        return phi
    return np.full_like(phi, ANGLE[problem.heterogeneity])


def _given(
    problem: Problem, t: Vector, phi: Vector, rho: Vector, scales: Vector, *, moments: bool
) -> Coefficients:
    """Return the likelihood and the coefficients at each node, for each common scale."""
    tau2 = problem.tau(t) ** 2
    logdet, forms = quadratic_forms(
        problem.stats, tau2 * np.cos(phi) ** 2, tau2 * np.sin(phi) ** 2, rho
    )
    return _integrate(problem, logdet, forms, scales, moments=moments)


def _integrate(
    problem: Problem, logdet: Vector, forms: Vector, scales: Vector, *, moments: bool
) -> Coefficients:
    prior = problem.prior_mean, problem.prior_sd
    if problem.common_scale is None:
        return integrate_coefficients(problem.stats, logdet, forms, *prior, problem.columns)
    return integrate_common_scale(
        problem.stats,
        logdet,
        forms,
        *prior,
        problem.columns,
        problem.shrunk,
        scales,
        moments=moments,
    )
