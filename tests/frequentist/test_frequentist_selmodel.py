"""Step-function selection models against metafor 5.1.12, by log-likelihood first."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from reanalysis.design import Design
from reanalysis.frequentist import fit_selmodel
from reanalysis.frequentist.stepfun import make_step_likelihood
from reanalysis.results import EngineError
from reanalysis.spec import ModelSpec

SPEC = ModelSpec(name="m")
DATA = ["kaiser2021", "konstantopoulos2011", "bcg", "molloy2014"]
STEPS = {
    "step_025": (0.025,),
    "step_05": (0.05,),
    "step_025_5": (0.025, 0.5),
    "step_025_05_5": (0.025, 0.05, 0.5),
    "step_twosided_05": (0.05,),
}


def fit(make_design, name, key, alternative):
    sided = "two-sided" if "twosided" in key else alternative
    return fit_selmodel(make_design(name, levels=2), SPEC, steps=STEPS[key], alternative=sided)


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("key", list(STEPS))
def test_the_maximum_is_not_below_metafors(make_design, metafor, name, key):
    bias = metafor(name)["bias"]
    expected = bias[f"selmodel_{key}"]
    ours = fit(make_design, name, key, bias["alternative"])
    assert ours.converged
    assert ours.loglik >= expected["logLik"] - 1e-10
    # Nor far above it: where it is, metafor holds tau2 or an empty bin's weight off zero.
    assert ours.loglik - expected["logLik"] < 5e-4
    base = bias["selmodel_ML_base"]["logLik"]
    assert ours.loglik_unselected == pytest.approx(base, abs=1e-6)
    assert ours.lrt == pytest.approx(expected["LRT"], abs=1e-3)


@pytest.mark.parametrize("name", ["konstantopoulos2011", "bcg", "molloy2014"])
@pytest.mark.parametrize("key", list(STEPS))
def test_estimates_and_standard_errors_agree_where_metafor_converges(
    make_design, metafor, name, key
):
    bias = metafor(name)["bias"]
    expected = bias[f"selmodel_{key}"]
    ours = fit(make_design, name, key, bias["alternative"])
    mu = ours.estimates["mu"]
    assert mu.value == pytest.approx(expected["beta"], rel=1e-4, abs=1e-5)
    assert ours.tau2 == pytest.approx(expected["tau2"], rel=1e-4)
    # An empty bin has weight 0 here, 1.3e-4 there; metafor's optimiser is good to about 1e-4.
    assert ours.bins["weight"].to_numpy() == pytest.approx(expected["delta"], rel=2e-4, abs=2e-4)
    if expected["se"] is not None:
        assert mu.sd == pytest.approx(expected["se"], rel=2e-4)
        assert [mu.lower, mu.upper] == pytest.approx(
            [expected["ci_lb"], expected["ci_ub"]], rel=2e-4, abs=5e-5
        )
        assert ours.bins["se"].to_numpy()[1:] == pytest.approx(expected["se_delta"][1:], rel=5e-4)
    if expected.get("se_tau2") is not None:
        assert ours.tau2_se == pytest.approx(expected["se_tau2"], rel=2e-4)
        assert ours.lrt_tau2 == pytest.approx(expected["LRT_tau2"], rel=1e-5)
        assert ours.lrt_p == pytest.approx(expected["LRTp"], rel=1e-4)


@pytest.mark.parametrize("key", ["step_025", "step_05", "step_twosided_05"])
def test_without_heterogeneity_the_estimates_of_kaiser_agree(make_design, metafor, key):
    expected = metafor("kaiser2021")["bias"][f"selmodel_{key}"]
    ours = fit(make_design, "kaiser2021", key, "greater")
    # metafor ends at tau2 = 6e-7 to 5e-5, and holds tau2 when it computes standard errors.
    assert ours.boundary == ("tau_between",)
    assert ours.tau2_se is None
    mu = ours.estimates["mu"]
    assert [mu.value, mu.sd] == pytest.approx([expected["beta"], expected["se"]], rel=3e-3)
    assert ours.bins["weight"][1] == pytest.approx(expected["delta"][1], rel=3e-3)
    assert ours.bins["se"][1] == pytest.approx(expected["se_delta"][1], rel=3e-3)


@pytest.mark.parametrize("alternative", ["greater", "less", "two-sided"])
def test_derivatives_are_those_of_the_likelihood(make_design, alternative):
    design = make_design("konstantopoulos2011", levels=2, moderators=("cont",))
    data = make_step_likelihood(design.yi, design.vi, design.X, (0.025, 0.5), alternative)

    def at(x):
        return data.at(x[:2], x[2], np.array([1.0, x[3], x[4]]))

    x, step = np.array([0.2, 0.05, 0.06, 0.7, 0.4]), 1e-6
    here = at(x)
    for i, direction in enumerate(step * np.eye(5)):
        ahead, behind = at(x + direction), at(x - direction)
        slope = (ahead.loglik - behind.loglik) / (2 * step)
        assert here.gradient[i] == pytest.approx(slope, rel=1e-6)
        curve = (ahead.gradient - behind.gradient) / (2 * step)
        assert here.hessian[i] == pytest.approx(curve, rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("alternative", ["greater", "less", "two-sided"])
def test_the_density_of_a_published_effect_integrates_to_one(alternative):
    # Gauss-Legendre between the effects at which the p-value crosses a step (se = .2).
    z = {"greater": [0.0, 1.959964], "less": [-1.959964, 0.0]}
    z["two-sided"] = [-2.241403, -0.674490, 0.674490, 2.241403]
    edges = np.array([-4.0, *(0.2 * np.array(z[alternative])), 4.0])
    nodes, weights = np.polynomial.legendre.leggauss(60)
    total = 0.0
    for low, high in pairwise(edges):
        for node, weight in zip(nodes, weights, strict=True):
            yi = np.array([(low + high) / 2 + (high - low) / 2 * node])
            data = make_step_likelihood(
                yi, np.array([0.04]), np.ones((1, 1)), (0.025, 0.5), alternative
            )
            here = data.at(np.array([0.2]), 0.03, np.array([1.0, 0.5, 0.2]))
            total += weight * (high - low) / 2 * np.exp(here.loglik)
    assert total == pytest.approx(1.0, abs=1e-6)


def test_equal_weights_are_no_selection(make_design):
    design = make_design("molloy2014", levels=2)
    data = make_step_likelihood(design.yi, design.vi, design.X, (0.025, 0.5), "greater")
    value = data.at(np.array([0.15]), 0.007, np.ones(3)).loglik
    s2 = design.vi + 0.007
    normal = -0.5 * np.sum(np.log(2 * np.pi * s2) + (design.yi - 0.15) ** 2 / s2)
    assert value == pytest.approx(normal, abs=1e-12)


def test_selection_is_recovered_from_data_that_were_selected():
    rng = np.random.default_rng(5)
    vi = 1 / rng.integers(20, 200, 4000)
    yi = rng.normal(0.1, np.sqrt(0.1**2 + vi))
    significant = yi / np.sqrt(vi) > 1.959964
    kept = significant | (rng.uniform(size=4000) < 0.3)
    yi, vi = yi[kept], vi[kept]
    k = len(yi)
    names = tuple(str(i) for i in range(k))
    design = Design(yi, vi, np.ones((k, 1)), ("mu",), np.arange(k), names, names, levels=2)
    ours = fit_selmodel(design, SPEC, steps=(0.025,))
    mu, weight = ours.estimates["mu"], ours.estimates["omega[2]"]
    assert mu.value == pytest.approx(0.1, abs=3 * mu.sd)
    assert weight.value == pytest.approx(0.3, abs=3 * weight.sd)
    assert np.sqrt(ours.tau2) == pytest.approx(0.1, abs=0.02)
    assert ours.lrt_p < 1e-10


def test_mirrored_data_with_the_other_alternative_give_the_mirrored_fit(make_design):
    design = make_design("molloy2014", levels=2)
    greater = fit_selmodel(design, SPEC)
    less = fit_selmodel(replace(design, yi=-design.yi), SPEC, alternative="less")
    assert less.loglik == pytest.approx(greater.loglik, abs=1e-10)
    assert less.estimates["mu"].value == pytest.approx(-greater.estimates["mu"].value)


def test_bins_without_comparison_are_refused(make_design):
    design = make_design("molloy2014", levels=2)
    with pytest.raises(EngineError, match=r"no effect has a p-value of 1e-50 or less"):
        fit_selmodel(design, SPEC, steps=(1e-50,))
    with pytest.raises(EngineError, match=r"every effect has a p-value of 0\.999999 or less"):
        fit_selmodel(design, SPEC, steps=(0.999999,))
    with pytest.raises(EngineError, match="steps must be ascending"):
        fit_selmodel(design, SPEC, steps=(0.5, 0.025))


def test_the_record_reads_well(make_design):
    ours = fit_selmodel(make_design("molloy2014", levels=2), SPEC)
    assert list(ours.table.index) == ["mu", "tau_between", "omega[1]", "omega[2]", "omega[3]"]
    html = ours._repr_html_()
    assert "Against no selection: LRT(2) = 5.03, p = 0.081." in html
    assert ours.limits in html
