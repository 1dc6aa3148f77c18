"""The likelihood, its derivatives, and the search for its maximum."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from reanalysis.design import Design
from reanalysis.frequentist import fit_reml
from reanalysis.frequentist.likelihood import make_likelihood
from reanalysis.frequentist.optimise import maximise
from reanalysis.spec import ModelSpec

SPEC = ModelSpec(name="m")


def dense_loglik(design: Design, tau2, rho: float, method: str) -> float:
    """Return the log-likelihood from its definition, with the full covariance matrix."""
    same = design.cluster[:, None] == design.cluster[None, :]
    sei = np.sqrt(design.vi)
    S = np.where(same, rho * np.outer(sei, sei) + tau2[0], 0.0)
    np.fill_diagonal(S, design.vi + tau2[0] + tau2[1] / design.n_averaged)
    W, X, y = np.linalg.inv(S), design.X, design.yi
    A = X.T @ W @ X
    beta = np.linalg.solve(A, X.T @ W @ y)
    r = y - X @ beta
    k, p = X.shape
    value = k * np.log(2 * np.pi) + np.linalg.slogdet(S)[1] + r @ W @ r
    if method == "REML":
        value += np.linalg.slogdet(A)[1] - np.linalg.slogdet(X.T @ X)[1] - p * np.log(2 * np.pi)
    return -0.5 * value


def varied(design: Design) -> Design:
    """Return the design with some rows that average effects."""
    return replace(design, n_averaged=1.0 + np.arange(design.k) % 3)


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("rho", [0.0, 0.6])
@pytest.mark.parametrize("tau2", [(0.05, 0.02), (0.0, 0.03), (0.04, 0.0), (0.0, 0.0)])
def test_block_formulas_give_the_dense_likelihood(make_design, method, rho, tau2):
    design = varied(make_design("konstantopoulos2011", moderators=("cont", "cat")))
    likelihood = make_likelihood(design, rho, method)
    here = likelihood.at(np.array(tau2))
    assert here.loglik == pytest.approx(dense_loglik(design, tau2, rho, method), abs=1e-10)


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("rho", [0.0, 0.6])
@pytest.mark.parametrize("given", [False, True])
def test_derivatives_are_those_of_the_likelihood(make_design, method, rho, given):
    design = varied(make_design("konstantopoulos2011", moderators=("cont",)))
    if given:
        sei = np.sqrt(design.vi)
        same = design.cluster[:, None] == design.cluster[None, :]
        V = np.where(same, 0.4 * np.outer(sei, sei), 0.0)
        np.fill_diagonal(V, design.vi)
        design = replace(design, V=V)
    likelihood = make_likelihood(design, rho, method)
    tau2, step = np.array([0.05, 0.02]), 1e-5
    here = likelihood.at(tau2, derivatives=True)
    for i, direction in enumerate(step * np.eye(2)):
        ahead = likelihood.at(tau2 + direction, derivatives=True)
        behind = likelihood.at(tau2 - direction, derivatives=True)
        slope = (ahead.loglik - behind.loglik) / (2 * step)
        assert here.gradient[i] == pytest.approx(slope, rel=1e-5)
        curve = (ahead.gradient - behind.gradient) / (2 * step)
        assert here.hessian[i] == pytest.approx(curve, rel=1e-5)


def test_the_expected_information_is_the_mean_of_the_observed(make_design):
    design = make_design("konstantopoulos2011")
    truth = np.array([0.05, 0.03])
    rng = np.random.default_rng(4)
    total = np.zeros((2, 2))
    draws = 3000
    for _ in range(draws):
        u = rng.normal(0, np.sqrt(truth[0]), design.m)[design.cluster]
        yi = u + rng.normal(0, np.sqrt(truth[1] + design.vi))
        likelihood = make_likelihood(replace(design, yi=yi), 0.0, "REML")
        total -= likelihood.at(truth, derivatives=True).hessian
    expected = make_likelihood(design, 0.0, "REML").at(truth, derivatives=True).information
    assert total / draws == pytest.approx(expected, rel=0.06)


def random_design(seed: int) -> Design:
    """Return small samples; variances and heterogeneity differ by orders of magnitude."""
    rng = np.random.default_rng(seed)
    m = int(rng.integers(3, 9))
    k = m + int(rng.integers(2, 10))
    cluster = np.sort(np.r_[np.arange(m), rng.integers(0, m, k - m)])
    vi = 10 ** rng.uniform(-3, 0.5, k)
    tau = rng.choice([0.0, 0.05, 0.3, 2.0], 2)
    yi = rng.normal(0, tau[0], m)[cluster] + rng.normal(0, np.sqrt(tau[1] ** 2 + vi))
    names = tuple(str(i) for i in range(k))
    return Design(yi, vi, np.ones((k, 1)), ("mu",), cluster, names[:m], names)


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("seed", range(15))
def test_no_point_of_a_fine_grid_is_higher_than_the_maximum(method, seed):
    likelihood = make_likelihood(random_design(seed), 0.0, method)
    best = maximise(likelihood)
    taus = np.r_[0.0, np.geomspace(0.003, 8, 30)]
    grid = [likelihood.at(np.array([a, b]) ** 2).loglik for a in taus for b in taus]
    assert best.converged
    assert best.evaluation.loglik >= max(grid) - 1e-12
    tau2 = best.evaluation.tau2
    there = likelihood.at(tau2, derivatives=True)
    gradient = there.gradient
    information = np.diagonal(there.information)
    assert np.all(np.abs(gradient[tau2 > 0]) <= 1e-7 * np.sqrt(information[tau2 > 0]))
    assert np.all(gradient[tau2 == 0] <= 0)


def test_a_boundary_is_exactly_zero(make_design):
    fits = [make_likelihood(random_design(seed), 0.0, "REML") for seed in range(40)]
    smallest = [np.min(maximise(fit).evaluation.tau2) for fit in fits]
    edges = sum(value == 0 for value in smallest)
    assert edges >= 10
    assert all(value == 0 or value > 1e-7 for value in smallest)


def test_rows_and_samples_may_come_in_any_order(make_design):
    design = make_design("konstantopoulos2011", moderators=("cont", "cat"))
    spec = ModelSpec(name="m", sampling_correlation=0.5)
    fit = fit_reml(design, spec)
    rng = np.random.default_rng(1)
    samples = rng.permutation(design.m)
    rows = np.concatenate([rng.permutation(np.flatnonzero(design.cluster == j)) for j in samples])
    shuffled = replace(
        design,
        yi=design.yi[rows],
        vi=design.vi[rows],
        X=design.X[rows],
        cluster=np.argsort(samples)[design.cluster[rows]],
        cluster_names=tuple(f"other {j}" for j in range(design.m)),
        row_names=tuple(f"row {i}" for i in rows),
    )
    other = fit_reml(shuffled, spec)
    assert other.loglik == pytest.approx(fit.loglik, abs=1e-11)
    assert other.coef == pytest.approx(fit.coef, rel=1e-10)
    assert other.vcov == pytest.approx(fit.vcov, rel=1e-10)
    assert [other.tau2_between, other.tau2_within] == pytest.approx(
        [fit.tau2_between, fit.tau2_within], rel=1e-10
    )
    ours = fit.tables["tests"].drop(columns=["parameter", "test"]).to_numpy()
    theirs = other.tables["tests"].drop(columns=["parameter", "test"]).to_numpy()
    assert theirs == pytest.approx(ours, rel=1e-8)


def test_the_scale_of_a_moderator_does_not_matter(make_design):
    design = make_design("konstantopoulos2011", moderators=("cont",))
    X = design.X.copy()
    X[:, 1] = 1e6 * X[:, 1] + 1e9
    fit, other = fit_reml(design, SPEC), fit_reml(replace(design, X=X), SPEC)
    # log|X'X| is part of the restricted likelihood's constant, so it does not change either.
    assert other.loglik == pytest.approx(fit.loglik, abs=1e-6)
    assert other.qm == pytest.approx(fit.qm, rel=1e-6)
    assert other.coef[1] * 1e6 == pytest.approx(fit.coef[1], rel=1e-6)


def test_the_scale_of_the_effects_carries_through(make_design):
    design = make_design("konstantopoulos2011")
    fit = fit_reml(design, SPEC)
    for scale in (1e-3, 1e4):
        scaled = replace(design, yi=scale * design.yi, vi=scale**2 * design.vi)
        other = fit_reml(scaled, SPEC)
        assert other.coef[0] == pytest.approx(scale * fit.coef[0], rel=1e-9)
        assert other.tau2_between == pytest.approx(scale**2 * fit.tau2_between, rel=1e-9)
        assert other.estimates["tau_within"].upper == pytest.approx(
            scale * fit.estimates["tau_within"].upper, rel=1e-7
        )


def test_a_search_that_runs_out_of_steps_says_so(make_design, monkeypatch):
    monkeypatch.setattr("reanalysis.frequentist.optimise.MAX_STEPS", 1)
    assert not fit_reml(make_design("konstantopoulos2011"), SPEC, details=False).converged


def test_time_grows_with_rows_not_with_their_square():
    # Counted in array elements rather than seconds: no array of the search has more than a few
    # rows of length k, so ten times the rows is ten times the memory.
    peaks = []
    for k in (1000, 10000):
        rng = np.random.default_rng(k)
        cluster = np.sort(np.r_[np.arange(k // 5), rng.integers(0, k // 5, k - k // 5)])
        names = tuple(str(i) for i in range(k))
        yi, vi = rng.normal(size=k), rng.uniform(0.01, 0.1, k)
        design = Design(yi, vi, np.ones((k, 1)), ("mu",), cluster, names[: k // 5], names)
        tracemalloc.start()
        fit_reml(design, SPEC, details=False)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] / peaks[0] < 12
