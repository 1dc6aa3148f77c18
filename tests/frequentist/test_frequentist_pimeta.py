"""A second program, pimeta, on simulated data that no reference file holds."""

import numpy as np
import pimeta
import pytest

from reanalysis.design import Design
from reanalysis.frequentist import (
    fit_egger,
    fit_pet_peese,
    fit_rank_test,
    fit_reml,
    fit_selmodel,
    fit_trimfill,
)
from reanalysis.spec import ModelSpec

SPEC = ModelSpec(name="m")
SEEDS = range(4)


def simulated(seed: int, *, levels: int) -> Design:
    """Return 30 effects, in 12 samples if there are three levels."""
    rng = np.random.default_rng(100 + seed)
    k, m = 30, 12 if levels == 3 else 30
    cluster = np.sort(np.r_[np.arange(m), rng.integers(0, m, k - m)])
    vi = rng.uniform(0.005, 0.08, k)
    yi = 0.2 + rng.normal(0, 0.2, m)[cluster] + rng.normal(0, np.sqrt(0.15**2 + vi))
    names = tuple(str(i) for i in range(k))
    return Design(yi, vi, np.ones((k, 1)), ("mu",), cluster, names[:m], names, levels=levels)


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("seed", SEEDS)
def test_three_level_fit_agrees_with_pimeta(seed, method):
    design = simulated(seed, levels=3)
    theirs = pimeta.rma_mv(
        design.yi,
        vi=design.vi,
        data={"sample": design.cluster, "effect": np.arange(design.k)},
        random="~ 1 | sample/effect",
        method=method,
    )
    ours = fit_reml(design, SPEC, method=method)
    # Its optimiser holds components off zero and stops at about 1e-6 of the log-likelihood.
    assert ours.loglik >= theirs.ll - 1e-9
    assert ours.loglik == pytest.approx(theirs.ll, abs=1e-5)
    assert ours.coef == pytest.approx(theirs.beta, rel=1e-3)
    assert [ours.tau2_between, ours.tau2_within] == pytest.approx(theirs.sigma2, rel=1e-2, abs=1e-5)
    assert ours.q == pytest.approx(theirs.qe, rel=1e-9)
    robust = pimeta.robust(theirs, cluster=design.cluster, clubSandwich=True)
    row = ours.tables["tests"].set_index("test").loc["CR2"]
    assert row["se"] == pytest.approx(robust["se"][0], rel=1e-3)
    assert row["df"] == pytest.approx(robust["dfs"][0], rel=2e-3)


@pytest.mark.parametrize("seed", SEEDS)
def test_two_level_fit_and_profile_interval_agree_with_pimeta(seed):
    design = simulated(seed, levels=2)
    theirs = pimeta.rma(design.yi, design.vi, test="knha")
    ours = fit_reml(design, SPEC)
    assert ours.tau2_between == pytest.approx(theirs.tau2, rel=1e-3)
    assert ours.i2_total == pytest.approx(theirs.I2, rel=1e-3)
    row = ours.tables["tests"].set_index("test").loc["Knapp-Hartung"]
    assert [row["value"], row["se"]] == pytest.approx([theirs.b[0], theirs.se[0]], rel=1e-4)
    profile = pimeta.confint_tau2(design.yi, design.vi, theirs.tau2, type="PL")
    interval = ours.tables["variance_components"].iloc[0]
    assert [interval["tau2_lower"], interval["tau2_upper"]] == pytest.approx(
        [profile.tau2_lb, profile.tau2_ub], rel=1e-2, abs=1e-4
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_small_study_methods_agree_with_pimeta(seed):
    design = simulated(seed, levels=2)
    egger = pimeta.regtest(design.yi, design.vi)
    ours = fit_egger(design, SPEC, model="mixed")
    assert ours.numbers["statistic"] == pytest.approx(egger.stat, rel=2e-3)
    rank = pimeta.begg_test(design.yi, design.vi)
    # pimeta has no exact p-value; the statistic is the same.
    assert fit_rank_test(design, SPEC).numbers["tau"] == pytest.approx(rank.tau, rel=1e-12)
    for estimator in ("L0", "R0"):
        theirs = pimeta.trimfill(design.yi, design.vi, estimator=estimator)
        ours = fit_trimfill(design, SPEC, estimator=estimator)
        assert ours.numbers["k0"] == theirs.k0
        assert ours.table["value"][1] == pytest.approx(theirs.filled_effect, rel=1e-4)


def test_a_selection_model_agrees_with_pimeta():
    # One case: pimeta takes some seconds for each.
    design, steps = simulated(1, levels=2), (0.025,)
    base = pimeta.rma(design.yi, design.vi, method="ML")
    theirs = pimeta.selmodel(base, type="stepfun", steps=list(steps))
    ours = fit_selmodel(design, SPEC, steps=steps)
    assert ours.loglik >= theirs.ll - 1e-9
    assert ours.loglik == pytest.approx(theirs.ll, abs=1e-5)
    assert ours.estimates["mu"].value == pytest.approx(theirs.b[0], abs=2e-3)
    assert ours.bins["weight"].to_numpy() == pytest.approx(theirs.delta, rel=1e-2)


@pytest.mark.parametrize("seed", SEEDS)
def test_pet_agrees_with_pimetas_multilevel_meta_regression(seed):
    design = simulated(seed, levels=3)
    theirs = pimeta.rma_mv(
        design.yi,
        vi=design.vi,
        mods=np.sqrt(design.vi)[:, None],
        data={"sample": design.cluster, "effect": np.arange(design.k)},
        random="~ 1 | sample/effect",
    )
    table = fit_pet_peese(design, SPEC).table.set_index(["method", "parameter", "test"])
    ours = table.loc[("PET", "mu", "Wald z")]
    assert [ours["value"], ours["se"]] == pytest.approx([theirs.beta[0], theirs.se[0]], rel=1e-3)
