"""The report in the repository: its numbers are what the code gives now."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from reanalysis.document import to_document
from reanalysis.runner import run

ROOT = Path(__file__).parents[2]
SAVED = ROOT / "reports" / "kaiser2021"
HEADLINE = ("three_level", "two_level", "published_reading")
RTOL = 1e-7  # same code on another processor: the last digits of sums may differ


@pytest.fixture(scope="module")
def saved() -> dict:
    return json.loads((SAVED / "results.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def fresh() -> dict:
    analysis = run(ROOT / "models" / "kaiser2021.toml", engines=("reml", "exact"), models=HEADLINE)
    return to_document(analysis)


def numbers(part: object, path: str = "") -> dict[str, float]:
    """Return every number of a document by its path."""
    if isinstance(part, dict):
        found: dict[str, float] = {}
        for key, value in part.items():
            found |= numbers(value, f"{path}/{key}")
        return found
    if isinstance(part, (int, float)) and not isinstance(part, bool):
        return {path: float(part)}
    return {}


@pytest.mark.parametrize("model", HEADLINE)
@pytest.mark.parametrize("engine", ["reml", "exact"])
def test_a_refit_gives_every_saved_estimate(
    saved: dict, fresh: dict, model: str, engine: str
) -> None:
    parts = ["estimates", "log_marginal_likelihood", "log_bayes_factors", "q", "loglik"]
    for part in parts:
        before = numbers(saved["models"][model][engine].get(part, {}))
        now = numbers(fresh["models"][model][engine].get(part, {}))
        assert before.keys() == now.keys()
        for path, value in before.items():
            if "numerical_error" not in path:
                assert now[path] == pytest.approx(value, rel=RTOL, abs=1e-9), f"{part}{path}"


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
