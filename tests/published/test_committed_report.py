"""The report in the repository and the numbers of each release: what the code gives now.

Everything of REML and the exact engine is computed anew but for multiverse and calibration, which
take a minute; `reanalysis verify reports/kaiser2021` computes those too.
"""

import json
import re
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reanalysis import load_reanalysis
from reanalysis.document import estimates_frame, to_document
from reanalysis.runner import run

ROOT = Path(__file__).parents[2]
SAVED = ROOT / "reports" / "kaiser2021"
RELEASES = sorted(Path(__file__).parent.glob("estimates-*.csv"))
NAMES = ("model", "parameter", "name", "id")
OF_NUTS = re.compile(r"/nuts|/agreement")
HEADLINE = ("three_level", "two_level", "published_reading")
RTOL = 1e-7  # same code on another processor: the last digits of sums may differ


@pytest.fixture(scope="module")
def saved() -> dict:
    return json.loads((SAVED / "results.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def fresh() -> dict:
    asked = load_reanalysis(ROOT / "models" / "kaiser2021.toml")
    asked = replace(asked, multiverse=(), calibration=None)
    return to_document(run(asked, engines=("reml", "exact")))


def numbers(part: object, path: str = "") -> dict[str, float]:
    """Return every number of a document by its path; rows of tables by what they are about."""
    found: dict[str, float] = {}
    if isinstance(part, dict):
        for key, value in part.items():
            found |= numbers(value, f"{path}/{key}")
    elif isinstance(part, (list, tuple)):
        kept = [v for v in part if not (isinstance(v, dict) and v.get("engine") == "nuts")]
        for i, value in enumerate(kept):
            names = [value.get(key, "") for key in NAMES] if isinstance(value, dict) else []
            found |= numbers(value, f"{path}/{' '.join(map(str, filter(None, names))) or i}")
    elif isinstance(part, (int, float)) and not isinstance(part, bool):
        found[path] = float(part)
    return found


def test_a_refit_gives_every_saved_number(saved: dict, fresh: dict) -> None:
    before, now = numbers(saved), numbers(fresh)
    assert len(now) > 10_000
    assert now.keys() - before.keys() == set()
    left = {path for path in before.keys() - now.keys() if not OF_NUTS.search(path)}
    # The sensitivity has a part that weights the draws of NUTS.
    assert {path.split("/")[1] for path in left} <= {"multiverse", "calibration", "sensitivity"}
    different = [
        f"{path}: {before[path]!r}, now {value!r}"
        for path, value in now.items()
        if "error" not in path and not np.isclose(value, before[path], rtol=RTOL, atol=1e-9)
    ]
    assert different == []


@pytest.mark.parametrize("file", RELEASES, ids=lambda file: file.stem)
def test_the_numbers_of_each_release_are_those_of_today(file: Path, fresh: dict) -> None:
    """A release whose numbers were wrong is corrected in its file, with the reason in the log."""
    columns = ["model", "engine", "parameter"]
    then = pd.read_csv(file).set_index(columns)
    now = estimates_frame(fresh).set_index(columns)
    assert len(then) > 100
    for name, row in then.iterrows():
        model, engine, parameter = name
        place = model, "exact" if engine == "nuts" else engine, parameter
        if engine == "nuts" and place not in now.index:
            continue  # the total of a model with one standard deviation
        today = now.loc[place]
        if engine == "nuts":
            assert abs(row["value"] - today["value"]) <= 4 * row["numerical_error"], name
            continue
        for key in ("value", "lower", "upper"):
            if np.isfinite(row[key]):
                assert row[key] == pytest.approx(today[key], rel=1e-5, abs=1e-7), (name, key)


def test_this_version_has_its_numbers_kept() -> None:
    assert f"estimates-{version('reanalysis')}" in {file.stem for file in RELEASES}


def test_the_saved_nuts_estimates_agree_with_the_exact_engine_of_today(
    saved: dict, fresh: dict
) -> None:
    for model in HEADLINE:
        exact = fresh["models"][model]["exact"]["estimates"]
        nuts = saved["models"][model]["nuts"]
        assert nuts["diagnostics"]["passed"]
        for name, e in nuts["estimates"].items():
            if name in exact:
                ratio = abs(e["mean"] - exact[name]["mean"]) / e["numerical_error"]
                assert ratio <= 4, f"{model}: {name} is {ratio:.1f} Monte-Carlo errors away"


def test_the_saved_report_was_made_from_the_saved_spec_and_data(saved: dict) -> None:
    assert saved["spec_text"] == (ROOT / "models" / "kaiser2021.toml").read_text(encoding="utf-8")
    package = json.loads((ROOT / "data" / "kaiser2021" / "datapackage.json").read_text())
    hashes = {entry["hash"].removeprefix("sha256:") for entry in package["resources"]}
    assert saved["data"]["sha256"] in hashes


def test_the_saved_page_prints_the_saved_headline(saved: dict) -> None:
    page = (SAVED / "report.html").read_text(encoding="utf-8")
    mu = saved["models"]["three_level"]["exact"]["estimates"]["mu"]
    printed = f"{np.tanh(mu['mean']):.2f}".removeprefix("0")
    words = " ".join(re.sub(r"<[^>]+>", " ", page).replace("\u00a0", " ").split())
    assert f"average correlation is r = {printed}" in words
