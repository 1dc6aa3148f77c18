"""A fit that misses its gate is nowhere a result: on no terminal, in no table, for no claim."""

import base64
import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pymc as pm
import pytest
from click.testing import CliRunner, Result

from reanalysis import nuts
from reanalysis.cli import main
from reanalysis.design import Design
from reanalysis.nuts import SamplerSettings, fit_nuts
from reanalysis.priors import Prior
from reanalysis.results import Diagnostics, Estimate, Posterior
from reanalysis.spec import ModelSpec

SPEC = """
title = "T"
[data]
path = "t.csv"
[[model]]
name = "m"
[[claim]]
id = "c"
text = "r = .2"
source = "p. 1"
model = "m"
parameter = "mu"
asserts = "low_heterogeneity"
published = { estimate = 0.2, lower = 0.1, upper = 0.3, scale = "r" }
"""
TABLE = "study,r,n\nLee,.2,30\nKim,.3,40\nCho,.1,50\nRoy,.25,35\n"
# Every number of the failed fit, at any precision from two digits; .6508 is its tanh.
MARK = 0.77654321
MARKS = re.compile(r"(?<![\d.])0?\.(78|77[67]\d*|65|65[01]|6508\d*)(?!\d)")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text(TABLE)
    (tmp_path / "s.toml").write_text(SPEC)
    return tmp_path


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def failed_posterior() -> Posterior:
    """A fit that missed its gate, every number of it marked."""
    numbers = {
        name: Estimate(name, MARK, MARK, MARK, MARK, median=MARK, numerical_error=MARK / 1000)
        for name in ("mu", "tau_between", "tau", "new_sample", "new_effect", "mean_r")
    }
    effects = pd.DataFrame(
        {"row": list("abcd"), "sample": list("abcd"), "yi": [0.2] * 4}
        | {key: [MARK] * 4 for key in ("mean", "sd", "lower", "upper")}
    )
    diagnostics = Diagnostics(
        1.2, 90.0, 80.0, 0, 0.9, False, ("R-hat 1.200 of mu is above 1.01",), sampler={"chains": 4}
    )
    return Posterior("nuts", numbers, effects=effects, diagnostics=diagnostics)


def shown(page: str) -> str:
    """Return what a report shows, and the tables it carries; not its results.json, which flags."""
    carried = re.findall(r'href="data:text/[a-z]+;charset=utf-8;base64,([^"]+)"', page)
    tables = [base64.b64decode(content).decode() for content in carried]
    return "\n".join([re.sub(r'(href|src)="data:[^"]*"', "", page), *tables])


@pytest.mark.parametrize("engines", [("nuts",), ("reml", "nuts"), ("exact", "nuts")], ids=str)
def test_no_number_of_a_failed_fit_is_shown_anywhere(
    project: Path, monkeypatch: pytest.MonkeyPatch, engines: tuple[str, ...]
) -> None:
    fit = failed_posterior()
    monkeypatch.setattr("reanalysis.output.load_or_fit", lambda *_, **__: fit)
    options = [word for engine in engines for word in ("--engine", engine)]
    result = invoke("run", "s.toml", "--out", "o", *options)
    assert result.exit_code == 3, (result.output, result.exception)
    assert "NOT CONVERGED" in result.stdout
    assert "R-hat 1.200 of mu is above 1.01" in result.stdout
    page = shown((project / "o" / "report.html").read_text())
    assert "Not converged" in page
    estimates = (project / "o" / "estimates.csv").read_text()
    assert "nuts" not in {row["engine"] for row in csv.DictReader(io.StringIO(estimates))}
    document = json.loads((project / "o" / "results.json").read_text())
    saved = document["models"]["m"].pop("nuts")
    assert saved["diagnostics"]["passed"] is False
    assert MARKS.search(json.dumps(saved))  # the only place, under `passed: false`
    (claim,) = document["claims"]
    if "exact" not in engines:
        assert claim["verdict"] == "cannot be checked from the published data"
        assert "bayes" not in claim
    for place, text in {
        "terminal": result.stdout,
        "report": page,
        "estimates": estimates,
        "rest of the results": json.dumps(document),
        "notebook": fit._repr_html_(),
    }.items():
        assert not MARKS.search(text), place


@pytest.mark.nuts
def test_too_few_draws_are_tried_again_flagged_and_gated_anew_when_read_back(
    project: Path,
) -> None:
    text = SPEC.replace("[data]", "sampler = { chains = 2, tune = 100, draws = 100 }\n[data]")
    (project / "s.toml").write_text(text)
    arguments = ("run", "s.toml", "--out", "o", "--engine", "nuts")
    first = invoke(*arguments)
    assert first.exit_code == 3, (first.output, first.exception)
    assert "NUTS missed its gate (" in first.stderr
    assert "once more with 200 tuning and 200 kept draws" in first.stderr
    again = invoke(*arguments)
    assert again.exit_code == 3
    assert "used again" in again.stderr
    for result in (first, again):
        assert "NUTS 0" not in result.stdout
        assert "NOT CONVERGED" in result.stdout
        assert "ESS" in result.stdout
    diagnostics = json.loads((project / "o" / "results.json").read_text())["models"]["m"]["nuts"][
        "diagnostics"
    ]
    assert diagnostics["passed"] is False
    assert diagnostics["sampler"]["attempts"] == 2
    assert "ESS" in diagnostics["sampler"]["first_attempt"]


@pytest.mark.nuts
def test_a_funnel_that_is_not_reparameterised_fails_the_gate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Eight schools with the effects as parameters, drawn around mu with standard deviation tau."""
    yi = np.array([28.0, 8, -3, 7, -1, 1, 18, 12]) / 10
    sei = np.array([15.0, 10, 16, 11, 9, 11, 10, 18]) / 10
    design = Design(
        yi=yi,
        vi=sei**2,
        X=np.ones((8, 1)),
        coefficients=("mu",),
        cluster=np.arange(8),
        cluster_names=tuple("abcdefgh"),
        row_names=tuple("abcdefgh"),
        levels=2,
    )
    priors = {
        "mu": Prior("normal", {"sigma": 0.5}),
        "tau_between": Prior("half_normal", {"sigma": 0.5}),
    }

    def centred(*_: object) -> pm.Model:
        with pm.Model() as model:
            data = {name: pm.Data(name, value) for name, value in {"yi": yi, "sei": sei}.items()}
            mu = pm.Normal("mu", 0, 0.5)
            tau = pm.HalfNormal("tau_between", 0.5)
            pm.Deterministic("tau", tau)
            theta = pm.Normal("effects", mu, tau, shape=8)
            pm.Potential(
                "log_likelihood", pm.logp(pm.Normal.dist(theta, data["sei"]), data["yi"]).sum()
            )
        return model

    monkeypatch.setattr(nuts, "_compiled", {})
    monkeypatch.setattr(nuts, "build_model", centred)
    monkeypatch.setattr(nuts, "model_data", lambda *_: {"yi": yi, "sei": sei})
    normal = Prior("normal", {"sigma": 1.0})
    free = {name: (prior,) for name, prior in priors.items()} | {"effects": (normal,) * 8}
    monkeypatch.setattr(nuts, "free_parameters", lambda *_: free)
    told: list[str] = []
    fit = fit_nuts(
        design,
        ModelSpec("funnel", priors=priors),
        settings=SamplerSettings(tune=200, draws=300),
        tell=told.append,
    )
    assert fit.diagnostics is not None
    assert not fit.passed
    assert fit.diagnostics.sampler["attempts"] == 2
    assert "missed its gate" in told[0]
    failures = "; ".join(fit.diagnostics.failures)
    assert re.search(r"diverg|R-hat|E-BFMI", failures), failures
