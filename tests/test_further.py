"""What a run adds to its models: in results.json, in the report, verified, and resumed."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import reanalysis as ra
from reanalysis.claims import ledger
from reanalysis.document import to_document
from reanalysis.exact import fit_exact
from reanalysis.plan import plan
from reanalysis.report import render_html
from reanalysis.robustness import verdicts_by_prior_width
from reanalysis.verification import verify_folder

PARTS = ("ladder", "multiverse", "calibration", "sensitivity", "predictive")
TABLE = """sample,r,n
a,.12,60
a,.18,60
b,.10,90
c,.15,120
d,.08,80
e,.14,70
f,.62,150
"""
TOML = """
seed = 7
[data]
path = "t.csv"
direction = "positive"
[rope]
lower = -0.1
upper = 0.1
[[model]]
name = "three"
[[model]]
name = "two"
levels = 2
[[claim]]
id = "overall"
text = "There is an association."
model = "three"
published = { estimate = 0.2, lower = 0.1, upper = 0.3, scale = "r" }
[[ladder]]
name = "printed"
published = { estimate = 0.2, lower = 0.1, upper = 0.3, scale = "r" }
[[ladder]]
name = "here"
interval = "bayes"
[[multiverse]]
name = "rho"
options = [{ name = "0" }, { name = ".5", sampling_correlation = 0.5 }]
[calibration]
replicates = 40
"""


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("further")
    (folder / "t.csv").write_text(TABLE)
    (folder / "s.toml").write_text(TOML)
    return folder / "s.toml"


@pytest.fixture(scope="module")
def finished(spec: Path) -> Path:
    out = spec.parent / "out"
    ra.run(spec, ("reml", "exact"), out=out)
    return out


def test_every_part_arrives_in_the_results_and_in_the_report(finished: Path) -> None:
    document = json.loads((finished / "results.json").read_text())
    html = (finished / "report.html").read_text()
    for part in PARTS:
        assert document[part], part
        assert f'<section id="{part}"' in html
    assert "skipped" not in document
    assert "null" not in (finished / "results.json").read_text().replace("null_", "")


def test_a_finished_run_verifies_with_all_its_parts(finished: Path) -> None:
    found = verify_folder(finished)
    assert found.ok, found.differences[:5]
    assert found.numbers > 500


def test_an_edited_number_of_a_part_is_found_and_shown(finished: Path) -> None:
    document = json.loads((finished / "results.json").read_text())
    before = render_html(document)
    document["sensitivity"]["samples"][0]["estimate"] = 0.987654
    document["ladder"]["steps"][1]["estimate"] = 0.4321
    after = render_html(document)
    assert "0.756" in after or ".756" in after  # tanh(0.987654)
    ladders = [html.split('id="ladder"')[1].split("</section>")[0] for html in (before, after)]
    assert [".432" in ladder for ladder in ladders] == [False, True]


def test_a_second_run_goes_on_from_the_fits_that_were_kept(spec: Path, finished: Path) -> None:
    kept = {f.name: f.read_text() for f in (finished / "fits").glob("*.jsonl")}
    assert len(kept) == 2
    universes = next(f for f in (finished / "fits").glob("universes-*.jsonl"))
    lines = universes.read_text().splitlines()
    universes.write_text("\n".join(lines[:1]) + "\n")  # as if the run had been stopped
    ra.run(spec, ("reml", "exact"), out=finished)
    assert sorted(universes.read_text().splitlines()) == sorted(lines)


def test_without_the_exact_engine_each_part_says_why_it_is_absent(spec: Path) -> None:
    document = to_document(ra.run(spec, ("reml",)))
    assert set(document["skipped"]) == set(PARTS)
    assert all("exact engine" in reason for reason in document["skipped"].values())
    html = render_html(document)
    assert "Asked for, but not computed" in html


def test_a_run_of_some_models_leaves_the_long_parts_to_the_whole_spec(spec: Path) -> None:
    document = to_document(ra.run(spec, ("exact",), models=("two",)))
    assert set(document["skipped"]) == {"ladder", "multiverse", "calibration"}
    assert document["sensitivity"]["model"] == "two"


def test_the_sample_that_carries_a_verdict_is_named(finished: Path) -> None:
    document = json.loads((finished / "results.json").read_text())
    (row,) = document["sensitivity"]["verdicts"]
    entry = next(c for c in document["claims"] if c["id"] == "overall")
    assert row["verdict"] == entry["verdict"]
    assert row["samples"] == 6
    shifts = {r["sample"]: r["shift"] for r in document["sensitivity"]["samples"]}
    assert max(shifts, key=lambda s: abs(shifts[s])) == "f"
    assert row["changes"] == len(row["without"])


def test_evidence_at_another_prior_width_is_a_refit_with_that_prior(spec: Path) -> None:
    planned = plan(spec)
    three = planned.models["three"]
    model = ra.run(spec, ("exact",), models=("three",)).models["three"]
    entries = ledger(planned.asked.claims, {"three": model})
    table = verdicts_by_prior_width(
        planned.models, planned.asked.claims, {e.claim.id: e for e in entries}
    )
    prior = ra.Prior("normal", {"mu": 0.0, "sigma": 0.25})
    refit = fit_exact(
        three.design, ra.ModelSpec(name="three", priors={**three.spec.priors, "mu": prior})
    )
    expected = refit.bayes_factors["mu"]
    assert table["log_bayes_factor_half"].iloc[0] == pytest.approx(expected, abs=2e-4)


def test_large_tables_say_that_samples_are_not_left_out() -> None:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"yi": rng.normal(0.2, 0.2, 320), "vi": np.full(320, 0.02)})
    data = ra.Dataset.from_frame(frame, measure="ZCOR", yi="yi", vi="vi")
    from reanalysis.results import EngineError
    from reanalysis.sensitivity import leave_samples_out

    with pytest.raises(EngineError, match="320 samples"):
        leave_samples_out(data, ra.ModelSpec(name="m"))
