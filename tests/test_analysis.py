"""A run from a spec to its results document, with the engines that need no sampler."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import reanalysis as ra
from reanalysis.document import estimates_frame, to_document
from reanalysis.results import EngineError
from reanalysis.runner import run
from reanalysis.spec import SpecError

FAST = ("reml", "exact")
ROOT = Path(__file__).parents[1]

CSV = """author,r,n,late
Ito,.20,54,no
Diaz,.31,80,yes
Moe,.08,120,no
Sun,.15,44,yes
Roy,.27,61,no
"""
SPEC = """
title = "Five samples"
[data]
path = "alliance.csv"
[data.columns]
ri = "r"
ni = "n"
label = "author"
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    (tmp_path / "alliance.csv").write_text(CSV)
    path = tmp_path / "alliance.toml"
    path.write_text(SPEC)
    return path


def test_a_bare_csv_with_a_few_lines_of_spec_gets_the_default_model(spec: Path) -> None:
    analysis = run(spec, engines=FAST)
    assert list(analysis.models) == ["two_level"]
    result = analysis.models["two_level"]
    assert (result.design.k, result.design.m) == (5, 5)
    assert set(result.priors) == {"mu", "tau_between"}
    assert all(prior.rationale for prior in result.priors.values())
    assert result.skipped == {"nuts": "not asked for"}


def test_a_csv_alone_runs_with_its_columns_guessed(spec: Path) -> None:
    analysis = run(spec.with_suffix(".csv"), engines=("reml",))
    assert analysis.models["two_level"].design.row_names == ("Ito", "Diaz", "Moe", "Sun", "Roy")
    assert any("guessed" in note for note in analysis.data.notes)


def test_several_effects_of_a_sample_make_three_levels_by_default(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("study,es_id,r,n\na,1,.2,50\na,2,.3,50\nb,3,.1,80\nc,4,.2,60\n")
    analysis = run(path, engines=("reml",))
    assert list(analysis.models) == ["three_level", "three_level_correlated"]
    assert analysis.models["three_level"].design.m == 3


def test_the_document_is_plain_json_without_a_null_or_a_nan(spec: Path) -> None:
    document = to_document(run(spec, engines=FAST))
    text = json.dumps(document, allow_nan=False)
    assert "null" not in text
    assert document["contract"] == 1
    assert document["data"]["k"] == 5
    model = document["models"]["two_level"]
    assert set(model["exact"]["estimates"]["mu"]) >= {
        "mean",
        "sd",
        "median",
        "lower",
        "upper",
        "numerical_error",
    }
    assert set(model["reml"]["estimates"]["mu"]) >= {"value", "se", "lower", "upper", "p"}
    assert model["skipped"] == {"nuts": "not asked for"}
    assert model["exact"]["bayes_factors"]["mu"] == pytest.approx(
        np.exp(model["exact"]["log_bayes_factors"]["mu"])
    )


def test_the_same_run_gives_the_same_document(spec: Path) -> None:
    one, other = (json.dumps(to_document(run(spec, engines=FAST))) for _ in range(2))
    assert one == other


def test_estimates_come_with_their_back_transformation(spec: Path) -> None:
    table = estimates_frame(to_document(run(spec, engines=FAST)))
    row = table[(table["engine"] == "exact") & (table["parameter"] == "mu")].iloc[0]
    assert row["value_back"] == pytest.approx(np.tanh(row["value"]))
    tau = table[(table["engine"] == "exact") & (table["parameter"] == "tau_between")].iloc[0]
    assert np.isnan(tau["value_back"])


def test_an_engine_that_cannot_answer_gives_its_reason_and_the_others_go_on(
    spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise EngineError("the quadrature did not settle")

    monkeypatch.setattr("reanalysis.analysis.fit_exact", refuse)
    result = run(spec, engines=FAST).models["two_level"]
    assert result.exact is None
    assert result.skipped["exact"] == "the quadrature did not settle"
    assert result.reml is not None


def test_a_model_may_name_its_own_engines(spec: Path) -> None:
    spec.write_text(SPEC + '\n[[model]]\nname = "only_reml"\nengines = ["reml"]\n')
    result = run(spec, engines=FAST).models["only_reml"]
    assert result.exact is None
    assert result.skipped["exact"] == "left out by the model"


def test_unknown_engines_and_models_are_named_with_the_choices(spec: Path) -> None:
    with pytest.raises(SpecError, match="unknown engine 'stan'; engines are reml, exact, nuts"):
        run(spec, engines=("stan",))
    with pytest.raises(SpecError, match=r"no model 'three'.*two_level"):
        run(spec, models=("three",))


def test_faults_of_all_models_are_listed_together(spec: Path) -> None:
    spec.write_text(
        SPEC
        + '\n[[model]]\nname = "a"\nmoderators = ["lat"]\n'
        + '\n[[model]]\nname = "b"\nexclude = { author = ["Nobody"] }\n'
    )
    with pytest.raises(SpecError) as caught:
        run(spec, engines=FAST)
    text = str(caught.value)
    assert "no column 'lat'" in text and "Did you mean 'late'?" in text
    assert "no row holds 'Nobody'" in text


def test_data_outside_the_project_needs_permission(tmp_path: Path) -> None:
    outside, inside = tmp_path / "elsewhere.csv", tmp_path / "project" / "models"
    inside.mkdir(parents=True)
    outside.write_text(CSV)
    path = inside / "x.toml"
    path.write_text(SPEC.replace("alliance.csv", "../../elsewhere.csv"))
    with pytest.raises(SpecError, match="--allow-outside"):
        run(path, engines=("reml",))
    assert run(path, engines=("reml",), allow_outside=True).data.k == 5


def test_a_smaller_share_of_rows_is_another_model_not_another_data_set(spec: Path) -> None:
    spec.write_text(SPEC + '\n[[model]]\nname = "early"\nexclude = { late = ["yes"] }\n')
    analysis = run(spec, engines=("reml",))
    assert analysis.models["early"].design.k == 3
    assert analysis.data.k == 5


def test_the_python_names_of_the_contract_work_together() -> None:
    spec = ra.load_reanalysis(ROOT / "models" / "kaiser2021.toml")
    data = ra.load_dataset(ROOT / "data" / "kaiser2021")
    design = ra.make_design(data, spec.models["three_level"])
    reml, exact = (f(design, spec.models["three_level"]) for f in (ra.fit_reml, ra.fit_exact))
    table = ra.compare(reml, exact)
    assert table.loc["mu", "exact"] == exact.estimates["mu"].value
    assert "k = 27 effects" in repr(design)
    assert "<table" in exact._repr_html_()


def test_a_frame_is_as_good_as_a_file() -> None:
    import pandas as pd

    frame = pd.DataFrame({"r": [0.2, 0.3, 0.1], "n": [50, 60, 70], "who": ["a", "b", "b"]})
    data = ra.Dataset.from_frame(frame, measure="ZCOR", ri="r", ni="n", sample="who")
    assert (data.k, data.m) == (3, 2)
    np.testing.assert_allclose(data.table["yi"], np.arctanh([0.2, 0.3, 0.1]))
    assert replace(data, name="other").name == "other"
