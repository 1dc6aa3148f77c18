"""Leave-one-out analyses and residuals against metafor 3.8.1 (make_metafor38.R)."""

import numpy as np
import pytest

from reanalysis.design import Design
from reanalysis.frequentist import fit_reml, leave_one_out, standardised_residuals
from reanalysis.spec import ModelSpec

SPEC = ModelSpec(name="m")
DATA = ["kaiser2021", "konstantopoulos2011", "bcg", "molloy2014"]
COLUMNS = {
    "rstudent": "rstudent",
    "dffits": "dffits",
    "cook": "cook.d",
    "cov_ratio": "cov.r",
    "q": "QE.del",
}


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("moderators", [(), ("cont",)])
def test_two_level_influence_agrees_with_metafor(make_design, tight, name, moderators):
    answers = tight["two_level"][name]
    answers = answers["mod_cont"] if moderators else answers
    design = make_design(name, levels=2, moderators=moderators)
    fit = fit_reml(design, SPEC, details=False)
    influence = leave_one_out(design, SPEC, fit, unit="effect")
    expected, cases = answers["influence"], influence.cases
    for ours, theirs in COLUMNS.items():
        assert cases[ours].to_numpy() == pytest.approx(expected[theirs], rel=1e-8, abs=1e-11)
    assert cases["tau_between"].to_numpy() ** 2 == pytest.approx(
        expected["tau2.del"], rel=1e-8, abs=1e-11
    )
    dfbetas = influence.refits["dfbetas"].to_numpy().reshape(design.k, design.p)
    for column, theirs in zip(dfbetas.T, answers["dfbetas"].values(), strict=True):
        assert column == pytest.approx(theirs, rel=1e-8, abs=1e-11)
    effects, _ = standardised_residuals(design, SPEC, fit)
    assert effects["hat"].to_numpy() == pytest.approx(expected["hat"], rel=1e-10)
    if not moderators:
        assert effects["z"].to_numpy() == pytest.approx(answers["rstandard"]["z"], rel=1e-8)
        assert effects["se"].to_numpy() == pytest.approx(answers["rstandard"]["se"], rel=1e-8)


@pytest.mark.parametrize("name", DATA)
def test_leaving_out_each_study_agrees_with_metafors_leave1out(make_design, metafor, name):
    expected = metafor(name)["two_level"]["loo"]
    design = make_design(name, levels=2)
    fit = fit_reml(design, SPEC, details=False)
    influence = leave_one_out(design, SPEC, fit, unit="sample")
    refits, cases = influence.refits, influence.cases
    # metafor stops at a step of 1e-5 in tau2; the tight comparison is above.
    assert refits["value"].to_numpy() == pytest.approx(expected["estimate"], rel=2e-4)
    assert refits["se"].to_numpy() == pytest.approx(expected["se"], rel=4e-4)
    assert refits["lower"].to_numpy() == pytest.approx(expected["ci.lb"], abs=1e-4)
    assert cases["q"].to_numpy() == pytest.approx(expected["Q"], rel=1e-9)
    assert cases["q_p"].to_numpy() == pytest.approx(expected["Qp"], rel=1e-6)


@pytest.mark.parametrize(
    ("key", "moderators", "rho"),
    [("", (), 0.0), ("_cont", ("cont",), 0.0), ("_rho06", (), 0.6)],
)
@pytest.mark.parametrize("unit", ["effect", "sample"])
def test_three_level_influence_agrees_with_metafor(make_design, tight, key, moderators, rho, unit):
    expected = tight["three_level"][f"konstantopoulos2011{key}"]
    design = make_design("konstantopoulos2011", moderators=moderators)
    spec = ModelSpec(name="m", sampling_correlation=rho)
    fit = fit_reml(design, spec, details=False)
    influence = leave_one_out(design, spec, fit, unit=unit)
    # nlminb finds each of metafor's refits to about 1e-5 of a standard error.
    assert influence.cases["cook"].to_numpy() == pytest.approx(
        expected["cook"][unit], rel=1e-4, abs=1e-6
    )
    dfbetas = influence.refits["dfbetas"].to_numpy().reshape(-1, design.p)
    for column, theirs in zip(dfbetas.T, expected["dfbetas"][unit].values(), strict=True):
        assert column == pytest.approx(theirs, rel=1e-4, abs=1e-5)
    if unit == "effect":
        assert influence.cases["rstudent"].to_numpy() == pytest.approx(
            expected["rstudent"]["z"], rel=1e-5
        )
        effects, _ = standardised_residuals(design, spec, fit)
        assert effects["z"].to_numpy() == pytest.approx(expected["rstandard"]["z"], rel=1e-6)
        assert effects["hat"].to_numpy() == pytest.approx(expected["hat"], rel=1e-6)
    else:
        assert influence.cases["statistic"].to_numpy() == pytest.approx(
            expected["rstudent_sample"], rel=1e-5
        )
        _, samples = standardised_residuals(design, spec, fit)
        samples = samples.set_index("sample").loc[expected["samples"]]
        assert samples["statistic"].to_numpy() == pytest.approx(
            expected["rstandard_sample"], rel=1e-6
        )


def test_a_refit_without_a_sample_is_the_fit_of_the_others(make_design):
    design = make_design("konstantopoulos2011")
    fit = fit_reml(design, SPEC, details=False)
    influence = leave_one_out(design, SPEC, fit)
    keep = design.cluster != 3
    rest = Design(
        yi=design.yi[keep],
        vi=design.vi[keep],
        X=design.X[keep],
        coefficients=design.coefficients,
        cluster=np.unique(design.cluster[keep], return_inverse=True)[1],
        cluster_names=tuple(n for j, n in enumerate(design.cluster_names) if j != 3),
        row_names=tuple(np.array(design.row_names)[keep].tolist()),
    )
    other = fit_reml(rest, SPEC, details=False)
    row, case = influence.refits.iloc[3], influence.cases.iloc[3]
    assert row["omitted"] == design.cluster_names[3]
    assert row["value"] == pytest.approx(other.coef[0], rel=1e-10)
    assert case["tau_between"] ** 2 == pytest.approx(other.tau2_between, rel=1e-9)
    assert case["rows"] == 4


def test_a_refit_that_is_not_possible_is_listed_with_the_reason(make_design):
    only_first = np.zeros(13)
    only_first[0] = 1.0
    design = make_design("bcg", levels=2, columns={"first": only_first})
    fit = fit_reml(design, SPEC, details=False)
    influence = leave_one_out(design, SPEC, fit, unit="effect")
    assert "beta[first] are a linear combination" in influence.cases.loc[0, "note"]
    assert influence.cases["note"].isna().sum() == 12
    assert "0" not in set(influence.refits["omitted"])
    assert "beta[first]" in influence._repr_html_()
