"""The wheel carries its data and specs, and works outside the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from the tree, without network, and unpack it into an empty folder."""
    home = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"),
            *("--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(home)),
            str(ROOT),
        ],
        check=True,
        capture_output=True,
    )
    (wheel,) = home.glob("reanalysis-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(home / "installed")
    return home / "installed"


def run(unpacked: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    return subprocess.run(
        [sys.executable, "-m", "reanalysis", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_the_wheel_holds_the_bundled_cases_and_nothing_of_the_tests(unpacked: Path) -> None:
    bundled = unpacked / "reanalysis" / "bundled"
    for kind in ("data", "models"):
        assert {path.name for path in (bundled / kind).iterdir()} == {
            path.name for path in (ROOT / kind).iterdir()
        }
    assert {path.name.split("-")[0] for path in unpacked.iterdir()} == {"reanalysis"}
    assert (unpacked / "reanalysis" / "templates").is_dir()


def test_the_bundled_case_is_checked_and_run_from_an_empty_folder(
    unpacked: Path, tmp_path: Path
) -> None:
    listed = run(unpacked, tmp_path, "list")
    assert f"{unpacked}/reanalysis/bundled/models/kaiser2021.toml" in listed.stdout
    checked = run(unpacked, tmp_path, "check", "kaiser2021")
    assert checked.returncode == 0, checked.stderr
    engines = ("--engine", "reml", "--engine", "exact")
    done = run(unpacked, tmp_path, "run", "kaiser2021", *engines, "--model", "three_level")
    assert done.returncode == 0, done.stderr
    report = (tmp_path / "reports" / "kaiser2021" / "report.html").read_text(encoding="utf-8")
    assert "Kaiser" in report
    assert str(unpacked) not in report
    assert {path.name for path in tmp_path.iterdir()} == {"reports"}
