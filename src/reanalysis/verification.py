"""Checking a finished run: every saved number is computed again from the archived inputs.

Three things are compared. The hashes of `run.json` show any edit, down to the last digit. The
numbers of REML, the exact engine and everything built on them are computed anew and compared with
``results.json``; those of NUTS are taken from its saved draws, or, where these were not kept,
checked against the exact engine within Monte-Carlo error. Estimates and report are made again from
the results and compared as text.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reanalysis.analysis import Options, fit_all
from reanalysis.archive import load_archive
from reanalysis.design import Design
from reanalysis.document import estimates_frame, to_document
from reanalysis.output import RECORD, load_record, load_results, results_text
from reanalysis.plan import ENGINES, plan
from reanalysis.report import render_html
from reanalysis.results import Diagnostics, EngineError, Estimate, Posterior
from reanalysis.saved_fits import read_fit
from reanalysis.spec import SpecError
from reanalysis.tables import DataError

__all__ = ["Difference", "Verification", "verify_folder"]

# Another processor or BLAS sums in another order; what an edit changes less than this is for the
# hashes to find.
RTOL, ATOL = 1e-6, 1e-9

Json = dict[str, Any]


@dataclass(frozen=True)
class Difference:
    """One thing that is not what it should be.

    Attributes
    ----------
    file : str
        File of the run's folder.
    place : str
        Place in the file; empty for the whole of it.
    saved, expected : str
        What is there, and what should be.
    """

    file: str
    place: str
    saved: str
    expected: str

    def __str__(self) -> str:
        """Return file, place and both values in one line."""
        where = f"{self.file}: {self.place}" if self.place else self.file
        return f"{where}: {self.saved}; expected {self.expected}"


@dataclass(frozen=True)
class Verification:
    """What a verification found.

    Attributes
    ----------
    differences : tuple of Difference
        Empty where everything is as it was computed.
    numbers : int
        Numbers of ``results.json`` that were computed again.
    notes : tuple of str
        What could be checked in part only, and why.
    """

    differences: tuple[Difference, ...]
    numbers: int
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def to_dict(self) -> dict[str, Any]:
        """Return the record for ``--json``."""
        return {"ok": self.ok, **asdict(self)}


def verify_folder(folder: Path) -> Verification:
    """Compute every saved number of a run again and compare.

    Parameters
    ----------
    folder : pathlib.Path
        Output folder of a finished run; nothing in it is changed.

    Returns
    -------
    Verification
        What differs, and what could be checked in part only.

    Raises
    ------
    SpecError
        If the folder has no results, or they are not those of a run.
    OSError
        If a file cannot be read.
    """
    document = load_results(folder)
    differences = list(_changed_files(folder))
    saved = _SavedNuts(folder, document)
    try:
        found = _recompute(folder, document, saved)
    except (SpecError, DataError) as error:
        problems = [Difference("inputs", "", p, "the inputs of the run") for p in error.problems]
        return Verification((*differences, *problems), 0)
    notes = [*saved.notes]
    edited = [
        Difference("results.json", place, _shown(there), _shown(expected))
        for place, there, expected in _unequal(saved.repeated(document), saved.repeated(found))
    ]
    differences += [*edited, *saved.strangers(found)]
    changed = _other_versions(document, found)
    if changed:
        notes.append(f"made with {changed}; the look of the report was not compared.")
    # Where the results themselves were edited, the other files are held against the true ones.
    truth = found if edited else document
    differences += _unequal_text(folder, truth, report=not changed)
    return Verification(tuple(differences), _count_numbers(found), tuple(notes))


class _SavedNuts:
    """The NUTS fits of a run: from their draws, or else from the numbers in its results."""

    def __init__(self, folder: Path, document: Json) -> None:
        self._folder = folder
        self._models = document["models"]
        self._without_draws: list[str] = []
        self.notes: list[str] = []

    def keep(
        self,
        name: str,
        inputs: Mapping[str, object],
        compute: Callable[[], Posterior],
        design: Design,
    ) -> Posterior:
        """Return the saved fit of a model; `reanalysis.analysis.Options` takes this as `keep`."""
        posterior = read_fit(self._folder / "fits", name, design)
        if posterior is not None:
            return posterior
        model = self._models[name]
        if "nuts" not in model:
            raise EngineError(str(model.get("skipped", {}).get("nuts", "not in the results")))
        self._without_draws.append(name)
        self.notes.append(
            f"{name}: the draws of NUTS are not in the folder; its estimates were compared with "
            "the exact engine within Monte-Carlo error only, and what else rests on the draws was "
            "not."
        )
        try:
            return _posterior_from(model, design)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SpecError(
                [f"results.json: models.{name}.nuts cannot be read ({error!r})."]
            ) from None

    def repeated(self, document: Json) -> Json:
        """Return a document without what only draws give, where they are not in the folder."""
        if not self._without_draws:
            return document
        kept = deepcopy(document)
        for name in self._without_draws:
            moderation = kept["models"][name].get("moderation", {})
            for table, rows in moderation.items():
                if isinstance(rows, list):
                    moderation[table] = [row for row in rows if not _of_nuts(row)]
        if next(iter(kept["models"])) in self._without_draws:
            for part in ("scaling", "loo", "skipped"):
                kept.get("sensitivity", {}).pop(part, None)
        return kept

    def strangers(self, found: Json) -> Iterator[Difference]:
        """Yield the NUTS estimates without draws that the exact engine contradicts."""
        for name in self._without_draws:
            for row in found["models"][name]["agreement"]:
                if not row["agrees"]:
                    yield Difference(
                        "results.json",
                        f"models.{name}.nuts.estimates.{row['parameter']}.mean",
                        _shown(row["nuts"]),
                        f"{_shown(row['exact'])} within 4 Monte-Carlo standard errors",
                    )


def _of_nuts(row: object) -> bool:
    return isinstance(row, dict) and row.get("engine") == "nuts"


def _recompute(folder: Path, document: Json, saved: _SavedNuts) -> Json:
    strange = [engine for engine in document["engines"] if engine not in ENGINES]
    if strange:
        raise SpecError([f"{folder / 'results.json'}: engines: {strange[0]!r} is none."])
    asked = load_archive(folder, document["name"])
    planned = plan(asked, models=list(document["models"]))
    options = Options(engines=tuple(document["engines"]), seed=document["seed"], keep=saved.keep)
    found: Json = json.loads(results_text(to_document(fit_all(planned, options))))
    return found


def _posterior_from(model: Json, design: Design) -> Posterior:
    """Return a posterior without draws from its entry in the results."""
    saved = model["nuts"]
    estimates = {
        name: Estimate(
            name,
            float(e["mean"]),
            sd=e.get("sd"),
            lower=e.get("lower"),
            upper=e.get("upper"),
            interval=e["interval"],
            median=e.get("median"),
            numerical_error=e.get("numerical_error"),
            scale=e["scale"],
        )
        for name, e in saved["estimates"].items()
    }
    d = dict(saved["diagnostics"])
    table = pd.DataFrame(d.pop("table", []))
    d["failures"] = tuple(d.get("failures", ()))
    effects = pd.DataFrame([row["nuts"] for row in model["effects"] if "nuts" in row])
    return Posterior(
        "nuts",
        estimates,
        effects=effects,
        diagnostics=Diagnostics(
            **{key: d.get(key, float("nan")) for key in GATE},
            **{key: value for key, value in d.items() if key not in GATE},
            table=table.set_index("parameter") if "parameter" in table else table,
        ),
    )


GATE = ("rhat_max", "ess_bulk_min", "ess_tail_min", "ebfmi_min")


def _changed_files(folder: Path) -> Iterator[Difference]:
    record = load_record(folder)
    if not record:
        yield Difference(RECORD, "", "missing or unreadable", "the hashes of the run's files")
    for name, digest in record.get("sha256", {}).items():
        yield from _changed(folder / name, name, digest)
    for manifest in sorted((folder / "fits").glob("*.json")):
        name = f"fits/{manifest.stem}.nc"
        try:
            digest = json.loads(manifest.read_text(encoding="utf-8"))["sha256"]
        except (ValueError, KeyError, TypeError):
            yield Difference(f"fits/{manifest.name}", "", "unreadable", "the hash of the draws")
        else:
            yield from _changed(folder / name, name, digest)


def _changed(path: Path, name: str, digest: object) -> Iterator[Difference]:
    if not path.is_file():
        yield Difference(name, "", "missing", "as the run wrote it")
    elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        yield Difference(name, "", "changed after the run", "as the run wrote it")


def _unequal(saved: object, found: object, place: str = "") -> Iterator[tuple[str, object, object]]:
    """Yield place, saved and recomputed value of everything that differs."""
    if isinstance(saved, dict) and isinstance(found, dict):
        for key in dict.fromkeys([*saved, *found]):
            if place or key != "versions":
                inner = f"{place}.{key}" if place else str(key)
                yield from _unequal(saved.get(key), found.get(key), inner)
    elif isinstance(saved, list) and isinstance(found, list):
        for i, (one, other) in enumerate(zip_longest(saved, found)):
            label = other.get("parameter") if isinstance(other, dict) else None
            yield from _unequal(one, other, f"{place}[{label or i}]")
    elif _is_number(saved) and _is_number(found):
        if not np.isclose(float(saved), float(found), rtol=RTOL, atol=ATOL):  # type: ignore[arg-type]
            yield place, saved, found
    elif saved != found:
        yield place, saved, found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _count_numbers(value: object) -> int:
    if isinstance(value, dict):
        return sum(map(_count_numbers, value.values()))
    if isinstance(value, list):
        return sum(map(_count_numbers, value))
    return int(_is_number(value))


def _shown(value: object) -> str:
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _other_versions(document: Json, found: Json) -> str:
    saved = document.get("versions")
    if not isinstance(saved, dict):
        return "unknown versions"
    return ", ".join(
        f"{name} {saved.get(name, 'unknown')} (here {version})"
        for name, version in found["versions"].items()
        if saved.get(name) != version
    )


def _unequal_text(folder: Path, document: Json, *, report: bool) -> Iterator[Difference]:
    """Yield where estimates and report are not what the results make of them."""
    texts = {"estimates.csv": estimates_frame(document).to_csv(index=False)}
    if report:
        texts["report.html"] = render_html(document)
    for name, expected in texts.items():
        if not (folder / name).is_file():
            continue  # missing files are named by their hashes
        there = (folder / name).read_bytes().decode("utf-8", "replace")
        if there == expected:
            continue
        at = next(
            (i for i, (a, b) in enumerate(zip(there, expected, strict=False)) if a != b),
            min(len(there), len(expected)),
        )
        start = max(0, at - 20)
        line = there.count("\n", 0, at) + 1
        yield Difference(
            name,
            f"line {line}",
            _shown(there[start : at + 20]),
            _shown(expected[start : at + 20]),
        )
