"""Small-study methods against metafor 5.1.12."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from reanalysis.frequentist import (
    check_small_study,
    fit_egger,
    fit_pet_peese,
    fit_rank_test,
    fit_reml,
    fit_trimfill,
    funnel_contours,
)
from reanalysis.frequentist.asymmetry import kendall_tau
from reanalysis.results import EngineError
from reanalysis.spec import ModelSpec

SPEC = ModelSpec(name="m")
DATA = ["kaiser2021", "konstantopoulos2011", "bcg", "molloy2014"]


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("predictor", ["sei", "vi"])
def test_classical_egger_test_agrees_with_metafor(make_design, metafor, name, predictor):
    expected = metafor(name)["bias"][f"regtest_lm_{predictor}"]
    result = fit_egger(make_design(name, levels=2), SPEC, predictor=predictor)
    numbers, limit = result.numbers, result.table.iloc[0]
    assert [numbers["statistic"], numbers["p"], numbers["df"]] == pytest.approx(
        [expected["stat"], expected["pval"], expected["dfs"]], rel=1e-9
    )
    assert [limit["value"], limit["lower"], limit["upper"]] == pytest.approx(
        [expected["est"], expected["ci_lb"], expected["ci_ub"]], rel=1e-9
    )


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("predictor", ["sei", "vi"])
def test_mixed_egger_test_agrees_with_metafor(make_design, metafor, name, predictor):
    expected = metafor(name)["bias"][f"regtest_rma_{predictor}"]
    result = fit_egger(make_design(name, levels=2), SPEC, model="mixed", predictor=predictor)
    numbers, limit = result.numbers, result.table.iloc[0]
    # metafor's tau2 is good to 1e-5, which is 1e-3 of it for kaiser2021 and molloy2014.
    rel = 1e-5 if name in ("bcg", "konstantopoulos2011") else 5e-4
    assert [numbers["statistic"], numbers["p"]] == pytest.approx(
        [expected["stat"], expected["pval"]], rel=rel
    )
    assert [limit["value"], limit["lower"], limit["upper"]] == pytest.approx(
        [expected["est"], expected["ci_lb"], expected["ci_ub"]], rel=rel
    )


@pytest.mark.parametrize("name", DATA)
def test_rank_test_agrees_with_metafor(make_design, metafor, name):
    expected = metafor(name)["bias"]["ranktest"]
    result = fit_rank_test(make_design(name, levels=2), SPEC)
    assert result.numbers["tau"] == pytest.approx(expected["tau"], rel=1e-12)
    assert result.numbers["p"] == pytest.approx(expected["pval"], rel=1e-9)


def test_kendalls_exact_distribution_is_that_of_all_permutations():
    x = np.arange(5.0)
    orders = [np.array(order, dtype=float) for order in permutations(range(5))]
    taus = np.array([kendall_tau(x, y)[0] for y in orders])
    for order in orders[::7]:
        tau, p, exact = kendall_tau(x, order)
        assert exact
        tail = min(np.mean(taus >= tau - 1e-9), np.mean(taus <= tau + 1e-9))
        assert p == pytest.approx(min(1.0, 2 * tail))


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize(
    ("key", "estimator", "model"),
    [("L0", "L0", "REML"), ("R0", "R0", "REML"), ("Q0", "Q0", "REML"), ("FE_L0", "L0", "EE")],
)
def test_trim_and_fill_agrees_with_metafor(make_design, metafor, name, key, estimator, model):
    expected = metafor(name)["bias"][f"trimfill_{key}"]
    result = fit_trimfill(make_design(name, levels=2), SPEC, estimator=estimator, model=model)
    after = result.table.iloc[1]
    assert result.numbers["k0"] == expected["k0"]
    assert expected["side"] in result.method
    assert [after["value"], after["se"], after["lower"], after["upper"]] == pytest.approx(
        [expected[key] for key in ("beta", "se", "ci_lb", "ci_ub")], rel=1e-4, abs=5e-6
    )
    if model == "REML":
        assert result.numbers["tau2"] == pytest.approx(expected["tau2"], rel=1e-3)
        assert result.numbers["k0_se"] == pytest.approx(expected["se_k0"], rel=1e-9)
    if estimator == "R0":
        assert result.numbers["k0_p"] == pytest.approx(expected["p_k0"], rel=1e-9)
    assert result.data["filled"].sum() == expected["k0"]
    assert len(result.data) == expected["k"]


def test_trim_and_fill_mirrors_the_data(make_design):
    design = make_design("molloy2014", levels=2)
    left = fit_trimfill(design, SPEC)
    right = fit_trimfill(replace(design, yi=-design.yi), SPEC)
    assert "missing on the left" in left.method
    assert "missing on the right" in right.method
    assert right.table["value"].to_numpy() == pytest.approx(-left.table["value"].to_numpy())


@pytest.mark.parametrize("name", ["kaiser2021", "konstantopoulos2011"])
@pytest.mark.parametrize("method", ["PET", "PEESE"])
def test_multilevel_pet_and_peese_agree_with_metafor_and_clubsandwich(
    make_design, metafor, name, method
):
    expected = metafor(name)["three_level"][method]
    result = fit_pet_peese(make_design(name), SPEC)
    table = result.table.set_index(["method", "parameter", "test"])
    for index, parameter in enumerate(("mu", "slope")):
        z = table.loc[(method, parameter, "Wald z")]
        assert [z["value"], z["se"], z["p"]] == pytest.approx(
            [expected[key][index] for key in ("beta", "se", "pval")], rel=1e-5
        )
        robust, tests = table.loc[(method, parameter, "CR2")], expected["CR"]["CR2"]["coef_test"]
        assert [robust["se"], robust["df"], robust["p"]] == pytest.approx(
            [tests[key][index] for key in ("SE", "df_Satt", "p_Satt")], rel=1e-5
        )


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize(("method", "key"), [("PET", "sei"), ("PEESE", "vi")])
def test_classical_pet_and_peese_are_the_limits_of_eggers_regression(
    make_design, metafor, name, method, key
):
    expected = metafor(name)["bias"][f"regtest_lm_{key}"]
    table = fit_pet_peese(make_design(name, levels=2), SPEC).table
    row = table.set_index(["method", "parameter", "test"]).loc[(method, "mu", "WLS t")]
    assert [row["value"], row["se"], row["p"]] == pytest.approx(
        [expected["coef"][0][0], expected["coef"][0][1], expected["coef"][0][3]], rel=1e-9
    )


def test_pet_peese_chooses_by_the_one_sided_test_in_the_expected_direction(make_design):
    design = make_design("molloy2014", levels=2)
    positive = fit_pet_peese(design, SPEC).table
    chosen = positive[positive["method"] == "PET-PEESE"].set_index("test")["choice"]
    # PET: t = 1.02 with 14 df (metafor, regtest_lm_sei), so not significant.
    assert chosen["WLS t"] == "PET"
    strong = make_design("konstantopoulos2011")
    table = fit_pet_peese(strong, SPEC).table
    row = table[(table["method"] == "PET-PEESE") & (table["test"] == "Wald z")].iloc[0]
    # PET: z = 2.23 (metafor), so the row is PEESE's.
    assert row["choice"] == "PEESE"
    assert row["value"] == pytest.approx(0.249058, abs=1e-6)
    negative = fit_pet_peese(strong, SPEC, direction="negative").table
    assert set(negative[negative["method"] == "PET-PEESE"]["choice"]) == {"PET"}


def test_funnel_contours_are_normal_quantiles(make_design):
    design = make_design("bcg", levels=2)
    fit = fit_reml(design, SPEC)
    result = funnel_contours(design, SPEC, fit)
    lines = result.data[result.data["sei"] > 0]
    ratio = (lines["upper"] - lines["lower"]) / 2 / lines["sei"]
    for level, z in ((0.90, 1.644854), (0.95, 1.959964), (0.99, 2.575829)):
        assert ratio[lines["level"] == level].to_numpy() == pytest.approx(z, abs=1e-6)
    z = np.abs(design.yi / np.sqrt(design.vi))
    assert (result.table["region"] == "beyond 99%").to_numpy().tolist() == (z > 2.575829).tolist()


def test_every_result_states_its_limits(make_design):
    design = make_design("konstantopoulos2011")
    checks = check_small_study(design, SPEC, fit_reml(design, SPEC))
    assert not checks.skipped
    for name, result in checks.results.items():
        assert len(result.limits) > 100
        assert result.limits in result._repr_html_()
        if name not in ("funnel", "pet_peese"):
            assert "56 effects come from 11 samples" in result.limits
    assert "56 effects come from 11 samples" in checks.selection["one_step"].limits
    assert checks.table["p"].notna().sum() >= 8
    assert "Selection model" in checks._repr_html_()


def test_what_cannot_be_computed_is_named_with_the_reason(make_design):
    design = make_design("bcg", levels=2)
    weak = replace(design, yi=0.01 * np.cos(np.arange(13.0)))
    checks = check_small_study(weak, SPEC, fit_reml(weak, SPEC))
    assert "no effect has a p-value of 0.025 or less" in checks.skipped["one_step"]
    assert "egger" in checks.results
    equal = replace(design, vi=np.full(13, 0.05))
    checks = check_small_study(equal, SPEC, fit_reml(equal, SPEC))
    for name in ("egger", "egger_mixed", "rank_test", "trimfill_L0", "pet_peese"):
        assert "all effects have the same sampling variance" in checks.skipped[name]
    moderated = make_design("bcg", levels=2, moderators=("cont",))
    with pytest.raises(EngineError, match="without moderators"):
        fit_egger(moderated, SPEC)
    few = make_design("bcg", levels=2)
    few = replace(
        few,
        yi=few.yi[:3],
        vi=few.vi[:3],
        X=few.X[:3],
        cluster=few.cluster[:3],
        cluster_names=few.cluster_names[:3],
        row_names=few.row_names[:3],
        n_averaged=few.n_averaged[:3],
        rows=few.rows[:3],
    )
    with pytest.raises(EngineError, match="3 effects are too few; this method needs 4"):
        fit_trimfill(few, SPEC)
