"""Where data meet model: rows, levels, filters, priors, and the record itself."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from reanalysis.dataset import Dataset
from reanalysis.design import Design, make_design, resolve_priors
from reanalysis.priors import Prior
from reanalysis.spec import ModelSpec, SpecError

TABLE = pd.DataFrame(
    {
        "r": [0.1, 0.2, 0.3, 0.15, 0.25],
        "n": [40, 50, 60, 70, 80],
        "study": ["b", "a", "b", "c", "a"],
        "arm": [1, 1, 2, 1, 2],
    }
)


def dataset(frame: pd.DataFrame = TABLE, **roles: str) -> Dataset:
    return Dataset.from_frame(frame, **({"ri": "r", "ni": "n", "sample": "study"} | roles))


def test_rows_are_ordered_by_sample_and_remember_their_place_in_the_table() -> None:
    d = make_design(dataset(), ModelSpec(name="m"))
    assert d.cluster_names == ("b", "a", "c")
    assert d.cluster.tolist() == [0, 0, 1, 1, 2]
    assert d.rows.tolist() == [0, 2, 1, 4, 3]
    assert d.yi == pytest.approx(np.arctanh(TABLE["r"].to_numpy()[d.rows]))
    assert d.starts.tolist() == [0, 2, 4]


def test_moderators_follow_their_rows_when_these_are_reordered() -> None:
    d = make_design(dataset(), ModelSpec(name="m", moderators=("arm",), decompose=False))
    assert d.moderators["arm"].tolist() == TABLE["arm"].to_numpy()[d.rows].tolist()
    assert d.X[:, 1] == pytest.approx(d.moderators["arm"] - np.mean([1.5, 1.5, 1.0]))


def test_levels_are_three_where_a_sample_has_several_rows_or_averages() -> None:
    assert make_design(dataset(), ModelSpec(name="m")).levels == 3
    alone = TABLE.assign(study=list("abcde"))
    assert make_design(dataset(alone), ModelSpec(name="m")).levels == 2
    averaged = dataset(alone.assign(times=[1, 1, 2, 1, 1]), n_averaged="times")
    assert make_design(averaged, ModelSpec(name="m")).levels == 3
    with pytest.raises(SpecError, match="set levels = 2"):
        make_design(dataset(alone), ModelSpec(name="m", levels=3))


def test_include_and_exclude_compare_numbers_as_numbers() -> None:
    kept = make_design(dataset(), ModelSpec(name="m", include={"arm": ("1",)}))
    assert kept.k == 3
    rest = make_design(dataset(), ModelSpec(name="m", exclude={"arm": (1.0,)}))
    assert rest.k == 2


def test_levels_means_and_missing_values_are_judged_on_the_rows_that_a_filter_keeps() -> None:
    frame = TABLE.assign(mode=["x", "y", "x", "x", "y"])
    spec = ModelSpec(name="m", moderators=("arm",), exclude={"study": ("c",)}, decompose=False)
    assert make_design(dataset(), spec).X[:, 1].mean() == pytest.approx(0.0)
    with pytest.raises(SpecError, match="'mode' is 'x' in every row"):
        make_design(
            dataset(frame), ModelSpec(name="m", moderators=("mode",), include={"study": ("b", "c")})
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vi": np.array([0.1, 0.1])}, "vi has shape"),
        ({"yi": np.array([0.1, np.nan, 0.1])}, "must be finite"),
        ({"vi": np.array([0.1, 0.0, 0.1])}, "positive and finite"),
        ({"n_averaged": np.array([1.0, 0.5, 1.0])}, "n_averaged must be 1 or more"),
        ({"cluster": np.array([0, 1, 0])}, "sorted"),
        ({"levels": 4}, "levels must be 2 or 3"),
    ],
)
def test_a_design_that_makes_no_sense_cannot_be_made(
    change: dict[str, object], message: str
) -> None:
    d = small()
    with pytest.raises(ValueError, match=message):
        replace(d, **change)


def test_the_arrays_of_a_design_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        small().yi[0] = 1.0


def small(**changes: object) -> Design:
    fields = {
        "yi": np.array([0.1, 0.3, 0.2]),
        "vi": np.array([0.02, 0.03, 0.01]),
        "X": np.ones((3, 1)),
        "coefficients": ("mu",),
        "cluster": np.array([0, 0, 1]),
        "cluster_names": ("a", "b"),
        "row_names": ("1", "2", "3"),
    }
    return Design(**(fields | changes))


def test_rescaled_rows_have_the_likelihood_of_unequal_heterogeneity() -> None:
    z, ratio, tau2_between, tau2_within = np.array([-0.5, -0.5, 0.5]), 0.8, 0.05, 0.02
    V = np.array([[0.02, 0.01, 0.0], [0.01, 0.03, 0.0], [0.0, 0.0, 0.01]])
    d = small(scale=z, V=V)
    same = d.cluster[:, None] == d.cluster
    c = np.exp(ratio * z)
    direct = V + (same * tau2_between + tau2_within * np.eye(3)) * np.outer(c, c)
    scaled = d.rescaled(ratio)
    assert scaled.V is not None
    plain = scaled.V + same * tau2_between + tau2_within * np.eye(3)
    expected = stats.multivariate_normal(np.zeros(3), direct).logpdf(d.yi)
    found = stats.multivariate_normal(np.zeros(3), plain).logpdf(scaled.yi) - np.log(c).sum()
    assert found == pytest.approx(expected, rel=1e-12)


# ---------------------------------------------------------------- priors


def test_correlations_have_default_priors_and_other_measures_must_state_theirs() -> None:
    spec = ModelSpec(name="m")
    found = resolve_priors(make_design(dataset(), spec), spec)
    assert set(found) == {"mu", "tau", "between_share"}
    other = Dataset.from_frame(
        pd.DataFrame({"g": [0.1, 0.2, 0.4], "v": [0.1, 0.1, 0.2]}), measure="SMD", yi="g", vi="v"
    )
    with pytest.raises(SpecError, match="measure SMD has no default priors; state mu, tau"):
        make_design(other, spec)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tua": "half_normal"}, "sets 'tua'.*did you mean 'tau'"),
        ({"tau_between": "half_normal"}, "sets 'tau_between' but not 'tau_within'"),
        ({"tau": "half_normal", "tau_between": "half_normal"}, "sets both 'tau_between'"),
        ({"tau": "normal"}, "'tau' cannot be negative"),
        ({"between_share": "half_normal"}, r"'between_share' lies in \[0, 1\]"),
    ],
)
def test_priors_that_do_not_fit_the_model_are_refused(given: dict[str, str], message: str) -> None:
    priors = {name: Prior(family, {"sigma": 0.3}) for name, family in given.items()}
    with pytest.raises(SpecError, match=message):
        make_design(dataset(), ModelSpec(name="m", priors=priors))
