"""The documentation: every command, table, spec and piece of Python in it runs as it stands."""

import ast
import json
import pprint
import re
import runpy
from pathlib import Path

import pytest
from click.testing import CliRunner

from reanalysis.cli import main

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.glob("*.md"))
BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FAST = ["--engine", "reml", "--engine", "exact"]  # NUTS has its own tests


def blocks(page: Path, *languages: str) -> list[tuple[str, str]]:
    text = page.read_text(encoding="utf-8")
    return [(name, body) for found, name, body in BLOCK.findall(text) if found in languages]


WITH_COMMANDS = [page for page in PAGES if blocks(page, "bash")]


def test_there_are_pages_with_commands() -> None:
    assert {page.stem for page in WITH_COMMANDS} >= {"quick_start", "own_table", "priors"}


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.stem)
def test_the_commands_and_the_python_of_a_page_run_in_order(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in blocks(page, "csv", "toml"):
        (tmp_path / name).write_text(text, encoding="utf-8")
    for line in (line for _, text in blocks(page, "bash") for line in text.splitlines()):
        program, *arguments = line.split("#")[0].split()
        assert program == "reanalysis"
        extra = FAST if arguments[0] == "run" else []
        result = CliRunner().invoke(main, [*arguments, *extra])
        assert result.exit_code == 0, (line, result.output)
    for number, (_, text) in enumerate(blocks(page, "python")):
        script = tmp_path / f"example{number}.py"
        script.write_text(text, encoding="utf-8")
        runpy.run_path(str(script))
        assert capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (DOCS / link).exists()] == []


def test_the_notebook_was_executed_from_start_to_end_without_an_error() -> None:
    notebook = json.loads((DOCS / "posterior_analysis.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {output["output_type"] for cell in cells for output in cell["outputs"]}
    assert "error" not in kinds
    assert "execute_result" in kinds


def test_the_code_of_the_notebook_still_runs_and_the_exact_numbers_are_the_same() -> None:
    notebook = json.loads((DOCS / "posterior_analysis.ipynb").read_text(encoding="utf-8"))
    names: dict[str, object] = {}
    compared = 0
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code" or "IPython" in source:
            continue
        tree = ast.parse(source)
        last = tree.body[-1]
        shown = isinstance(last, ast.Expr)
        if shown:
            tree.body.pop()
        exec(compile(tree, "notebook", "exec"), names)
        if not shown:
            continue
        value = eval(ast.unparse(last), names)
        if re.search(r"\b(nuts|new|mu|tau)\b", ast.unparse(last)):
            continue  # sampled: other versions draw other numbers
        saved = "".join(cell["outputs"][0]["data"]["text/plain"])
        assert pprint.pformat(value, sort_dicts=False) == saved
        compared += 1
    assert compared == 4
    assert names["nuts"].diagnostics.passed  # type: ignore[attr-defined]
