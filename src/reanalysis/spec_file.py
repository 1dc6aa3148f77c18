"""Reading a spec: a TOML file, checked completely before anything is computed.

`load_reanalysis` reports every fault of a file at once, each with its place and the remedy.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import field, fields
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from reanalysis.spec import (
    CONFIG,
    Average,
    Axis,
    CalibrationPlan,
    Claim,
    DataSource,
    ModelSpec,
    Reanalysis,
    Rope,
    Rung,
    Sampler,
    Source,
    SpecError,
)
from reanalysis.spec_faults import describe_fault
from reanalysis.spec_values import LIST, Count, suggest

__all__ = ["identifier", "load_reanalysis", "parse_reanalysis", "toml_string"]

MAX_BYTES = 1_000_000
HINTS = {
    "Cannot overwrite a value": "; the key is there twice, delete one",
    "Cannot declare": "; the table is there twice, delete one or write [[double brackets]]",
    "Cannot mutate immutable": "; the key is there twice, delete one",
    "Invalid value": "; write text in quotes, numbers with a point, and true or false",
}


@dataclass(frozen=True, config=CONFIG)
class _File:
    """The layout of a spec file."""

    data: DataSource
    title: str = ""
    seed: Annotated[Count, Field(ge=0, lt=2**32)] = 2021
    model: Annotated[tuple[ModelSpec, ...], LIST] = ()
    claim: Annotated[tuple[Claim, ...], LIST] = ()
    multiverse: Annotated[tuple[Axis, ...], LIST] = ()
    ladder: Annotated[tuple[Rung, ...], LIST] = ()
    rope: Rope | None = None
    average: Average | None = None
    calibration: CalibrationPlan | None = None
    sampler: Sampler = field(default_factory=Sampler)
    source: Source = field(default_factory=Source)
    limits: Annotated[tuple[str, ...], LIST] = ()


_FILE = TypeAdapter(_File)

KNOWN: Mapping[str, tuple[str, ...]] = {
    name: tuple(entry.name for entry in fields(record))
    for name, record in {
        "": _File,
        "data": DataSource,
        "model": ModelSpec,
        "claim": Claim,
        "multiverse": Axis,
        "ladder": Rung,
        "rope": Rope,
        "average": Average,
        "calibration": CalibrationPlan,
        "sampler": Sampler,
        "source": Source,
    }.items()
}


def load_reanalysis(path: str | Path) -> Reanalysis:
    """Read a spec file.

    Parameters
    ----------
    path : str or pathlib.Path
        A TOML file in the form of the contract.

    Returns
    -------
    Reanalysis
        The checked spec.

    Raises
    ------
    SpecError
        With every fault of the file.
    OSError
        If the file cannot be read.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise OSError(f"{path}: not a regular file; name a TOML file.")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise SpecError([f"{path}: {size:,} bytes; a spec holds at most {MAX_BYTES:,}."])
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(
            [f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8."]
        ) from None
    return parse_reanalysis(text, name=identifier(path.stem), path=path)


def identifier(text: str) -> str:
    """Return text as a name that is safe in a path: small letters, digits, ``_`` and ``-``.

    Parameters
    ----------
    text : str
        Usually the name of a file without its ending.

    Returns
    -------
    str
        At most 64 characters; ``table`` where nothing is left.
    """
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in text.lower())
    return kept.strip("_-")[:64] or "table"


def parse_reanalysis(text: str, *, name: str, path: Path | None = None) -> Reanalysis:
    """Check the text of a spec.

    Parameters
    ----------
    text : str
        TOML.
    name : str
        Name of the reanalysis.
    path : pathlib.Path, optional
        File it came from; relative paths start in its folder.

    Returns
    -------
    Reanalysis
        The checked spec.

    Raises
    ------
    SpecError
        With every fault of the text.
    """
    where = str(path) if path else name
    try:
        raw = tomllib.loads(text)
    except RecursionError:
        raise SpecError([f"{where}: brackets are nested too deeply to be a spec."]) from None
    except tomllib.TOMLDecodeError as error:
        hint = next((words for sign, words in HINTS.items() if sign in str(error)), "")
        raise SpecError([f"{where}: not valid TOML: {error}{hint}."]) from None
    except ValueError:  # what Python says of a number with thousands of digits
        raise SpecError(
            [f"{where}: not valid TOML: a number has thousands of digits; correct it."]
        ) from None
    try:
        file = _FILE.validate_python(raw)
    except ValidationError as error:
        found = [
            fault
            for detail in error.errors()
            for fault in describe_fault(where, raw, detail, KNOWN)
        ]
        raise SpecError(found) from None
    problems = _cross_checks(where, file)
    if problems:
        raise SpecError(problems)
    return Reanalysis(
        name=name,
        title=file.title or name,
        data=file.data,
        models={model.name: model for model in file.model},
        claims=file.claim,
        multiverse=file.multiverse,
        ladder=file.ladder,
        seed=file.seed,
        rope=file.rope,
        average=file.average,
        calibration=file.calibration,
        sampler=file.sampler,
        source=file.source,
        limits=file.limits,
        path=path,
        text=text,
    )


def toml_string(text: str) -> str:
    """Return text as a TOML string.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        In quotes, escaped.
    """
    # JSON's escapes are TOML's, but for DEL, which TOML wants escaped as well.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _cross_checks(where: str, file: _File) -> list[str]:
    problems = []
    names = [model.name for model in file.model]
    for kind, labels in (
        ("model", names),
        ("claim", [claim.id for claim in file.claim]),
        ("multiverse", [axis.name for axis in file.multiverse]),
        ("ladder", [rung.name for rung in file.ladder]),
    ):
        for label in dict.fromkeys(label for label in labels if labels.count(label) > 1):
            problems.append(f"{where}: [[{kind}]] {label!r} is there twice; rename one.")
    for claim in file.claim:
        if claim.model and names and claim.model not in names:
            problems.append(
                f"{where}: [[claim]] {claim.id!r}: 'model' is {claim.model!r}, "
                f"which is not defined{suggest(claim.model, tuple(names))}"
            )
    if file.average and file.average.model not in names:
        problems.append(
            f"{where}: [average]: 'model' is {file.average.model!r}, "
            f"which is not defined{suggest(file.average.model, tuple(names))}"
        )
    axes = tuple(axis.name for axis in file.multiverse)
    problems += [
        f"{where}: [[multiverse]] {axis.name!r}: 'apart_from' names {other!r}, which is no other "
        f"axis{suggest(other, tuple(name for name in axes if name != axis.name))}"
        for axis in file.multiverse
        for other in axis.apart_from
        if other not in axes or other == axis.name
    ]
    for position, rung in enumerate(file.ladder):
        start = f"{where}: [[ladder]] {rung.name!r}: "
        if rung.model and rung.model not in names:
            problems.append(
                f"{start}'model' is {rung.model!r}, which is not defined"
                f"{suggest(rung.model, tuple(names))}"
            )
        if bool(rung.published) != (position == 0):
            problems.append(f"{start}'published' belongs to the first rung, and only there.")
        elif position == 0 and "estimate" not in rung.published:
            problems.append(f"{start}'published' needs an 'estimate'.")
    return problems
