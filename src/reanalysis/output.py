"""The output folder: checked before any work, written atomically, resumed after a break.

report.html, results.json, estimates.csv   what was found; byte-identical when repeated
run.json                                   when, how long, and the hashes of all files
inputs/                                    the spec and the data
fits/                                      draws of NUTS, used again by the next run
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Self

from reanalysis.analysis import Analysis
from reanalysis.archive import INPUTS, archived_files
from reanalysis.atomic import PART, write_atomically, write_together
from reanalysis.design import Design
from reanalysis.document import CONTRACT, estimates_frame, to_document
from reanalysis.lock import FolderLock
from reanalysis.report import render_html
from reanalysis.results import Posterior
from reanalysis.saved_fits import load_or_fit
from reanalysis.spec import SpecError

__all__ = ["OutputFolder", "load_results", "render_folder", "results_text", "write_atomically"]

# What the results of every run hold, and the type it has in JSON.
PARTS = {
    "name": str,
    "title": str,
    "seed": int,
    "engines": list,
    "versions": dict,
    "data": dict,
    "models": dict,
}
MODEL_PARTS = {"k": int, "m": int, "coefficients": list, "spec": dict, "effects": list}

RECORD = "run.json"


class OutputFolder:
    """The folder of one run; a context manager that holds its lock.

    Parameters
    ----------
    path : pathlib.Path
        The folder; made if it is not there.
    tell : callable, optional
        Told in words what became of saved fits.
    """

    def __init__(self, path: Path, *, tell: Callable[[str], None] = lambda note: None) -> None:
        self.path = path
        self._tell = tell

    def __enter__(self) -> Self:
        """Make the folder, lock it and see that it can be written.

        Raises
        ------
        OSError
            If it cannot be written, or another run is using it.
        """
        self._began = datetime.now(UTC), time.monotonic()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = FolderLock(self.path)
        except OSError as error:
            if error.strerror is None:
                raise
            raise OSError(
                f"{self.path}: cannot be written ({error.strerror}); name another folder as --out."
            ) from None
        parts = (self.path.glob(f"{where}.*{PART}") for where in ("", "fits/", f"{INPUTS}/**/"))
        for part in chain.from_iterable(parts):
            part.unlink(missing_ok=True)  # left by a run that was killed
        return self

    def __exit__(self, *_: object) -> None:
        """Release the lock; a folder without any file is removed."""
        self._lock.release()
        with suppress(OSError):
            self.path.rmdir()

    def fit(
        self,
        name: str,
        inputs: Mapping[str, object],
        compute: Callable[[], Posterior],
        design: Design,
        *,
        force: bool,
    ) -> Posterior:
        """Return a fit: the saved one if it answers the same question, else a new one.

        Parameters
        ----------
        name : str
            Name of the model.
        inputs : mapping of str to object
            Everything that determines the draws, by name.
        compute : callable
            Fits the model.
        design : Design
            The arrays of the model.
        force : bool
            Whether to fit in any case.

        Returns
        -------
        Posterior
            The fit, saved in ``fits/``.
        """
        return load_or_fit(
            self.path / "fits", name, inputs, compute, design, force=force, tell=self._tell
        )

    def store(self, *, force: bool) -> Path:
        """Return the folder for the fits of multiverse and calibration.

        Parameters
        ----------
        force : bool
            Whether to forget those of a former run.

        Returns
        -------
        pathlib.Path
            ``fits/``; made when the first fit is kept.
        """
        fits = self.path / "fits"
        if force:
            for lines in fits.glob("*.jsonl"):
                lines.unlink()
        return fits

    def write(self, analysis: Analysis) -> None:
        """Write report, results, estimates, inputs and the record of the run.

        Parameters
        ----------
        analysis : Analysis
            The finished analysis.

        Raises
        ------
        OSError
            If a file cannot be written; then all are as they were.
        """
        document = to_document(analysis)
        files: dict[str, bytes] = {
            "report.html": render_html(document).encode(),
            "results.json": results_text(document).encode(),
            "estimates.csv": estimates_frame(document).to_csv(index=False).encode(),
            **archived_files(analysis),
        }
        began, clock = self._began
        record = {
            "started": began.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - clock, 1),
            "sha256": {
                name: hashlib.sha256(content).hexdigest() for name, content in files.items()
            },
        }
        write_together(
            {self.path / name: content for name, content in files.items()}
            | {self.path / RECORD: json.dumps(record, indent=1) + "\n"}
        )


def results_text(document: Mapping[str, Any]) -> str:
    """Return a results document as the text of ``results.json``.

    Parameters
    ----------
    document : mapping
        From `reanalysis.document.to_document`.

    Returns
    -------
    str
        JSON with numbers at full precision.
    """
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def render_folder(path: Path) -> Path:
    """Make the report of a finished run again from its results.

    Parameters
    ----------
    path : pathlib.Path
        Folder of the run.

    Returns
    -------
    pathlib.Path
        The report.

    Raises
    ------
    SpecError
        If there are no results, or they are not those of a run.
    OSError
        If a file cannot be read or written.
    """
    load_results(path)  # a folder without results is none of ours: no lock is put there
    with OutputFolder(path):
        html = render_html(load_results(path)).encode()
        files: dict[Path, str | bytes] = {path / "report.html": html}
        record = load_record(path)
        if record:
            record["sha256"]["report.html"] = hashlib.sha256(html).hexdigest()
            files[path / RECORD] = json.dumps(record, indent=1) + "\n"
        write_together(files)
    return path / "report.html"


def load_results(path: Path) -> dict[str, Any]:
    """Return the results document of a finished run.

    Parameters
    ----------
    path : pathlib.Path
        Folder of the run.

    Returns
    -------
    dict
        Content of ``results.json``.

    Raises
    ------
    SpecError
        If there is none, or it is not JSON of this contract.
    OSError
        If it cannot be read.
    """
    file = path / "results.json"
    if not file.exists():
        raise SpecError([f"{file}: no such file; name the output folder of `reanalysis run`."])
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise SpecError([f"{file}: not valid JSON ({error}); run the analysis again."]) from None
    if not isinstance(document, dict) or document.get("contract") != CONTRACT:
        raise SpecError(
            [f"{file}: not results of this version (contract {CONTRACT}); run the analysis again."]
        )
    problems = _missing_parts(document)
    if problems:
        again = "it was changed after the run; run the analysis again."
        raise SpecError([f"{file}: {problem}; {again}" for problem in problems])
    return document


def _missing_parts(document: dict[str, Any]) -> list[str]:
    """Name what every run writes and this document lacks: a page cannot be made without it."""
    problems = [
        f"'{key}' is missing or no {kind.__name__}"
        for key, kind in PARTS.items()
        if not isinstance(document.get(key), kind)
    ]
    if problems:
        return problems
    if not document["models"]:
        return ["'models' is empty"]
    return [
        f"'models.{name}.{key}' is missing or no {kind.__name__}"
        for name, model in document["models"].items()
        for key, kind in MODEL_PARTS.items()
        if not isinstance(model, dict) or not isinstance(model.get(key), kind)
    ]


def load_record(path: Path) -> dict[str, Any]:
    """Return ``run.json`` of a finished run; empty where it is missing or broken."""
    try:
        record = json.loads((path / RECORD).read_text(encoding="utf-8"))
    except (ValueError, RecursionError, FileNotFoundError):
        return {}
    return record if isinstance(record, dict) and isinstance(record.get("sha256"), dict) else {}
