"""Student-t effects in the exact engine: against brute force, the normal model and NUTS."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from reanalysis.calibration import calibrate, simulate
from reanalysis.design import Design, resolve_priors
from reanalysis.exact import fit_exact, log_evidence
from reanalysis.exact.batch import fit_batch
from reanalysis.frequentist import fit_reml
from reanalysis.nuts import fit_nuts
from reanalysis.priors import Prior
from reanalysis.results import EngineError
from reanalysis.spec import ModelSpec, SpecError

MODEL = ModelSpec("m", effects="student_t")
NEARLY_NORMAL = Prior("uniform", {"lower": 1e6, "upper": 2e6})


def two_levels(yi: list[float]) -> Design:
    k = len(yi)
    names = tuple(str(i) for i in range(k))
    return Design(
        yi=np.array(yi),
        vi=np.linspace(0.01, 0.03, k),
        X=np.ones((k, 1)),
        coefficients=("mu",),
        cluster=np.arange(k),
        cluster_names=names,
        row_names=names,
        measure="ZCOR",
        levels=2,
    )


def three_levels() -> Design:
    sizes = np.array([1, 2, 3, 1, 2, 1])
    k = int(sizes.sum())
    rng = np.random.default_rng(3)
    return Design(
        yi=rng.normal(0.2, 0.2, k),
        vi=rng.uniform(0.01, 0.05, k),
        X=np.ones((k, 1)),
        coefficients=("mu",),
        cluster=np.repeat(np.arange(6), sizes),
        cluster_names=tuple("abcdef"),
        row_names=tuple(str(i) for i in range(k)),
        measure="ZCOR",
        levels=3,
        n_averaged=np.where(np.arange(k) % 4 == 0, 2.0, 1.0),
    )


OUTLIER = two_levels([0.12, 0.25, 0.18, 0.1, 0.22, 1.4])


def brute_force(design: Design) -> tuple[float, float, float, float]:
    """Return log evidence and means of mu, tau and nu on plain grids of every unknown."""
    priors = resolve_priors(design, MODEL)
    u = np.linspace(-6, 6, 2401)
    mu = np.linspace(-0.6, 1.2, 61)
    x, w = np.polynomial.legendre.leggauss(24)
    tau, tau_weight = 0.75 * (x + 1), 0.75 * w
    x, w = np.polynomial.legendre.leggauss(16)
    log_nu, nu_weight = 1.2 + 3.8 * x, 3.8 * w
    normal = stats.norm.pdf(
        design.yi[:, None, None], mu[:, None] + u, np.sqrt(design.vi)[:, None, None]
    ).reshape(-1, len(u))
    mass = np.empty((len(tau), len(log_nu), len(mu)))
    for i, t in enumerate(tau):
        for j, nu in enumerate(np.exp(log_nu)):
            sample = normal @ stats.t.pdf(u, nu, scale=t) * (u[1] - u[0])
            mass[i, j] = sample.reshape(design.k, -1).prod(axis=0)
    mass *= np.exp(priors["mu"].logpdf(mu)) * (mu[1] - mu[0])
    mass *= (np.exp(priors["tau_between"].logpdf(tau)) * tau_weight)[:, None, None]
    mass *= (np.exp(priors["nu"].logpdf(np.exp(log_nu)) + log_nu) * nu_weight)[:, None]
    total = mass.sum()
    means = [
        float((mass.sum(axis=axes) * values).sum() / total)
        for axes, values in (((0, 1), mu), ((1, 2), tau), ((0, 2), np.exp(log_nu)))
    ]
    return float(np.log(total)), *means


def test_the_posterior_is_that_of_plain_grids_of_every_unknown() -> None:
    evidence, *means = brute_force(OUTLIER)
    fit = fit_exact(OUTLIER, MODEL)
    # The plain grid of the t density's narrow peak at the smallest tau is the coarsest part.
    assert fit.log_marginal_likelihood == pytest.approx(evidence, abs=5e-3)
    for name, mean in zip(("mu", "tau_between", "nu"), means, strict=True):
        estimate = fit.estimates[name]
        assert estimate.sd is not None
        assert abs(estimate.value - mean) < 5e-3 * estimate.sd, name


def test_many_degrees_of_freedom_give_the_normal_model() -> None:
    design = three_levels()
    spec = ModelSpec("m", sampling_correlation=0.4)
    normal = fit_exact(design, spec)
    robust = fit_exact(design, replace(spec, effects="student_t", priors={"nu": NEARLY_NORMAL}))
    assert robust.log_marginal_likelihood == pytest.approx(normal.log_marginal_likelihood, abs=1e-4)
    assert robust.bayes_factors["nu"] == pytest.approx(0.0, abs=1e-4)
    assert robust.bayes_factors["mu"] == pytest.approx(normal.bayes_factors["mu"], abs=1e-3)
    for name in ("mu", "tau_between", "tau_within", "tau", "between_share"):
        ours, theirs = robust.estimates[name], normal.estimates[name]
        assert theirs.sd is not None
        found = [ours.value, ours.sd, ours.lower, ours.median, ours.upper]
        expected = [theirs.value, theirs.sd, theirs.lower, theirs.median, theirs.upper]
        np.testing.assert_allclose(found, expected, atol=2e-3 * theirs.sd, err_msg=name)


def test_one_sample_far_out_moves_the_mean_less_and_speaks_for_heavy_tails() -> None:
    normal, robust = (
        fit_exact(OUTLIER, replace(MODEL, effects=e)) for e in ("normal", "student_t")
    )
    inliers = np.median(OUTLIER.yi)
    assert abs(robust.estimates["mu"].value - inliers) < abs(normal.estimates["mu"].value - inliers)
    assert robust.bayes_factors["nu"] > 0.5
    assert robust.estimates["nu"].median < resolve_priors(OUTLIER, MODEL)["nu"].ppf(0.5)


@pytest.mark.nuts
def test_nuts_agrees_with_quadrature_on_student_t_effects_within_four_mcse() -> None:
    exact, nuts = fit_exact(OUTLIER, MODEL), fit_nuts(OUTLIER, MODEL)
    assert nuts.diagnostics is not None
    assert nuts.diagnostics.passed
    for name in ("mu", "tau_between", "nu"):
        estimate = nuts.estimates[name]
        assert estimate.numerical_error is not None
        assert abs(estimate.value - exact.estimates[name].value) < 4 * estimate.numerical_error
        assert estimate.sd == pytest.approx(exact.estimates[name].sd, rel=0.1), name
    assert nuts.draws is not None
    weights = nuts.draws["posterior"]["lambda"].mean(("chain", "draw")).to_numpy()
    assert weights.argmin() == 5
    assert weights[5] < 0.7 < weights[:5].min()


def test_simulated_samples_have_the_quantiles_of_the_t_distribution() -> None:
    design = replace(two_levels([0.0] * 6), vi=np.full(6, 1e-12))
    fixed = {"mu": 0.2, "tau_between": 0.3, "nu": 2.0}
    Y = simulate(design, MODEL, 20_000, np.random.default_rng(2), fixed=fixed).Y
    standardised = (Y.ravel() - 0.2) / 0.3
    assert stats.kstest(standardised, stats.t(2).cdf).pvalue > 1e-3


def test_student_t_effects_are_calibrated_exactly_in_every_parameter() -> None:
    result = calibrate(two_levels([0.0] * 5), MODEL, replicates=12, frequentist=3, seed=4)
    assert list(result.below) == ["mu", "tau_between", "nu", "distance"]
    assert result.below.notna().all().all()
    assert result.uniformity["p_holm"].min() > 0.01


def test_engines_without_student_t_effects_say_so() -> None:
    with pytest.raises(EngineError, match="Student-t effects, for which there is no REML"):
        fit_reml(OUTLIER, MODEL)
    with pytest.raises(EngineError, match="only fit_exact takes it"):
        log_evidence(OUTLIER, MODEL)
    with pytest.raises(EngineError, match="only fit_exact takes it"):
        fit_batch(OUTLIER, MODEL, OUTLIER.yi[None])
    moderated = replace(
        OUTLIER,
        X=np.c_[np.ones(6), np.arange(6) % 2],
        coefficients=("beta[intercept]", "beta[late]"),
    )
    with pytest.raises(EngineError, match="takes no moderators; NUTS does not mind"):
        fit_exact(moderated, MODEL)


def test_student_t_effects_with_selection_are_refused_with_the_remedy() -> None:
    with pytest.raises(SpecError, match='effects = "student_t" goes with mechanism = "none"'):
        resolve_priors(OUTLIER, replace(MODEL, mechanism="joint"))
    with pytest.raises(SpecError, match="sets 'nu', which this model does not have"):
        resolve_priors(OUTLIER, ModelSpec("m", priors={"nu": NEARLY_NORMAL}))
