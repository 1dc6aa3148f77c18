"""The closed-form likelihood against dense multivariate normal densities."""

from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from reanalysis.marginal import Statistics, integrate_coefficients, quadratic_forms

SIZES = [1, 2, 3, 1, 4, 2]
RTOL = 1e-10  # closed form against Cholesky: same number, other arithmetic


def rows(equal_within_sample: bool, rng: np.random.Generator) -> dict[str, np.ndarray]:
    cluster = np.repeat(np.arange(len(SIZES)), SIZES)
    k = len(cluster)
    if equal_within_sample:
        vi, n_averaged = np.repeat(rng.uniform(0.01, 0.1, len(SIZES)), SIZES), np.ones(k)
    else:
        vi, n_averaged = rng.uniform(0.01, 0.1, k), rng.choice([1.0, 2.0, 3.0], k)
    X = np.column_stack([np.ones(k), rng.normal(size=k)])
    return {
        "yi": rng.normal(size=k),
        "vi": vi,
        "X": X,
        "cluster": cluster,
        "n_averaged": n_averaged,
    }


@pytest.mark.parametrize("equal_within_sample", [True, False])
@pytest.mark.parametrize("rho", [0.0, 0.6])
@pytest.mark.parametrize("given_v", [False, True])
@pytest.mark.parametrize("columns", [(0, 1), (1,), ()])
def test_the_likelihood_equals_the_dense_multivariate_normal(
    equal_within_sample: bool, rho: float, given_v: bool, columns: tuple[int, ...]
) -> None:
    r = rows(equal_within_sample, np.random.default_rng(1))
    same = r["cluster"][:, None] == r["cluster"]
    V = np.where(same, rho * np.sqrt(np.outer(r["vi"], r["vi"])), 0.0)
    np.fill_diagonal(V, r["vi"])
    stats_ = Statistics.of(**r, V=V if given_v else None)
    between, within = np.array([0.0, 0.04, 0.3]), np.array([0.02, 0.0, 0.1])
    prior_mean, prior_sd = np.array([0.1, -0.2]), np.array([0.5, 0.3])
    forms = quadratic_forms(stats_, between, within, np.full(3, rho))
    found = integrate_coefficients(stats_, *forms, prior_mean, prior_sd, columns)
    use = list(columns)
    for g in range(3):
        sigma = V + np.where(same, between[g], 0.0) + np.diag(within[g] / r["n_averaged"])
        X, sd = r["X"][:, use], prior_sd[use]
        dense = stats.multivariate_normal(X @ prior_mean[use], sigma + X @ np.diag(sd**2) @ X.T)
        assert found.loglik[g] == pytest.approx(dense.logpdf(r["yi"]), rel=RTOL)
        if use:
            precision = X.T @ np.linalg.solve(sigma, X) + np.diag(1 / sd**2)
            rhs = X.T @ np.linalg.solve(sigma, r["yi"]) + prior_mean[use] / sd**2
            np.testing.assert_allclose(found.mean[g], np.linalg.solve(precision, rhs), rtol=1e-8)
            np.testing.assert_allclose(found.cov[g], np.linalg.inv(precision), rtol=1e-8)


def test_the_likelihood_does_not_depend_on_how_the_grid_is_cut_into_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    r = rows(False, np.random.default_rng(2))
    statistics = Statistics.of(**r)
    grid = np.linspace(0.0, 0.5, 40), np.linspace(0.2, 0.0, 40), np.full(40, 0.3)
    whole = quadratic_forms(statistics, *grid)
    monkeypatch.setattr("reanalysis.marginal.CHUNK", 7)
    parts = quadratic_forms(statistics, *grid)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_variances_from_1e_minus_10_to_1e6_keep_their_digits() -> None:
    vi = np.array([1e-10, 1e6, 1e-2, 1.0])
    r = {
        "yi": np.array([5.0, -5.0, 0.3, 0.1]),
        "vi": vi,
        "X": np.ones((4, 1)),
        "cluster": np.arange(4),
        "n_averaged": np.ones(4),
    }
    statistics = Statistics.of(**r)
    tau2 = np.array([0.0, 0.01])
    forms = quadratic_forms(statistics, tau2, np.zeros(2), np.zeros(2))
    found = integrate_coefficients(statistics, *forms, np.zeros(1), np.ones(1), (0,))
    for g in range(2):
        sigma = np.diag(vi + tau2[g])
        dense = stats.multivariate_normal(np.zeros(4), sigma + 1.0).logpdf(r["yi"])
        assert found.loglik[g] == pytest.approx(dense, rel=1e-6)
    weights = [Fraction(1) / Fraction(v) for v in vi]
    total = sum(w * Fraction(y) for w, y in zip(weights, r["yi"], strict=True))
    exact = total / (sum(weights) + 1)  # the prior is Normal(0, 1)
    assert found.mean[0, 0] == pytest.approx(float(exact), rel=1e-14)
