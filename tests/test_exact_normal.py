"""The exact engine against bayesmeta, an R quadrature, closed forms and itself on finer grids."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

from reanalysis.design import Design
from reanalysis.exact import fit_exact, log_evidence
from reanalysis.marginal import Statistics, integrate_coefficients, quadratic_forms
from reanalysis.priors import Prior
from reanalysis.results import EngineError
from reanalysis.spec import ModelSpec

REFERENCE = Path(__file__).parent / "reference"
SEPARATE = ModelSpec(
    name="reference",
    priors={
        "mu": Prior("normal", {"sigma": 0.5}),
        "tau_between": Prior("half_normal", {"sigma": 0.3}),
        "tau_within": Prior("half_normal", {"sigma": 0.3}),
    },
)
TWO_LEVEL = ModelSpec(
    name="reference",
    priors={
        "mu": Prior("normal", {"sigma": 0.5}),
        "tau_between": Prior("half_normal", {"sigma": 0.3}),
    },
)


def reference(name: str) -> dict[str, Any]:
    return json.loads((REFERENCE / f"{name}.json").read_text())


def design_of(name: str, levels: int, **changes: Any) -> Design:
    table = pd.read_csv(REFERENCE / "data" / f"{name}.csv", dtype={"study": str})
    studies = list(dict.fromkeys(table["study"])) if levels == 3 else list(table["row"].map(str))
    code = table["study"].map(studies.index).to_numpy() if levels == 3 else np.arange(len(table))
    fields = {
        "yi": table["yi"].to_numpy(float).copy(),
        "vi": table["vi"].to_numpy(float).copy(),
        "X": np.ones((len(table), 1)),
        "coefficients": ("mu",),
        "cluster": code.astype(np.intp),
        "cluster_names": tuple(studies),
        "row_names": tuple(str(i) for i in range(len(table))),
        "measure": "GEN",
        "levels": levels,
    }
    return Design(**{**fields, **changes})


# ---------------------------------------------------------------- other programs


@pytest.mark.parametrize("name", ["kaiser2021", "konstantopoulos2011"])
def test_three_levels_agree_with_the_adaptive_quadrature_in_r(name: str) -> None:
    expected = reference(f"exact3_{name}")
    fit = fit_exact(design_of(name, 3), SEPARATE)
    pairs = {"mu": "mu", "tau_between": "sd_study", "tau_within": "sd_es"}
    for parameter, key in pairs.items():
        e = fit.estimates[parameter]
        assert e.value == pytest.approx(expected[key]["mean"], rel=1e-7)
        assert e.sd == pytest.approx(expected[key]["sd"], rel=1e-7)
        quantiles = dict(zip(expected[key]["probs"], expected[key]["q"], strict=True))
        for found, p in ((e.lower, 0.025), (e.median, 0.5), (e.upper, 0.975)):
            # The R program interpolates its quantiles; the brute force below is stricter.
            assert found == pytest.approx(quantiles[p], abs=1e-2 * expected[key]["sd"])
    assert fit.estimates["tau"].value == pytest.approx(expected["tau_total"]["mean"], rel=1e-6)
    new = fit.estimates["new_effect"]
    assert new.sd == pytest.approx(expected["predictive_new_effect"]["sd"], rel=1e-6)
    assert new.upper == pytest.approx(expected["predictive_new_effect"]["q"][7], abs=1e-4)
    assert fit.log_marginal_likelihood == pytest.approx(expected["log_marginal"], abs=1e-7)


@pytest.mark.parametrize("name", ["kaiser2021", "konstantopoulos2011"])
def test_bayes_factors_agree_with_the_quadrature_in_r(name: str) -> None:
    expected = reference(f"exact3_{name}")
    found = fit_exact(design_of(name, 3), SEPARATE).bayes_factors
    for parameter, key in {
        "mu": "log_marginal_mu0",
        "tau_between": "log_marginal_study0",
        "tau_within": "log_marginal_es0",
        "tau": "log_marginal_both0",
    }.items():
        assert found[parameter] == pytest.approx(expected["log_marginal"] - expected[key], abs=1e-6)
    both = log_evidence(design_of(name, 3), SEPARATE, without=("mu", "tau"))
    assert both == pytest.approx(expected["log_marginal_mu0_both0"], abs=1e-6)


@pytest.mark.parametrize("name", ["kaiser2021", "konstantopoulos2011", "bcg", "molloy2014"])
def test_two_levels_agree_with_bayesmeta(name: str) -> None:
    """bayesmeta 3.4 at its fine settings: its own grid error is about 1e-3 (Röver 2020)."""
    expected = reference(f"bayesmeta_{name}")
    fit = fit_exact(design_of(name, 2), TWO_LEVEL)
    for parameter, key in {"mu": "mu", "tau_between": "tau"}.items():
        e = fit.estimates[parameter]
        assert e.value == pytest.approx(expected[key]["mean"], rel=1e-3)
        assert e.sd == pytest.approx(expected[key]["sd"], rel=1e-3)
        assert e.lower == pytest.approx(expected[key]["central"][0], abs=2e-3 * e.sd)
        assert e.upper == pytest.approx(expected[key]["central"][1], abs=2e-3 * e.sd)
    assert fit.log_marginal_likelihood == pytest.approx(expected["log_marginal"], abs=1e-2)
    direct = expected["quadrature"]
    assert fit.estimates["mu"].value == pytest.approx(direct["mu_mean"], rel=1e-6)
    assert fit.estimates["tau_between"].sd == pytest.approx(direct["tau_sd"], rel=1e-6)
    assert fit.bayes_factors["mu"] == pytest.approx(
        direct["log_marginal"] - direct["log_marginal_mu0"], abs=1e-5
    )
    assert fit.bayes_factors["tau_between"] == pytest.approx(
        direct["log_marginal"] - direct["log_marginal_tau0"], abs=1e-5
    )


@pytest.mark.parametrize("name", ["kaiser2021", "bcg"])
def test_shrinkage_estimates_agree_with_bayesmeta(name: str) -> None:
    expected = reference(f"bayesmeta_{name}")["shrinkage"]
    found = fit_exact(design_of(name, 2), TWO_LEVEL).effects
    sd = np.array(expected["sd"])
    assert np.max(np.abs(found["mean"] - expected["mean"]) / sd) < 2e-3
    np.testing.assert_allclose(found["sd"], sd, rtol=2e-3)


# ---------------------------------------------------------------- brute force and closed forms


@pytest.mark.parametrize("name", ["kaiser2021", "konstantopoulos2011"])
def test_quantiles_of_each_tau_hold_their_probability_on_a_plain_grid(name: str) -> None:
    """The share of the posterior below each quantile, on 200 x 200 nodes."""
    design = design_of(name, 3)
    estimates = fit_exact(design, SEPARATE, detail="parameters").estimates
    statistics = Statistics.of(design.yi, design.vi, design.X, design.cluster, design.n_averaged)
    nodes, weights = np.polynomial.legendre.leggauss(200)
    first, second = np.repeat((nodes + 1) / 2, 200), np.tile((nodes + 1) / 2, 200)

    def mass_below(parameter: str, top: float) -> float:
        if parameter == "tau":
            b, w = (top * first * f(second * np.pi / 2) for f in (np.cos, np.sin))
            area = top * first * top * np.pi / 2
        else:
            b, w, area = first * top, second * 1.5, np.full(40_000, 1.5 * top)
            b, w = (w, b) if parameter == "tau_within" else (b, w)
        forms = quadratic_forms(statistics, b**2, w**2, np.zeros_like(b))
        given = integrate_coefficients(statistics, *forms, np.zeros(1), np.full(1, 0.5), (0,))
        prior = stats.halfnorm(scale=0.3).logpdf
        mass = np.exp(given.loglik + prior(b) + prior(w)) * area
        return float(mass @ np.outer(weights, weights).ravel()) / 4

    for parameter in ("tau_between", "tau_within", "tau"):
        e, total = estimates[parameter], mass_below(parameter, 2.5)
        for quantile, probability in ((e.lower, 0.025), (e.median, 0.5), (e.upper, 0.975)):
            share = mass_below(parameter, quantile) / total
            assert share == pytest.approx(probability, abs=2e-6)


def test_a_posterior_that_is_narrow_in_a_wide_prior_range_keeps_its_tails() -> None:
    """Half-Cauchy priors reach 1e12; half of the angles hold only 1e-5 of the posterior."""
    rng = np.random.default_rng(3)
    cluster = np.repeat(np.arange(12), 2)
    yi = np.repeat(rng.normal(0.3, 1.0, 12), 2) + rng.normal(0, 0.15, 24)
    design = Design(
        yi=yi,
        vi=np.full(24, 0.02),
        X=np.ones((24, 1)),
        coefficients=("mu",),
        cluster=cluster,
        cluster_names=tuple("abcdefghijkl"),
        row_names=tuple(map(str, range(24))),
    )
    cauchy = Prior("half_cauchy", {"sigma": 0.3})
    spec = ModelSpec(
        name="x", priors={**SEPARATE.priors, "tau_between": cauchy, "tau_within": cauchy}
    )
    fit = fit_exact(design, spec, detail="parameters")
    # Log-spaced rectangles: the trapezoid rule is exact to rounding for such smooth decay.
    t = np.linspace(np.log(1e-7), np.log(1e3), 600)
    between, within = np.exp(np.repeat(t, 600)), np.exp(np.tile(t, 600))
    statistics = Statistics.of(design.yi, design.vi, design.X, design.cluster, design.n_averaged)
    forms = quadratic_forms(statistics, between**2, within**2, np.zeros_like(between))
    given = integrate_coefficients(statistics, *forms, np.zeros(1), np.full(1, 0.5), (0,))
    prior = stats.halfcauchy(scale=0.3).logpdf
    mass = np.exp(given.loglik + prior(between) + prior(within)) * between * within
    expected = np.log(mass.sum() * (t[1] - t[0]) ** 2)
    assert fit.log_marginal_likelihood == pytest.approx(expected, abs=2e-6)


def test_composites_and_correlated_errors_agree_with_brute_force() -> None:
    """Dense multivariate normal densities summed over a plain grid; nothing shared."""
    rng = np.random.default_rng(5)
    cluster = np.repeat(np.arange(5), [1, 2, 3, 1, 2])
    k = len(cluster)
    vi, n_averaged = rng.uniform(0.01, 0.05, k), rng.choice([1.0, 2.0, 3.0], k)
    yi = rng.normal(0.2, 0.2, k)
    design = Design(
        yi=yi,
        vi=vi,
        X=np.ones((k, 1)),
        coefficients=("mu",),
        cluster=cluster,
        cluster_names=tuple("abcde"),
        row_names=tuple(map(str, range(k))),
        n_averaged=n_averaged,
    )
    spec = ModelSpec(name="x", sampling_correlation=0.5, priors=SEPARATE.priors)
    fit = fit_exact(design, spec)
    same = cluster[:, None] == cluster
    V = np.where(same, 0.5 * np.sqrt(np.outer(vi, vi)), 0.0)
    np.fill_diagonal(V, vi)
    nodes, weights = np.polynomial.legendre.leggauss(40)
    tau, weights = (nodes + 1) * 0.7, weights * 0.7
    total = first = 0.0
    for between, outer in zip(tau, weights, strict=True):
        for within, inner in zip(tau, weights, strict=True):
            sigma = V + same * between**2 + np.diag(within**2 / n_averaged) + 0.25
            prior = stats.halfnorm(scale=0.3).logpdf([between, within]).sum()
            mass = np.exp(stats.multivariate_normal(np.zeros(k), sigma).logpdf(yi) + prior)
            total += mass * outer * inner
            first += mass * between * outer * inner
    assert fit.estimates["tau_between"].value == pytest.approx(first / total, rel=2e-4)
    assert fit.log_marginal_likelihood == pytest.approx(np.log(total), abs=1e-6)


def test_the_total_with_its_share_agrees_with_brute_force() -> None:
    design = design_of("kaiser2021", 3)
    spec = ModelSpec(
        name="x",
        priors={
            "mu": Prior("normal", {"sigma": 0.5}),
            "tau": Prior("half_normal", {"sigma": 0.25}),
            "between_share": Prior("beta", {"alpha": 1.0, "beta": 1.0}),
        },
    )
    fit = fit_exact(design, spec)
    same = design.cluster[:, None] == design.cluster

    nodes, weights = np.polynomial.legendre.leggauss(24)
    share, tau = (nodes + 1) / 2, (nodes + 1) * 0.35
    mass = np.empty((24, 24))
    for a, t in enumerate(tau):
        for b, s in enumerate(share):
            sigma = np.diag(design.vi + (1 - s) * t**2) + same * s * t**2 + 0.25
            loglik = stats.multivariate_normal(np.zeros(design.k), sigma).logpdf(design.yi)
            mass[a, b] = np.exp(loglik) * stats.halfnorm(scale=0.25).pdf(t)
    mass *= np.outer(weights * 0.35, weights / 2)
    total, first = mass.sum(), tau @ mass.sum(axis=1)
    assert fit.log_marginal_likelihood == pytest.approx(np.log(total), abs=1e-4)
    assert fit.estimates["tau"].value == pytest.approx(first / total, rel=1e-4)
    between = fit.estimates["between_share"]
    assert between.value == pytest.approx(share @ mass.sum(axis=0) / total, rel=1e-4)
    assert between.lower < 0.1 < 0.9 < between.upper


def test_a_prior_on_the_sampling_correlation_averages_the_fits_at_fixed_values() -> None:
    design = design_of("konstantopoulos2011", 3)
    prior = Prior("beta", {"alpha": 2.0, "beta": 2.0})
    spec = ModelSpec(name="x", priors=SEPARATE.priors, sampling_correlation=prior)
    fit = fit_exact(design, spec, detail="parameters")
    # Simpson over the prior's probabilities: an independent rule for the outer integral.
    u = np.linspace(0.0005, 0.9995, 25)
    fixed = [
        fit_exact(
            design,
            ModelSpec(name="x", priors=SEPARATE.priors, sampling_correlation=float(r)),
            detail="parameters",
        )
        for r in prior.ppf(u)
    ]
    evidence = np.array([f.log_marginal_likelihood for f in fixed])
    weight = np.exp(evidence - evidence.max())
    expected = integrate.simpson(weight, u) / 0.999
    assert fit.log_marginal_likelihood == pytest.approx(np.log(expected) + evidence.max(), abs=2e-3)
    means = np.array([f.estimates["mu"].value for f in fixed])
    average = integrate.simpson(weight * means, u) / integrate.simpson(weight, u)
    assert fit.estimates["mu"].value == pytest.approx(average, rel=1e-3)


def test_the_mean_correlation_integrates_tanh_and_is_not_tanh_of_the_mean() -> None:
    design = design_of("konstantopoulos2011", 3, measure="ZCOR")
    fit = fit_exact(design, SEPARATE)
    # Direct simulation from the posterior: mu given tau is normal, tau from its own quantiles.
    rng = np.random.default_rng(1)
    mean_r = fit.estimates["mean_r"]
    draws = []
    for _ in range(200):
        mu = rng.normal(fit.estimates["mu"].value, fit.estimates["mu"].sd)
        draws.append(np.mean(np.tanh(rng.normal(mu, fit.estimates["tau"].value, 4000))))
    assert mean_r.value == pytest.approx(np.mean(draws), abs=0.02)
    assert mean_r.value < np.tanh(fit.estimates["mu"].value) - 0.01
    assert mean_r.scale == "r"
    assert mean_r.lower < mean_r.median < mean_r.upper


# ---------------------------------------------------------------- edges and invariances


def heterogeneity_priors(tau: Prior) -> dict[str, Prior]:
    return {"mu": Prior("normal", {"sigma": 0.5}), "tau_between": tau}


@pytest.mark.parametrize(
    "tau",
    [
        Prior("half_cauchy", {"sigma": 0.3}),
        Prior("inverse_gamma", {"alpha": 1.0, "beta": 0.15}),
        Prior("uniform", {"lower": 0.0, "upper": 2.0}),
        Prior("half_student_t", {"nu": 3.0, "sigma": 0.3}),
        Prior("exponential", {"rate": 3.0}),
        Prior("lognormal", {"mu": -2.0, "sigma": 1.0}),
        Prior("gamma", {"alpha": 2.0, "beta": 10.0}),
    ],
    ids=lambda prior: prior.family,
)
def test_every_prior_of_tau_agrees_with_scipys_adaptive_quadrature(tau: Prior) -> None:
    design = design_of("molloy2014", 2)
    fit = fit_exact(design, ModelSpec(name="x", priors=heterogeneity_priors(tau)))

    def mass(t: float) -> float:
        sigma = np.diag(design.vi + t**2) + 0.25
        loglik = stats.multivariate_normal(np.zeros(design.k), sigma).logpdf(design.yi)
        return float(np.exp(loglik + tau.logpdf(t)))

    ends = [1e-9, 0.02, 0.1, 0.3, 1.0, 2.0 if tau.family == "uniform" else 20.0]
    total = sum(integrate.quad(mass, a, b)[0] for a, b in pairwise(ends))
    assert fit.log_marginal_likelihood == pytest.approx(np.log(total), abs=1e-5)


def test_row_order_and_labels_do_not_change_the_answer() -> None:
    design = design_of("konstantopoulos2011", 3)
    rng = np.random.default_rng(0)
    samples = rng.permutation(design.m)
    order = np.concatenate([rng.permutation(np.flatnonzero(design.cluster == j)) for j in samples])
    code = np.argsort(samples)[design.cluster[order]]
    shuffled = Design(
        yi=design.yi[order],
        vi=design.vi[order],
        X=design.X[order],
        coefficients=("mu",),
        cluster=code,
        cluster_names=tuple(f"renamed {j}" for j in samples),
        row_names=tuple(f"row {i}" for i in order),
        measure="GEN",
    )
    one, other = fit_exact(design, SEPARATE), fit_exact(shuffled, SEPARATE)
    for name, e in one.estimates.items():
        assert other.estimates[name].value == pytest.approx(e.value, rel=1e-10)
        assert other.estimates[name].upper == pytest.approx(e.upper, rel=1e-9)
    found = other.effects.set_index("label")["mean"]
    for i in range(design.k):
        assert found[f"row {i}"] == pytest.approx(one.effects["mean"][i], rel=1e-9)


@pytest.mark.parametrize("k", [2, 5000])
def test_two_and_five_thousand_effects_both_settle(k: int) -> None:
    rng = np.random.default_rng(k)
    vi = rng.uniform(0.005, 0.05, k)
    design = Design(
        yi=rng.normal(0.2, np.sqrt(vi + 0.01)),
        vi=vi,
        X=np.ones((k, 1)),
        coefficients=("mu",),
        cluster=np.arange(k),
        cluster_names=tuple(map(str, range(k))),
        row_names=tuple(map(str, range(k))),
        levels=2,
    )
    fit = fit_exact(design, TWO_LEVEL, detail="parameters")
    mu, tau = fit.estimates["mu"], fit.estimates["tau_between"]
    assert mu.numerical_error < 1e-4 * mu.sd
    if k == 5000:
        assert abs(mu.value - 0.2) < 4 * mu.sd < 0.02
        assert abs(tau.value - 0.1) < 4 * tau.sd < 0.02


def test_effects_that_are_all_equal_leave_tau_near_zero() -> None:
    design = design_of("molloy2014", 2, yi=np.full(16, 0.2))
    fit = fit_exact(design, TWO_LEVEL)
    assert fit.estimates["mu"].value == pytest.approx(0.2, abs=0.01)
    assert fit.estimates["tau_between"].median < 0.03
    assert fit.bayes_factors["tau_between"] < 0


def test_one_sample_with_two_hundred_effects_is_fitted() -> None:
    rng = np.random.default_rng(9)
    cluster = np.r_[np.zeros(200, dtype=int), np.arange(1, 12)]
    vi = rng.uniform(0.01, 0.03, 211)
    u = rng.normal(0, 0.1, 12)
    design = Design(
        yi=0.2 + u[cluster] + rng.normal(0, np.sqrt(vi + 0.05**2)),
        vi=vi,
        X=np.ones((211, 1)),
        coefficients=("mu",),
        cluster=cluster,
        cluster_names=tuple(map(str, range(12))),
        row_names=tuple(map(str, range(211))),
    )
    fit = fit_exact(design, SEPARATE)
    assert fit.log_marginal_likelihood_error < 1e-4
    assert len(fit.effects) == 211


def test_extreme_variances_and_effects_give_finite_numbers() -> None:
    vi = np.array([1e-10, 1e6, 1e-2, 1.0, 0.02, 1e-4])
    design = Design(
        yi=np.array([5.0, -5.0, 0.3, 0.1, -0.2, 4.9]),
        vi=vi,
        X=np.ones((6, 1)),
        coefficients=("mu",),
        cluster=np.arange(6),
        cluster_names=tuple("abcdef"),
        row_names=tuple("abcdef"),
        levels=2,
    )
    spec = ModelSpec(
        name="x",
        priors={
            "mu": Prior("normal", {"sigma": 5.0}),
            "tau_between": Prior("half_normal", {"sigma": 3.0}),
        },
    )
    fit = fit_exact(design, spec)
    assert all(np.isfinite([e.value, e.sd]).all() for e in fit.estimates.values())
    assert fit.effects["mean"][0] == pytest.approx(5.0, abs=1e-4)
    assert fit.effects["sd"][0] == pytest.approx(1e-5, rel=1e-2)


def test_a_coefficient_with_a_prior_that_is_not_normal_is_refused_by_name() -> None:
    spec = ModelSpec(
        name="x",
        priors={**TWO_LEVEL.priors, "mu": Prior("student_t", {"nu": 3.0, "sigma": 0.5})},
    )
    with pytest.raises(EngineError, match="normal priors only; 'mu' has student_t"):
        fit_exact(design_of("molloy2014", 2), spec)
