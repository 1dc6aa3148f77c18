"""Every command, table, spec and piece of Python in the README runs as it stands."""

import re
import runpy
from pathlib import Path

import pytest
from click.testing import CliRunner

from reanalysis.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FAST = ["--engine", "reml", "--engine", "exact"]  # NUTS has its own tests


def blocks(language: str) -> list[tuple[str, str]]:
    return [(name, text) for found, name, text in BLOCK.findall(README) if found == language]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in blocks("csv") + blocks("toml"):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_the_commands_of_the_readme_run_in_order(folder: Path) -> None:
    lines = [line for _, text in blocks("bash") for line in text.splitlines()]
    assert len(lines) >= 5
    for line in lines:
        program, *arguments = line.split("#")[0].split()
        assert program == "reanalysis"
        extra = FAST if arguments[0] == "run" else []
        result = CliRunner().invoke(main, [*arguments, *extra])
        assert result.exit_code == 0, (line, result.output)


def test_the_python_of_the_readme_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, (_, text) in enumerate(blocks("python")):
        script = folder / f"example{number}.py"
        script.write_text(text, encoding="utf-8")
        runpy.run_path(str(script))
    assert "mu" in capsys.readouterr().out


def test_every_link_to_a_file_of_the_readme_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_command_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"`reanalysis ([a-z]+)", README))
    assert len(named) >= 4
    assert named <= set(main.commands)
