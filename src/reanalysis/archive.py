"""The inputs of a run, copied beside its results, so that the folder stands on its own."""

import hashlib
from dataclasses import replace
from pathlib import Path

from reanalysis.analysis import Analysis
from reanalysis.datapackage import read_package
from reanalysis.spec import Reanalysis, SpecError
from reanalysis.spec_file import parse_reanalysis

__all__ = ["INPUTS", "archived_files", "load_archive"]

INPUTS = "inputs"


def archived_files(analysis: Analysis) -> dict[str, bytes]:
    """Return the files that a run was made from.

    Parameters
    ----------
    analysis : Analysis
        The finished analysis.

    Returns
    -------
    dict of str to bytes
        Content by path inside the output folder: the spec as it was written, and the data folder
        or CSV. Empty where the data did not come from a file.

    Raises
    ------
    OSError
        If a file cannot be read, or the table has changed since the run read it.
    """
    source = Path(analysis.data.provenance.path)
    if not source.exists():
        return {}
    files: dict[str, bytes] = {}
    if source.is_dir():
        names = ["datapackage.json", "codebook.md"]
        names += [resource["path"] for resource in read_package(source)["resources"]]
        home = f"{INPUTS}/data/{source.resolve().name}"
        for name in names:
            if (source / name).is_file():
                files[f"{home}/{name}"] = (source / name).read_bytes()
    else:
        files[f"{INPUTS}/data/{source.name}"] = source.read_bytes()
    if analysis.data.provenance.sha256 not in {_sha256(content) for content in files.values()}:
        raise OSError(f"{source}: changed while the analysis was running; run it again.")
    if analysis.spec.text:
        files[f"{INPUTS}/spec.toml"] = analysis.spec.text.encode()
    return files


def load_archive(folder: Path, name: str) -> Reanalysis:
    """Return the spec that a finished run archived, with its data path set to the archive.

    Parameters
    ----------
    folder : pathlib.Path
        Output folder of the run.
    name : str
        Name of the reanalysis.

    Returns
    -------
    Reanalysis
        The spec; `reanalysis.analysis.run` takes it.

    Raises
    ------
    SpecError
        If the folder has no archived spec or data.
    OSError
        If they cannot be read.
    """
    home = folder / INPUTS
    spec = home / "spec.toml"
    tables = sorted((home / "data").glob("*")) if (home / "data").is_dir() else []
    if not spec.is_file() or len(tables) != 1:
        raise SpecError([f"{home}: does not hold the spec and the data of the run."])
    text = spec.read_text(encoding="utf-8")
    asked = parse_reanalysis(text, name=name, path=spec)
    return replace(asked, data=replace(asked.data, path=f"data/{tables[0].name}"))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
