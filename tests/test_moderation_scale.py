"""Moderators of the heterogeneity: exact and REML against dense matrices."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from reanalysis.builders.blocks import make_blocks
from reanalysis.builders.conditionals import draw_effects, sample_loglik
from reanalysis.comparison import agreement
from reanalysis.dataset import Dataset, load_dataset
from reanalysis.design import Design, make_design
from reanalysis.exact import fit_exact, log_evidence
from reanalysis.frequentist import fit_reml, fit_robust
from reanalysis.moderation import make_moderation
from reanalysis.nuts import fit_nuts
from reanalysis.priors import Prior
from reanalysis.results import EngineError
from reanalysis.spec import ModelSpec

ROOT = Path(__file__).parents[1]
KONSTANTOPOULOS = Path(__file__).parent / "reference" / "data" / "konstantopoulos2011.csv"
RATIO = {"log_tau_ratio": Prior("normal", {"sigma": 0.7})}


def konstantopoulos(levels: int, **settings: object) -> tuple[Design, ModelSpec]:
    frame = pd.read_csv(KONSTANTOPOULOS, dtype={"study": str})
    frame["old"] = np.where(frame["cat"] == "pre1985", "yes", "no")
    sample = {"sample": "study"} if levels == 3 else {}
    data = Dataset.from_frame(frame, measure="ZCOR", yi="yi", vi="vi", **sample)
    spec = ModelSpec(name="scale", scale_moderator="old", **settings)
    return make_design(data, spec), spec


def kaiser(**settings: object) -> tuple[Design, ModelSpec]:
    spec = ModelSpec(name="scale", table="samples", **settings)
    return make_design(load_dataset(ROOT / "data" / "kaiser2021"), spec), spec


def covariance(design: Design, between: float, within: float, ratio: float) -> np.ndarray:
    c = np.exp(ratio * design.scale)
    same = design.cluster[:, None] == design.cluster
    heterogeneity = same * between**2 + np.diag(within**2 / design.n_averaged)
    return np.diag(design.vi) + heterogeneity * np.outer(c, c)


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("levels", [2, 3])
def test_reml_of_the_ratio_maximises_the_dense_likelihood(levels: int, method: str) -> None:
    design, spec = konstantopoulos(levels, moderators=("cont",), centring={"cont": 0})
    fit = fit_reml(design, spec, method=method)
    X = design.X

    def minus_loglik(x: np.ndarray) -> float:
        within = np.exp(x[2]) if levels == 3 else 0.0
        sigma = covariance(design, np.exp(x[1]), within, x[0])
        weighted = np.linalg.solve(sigma, X)
        information = X.T @ weighted
        e = design.yi - X @ np.linalg.solve(information, weighted.T @ design.yi)
        value = design.k * np.log(2 * np.pi) + np.linalg.slogdet(sigma)[1]
        value += e @ np.linalg.solve(sigma, e)
        if method == "REML":
            value += np.linalg.slogdet(information)[1] - np.linalg.slogdet(X.T @ X)[1]
            value -= X.shape[1] * np.log(2 * np.pi)
        return 0.5 * value

    start = np.array([0.1, -1.2, -1.8][:levels])
    options = {"xatol": 1e-9, "fatol": 1e-13, "maxiter": 4000, "maxfev": 4000}
    best = optimize.minimize(minus_loglik, start, method="Nelder-Mead", options=options)
    ratio = fit.estimates["log_tau_ratio"]
    assert fit.loglik == pytest.approx(-best.fun, abs=1e-8)
    assert ratio.value == pytest.approx(best.x[0], abs=1e-5)
    assert np.sqrt(fit.tau2_between) == pytest.approx(np.exp(best.x[1]), rel=1e-5)
    same = optimize.minimize(
        lambda x: minus_loglik(np.r_[0.0, x]), best.x[1:], method="Nelder-Mead", options=options
    )
    assert ratio.p == pytest.approx(stats.chi2.sf(2 * (same.fun - best.fun), 1), rel=1e-5)
    for end in (ratio.lower, ratio.upper):
        fixed = optimize.minimize(
            lambda x, end=end: minus_loglik(np.r_[end, x]),
            best.x[1:],
            method="Nelder-Mead",
            options=options,
        )
        assert fixed.fun - best.fun == pytest.approx(stats.chi2.ppf(0.95, 1) / 2, abs=1e-4)


def test_the_exact_posterior_agrees_with_brute_force_at_three_levels() -> None:
    priors = RATIO | {
        "mu": Prior("normal", {"sigma": 0.5}),
        "tau_between": Prior("half_normal", {"sigma": 0.3}),
        "tau_within": Prior("half_normal", {"sigma": 0.3}),
    }
    design, spec = konstantopoulos(3, priors=priors)
    fit = fit_exact(design, spec)
    x, w = np.polynomial.legendre.leggauss(22)
    between, within, ratio = (x + 1) * 0.7, (x + 1) * 0.25, -0.35 + x * 1.4
    c = np.exp(ratio[:, None] * design.scale)
    outer = c[:, :, None] * c[:, None, :]
    same = design.cluster[:, None] == design.cluster
    total = 0.0
    sums = dict.fromkeys(("log_tau_ratio", "tau_within", "tau[yes]"), 0.0)
    for b, wb in zip(between, w * 0.7, strict=True):
        for t, wt in zip(within, w * 0.25, strict=True):
            heterogeneity = same * b**2 + np.eye(design.k) * t**2
            sigma = np.diag(design.vi) + heterogeneity * outer + 0.25
            solved = np.linalg.solve(sigma, np.tile(design.yi[:, None], (len(ratio), 1, 1)))
            quadratic = solved[:, :, 0] @ design.yi
            logdet = np.linalg.slogdet(sigma)[1]
            loglik = -0.5 * (design.k * np.log(2 * np.pi) + logdet + quadratic)
            prior = stats.halfnorm(scale=0.3).logpdf([b, t]).sum()
            prior = prior + stats.norm(0, 0.7).logpdf(ratio)
            mass = wb * wt * w * 1.4 * np.exp(loglik + prior)
            total += mass.sum()
            sums["log_tau_ratio"] += mass @ ratio
            sums["tau_within"] += mass.sum() * t
            sums["tau[yes]"] += mass @ (np.hypot(b, t) * np.exp(ratio / 2))
    assert fit.log_marginal_likelihood == pytest.approx(np.log(total), abs=2e-4)
    for name, value in sums.items():
        e = fit.estimates[name]
        assert e.value == pytest.approx(value / total, abs=2e-3 * e.sd)


def test_the_bayes_factor_is_against_the_same_heterogeneity_everywhere() -> None:
    design, spec = konstantopoulos(3)
    fit = fit_exact(design, spec)
    plain = ModelSpec(name="plain")
    data = Dataset.from_frame(
        pd.read_csv(KONSTANTOPOULOS, dtype={"study": str}),
        measure="ZCOR",
        yi="yi",
        vi="vi",
        sample="study",
    )
    same = log_evidence(make_design(data, plain), plain)
    expected = fit.log_marginal_likelihood - same
    assert fit.bayes_factors["log_tau_ratio"] == pytest.approx(expected, abs=1e-9)


def test_a_ratio_of_known_sign_is_found_and_its_quantiles_hold_their_probability() -> None:
    rng = np.random.default_rng(4)
    group = np.repeat(["a", "b"], 40)
    vi = rng.uniform(0.01, 0.02, 80)
    tau = np.where(group == "b", 0.4, 0.05)
    frame = pd.DataFrame({"yi": rng.normal(0.2, np.sqrt(vi + tau**2)), "vi": vi, "group": group})
    data = Dataset.from_frame(frame, measure="ZCOR", yi="yi", vi="vi")
    spec = ModelSpec(name="m", scale_moderator="group")
    design = make_design(data, spec)
    fit = fit_exact(design, spec)
    ratio = fit.estimates["log_tau_ratio"]
    assert ratio.lower > 0.5
    assert fit.bayes_factors["log_tau_ratio"] > np.log(100)
    assert fit.estimates["tau[a]"].upper < fit.estimates["tau[b]"].lower
    x, density = fit.densities["log_tau_ratio"]
    fine = np.linspace(x[0], x[-1], 20001)
    y = np.interp(fine, x, density)
    assert np.trapezoid(y, fine) == pytest.approx(1.0, abs=0.01)
    below = np.trapezoid(np.where(fine < ratio.upper, y, 0.0), fine) / np.trapezoid(y, fine)
    assert below == pytest.approx(0.975, abs=0.005)
    reml = fit_reml(design, spec).estimates["log_tau_ratio"]
    assert reml.value > 0.5
    assert reml.p < 0.001


def test_means_and_contrasts_come_with_a_model_of_the_heterogeneity() -> None:
    design, spec = kaiser(scale_moderator="mode", moderators=("mode",))
    exact = fit_exact(design, spec)
    moderation = make_moderation(design, spec, exact=exact)
    row = moderation.contrasts.query("engine == 'exact'").iloc[0]
    e = exact.estimates["beta[mode=written]"]
    assert [row["value"], row["sd"]] == pytest.approx([e.value, e.sd], rel=1e-4)


def test_reml_says_so_when_the_ratio_has_no_finite_estimate() -> None:
    design, spec = konstantopoulos(2)
    flat = replace(design, yi=np.full(design.k, 0.2))
    with pytest.raises(EngineError, match="estimated as zero, so how it depends on 'old'"):
        fit_reml(flat, spec)
    calm = np.where(design.scale > 0, 0.2, design.yi)
    with pytest.raises(EngineError, match="no finite estimate"):
        fit_reml(replace(design, yi=calm), spec)
    assert np.isfinite(fit_exact(flat, spec).estimates["log_tau_ratio"].value)


def test_the_sampled_likelihood_and_effects_are_those_of_dense_matrices() -> None:
    """One point of the parameters, with correlated errors: no code shared with `covariance`."""
    design, spec = konstantopoulos(3)
    spec = replace(spec, sampling_correlation=0.3)
    n = 6000
    at = {"beta": 0.1, "tau_between": 0.2, "tau_within": 0.15, "log_tau_ratio": 0.8}
    draws = {name: np.full(n, value) for name, value in at.items()}
    draws["beta"] = draws["beta"][:, None]
    blocks = make_blocks(design, spec)
    same = design.cluster[:, None] == design.cluster
    V = np.where(same, 0.3 * np.sqrt(np.outer(design.vi, design.vi)), 0.0)
    np.fill_diagonal(V, design.vi)
    effects = covariance(design, 0.2, 0.15, 0.8) - np.diag(design.vi)
    residual = design.yi - 0.1
    expected = stats.multivariate_normal(np.zeros(design.k), V + effects).logpdf(residual)
    one = {name: values[:1] for name, values in draws.items()}
    assert sample_loglik(blocks, one).sum() == pytest.approx(expected, abs=1e-9)
    u, w = draw_effects(blocks, draws, np.random.default_rng(1))
    theta = u[:, design.cluster] + w
    mean = effects @ np.linalg.solve(V + effects, residual)
    cov = effects - effects @ np.linalg.solve(V + effects, effects)
    sd = np.sqrt(np.diag(cov))
    assert np.max(np.abs(theta.mean(axis=0) - mean) / sd) < 5 / np.sqrt(n)
    assert np.max(np.abs(theta.std(axis=0) / sd - 1)) < 0.05


@pytest.mark.nuts
@pytest.mark.parametrize("levels", [2, 3])
def test_nuts_agrees_with_the_exact_engine_within_four_mcse(levels: int) -> None:
    design, spec = konstantopoulos(levels, moderators=("cont",))
    exact = fit_exact(design, spec)
    nuts = fit_nuts(design, spec, seed=3)
    assert nuts.diagnostics is not None
    assert nuts.diagnostics.passed, nuts.diagnostics.failures
    shared = agreement(exact, nuts)
    scales = {"log_tau_ratio", "tau[yes]", "tau[no]", "tau_between"}
    assert scales | set(design.coefficients) <= set(shared.index)
    assert shared["agrees"].all(), shared


def test_checks_without_a_method_for_it_say_so() -> None:
    design, spec = konstantopoulos(3)
    with pytest.raises(EngineError, match="only fit_exact takes it"):
        log_evidence(design, spec)
    with pytest.raises(EngineError, match="only fit_reml takes it"):
        fit_robust(design, spec, fit_reml(design, spec))
