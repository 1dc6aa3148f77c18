"""The joint model with shrinkage: exact against brute force and NUTS, and simulated coverage."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import ArrayLike
from scipy import stats

from reanalysis.comparison import agreement
from reanalysis.dataset import Dataset, load_dataset
from reanalysis.design import Design, make_design, resolve_priors
from reanalysis.exact import fit_exact, log_evidence
from reanalysis.exact.normal import coefficient_posterior
from reanalysis.frequentist import fit_reml
from reanalysis.moderation import explained_a_priori, make_moderation
from reanalysis.nuts import fit_nuts
from reanalysis.priors import Prior
from reanalysis.results import EngineError
from reanalysis.spec import ModelSpec

KAISER = Path(__file__).parents[1] / "data" / "kaiser2021"
MODERATORS = ("converted", "post_only", "late_share", "disorder", "contact_frequency", "mode")
SCALE = Prior("half_normal", {"sigma": 0.15})
PRIORS = {
    "mu": Prior("normal", {"sigma": 0.5}),
    "beta_scale": SCALE,
    "tau": Prior("half_normal", {"sigma": 0.25}),
}


def composites(**settings: Any) -> ModelSpec:
    fields = {"moderators": MODERATORS, "priors": PRIORS, "table": "samples", "levels": 2}
    return ModelSpec(name="joint", estimand="composite", **(fields | settings))


def three_levels(**settings: Any) -> ModelSpec:
    return ModelSpec(
        name="joint", moderators=("mode", "late_share"), table="effects", priors=PRIORS, **settings
    )


@pytest.fixture(scope="module")
def kaiser() -> Dataset:
    return load_dataset(KAISER)


def units(design: Design) -> np.ndarray:
    found = np.ones(design.p)
    for term in design.terms:
        found[list(term.columns)] = 1 / term.unit
    return found


def covariance(design: Design, between: float, within: float, rho: float = 0.0) -> np.ndarray:
    same = design.cluster[:, None] == design.cluster
    V = np.where(same, rho * np.sqrt(np.outer(design.vi, design.vi)), 0.0)
    np.fill_diagonal(V, design.vi)
    return V + same * between**2 + np.diag(within**2 / design.n_averaged)


def prior_sds(design: Design, scales: ArrayLike) -> np.ndarray:
    """Prior standard deviations of the coefficients, one row for each value of the scale."""
    shrunk = np.asarray(scales)[:, None] * units(design)
    return np.where(np.arange(design.p) == 0, 0.5, shrunk)


def evidence(
    design: Design, sigma: np.ndarray, scales: ArrayLike, keep: ArrayLike = 1.0
) -> np.ndarray:
    """Log density of the data at each value of the scale, coefficients integrated out."""
    sd = prior_sds(design, scales) * keep
    return log_normal(design.yi, sigma + (design.X * sd[:, None, :] ** 2) @ design.X.T)


def half_normal(x: ArrayLike, sigma: float) -> np.ndarray:
    return stats.halfnorm(scale=sigma).logpdf(x)


def log_normal(y: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """Log density of N(0, covariance) for each of several; ten times as fast as SciPy's."""
    logdet = np.linalg.slogdet(covariances)[1]
    solved = np.linalg.solve(covariances, np.broadcast_to(y[:, None], (*logdet.shape, len(y), 1)))
    return -0.5 * (len(y) * np.log(2 * np.pi) + logdet + solved[..., 0] @ y)


# ---------------------------------------------------------------- a second quadrature


@pytest.mark.parametrize("left_out", [None, "disorder", "late_share", "mode"])
def test_inclusion_bayes_factors_agree_with_a_second_quadrature_to_one_percent(
    kaiser: Dataset, left_out: str | None
) -> None:
    """Dense normal densities summed over midpoints of tau and of the scale; nothing is shared."""
    spec = composites()
    design = make_design(kaiser, spec)
    keep = np.ones(design.p)
    if left_out:
        keep[list(design.factors[left_out])] = 0.0
    tau, scale = (np.arange(60) + 0.5) / 60 * 1.0, ((np.arange(60) + 0.5) / 60) ** 2 * 0.8
    width = np.outer(np.full(60, 1 / 60), 2 * ((np.arange(60) + 0.5) / 60) * 0.8 / 60)
    prior = np.add.outer(half_normal(tau, 0.25), half_normal(scale, 0.15))
    loglik = [evidence(design, covariance(design, t, 0.0), scale, keep) for t in tau]
    expected = np.log(np.sum(np.exp(np.array(loglik) + prior) * width))
    found = log_evidence(design, spec, without=(left_out,) if left_out else ())
    assert found == pytest.approx(expected, abs=2e-3)  # so any ratio of two is within 1 %


@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_three_levels_averages_and_correlated_errors_agree_with_brute_force(
    kaiser: Dataset, rho: float
) -> None:
    spec = three_levels(sampling_correlation=rho)
    design = make_design(kaiser, spec)
    assert design.n_averaged.max() == 3
    fit = fit_exact(design, spec)
    nodes, weights = np.polynomial.legendre.leggauss(16)
    tau, scale, share = (nodes + 1) * 0.25, (nodes + 1) * 0.3, (nodes + 1) / 2
    total, sums = 0.0, np.zeros(design.p)
    for t, wt in zip(tau, weights * 0.25, strict=True):
        for s, ws in zip(share, weights / 2, strict=True):
            sigma = covariance(design, t * np.sqrt(s), t * np.sqrt(1 - s), rho)
            log_mass = evidence(design, sigma, scale)
            log_mass += half_normal(t, 0.25) + half_normal(scale, 0.15)
            mass = wt * ws * weights * 0.3 * np.exp(log_mass)
            weighted = np.linalg.solve(sigma, np.column_stack([design.X, design.yi]))
            information = design.X.T @ weighted[:, :-1]
            for one, sd in zip(mass, prior_sds(design, scale), strict=True):
                total += one
                solved = np.linalg.solve(
                    information + np.diag(sd**-2), design.X.T @ weighted[:, -1]
                )
                sums += one * solved
    assert fit.log_marginal_likelihood == pytest.approx(np.log(total), abs=1e-4)
    for name, value in zip(design.coefficients, sums / total, strict=True):
        e = fit.estimates[name]
        assert e.value == pytest.approx(value, abs=1e-3 * e.sd)


def test_the_scale_has_the_density_of_a_second_quadrature(kaiser: Dataset) -> None:
    spec = composites(moderators=("mode", "late_share"))
    design = make_design(kaiser, spec)
    fit = fit_exact(design, spec)
    tau = (np.arange(80) + 0.5) / 80
    scale = (np.arange(150) + 0.5) / 150 * 0.8
    prior = half_normal(tau, 0.25)
    loglik = np.array([evidence(design, covariance(design, t, 0), scale) for t in tau])
    mass = np.exp(loglik + prior[:, None]).sum(axis=0) * np.exp(half_normal(scale, 0.15))
    mass /= mass.sum()
    e = fit.estimates["beta_scale"]
    assert e.value == pytest.approx(mass @ scale, rel=2e-3)
    below = np.interp([e.lower, e.median, e.upper], scale + 0.8 / 300, np.cumsum(mass))
    assert below == pytest.approx([0.025, 0.5, 0.975], abs=2e-3)
    x, density = fit.densities["beta_scale"]
    assert np.interp(0.1, x, density) == pytest.approx(
        np.interp(0.1, scale, mass * 150 / 0.8), rel=0.01
    )


def test_a_scale_far_out_in_the_tail_of_its_prior_is_still_integrated(kaiser: Dataset) -> None:
    """Effects as large as 25 prior scales: the posterior leaves the prior's bulk."""
    spec = composites(
        moderators=("mode", "late_share"),
        priors={
            "mu": PRIORS["mu"],
            "beta_scale": Prior("half_normal", {"sigma": 0.02}),
            "tau": Prior("half_normal", {"sigma": 0.02}),  # so that tau cannot take the effects
        },
    )
    design = make_design(kaiser, spec)
    moved = replace(design, yi=design.yi + design.X @ np.array([0.0, 0.5, 0.5]))
    fit = fit_exact(moved, spec)
    x, w = np.polynomial.legendre.leggauss(50)
    total, scale = 0.0, (x + 1) * 0.15
    for t, wt in zip((x + 1) * 0.09, w * 0.09, strict=True):
        prior = half_normal(t, 0.02) + half_normal(scale, 0.02)
        loglik = evidence(moved, covariance(design, t, 0.0), scale)
        total += wt * (w * 0.15) @ np.exp(loglik + prior)
    assert fit.log_marginal_likelihood == pytest.approx(np.log(total), abs=1e-4)
    assert fit.estimates["beta_scale"].value > 0.04


def test_the_joint_posterior_has_the_moments_of_the_estimates(kaiser: Dataset) -> None:
    spec = composites()
    design = make_design(kaiser, spec)
    fit, joint = fit_exact(design, spec), coefficient_posterior(design, spec)
    mean, sd = joint.linear(np.eye(design.p)).moments()
    assert mean == pytest.approx([fit.estimates[n].value for n in design.coefficients], rel=1e-6)
    assert sd == pytest.approx([fit.estimates[n].sd for n in design.coefficients], rel=1e-6)
    assert np.max(joint.errors(np.eye(design.p)) / sd) < 1e-4


def test_a_common_scale_needs_normal_coefficients_elsewhere(kaiser: Dataset) -> None:
    priors = PRIORS | {"mu": Prior("student_t", {"nu": 4.0, "sigma": 0.5})}
    spec = composites(priors=priors)
    with pytest.raises(EngineError, match="normal priors only"):
        fit_exact(make_design(kaiser, spec), spec)


def test_true_effects_agree_with_brute_force_under_a_common_scale(kaiser: Dataset) -> None:
    spec = composites(moderators=("mode", "late_share"))
    design = make_design(kaiser, spec)
    found = fit_exact(design, spec).effects
    total, sums = 0.0, np.zeros(design.k)
    x, w = np.polynomial.legendre.leggauss(40)
    scale = (x + 1) * 0.4
    sd = prior_sds(design, scale)
    spread = (design.X * sd[:, None, :] ** 2) @ design.X.T
    for t, wt in zip(scale, w * 0.4, strict=True):
        marginal = spread + np.diag(t**2 + design.vi)
        prior = half_normal(t, 0.25) + half_normal(scale, 0.15)
        mass = wt * w * 0.4 * np.exp(log_normal(design.yi, marginal) + prior)
        total += mass.sum()
        # The true effects are the data without their expected errors.
        residual = np.linalg.solve(marginal, np.tile(design.yi[:, None], (len(x), 1, 1)))
        sums += mass @ (design.yi - design.vi * residual[..., 0])
    assert found["mean"].to_numpy() == pytest.approx(sums / total, abs=2e-5)


# ---------------------------------------------------------------- what the prior says


def test_equal_scales_of_moderators_and_heterogeneity_are_an_r2_prior(kaiser: Dataset) -> None:
    """Two half-normals with one scale: R² is Beta(1/2, 1/2), whatever their total."""
    design = make_design(kaiser, composites())
    spread = np.sqrt(np.sum(np.var(design.X, axis=0) * units(design) ** 2))
    equal = {"beta_scale": Prior("half_normal", {"sigma": 0.25 / spread})}
    share = explained_a_priori(design, composites(priors=PRIORS | equal))
    assert share == pytest.approx(stats.beta(0.5, 0.5).ppf([0.05, 0.5, 0.95]), abs=0.01)


def test_independent_priors_let_many_moderators_explain_most_before_the_data(
    kaiser: Dataset,
) -> None:
    """A ratio of two half-normals is half-Cauchy, with the median of their scales' ratio."""
    design = make_design(kaiser, composites())
    spread2 = np.sum(np.var(design.X, axis=0) * units(design) ** 2)
    shrunk = explained_a_priori(design, composites())
    assert shrunk is not None
    ratio2 = 0.15**2 * spread2 / 0.25**2
    assert shrunk[1] == pytest.approx(ratio2 / (1 + ratio2), abs=0.01)
    one = {"mu": PRIORS["mu"], "beta": Prior("normal", {"sigma": 0.25}), "tau": PRIORS["tau"]}
    wide = explained_a_priori(design, composites(priors=one))
    assert wide is not None
    tau = stats.halfnorm(scale=0.25).ppf(0.5)
    assert wide[1] == pytest.approx(0.0625 * spread2 / (0.0625 * spread2 + tau**2), abs=0.01)
    assert wide[1] > 0.7
    odd = {"beta": Prior("student_t", {"nu": 4.0, "sigma": 0.2})}
    assert explained_a_priori(design, composites(priors=one | odd)) is None


# ---------------------------------------------------------------- NUTS


ONE = {"mu": PRIORS["mu"], "beta": Prior("normal", {"sigma": 0.25}), "tau": PRIORS["tau"]}


@pytest.mark.nuts
@pytest.mark.parametrize(
    ("moderators", "priors"), [(("disorder",), ONE), (MODERATORS, PRIORS)], ids=["one", "joint"]
)
@pytest.mark.parametrize(
    "table",
    [
        {"table": "samples", "levels": 2, "estimand": "composite"},
        {"table": "effects", "sampling_correlation": 0.6},
    ],
    ids=["two levels", "three levels, averages, correlated errors"],
)
def test_nuts_agrees_with_the_exact_engine_within_four_mcse_for_every_coefficient(
    kaiser: Dataset, moderators: tuple[str, ...], priors: dict[str, Prior], table: dict[str, Any]
) -> None:
    spec = ModelSpec(name="m", moderators=moderators, priors=priors, **table)
    design = make_design(kaiser, spec)
    assert (design.levels, design.n_averaged.max()) in {(2, 1.0), (3, 3.0)}
    exact = fit_exact(design, spec)
    nuts = fit_nuts(design, spec, seed=11)
    assert nuts.diagnostics is not None
    assert nuts.diagnostics.passed, nuts.diagnostics.failures
    shared = agreement(exact, nuts)
    scale = {"beta_scale"} & set(priors)
    assert {*design.coefficients, *scale, "tau_between"} <= set(shared.index)
    assert shared["agrees"].all(), shared
    moderation = make_moderation(design, spec, exact=exact, nuts=nuts)
    for answers in (moderation.means, moderation.contrasts):
        engines = answers.pivot_table(
            index=["term", "label"],
            columns="engine",
            values=["value", "r_lower", "r_upper", "positive", "numerical_error"],
        )
        gap = (engines["value"]["nuts"] - engines["value"]["exact"]).abs()
        assert (gap < 4 * engines["numerical_error"]["nuts"]).all()
        for column, most in (("r_lower", 0.02), ("r_upper", 0.02), ("positive", 0.03)):
            apart = (engines[column]["nuts"] - engines[column]["exact"]).abs()
            assert apart.max() < most


# ---------------------------------------------------------------- simulation


def simulate(design: Design, spec: ModelSpec, *, from_prior: bool, sets: int) -> pd.DataFrame:
    """Fit data sets at a design; say whether each interval holds the true value.

    By coefficient, and of the average effect of the samples; without effects also for REML, with
    the log Bayes factor of each moderator.
    """
    rng = np.random.default_rng(2021)
    priors = resolve_priors(design, spec)
    weights = np.vstack([np.eye(design.p), design.X.mean(axis=0)])
    rows = []
    for _ in range(sets):
        beta, tau = np.r_[0.2, np.zeros(design.p - 1)], 0.1
        if from_prior:
            tau = float(priors["tau_between"].rvs(1, rng)[0])
            beta = np.array([priors[n].rvs(1, rng)[0] for n in design.coefficients])
            beta[1:] *= SCALE.rvs(1, rng)[0]
        noise = rng.normal(0, np.sqrt(design.vi + tau**2))
        drawn = replace(design, yi=design.X @ beta + noise)
        joint = coefficient_posterior(drawn, spec).linear(weights)
        lower, upper = joint.quantiles(np.array([0.025, 0.975])).T
        covered = (lower <= weights @ beta) & (weights @ beta <= upper)
        row = dict(zip((*design.coefficients, "average"), covered, strict=True))
        if not from_prior:
            tests = fit_reml(drawn, spec).tables["tests"].query("test == 't(containment)'")
            held = (tests["lower"] <= beta) & (beta <= tests["upper"])
            row |= {f"REML {name}": one for name, one in zip(tests["parameter"], held, strict=True)}
            full = log_evidence(drawn, spec)
            row |= {
                f"BF {t}": full - log_evidence(drawn, spec, without=(t,)) for t in design.factors
            }
        rows.append(row)
    return pd.DataFrame(rows).astype(float)


@pytest.fixture(scope="module")
def null(kaiser: Dataset) -> pd.DataFrame:
    """200 data sets at the 25 samples: mean .2, tau .1, and no moderator has an effect."""
    spec = composites()
    return simulate(make_design(kaiser, spec), spec, from_prior=False, sets=200)


def test_intervals_of_the_joint_model_cover_93_to_97_percent_where_its_prior_holds(
    kaiser: Dataset,
) -> None:
    """200 data sets at the 25 samples, effects drawn from the prior: 2000 intervals.

    That is what a 95 % interval of a shrinkage model promises; its standard error here is .006.
    """
    spec = composites()
    design = make_design(kaiser, spec)
    covered = simulate(design, spec, from_prior=True, sets=200)[list(design.coefficients)]
    assert 0.93 <= covered.to_numpy().mean() <= 0.97


def test_without_any_moderator_effect_the_average_is_covered_in_93_to_97_percent(
    null: pd.DataFrame,
) -> None:
    """The mean effect over the samples, in the joint model: 200 intervals."""
    assert 0.93 <= null["average"].mean() <= 0.97


def test_without_any_moderator_effect_reml_covers_93_to_97_percent(null: pd.DataFrame) -> None:
    """Nine coefficients in 200 data sets, t with containment degrees of freedom."""
    columns = [name for name in null if name.startswith("REML") and "intercept" not in name]
    assert len(columns) == 9
    assert 0.93 <= null[columns].to_numpy().mean() <= 0.97


def test_without_any_moderator_effect_the_joint_model_is_cautious(
    null: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    """1800 intervals of moderators, 1200 Bayes factors.

    Zero is where the prior is centred: an interval that is drawn towards the true value holds it
    more often than 95 %, whatever the shrinkage prior. Few Bayes factors pass 3 (at most 1 in 3
    may, by Markov's inequality, if the prior holds; far fewer do).
    """
    coefficients = [name for name in null if name.startswith("beta") and "intercept" not in name]
    covered = null[coefficients].to_numpy().mean()
    factors = np.exp(null[[name for name in null if name.startswith("BF")]].to_numpy())
    with capsys.disabled():
        print(
            f"\n  no moderator effect: {100 * covered:.2f} % of the 95 % intervals of moderators "
            f"cover zero, {100 * np.mean(factors > 3):.1f} % of the inclusion Bayes factors are "
            f"above 3, {100 * np.mean(factors < 1 / 3):.1f} % below 1/3"
        )
    assert len(coefficients) == 9
    assert covered >= 0.95
    assert np.mean(factors > 3) < 0.05
