"""The output folder: checked before any work, written atomically, resumed after a break."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from reanalysis.analysis import Analysis
from reanalysis.design import Design
from reanalysis.document import CONTRACT, estimates_frame, to_document
from reanalysis.report import render_html
from reanalysis.results import Posterior
from reanalysis.spec import SpecError

__all__ = ["OutputFolder", "load_results", "render_folder", "write_atomically"]


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old or the new one, never a part.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    text : str
        Its content.

    Raises
    ------
    OSError
        If it cannot be written; an old file stays as it was.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class OutputFolder:
    """The folder of one run; a context manager."""

    def __init__(self, path: Path, *, tell: Callable[[str], None] = lambda note: None) -> None:
        self.path = path
        self._tell = tell

    def __enter__(self) -> Self:
        """Make the folder and see that it can be written."""
        (self.path / "fits").mkdir(parents=True, exist_ok=True)
        write_atomically(self.path / ".writable", "")
        (self.path / ".writable").unlink()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the folder as it is."""

    def fit(
        self,
        name: str,
        inputs: tuple[Any, ...],
        compute: Callable[[], Posterior],
        design: Design,
        *,
        force: bool,
    ) -> Posterior:
        """Return a fit: the saved one if it answers the same question, else a new one."""
        return compute()

    def write(self, analysis: Analysis) -> None:
        """Write results, estimates, spec and report.

        Parameters
        ----------
        analysis : Analysis
            The finished analysis.
        """
        document = to_document(analysis)
        text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
        html = render_html(document)
        write_atomically(self.path / "results.json", text + "\n")
        write_atomically(self.path / "estimates.csv", estimates_frame(document).to_csv(index=False))
        write_atomically(self.path / "report.html", html)


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
    document = load_results(path)
    write_atomically(path / "report.html", render_html(document))
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
    return document
