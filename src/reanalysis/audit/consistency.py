"""Rules on rows that contradict themselves: r against z, n against the variance, intervals.

Needs no declaration. A contradiction is explained, where one of a few typical slips explains it:
a lost sign, a shifted decimal point, a standard error given as a variance, r given as z, two cells
swapped, a typing error in n. A slip that explains most rows is one finding about the column.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reanalysis.audit.columns import Statement, TableColumns, read_columns
from reanalysis.audit.evidence import Evidence
from reanalysis.audit.finding import Finding
from reanalysis.audit.wording import listed, number

__all__ = ["Contradiction", "contradictions", "rows_that_contradict_themselves"]

Vector = NDArray[np.float64]
MOST = 0.5  # share of rows from which a mismatch is the column's, not the row's
EXPLAINED = 0.8  # share of rows that a slip of the whole column must explain
ENOUGH_ROWS = 4

SLIPS = {
    "sign_flip": "has lost or gained a minus sign",
    "decimal_shift": "has a shifted decimal point",
    "se_for_variance": "holds a standard error where a variance belongs",
    "variance_for_se": "holds a variance where a standard error belongs",
    "r_for_z": "holds r where Fisher's z belongs",
    "z_for_r": "holds Fisher's z where r belongs",
    "swapped_columns": "are swapped",
    "n_typo": "has a typing error",
    "inconsistent": "cannot all be true",
}


@dataclass(frozen=True)
class Slip:
    """A slip that would make a column agree with the others, in one row or in all."""

    rule: str
    columns: tuple[str, ...]
    role: str
    statement: Statement


@dataclass(frozen=True)
class Contradiction:
    """One row, or one column, that contradicts the rest.

    Attributes
    ----------
    rule : str
        A key of `SLIPS`.
    row : int or None
        Position of the row in the file; None for a whole column.
    columns : tuple of str
        The columns that slipped, or all that disagree.
    kind : str
        ``effect`` or ``precision``.
    stated : mapping-like tuple
        What each column states, in words.
    effect, log_se : float
        What the other columns say instead; NaN where they say nothing.
    """

    rule: str
    row: int | None
    columns: tuple[str, ...]
    kind: str
    stated: str
    effect: float = np.nan
    log_se: float = np.nan


def rows_that_contradict_themselves(evidence: Evidence) -> Iterator[Finding]:
    """Rows and columns whose redundant numbers cannot all be true."""
    table = read_columns(evidence)
    for found in contradictions(table):
        yield _finding(evidence, table, found)


def contradictions(table: TableColumns) -> list[Contradiction]:
    """Return every contradiction of a table, columns first.

    Parameters
    ----------
    table : TableColumns
        What the columns state.

    Returns
    -------
    list of Contradiction
        One per row and kind (effect, precision), one per column that is off as a whole.
    """
    found: list[Contradiction] = []
    for kind, statements in (("effect", table.effects()), ("precision", table.precisions())):
        whole, statements = _whole_columns(table, kind, statements)
        found += whole
        found += _rows(table, kind, statements)
    return _merge_swaps(found)


def _whole_columns(
    table: TableColumns, kind: str, statements: list[Statement]
) -> tuple[list[Contradiction], list[Statement]]:
    """Return what is off as a whole, and the statements with that put right."""
    found: list[Contradiction] = []
    while len(statements) > 1:
        worst, share = None, MOST
        for i, a in enumerate(statements):
            others = [_disagreeing(a, b) for j, b in enumerate(statements) if j != i]
            lowest = min(others) if len(statements) > 2 else others[0]
            if lowest > share or (lowest == share == 1 and worst is None):
                worst, share = i, lowest
        if worst is None:
            return found, statements
        # With two columns either may be the one that is off: the slip tells which.
        candidates = [worst] if len(statements) > 2 else [0, 1]
        slip = next(
            (
                slip
                for i in candidates
                for slip in _slips(table, kind, statements[i])
                if all(
                    _disagreeing(slip.statement, other) <= 1 - EXPLAINED
                    for j, other in enumerate(statements)
                    if j != i
                )
            ),
            None,
        )
        if slip is None:
            names = tuple(name for s in statements for name in s.columns)
            found.append(Contradiction("inconsistent", None, names, kind, f"most rows of {kind}"))
            return found, [s for i, s in enumerate(statements) if i != worst]
        found.append(Contradiction(slip.rule, None, slip.columns, kind, "most rows"))
        statements = [slip.statement if s.role == slip.role else s for s in statements]
    return found, statements


def _rows(table: TableColumns, kind: str, statements: list[Statement]) -> list[Contradiction]:
    found = []
    for row in range(len(table.cells.text.rows)):
        stating = [s for s in statements if np.isfinite(s.value[row])]
        clashes = [
            sum(not _agree(a, b, row) for j, b in enumerate(stating) if j != i)
            for i, a in enumerate(stating)
        ]
        if not any(clashes):
            continue
        suspects = [s for s, c in zip(stating, clashes, strict=True) if c == max(clashes)]
        slip = next(
            (
                slip
                for suspect in suspects
                for slip in _slips(table, kind, suspect)
                if all(_agree(slip.statement, s, row) for s in stating if s is not suspect)
            ),
            None,
        )
        role = slip.role if slip else suspects[0].role if len(suspects) == 1 else ""
        rest = [s.value[row] for s in stating if s.role != role] if role else []
        told = float(np.median(rest)) if rest else np.nan
        found.append(
            Contradiction(
                rule=slip.rule if slip else "inconsistent",
                row=row,
                columns=slip.columns if slip else tuple(n for s in suspects for n in s.columns),
                kind=kind,
                stated="; ".join(_stated(table, kind, s, row) for s in stating),
                effect=told if kind == "effect" else np.nan,
                log_se=told if kind == "precision" else np.nan,
            )
        )
    return found


def _slips(table: TableColumns, kind: str, statement: Statement) -> Iterator[Slip]:
    """Yield the slips a column may have suffered, likeliest first."""
    role, columns = statement.role, statement.columns
    raw = table.raw.get(role)

    def slip(rule: str, other: Statement, names: tuple[str, ...] = columns) -> Slip:
        return Slip(rule, names, role, Statement(role, columns, other.value, other.slack))

    if role == "interval":
        lower, upper = table.raw["lower"], table.raw["upper"]
        of = table.middle if kind == "effect" else table.width
        yield slip("swapped_columns", of(upper, lower))
        if kind == "effect":
            yield slip("sign_flip", of(-upper, -lower))
        return
    assert raw is not None
    if kind == "effect":
        yield slip("sign_flip", table.effect(role, -raw))
        if role == "yi" and table.correlation:
            if "ri" in table.raw:
                both = (*columns, table.column["ri"])
                yield from _swapped_with_r(table, statement, both)
            with np.errstate(invalid="ignore"):
                z = np.arctanh(np.where(np.abs(raw) < 1, raw, np.nan))
            yield slip("r_for_z", Statement(role, columns, z, statement.slack * 1.5))
        if role == "ri":
            yield slip("z_for_r", Statement(role, columns, raw, statement.slack))
        for factor in (0.1, 10.0, 0.01, 100.0):
            yield slip("decimal_shift", _scaled(table.effect(role, raw * factor), factor))
        return
    if role == "ni":
        shifts = [raw * f for f in (0.1, 10.0)]
        value = [np.round(s) for s in shifts]
        for changed in value:
            yield slip("n_typo", _moved(statement, raw, changed, table))
        yield from _retyped(table, statement)
        return
    other_power = {"vi": ("se_for_variance", 2.0), "sei": ("variance_for_se", 0.5)}
    rule, power = other_power[role]
    with np.errstate(invalid="ignore"):
        yield slip(rule, table.precision(role, raw**power))
    if "yi" in table.raw:
        both = (*columns, table.column["yi"])
        with np.errstate(invalid="ignore", divide="ignore"):
            swapped = table.precision(role, np.where(table.raw["yi"] > 0, table.raw["yi"], np.nan))
        yield slip("swapped_columns", swapped, both)
    for factor in (0.1, 10.0, 0.01, 100.0):
        yield slip("decimal_shift", _scaled(table.precision(role, raw * factor), 1.0))


def _swapped_with_r(
    table: TableColumns, statement: Statement, both: tuple[str, ...]
) -> Iterator[Slip]:
    """Yield the slip that r and z stand in each other's place."""
    r, z = table.raw["ri"], table.raw["yi"]
    swapped = table.effect("ri", z)
    agrees = np.abs(swapped.value - r) <= swapped.slack + table.unit["ri"]
    # The slip has to beat the plain reading, or every small effect would look swapped.
    agrees &= np.abs(np.arctanh(np.clip(r, -0.999, 0.999)) - z) > statement.slack * 2
    told = np.arctanh(np.clip(r, -0.999, 0.999))
    value = np.where(agrees & (np.abs(r) > np.abs(z)), told, np.nan)
    yield Slip("swapped_columns", both, "yi", Statement("yi", both[:1], value, swapped.slack))


def _scaled(statement: Statement, factor: float) -> Statement:
    """Return a statement whose rounding error was scaled along with its numbers."""
    slack = statement.slack * max(factor, 1.0)
    return Statement(statement.role, statement.columns, statement.value, slack)


def _moved(statement: Statement, raw: Vector, changed: Vector, table: TableColumns) -> Statement:
    """Return the statement of other sample sizes, with its constant kept."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if table.correlation:
            value = -0.5 * np.log(changed - 3)
        else:
            value = statement.value + 0.5 * np.log(raw) - 0.5 * np.log(changed)
    # A number that lost a digit is known to one digit less.
    slack = np.where(changed > raw, 5 / np.maximum(changed - 8, 1), statement.slack)
    return Statement(statement.role, statement.columns, value, np.maximum(slack, statement.slack))


def _retyped(table: TableColumns, statement: Statement) -> Iterator[Slip]:
    """Yield typing errors of n: one digit wrong, missing, doubled, or two exchanged."""
    if not table.correlation:
        return
    raw = table.raw["ni"]
    others = [s for s in table.precisions() if s.role != "ni"]
    if not others:
        return
    with np.errstate(over="ignore", invalid="ignore"):
        implied = np.exp(-2 * others[0].value) + 3
        width = 2 * others[0].slack * np.abs(implied)
    value = np.full(len(raw), np.nan)
    for i, (n, wanted, slack) in enumerate(zip(raw, implied, width, strict=True)):
        if not (np.isfinite([n, wanted, slack]).all() and wanted < 1e7):
            continue
        span = int(min(slack + 1, 200))
        near = range(int(round(wanted)) - span, int(round(wanted)) + span + 1)
        fits = [c for c in near if c > 3 and c != n and _one_edit(str(int(n)), str(c))]
        if fits:
            best = min(fits, key=lambda c: abs(c - wanted))
            value[i] = -0.5 * np.log(best - 3)
    columns = statement.columns
    yield Slip("n_typo", columns, "ni", Statement("ni", columns, value, statement.slack))


def _one_edit(a: str, b: str) -> bool:
    """Return whether two numbers differ by one typing error."""
    if len(a) == len(b):
        differ = [i for i in range(len(a)) if a[i] != b[i]]
        if len(differ) == 1:
            return True
        return (
            len(differ) == 2
            and differ[1] == differ[0] + 1
            and a[differ[0]] == b[differ[1]]
            and a[differ[1]] == b[differ[0]]
        )
    short, long = sorted((a, b), key=len)
    return len(long) == len(short) + 1 and any(
        long[:i] + long[i + 1 :] == short for i in range(len(long))
    )


def _agree(a: Statement, b: Statement, row: int) -> bool:
    gap = abs(a.value[row] - b.value[row])
    return bool(gap <= a.slack[row] + b.slack[row] + 1e-6)


def _disagreeing(a: Statement, b: Statement) -> float:
    """Return the share of rows in which two statements disagree; 0 if they rarely meet."""
    both = np.flatnonzero(np.isfinite(a.value) & np.isfinite(b.value))
    stated = int(np.isfinite(b.value).sum())
    if len(both) < ENOUGH_ROWS or len(both) < EXPLAINED * stated:
        return 1.0 if stated >= ENOUGH_ROWS and len(both) < EXPLAINED * stated else 0.0
    return float(np.mean([not _agree(a, b, row) for row in both]))


def _merge_swaps(found: list[Contradiction]) -> list[Contradiction]:
    """Keep one finding where a swap was seen both in the effect and in the precision of a row."""
    kept: list[Contradiction] = []
    for entry in found:
        twin = next(
            (
                i
                for i, other in enumerate(kept)
                if other.row == entry.row
                and "swapped_columns" in (other.rule, entry.rule)
                and entry.row is not None
            ),
            None,
        )
        if twin is None:
            kept.append(entry)
        elif kept[twin].rule != "swapped_columns":
            kept[twin] = entry
    return kept


def _stated(table: TableColumns, kind: str, statement: Statement, row: int) -> str:
    cells = [table.cells.text.column(name)[row] for name in statement.columns]
    shown = listed(
        [f"{name} = {cell}" for name, cell in zip(statement.columns, cells, strict=True)]
    )
    value = statement.value[row]
    if kind == "precision":
        return f"{shown} (standard error {number(float(np.exp(value)))})"
    return f"{shown} (effect {number(float(value))})"


def _finding(evidence: Evidence, table: TableColumns, found: Contradiction) -> Finding:
    names = listed([f"'{name}'" for name in found.columns])
    word = "Column " if len(found.columns) == 1 else "Columns "
    follows = f"{word}{names} {SLIPS[found.rule]}"
    if found.row is None:
        return Finding(
            rule=found.rule,
            severity="warning" if found.rule == "inconsistent" else "error",
            where=f"{table.cells.name}: {names}",
            source_says=f"{found.stated} disagree with the other columns",
            follows=f"{follows}, in the column as a whole.",
            remedy="Name the column by what it holds, or correct the file; the values are used as "
            "they are.",
            columns=found.columns,
        )
    line = table.cells.text.lines[found.row]
    after = _corrected(evidence, line, found)
    return Finding(
        rule=found.rule,
        severity="error",
        where=table.cells.place(found.row),
        source_says=found.stated,
        follows=f"{follows}{'' if found.rule == 'inconsistent' else ', by the other columns'}.",
        remedy="The value in use is kept; look it up in the source.",
        before=evidence.pooled if after is not None else None,
        after=after,
        lines=(line,),
        columns=found.columns,
    )


def _corrected(evidence: Evidence, line: int, found: Contradiction) -> float | None:
    """Return the pooled estimate with what the other columns say."""
    position = evidence.position(line)
    if position is None or not np.isfinite([found.effect, found.log_se]).any():
        return None
    row = evidence.dataset.effects.iloc[position]
    if row["composite"] > 1:
        return None
    y = found.effect if np.isfinite(found.effect) else float(row["yi"])
    v = float(np.exp(2 * found.log_se)) if np.isfinite(found.log_se) else float(row["vi"])
    return evidence.pooled_with_row(position, (y, v))


def corrected_effects(evidence: Evidence, found: Sequence[Contradiction]) -> tuple[Vector, Vector]:
    """Return the effects in use with contradicted rows as their other columns have them.

    Parameters
    ----------
    evidence : Evidence
        The data in use.
    found : sequence of Contradiction
        Contradictions of its table.

    Returns
    -------
    yi, vi : numpy.ndarray of shape (k,)
        For rules that compare rows: one broken row must not make others look odd.
    """
    table = evidence.dataset.effects
    yi, vi = table["yi"].to_numpy(copy=True), table["vi"].to_numpy(copy=True)
    lines = evidence.cells().text.lines
    for entry in found:
        position = None if entry.row is None else evidence.position(lines[entry.row])
        if position is None:
            continue
        if np.isfinite(entry.effect):
            yi[position] = entry.effect
        if np.isfinite(entry.log_se):
            vi[position] = np.exp(2 * entry.log_se)
    return yi, vi
