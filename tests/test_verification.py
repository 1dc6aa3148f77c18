"""`reanalysis verify`: an untouched run verifies, and every edit is named."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import reanalysis as ra
from reanalysis.cli import main
from reanalysis.verification import verify_folder

TABLE = "study,r,n\nLee,.2,30\nKim,.3,40\nCho,.1,50\nRoy,.25,35\n"
SPEC = """
title = "T"
sampler = { tune = 300, draws = 400 }
[data]
path = "t.csv"
[[model]]
name = "m"
[[claim]]
id = "c"
text = "r = .2"
source = "p. 1"
model = "m"
published = { estimate = 0.2, lower = 0.1, upper = 0.3, scale = "r" }
"""


def finish(folder: Path, *engines: str) -> Path:
    (folder / "t.csv").write_text(TABLE)
    (folder / "s.toml").write_text(SPEC)
    ra.run(folder / "s.toml", engines, out=folder / "o")
    (folder / "t.csv").unlink()  # the output folder stands on its own
    (folder / "s.toml").unlink()
    return folder / "o"


@pytest.fixture(scope="module")
def without_nuts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finish(tmp_path_factory.mktemp("run"), "reml", "exact")


@pytest.fixture(scope="module")
def with_nuts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finish(tmp_path_factory.mktemp("run"), "exact", "nuts")


@pytest.fixture
def run(without_nuts: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(without_nuts, tmp_path / "o"))


@pytest.fixture
def sampled(with_nuts: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(with_nuts, tmp_path / "o"))


def verify(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["verify", str(folder), *options])


def edit(path: Path, change: Callable[[dict], None]) -> None:  # type: ignore[type-arg]
    """Edit a JSON file, and its hash in run.json, as a careful forger would."""
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def forge_hashes(folder: Path) -> None:
    from hashlib import sha256

    def change(record: dict) -> None:  # type: ignore[type-arg]
        for name in record["sha256"]:
            record["sha256"][name] = sha256((folder / name).read_bytes()).hexdigest()

    edit(folder / "run.json", change)


def test_an_untouched_run_verifies_from_its_folder_alone(run: Path) -> None:
    result = verify(run)
    assert result.exit_code == 0, result.output
    assert "numbers computed again" in result.stdout
    assert verify_folder(run).numbers > 100


def test_verification_changes_nothing(run: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    verify(run)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_verification_for_machines(run: Path) -> None:
    (run / "estimates.csv").write_text("x\n")
    result = verify(run, "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == 1
    assert document["ok"] is False
    assert {entry["file"] for entry in document["differences"]} == {"estimates.csv"}


@pytest.mark.parametrize("name", ["results.json", "estimates.csv", "report.html"])
def test_one_edited_digit_is_named_wherever_it_is(run: Path, name: str) -> None:
    text = (run / name).read_text(encoding="utf-8")
    number = re.search(r"0\.\d{2,}", text)
    assert number is not None
    last = number.end() - 1
    digit = "2" if text[last] == "1" else "1"
    (run / name).write_text(text[:last] + digit + text[last + 1 :], encoding="utf-8")
    result = verify(run)
    assert result.exit_code == 1
    assert f"DIFFERS  {name}: changed after the run" in result.stdout


def test_an_edited_result_is_found_and_named_even_with_forged_hashes(run: Path) -> None:
    def change(document: dict) -> None:  # type: ignore[type-arg]
        document["models"]["m"]["reml"]["estimates"]["mu"]["value"] += 0.001

    edit(run / "results.json", change)
    forge_hashes(run)
    result = verify(run)
    assert result.exit_code == 1
    assert "results.json: models.m.reml.estimates.mu.value: 0." in result.stdout


@pytest.mark.parametrize("name", ["estimates.csv", "report.html"])
def test_an_edited_table_or_report_is_found_even_with_forged_hashes(run: Path, name: str) -> None:
    text = (run / name).read_text(encoding="utf-8")
    assert "0.1" in text
    (run / name).write_text(text.replace("0.1", "0.2", 1), encoding="utf-8")
    forge_hashes(run)
    result = verify(run)
    assert result.exit_code == 1
    assert f"DIFFERS  {name}: line " in result.stdout


def test_an_edited_archived_table_is_found(run: Path) -> None:
    path = run / "inputs" / "data" / "t.csv"
    path.write_text(TABLE.replace(".3", ".4"))
    result = verify(run)
    assert result.exit_code == 1
    assert "inputs/data/t.csv: changed after the run" in result.stdout
    assert "results.json: models.m" in result.stdout


@pytest.mark.parametrize("name", ["inputs/spec.toml", "inputs/data/t.csv", "report.html"])
def test_a_missing_file_is_named(run: Path, name: str) -> None:
    (run / name).unlink()
    result = verify(run)
    assert result.exit_code == 1
    assert f"DIFFERS  {name}: missing" in result.stdout


def test_an_archived_table_that_can_no_longer_be_read_is_a_difference(run: Path) -> None:
    (run / "inputs" / "data" / "t.csv").write_text("r,n\n2,30\n")
    result = verify(run)
    assert result.exit_code == 1
    assert "DIFFERS  inputs: " in result.stdout


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_a_run_without_its_hashes_does_not_verify(run: Path, text: str | None) -> None:
    (run / "run.json").unlink()
    if text is not None:
        (run / "run.json").write_text(text)
    result = verify(run)
    assert result.exit_code == 1
    assert "run.json: missing or unreadable" in result.stdout


def test_results_of_other_versions_are_compared_but_for_the_look_of_the_report(run: Path) -> None:
    edit(run / "results.json", lambda document: document["versions"].update(scipy="1.0"))
    forge_hashes(run)
    result = verify(run)
    assert result.exit_code == 0, result.output
    assert "made with scipy 1.0" in result.stdout


@pytest.mark.parametrize("key", ["models", "engines", "seed", "name", "title", "data"])
def test_results_that_lack_what_a_run_is_repeated_from_are_bad_input(run: Path, key: str) -> None:
    edit(run / "results.json", lambda document: document.update({key: None}))
    for command in ("verify", "render"):
        result = CliRunner().invoke(main, [command, str(run)])
        assert result.exit_code == 2
        assert f"results.json: '{key}' is missing or no" in result.stderr


def test_results_whose_model_lost_its_effects_are_bad_input(run: Path) -> None:
    edit(run / "results.json", lambda document: document["models"]["m"].pop("effects"))
    result = CliRunner().invoke(main, ["render", str(run)])
    assert result.exit_code == 2
    assert "'models.m.effects' is missing or no list; it was changed after" in result.stderr


def test_a_folder_without_results_is_bad_input(tmp_path: Path) -> None:
    result = verify(tmp_path)
    assert result.exit_code == 2
    assert "results.json" in result.stderr


@pytest.mark.nuts
def test_nuts_is_verified_from_its_saved_draws(sampled: Path) -> None:
    result = verify(sampled)
    assert result.exit_code == 0, result.output
    assert "note" not in result.stdout


@pytest.mark.nuts
def test_nuts_without_draws_is_held_against_the_exact_engine(sampled: Path) -> None:
    shutil.rmtree(sampled / "fits")
    result = verify(sampled)
    assert result.exit_code == 0, result.output
    assert "within Monte-Carlo error only" in result.stdout

    def change(document: dict) -> None:  # type: ignore[type-arg]
        document["models"]["m"]["nuts"]["estimates"]["mu"]["mean"] += 0.1

    edit(sampled / "results.json", change)
    forge_hashes(sampled)
    result = verify(sampled)
    assert result.exit_code == 1
    assert "models.m.nuts.estimates.mu.mean" in result.stdout
    assert "within 4 Monte-Carlo standard errors" in result.stdout


@pytest.mark.nuts
def test_an_edited_nuts_number_is_found_from_its_draws(sampled: Path) -> None:
    def change(document: dict) -> None:  # type: ignore[type-arg]
        document["models"]["m"]["nuts"]["estimates"]["mu"]["mean"] += 1e-4

    edit(sampled / "results.json", change)
    forge_hashes(sampled)
    result = verify(sampled)
    assert result.exit_code == 1
    assert "results.json: models.m.nuts.estimates.mu.mean" in result.stdout


@pytest.mark.nuts
def test_altered_draws_are_named(sampled: Path) -> None:
    path = sampled / "fits" / "m.nc"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    result = verify(sampled)
    assert result.exit_code == 1
    assert "fits/m.nc: changed after the run" in result.stdout
