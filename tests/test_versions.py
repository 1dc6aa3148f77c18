"""What pyproject.toml allows is what is tested: its lower bounds, and the locked versions."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from reanalysis.versions import PACKAGES, release_key, versions

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ALLOWED = [Requirement(line) for line in PROJECT["dependencies"]]


def pinned(file: str) -> dict[str, Version]:
    text = (ROOT / file).read_text(encoding="utf-8")
    return {n: Version(v) for n, v in re.findall(r"^([a-z0-9-]+)==([^\s;\\]+)", text, re.MULTILINE)}


@pytest.mark.parametrize("allowed", ALLOWED, ids=lambda requirement: requirement.name)
def test_the_oldest_set_is_exactly_what_is_allowed_at_least(allowed: Requirement) -> None:
    (lowest,) = (Version(s.version) for s in allowed.specifier if s.operator == ">=")
    assert pinned("requirements-oldest.lock")[allowed.name] == lowest


@pytest.mark.parametrize("allowed", ALLOWED, ids=lambda requirement: requirement.name)
def test_the_locked_version_is_allowed(allowed: Requirement) -> None:
    assert allowed.specifier.contains(pinned("requirements.lock")[allowed.name])


@pytest.mark.parametrize("file", ["requirements-oldest.lock", "requirements.lock"])
def test_every_pin_has_its_hashes(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    blocks = re.split(r"^(?=[a-z0-9-]+==)", text, flags=re.MULTILINE)[1:]
    assert len(blocks) > 50
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in text


def test_versions_are_those_of_what_is_installed() -> None:
    found = versions()
    assert found.keys() == {"python", *PACKAGES}
    assert all(found[name] == version(name) for name in PACKAGES)


def test_kept_fits_of_other_versions_have_other_names(monkeypatch: pytest.MonkeyPatch) -> None:
    before = release_key()
    monkeypatch.setattr("reanalysis.versions.versions", lambda: {**versions(), "scipy": "1.0"})
    assert release_key() != before
