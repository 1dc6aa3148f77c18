"""From moderator columns to a design matrix: coding, centring, splitting, and what is odd."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reanalysis.dataset import Dataset
from reanalysis.design import Design, make_design, resolve_priors
from reanalysis.moderators import sum_to_zero
from reanalysis.moderators.formula import Piece, parse_terms
from reanalysis.priors import Prior
from reanalysis.spec import ModelSpec, SpecError

ROOT = Path(__file__).parents[1]
R = [0.1, 0.2, 0.3, 0.15, 0.25, 0.05, 0.4, 0.35]
TABLE = pd.DataFrame(
    {
        "r": R,
        "n": [40, 50, 60, 70, 80, 90, 100, 110],
        "study": ["a", "a", "b", "b", "c", "d", "e", "f"],
        "group": ["x", "x", "y", "y", "z", "z", "x", "y"],
        "mode": ["oral", "oral", "written", "written", "oral", "written", "oral", "written"],
        "year": [2001, 2001, 2003, 2003, 2010, 2004, 2006, 2008],
        "time": ["early", "late", "early", "late", "early", "early", "early", "early"],
        "dose": [1.0, 3.0, 2.0, 2.0, 4.0, 5.0, 1.0, 2.0],
    }
)


def design(
    spec: ModelSpec | None = None, frame: pd.DataFrame = TABLE, **settings: object
) -> Design:
    data = Dataset.from_frame(frame, ri="r", ni="n", sample="study")
    return make_design(data, spec or ModelSpec(name="m", **settings))


def refused(frame: pd.DataFrame = TABLE, **settings: object) -> str:
    with pytest.raises(SpecError) as error:
        design(frame=frame, **settings)
    return str(error.value)


# ---------------------------------------------------------------- coding


@pytest.mark.parametrize("count", [2, 3, 5, 9])
def test_any_two_levels_differ_by_the_prior_of_one_coefficient(count: int) -> None:
    basis = sum_to_zero(count)
    covariance = basis @ basis.T  # of the level effects, coefficients independent with variance 1
    for i in range(count):
        for j in range(i):
            assert covariance[i, i] + covariance[j, j] - 2 * covariance[i, j] == pytest.approx(1.0)
    assert covariance.sum(axis=0) == pytest.approx(np.zeros(count))
    assert np.ptp(np.diag(covariance)) == pytest.approx(0.0)  # exchangeable


def test_two_levels_have_one_column_which_is_their_difference() -> None:
    d = design(moderators=("mode",))
    assert d.coefficients == ("beta[intercept]", "beta[mode=written]")
    assert set(zip(d.moderators["mode"], d.X[:, 1], strict=True)) == {
        ("oral", -0.5),
        ("written", 0.5),
    }
    assert any("'mode' is the difference of 'written' from 'oral'" in note for note in d.notes)


def test_a_reference_gives_indicators_of_the_other_levels() -> None:
    d = design(moderators=("group",), reference={"group": "y"})
    assert d.coefficients == ("beta[intercept]", "beta[group=x]", "beta[group=z]")
    for level, column in (("x", 1), ("z", 2)):
        assert np.array_equal(d.X[:, column], d.moderators["group"] == level)
    assert any("compares each level with 'y'" in note for note in d.notes)


def test_every_coding_of_a_factor_spans_the_same_space() -> None:
    one = design(moderators=("group",)).X
    other = design(moderators=("group",), reference={"group": "z"}).X
    assert np.linalg.matrix_rank(np.hstack([one, other])) == 3


def test_a_number_is_zero_at_the_mean_of_the_samples_unless_the_spec_places_its_zero() -> None:
    by_sample = np.mean([2001, 2003, 2010, 2004, 2006, 2008])  # each sample once, not each row
    d = design(moderators=("year",))
    assert d.X[:, 1] == pytest.approx(d.moderators["year"] - by_sample)
    assert any(f"counted from {by_sample:.4g} (the mean of the samples)" in n for n in d.notes)
    moved = design(moderators=("year",), centring={"year": 2000})
    assert any("counted from 2000 (as the model states)" in note for note in moved.notes)
    assert moved.X[:, 1] == pytest.approx(moved.moderators["year"] - 2000)


def test_a_formula_means_the_same_as_a_list() -> None:
    listed = design(moderators=("year", "mode"))
    written = design(moderators=" ~ 1 + center(year)+mode ")
    assert listed.coefficients == written.coefficients
    assert np.array_equal(listed.X, written.X)


def test_c_makes_a_factor_of_a_number_with_its_levels_in_numerical_order() -> None:
    d = design(moderators="C(dose)", decompose=False)
    assert d.terms[0].variables[0].levels == ("1", "2", "3", "4", "5")
    assert d.p == 5


def test_an_interaction_is_the_product_of_its_codings() -> None:
    d = design(moderators="group + mode + group:mode", frame=crossed())
    product = d.factors["group:mode"]
    assert [d.coefficients[i] for i in product] == [
        "beta[group.1:mode=written]",
        "beta[group.2:mode=written]",
    ]
    for i, j in zip(product, d.factors["group"], strict=True):
        assert d.X[:, i] == pytest.approx(d.X[:, j] * d.X[:, d.factors["mode"][0]])


def crossed() -> pd.DataFrame:
    frame = pd.concat([TABLE, TABLE.assign(study=TABLE["study"] + "2")], ignore_index=True)
    frame["mode"] = ["oral"] * 8 + ["written"] * 8
    return frame


# ---------------------------------------------------------------- within and between samples


def test_a_moderator_that_varies_within_samples_is_split_with_a_warning_of_its_carriers() -> None:
    d = design(moderators=("time",))
    assert d.coefficients == (
        "beta[intercept]",
        "beta[time.between=late]",
        "beta[time.within=late]",
    )
    late = np.where(d.moderators["time"] == "late", 0.5, -0.5)
    for j in range(d.m):
        mine = d.cluster == j
        assert d.X[mine, 1] == pytest.approx(late[mine].mean())
        assert d.X[mine, 2].sum() == pytest.approx(0.0)
    assert d.X[:, 1] + d.X[:, 2] == pytest.approx(late)
    (note,) = (note for note in d.notes if "varies within samples" in note)
    assert "only 2 of 6 samples carry the within part (a, b)" in note


def test_the_mean_of_a_sample_counts_a_row_as_often_as_it_has_effects() -> None:
    frame = TABLE.assign(times=[3, 1, 1, 1, 1, 1, 1, 1])
    data = Dataset.from_frame(frame, ri="r", ni="n", sample="study", n_averaged="times")
    d = make_design(data, ModelSpec(name="m", moderators=("dose",), centring={"dose": 0}))
    assert d.X[:2, d.factors["dose.between"][0]] == pytest.approx((3 * 1.0 + 1 * 3.0) / 4)


def test_splitting_can_be_switched_off_and_says_what_the_slope_then_mixes() -> None:
    d = design(moderators=("time",), decompose=False)
    assert d.coefficients == ("beta[intercept]", "beta[time=late]")
    assert any("varies within 2 of 6 samples and enters as it is" in note for note in d.notes)


def test_a_moderator_that_varies_only_within_samples_has_no_between_part() -> None:
    frame = TABLE.iloc[:4].assign(time=["early", "late", "late", "early"])
    d = design(moderators=("time",), frame=frame)
    assert list(d.factors) == ["time.within"]


# ---------------------------------------------------------------- bad input, each by name


def test_a_constant_moderator_is_named_with_its_value() -> None:
    message = refused(TABLE.assign(mode="oral", year=2000), moderators=("mode", "year"))
    assert "moderator 'mode' is 'oral' in every row that the model uses; remove it" in message
    assert "moderator 'year' is 2000 in every row that the model uses; remove it" in message


def test_a_level_of_a_single_sample_is_named_and_the_model_still_runs() -> None:
    d = design(moderators=("group",), frame=TABLE.assign(group=list("xxyyzxyy")))
    (note,) = (note for note in d.notes if "Only one sample" in note)
    assert "'group' = z (c)" in note
    assert "the prior does the work" in note


def test_a_number_of_two_values_one_of_them_in_a_single_sample_is_named_too() -> None:
    d = design(moderators=("late",), frame=TABLE.assign(late=[0, 0, 0, 0, 1, 0, 0, 0]))
    assert any("'late' = 1 (c)" in note for note in d.notes)


def test_a_moderator_that_identifies_the_samples_is_refused() -> None:
    message = refused(moderators=("study",))
    assert "'study' has 6 levels in 6 samples" in message
    assert "names the samples" in message


def test_collinear_moderators_are_named_and_those_beside_them_are_not() -> None:
    frame = TABLE.assign(twice=2 * TABLE["year"] + 1)
    message = refused(frame, moderators=("mode", "year", "twice"))
    assert "the moderators year, twice are collinear on its 8 rows" in message
    assert "beta[mode" not in message


def test_more_coefficients_than_rows_are_counted() -> None:
    message = refused(TABLE.iloc[:3], moderators="year + dose + year:dose")
    assert "4 coefficients for 3 rows" in message


def test_rows_with_a_missing_moderator_are_dropped_in_that_model_only_and_counted() -> None:
    frame = TABLE.assign(mode=["oral", "oral", None, None, "oral", "written", None, "written"])
    d = design(moderators=("mode",), frame=frame)
    assert (d.k, d.m) == (5, 4)
    assert d.dropped == ("b: no mode", "b: no mode", "e: no mode")
    assert any("missing in 3 of 8 rows" in n and "4 of 6 samples remain" in n for n in d.notes)
    assert design(frame=frame).k == 8


def test_a_number_with_text_in_a_cell_is_refused_with_the_cell() -> None:
    frame = TABLE.assign(year=[*TABLE["year"].astype(str)[:-1], "ca 2008"])
    message = refused(frame, moderators=("year",))
    assert "'year' is numeric but for some cells" in message
    assert "'ca 2008'" in message


def test_an_unknown_column_in_a_formula_suggests_the_nearest() -> None:
    message = refused(moderators="mode + yeer")
    assert "no column 'yeer' for a moderator. Did you mean 'year'?" in message


def test_a_formula_in_brackets_is_told_how_formulas_are_written() -> None:
    message = refused(moderators=("mode + year",))
    assert "no column 'mode + year'" in message
    assert 'A formula stands without brackets: moderators = "mode + year".' in message


def test_an_interaction_without_its_moderators_says_what_that_means() -> None:
    notes = design(moderators="group + group:mode", frame=crossed()).notes
    assert any(
        "without mode alone" in note and "no difference on average" in note for note in notes
    )
    whole = design(moderators="group + mode + group:mode", frame=crossed()).notes
    assert not any("alone" in note for note in whole)


def test_every_fault_of_the_moderators_is_reported_at_once() -> None:
    message = refused(TABLE.assign(one=1, two="x"), moderators=("one", "two", "mode"))
    assert "'one' is 1" in message
    assert "'two' is 'x'" in message


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"reference": {"mode": "spoken"}}, "reference level 'spoken' of 'mode'"),
        ({"reference": {"moed": "oral"}}, "'reference' names 'moed', which is no moderator"),
        ({"centring": {"yaer": 2000}}, "Did you mean 'year'?"),
        ({"centring": {"mode": 1}}, "'mode' holds text"),
        ({"reference": {"year": "2001"}}, "write C(year) in a formula"),
    ],
)
def test_a_setting_that_fits_no_moderator_is_refused(
    settings: dict[str, object], words: str
) -> None:
    assert words in refused(moderators=("mode", "year"), **settings)


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("__import__('os')", "is not understood in the formula"),
        ("mode * year", "'mode * year' is not understood"),
        ("mode + mode", "'mode' is there twice"),
        ("mode:year + year:mode", "is there twice"),
        ("mode:mode", "a column times itself"),
        ("year + C(year):mode", "'year' is written in several ways"),
        ("center(mode)", "'mode' holds text"),
        ("0 + mode", "no column '0'"),
    ],
)
def test_a_formula_outside_the_whitelist_is_refused(formula: str, words: str) -> None:
    assert words in refused(moderators=formula)


def test_an_empty_formula_has_no_terms() -> None:
    assert parse_terms("~ 1", "model 'm'") == []
    assert parse_terms(("a",), "model 'm'") == [(Piece("a"),)]


# ---------------------------------------------------------------- priors of the coefficients


def priors(d: Design, given: dict[str, Prior], **settings: object) -> dict[str, Prior]:
    return dict(resolve_priors(d, ModelSpec(name="m", priors=given, **settings)))


def test_a_prior_per_comparison_is_per_two_standard_deviations_of_a_number() -> None:
    d = design(moderators=("year", "mode"))
    found = priors(d, {"beta": Prior("normal", {"sigma": 0.2})})
    sd = np.std([2001, 2003, 2010, 2004, 2006, 2008])
    assert found["beta[year]"].parameters["sigma"] == pytest.approx(0.2 / (2 * sd))
    assert found["beta[mode=written]"].parameters["sigma"] == 0.2
    assert "normal(mu=0, sigma=0.2) per comparison" in found["beta[year]"].rationale


def test_a_number_of_two_values_is_compared_from_one_to_the_other() -> None:
    d = design(moderators=("late",), frame=TABLE.assign(late=[0, 0, 3, 3, 0, 3, 0, 3]))
    found = priors(d, {"beta": Prior("normal", {"sigma": 0.3})})
    assert found["beta[late]"].parameters["sigma"] == pytest.approx(0.1)


def test_a_prior_by_name_is_in_the_units_of_its_column() -> None:
    d = design(moderators=("year", "group"))
    own, term = Prior("normal", {"sigma": 0.01}), Prior("normal", {"sigma": 0.1})
    found = priors(d, {"beta[year]": own, "beta[group]": term})
    assert found["beta[year]"] == own
    assert found["beta[group.1]"] == found["beta[group.2]"] == term


def test_a_common_scale_replaces_every_prior_but_the_intercepts() -> None:
    d = design(moderators=("year", "mode"))
    scale = Prior("half_normal", {"sigma": 0.15})
    found = priors(d, {"beta_scale": scale, "mu": Prior("normal", {"sigma": 0.4})})
    assert found["beta_scale"] == scale
    assert found["beta[intercept]"].parameters["sigma"] == 0.4
    assert found["beta[mode=written]"].parameters["sigma"] == 1.0


@pytest.mark.parametrize(
    ("given", "settings", "words"),
    [
        (
            {
                "beta_scale": Prior("half_normal", {"sigma": 1}),
                "beta": Prior("normal", {"sigma": 1}),
            },
            {},
            "sets both 'beta_scale' and 'beta'",
        ),
        ({"beta_scale": Prior("normal", {"sigma": 1})}, {}, "cannot be negative"),
        (
            {"beta_scale": Prior("half_normal", {"sigma": 1})},
            {"mechanism": "joint"},
            "selection models do not have",
        ),
        ({"beta[moed]": Prior("normal", {"sigma": 1})}, {}, "'beta[moed]'"),
        ({"beta": Prior("gamma", {"alpha": 1, "beta": 1})}, {}, "cannot be scaled"),
    ],
)
def test_a_prior_that_does_not_fit_the_moderators_is_refused(
    given: dict[str, Prior], settings: dict[str, object], words: str
) -> None:
    with pytest.raises(SpecError) as error:
        priors(design(moderators=("year", "mode")), given, **settings)
    assert words in str(error.value)


# ---------------------------------------------------------------- moderators of the heterogeneity


def test_a_scale_moderator_is_in_comparisons_and_needs_no_term_of_its_own() -> None:
    d = design(scale_moderator="year")
    assert d.coefficients == ("mu",)
    sd = np.std([2001, 2003, 2010, 2004, 2006, 2008])
    assert d.scale == pytest.approx((d.moderators["year"] - 2005.333333) / (2 * sd), abs=1e-6)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"scale_moderator": "group"}, "'group' has 3 levels"),
        ({"scale_moderator": "time"}, "'time' varies within samples"),
        ({"scale_moderator": "nope"}, "no column 'nope'"),
        ({"scale_moderator": "mode", "mechanism": "joint"}, 'goes with mechanism = "none" only'),
    ],
)
def test_a_scale_moderator_that_cannot_be_one_is_refused(
    settings: dict[str, object], words: str
) -> None:
    assert words in refused(**settings)
