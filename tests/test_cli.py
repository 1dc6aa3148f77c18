"""The command line: what each command prints, writes and answers with its exit status."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from reanalysis.cli import main
from reanalysis.results import Diagnostics, Estimate, Posterior

TABLE = "study,sample,es_id,r,n\nLee,A,1,.31,54\nLee,A,2,.22,54\nKim,B,3,.08,120\nCho,C,4,.2,60\n"
HEAVY = ["pymc", "pytensor", "nutpie", "arviz_base", "arviz_stats", "matplotlib", "scipy.stats"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "alliance.csv").write_text(TABLE)
    return tmp_path


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def succeed(*arguments: str) -> Result:
    result = invoke(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "reanalysis", *arguments]


# run


def test_run_writes_the_report_into_reports_by_name_and_prints_the_answer(project: Path) -> None:
    result = succeed("run", "alliance.csv", "--engine", "reml", "--engine", "exact")
    assert (project / "reports" / "alliance" / "report.html").is_file()
    lines = result.stdout.splitlines()
    assert lines[0].startswith("data")
    assert "k = 4 effects, m = 3 samples" in lines[0]
    assert lines[1].startswith("pooled r")
    assert "exact 0." in lines[1]
    assert "REML 0." in lines[1]
    assert "reports/alliance/report.html" in lines[-1]
    assert len(lines) <= 8


def test_progress_is_plain_lines_on_standard_error(project: Path) -> None:
    result = succeed("run", "alliance.csv", "--engine", "reml")
    steps = [line for line in result.stderr.splitlines() if line.startswith("[")]
    assert steps[0] == "[start] check: reading the spec and the data"
    assert steps[1] == "[1/3] REML: three_level"
    assert steps[-1] == "[3/3] report: reports/alliance"
    assert "[1/3]" not in result.stdout


def test_the_output_folder_the_models_and_the_seed_can_be_chosen(project: Path) -> None:
    succeed(
        *("run", "alliance.csv", "--engine", "reml", "--out", "here"),
        *("--model", "three_level", "--seed", "7"),
    )
    document = json.loads((project / "here" / "results.json").read_text())
    assert document["seed"] == 7
    assert list(document["models"]) == ["three_level"]
    assert document["engines"] == ["reml"]


def posterior(mu: float, *, passed: bool = True) -> Posterior:
    """A NUTS posterior of one number, as far as the comparison and the report need it."""
    estimate = Estimate("mu", mu, 0.05, mu - 0.1, mu + 0.1, median=mu, numerical_error=0.001)
    diagnostics = Diagnostics(
        rhat_max=1.2 if not passed else 1.001,
        ess_bulk_min=900.0,
        ess_tail_min=800.0,
        divergences=0,
        ebfmi_min=0.9,
        passed=passed,
        failures=() if passed else ("R-hat 1.200 of mu is above 1.01",),
        sampler={"chains": 4, "draws": 100, "tune": 100},
    )
    return Posterior("nuts", {"mu": estimate}, diagnostics=diagnostics)


@pytest.fixture
def two_level(project: Path) -> Path:
    (project / "t.csv").write_text("study,r,n\nLee,.2,30\nKim,.3,40\nCho,.1,50\n")
    return project


def pretend(monkeypatch: pytest.MonkeyPatch, found: Posterior) -> None:
    """Let NUTS find `found`; what is saved of it is another test's subject."""
    monkeypatch.setattr("reanalysis.output.load_or_fit", lambda *_, **__: found)


def test_a_fit_that_fails_its_gate_is_written_flagged_and_ends_with_3(
    two_level: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, posterior(0.9, passed=False))
    result = invoke("run", "t.csv", "--out", "o", "--engine", "exact", "--engine", "nuts")
    assert result.exit_code == 3
    assert "NOT CONVERGED" in result.stdout
    assert "R-hat 1.200 of mu is above 1.01" in result.stdout
    assert "NUTS 0.7" not in result.stdout  # tanh(0.9): the number is not a result
    document = json.loads((two_level / "o" / "results.json").read_text())
    assert document["models"]["two_level"]["nuts"]["diagnostics"]["passed"] is False
    assert (two_level / "o" / "report.html").is_file()


def test_engines_that_disagree_are_written_flagged_and_end_with_1(
    two_level: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, posterior(0.9))
    result = invoke("run", "t.csv", "--out", "o", "--engine", "exact", "--engine", "nuts")
    assert result.exit_code == 1
    assert "DISAGREE" in result.stdout
    assert "mu by" in result.stdout
    assert (two_level / "o" / "report.html").is_file()


def test_a_model_that_no_engine_could_fit_ends_with_3_and_the_reason(
    two_level: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reanalysis.results import EngineError

    def fail(*_: object, **__: object) -> None:
        raise EngineError("no optimum was found")

    monkeypatch.setattr("reanalysis.analysis.fit_reml", fail)
    result = invoke("run", "t.csv", "--out", "o", "--engine", "reml")
    assert result.exit_code == 3
    assert "REML" in result.stdout or "reml" in result.stdout
    assert "no optimum was found" in result.stdout


def test_an_interrupt_is_one_line_and_130(two_level: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("reanalysis.analysis.fit_exact", interrupt)
    result = invoke("run", "t.csv", "--out", "o", "--engine", "exact")
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1].startswith("error: interrupted")
    assert "Traceback" not in result.output
    assert not (two_level / "o").exists()


def test_a_bug_is_not_hidden(two_level: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("not about the input")

    monkeypatch.setattr("reanalysis.analysis.fit_reml", fail)
    result = invoke("run", "t.csv", "--out", "o", "--engine", "reml")
    assert result.exit_code == 1
    assert isinstance(result.exception, ValueError)


def test_termination_releases_the_folder_and_ends_with_143(two_level: Path) -> None:
    code = textwrap.dedent("""
        import time
        import reanalysis.analysis
        def slow(*_, **__):
            print("fitting", flush=True)
            time.sleep(60)
        reanalysis.analysis.fit_reml = slow
        from reanalysis.cli import main
        main(["run", "t.csv", "--out", "o", "--engine", "reml"])
    """)
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=two_level,
        text=True,
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "fitting\n"
        assert (two_level / "o" / ".lock").exists()
        run.send_signal(signal.SIGTERM)
        _, errors = run.communicate(timeout=30)
    assert run.returncode == 143
    assert "Traceback" not in errors
    assert not (two_level / "o").exists()


def test_a_second_run_in_the_same_folder_ends_with_4(two_level: Path) -> None:
    from reanalysis.lock import FolderLock

    (two_level / "o").mkdir()
    lock = FolderLock(two_level / "o")
    result = invoke("run", "t.csv", "--out", "o", "--engine", "reml")
    lock.release()
    assert result.exit_code == 4
    assert f"in use by process {os.getpid()}" in result.stderr


# check, audit, list


def test_check_prints_sizes_columns_guesses_and_the_priors_of_each_model(project: Path) -> None:
    text = succeed("check", "alliance.csv").stdout
    assert "k = 4 effect sizes, m = 3 samples" in text
    assert "ri = r, ni = n" in text
    assert "guessed" in text
    assert "model three_level" in text
    assert "half_normal(sigma=0.25)" in text
    assert text.rstrip().endswith("Nothing to correct.")
    assert set(project.iterdir()) == {project / "alliance.csv"}


def test_check_for_machines(project: Path) -> None:
    document = json.loads(succeed("check", "alliance.csv", "--json").stdout)
    assert document["ok"] is True
    assert document["data"]["k"] == 4
    assert document["models"]["three_level"]["priors"]["mu"]["prior"] == "normal(mu=0, sigma=0.5)"


def test_check_says_which_priors_are_in_units_of_the_common_scale() -> None:
    models = json.loads(succeed("check", "kaiser2021", "--json").stdout)["models"]
    assert models["moderators_joint"]["priors"]["beta[late_share]"]["times"] == "beta_scale"
    assert "times" not in models["moderators_joint"]["priors"]["beta[intercept]"]
    assert "times" not in models["moderator_late"]["priors"]["beta[late_share]"]
    assert ", times beta_scale" in succeed("check", "kaiser2021").stdout


def test_faults_for_machines_come_with_their_exit_status(project: Path) -> None:
    (project / "bad.csv").write_text("r,n\n2,30\n.3,2\n")
    result = invoke("check", "bad.csv", "--json")
    assert result.exit_code == 2
    document = json.loads(result.stdout)
    assert document["ok"] is False
    assert len(document["problems"]) == 2


def test_audit_lists_findings_for_people_and_for_machines(project: Path) -> None:
    text = succeed("audit", "kaiser2021").stdout
    findings = json.loads(succeed("audit", "kaiser2021", "--json").stdout)["findings"]
    assert "Found: " in text
    assert len(findings) > 5
    assert all(finding["rule"] in text for finding in findings)
    assert any("1167" in str(finding) and "1171" in str(finding) for finding in findings)


def test_an_audit_needs_no_priors(project: Path) -> None:
    (project / "smd.csv").write_text("study,g,vi\nA,.1,.02\nB,.2,.03\nC,.1,.02\n")
    assert invoke("check", "smd.csv").exit_code == 2
    succeed("audit", "smd.csv")


def test_list_shows_the_specs_and_data_at_hand(project: Path) -> None:
    (project / "models").mkdir()
    (project / "models" / "mine.toml").write_text('[data]\npath = "x.csv"\n')
    text = succeed("list").stdout
    assert "kaiser2021" in text
    assert "mine" in text
    entries = json.loads(succeed("list", "--json").stdout)
    assert {"kaiser2021", "mine"} <= set(entries["specs"])
    assert {"kaiser2021", "konstantopoulos2011"} <= set(entries["data"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["run", "--help"],
        ["list"],
        ["check", "kaiser2021"],
        ["audit", "kaiser2021"],
        ["init", "alliance.csv"],
        ["run", "absent.toml"],
        ["run", "kaiser2021", "--model", "absent"],
    ],
    ids=" ".join,
)
def test_no_sampler_and_no_figures_are_imported_before_there_is_something_to_compute(
    project: Path, arguments: list[str]
) -> None:
    code = textwrap.dedent("""
        import sys
        from reanalysis.cli import main
        split = sys.argv.index("--split")
        try:
            main(sys.argv[1:split])
        except SystemExit:
            pass
        print([m for m in sys.argv[split + 1:] if m in sys.modules], file=sys.stderr)
    """)
    light = "--help" in arguments or "--version" in arguments
    heavy = [*HEAVY, *(["numpy", "pandas", "pydantic", "rich"] if light else [])]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--split", *heavy],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.splitlines()[-1] == "[]"


# init, render


def test_init_writes_a_commented_spec_that_runs(project: Path) -> None:
    result = succeed("init", "alliance.csv")
    assert "alliance.toml" in result.stdout
    text = (project / "alliance.toml").read_text()
    entries = tomllib.loads(text)
    assert entries["data"]["columns"] == {
        "ri": "r",
        "ni": "n",
        "sample": "sample",
        "study": "study",
        "effect": "es_id",
        "label": "study",
    }
    priors = entries["model"][0]["priors"]
    assert all(prior["rationale"] for prior in priors.values())
    assert "guessed from the names" in text
    succeed("check", "alliance.toml")
    succeed("run", "alliance.toml", "--engine", "reml")


def test_init_says_what_it_could_not_recognise(project: Path) -> None:
    (project / "odd.csv").write_text("a,b\n1,2\n3,4\n")
    result = succeed("init", "odd.csv")
    text = (project / "odd.toml").read_text()
    assert "not recognised" in result.stdout
    assert "The effect sizes were not recognised" in text
    assert "# columns of the table: a, b" in text
    assert "no effect sizes" in invoke("check", "odd.toml").stderr


def test_init_does_not_replace_a_file_unless_forced(project: Path) -> None:
    (project / "alliance.toml").write_text("mine")
    result = invoke("init", "alliance.csv")
    assert result.exit_code == 4
    assert "--force" in result.stderr
    assert (project / "alliance.toml").read_text() == "mine"
    succeed("init", "alliance.csv", "--force")


def test_init_refuses_a_place_from_which_the_spec_could_not_read_the_table(project: Path) -> None:
    (project / "far").mkdir()
    result = invoke("init", "alliance.csv", "--out", "far/away.toml")
    assert result.exit_code == 2
    assert list((project / "far").iterdir()) == []


def test_init_survives_names_that_toml_and_comments_must_escape(project: Path) -> None:
    header = '"r ""x""\n# y","n\\"'
    (project / 'a "b" #.csv').write_text(f"{header},r,n\n1,2,.2,30\n3,4,.3,40\n")
    succeed("init", 'a "b" #.csv', "--out", "s.toml")
    succeed("check", "s.toml")


def test_render_makes_the_report_again_and_fits_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    succeed("run", "alliance.csv", "--engine", "reml", "--out", "o")
    before = (project / "o" / "report.html").read_bytes()
    (project / "o" / "report.html").unlink()
    monkeypatch.setattr("reanalysis.analysis.fit_reml", None)
    result = succeed("render", "o")
    assert "o/report.html" in result.stdout
    assert (project / "o" / "report.html").read_bytes() == before


def test_render_of_a_folder_without_results_is_bad_input(project: Path) -> None:
    result = invoke("render", "nowhere")
    assert result.exit_code == 2
    assert "results.json" in result.stderr


# The terminal


def test_output_survives_a_terminal_that_knows_only_ascii(project: Path) -> None:
    (project / "t.csv").write_text("study,r,n\nMüller,.2,30\n李,.3,40\n", encoding="utf-8")
    environment = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(
        command("audit", "t.csv"), capture_output=True, env=environment, cwd=project
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()


def test_a_home_folder_that_cannot_be_written_is_done_without(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reanalysis.scratch import writable_caches

    monkeypatch.setenv("HOME", "/proc/nowhere")
    monkeypatch.setenv("PYTENSOR_FLAGS", "cxx=")
    monkeypatch.delenv("MPLCONFIGDIR", raising=False)
    with writable_caches() as note:
        folder = Path(os.environ["MPLCONFIGDIR"]).parent
        assert folder.is_dir()
        assert os.environ["PYTENSOR_FLAGS"] == f"cxx=,base_compiledir={folder}/pytensor"
        assert "/proc/nowhere cannot be written" in note
    assert not folder.exists()


def test_a_home_folder_that_can_be_written_is_left_to_its_libraries(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reanalysis.scratch import writable_caches

    monkeypatch.setenv("HOME", str(project))
    before = dict(os.environ)
    with writable_caches() as note:
        assert note == ""
    assert dict(os.environ) == before


def test_a_reader_that_goes_away_is_no_error(project: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command("list"), stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("term", "width", "moves"), [("xterm", 100, True), ("xterm", 12, True), ("dumb", 100, False)]
)
def test_a_terminal_gets_a_display_that_moves_and_a_line_for_each_step(
    project: Path, term: str, width: int, moves: bool
) -> None:
    leader, follower = os.openpty()
    environment = {**os.environ, "TERM": term, "NO_COLOR": "1", "COLUMNS": str(width)}
    done = subprocess.run(
        command("run", "alliance.csv", "--engine", "reml"),
        stdout=subprocess.PIPE,
        stderr=follower,
        env=environment,
        cwd=project,
    )
    os.close(follower)
    shown = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:  # the other end is closed and everything has been read
            break
        if not piece:
            break
        shown += piece
    os.close(leader)
    assert done.returncode == 0
    words = b"".join(shown.split())  # wrapped where the terminal is narrow
    assert b"REML:three_level" in words
    assert (b"\x1b[2K" in shown) == moves
    assert b"\x1b[3" not in shown  # NO_COLOR
    assert b"\x1b" not in done.stdout


STRIKE = """
import os, sys
from reanalysis.cli import main
from reanalysis.progress import Steps

tell, struck = Steps.draws, []

def strike(self, done, of):
    tell(self, done, of)
    if self._stage.detail == "two" and 0 < done < of and not struck:
        struck.append(done)
        os.kill(os.getpid(), int(sys.argv[1]))

Steps.draws = strike
main(sys.argv[2:])
"""


@pytest.mark.nuts
def test_a_run_that_is_killed_while_sampling_keeps_finished_fits_and_the_next_one_goes_on(
    two_level: Path,
) -> None:
    project = two_level
    (project / "s.toml").write_text(
        textwrap.dedent("""
            sampler = { tune = 500, draws = 2000 }
            [data]
            path = "t.csv"
            [[model]]
            name = "one"
            [[model]]
            name = "two"
        """)
    )
    arguments = ["run", "s.toml", "--engine", "nuts", "--out", "o"]
    ends = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
    for number, status in ends.items():
        run = subprocess.run(
            [sys.executable, "-c", STRIKE, str(int(number)), *arguments],
            capture_output=True,
            text=True,
            cwd=project,
        )
        assert run.returncode == status, run.stderr
        assert "Traceback" not in run.stderr
        assert "one.nc: finished before, used again" in run.stderr or number == signal.SIGKILL
        assert "and the same command goes on." in run.stderr or number == signal.SIGKILL
        assert {path.name for path in (project / "o" / "fits").iterdir()} == {"one.nc", "one.json"}
        assert not (project / "o" / "results.json").exists()
        assert (project / "o" / ".lock").exists() == (number == signal.SIGKILL)

    done = subprocess.run(command(*arguments), capture_output=True, text=True, cwd=project)
    assert done.returncode in (0, 3), done.stderr
    assert "one.nc: finished before, used again" in done.stderr
    assert "two.nc" not in done.stderr
    assert (project / "o" / "report.html").is_file()
