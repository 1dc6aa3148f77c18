"""Reading ``datapackage.json`` (Data Package v2) and what it declares about a table."""

import json
import math
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from reanalysis.tables import DataError

__all__ = ["missing_values", "package_roles", "package_schema", "read_codebook", "read_package"]

MISSING = frozenset({"", "NA"})
MAX_BYTES = 10_000_000
Number = Annotated[float, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
LOOSE = ConfigDict(extra="ignore", allow_inf_nan=False)


@dataclass(frozen=True, config=LOOSE)
class _Constraints:
    required: Flag = False
    unique: Flag = False
    minimum: Number = -math.inf
    maximum: Number = math.inf
    enum: tuple[Any, ...] = ()


@dataclass(frozen=True, config=LOOSE)
class _Field:
    name: str
    type: str = "any"
    constraints: _Constraints = field(default_factory=_Constraints)


@dataclass(frozen=True, config=LOOSE)
class _Schema:
    fields: tuple[_Field, ...] = ()
    missingValues: tuple[str, ...] = ("",)  # noqa: N815 - the standard's own spelling


@dataclass(frozen=True, config=LOOSE)
class _Resource:
    name: str
    path: str
    hash: str = ""
    schema: _Schema = field(default_factory=_Schema)


@dataclass(frozen=True, config=LOOSE)
class _Named:
    name: str = ""
    title: str = ""
    path: str = ""


@dataclass(frozen=True, config=LOOSE)
class _Table:
    roles: dict[str, str] = field(default_factory=dict)
    intercorrelation: Annotated[Number, Field(ge=0, lt=1)] | None = None


@dataclass(frozen=True, config=LOOSE)
class _Own:
    default: str = ""
    measure: str = ""
    direction: Literal["positive", "negative"] = "positive"
    citation: str = ""
    tables: dict[str, _Table] = field(default_factory=dict)


@dataclass(frozen=True, config=LOOSE)
class _Package:
    """What is used of a descriptor; everything else in it is left alone."""

    resources: tuple[_Resource, ...]
    title: str = ""
    licenses: tuple[_Named, ...] = ()
    sources: tuple[_Named, ...] = ()
    reanalysis: _Own = field(default_factory=_Own)


_PACKAGE = TypeAdapter(_Package)


def read_package(path: Path) -> dict[str, Any]:
    """Return the parsed ``datapackage.json`` of a folder.

    Parameters
    ----------
    path : pathlib.Path
        The folder.

    Returns
    -------
    dict
        The descriptor; every resource has a name and a path inside the folder.

    Raises
    ------
    DataError
        If it is missing, not JSON, or names a file outside the folder.
    """
    file = path / "datapackage.json"
    if not file.is_file():
        raise DataError([f"{path}: no datapackage.json; name the CSV file itself, or add one."])
    if (size := file.stat().st_size) > MAX_BYTES:
        raise DataError([f"{file}: {size:,} bytes; a descriptor holds at most {MAX_BYTES:,}."])
    try:
        package = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError([f"{file}: not valid JSON: {error}."]) from None
    try:
        checked = _PACKAGE.validate_python(package)
    except ValidationError as error:
        raise DataError(
            [
                f"{file}: {'.'.join(map(str, fault['loc'])) or 'top level'}: "
                f"{fault['msg'][0].lower()}{fault['msg'][1:]}."
                for fault in error.errors()
            ]
        ) from None
    if not checked.resources:
        raise DataError([f"{file}: 'resources' is empty; it needs at least one table."])
    problems = [
        f"{file}: resource '{resource.name}' lies outside its folder ({resource.path!r}); move "
        "the file into it."
        for resource in checked.resources
        if "\0" in resource.path
        or not (path / resource.path).resolve().is_relative_to(path.resolve())
    ]
    names = [resource.name for resource in checked.resources]
    problems += [
        f"{file}: two resources are called '{name}'; rename one."
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    if problems:
        raise DataError(problems)
    return package


def read_codebook(path: Path) -> str:
    """Return the ``codebook.md`` of a folder, which the report shows.

    Parameters
    ----------
    path : pathlib.Path
        The folder.

    Returns
    -------
    str
        Its text; empty where there is none.

    Raises
    ------
    DataError
        If it is a link out of the folder, too large, or not UTF-8.
    """
    file = path / "codebook.md"
    if not file.is_file():
        return ""
    if not file.resolve().is_relative_to(path.resolve()):
        raise DataError([f"{file}: a link out of its folder; put the text itself there."])
    if (size := file.stat().st_size) > MAX_BYTES:
        raise DataError([f"{file}: {size:,} bytes; a codebook holds at most {MAX_BYTES:,}."])
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            [f"{file}: byte {error.start} is not UTF-8; save the file as UTF-8."]
        ) from None


def package_roles(package: Mapping[str, Any], resource: str) -> dict[str, str]:
    """Return the column roles that a package declares for a table."""
    tables = package.get("reanalysis", {}).get("tables", {})
    return dict(tables.get(resource, {}).get("roles", {}))


def package_schema(package: Mapping[str, Any], resource: str) -> dict[str, dict[str, Any]]:
    """Return the fields of a table by name; empty for a bare CSV."""
    for entry in package.get("resources", []):
        if entry["name"] == resource:
            return {f["name"]: f for f in entry.get("schema", {}).get("fields", [])}
    return {}


def missing_values(package: Mapping[str, Any], resource: str) -> frozenset[str]:
    """Return the cells that count as missing in a table."""
    for entry in package.get("resources", []):
        if entry["name"] == resource:
            return frozenset(entry.get("schema", {}).get("missingValues", [""]))
    return MISSING
