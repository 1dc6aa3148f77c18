"""The multiverse: decisions in the spec, universes, conclusions, storage and spreading."""

import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import distributed
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from reanalysis.cli import main
from reanalysis.dataset import Dataset
from reanalysis.design import make_design
from reanalysis.exact import fit_exact
from reanalysis.multiverse import conclude, expand, pair, resolve_axes, run_multiverse, vary
from reanalysis.multiverse.fitting import Fit, fit_key
from reanalysis.plan import plan
from reanalysis.plots.specification_curve import (
    _thinned,
    describe_specification_curve,
    plot_specification_curve,
)
from reanalysis.priors import Prior
from reanalysis.spec import Axis, ModelSpec, Rope, SpecError
from reanalysis.spec_file import parse_reanalysis
from reanalysis.spread import Tally, read_lines, spread
from reanalysis.terminal import watch_fits


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(3)
    sample = np.repeat(np.arange(1, 11), [1, 2, 1, 3, 1, 2, 1, 1, 2, 1])
    frame = pd.DataFrame(
        {
            "r": np.round(rng.normal(0.25, 0.12, len(sample)), 3),
            "r_other": np.round(rng.normal(0.15, 0.12, len(sample)), 3),
            "n": rng.integers(30, 120, len(sample)),
            "study": sample,
            "risk": np.where(sample % 3 == 0, "high", "low"),
        }
    )
    return Dataset.from_frame(frame, measure="ZCOR", ri="r", ni="n", sample="study")


@pytest.fixture
def model() -> ModelSpec:
    return ModelSpec(
        name="headline",
        priors={
            "mu": Prior("normal", {"mu": 0.0, "sigma": 0.5}),
            "tau": Prior("half_normal", {"sigma": 0.25}),
            "between_share": Prior("beta", {"alpha": 1.0, "beta": 1.0}),
        },
    )


@pytest.fixture
def axes() -> tuple[Axis, ...]:
    return parse_reanalysis(
        """
[data]
path = "x.csv"
[[multiverse]]
name = "data"
title = "Which correlations"
options = [{ name = "main" }, { name = "other", columns = { ri = "r_other" } }]
[[multiverse]]
name = "rho"
options = [{ name = "0" }, { name = ".7", sampling_correlation = 0.7 }]
[[multiverse]]
name = "levels"
options = [{ name = "three" }, { name = "two", levels = 2 }]
[[multiverse]]
name = "priors"
options = [
  { name = "stated" },
  { name = "parts", priors.tau_between = HALF, priors.tau_within = HALF },
]
""".replace("HALF", '{ family = "half_normal", sigma = 0.2 }'),
        name="x",
    ).multiverse


def test_axes_that_are_kept_apart_are_not_crossed(
    data: Dataset, model: ModelSpec, axes: tuple[Axis, ...]
) -> None:
    apart = (*axes[:3], replace(axes[3], apart_from=("data", "rho")))
    chosen = [tuple(u.options.values()) for u in expand(data, model, apart)]
    assert len(chosen) == 8 + 2  # other priors go with both levels only
    assert {c[:2] for c in chosen if c[3] == "parts"} == {("main", "0")}


def test_the_number_of_universes_is_the_product_of_the_options(
    data: Dataset, model: ModelSpec, axes: tuple[Axis, ...]
) -> None:
    universes = expand(data, model, axes)
    assert len(universes) == 16
    assert universes[0].spec.priors.keys() == model.priors.keys()
    assert all(u.design is not None for u in universes)
    assert universes[0].options == {
        "data": "main",
        "rho": "0",
        "levels": "three",
        "priors": "stated",
    }


def test_universes_that_read_the_data_alike_share_their_design(
    data: Dataset, model: ModelSpec, axes: tuple[Axis, ...]
) -> None:
    universes = expand(data, model, axes)
    assert len({id(u.design) for u in universes}) == 4  # two readings times two and three levels


def test_a_correlation_within_samples_needs_samples_with_several_effects(
    data: Dataset, model: ModelSpec
) -> None:
    def keys(model: ModelSpec) -> set[str]:
        pairs = (pair(data, replace(model, sampling_correlation=rho)) for rho in (0.0, 0.7))
        return {fit_key(Fit(design, spec)) for design, spec in pairs}

    assert len(keys(model)) == 2
    single = ("1", "3", "5", "7", "8", "10")
    assert len(keys(replace(model, include={"study": single}))) == 1


def test_the_first_case_takes_every_decision_that_its_data_allow() -> None:
    case = plan("kaiser2021")
    model = case.asked.models["three_level"]
    axes = resolve_axes(case.data, model, case.asked.multiverse)
    options = {axis.name: [dict(option.settings) for option in axis.options] for axis in axes}
    mechanisms = ["joint", "replace", "study", "pet", "peese"]
    assert [o.get("mechanism") for o in options["mechanism"]] == [None, *mechanisms]
    assert [o.get("sampling_correlation", 0.0) for o in options["dependence"]] == [0, 0.5, 0.7, 0.9]
    assert len(options["left_out"]) == 1 + 25
    universes = expand(case.data, model, axes)
    assert [u.fault for u in universes if u.fault] == []
    alone = {
        (axis, option): u.design
        for u in universes
        for axis, option in u.options.items()
        if sum(o != axes[i].options[0].name for i, o in enumerate(u.options.values())) == 1
        and option != next(a for a in axes if a.name == axis).options[0].name
    }
    # n of the samples in which the tables differ, 16 and 24; and the mean n of 19 and 21.
    headline, one = universes[0].design, alone["reading", "Table 1, r and n"]
    mean = alone["reading", "Table 2, n averaged over effects"]
    assert headline is not None and one is not None and mean is not None

    def moved(other: Any) -> list[str]:
        rows = np.flatnonzero(headline.ni != other.ni)
        return [headline.cluster_names[headline.cluster[row]] for row in rows]

    assert moved(one) == ["16", "24"]
    assert moved(mean) == ["19", "21"]
    sizes = {key: design.m for key, design in alone.items() if design is not None}
    # Negative judgements of Table 2, counted there by hand.
    assert sizes["risk_of_bias", "incomplete outcome data"] == 25 - 14
    assert sizes["risk_of_bias", "selective reporting"] == 25 - 8
    assert sizes["risk_of_bias", "other bias"] == 25 - 6
    without_zeros, two = alone["zeros", "left out"], alone["levels", "none, two levels"]
    assert without_zeros is not None and two is not None
    assert (headline.k, without_zeros.k, two.levels) == (27, 25, 2)


def test_each_universe_has_the_numbers_of_its_own_exact_fit(
    data: Dataset, model: ModelSpec, axes: tuple[Axis, ...]
) -> None:
    result = run_multiverse(data, model, axes)
    for universe, (_, row) in zip(
        expand(data, model, axes), result.universes.iterrows(), strict=True
    ):
        assert universe.design is not None
        posterior = fit_exact(universe.design, universe.spec)
        mu = posterior.estimates["mu"]
        assert mu.sd is not None
        assert row["estimate"] == pytest.approx(mu.value, abs=1e-3 * mu.sd)
        assert row["lower"] == pytest.approx(mu.lower, abs=1e-3 * mu.sd)
        assert row["log_bayes_factor"] == pytest.approx(posterior.bayes_factors["mu"], abs=1e-3)
        assert row["log_marginal_likelihood"] == pytest.approx(
            posterior.log_marginal_likelihood, abs=1e-3
        )
        x, density = posterior.densities["mu"]
        positive = np.trapezoid(np.where(x > 0, density, 0), x) / np.trapezoid(density, x)
        assert row["probability_positive"] == pytest.approx(positive, abs=5e-3)


def test_priors_that_do_not_apply_are_dropped_and_the_total_stays(
    data: Dataset, model: ModelSpec
) -> None:
    _, spec = pair(data, vary(model, {"levels": 2}))
    assert spec.priors.keys() == {"mu", "tau"}
    parts = vary(
        model,
        {
            "priors": {
                n: Prior("half_normal", {"sigma": 0.2}) for n in ("tau_between", "tau_within")
            }
        },
    )
    assert parts.priors.keys() == {"mu", "tau_between", "tau_within"}
    assert vary(parts, {"priors": {"tau": model.priors["tau"]}}).priors.keys() == {"mu", "tau"}


def test_leaving_out_adds_to_the_filters_that_are_there(data: Dataset, model: ModelSpec) -> None:
    once = vary(model, {"exclude": {"risk": ("high",), "study": ("1",)}})
    twice = vary(once, {"exclude": {"study": ("2",)}})
    assert twice.exclude == {"risk": ("high",), "study": ("1", "2")}
    assert make_design(data, twice).m == 5


def test_leave_out_gives_one_universe_per_value_and_one_with_all(
    data: Dataset, model: ModelSpec
) -> None:
    (axis,) = resolve_axes(data, model, [Axis(name="loo", leave_out="study")])
    assert [option.name for option in axis.options[:3]] == ["none", "without 1", "without 2"]
    result = run_multiverse(data, model, [axis])
    assert result.universes["m"].tolist() == [10.0] + [9.0] * 10
    with pytest.raises(SpecError, match="column 'nowhere'"):
        resolve_axes(data, model, [Axis(name="loo", leave_out="nowhere")])


def test_a_universe_that_cannot_be_fitted_is_reported_and_the_rest_goes_on(
    data: Dataset, model: ModelSpec
) -> None:
    axis = Axis(
        name="odd",
        options=[
            {"name": "headline"},
            {"name": "no rows", "include": {"risk": ["unheard of"]}},
            {"name": "heavy", "priors": {"mu": {"family": "cauchy", "sigma": 0.5}}},
            {"name": "other", "columns": {"ri": "r_other"}},
        ],
    )
    result = run_multiverse(data, model, [axis])
    assert result.failed == 2
    errors = result.universes["error"].tolist()
    assert "no row holds 'unheard of'" in errors[1]
    assert "normal priors only" in errors[2]
    assert np.isfinite(result.universes["estimate"].iloc[3])
    assert result.options["failed"].tolist() == [0, 1, 1, 0]
    assert json.loads(json.dumps(result.document(), allow_nan=False))["failed"] == 2


def test_conclusions_follow_the_stated_rule() -> None:
    rope = Rope(lower=-0.1, upper=0.1)
    assert conclude(0.01, 0.2, None, "ZCOR") == "positive"
    assert conclude(-0.2, -0.01, None, "ZCOR") == "negative"
    assert conclude(-0.1, 0.1, None, "ZCOR") == "unclear"
    assert conclude(0.01, 0.2, rope, "ZCOR") == "positive"
    assert conclude(0.12, 0.2, rope, "ZCOR") == "substantial"
    assert conclude(0.01, 0.09, rope, "ZCOR") == "negligible"
    # tanh(.1003) is below .1: the region is stated on r, the interval on z.
    assert conclude(0.1003, 0.2, rope, "ZCOR") == "positive"
    assert conclude(0.1003, 0.2, rope, "SMD") == "substantial"


def test_the_map_finds_the_decision_that_changes_the_conclusion() -> None:
    rng = np.random.default_rng(1)
    k = 12
    frame = pd.DataFrame(
        {"strong": 0.4, "none": 0.0, "n": rng.integers(40, 60, k), "study": np.arange(k)}
    )
    data = Dataset.from_frame(frame, measure="ZCOR", ri="strong", ni="n", sample="study")
    axes = [
        Axis(name="rho", options=[{"name": "0"}, {"name": ".5", "sampling_correlation": 0.5}]),
        Axis(name="data", options=[{"name": "a"}, {"name": "b", "columns": {"ri": "none"}}]),
    ]
    result = run_multiverse(data, ModelSpec(name="m"), axes)
    decisions = result.decisions.set_index("axis")
    assert decisions.index.tolist() == ["data", "rho"]
    assert decisions.loc["data", ["comparisons", "changes_conclusion"]].tolist() == [2, 2]
    assert decisions.loc["rho", "changes_conclusion"] == 0
    assert decisions.loc["rho", "largest_shift"] == pytest.approx(0, abs=1e-9)
    options = result.options.set_index(["axis", "option"])
    assert options.loc[("data", "a"), "same_conclusion"] == 1
    assert options.loc[("data", "b"), "same_conclusion"] == 0
    assert options.loc[("rho", "0"), "same_conclusion"] == 0.5


def test_faults_of_the_axes_are_named() -> None:
    def faults(text: str) -> str:
        with pytest.raises(SpecError) as caught:
            parse_reanalysis('[data]\npath = "x"\n[[multiverse]]\nname = "a"\n' + text, name="x")
        return str(caught.value)

    assert "did you mean 'sampling_correlation'" in faults(
        'options = [{ name = "b", sampling_corelation = 0.5 }]'
    )
    assert "below 1, not 1.5" in faults('options = [{ name = "b", sampling_correlation = 1.5 }]')
    assert "give either 'options', or 'leave_out'" in faults("")
    assert "the option 'b' is there twice" in faults('options = [{ name = "b" }, { name = "b" }]')


def test_too_many_universes_are_refused_before_any_work(data: Dataset, model: ModelSpec) -> None:
    axes = [Axis(name=f"a{i}", options=[{"name": str(j)} for j in range(10)]) for i in range(6)]
    with pytest.raises(SpecError, match="1,000,000 universes are more than"):
        run_multiverse(data, model, axes)
    with pytest.raises(SpecError, match="no \\[\\[multiverse\\]\\]"):
        run_multiverse(data, model, [])


def test_the_specification_curve_says_the_same_from_a_document(
    data: Dataset, model: ModelSpec, axes: tuple[Axis, ...]
) -> None:
    result = run_multiverse(data, model, axes)
    document = json.loads(json.dumps(result.document()))
    assert describe_specification_curve(result) == describe_specification_curve(document)
    assert "16 combinations of 4 decisions" in describe_specification_curve(result)
    figure = plot_specification_curve(document)
    assert len(figure.axes[0].child_axes) == 2


def test_a_thinned_specification_curve_keeps_what_is_rare_and_the_headline() -> None:
    rare = [399, 1777]
    universes = pd.DataFrame(
        {
            "axis": ["rare" if i in rare else "usual" for i in range(2000)],
            "estimate": np.random.default_rng(1).normal(size=2000),
            "conclusion": "positive",
        }
    )
    shown = _thinned(universes, {"axis": ("usual", "rare")})
    assert {0, *rare} <= set(shown.index)
    assert len(shown) <= 603


def double(job: int) -> Mapping[str, Any]:
    return {"value": 2 * job, "process": os.getpid()}


def slow(job: int) -> Mapping[str, Any]:
    time.sleep(0.1)
    return double(job)


def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    store = tmp_path / "results.jsonl"
    jobs = {str(i): i for i in range(250)}
    first = spread(double, {k: jobs[k] for k in list(jobs)[:120]}, store=store)
    lines = store.read_text().splitlines(keepends=True)
    store.write_text("".join(lines[:100]) + lines[100][:9])  # killed within a line
    done: list[str] = []

    def record(job: int) -> Mapping[str, Any]:
        done.append(str(job))
        return double(job)

    tallies: list[Tally] = []
    results = spread(record, jobs, store=store, watcher=tallies.append)
    assert done == [str(i) for i in range(100, 250)]
    assert list(results) == list(jobs)
    assert results["3"] == first["3"]
    assert [r["value"] for r in results.values()] == [2 * i for i in range(250)]
    assert read_lines(store).keys() == jobs.keys()
    assert (tallies[0].done, tallies[-1].done, tallies[-1].total) == (100, 250, 250)
    assert tallies[-1].seconds_left == 0


@pytest.mark.parametrize("terminal", [True, False])
def test_many_fits_have_a_bar_on_a_terminal_and_lines_elsewhere_with_the_time_left(
    terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, write = os.openpty() if terminal else os.pipe()
    raw = b""
    with os.fdopen(write, "w") as stream:
        monkeypatch.setattr("sys.stderr", stream)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr("reanalysis.terminal.TOLD_EVERY", 0.0)
        with watch_fits("universes") as watcher:
            for done in (0, 30, 60):
                watcher(Tally(done, 120, 1, done / 10, 9.0 if done else 0.0))
                time.sleep(0.06)
            patience = time.monotonic() + 20
            while b"60 of 120" not in raw and time.monotonic() < patience:
                raw += os.read(read, 65536)  # the bar moves ten times a second
    shown = raw.decode(errors="replace")
    if terminal:
        assert "universes" in shown
        assert "60 of 120" in shown
        assert re.search(r"0:00:0\d", shown)
        assert "\x1b[" in shown
    else:
        assert shown.splitlines()[-1] == "60 of 120, 1 failed, about 9 s left"


def test_a_failed_job_is_tried_again_by_the_next_run(tmp_path: Path) -> None:
    store = tmp_path / "results.jsonl"
    spread(lambda job: {"error": "no"}, {"a": 1}, store=store)
    assert spread(lambda job: {"value": job}, {"a": 1}, store=store) == {"a": {"value": 1}}


def test_a_worker_that_is_killed_loses_nothing_and_one_that_always_dies_only_its_own(
    tmp_path: Path,
) -> None:
    killed = tmp_path / "killed"

    # Nested, so that it is sent by value: the workers cannot import a test.
    def task(job: int) -> Mapping[str, Any]:
        if job == 7 and not killed.exists():
            killed.touch()
            os._exit(1)
        if job == 399:
            os._exit(1)
        return {"value": 2 * job, "process": os.getpid()}

    jobs = {str(i): i for i in range(400)}
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}):
        results = spread(task, jobs, scheduler="local")
    failed = {key for key, record in results.items() if "error" in record}
    assert killed.exists()
    assert failed == {"399"}
    assert "worker" in results["399"]["error"]
    assert [results[str(i)]["value"] for i in range(399)] == [2 * i for i in range(399)]
    assert os.getpid() not in {results[str(i)]["process"] for i in range(399)}


def test_a_scheduler_that_goes_away_is_told_and_the_next_run_goes_on(tmp_path: Path) -> None:
    store, jobs = tmp_path / "results.jsonl", {str(i): i for i in range(40)}
    with distributed.LocalCluster(
        n_workers=1, processes=False, dashboard_address=":0", protocol="tcp://"
    ) as cluster:

        def close(tally: Tally) -> None:
            if tally.done == 3:
                cluster.close()

        with pytest.raises(OSError, match="the Dask scheduler went away"):
            spread(
                slow,
                jobs,
                store=store,
                scheduler=cluster.scheduler_address,
                seconds=1.0,
                watcher=close,
            )
    kept = read_lines(store)
    assert 3 <= len(kept) < len(jobs)
    done: list[int] = []

    def record(job: int) -> Mapping[str, Any]:
        done.append(job)
        return double(job)

    assert spread(record, jobs, store=store).keys() == jobs.keys()
    assert len(done) == len(jobs) - len(kept)


def test_the_multiverse_is_the_same_on_a_cluster(
    data: Dataset, model: ModelSpec, axes: tuple[Axis, ...]
) -> None:
    here = run_multiverse(data, model, axes)
    there = run_multiverse(data, model, axes, scheduler="local")
    pd.testing.assert_frame_equal(here.universes, there.universes, rtol=1e-9)


SPEC = """
[data]
path = "table.csv"
[data.columns]
ri = "r"
ni = "n"
sample = "study"
[[model]]
name = "two"
[[multiverse]]
name = "rho"
options = [{ name = "0" }, { name = "heavy", priors.mu = { family = "cauchy", sigma = 1.0 } }]
"""


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    rows = "\n".join(f"{i},{0.1 + 0.02 * i:.2f},{40 + i}" for i in range(8))
    (tmp_path / "table.csv").write_text(f"study,r,n\n{rows}\n")
    path = tmp_path / "spec.toml"
    path.write_text(SPEC)
    return path


def test_the_command_multiverse_writes_what_it_prints_and_flags_failures(spec_file: Path) -> None:
    out = spec_file.parent / "out"
    done = CliRunner().invoke(main, ["multiverse", str(spec_file), "--out", str(out), "--json"])
    assert done.exit_code == 3  # one universe has no method
    document = json.loads(done.stdout)
    assert json.loads((out / "multiverse.json").read_text()) == document
    assert document["failed"] == 1
    assert "normal priors only" in document["universes"][1]["error"]
    assert (out / "multiverse.svg").read_text().startswith("<svg")


def test_the_command_calibrate_prints_the_coverage_of_each_interval(spec_file: Path) -> None:
    out = spec_file.parent / "out"
    command = ["calibrate", str(spec_file), "--replicates", "60", "--out", str(out)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    for method in ("Bayes, exact", "Wald z", "Knapp-Hartung", "CR2"):
        assert method in done.stdout
    document = json.loads((out / "two.json").read_text())
    assert document["replicates"] == 60
    wrong = spec_file.with_name("wrong.toml")
    settings = 'name = "two"\nmechanism = "joint"\nsampling_correlation = 0.5'
    wrong.write_text(SPEC.replace('name = "two"', settings))
    refused = CliRunner().invoke(main, ["calibrate", str(wrong), "--out", str(out)])
    assert refused.exit_code == 2
    assert "need independent sampling errors" in refused.stderr
