"""Moderators: coefficients, omnibus tests, degrees of freedom, several tests at once."""

from dataclasses import replace

import numpy as np
import pytest

from reanalysis.design import Design
from reanalysis.frequentist import adjust_p_values, fit_reml, fit_robust
from reanalysis.frequentist.likelihood import make_likelihood
from reanalysis.frequentist.robust import robust_fit
from reanalysis.frequentist.wald import containment_df
from reanalysis.results import EngineError
from reanalysis.spec import ModelSpec

SPEC = ModelSpec(name="m")
THREE = ["kaiser2021", "konstantopoulos2011"]
ALL = [*THREE, "bcg", "molloy2014"]
MODELS = [("mod_cont", ("cont",)), ("mod_cat", ("cat",)), ("mod_both", ("cont", "cat"))]
RTOL = 1e-4


def rows(fit, test):
    table = fit.tables["tests"]
    return table[table["test"] == test]


@pytest.mark.parametrize("name", THREE)
@pytest.mark.parametrize(("key", "moderators"), MODELS)
def test_three_level_moderator_models_agree_with_metafor(
    make_design, metafor, name, key, moderators
):
    expected = metafor(name)["three_level"][key]
    fit = fit_reml(make_design(name, moderators=moderators), SPEC)
    table = rows(fit, "Wald z")
    for ours, theirs in (
        ("value", "beta"),
        ("se", "se"),
        ("statistic", "stat"),
        ("p", "pval"),
        ("lower", "ci_lb"),
        ("upper", "ci_ub"),
    ):
        assert table[ours].to_numpy() == pytest.approx(expected[theirs], rel=1e-5)
    assert fit.loglik == pytest.approx(expected["logLik"], abs=2e-9)
    assert fit.q == pytest.approx(expected["QE"], rel=1e-9)
    assert [fit.qm, fit.qm_p] == pytest.approx([expected["QM"], expected["QMp"]], rel=1e-6)
    assert fit.qm_df == expected["QMdf"][0]
    assert [fit.tau2_between, fit.tau2_within] == pytest.approx(
        expected["sigma2"], rel=1e-5, abs=1e-9
    )
    if "test_t" in expected:
        table, t = rows(fit, "t(residual)"), expected["test_t"]
        assert table["p"].to_numpy() == pytest.approx(t["pval"], rel=1e-5)
        assert table["df"].to_numpy() == pytest.approx(t["ddf"])
        assert fit.i2_total == pytest.approx(expected["I2"]["total"], rel=1e-5)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("key", "moderators"), MODELS)
def test_two_level_moderator_models_agree_with_metafor_at_its_tightest_tolerance(
    make_design, tight, name, key, moderators
):
    expected = tight["two_level"][name]["moderators"][key]
    fit = fit_reml(make_design(name, levels=2, moderators=moderators), SPEC)
    knha = rows(fit, "Knapp-Hartung")
    for ours, theirs in (
        (fit.coef, "beta"),
        (rows(fit, "Wald z")["se"], "se"),
        (fit.qm, "QM"),
        (fit.loglik, "loglik"),
        (knha["se"], "knha_se"),
        (knha["p"], "knha_p"),
    ):
        assert np.asarray(ours) == pytest.approx(np.asarray(expected[theirs]), rel=1e-8)
    assert fit.tau2_between == pytest.approx(expected["tau2"], rel=1e-8, abs=1e-14)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("key", "moderators"), MODELS)
def test_two_level_moderator_models_agree_with_metafor_as_published(
    make_design, metafor, name, key, moderators
):
    expected = metafor(name)["two_level"][key]
    fit = fit_reml(make_design(name, levels=2, moderators=moderators), SPEC)
    # metafor's defaults stop at a step of 1e-5 in tau2, which near zero is much of its value
    # (molloy2014: 2e-4 of 1.7e-3), so the log-likelihood is compared, and Q, which is exact.
    assert fit.loglik >= expected["logLik"] - 1e-9
    assert fit.loglik == pytest.approx(expected["logLik"], abs=5e-4)
    assert fit.q == pytest.approx(expected["QE"], rel=1e-9)
    if name in ("bcg", "konstantopoulos2011"):
        assert fit.coef == pytest.approx(expected["beta"], rel=RTOL)
        assert rows(fit, "Wald z")["se"].to_numpy() == pytest.approx(expected["se"], rel=RTOL)
        assert fit.qm == pytest.approx(expected["QM"], rel=RTOL)
        # The p-value moves by QM / 2 times the relative change of QM.
        assert fit.qm_p == pytest.approx(expected["QMp"], rel=RTOL * max(1.0, fit.qm))


def test_containment_df_count_samples_for_sample_level_moderators(make_design):
    # metafor 3.8.1 (rma.mv, test = "t", dfs = "contain") on konstantopoulos2011: an effect-level
    # moderator has 54 df beside 9 for the intercept; a sample-level one has 9.
    rng = np.random.default_rng(1)
    design = make_design("konstantopoulos2011")
    own = rng.normal(size=design.k)
    shared = rng.normal(size=design.m)[design.cluster]
    for columns, expected in (
        ({}, [10]),
        ({"own": own}, [9, 54]),
        ({"shared": shared}, [9, 9]),
        ({"own": own, "shared": shared}, [8, 53, 8]),
    ):
        built = make_design("konstantopoulos2011", columns=columns)
        assert containment_df(built).tolist() == expected


def test_the_omnibus_f_test_takes_the_smallest_containment_df(make_design):
    # metafor 3.8.1, as above: QM with 1 and 54 df for the effect-level moderator.
    own = np.random.default_rng(1).normal(size=56)
    fit = fit_reml(make_design("konstantopoulos2011", columns={"own": own}), SPEC)
    row = fit.tables["omnibus"].iloc[0]
    assert (row["df1"], row["df2"]) == (1, 54)
    assert row["f"] == pytest.approx(fit.qm)
    t = rows(fit, "t(containment)").set_index("parameter").loc["beta[own]"]
    assert row["f_p"] == pytest.approx(t["p"])


def test_each_factor_of_a_joint_model_is_tested(make_design):
    design = make_design("konstantopoulos2011", moderators=("cont", "cat"))
    fit = fit_reml(design, SPEC)
    omnibus = fit.tables["omnibus"].set_index("moderator")
    assert omnibus.index.tolist() == ["all", "cont", "cat"]
    assert omnibus["df"].tolist() == [3, 1, 2]
    z = rows(fit, "Wald z").set_index("parameter").loc["beta[cont]", "statistic"]
    assert omnibus.loc["cont", "qm"] == pytest.approx(z**2)


@pytest.mark.parametrize("kind", ["CR0", "CR1", "CR2"])
@pytest.mark.parametrize("name", THREE)
@pytest.mark.parametrize(
    ("key", "moderators", "rho"),
    [("", (), 0.0), ("CHE_rho06", (), 0.6), *((key, mods, 0.0) for key, mods in MODELS)],
)
def test_cluster_robust_tests_agree_with_clubsandwich(
    make_design, metafor, kind, name, key, moderators, rho
):
    answers = metafor(name)["three_level"]
    answers = answers[key] if key else answers
    design = make_design(name, moderators=moderators)
    # At metafor's own variance components: for kaiser2021 without moderators it stops below the
    # maximum, and here only the sandwich is in question.
    likelihood = make_likelihood(design, rho, "REML")
    robust = robust_fit(design, likelihood, np.array(answers["sigma2"]), kind)
    expected = answers["CR"][kind]
    tests, ends = expected["coef_test"], expected["conf_int"]
    for ours, theirs in (
        (robust.tests["se"], tests["SE"]),
        (robust.df, tests["df_Satt"]),
        (robust.tests["p"], tests["p_Satt"]),
        (robust.tests["lower"], ends["CI_L"]),
        (robust.tests["upper"], ends["CI_U"]),
    ):
        assert np.asarray(ours) == pytest.approx(np.atleast_1d(theirs), rel=1e-8)
    assert robust.vcov == pytest.approx(np.atleast_2d(expected["vcov"]), rel=1e-8)
    if kind == "CR2" and moderators:
        htz = answers["CR"]["robust_CR2"]
        assert [robust.f, robust.f_df2, robust.f_p] == pytest.approx(
            [htz["F"], htz["Fdf"][1], htz["Fp"]], rel=1e-8
        )
    if kind == "CR0":
        # metafor's robust() without clubSandwich has the factor m/(m-p).
        scaled = robust_fit(design, likelihood, np.array(answers["sigma2"]), "CR1p")
        assert scaled.tests["se"].to_numpy() == pytest.approx(
            np.atleast_1d(answers["CR"]["robust_CR1"]["se"]), rel=1e-8
        )


def test_the_robust_tests_of_a_fit_use_its_own_working_model(make_design):
    design = make_design("konstantopoulos2011", moderators=("cat",))
    fit = fit_reml(design, SPEC)
    table = rows(fit, "CR2").reset_index(drop=True)
    robust = fit_robust(design, SPEC, fit)
    assert table.equals(robust.tests)
    assert "CR2" in robust._repr_html_()
    with pytest.raises(ValueError, match="pass the fit of this design and model"):
        fit_robust(make_design("konstantopoulos2011"), SPEC, fit)


def test_the_robust_covariance_has_the_right_mean_under_the_working_model():
    # Bias reduction (CR2) makes the sandwich unbiased when the working model holds: in unequal
    # samples with a moderator the mean over simulated data is the model's covariance.
    rng = np.random.default_rng(3)
    sizes = np.array([1, 2, 3, 5, 8, 2, 4])
    cluster = np.repeat(np.arange(7), sizes)
    k = int(sizes.sum())
    vi = rng.uniform(0.02, 0.1, k)
    names = tuple(str(i) for i in range(k))
    X = np.column_stack([np.ones(k), rng.normal(size=k)])
    tau2 = np.array([0.05, 0.02])
    total, runs = np.zeros((2, 2)), 800
    for _ in range(runs):
        u = rng.normal(0, np.sqrt(tau2[0]), 7)[cluster]
        yi = u + rng.normal(0, np.sqrt(tau2[1] + vi))
        design = Design(yi, vi, X, ("beta[intercept]", "beta[x]"), cluster, names[:7], names)
        likelihood = make_likelihood(design, 0.0, "REML")
        total += robust_fit(design, likelihood, tau2, "CR2").vcov
    expected = likelihood.coefficients(likelihood.at(tau2))[1]
    assert np.diagonal(total / runs) == pytest.approx(np.diagonal(expected), rel=0.12)


def test_robust_tests_need_more_samples_than_coefficients(make_design):
    design = make_design("bcg", levels=2)
    four = replace(
        design,
        cluster=np.sort(np.arange(13) % 2),
        cluster_names=("a", "b"),
        X=np.column_stack([np.ones(13), np.arange(13.0)]),
        coefficients=("beta[intercept]", "beta[x]"),
    )
    fit = fit_reml(four, SPEC)
    assert set(fit.tables["tests"]["test"]) == {"Wald z", "t(residual)", "t(containment)"}
    with pytest.raises(EngineError, match="there are 2 samples and 2 coefficients"):
        fit_robust(four, SPEC, fit)


def test_holm_and_bonferroni_follow_holms_example():
    # R 4.2.2, p.adjust(c(.01, .04, .03, .005, NA)[1:4], "holm") and "bonferroni".
    adjusted = adjust_p_values([0.01, 0.04, 0.03, 0.005])
    assert adjusted["holm"].tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjusted["bonferroni"].tolist() == pytest.approx([0.04, 0.16, 0.12, 0.02])
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        adjust_p_values([0.5, 1.2])
