"""Reading ``datapackage.json`` (Data Package v2) and what it declares about a table."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reanalysis.tables import DataError

__all__ = ["missing_values", "package_roles", "package_schema", "read_package"]

MISSING = frozenset({"", "NA"})


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
    try:
        package = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError([f"{file}: not valid JSON: {error}."]) from None
    resources = package.get("resources") if isinstance(package, dict) else None
    if not isinstance(resources, list) or not resources:
        raise DataError([f"{file}: needs a list 'resources' with at least one table."])
    problems = []
    for position, resource in enumerate(resources, start=1):
        keys = ("name", "path")
        if not isinstance(resource, dict) or not all(
            isinstance(resource.get(k), str) for k in keys
        ):
            problems.append(f"{file}: resource {position} needs a 'name' and a 'path'.")
        elif not (path / resource["path"]).resolve().is_relative_to(path.resolve()):
            problems.append(
                f"{file}: resource '{resource['name']}' lies outside its folder "
                f"({resource['path']}); move the file into it."
            )
    if problems:
        raise DataError(problems)
    return package


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
