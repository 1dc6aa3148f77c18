"""What pydantic finds wrong with a spec, in words: file, place, value and remedy."""

from collections.abc import Mapping
from typing import Any

from reanalysis.spec_values import shorten, suggest

__all__ = ["describe_fault"]

REMEDIES = {
    "string_type": "write text in quotes",
    "float_type": "write a number",
    "int_type": "write a whole number",
    "tuple_type": "write a list, such as [1, 2], or tables in double brackets: [[model]]",
    "dataclass_type": "write a table with its keys",
    "finite_number": "write a finite number",
}


def describe_fault(
    where: str, raw: Mapping[str, Any], detail: Any, known: Mapping[str, tuple[str, ...]]
) -> list[str]:
    """Return what pydantic found at one place.

    Parameters
    ----------
    where : str
        The file.
    raw : mapping
        The parsed TOML.
    detail : mapping
        One of pydantic's errors.
    known : mapping of str to tuple of str
        Keys of each table; ``""`` for the top level.

    Returns
    -------
    list of str
        One line, or several where the check of a value names several faults.
    """
    words, key = _place(raw, detail["loc"])
    kind, value, context = detail["type"], detail.get("input"), detail.get("ctx", {})
    start = f"{where}: {words}: "
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        table = str(detail["loc"][0]) if len(detail["loc"]) > 1 else ""
        return [f"{start}unknown key '{key}'{suggest(key, known.get(table, ()))}"]
    if kind in ("missing", "missing_argument"):
        return [f"{start}the key '{key}' is missing; add it."]
    if kind == "value_error":
        return [f"{start}'{key}' {line.rstrip('.')}." for line in str(context["error"]).split("\n")]
    if kind == "string_pattern_mismatch":
        remedy = "use small letters, digits, '_' and '-' only, at most 64"
    elif kind == "literal_error":
        remedy = f"it must be {context['expected']}"
    else:
        remedy = REMEDIES.get(kind) or f"{detail['msg'][0].lower()}{detail['msg'][1:]}"
    return [f"{start}'{key}' is {shorten(value)}; {remedy}."]


def _place(raw: Mapping[str, Any], location: tuple[int | str, ...]) -> tuple[str, str]:
    """Return the table in words and the key of a fault."""
    table = str(location[0]) if location else ""
    if len(location) > 1 and isinstance(location[1], int):
        entry = raw[table][location[1]] if isinstance(raw.get(table), list) else {}
        label = (entry.get("name") or entry.get("id")) if isinstance(entry, dict) else None
        words = f"[[{table}]] {label!r}" if label else f"[[{table}]] number {location[1] + 1}"
        return words, ".".join(str(part) for part in location[2:])
    if len(location) > 1:
        return f"[{table}]", ".".join(str(part) for part in location[1:])
    return "top level", table
