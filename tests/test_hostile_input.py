"""Input from somebody who means harm: text that is code elsewhere, paths, archives; and the fuzzer.

The long run of the fuzzer is `make fuzz`; here a seeded share of it runs, and everything that once
failed (tests/faults/).
"""

import ast
import csv
import io
import json
import os
import pickle
import re
import runpy
import tomllib
import unicodedata
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings

from reanalysis.cli import main

ROOT = Path(__file__).parents[1]
FAULTS = Path(__file__).parent / "faults"
FUZZ = runpy.run_path(str(Path(__file__).parent / "fuzz" / "fuzz.py"))
TABLE = "study,r,n\nLee,.2,30\nKim,.3,40\nCho,.1,50\n"
SPEC = '[data]\npath = "t.csv"\n'
SEEDED = settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def refused(result: Result, *words: str) -> None:
    assert result.exit_code == 2, (result.output, result.exception)
    assert result.stdout == ""
    assert all(word in result.stderr for word in words), result.stderr


# Text: 43, 47, 48, 49, 52

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    '=HYPERLINK("http://x")',
    "@SUM(1)",
    "$x^2$ or $5 to $10",
    "{{ 7*7 }}{% raw %}",
    "re\u202eversed",
    "javascript:alert(1)",
]


class Page(HTMLParser):
    """Tags with their attributes, and the files inside the page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """Run a spec and a table that hold hostile text wherever text may stand."""
    folder = tmp_path_factory.mktemp("attacked")
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["study", "r", "n", HOSTILE[1], "=cmd"])
    for i, name in enumerate([*HOSTILE, "Lee", "Kim"]):
        writer.writerow([name, f".{i + 1}", 40 + i, HOSTILE[i % 2], HOSTILE[2 + i % 3]])
    (folder / "t.csv").write_text(text.getvalue(), encoding="utf-8")
    quoted = [json.dumps(word) for word in HOSTILE]
    (folder / "s.toml").write_text(
        f"""
        title = {quoted[0]}
        limits = [{quoted[1]}, {quoted[4]}]
        [source]
        citation = {quoted[0]}
        doi = {quoted[7]}
        [data]
        path = "t.csv"
        [[model]]
        name = "plain"
        title = {quoted[1]}
        priors.mu = {{ family = "normal", sigma = 1, rationale = {quoted[0]} }}
        [[model]]
        name = "moderated"
        title = {quoted[4]}
        moderators = [{quoted[1]}]
        [[claim]]
        id = "c"
        text = {quoted[1]}
        source = {quoted[0]}
        model = "plain"
        published = {{ estimate = 0.2 }}
        note = {quoted[5]}
        """,
        encoding="utf-8",
    )
    out = folder / "out"
    arguments = ["run", str(folder / "s.toml"), "--engine", "reml", "--engine", "exact"]
    return CliRunner().invoke(main, [*arguments, "--out", str(out)]), out


def test_47_markup_in_names_titles_and_notes_is_shown_as_text(
    attacked: tuple[Result, Path],
) -> None:
    result, out = attacked
    assert result.exit_code == 0, result.output
    html = (out / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    assert html.count("<script") == 1
    handlers = [a for _, attrs in page.tags for a in attrs if a.startswith("on")]
    assert handlers == []
    links = [attrs.get("href") or "" for tag, attrs in page.tags if tag == "a"]
    assert [link for link in links if link.lower().startswith("javascript")] == []
    assert not [attrs for tag, attrs in page.tags if tag == "img" and attrs.get("src") == "x"]
    assert HOSTILE[0] in " ".join(page.text)
    assert HOSTILE[5] in " ".join(page.text)


def test_48_no_cell_of_a_file_for_spreadsheets_is_a_formula(attacked: tuple[Result, Path]) -> None:
    text = (attacked[1] / "estimates.csv").read_text(encoding="utf-8")
    rows = list(csv.reader(io.StringIO(text)))
    assert len(rows) > 4
    for cell in (cell for row in rows for cell in row):
        assert not cell.startswith(("=", "@", "+", "\t", "\r")), cell
        if cell.startswith("-"):
            float(cell)


def test_49_dollar_signs_are_no_mathematics(attacked: tuple[Result, Path]) -> None:
    html = (attacked[1] / "report.html").read_text(encoding="utf-8")
    assert "$x^2$ or $5 to $10" in html


def test_43_no_control_character_reaches_terminal_or_page(attacked: tuple[Result, Path]) -> None:
    result, out = attacked
    shown = (result.output + (out / "report.html").read_text(encoding="utf-8")).replace("\n", "")
    wrong = {c for c in shown if unicodedata.category(c) in ("Cc", "Cs") or c in "\u202a\u202e"}
    assert wrong == set()


@pytest.mark.parametrize("command", ["check", "audit", "init", "run"])
def test_43_text_of_table_and_spec_cannot_command_the_terminal(project: Path, command: str) -> None:
    (project / "t.csv").write_text("stu\u202edy,r,n\n\u2066Lee,1.5,30\nKi\u00adm,.3,40\n")
    (project / "s.toml").write_text(f'title = "\\u001b[31mred\\u202e\\u0007"\n{SPEC}x\u202e = 1\n')
    for name in ("t.csv", "s.toml"):
        shown = invoke(command, name, *(["--out", "o.toml"] if command == "init" else [])).output
        wrong = [c for c in shown if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs")]
        assert wrong == []


def test_the_moving_display_prints_no_control_characters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from reanalysis.progress import Stage
    from reanalysis.terminal import watch

    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    with watch() as progress:
        progress(Stage(1, 2, "reml", "\x1b]0;owned\x07 \u202e[red]x"))
        progress(Stage(1, 2, "reml", "", note="a\x07b"))
    shown = capsys.readouterr().err
    assert "a?b" in shown
    assert not set("\x07\u202e") & set(shown)
    assert "\x1b]0" not in shown


# Paths: 50


def test_50_data_behind_a_link_that_leaves_the_project(project: Path) -> None:
    home = project / "home"
    home.mkdir()
    (project / "t.csv").write_text(TABLE)
    (home / "t.csv").symlink_to(project / "t.csv")
    (home / "s.toml").write_text(SPEC)
    refused(invoke("check", "home/s.toml"), "outside", "--allow-outside")
    assert invoke("check", "home/s.toml", "--allow-outside").exit_code == 0


def test_50_data_beside_the_folder_of_the_spec_need_permission(project: Path) -> None:
    (project / "home").mkdir()
    (project / "t.csv").write_text(TABLE)
    (project / "home" / "s.toml").write_text('[data]\npath = "../t.csv"\n')
    refused(invoke("check", "home/s.toml"), "outside", "--allow-outside")
    assert invoke("check", "home/s.toml", "--allow-outside").exit_code == 0


def test_50_the_parent_of_a_spec_is_its_project_where_that_holds_data(project: Path) -> None:
    (project / "models").mkdir()
    (project / "data").mkdir()
    (project / "data" / "t.csv").write_text(TABLE)
    (project / "models" / "s.toml").write_text('[data]\npath = "../data/t.csv"\n')
    assert invoke("check", "models/s.toml").exit_code == 0
    (project / "models" / "s.toml").write_text('[data]\npath = "../../t.csv"\n')
    refused(invoke("check", "models/s.toml"), "outside", "--allow-outside")


def package(folder: Path, path: str, **more: str) -> None:
    folder.mkdir()
    resource = {"name": "t", "path": path, "schema": {"fields": []}, **more}
    text = json.dumps({"name": "d", "resources": [resource], "reanalysis": {"measure": "ZCOR"}})
    (folder / "datapackage.json").write_text(text)


@pytest.mark.parametrize("path", ["../secret.csv", "/etc/passwd", "link.csv", "a/../../secret.csv"])
def test_50_a_data_folder_names_no_file_outside_itself(project: Path, path: str) -> None:
    (project / "secret.csv").write_text(TABLE)
    package(project / "d", path)
    (project / "d" / "link.csv").symlink_to(project / "secret.csv")
    result = invoke("check", "d")
    refused(result, "outside its folder", "move the file into it")
    assert "Lee" not in result.output


def test_50_a_codebook_is_no_link_to_another_file(project: Path) -> None:
    package(project / "d", "t.csv", hash="sha256:" + "0" * 64)
    (project / "d" / "t.csv").write_text(TABLE)
    (project / "d" / "codebook.md").symlink_to("/etc/passwd")
    digest = re.findall(r"sha256 is (\w+)", invoke("check", "d").stderr)[0]
    text = (project / "d" / "datapackage.json").read_text().replace("0" * 64, digest)
    (project / "d" / "datapackage.json").write_text(text)
    refused(invoke("check", "d"), "codebook.md", "a link out of its folder")


def test_50_an_output_folder_is_named_after_the_spec_without_what_leaves_it(project: Path) -> None:
    (project / "t.csv").write_text(TABLE)
    (project / ".. evil.toml").write_text(SPEC)
    result = invoke("run", ".. evil.toml", "--engine", "reml")
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in (project / "reports").iterdir()) == ["evil"]


# Files from others are read without running anything


class Payload:
    """Runs a command where it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("PWNED",)


@pytest.mark.parametrize("name", ["t.csv", "s.toml", "d/datapackage.json", "out/results.json"])
def test_a_pickle_is_not_unpickled_whatever_it_is_called(project: Path, name: str) -> None:
    path = project / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(Payload()))
    commands = ["render", "verify"] if name.startswith("out") else ["check", "audit"]
    source = name.split("/")[0]
    for command in commands:
        refused(invoke(command, source), name)
    assert not (project / "PWNED").exists()


def test_a_data_folder_in_an_archive_from_others_stays_inside_it(project: Path) -> None:
    from reanalysis.archive import load_archive
    from reanalysis.locate import data_path
    from reanalysis.spec import SpecError

    inputs = project / "out" / "inputs"
    (inputs / "data").mkdir(parents=True)
    (inputs / "spec.toml").write_text(SPEC)
    (inputs / "data" / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(SpecError, match="outside"):
        data_path(load_archive(project / "out", "x"))


def test_nothing_in_the_package_evaluates_text_or_unpickles() -> None:
    forbidden = {"eval", "exec", "compile", "__import__", "system", "popen", "read_pickle", "loads"}
    allowed = {("json", "loads"), ("tomllib", "loads"), ("re", "compile")}
    wrong = []
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = node.func
            if isinstance(called, ast.Name) and called.id in forbidden:
                wrong.append(f"{path.name}:{node.lineno} {called.id}")
            if isinstance(called, ast.Attribute) and called.attr in forbidden - {"eval"}:
                owner = called.value.id if isinstance(called.value, ast.Name) else ""
                if (owner, called.attr) not in allowed:
                    wrong.append(f"{path.name}:{node.lineno} {owner}.{called.attr}")
            if any(word.arg == "allow_pickle" for word in node.keywords):
                wrong.append(f"{path.name}:{node.lineno} allow_pickle")
    assert wrong == []


# Dependencies


@pytest.mark.parametrize("lock", sorted(p.name for p in ROOT.glob("requirements*.lock")))
def test_every_locked_dependency_has_a_version_and_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\S)", re.sub(r"(?m)^\s*#.*\n", "", text).strip())
    assert entries
    for entry in entries:
        assert re.match(r"[\w.\[\]-]+==\S+", entry), entry
        assert "--hash=sha256:" in entry, entry
        assert "://" not in entry


def test_every_direct_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[\[<>=~!; ]", entry)[0].lower() for entry in asked}
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8").lower()
    assert names - set(re.findall(r"(?m)^([\w.-]+)", text)) == set()


def test_the_lock_is_installed_by_its_hashes_and_audited_by_a_make_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    installs = [line for line in makefile.splitlines() if "-r requirements" in line]
    assert installs
    assert all("--require-hashes" in line for line in installs)
    assert re.search(r"(?m)^audit:", makefile)


# The fuzzer


@SEEDED
@given(raw=FUZZ["tables"]())
def test_any_built_table_is_read_or_refused_by_the_rules(project: Path, raw: bytes) -> None:
    FUZZ["examine"](project, "csv", raw)


@SEEDED
@given(raw=FUZZ["specs"]())
def test_any_built_spec_is_read_or_refused_by_the_rules(project: Path, raw: bytes) -> None:
    FUZZ["examine"](project, "toml", raw)


@pytest.mark.parametrize("kind", ["csv", "toml"])
def test_every_seed_of_the_fuzzer_gets_past_the_parser(project: Path, kind: str) -> None:
    statuses = [
        FUZZ["examine"](project, kind, raw) for raw in FUZZ["TABLES" if kind == "csv" else "SPECS"]
    ]
    assert statuses.count(0) > len(statuses) / 3


@pytest.mark.parametrize("fault", sorted(p.name for p in FAULTS.iterdir() if p.is_dir()))
def test_what_once_failed_has_its_exit_status_and_first_message(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (FAULTS / fault).rglob("*"):
        if path.is_file():
            target = tmp_path / path.relative_to(FAULTS / fault)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    expected = tomllib.loads((FAULTS / fault / "expected.toml").read_text(encoding="utf-8"))
    result = invoke(*expected["command"])
    assert result.exit_code == expected["status"], (result.output, result.exception)
    if expected["status"]:
        first = result.stderr.splitlines()[0]
        assert first.replace(f"{tmp_path}/", "") == expected["message"]
    else:
        assert expected["message"] in result.stdout
