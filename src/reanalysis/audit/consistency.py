"""Rules on rows that contradict themselves: r against z, n against the variance, intervals.

Needs no declaration: it works wherever a table says the same thing twice. A contradiction is
explained by the likeliest slip that makes it go away (`reanalysis.audit.slips`). A slip that
explains many rows at once, without breaking the others, is one finding about the column.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reanalysis.audit.columns import Statement, TableColumns, Vector, read_columns
from reanalysis.audit.evidence import Evidence
from reanalysis.audit.finding import Finding
from reanalysis.audit.slips import WORDS, slips
from reanalysis.audit.wording import listed, number

__all__ = [
    "Contradiction",
    "contradictions",
    "corrected_effects",
    "rows_that_contradict_themselves",
]

MOST = 0.5  # share of rows from which an unexplained mismatch is the column's, not the rows'
LEFT = 0.2  # share of the clashing rows that a slip of the whole column may leave unexplained
FEWEST_CLASHES = 3


@dataclass(frozen=True)
class Contradiction:
    """One row, or one column, that contradicts the rest.

    Attributes
    ----------
    rules : tuple of str
        Slips that explain it, likeliest first; ``inconsistent`` if none does.
    row : int or None
        Position of the row in the file; None for a whole column.
    columns : tuple of str
        The columns that slipped, or all that clash.
    stated : str
        What the columns state, in words.
    effect, log_se : float
        What the other columns say instead; NaN where they say nothing.
    """

    rules: tuple[str, ...]
    row: int | None
    columns: tuple[str, ...]
    stated: str
    effect: float = np.nan
    log_se: float = np.nan


def rows_that_contradict_themselves(evidence: Evidence) -> Iterator[Finding]:
    """Find rows and columns whose redundant numbers cannot all be true."""
    table = read_columns(evidence)
    for found in contradictions(table):
        yield _finding(evidence, table, found)


def contradictions(table: TableColumns) -> list[Contradiction]:
    """Return every contradiction of a table.

    Parameters
    ----------
    table : TableColumns
        What the columns state.

    Returns
    -------
    list of Contradiction
        One per row and kind of statement, one per column that is off as a whole.
    """
    found = _crossed_intervals(table)
    for statements in (table.effects(), table.precisions()):
        whole, statements = _whole_columns(table, statements)
        found += whole
        found += _single_rows(table, statements)
    return _one_per_swap(found)


def corrected_effects(evidence: Evidence, found: Sequence[Contradiction]) -> tuple[Vector, Vector]:
    """Return the effects in use, contradicted rows as their other columns have them.

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


def _crossed_intervals(table: TableColumns) -> list[Contradiction]:
    """Return the rows, or the columns, whose lower limit is above the upper one."""
    if "lower" not in table.raw:
        return []
    crossed = np.flatnonzero(table.raw["lower"] > table.raw["upper"])
    names = (table.column["lower"], table.column["upper"])
    if len(crossed) > MOST * len(table.raw["lower"]):
        return [Contradiction(("swapped_columns",), None, names, f"{len(crossed)} rows")]
    cells = table.cells.text
    return [
        Contradiction(
            ("swapped_columns",),
            int(row),
            names,
            listed([f"{name} = {cells.column(name)[row]}" for name in names]),
        )
        for row in crossed
    ]


def _whole_columns(
    table: TableColumns, statements: list[Statement]
) -> tuple[list[Contradiction], list[Statement]]:
    """Return the columns that are off as a whole, and the statements with that put right."""
    explaining = []
    clashing = []
    for i, statement in enumerate(statements):
        others = statements[:i] + statements[i + 1 :]
        stated = np.isfinite(statement.value)
        before = _clashing(statement, others)
        clashing.append(before)
        if before.sum() < FEWEST_CLASHES:
            continue
        for slip in slips(table, statement):
            after = _clashing(slip.statement, others) | np.isnan(slip.statement.value)
            if (after & stated).sum() <= LEFT * before.sum():
                explaining.append((i, slip, f"{before.sum()} of {stated.sum()} rows"))
    if explaining:
        explaining.sort(key=lambda entry: list(WORDS).index(entry[1].rule))
        i, slip, words = explaining[0]
        rules = tuple(dict.fromkeys(other.rule for _, other, _ in explaining))
        mended = [*statements[:i], slip.statement, *statements[i + 1 :]]
        return [Contradiction(rules, None, slip.columns, words)], mended
    if len(statements) > 1 and min(clash.mean() for clash in clashing) > MOST:
        names = tuple(name for s in statements for name in s.columns)
        return [Contradiction(("inconsistent",), None, names, "Most rows")], statements[:1]
    return [], statements


def _single_rows(table: TableColumns, statements: list[Statement]) -> list[Contradiction]:
    found = []
    undone = {s.role: list(slips(table, s)) for s in statements}
    ranks = {rule: rank for rank, rule in enumerate(WORDS)}
    in_use = ("ri", "ni") if "ri" in table.cells.roles else ("yi", "vi", "sei")
    for row in range(len(table.cells.text.rows)):
        stating = [s for s in statements if np.isfinite(s.value[row])]
        clashes = [
            sum(not _agree(a, b, row) for j, b in enumerate(stating) if j != i)
            for i, a in enumerate(stating)
        ]
        if not any(clashes):
            continue
        suspects = [s for s, c in zip(stating, clashes, strict=True) if c == max(clashes)]
        explaining = [
            (suspect, slip)
            for suspect in suspects
            for slip in undone[suspect.role]
            if all(_agree(slip.statement, s, row) for s in stating if s is not suspect)
        ]
        explaining.sort(key=lambda pair: (ranks[pair[1].rule], pair[0].role not in in_use))
        alike = [slip for _, slip in explaining if slip.rule == explaining[0][1].rule]
        if explaining:
            suspects = [explaining[0][0]]
        rest = [s.value[row] for s in stating if s is not suspects[0]]
        told = float(np.median(rest)) if len(suspects) == 1 else np.nan
        effect = stating[0].kind == "effect"
        found.append(
            Contradiction(
                rules=tuple(dict.fromkeys(slip.rule for _, slip in explaining))
                or ("inconsistent",),
                row=row,
                columns=tuple(
                    dict.fromkeys(name for entry in alike or suspects for name in entry.columns)
                ),
                stated="; ".join(_stated(table, s, row) for s in stating),
                effect=told if effect else np.nan,
                log_se=np.nan if effect else told,
            )
        )
    return found


def _agree(a: Statement, b: Statement, row: int) -> bool:
    gap = abs(a.value[row] - b.value[row])
    return bool(gap <= a.slack[row] + b.slack[row] + 1e-6)


def _clashing(statement: Statement, others: list[Statement]) -> NDArray[np.bool_]:
    """Return the rows in which a statement disagrees with every other that is made there."""
    made = np.zeros(len(statement.value), dtype=bool)
    clash = np.ones(len(statement.value), dtype=bool)
    for other in others:
        both = np.isfinite(statement.value) & np.isfinite(other.value)
        with np.errstate(invalid="ignore"):
            apart = np.abs(statement.value - other.value) > statement.slack + other.slack + 1e-6
        made |= both
        clash &= apart | ~both
    return made & clash


def _one_per_swap(found: list[Contradiction]) -> list[Contradiction]:
    """Keep one finding where a swap shows both in the effect and in the precision of a row."""
    swapped = {e.row for e in found if e.rules[0] == "swapped_columns" and e.row is not None}
    kept, seen = [], set()
    for entry in found:
        if entry.row in swapped:
            if entry.rules[0] != "swapped_columns" or entry.row in seen:
                continue
            seen.add(entry.row)
        kept.append(entry)
    return kept


def _stated(table: TableColumns, statement: Statement, row: int) -> str:
    cells = [table.cells.text.column(name)[row] for name in statement.columns]
    shown = listed([f"{name} = {c}" for name, c in zip(statement.columns, cells, strict=True)])
    value = float(statement.value[row])
    if statement.kind == "precision":
        return f"{shown} (standard error {number(float(np.exp(value)))})"
    return f"{shown} (effect {number(value)})"


def _finding(evidence: Evidence, table: TableColumns, found: Contradiction) -> Finding:
    rule, *others = found.rules
    together = rule == "swapped_columns" or found.row is None
    names = listed([f"'{name}'" for name in found.columns], "and" if together else "or")
    follows = f"{names} {'are ' if rule == 'swapped_columns' else ''}{WORDS[rule]}"
    if others:
        follows += f", or: {', '.join(WORDS[other] for other in others)}"
    if found.row is None:
        return Finding(
            rule=rule,
            severity="warning" if rule == "inconsistent" else "error",
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
        rule=rule,
        severity="error",
        where=table.cells.place(found.row),
        source_says=found.stated,
        follows=f"{follows}{'' if rule == 'inconsistent' else ', by the other columns'}.",
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
