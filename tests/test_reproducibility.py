"""The same run gives the same bytes, wherever and whenever; what it was made of travels along."""

import json
import os
import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from reanalysis.versions import PACKAGES

TABLE = "study,r,n\nLee,.2,30\nKim,.3,40\nCho,.1,50\nRoy,.25,35\nZoë,.15,60\n"
SPEC = """
title = "The same again"
seed = 5
sampler = { tune = 300, draws = 400 }
[data]
path = "t.csv"
[[model]]
name = "m"
[[model]]
name = "selected"
mechanism = "joint"
steps = [0.025]
engines = ["exact"]
"""
WRITTEN = ("report.html", "results.json", "estimates.csv")
TIME = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:|\b\d\d:\d\d:\d\d\b")


def run(folder: Path, *, core: int | None = None, **environment: str) -> Path:
    """Run in a process of its own, in a folder of its own."""
    folder.mkdir()
    (folder / "t.csv").write_text(TABLE, encoding="utf-8")
    (folder / "s.toml").write_text(SPEC, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "reanalysis", "run", "s.toml", "--out", "o"],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
    )
    assert done.returncode in (0, 3), done.stderr
    return folder / "o"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("run") / "one", PYTHONHASHSEED="1", TZ="UTC")


@pytest.mark.nuts
def test_the_same_run_elsewhere_gives_the_same_bytes_on_one_core_as_on_all(
    finished: Path, tmp_path: Path
) -> None:
    core = min(os.sched_getaffinity(0))
    again = run(
        tmp_path / "another name",
        core=core,
        PYTHONHASHSEED="2",
        TZ="Asia/Tokyo",
        LC_ALL="C",
    )
    for name in WRITTEN:
        assert (again / name).read_bytes() == (finished / name).read_bytes(), name
    for name in ("inputs/spec.toml", "inputs/data/t.csv"):
        assert (again / name).read_bytes() == (finished / name).read_bytes(), name


@pytest.mark.nuts
def test_the_time_is_in_a_file_of_its_own(finished: Path) -> None:
    for name in WRITTEN:
        text = re.sub(r'="data:[^"]*"', "", (finished / name).read_text(encoding="utf-8"))
        assert not TIME.search(text), name
    record = json.loads((finished / "run.json").read_text())
    assert TIME.match(record["started"])
    assert record["seconds"] > 0


@pytest.mark.nuts
def test_versions_data_hash_spec_and_seed_travel_with_the_result(finished: Path) -> None:
    document = json.loads((finished / "results.json").read_text(encoding="utf-8"))
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert document["versions"].keys() == {"python", *PACKAGES}
    assert document["data"]["sha256"] == sha256(TABLE.encode()).hexdigest()
    assert document["spec_text"] == SPEC
    assert document["seed"] == 5
    for name, number in document["versions"].items():
        assert number in page, name
    assert document["data"]["sha256"] in page
    assert "title = &#34;The same again&#34;" in page
    record = json.loads((finished / "run.json").read_text())
    for name in (*WRITTEN, "inputs/spec.toml", "inputs/data/t.csv"):
        assert record["sha256"][name] == sha256((finished / name).read_bytes()).hexdigest()
