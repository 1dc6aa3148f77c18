"""The slips that a cell or a column may have suffered, each as what the column should have said.

A lost sign, a shifted decimal point, a standard error given as a variance, r given as z, two cells
swapped, a typing error in n. `reanalysis.audit.consistency` asks which of them makes a
contradiction go away.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from reanalysis.audit.columns import Statement, TableColumns, Vector

__all__ = ["WORDS", "Slip", "is_one_typing_error", "slips"]

WORDS: Mapping[str, str] = MappingProxyType(
    {
        "sign_flip": "lost or gained a minus sign",
        "r_for_z": "holds r where Fisher's z belongs",
        "z_for_r": "holds Fisher's z where r belongs",
        "se_for_variance": "holds a standard error where a variance belongs",
        "variance_for_se": "holds a variance where a standard error belongs",
        "swapped_columns": "swapped",
        "decimal_shift": "has a shifted decimal point",
        "n_typo": "has a typing error",
        "inconsistent": "cannot be true",
    }
)
SHIFTS = (0.1, 10.0, 0.01, 100.0)
# A number so coarse that it would agree with anything explains nothing.
WIDEST = MappingProxyType({"effect": 0.15, "precision": 0.3})
WIDEST_SEARCH = 200  # sample sizes tried on each side of the one that the other columns imply
TINY = 1e-30  # no variance is that small


@dataclass(frozen=True, eq=False)
class Slip:
    """One slip of one column.

    Attributes
    ----------
    rule : str
        A key of `WORDS`.
    columns : tuple of str
        The columns involved.
    statement : Statement
        What the column states once the slip is undone; NaN in rows where it cannot have happened.
    """

    rule: str
    columns: tuple[str, ...]
    statement: Statement


def slips(table: TableColumns, statement: Statement) -> Iterator[Slip]:
    """Yield the slips that a statement may have suffered, likeliest first.

    Parameters
    ----------
    table : TableColumns
        The table.
    statement : Statement
        One of its statements.

    Yields
    ------
    Slip
        With the statement that undoes it.
    """
    kinds: Mapping[tuple[str, str], Callable[[TableColumns, Statement], Iterator[Slip]]] = {
        ("effect", "ri"): _of_r,
        ("effect", "yi"): _of_effect,
        ("effect", "interval"): _of_interval,
        ("precision", "vi"): _of_spread,
        ("precision", "sei"): _of_spread,
        ("precision", "ni"): _of_sample_size,
        ("precision", "interval"): _none,
    }
    widest = WIDEST[statement.kind]
    for slip in kinds[statement.kind, statement.role](table, statement):
        mended = slip.statement
        value = np.where(mended.slack <= widest, mended.value, np.nan)
        yield replace(slip, statement=replace(mended, value=value))


def is_one_typing_error(a: str, b: str) -> bool:
    """Return whether two numbers differ by one digit wrong, missing or added, or two exchanged.

    Examples
    --------
    >>> is_one_typing_error("48", "84"), is_one_typing_error("48", "480")
    (True, True)
    >>> is_one_typing_error("48", "95")
    False
    """
    if len(a) == len(b):
        differ = [i for i in range(len(a)) if a[i] != b[i]]
        exchanged = len(differ) == 2 and differ[1] == differ[0] + 1
        return len(differ) == 1 or (
            exchanged and (a[differ[0]], a[differ[1]]) == (b[differ[1]], b[differ[0]])
        )
    short, long = sorted((a, b), key=len)
    return len(long) == len(short) + 1 and any(
        long[:i] + long[i + 1 :] == short for i in range(len(long))
    )


def _of_r(table: TableColumns, statement: Statement) -> Iterator[Slip]:
    raw = table.raw["ri"]
    yield Slip("sign_flip", statement.columns, table.effect("ri", -raw))
    yield Slip("z_for_r", statement.columns, replace(statement, value=raw))
    yield from _shifted_effects(table, statement)


def _of_effect(table: TableColumns, statement: Statement) -> Iterator[Slip]:
    raw = table.raw["yi"]
    yield Slip("sign_flip", statement.columns, table.effect("yi", -raw))
    if table.correlation:
        yield from _swapped_with_r(table, statement)
        with np.errstate(invalid="ignore"):
            z = np.arctanh(np.where(np.abs(raw) < 1, raw, np.nan))
            slack = statement.slack / (1 - np.tanh(z) ** 2)
        yield Slip("r_for_z", statement.columns, replace(statement, value=z, slack=slack))
    yield from _shifted_effects(table, statement)


def _of_interval(table: TableColumns, statement: Statement) -> Iterator[Slip]:
    flipped = table.middle(-table.raw["upper"], -table.raw["lower"])
    yield Slip("sign_flip", statement.columns, flipped)


def _none(table: TableColumns, statement: Statement) -> Iterator[Slip]:
    """Yield nothing: no single slip makes an interval too wide or too narrow."""
    return iter(())


def _of_spread(table: TableColumns, statement: Statement) -> Iterator[Slip]:
    role, columns = statement.role, statement.columns
    raw = table.raw[role]
    rule, power = {"vi": ("se_for_variance", 2.0), "sei": ("variance_for_se", 0.5)}[role]
    with np.errstate(invalid="ignore", divide="ignore"):
        other = replace(statement, value=statement.value * power, slack=statement.slack * power)
    yield Slip(rule, columns, other)
    if table.correlation:
        yield from _swapped_with_effect(table, statement)
    for factor in SHIFTS:
        moved = table.precision(role, raw * factor)
        # A number that lost a digit is known to one digit less.
        yield Slip("decimal_shift", columns, replace(moved, slack=moved.slack * max(factor, 1)))
    if not table.correlation:
        # Without exact sample sizes almost any number could be a variance, so this comes last.
        yield from _swapped_with_effect(table, statement)


def _of_sample_size(table: TableColumns, statement: Statement) -> Iterator[Slip]:
    raw = table.raw["ni"]
    if table.correlation:
        yield from _mistyped(table, statement)
        return
    for factor in (0.1, 10.0):
        with np.errstate(divide="ignore", invalid="ignore"):
            value = statement.value + 0.5 * np.log(raw / np.round(raw * factor))
        yield Slip("n_typo", statement.columns, replace(statement, value=value))


def _shifted_effects(table: TableColumns, statement: Statement) -> Iterator[Slip]:
    raw = table.raw[statement.role]
    for factor in SHIFTS:
        moved = table.effect(statement.role, raw * factor)
        slack = moved.slack * max(factor, 1.0)
        yield Slip("decimal_shift", statement.columns, replace(moved, slack=slack))


def _swapped_with_r(table: TableColumns, statement: Statement) -> Iterator[Slip]:
    """Yield the slip that r and z stand in each other's place."""
    if "ri" not in table.raw:
        return
    r, z = table.raw["ri"], table.raw["yi"]
    inside = np.abs(r) < 1
    told = np.arctanh(np.where(inside, r, np.nan))
    # In each other's place: the larger number, in column r, is the arctanh of the other.
    back = np.arctanh(np.where(np.abs(z) < 1, z, np.nan))
    room = table.unit["ri"] / 2 + table.unit["yi"] / 2 / (1 - np.minimum(np.abs(z), 0.99) ** 2)
    swapped = (np.abs(back - r) <= room) & (np.abs(r) - np.abs(z) > room)
    value = np.where(swapped, told, np.nan)
    columns = (table.column["ri"], table.column["yi"])
    yield Slip("swapped_columns", columns, replace(statement, value=value))


def _swapped_with_effect(table: TableColumns, statement: Statement) -> Iterator[Slip]:
    """Yield the slip that the effect and its variance stand in each other's place."""
    if "yi" not in table.raw:
        return
    positive = np.where(table.raw["yi"] > TINY, table.raw["yi"], np.nan)
    power = 0.5 if statement.role == "vi" else 1.0
    value, slack = power * np.log(positive), power * table.unit["yi"] / 2 / positive
    columns = (table.column["yi"], *statement.columns)
    yield Slip("swapped_columns", columns, replace(statement, value=value, slack=slack))


def _mistyped(table: TableColumns, statement: Statement) -> Iterator[Slip]:
    """Yield the typing error of n that comes closest to what the other columns imply."""
    others = [s for s in table.precisions() if s.role != "ni"]
    if not others:
        return
    with np.errstate(over="ignore", invalid="ignore"):
        implied = np.exp(-2 * others[0].value) + 3
        room = 2 * others[0].slack * np.abs(implied) + 1
    value: Vector = np.full(len(implied), np.nan)
    for i, (n, wanted, span) in enumerate(zip(table.raw["ni"], implied, room, strict=True)):
        if not np.isfinite([n, wanted, span]).all() or wanted > 1e7:
            continue
        centre, reach = round(wanted), int(min(span, WIDEST_SEARCH))
        near = [
            c
            for c in range(centre - reach, centre + reach + 1)
            if c > 3 and c != n and is_one_typing_error(str(int(n)), str(c))
        ]
        if near:
            best = min(near, key=lambda c: abs(c - wanted))
            value[i] = -0.5 * np.log(best - 3)
    yield Slip("n_typo", statement.columns, replace(statement, value=value))
