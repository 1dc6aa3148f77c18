"""`fit_reml` against metafor 5.1.12, and against metafor 3.8.1 with tightened tolerances."""

from dataclasses import replace

import numpy as np
import pytest

from reanalysis.design import Design
from reanalysis.frequentist import fit_reml, predict_new
from reanalysis.priors import Prior
from reanalysis.results import EngineError
from reanalysis.spec import ModelSpec

SPEC = ModelSpec(name="m")
DATA = ["kaiser2021", "konstantopoulos2011", "bcg", "molloy2014"]
RTOL = 1e-4  # METHODS section 6; metafor's own optimiser stops near there


def wald(fit, parameter="mu", test="Wald z"):
    """Return value, se, statistic, p, lower, upper of one test."""
    table = fit.tables["tests"].set_index(["parameter", "test"])
    return table.loc[(parameter, test), ["value", "se", "statistic", "p", "lower", "upper"]]


def expect(row, index=None):
    names = ("beta", "se", "stat", "pval", "ci_lb", "ci_ub")
    return [row[name] if index is None else row[name][index] for name in names]


@pytest.mark.parametrize("method", ["REML", "ML"])
def test_three_level_fit_reproduces_konstantopoulos_2011(make_design, metafor, method):
    expected = metafor("konstantopoulos2011")["three_level"]
    row = expected["REML_z"] if method == "REML" else expected["ML"]
    sigma2 = expected["sigma2"] if method == "REML" else row["sigma2"]
    loglik = expected["logLik_REML"] if method == "REML" else row["logLik"]
    fit = fit_reml(make_design("konstantopoulos2011"), SPEC, method=method)
    assert fit.converged
    assert fit.boundary == ()
    assert [fit.tau2_between, fit.tau2_within] == pytest.approx(sigma2, rel=1e-6)
    assert list(wald(fit)) == pytest.approx(expect(row), rel=1e-6)
    assert fit.loglik == pytest.approx(loglik, abs=1e-9)
    assert fit.q == pytest.approx(row["QE"], rel=1e-9)
    assert fit.q_p == pytest.approx(row["QEp"], rel=1e-9)


@pytest.mark.parametrize(
    ("test", "key"),
    [
        ("Wald z", "REML_z"),
        ("t(residual)", "REML_t"),
        ("t(containment)", "REML_t_contain"),
    ],
)
def test_three_level_tests_of_the_mean_agree_with_metafor(make_design, metafor, test, key):
    expected = metafor("konstantopoulos2011")["three_level"][key]
    fit = fit_reml(make_design("konstantopoulos2011"), SPEC)
    assert list(wald(fit, test=test)) == pytest.approx(expect(expected), rel=1e-6)


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("method", ["REML", "ML"])
def test_two_level_fit_agrees_with_metafor_at_its_tightest_tolerance(
    make_design, tight, name, method
):
    expected = tight["two_level"][name][method]
    fit = fit_reml(make_design(name, levels=2), SPEC, method=method)
    assert fit.converged
    assert fit.tau2_between == pytest.approx(expected["tau2"], rel=1e-10, abs=1e-15)
    assert fit.coef[0] == pytest.approx(expected["beta"], rel=1e-10)
    assert fit.estimates["mu"].sd == pytest.approx(expected["se"], rel=1e-10)
    assert fit.loglik == pytest.approx(expected["loglik"], rel=1e-10)
    assert (fit.boundary == ("tau_between",)) == (expected["tau2"] == 0)


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize(
    ("test", "key"),
    [("Wald z", "REML_z"), ("t(residual)", "REML_t"), ("Knapp-Hartung", "REML_knha")],
)
def test_two_level_tests_of_the_mean_agree_with_metafor(make_design, metafor, name, test, key):
    expected = metafor(name)["two_level"][key]
    fit = fit_reml(make_design(name, levels=2), SPEC)
    value, se, statistic, p, lower, upper = wald(fit, test=test)
    assert [value, se, statistic, lower, upper] == pytest.approx(
        [expected[key] for key in ("beta", "se", "stat", "ci_lb", "ci_ub")], rel=RTOL
    )
    # A p-value far in the tail moves by the square of z times as much as z itself.
    assert p == pytest.approx(expected["pval"], rel=RTOL * max(1.0, statistic**2))


@pytest.mark.parametrize("name", DATA)
def test_two_level_heterogeneity_and_fit_statistics_agree_with_metafor(make_design, metafor, name):
    expected = metafor(name)["two_level"]
    fit = fit_reml(make_design(name, levels=2), SPEC)
    assert fit.q == pytest.approx(expected["Q"], rel=1e-9)
    assert fit.q_p == pytest.approx(expected["Qp"], rel=1e-6)
    assert fit.i2_total == pytest.approx(expected["I2"], rel=RTOL)
    # The Q-based I2 is what metafor prints for the DerSimonian-Laird estimator.
    assert fit.i2_q == pytest.approx(expected["methods"]["DL"]["I2"], rel=1e-9)
    criteria = fit.tables["fit"].iloc[0]
    for ours, theirs in (("deviance", "dev"), ("aic", "AIC"), ("bic", "BIC"), ("aicc", "AICc")):
        assert criteria[ours] == pytest.approx(expected["fit"]["REML"][theirs], rel=1e-7)


def test_three_level_heterogeneity_and_fit_statistics_agree_with_metafor(make_design, metafor):
    expected = metafor("konstantopoulos2011")["three_level"]
    fit = fit_reml(make_design("konstantopoulos2011"), SPEC)
    i2 = expected["I2"]
    assert fit.i2_total == pytest.approx(i2["total"], rel=1e-6)
    assert fit.i2_between == pytest.approx(i2["by_level"]["study"], rel=1e-6)
    assert fit.i2_within == pytest.approx(i2["by_level"]["study/es"], rel=1e-6)
    table = fit.tables["heterogeneity"].set_index("quantity")
    assert table.loc["typical sampling variance", "value"] == pytest.approx(i2["typical_v"])
    criteria = fit.tables["fit"].iloc[0]
    for ours, theirs in (("deviance", "dev"), ("aic", "AIC"), ("bic", "BIC"), ("aicc", "AICc")):
        assert criteria[ours] == pytest.approx(expected["fit"]["REML"][theirs], rel=1e-7)


@pytest.mark.parametrize(
    ("test", "key"),
    [
        ("Wald z", "REML_z"),
        ("t(residual)", "REML_t"),
        ("t(containment)", "REML_t_contain"),
    ],
)
def test_prediction_intervals_agree_with_metafor(make_design, metafor, test, key):
    expected = metafor("konstantopoulos2011")["three_level"][key]["predict"]
    fit = fit_reml(make_design("konstantopoulos2011"), SPEC)
    rows = fit.tables["prediction"].set_index(["target", "interval"])
    mean, new = rows.loc[("mean", test)], rows.loc[("new_effect", test)]
    assert [mean["value"], mean["sd"], mean["lower"], mean["upper"]] == pytest.approx(
        [expected["pred"], expected["se"], expected["ci_lb"], expected["ci_ub"]], rel=1e-6
    )
    assert [new["lower"], new["upper"]] == pytest.approx(
        [expected["pi_lb"], expected["pi_ub"]], rel=1e-6
    )


@pytest.mark.parametrize("name", DATA)
def test_two_level_prediction_intervals_agree_with_metafor(make_design, metafor, name):
    expected = metafor(name)["two_level"]["REML_t"]["predict"]
    fit = fit_reml(make_design(name, levels=2), SPEC)
    new = (
        fit.tables["prediction"]
        .set_index(["target", "interval"])
        .loc[("new_effect", "t(residual)")]
    )
    # Of the interval's width: its lower end is near zero for molloy2014.
    width = expected["pi_ub"] - expected["pi_lb"]
    assert [new["lower"], new["upper"]] == pytest.approx(
        [expected["pi_lb"], expected["pi_ub"]], abs=RTOL * width
    )


def test_a_new_sample_is_predicted_more_closely_than_a_new_effect(make_design):
    design = make_design("konstantopoulos2011", moderators=("cont",))
    fit = fit_reml(design, SPEC)
    rows = predict_new(design, SPEC, fit, [1.0, 0.5]).set_index(["target", "interval"])
    sds = rows.loc[(slice(None), "Wald z"), "sd"].droplevel("interval")
    assert sds["new_sample"] ** 2 - sds["mean"] ** 2 == pytest.approx(fit.tau2_between)
    assert sds["new_effect"] ** 2 - sds["new_sample"] ** 2 == pytest.approx(fit.tau2_within)
    with pytest.raises(ValueError, match=r"3 values; the model has 2 coefficients"):
        predict_new(design, SPEC, fit, [1.0, 0.5, 2.0])


@pytest.mark.parametrize("levels", [2, 3])
def test_blups_agree_with_metafor(make_design, metafor, levels):
    answers = metafor("konstantopoulos2011")
    fit = fit_reml(make_design("konstantopoulos2011", levels=levels), SPEC)
    effects = fit.effects
    if levels == 2:
        expected = answers["two_level"]
        for ours, theirs in (("mean", "pred"), ("sd", "se")):
            assert effects[ours].to_numpy() == pytest.approx(expected["blup"][theirs], rel=1e-5)
        for ours, theirs in (("u", "pred"), ("u_sd", "se")):
            assert effects[ours].to_numpy() == pytest.approx(
                expected["ranef"][theirs], rel=1e-5, abs=1e-7
            )
        assert np.all(effects[["w", "w_sd"]] == 0)
    else:
        expected = answers["three_level"]["ranef"]
        samples = effects.drop_duplicates("sample").set_index("sample")
        order = expected["study"]["names"]
        assert samples.loc[order, "u"].to_numpy() == pytest.approx(
            expected["study"]["intrcpt"], rel=1e-5, abs=1e-8
        )
        assert samples.loc[order, "u_sd"].to_numpy() == pytest.approx(
            expected["study"]["se"], rel=1e-5
        )
        rows = effects.set_index(effects["row"].str.replace(".", "/"))
        order = expected["study/es"]["names"]
        assert rows.loc[order, "w"].to_numpy() == pytest.approx(
            expected["study/es"]["intrcpt"], rel=1e-5, abs=1e-8
        )
        assert rows.loc[order, "w_sd"].to_numpy() == pytest.approx(
            expected["study/es"]["se"], rel=1e-5
        )
        total = fit.coef[0] + effects["u"] + effects["w"]
        assert effects["mean"].to_numpy() == pytest.approx(total.to_numpy())


def test_the_maximum_of_kaiser_2021_is_not_below_metafors(make_design, metafor):
    expected = metafor("kaiser2021")["three_level"]
    fit = fit_reml(make_design("kaiser2021"), SPEC)
    assert fit.boundary == ("tau_within",)
    # metafor ends at 9.236019 with both components near 0; its own fit without the inner one
    # reaches the higher value.
    assert fit.loglik == pytest.approx(expected["LRT"]["drop_es"]["logLik"], abs=1e-8)
    assert fit.loglik > expected["logLik_REML"]


@pytest.mark.parametrize("name", ["kaiser2021", "konstantopoulos2011"])
def test_correlated_sampling_errors_reproduce_the_che_model(make_design, metafor, name):
    expected = metafor(name)["three_level"]["CHE_rho06"]
    design, spec = make_design(name), ModelSpec(name="m", sampling_correlation=0.6)
    fit = fit_reml(design, spec)
    assert list(wald(fit)) == pytest.approx(expect(expected), rel=1e-6)
    assert [fit.tau2_between, fit.tau2_within] == pytest.approx(
        expected["sigma2"], rel=1e-5, abs=1e-9
    )
    assert fit.loglik == pytest.approx(expected["logLik"], abs=1e-8)
    assert fit.q == pytest.approx(expected["QE"], rel=1e-9)


def test_a_given_covariance_matrix_is_the_constant_correlation_written_out(make_design):
    design = make_design("konstantopoulos2011", moderators=("cont", "cat"))
    sei = np.sqrt(design.vi)
    same = design.cluster[:, None] == design.cluster[None, :]
    V = np.where(same, 0.6 * np.outer(sei, sei), 0.0)
    np.fill_diagonal(V, design.vi)
    constant = fit_reml(design, ModelSpec(name="m", sampling_correlation=0.6))
    given = fit_reml(replace(design, V=V), SPEC)
    assert given.loglik == pytest.approx(constant.loglik, abs=1e-10)
    assert given.coef == pytest.approx(constant.coef, rel=1e-9)
    assert given.vcov == pytest.approx(constant.vcov, rel=1e-9)
    assert given.effects["sd"].to_numpy() == pytest.approx(constant.effects["sd"].to_numpy())
    tests = given.tables["tests"].drop(columns=["parameter", "test"]).to_numpy()
    expected = constant.tables["tests"].drop(columns=["parameter", "test"]).to_numpy()
    assert tests == pytest.approx(expected, rel=1e-7)


def test_the_median_of_a_prior_stands_for_the_sampling_correlation(make_design):
    design = make_design("konstantopoulos2011")
    prior = Prior("uniform", {"lower": 0.4, "upper": 0.8})
    fit = fit_reml(design, ModelSpec(name="m", sampling_correlation=prior), details=False)
    other = fit_reml(design, ModelSpec(name="m", sampling_correlation=0.6), details=False)
    assert fit.loglik == pytest.approx(other.loglik, abs=1e-12)


def test_a_row_that_averages_effects_is_the_mean_of_its_rows(make_design):
    # Two effects with equal variances and independent errors carry no information beyond their
    # mean about everything but tau_within; with tau_within fixed by the other rows' likelihood
    # the mean row has the marginal variance vi/2 + tau_within^2/2 + tau_between^2.
    design = make_design("konstantopoulos2011")
    averaged = replace(
        design,
        vi=design.vi / 2,
        n_averaged=np.full(design.k, 2.0),
    )
    fit = fit_reml(averaged, SPEC, details=False)
    halved = fit_reml(replace(design, vi=design.vi / 2), SPEC, details=False)
    # The same marginal model with tau_within^2 doubled.
    assert fit.tau2_within == pytest.approx(2 * halved.tau2_within, rel=1e-9)
    assert fit.tau2_between == pytest.approx(halved.tau2_between, rel=1e-9)
    assert fit.loglik == pytest.approx(halved.loglik, abs=1e-10)


@pytest.mark.parametrize("mechanism", ["pet", "peese"])
@pytest.mark.parametrize("name", ["kaiser2021", "konstantopoulos2011"])
def test_pet_and_peese_models_agree_with_metafor(make_design, metafor, name, mechanism):
    expected = metafor(name)["three_level"][mechanism.upper()]
    fit = fit_reml(make_design(name), ModelSpec(name="m", mechanism=mechanism))
    assert fit.coefficients == ("mu", mechanism)
    for index, parameter in enumerate(fit.coefficients):
        assert list(wald(fit, parameter)) == pytest.approx(expect(expected, index), rel=1e-5)
    assert fit.loglik == pytest.approx(expected["logLik"], abs=2e-9)


def test_a_selection_mechanism_is_refused_with_the_alternative_named(make_design):
    with pytest.raises(EngineError, match=r"no selection model .* 'joint'.*fit_selmodel"):
        fit_reml(make_design("konstantopoulos2011"), ModelSpec(name="m", mechanism="joint"))


def test_three_levels_with_one_row_per_sample_are_refused(make_design):
    design = replace(make_design("bcg", levels=2), levels=3)
    with pytest.raises(EngineError, match="told apart in these data; fit a model with levels = 2"):
        fit_reml(design, SPEC)


def test_moderators_that_absorb_the_samples_are_refused(make_design):
    design = make_design("konstantopoulos2011")
    columns = {f"s{j}": (design.cluster == j).astype(float) for j in range(1, design.m)}
    absorbed = make_design("konstantopoulos2011", columns=columns)
    with pytest.raises(EngineError, match="absorb every difference between the 11 samples"):
        fit_reml(absorbed, SPEC)
    # With one indicator fewer, two samples are left to differ.
    del columns["s10"]
    fit = fit_reml(make_design("konstantopoulos2011", columns=columns), SPEC, details=False)
    assert fit.converged


def test_collinear_moderators_are_named(make_design):
    cont = make_design("bcg", moderators=("cont",)).X[:, 1]
    design = make_design("bcg", levels=2, columns={"a": cont, "b": 2 * cont - 3})
    with pytest.raises(EngineError, match=r"beta\[b\] are a linear combination"):
        fit_reml(design, SPEC)


def test_more_coefficients_than_rows_are_refused(make_design):
    design = make_design("bcg", levels=2)
    few = Design(
        yi=design.yi[:2],
        vi=design.vi[:2],
        X=np.array([[1.0, 0.0], [1.0, 1.0]]),
        coefficients=("beta[intercept]", "beta[x]"),
        cluster=np.arange(2),
        cluster_names=("a", "b"),
        row_names=("a", "b"),
        levels=2,
    )
    with pytest.raises(EngineError, match="2 rows cannot determine 2 coefficients"):
        fit_reml(few, SPEC)


def test_identical_effects_give_the_common_value_without_heterogeneity(make_design):
    design = make_design("bcg", levels=2)
    fit = fit_reml(replace(design, yi=np.full(design.k, 0.3)), SPEC)
    assert fit.boundary == ("tau_between",)
    assert fit.coef[0] == pytest.approx(0.3)
    assert fit.q == pytest.approx(0.0, abs=1e-20)


def test_the_record_has_readable_tables(make_design):
    fit = fit_reml(make_design("konstantopoulos2011"), SPEC)
    html = fit._repr_html_()
    assert "tau_between" in html
    assert "profile likelihood" in html
    assert set(fit.tables) == {
        "tests",
        "variance_components",
        "heterogeneity",
        "omnibus",
        "fit",
        "prediction",
    }
    lean = fit_reml(make_design("konstantopoulos2011"), SPEC, details=False)
    assert lean.estimates["mu"] == fit.estimates["mu"]
    assert not lean.tables
