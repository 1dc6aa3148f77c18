"""Simulators, the batched exact engine, calibration and coverage."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import special

from reanalysis.calibration import (
    calibrate,
    points,
    simulate,
    simulate_each,
    uniform_band,
    uniform_p,
)
from reanalysis.dataset import Dataset
from reanalysis.design import Design, make_design, resolve_priors
from reanalysis.exact import fit_exact, refinement
from reanalysis.exact.batch import fit_batch
from reanalysis.priors import Prior
from reanalysis.results import EngineError
from reanalysis.spec import ModelSpec

CORRELATION = Prior("beta", {"alpha": 2.0, "beta": 2.0})


def two_levels(k: int = 25, vi: np.ndarray | None = None) -> Design:
    names = tuple(f"s{i}" for i in range(k))
    return Design(
        yi=np.zeros(k),
        vi=np.linspace(0.006, 0.09, k) if vi is None else vi,
        X=np.ones((k, 1)),
        coefficients=("mu",),
        cluster=np.arange(k),
        cluster_names=names,
        row_names=names,
        measure="ZCOR",
        levels=2,
    )


def three_levels(m: int = 12) -> Design:
    sizes = np.tile([1, 2, 3], m)[:m]
    k = int(sizes.sum())
    return Design(
        yi=np.zeros(k),
        vi=np.random.default_rng(5).uniform(0.01, 0.06, k),
        X=np.ones((k, 1)),
        coefficients=("mu",),
        cluster=np.repeat(np.arange(m), sizes),
        cluster_names=tuple(f"s{i}" for i in range(m)),
        row_names=tuple(f"r{i}" for i in range(k)),
        measure="ZCOR",
        levels=3,
        n_averaged=np.where(np.arange(k) % 5 == 0, 2.0, 1.0),
    )


def with_moderator(design: Design) -> Design:
    return replace(
        design,
        X=np.column_stack([np.ones(design.k), np.arange(design.k) % 2 - 0.5]),
        coefficients=("beta[intercept]", "beta[late]"),
        factors={"late": (1,)},
    )


def with_covariance(design: Design) -> Design:
    V = np.zeros((design.k, design.k))
    for j in range(design.m):
        at = np.flatnonzero(design.cluster == j)
        V[np.ix_(at, at)] = 0.4 * np.sqrt(np.outer(design.vi[at], design.vi[at]))
    V[np.diag_indices(design.k)] = design.vi
    return replace(design, V=V)


CASES = {
    "two levels": (two_levels(), ModelSpec(name="m")),
    "two levels, correlated": (
        replace(three_levels(), levels=2, n_averaged=np.ones(three_levels().k)),
        ModelSpec(name="m", sampling_correlation=0.6),
    ),
    "three levels": (three_levels(), ModelSpec(name="m")),
    "three levels, separate priors": (
        three_levels(),
        ModelSpec(
            name="m",
            sampling_correlation=0.5,
            priors={
                "tau_between": Prior("half_cauchy", {"sigma": 0.2}),
                "tau_within": Prior("half_normal", {"sigma": 0.2}),
            },
        ),
    ),
    "three levels, given covariance": (with_covariance(three_levels()), ModelSpec(name="m")),
    "three levels, moderator": (with_moderator(three_levels()), ModelSpec(name="m")),
    "three levels, uncertain correlation": (
        three_levels(6),
        ModelSpec(name="m", sampling_correlation=CORRELATION),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_batched_engine_agrees_with_the_exact_engine(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Interval ends of standard deviations need finer grids there than its means do.
    orders = refinement.ORDERS_2D
    monkeypatch.setattr(refinement, "ORDERS_2D", (*orders[2:], *orders[-2:]))
    design, spec = CASES[case]
    count = 2 if isinstance(spec.sampling_correlation, Prior) else 5
    Y = simulate(design, spec, count, np.random.default_rng(1)).Y
    batch = fit_batch(design, spec, Y)
    assert batch.settled.all()
    for i, yi in enumerate(Y):
        alone = fit_exact(replace(design, yi=yi.copy()), spec, detail="parameters")
        assert batch.log_marginal_likelihood[i] == pytest.approx(
            alone.log_marginal_likelihood, abs=1e-4
        )
        for name in batch.mean:
            e = alone.estimates[name]
            assert e.sd is not None
            together = [getattr(batch, part)[name][i] for part in ("mean", "sd", "median")]
            together += [batch.lower[name][i], batch.upper[name][i]]
            single = [e.value, e.sd, e.median, e.lower, e.upper]
            np.testing.assert_allclose(together, single, rtol=0, atol=1e-4 * e.sd)


def test_a_data_set_in_company_has_the_same_posterior_as_alone() -> None:
    design, spec = CASES["three levels"]
    Y = simulate(design, spec, 300, np.random.default_rng(2)).Y
    together, alone = fit_batch(design, spec, Y, intervals=("mu",)), fit_batch(design, spec, Y[:1])
    assert together.settled.all()
    assert together.lower["mu"][0] == pytest.approx(alone.lower["mu"][0], abs=1e-6)
    assert together.mean["tau"][0] == pytest.approx(alone.mean["tau"][0], rel=1e-4)
    assert together.lower["tau"].isna().all()


def test_the_distribution_function_inverts_the_quantiles() -> None:
    design, spec = CASES["three levels"]
    Y = simulate(design, spec, 3, np.random.default_rng(3)).Y
    fit = fit_batch(design, spec, Y)
    at = {name: fit.upper[name].to_numpy() for name in ("mu", "tau_between", "tau_within")}
    below = fit_batch(design, spec, Y, at=at).below
    assert below[["mu", "tau_between", "tau_within"]].to_numpy() == pytest.approx(0.975, abs=1e-6)


def test_the_batched_engine_refuses_selection_and_wrong_shapes() -> None:
    design, spec = CASES["two levels"]
    with pytest.raises(EngineError, match="joint"):
        fit_batch(design, replace(spec, mechanism="joint"), np.zeros((1, design.k)))
    with pytest.raises(ValueError, match=r"expected \(r, 25\)"):
        fit_batch(design, spec, np.zeros((1, 3)))


@pytest.mark.parametrize("given", [False, True])
def test_simulated_data_have_the_covariance_of_the_model(given: bool) -> None:
    design = three_levels(4)
    spec = ModelSpec(name="m", sampling_correlation=0.4)
    if given:
        design, spec = with_covariance(design), ModelSpec(name="m")
    fixed = {"mu": 0.2, "tau_between": 0.3, "tau_within": 0.2}
    Y = simulate(design, spec, 40_000, np.random.default_rng(4), fixed=fixed).Y
    same = design.cluster[:, None] == design.cluster
    root = np.sqrt(design.vi)
    expected = np.where(same, 0.4 * np.outer(root, root) + 0.09, 0.0)
    expected[np.diag_indices(design.k)] = design.vi + 0.04 / design.n_averaged + 0.09
    # Standard errors: of a mean .002, of a covariance about .001.
    np.testing.assert_allclose(Y.mean(axis=0), 0.2, atol=0.01)
    np.testing.assert_allclose(np.cov(Y.T), expected, atol=0.005)


def test_an_unknown_fixed_parameter_is_named() -> None:
    design, spec = CASES["two levels"]
    with pytest.raises(ValueError, match="no parameter 'tau_within'; the model has mu"):
        calibrate(design, spec, replicates=10, fixed={"tau_within": 0.1})


def test_two_numbers_below_one_half_have_the_binomial_p_value() -> None:
    # One point, .5: counts 0, 1, 2 with probability 1/4, 1/2, 1/4.
    assert uniform_p(np.array([0.1, 0.2])) == pytest.approx(0.5)
    assert uniform_p(np.array([0.1, 0.8])) == pytest.approx(1.0)


def test_p_values_of_uniform_numbers_are_uniform_and_the_band_keeps_its_level() -> None:
    rng = np.random.default_rng(6)
    numbers = np.sort(rng.uniform(size=(600, 60)), axis=1)
    p = np.array([uniform_p(row) for row in numbers])
    lower, upper = uniform_band(60)
    shares = np.array([np.searchsorted(row, points(60), side="right") / 60 for row in numbers])
    inside = ((shares >= lower) & (shares <= upper)).all(axis=1).mean()
    # Monte-Carlo standard error .009; counts are discrete, so the level may be exceeded a little.
    assert 0.925 < inside < 0.985
    assert 0.02 < np.mean(p <= 0.05) < 0.075
    assert 0.43 < np.mean(p <= 0.5) < 0.57


@pytest.mark.parametrize("case", ["two levels", "three levels"])
def test_the_exact_engine_is_calibrated_and_covers_nominally_at_1000_replicates(case: str) -> None:
    design, spec = CASES[case]
    result = calibrate(design, spec, replicates=1000, frequentist=0)
    quantities = {"mu", "tau_between", "log_likelihood"}
    assert quantities <= set(result.uniformity["quantity"])
    assert result.uniformity["p_holm"].min() > 0.01
    assert result.below.notna().all().all()
    coverage = result.coverage.set_index("method").loc["Bayes, exact"]
    assert coverage["coverage"] == pytest.approx(0.95, abs=0.02)
    inside = result.below["tau_between"].between(0.025, 0.975).mean()
    assert inside == pytest.approx(0.95, abs=0.02)


def test_a_variance_taken_for_a_standard_deviation_is_caught() -> None:
    design, spec = CASES["two levels"]
    broken = replace(design, vi=np.sqrt(design.vi))
    result = calibrate(design, spec, replicates=200, frequentist=0, assumed=(broken, spec))
    p = result.uniformity.set_index("quantity")["p_holm"]
    assert p["tau_between"] < 0.001
    assert p["log_likelihood"] < 0.001


def test_a_likelihood_that_ignores_the_data_shows_in_the_log_likelihood_alone() -> None:
    # Modrák et al. (2023): the prior as posterior passes every check of single parameters.
    design, spec = CASES["two levels"]
    blind = replace(design, vi=np.full(design.k, 1e6))
    result = calibrate(design, spec, replicates=200, frequentist=0, assumed=(blind, spec))
    assert result.uniformity.set_index("quantity").loc["mu", "p"] > 0.01
    told = replace(spec, sampling_correlation=0.7)
    wrong = calibrate(
        three_levels(), told, replicates=200, frequentist=0, assumed=CASES["three levels"]
    )
    assert wrong.uniformity["p_holm"].min() < 0.001


def test_coverage_of_wald_and_knapp_hartung_is_that_of_the_t_distribution() -> None:
    # Equal variances and much heterogeneity: the statistic is Student's t with k - 1 degrees of
    # freedom, so Knapp-Hartung is exact and Wald covers P(|t| < 1.96).
    k = 6
    design, spec = two_levels(k, np.full(k, 0.01)), ModelSpec(name="m")
    result = calibrate(design, spec, replicates=400, fixed={"mu": 0.2, "tau_between": 1.0}, seed=3)
    table = result.coverage.set_index("method")
    wald = 1 - 2 * special.stdtr(k - 1, -special.ndtri(0.975))
    assert table.loc["Wald z", "coverage"] == pytest.approx(wald, abs=0.045)
    for method in ("Knapp-Hartung", "t(containment)", "CR2"):
        assert table.loc[method, "coverage"] == pytest.approx(0.95, abs=0.033)
    assert result.uniformity.empty
    assert table["failed"].sum() == 0


def test_the_document_of_a_calibration_is_json_and_the_seed_fixes_it() -> None:
    design, spec = CASES["three levels"]
    first, again = (calibrate(design, spec, replicates=30, frequentist=5, seed=8) for _ in range(2))
    assert json.dumps(first.document()) == json.dumps(again.document())
    other = calibrate(design, spec, replicates=30, frequentist=0, seed=9)
    assert other.below["mu"].iloc[0] != first.below["mu"].iloc[0]
    assert set(first.coverage["method"]) == {"Bayes, exact", "Wald z", "t(containment)", "CR2"}


LITERATURE = Dataset.from_frame(
    pd.DataFrame(
        {
            "r": 0.2,
            "n": np.linspace(30, 200, 12).round(),
            "late": ["no", "yes"] * 6,
            "oral": ["no"] * 6 + ["yes"] * 6,
        }
    ),
    measure="ZCOR",
    ri="r",
    ni="n",
)


def with_common_scale() -> tuple[Design, ModelSpec]:
    prior = Prior("half_normal", {"sigma": 0.2})
    spec = ModelSpec(name="m", moderators=("late", "oral"), priors={"beta_scale": prior})
    return make_design(LITERATURE, spec), spec


def with_scale_moderator() -> tuple[Design, ModelSpec]:
    spec = ModelSpec(name="m", scale_moderator="late")
    return make_design(LITERATURE, spec), spec


def test_simulated_coefficients_with_a_common_scale_are_scale_mixtures() -> None:
    design, spec = with_common_scale()
    truth = simulate(design, spec, 40_000, np.random.default_rng(1)).truth
    late, oral = design.coefficients[1:]
    z = truth[late] / truth["beta_scale"]
    standard = resolve_priors(design, spec)[late].parameters["sigma"]
    assert z.std() == pytest.approx(standard, rel=0.02)
    assert truth["beta_scale"].mean() == pytest.approx(0.2 * np.sqrt(2 / np.pi), rel=0.02)
    assert np.corrcoef(z, truth[oral] / truth["beta_scale"])[0, 1] == pytest.approx(0, abs=0.025)


def test_simulated_heterogeneity_changes_with_its_moderator() -> None:
    design, spec = with_scale_moderator()
    fixed = {"mu": 0.0, "tau_between": 0.3, "log_tau_ratio": 1.0}
    assert design.scale is not None
    precise = replace(design, vi=np.full(12, 1e-10))
    Y = simulate(precise, spec, 20_000, np.random.default_rng(2), fixed=fixed).Y
    np.testing.assert_allclose(Y.std(axis=0), 0.3 * np.exp(design.scale), rtol=0.03)


@pytest.mark.parametrize("model", ["common scale", "scale moderator"])
def test_models_that_are_fitted_one_by_one_are_calibrated(model: str) -> None:
    design, spec = with_common_scale() if model == "common scale" else with_scale_moderator()
    result = calibrate(design, spec, replicates=25, frequentist=5)
    own = "beta_scale" if model == "common scale" else "log_tau_ratio"
    assert {own, "distance", design.coefficients[0]} <= set(result.below)
    assert result.below.notna().all().all()
    assert result.uniformity["p_holm"].min() > 0.01
    assert set(result.coverage["method"]) >= {"Bayes, exact", "Wald z", "CR2"}


def test_a_likelihood_that_ignores_the_data_shows_in_the_distance_from_them() -> None:
    design, spec = with_common_scale()
    blind = replace(design, vi=np.full(design.k, 1e6))
    result = calibrate(design, spec, replicates=40, frequentist=0, assumed=(blind, spec))
    p = result.uniformity.set_index("quantity")["p"]
    assert p["beta[intercept]"] > 0.01
    assert p["distance"] < 0.001


@pytest.mark.nuts
def test_nuts_is_calibrated_through_one_compiled_model_and_a_broken_likelihood_is_caught() -> None:
    design = CASES["three levels"][0]
    narrow = Prior("half_normal", {"sigma": 0.05})
    spec = ModelSpec(name="m", priors={"tau_between": narrow, "tau_within": narrow})
    right = calibrate(design, spec, engine="nuts", replicates=12, frequentist=0)
    assert list(right.below) == ["mu", "tau_between", "tau_within", "log_likelihood"]
    assert right.below.notna().all().all()
    assert right.uniformity["p_holm"].min() > 0.01
    assert right.coverage["method"].tolist() == ["Bayes, NUTS"]
    broken = replace(design, vi=design.vi**2)  # a variance where a standard deviation belongs
    wrong = calibrate(
        design, spec, engine="nuts", replicates=12, frequentist=0, assumed=(broken, spec)
    )
    assert wrong.uniformity["p_holm"].min() < 0.001


def test_a_selection_model_is_calibrated_where_reml_that_ignores_selection_is_not() -> None:
    design = two_levels(15)
    spec = ModelSpec(
        name="m",
        mechanism="joint",
        steps=(0.025,),
        priors={
            "mu": Prior("normal", {"mu": 0.1, "sigma": 0.2}),
            "tau": Prior("half_normal", {"sigma": 0.2}),
        },
    )
    result = calibrate(design, spec, replicates=25)
    assert set(result.below) == {"mu", "tau_between", "omega[2]", "log_likelihood"}
    assert result.uniformity["p_holm"].min() > 0.01
    # Strong selection, so that what passed lies far above the mean.
    fixed = {"mu": 0.0, "tau_between": 0.1, "omega[2]": 0.02}
    selected = calibrate(design, spec, replicates=20, fixed=fixed)
    coverage = selected.coverage.set_index("method")["coverage"]
    assert coverage["Bayes, exact"] > 0.8
    assert coverage["Wald z"] < 0.3


def test_simulated_effects_follow_pet_in_the_expected_direction() -> None:
    design = replace(two_levels(), direction=-1)
    spec = ModelSpec(name="m", mechanism="pet")
    fixed = {"mu": 0.0, "tau_between": 0.0, "pet": 2.0}
    rng = np.random.default_rng(8)
    y = np.mean([d.yi for _, d in simulate_each(design, spec, 2000, rng, fixed=fixed)], axis=0)
    np.testing.assert_allclose(y, -2 * np.sqrt(design.vi), atol=0.03)  # 4 standard errors


def test_a_run_of_data_sets_fitted_one_by_one_goes_on_where_it_stopped(tmp_path: Path) -> None:
    design = two_levels(8)
    spec = ModelSpec(name="m", mechanism="joint", steps=(0.025,))
    store = tmp_path / "replicates.jsonl"
    first = calibrate(design, spec, replicates=10, frequentist=2, store=store)
    assert len(store.read_text().splitlines()) == 2
    store.write_text("".join(store.read_text().splitlines(keepends=True)[:1]))
    again = calibrate(design, spec, replicates=10, frequentist=2, store=store)
    assert json.dumps(first.document()) == json.dumps(again.document())
