"""Profile intervals and likelihood-ratio tests of the variance components."""

import numpy as np
import pytest

from reanalysis.design import Design
from reanalysis.frequentist import fit_reml, profile_curve
from reanalysis.frequentist.likelihood import make_likelihood
from reanalysis.frequentist.optimise import maximise
from reanalysis.frequentist.profile import profile_intervals
from reanalysis.spec import ModelSpec

SPEC = ModelSpec(name="m")
DATA = ["kaiser2021", "konstantopoulos2011", "bcg", "molloy2014"]


def ends(fit, component="tau_between"):
    table = fit.tables["variance_components"].set_index("component")
    return table.loc[component, ["tau2", "tau2_lower", "tau2_upper"]].to_list()


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("method", ["REML", "ML"])
def test_two_level_profile_intervals_agree_with_metafor_at_tight_tolerance(
    make_design, tight, name, method
):
    expected = tight["two_level"][name][method]["PL"]
    fit = fit_reml(make_design(name, levels=2), SPEC, method=method)
    assert ends(fit) == pytest.approx(expected, rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("name", ["kaiser2021", "konstantopoulos2011"])
@pytest.mark.parametrize("index", [0, 1])
def test_three_level_profile_intervals_agree_with_metafor(make_design, metafor, name, index):
    expected = metafor(name)["three_level"]["confint_PL"][index]["table"]
    fit = fit_reml(make_design(name), SPEC)
    component = ("tau_between", "tau_within")[index]
    _, lower, upper = ends(fit, component)
    # metafor's root finder stops within 1.2e-4 of an end on the scale of sigma2; its maximum for
    # kaiser2021 is 2.6e-5 too low, which moves the ends a little further.
    assert [lower, upper] == pytest.approx(expected[0][1:], rel=1.2e-3)
    estimate = fit.estimates[component]
    assert [estimate.lower, estimate.upper] == pytest.approx(expected[1][1:], rel=1e-3)
    assert estimate.interval == "profile likelihood"


def test_an_interval_starts_at_zero_where_zero_is_not_rejected(make_design):
    fit = fit_reml(make_design("kaiser2021", levels=2), SPEC)
    value, lower, upper = ends(fit)
    assert (value, lower) == (0.0, 0.0)
    assert upper > 0


@pytest.mark.parametrize("component", ["tau_between", "tau_within"])
def test_the_profile_falls_by_half_the_chi_square_quantile_at_the_ends(make_design, component):
    design = make_design("konstantopoulos2011")
    fit = fit_reml(design, SPEC)
    curve = profile_curve(design, SPEC, fit, component, points=401)
    estimate = fit.estimates[component]
    fallen = np.interp([estimate.lower, estimate.value, estimate.upper], *curve.to_numpy().T)
    assert fallen == pytest.approx([-1.920729, 0.0, -1.920729], abs=2e-3)
    assert curve["loglik"].max() <= 1e-12


def test_likelihood_ratio_tests_of_the_components_agree_with_metafor(make_design, metafor):
    expected = metafor("konstantopoulos2011")["three_level"]["LRT"]
    fit = fit_reml(make_design("konstantopoulos2011"), SPEC)
    table = fit.tables["variance_components"].set_index("component")
    for component, key in (("tau_between", "drop_study"), ("tau_within", "drop_es")):
        row = table.loc[component]
        assert [row["lrt"], row["p"], row["loglik"]] == pytest.approx(
            [expected[key]["LRT"], expected[key]["p"], expected[key]["logLik"]], rel=1e-6
        )
        assert row["p_mixture"] == row["p"] / 2


def test_a_component_on_the_boundary_is_not_significant(make_design):
    table = fit_reml(make_design("kaiser2021"), SPEC).tables["variance_components"]
    within = table.set_index("component").loc["tau_within"]
    assert (within["lrt"], within["p"], within["p_mixture"]) == (0.0, 1.0, 1.0)


def test_profile_intervals_hold_the_true_value_at_their_level():
    # 15 samples of 3 effects each, tau_between .2, tau_within .15: coverage of 95 %, +- 3 SE.
    rng = np.random.default_rng(11)
    m, n, runs = 15, 3, 200
    cluster = np.repeat(np.arange(m), n)
    names = tuple(str(i) for i in range(m * n))
    inside = 0
    for _ in range(runs):
        vi = 1 / rng.integers(20, 200, m * n)
        yi = rng.normal(0, 0.2, m)[cluster] + rng.normal(0, np.sqrt(0.15**2 + vi))
        design = Design(yi, vi, np.ones((m * n, 1)), ("mu",), cluster, names[:m], names)
        likelihood = make_likelihood(design, 0.0, "REML")
        row = profile_intervals(likelihood, maximise(likelihood).evaluation).iloc[0]
        inside += row["tau_lower"] <= 0.2 <= row["tau_upper"]
    assert inside / runs == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / runs))
