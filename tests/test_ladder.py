"""The ladder from the published number to ours."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reanalysis.exact import fit_exact
from reanalysis.frequentist import fit_reml
from reanalysis.ladder import climb
from reanalysis.plan import plan
from reanalysis.spec import Rope, Rung, SpecError
from reanalysis.spec_file import parse_reanalysis

CASE = Path(__file__).parents[1] / "models" / "kaiser2021.toml"
PUBLISHED = {"estimate": 0.203, "lower": 0.141, "upper": 0.263, "scale": "r"}
RUNGS = (
    Rung(name="published", published=PUBLISHED),
    Rung(name="reproduced", model="published_reading", interval="wald"),
    Rung(name="estimand", change={"estimand": "mean", "composites": "collapse"}),
    Rung(name="dependence", change={"sampling_correlation": 0.6}),
    Rung(name="small_sample", interval="cr2"),
    Rung(name="prior", interval="bayes"),
)


@pytest.fixture(scope="module")
def case():
    return plan(CASE)


def test_the_changes_add_up_exactly_to_the_difference(case) -> None:
    steps = climb(case.data, case.asked.models, RUNGS).steps
    total = math.fsum(steps["change"])
    assert total == pytest.approx(steps["estimate"].iloc[-1] - 0.203, abs=1e-15)
    assert steps["change"].iloc[0] == 0


def test_each_rung_is_the_fit_of_its_own_model(case) -> None:
    steps = climb(case.data, case.asked.models, RUNGS).steps.set_index("step")
    published = case.models["published_reading"]
    reml = fit_reml(published.design, published.spec, details=False)
    assert steps.loc["reproduced", "estimate"] == pytest.approx(np.tanh(reml.coef[0]), abs=1e-12)
    # The published analysis, from 45 rows: r = .203 with interval .141 to .263.
    assert steps.loc["reproduced", "estimate"] == pytest.approx(0.203, abs=0.01)
    assert steps.loc["dependence", "estimate"] == steps.loc["small_sample", "estimate"]
    assert steps.loc["small_sample", "change"] == 0
    assert steps.loc["small_sample", "upper"] > steps.loc["dependence", "estimate"]
    spec = case.models["three_level"]
    last = fit_exact(spec.design, replace(spec.spec, sampling_correlation=0.6))
    assert steps.loc["prior", "estimate"] == pytest.approx(np.tanh(last.estimates["mu"].value))


def test_a_change_of_the_conclusion_is_marked(case) -> None:
    rope = Rope(lower=-0.15, upper=0.15)
    rungs = (
        *RUNGS[:2],
        Rung(name="vague", interval="bayes", change={"include": {"sample": (1, 2)}}),
    )
    steps = climb(case.data, case.asked.models, rungs, rope=rope).steps
    assert steps["conclusion"].tolist() == ["positive", "positive", "unclear"]
    assert steps["conclusion_changed"].tolist() == [False, False, True]


def test_a_rung_that_cannot_be_fitted_says_so_and_the_next_is_compared_with_the_last(case) -> None:
    heavy = {"priors": {"mu": {"family": "cauchy", "sigma": 1.0}}}
    mild = {"priors": {"mu": {"family": "normal", "sigma": 1.0}}}
    rungs = (
        *RUNGS[:2],
        Rung(name="heavy", interval="bayes", change=heavy),
        Rung(name="mild", change=mild),
    )
    ladder = climb(case.data, case.asked.models, rungs)
    steps = ladder.steps
    assert "normal priors only" in steps["error"].iloc[2]
    assert steps["change"].iloc[3] == steps["estimate"].iloc[3] - steps["estimate"].iloc[1]
    assert (
        json.loads(json.dumps(ladder.document(), allow_nan=False))["steps"][2]["estimate"] is None
    )


def test_a_faulty_ladder_is_named() -> None:
    text = '[data]\npath = "x"\n[[model]]\nname = "a"\n[[ladder]]\nname = "p"\n'
    with pytest.raises(SpecError, match="belongs to the first rung"):
        parse_reanalysis(text, name="x")
    text += "published = { estimate = 0.2 }\n"
    with pytest.raises(SpecError, match="which is not defined"):
        parse_reanalysis(text + '[[ladder]]\nname = "q"\nmodel = "b"\n', name="x")
    with pytest.raises(SpecError, match="needs the published number and at least one more"):
        climb(None, {}, parse_reanalysis(text, name="x").ladder)  # type: ignore[arg-type]
