"""The output folder: whole files or none, one run at a time, finished fits used again."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import reanalysis as ra
from reanalysis import atomic
from reanalysis.atomic import write_atomically, write_together
from reanalysis.design import Design
from reanalysis.lock import FolderLock
from reanalysis.output import OutputFolder, load_results, render_folder
from reanalysis.priors import Prior
from reanalysis.results import Posterior
from reanalysis.saved_fits import fingerprint, load_or_fit, read_fit
from reanalysis.spec import SpecError
from reanalysis.summaries import make_posterior

TABLE = "study,r,n\nLee,.2,30\nKim,.3,40\nCho,.1,50\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    path.write_text(TABLE)
    return path


@pytest.fixture
def finished(source: Path) -> Path:
    """A finished run without NUTS."""
    out = source.parent / "out"
    ra.run(source, ("reml", "exact"), out=out)
    return out


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every write fail as on a full disk, after the temporary file was opened."""

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", fail)
    yield


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


# Files


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_atomically(path, "old")
    inode = path.stat().st_ino
    write_atomically(path, "neu ä")
    assert path.read_text(encoding="utf-8") == "neu ä"
    assert path.stat().st_ino != inode
    assert files(tmp_path) == {"a.txt"}


def test_a_full_disk_leaves_the_old_files_and_no_parts(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    write_atomically(tmp_path / "a", "old")
    request.getfixturevalue("full_disk")
    with pytest.raises(OSError, match="No space left"):
        write_together({tmp_path / "a": "new", tmp_path / "b": "new"})
    assert files(tmp_path) == {"a"}
    assert (tmp_path / "a").read_text() == "old"


def test_none_of_several_files_is_replaced_when_the_last_cannot_be_written(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", "old")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        write_together({tmp_path / "a": "new", tmp_path / "file" / "b": "new"})
    assert (tmp_path / "a").read_text() == "old"


# The lock


def test_a_second_run_in_the_same_folder_is_refused_and_told_the_owner(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    with pytest.raises(OSError, match=f"in use by process {os.getpid()} on "):
        FolderLock(tmp_path)
    lock.release()
    FolderLock(tmp_path).release()
    assert files(tmp_path) == set()


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    code = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from reanalysis.lock import FolderLock
        lock = FolderLock(Path(sys.argv[1]))
        print("locked", flush=True)
        time.sleep(60)
    """)
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "locked\n"
        with pytest.raises(OSError, match=f"in use by process {owner.pid} "):
            FolderLock(tmp_path)
        owner.send_signal(signal.SIGKILL)
    assert (tmp_path / ".lock").exists()
    FolderLock(tmp_path).release()


def test_the_lock_of_another_machine_is_respected(tmp_path: Path) -> None:
    owner = {"pid": "1", "host": "elsewhere", "started": "2026-01-01T00:00:00+00:00"}
    (tmp_path / ".lock").write_text(json.dumps(owner))
    with pytest.raises(OSError, match="process 1 on elsewhere since 2026") as caught:
        FolderLock(tmp_path)
    assert "delete" in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[1]", "{}"])
def test_a_lock_that_names_nobody_is_taken_over(tmp_path: Path, content: str) -> None:
    (tmp_path / ".lock").write_text(content)
    FolderLock(tmp_path).release()


# The folder


def test_a_run_leaves_results_inputs_and_their_hashes(finished: Path) -> None:
    names = {
        "report.html",
        "results.json",
        "estimates.csv",
        "inputs/spec.toml",
        "inputs/data/t.csv",
    }
    assert files(finished) == names | {"run.json"}
    assert set(json.loads((finished / "run.json").read_text())["sha256"]) == names


def test_the_same_run_gives_the_same_bytes(source: Path) -> None:
    folders = [source.parent / name for name in ("one", "two")]
    for folder in folders:
        ra.run(source, ("reml", "exact"), out=folder)
    for name in ("report.html", "results.json", "estimates.csv"):
        one, two = ((folder / name).read_bytes() for folder in folders)
        assert one == two


def test_no_result_names_the_folders_it_was_made_in(finished: Path) -> None:
    for name in files(finished):
        assert str(finished.parent) not in (finished / name).read_text(encoding="utf-8")


def test_a_failed_run_leaves_no_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), OutputFolder(tmp_path / "new"):
        raise RuntimeError("stopped")
    assert not (tmp_path / "new").exists()


def test_parts_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    for name in (".results.json.x.part", "fits/.m.nc.x.part", "inputs/data/.t.csv.x.part"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".mine.part").write_text("")
    with OutputFolder(tmp_path):
        pass
    assert files(tmp_path) == {"other/.mine.part"}


def test_a_table_that_changes_during_the_run_is_noticed(source: Path) -> None:
    analysis = ra.run(source, ("reml",))
    source.write_text(TABLE.replace(".3", ".4"))
    with pytest.raises(OSError, match="changed while"), OutputFolder(source.parent / "o") as folder:
        folder.write(analysis)
    assert not (source.parent / "o").exists()


def test_rendering_again_needs_only_the_results_and_changes_nothing(finished: Path) -> None:
    before = (finished / "report.html").read_bytes()
    record = (finished / "run.json").read_bytes()
    (finished / "report.html").unlink()
    render_folder(finished)
    assert (finished / "report.html").read_bytes() == before
    assert (finished / "run.json").read_bytes() == record


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, "no such file"), ("{", "not valid JSON"), ("[]", "contract"), ("{}", "contract")],
)
def test_results_that_are_missing_or_broken_are_refused(
    tmp_path: Path, text: str | None, words: str
) -> None:
    if text is not None:
        (tmp_path / "results.json").write_text(text)
    with pytest.raises(SpecError, match=words):
        load_results(tmp_path)


# Saved fits


def design(shift: float = 0.0) -> Design:
    return Design(
        yi=np.array([0.1, 0.2 + shift]),
        vi=np.array([0.02, 0.03]),
        X=np.ones((2, 1)),
        coefficients=("mu",),
        cluster=np.array([0, 1]),
        cluster_names=("a", "b"),
        row_names=("a", "b"),
        levels=2,
    )


def posterior(seed: int = 1) -> Posterior:
    """A posterior with the groups of a NUTS fit, made of independent draws."""
    import xarray as xr

    rng = np.random.default_rng(seed)
    dims = ("chain", "draw")
    group = xr.Dataset(
        {
            "mu": (dims, rng.normal(size=(4, 500))),
            "theta": ((*dims, "effect"), rng.normal(size=(4, 500, 2))),
        }
    )
    statistics = xr.Dataset(
        {
            "energy": (dims, rng.normal(size=(4, 500))),
            "diverging": (dims, np.zeros((4, 500), dtype=bool)),
        }
    )
    tree = xr.DataTree.from_dict({"posterior": group, "sample_stats": statistics})
    tree.attrs = {"sampler": "none", "chains": 4, "draws": 500}
    return make_posterior(tree, design())


class Fits:
    """A folder of fits, with what was computed and told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.computed = 0
        self.told: list[str] = []

    def ask(self, *, force: bool = False, **inputs: object) -> Posterior:
        self.told.clear()

        def compute() -> Posterior:
            self.computed += 1
            return posterior()

        return load_or_fit(
            self.folder,
            "m",
            {"data": design(), "seed": 1, **inputs},
            compute,
            design(),
            force=force,
            tell=self.told.append,
        )


@pytest.fixture
def fits(tmp_path: Path) -> Fits:
    made = Fits(tmp_path / "fits")
    made.ask()
    assert made.computed == 1
    return made


def test_a_finished_fit_is_used_again_with_the_same_numbers(fits: Fits) -> None:
    again = fits.ask()
    assert fits.computed == 1
    assert "used again" in fits.told[0]
    assert again.estimates == posterior().estimates
    assert again.diagnostics == posterior().diagnostics


def test_force_fits_again(fits: Fits) -> None:
    fits.ask(force=True)
    assert fits.computed == 2


@pytest.mark.parametrize(
    ("inputs", "word"),
    [
        ({"seed": 2}, "seed"),
        ({"data": design(1e-15)}, "data"),
        ({"priors": {"mu": Prior("normal", {"sigma": 1})}}, "priors"),
        ({"versions": {"pymc": "6.0.0"}}, "versions"),
    ],
)
def test_a_fit_of_another_question_is_not_used(
    fits: Fits, inputs: dict[str, object], word: str
) -> None:
    fits.ask(**inputs)
    assert fits.computed == 2
    assert f"fitted with other {word}" in fits.told[0]


def test_a_fit_by_other_code_is_not_used(fits: Fits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reanalysis.saved_fits._code", lambda: "other")
    fits.ask()
    assert fits.computed == 2
    assert "other code" in fits.told[0]


@pytest.mark.parametrize("damage", ["truncated", "altered", "missing"])
def test_a_damaged_fit_is_named_and_fitted_again(fits: Fits, damage: str) -> None:
    file = fits.folder / "m.nc"
    raw = bytearray(file.read_bytes())
    if damage == "truncated":
        file.write_bytes(raw[: len(raw) // 2])
    elif damage == "altered":
        raw[len(raw) // 2] ^= 1
        file.write_bytes(raw)
    else:
        file.unlink()
    assert read_fit(fits.folder, "m", design()) is None
    fits.ask()
    assert fits.computed == 2
    assert "m.nc: missing, cut short or altered" in fits.told[0]
    fits.ask()
    assert fits.computed == 2


@pytest.mark.parametrize("text", ["", "[]", "{", "{}"])
def test_a_fit_whose_record_is_unreadable_is_fitted_again(fits: Fits, text: str) -> None:
    (fits.folder / "m.json").write_text(text)
    fits.ask()
    assert fits.computed == 2
    assert fits.told


def test_a_full_disk_loses_neither_the_run_before_nor_leaves_parts(
    fits: Fits, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("full_disk")
    with pytest.raises(OSError, match="No space left"):
        fits.ask(seed=2)
    assert all(not Path(name).name.startswith(".") for name in files(fits.folder))


def test_a_fingerprint_sees_values_and_not_words() -> None:
    one, other = Prior("normal", {"sigma": 1}, "why"), Prior("normal", {"sigma": 1}, "because")
    assert fingerprint({"mu": one}) == fingerprint({"mu": other})
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint(["ab"]) != fingerprint(["a", "b"])
    assert fingerprint(1) != fingerprint("1")
    assert fingerprint(0.1) != fingerprint(float(np.nextafter(0.1, 1)))
    with pytest.raises(TypeError):
        fingerprint({1, 2})


def test_a_fingerprint_is_the_same_in_every_process() -> None:
    code = "from reanalysis.saved_fits import fingerprint; print(fingerprint({'a': (1, 'x')}))"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == fingerprint({"a": (1, "x")})
