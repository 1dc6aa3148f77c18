"""Saved NUTS fits: used again when they answer the same question, and only then.

A fit is two files: ``<model>.nc`` with the draws, and ``<model>.json`` with the fingerprint of
everything that determined them and the hash of the draws. netCDF readers do not notice flipped
bytes; the hash does.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date, time
from pathlib import Path

import numpy as np

from reanalysis.atomic import write_atomically
from reanalysis.design import Design
from reanalysis.results import Posterior

__all__ = ["fingerprint", "load_or_fit", "read_fit"]

WORDS = ("title", "rationale")  # fields that no number depends on
SAMPLING = (
    "builders",
    "selection",
    "nuts.py",
    "sampler_settings.py",
)  # code that determines the draws


def load_or_fit(
    folder: Path,
    name: str,
    inputs: Mapping[str, object],
    compute: Callable[[], Posterior],
    design: Design,
    *,
    force: bool,
    tell: Callable[[str], None],
) -> Posterior:
    """Return the saved fit of a model if it answers the same question, else a new one.

    Parameters
    ----------
    folder : pathlib.Path
        Where fits are saved.
    name : str
        Name of the model.
    inputs : mapping of str to object
        Everything that determines the draws, by name: design, priors, settings, seed, ...
    compute : callable
        Fits the model.
    design : Design
        The arrays of the model.
    force : bool
        Whether to fit in any case.
    tell : callable
        Told in words what became of a saved fit.

    Returns
    -------
    Posterior
        The fit; saved before it is returned.

    Raises
    ------
    OSError
        If the fit cannot be saved.
    """
    prints = {part: fingerprint(value) for part, value in inputs.items()}
    prints["code"] = _code()
    file, manifest = folder / f"{name}.nc", folder / f"{name}.json"
    if not force:
        saved = _manifest(manifest)
        if saved is None and file.exists():
            tell(f"{file}: no usable record of what it answers; fitting again.")
        elif saved is not None:
            kept = saved.get("fingerprints")
            stale = [p for p in prints if not isinstance(kept, dict) or kept.get(p) != prints[p]]
            if stale:
                tell(f"{file}: fitted with other {', '.join(stale)}; fitting again.")
            elif (posterior := read_fit(folder, name, design)) is not None:
                tell(f"{file}: finished before, used again.")
                return posterior
            else:
                bad = file.with_suffix(".nc.bad")
                if file.exists():
                    file.replace(bad)
                tell(f"{file}: missing, cut short or altered (kept as {bad.name}); fitting again.")
    posterior = compute()
    _save(posterior, file, manifest, prints)
    return posterior


def read_fit(folder: Path, name: str, design: Design) -> Posterior | None:
    """Return a saved fit, its convergence checked anew.

    Parameters
    ----------
    folder : pathlib.Path
        Where fits are saved.
    name : str
        Name of the model.
    design : Design
        The arrays of the model.

    Returns
    -------
    Posterior or None
        None if there is none, or it is not what was saved.
    """
    saved = _manifest(folder / f"{name}.json")
    file = folder / f"{name}.nc"
    if saved is None or not file.is_file() or _sha256(file) != saved.get("sha256"):
        return None
    # Imported here: ArviZ takes seconds, and most calls end before.
    from reanalysis.summaries import load_draws, make_posterior

    return make_posterior(load_draws(file), design)


def fingerprint(value: object) -> str:
    """Return a hash of a value that is the same in every process.

    Parameters
    ----------
    value : object
        Numbers, text, dates, arrays, and records, mappings and sequences of them. Titles and
        rationales do not count.

    Returns
    -------
    str
        SHA-256 in hexadecimal digits.

    Raises
    ------
    TypeError
        If the value holds something else.
    """
    digest = hashlib.sha256()
    _feed(value, digest.update)
    return digest.hexdigest()


def _feed(value: object, update: Callable[[bytes], None]) -> None:
    update(f"<{type(value).__name__}>".encode())
    if value is None or isinstance(value, str | int | float | date | time):
        update(repr(value).encode())
    elif isinstance(value, np.ndarray):
        update(f"{value.dtype.str}{value.shape}".encode())
        update(np.ascontiguousarray(value).tobytes())
    elif is_dataclass(value):
        _feed({f.name: getattr(value, f.name) for f in fields(value)}, update)
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            if key not in WORDS:
                update(f"{key}=".encode())
                _feed(value[key], update)
    elif isinstance(value, Sequence):
        for entry in value:
            _feed(entry, update)
    else:
        raise TypeError(f"no fingerprint for {type(value).__name__}")
    update(b"</>")


def _code() -> str:
    """Return a hash of the source that samples, so that a changed program fits again."""
    package = Path(__file__).parent
    files = [
        path for name in SAMPLING for path in ([package / name], (package / name).glob("*.py"))
    ]
    paths = sorted({p for group in files for p in group if p.is_file()})
    return fingerprint([path.read_text(encoding="utf-8") for path in paths])


def _save(posterior: Posterior, file: Path, manifest: Path, prints: Mapping[str, str]) -> None:
    from reanalysis.summaries import save_draws

    assert posterior.draws is not None
    file.parent.mkdir(parents=True, exist_ok=True)
    # Without its record a fit is not used: a break between the two writes costs a refit only.
    manifest.unlink(missing_ok=True)
    save_draws(posterior.draws, file)
    record = {"sha256": _sha256(file), "fingerprints": dict(prints)}
    write_atomically(manifest, json.dumps(record, indent=1) + "\n")


def _manifest(path: Path) -> dict[str, object] | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, FileNotFoundError):
        return None
    return record if isinstance(record, dict) else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
