"""What befalls a run from outside: signals, full disks, folders that vanish, clocks that jump."""

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner, Result

import reanalysis as ra
from reanalysis import atomic
from reanalysis.atomic import write_atomically
from reanalysis.cli import main
from reanalysis.lock import FolderLock
from reanalysis.output import OutputFolder
from reanalysis.spread import read_lines, spread
from reanalysis.summaries import save_draws
from reanalysis.verification import verify_folder

SOURCE = Path(__file__).parents[1] / "src" / "reanalysis"
TABLE = "study,r,n\nLee,.2,30\nKim,.3,40\nCho,.1,50\n"
SMALL = 64 * 1024  # bytes; less than any report


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a finished run."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "t.csv").write_text(TABLE)
    ra.run(folder / "t.csv", ("reml", "exact"), out=folder / "o")
    return folder


@pytest.fixture
def project(before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(before, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB where one may be mounted, else a limit of that size on each file."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    if not mounted:
        resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, before[1]))
    yield folder
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def fill() -> xr.DataTree:
    """Draws that take more room than the small disk has."""
    values = np.random.default_rng(1).normal(size=(4, 5000))
    group = xr.Dataset({"mu": (("chain", "draw"), values)})
    return xr.DataTree.from_dict({"posterior": group, "sample_stats": group})


# Signals

STEPS = {
    "the spec is read": "reanalysis.runner.plan",
    "REML fits": "reanalysis.analysis.fit_reml",
    "the exact engine fits": "reanalysis.analysis.fit_exact",
    "sensitivity is computed": "reanalysis.further.make_robustness",
    "the report is made": "reanalysis.output.render_html",
    "files are written": "reanalysis.atomic.os.fsync",
}


@pytest.mark.parametrize(
    ("number", "status", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
@pytest.mark.parametrize("step", STEPS)
def test_a_signal_at_any_step_is_one_line_and_leaves_the_run_before(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    number: signal.Signals,
    status: int,
    word: str,
) -> None:
    old = contents(project)
    monkeypatch.setattr(STEPS[step], lambda *_, **__: signal.raise_signal(number))
    result = invoke("run", "t.csv", "--out", "o", "--engine", "reml", "--engine", "exact")
    assert result.exit_code == status, (result.output, result.exception)
    said = f"error: {word}; finished fits are kept, and the same command goes on."
    assert result.stderr.splitlines()[-1] == said
    assert "Traceback" not in result.output
    assert result.stdout == ""
    assert contents(project) == old
    assert signal.getsignal(number) is not signal.SIG_DFL or number == signal.SIGTERM


def test_a_second_interrupt_ends_a_process_that_does_not_stop(project: Path) -> None:
    code = textwrap.dedent("""
        import time
        import reanalysis.analysis
        def stubborn(*_, **__):
            try:
                print("fitting", flush=True)
                time.sleep(60)
            except KeyboardInterrupt:
                print("cleaning up", flush=True)
                time.sleep(60)
        reanalysis.analysis.fit_reml = stubborn
        from reanalysis.cli import main
        main(["run", "t.csv", "--out", "new", "--engine", "reml"])
    """)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        for line in ("fitting\n", "cleaning up\n"):
            assert run.stdout.readline() == line
            run.send_signal(signal.SIGINT)
        run.wait(timeout=30)
    assert run.returncode == -signal.SIGINT
    assert (project / "new" / ".lock").exists()
    done = invoke("run", "t.csv", "--out", "new", "--engine", "reml")
    assert done.exit_code == 0, done.output
    assert "new/.lock" not in contents(project)


def test_an_interrupt_at_the_terminal_reaches_workers_too_and_is_one_line(project: Path) -> None:
    arguments = ["calibrate", "t.csv", "--scheduler", "local", "--out", "c"]
    with subprocess.Popen(
        [sys.executable, "-m", "reanalysis", *arguments, "--replicates", "200000"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # its process group is the foreground of a terminal
    ) as run:
        assert run.stderr is not None
        first = run.stderr.readline()
        os.killpg(run.pid, signal.SIGINT)
        *tallies, last = run.stderr.read().splitlines()
    assert run.returncode == 130, (tallies, last)
    assert last == "error: interrupted; finished fits are kept, and the same command goes on."
    assert [line for line in [first, *tallies] if " of " not in line] == []
    (kept,) = (project / "c").iterdir()
    assert len(read_lines(kept)) >= 1


# Disks and folders


def test_a_full_disk_ends_with_4_and_leaves_no_part(project: Path, small_disk: Path) -> None:
    result = invoke("run", "t.csv", "--out", "small/o", "--engine", "reml")
    assert result.exit_code == 4, (result.output, result.exception)
    assert "No space left" in result.stderr or "File too large" in result.stderr
    assert "Traceback" not in result.output
    assert contents(small_disk) == {}


def test_draws_that_do_not_fit_on_the_disk_are_an_error_and_not_a_crash(small_disk: Path) -> None:
    """HDF5 crashes the process at its exit where it writes to a full disk itself."""
    write_atomically(small_disk / "m.nc", "the fit before")
    with pytest.raises(OSError) as caught:
        save_draws(fill(), small_disk / "m.nc")
    assert caught.value.errno in (errno.ENOSPC, errno.EFBIG)
    assert contents(small_disk) == {"m.nc": b"the fit before"}


def test_a_full_disk_is_found_before_anything_is_fitted(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("reanalysis.lock.os.pwrite", fail)
    monkeypatch.setattr("reanalysis.analysis.fit_reml", None)
    result = invoke("run", "t.csv", "--out", "new", "--engine", "reml")
    assert result.exit_code == 4
    assert "new: cannot be written (No space left on device)" in result.stderr
    assert not (project / "new" / ".lock").exists()


def test_a_folder_without_permission_to_write_is_refused_at_once(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # nobody: permissions do not bind root
    try:
        with pytest.raises(OSError, match="cannot be written"), OutputFolder(tmp_path):
            pass
    finally:
        os.seteuid(user)
        tmp_path.chmod(0o755)


def test_an_output_folder_that_disappears_is_made_again(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reanalysis.frequentist import fit_reml

    def vanish(*arguments: object) -> object:
        shutil.rmtree(project / "o")
        return fit_reml(*arguments)  # type: ignore[arg-type]

    old = contents(project)
    monkeypatch.setattr("reanalysis.analysis.fit_reml", vanish)
    result = invoke("run", "t.csv", "--out", "o", "--engine", "reml", "--engine", "exact")
    assert result.exit_code == 0, (result.output, result.exception)
    assert contents(project).keys() == old.keys()
    assert verify_folder(project / "o").ok


def test_a_run_whose_folder_was_removed_leaves_the_lock_of_the_next_one(tmp_path: Path) -> None:
    folder = tmp_path / "o"
    folder.mkdir()
    first = FolderLock(folder)
    shutil.rmtree(folder)
    folder.mkdir()
    second = FolderLock(folder)
    first.release()
    with pytest.raises(OSError, match=f"in use by process {os.getpid()} "):
        FolderLock(folder)
    second.release()
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("command", ["multiverse", "calibrate", "render"])
def test_no_command_writes_into_a_folder_in_use(project: Path, command: str) -> None:
    (project / "s.toml").write_text(
        '[data]\npath = "t.csv"\n[[model]]\nname = "m"\n[[multiverse]]\nname = "samples"\n'
        'leave_out = "sample"\n'
    )
    lock = FolderLock(project / "o")
    old = contents(project)
    target = ["o"] if command == "render" else ["s.toml", "--out", "o"]
    result = invoke(command, *target)
    assert result.exit_code == 4, result.output
    assert f"in use by process {os.getpid()}" in result.stderr
    assert contents(project) == old
    lock.release()


# Readers


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    versions = [letter * 200_000 for letter in (b"a", b"b")]
    write_atomically(path, versions[0])
    seen: list[bytes] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.append(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(100):
        write_atomically(path, versions[i % 2])
    done.set()
    reader.join()
    assert {content in versions for content in seen} == {True}
    assert set(seen) == set(versions)  # it did read while the file changed


def test_a_kill_while_files_are_replaced_leaves_whole_files_and_the_next_run_repairs(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """Nothing catches it, as nothing catches SIGKILL."""

    replaced: list[Path] = []
    replace = Path.replace

    def stop(self: Path, target: Path) -> Path:
        if replaced:
            raise Killed
        replaced.append(target)
        return replace(self, target)

    arguments = ("run", "t.csv", "--out", "o", "--engine", "reml")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(atomic.Path, "replace", stop)
        CliRunner().invoke(main, list(arguments), standalone_mode=False, catch_exceptions=False)
    assert (project / "o" / "report.html").read_text().rstrip().endswith("</html>")
    found = verify_folder(project / "o")  # a new report beside old results
    assert "report.html: changed after the run" in str(found.differences[0])
    assert invoke(*arguments).exit_code == 0
    assert verify_folder(project / "o").ok


# Results that are kept as they come


def square(job: int) -> dict[str, int]:
    return {"square": job * job}


def test_kept_results_that_were_altered_are_computed_again(tmp_path: Path) -> None:
    store = tmp_path / "kept.jsonl"
    jobs = {str(i): i for i in range(10)}
    expected = spread(square, jobs, store=store)
    lines = store.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"square": 4', b'"square": 5')
    lines[4] = lines[4].replace(b"16", b"\xff6")
    lines[6] = lines[6][:9] + b"\n"
    store.write_bytes(b"".join(lines))
    assert read_lines(store).keys() == set("01235789") - {"2"}
    assert spread(square, jobs, store=store) == expected


# Clocks


class JumpingClock(datetime):
    """A wall clock that is set back by a day at each look."""

    looks = 0

    @classmethod
    def now(cls, tz: object = None) -> datetime:
        cls.looks += 1
        return datetime(2026, 1, 1, tzinfo=UTC) - timedelta(days=cls.looks)


def test_a_clock_that_jumps_changes_nothing_but_the_time_in_the_record(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = contents(project / "o")
    monkeypatch.setattr("reanalysis.output.datetime", JumpingClock)
    monkeypatch.setattr("reanalysis.lock.datetime", JumpingClock)
    result = invoke("run", "t.csv", "--out", "o", "--engine", "reml", "--engine", "exact")
    assert result.exit_code == 0
    new = contents(project / "o")
    assert JumpingClock.looks >= 2
    assert new.pop("run.json") != old.pop("run.json")
    assert new == old
    record = json.loads((project / "o" / "run.json").read_text())
    assert record["started"].startswith("2025-12-")
    assert 0 < record["seconds"] < 600


@pytest.mark.parametrize("started", ["1970-01-01T00:00:00+00:00", "2999-01-01T00:00:00+00:00"])
def test_whether_a_lock_holds_does_not_depend_on_its_time(tmp_path: Path, started: str) -> None:
    lock = FolderLock(tmp_path)
    entries = json.loads((tmp_path / ".lock").read_text())
    (tmp_path / ".lock").write_text(json.dumps(entries | {"started": started}))
    with pytest.raises(OSError, match=f"since {started[:4]}"):
        FolderLock(tmp_path)
    lock.release()
    (tmp_path / ".lock").write_text(json.dumps(entries | {"started": started}))
    FolderLock(tmp_path).release()


def test_the_wall_clock_is_read_for_records_only() -> None:
    def readers(*calls: str) -> set[str]:
        found = (path for path in SOURCE.rglob("*.py") if any(c in path.read_text() for c in calls))
        return {path.name for path in found}

    assert readers("datetime.now", "utcnow", "date.today") == {"lock.py", "output.py"}
    assert readers("time.time(", "time.localtime", "time.gmtime", "from time import") == set()


# Home folders


def test_every_command_that_draws_works_without_a_home(project: Path) -> None:
    environment = {**os.environ, "HOME": "/proc/nowhere"}
    environment.pop("MPLCONFIGDIR", None)
    done = subprocess.run(
        [sys.executable, "-m", "reanalysis", "render", "o"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("note: /proc/nowhere cannot be written; caches are kept in ")
