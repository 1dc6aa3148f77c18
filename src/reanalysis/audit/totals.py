"""Rules on sums: printed totals, means, ranges and counts, and the flow of articles."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from reanalysis.audit.evidence import Evidence
from reanalysis.audit.facts import Total
from reanalysis.audit.finding import Finding
from reanalysis.audit.wording import number

__all__ = ["flows_that_do_not_add_up", "totals_that_do_not_add_up"]

STATISTICS: Mapping[str, Callable[[NDArray[np.float64]], float]] = {
    "sum": np.sum,
    "mean": np.mean,
    "min": np.min,
    "max": np.max,
}
WORDS = {"sum": "add up to", "mean": "average", "min": "start at", "max": "end at"}


def totals_that_do_not_add_up(evidence: Evidence) -> Iterator[Finding]:
    """Find printed totals, means, ranges and counts that the table itself does not give."""
    for total in evidence.facts.totals:
        value = _value(evidence, total, total.column)
        if value is None:
            continue
        places = len(total.printed.partition(".")[2])
        half = 0.5 * 10.0**-places + 1e-9
        printed = float(total.printed)
        if abs(value - printed) <= half:
            continue
        shown = number(round(value, places + 1), 6)
        follows = f"{_subject(total)} {WORDS.get(total.statistic, 'number')} {shown}"
        exact = []
        for column in total.others:
            other = _value(evidence, total, column)
            if other is not None:
                follows += f"; column '{column}' gives {number(round(other, 2), 6)}"
                if abs(other - printed) <= half:
                    exact.append(column)
        remedy = (
            f"The printed value is that of column '{exact[0]}'."
            if exact
            else "The rows are used as they are; the printed value is kept as the source's."
        )
        yield Finding(
            rule="total",
            severity="note" if exact else "warning",
            where=f"{total.table}: {total.what}" + (f" ({total.source})" if total.source else ""),
            source_says=f"{total.what}: {total.printed}",
            follows=follows + ".",
            remedy=remedy,
            columns=(total.column,) if total.column else (),
        )


def flows_that_do_not_add_up(evidence: Evidence) -> Iterator[Finding]:
    """Find counts of a flow diagram that do not follow from each other."""
    for flow in evidence.facts.flows:
        cells = evidence.cells(flow.table)
        steps = cells.text.column(flow.step)
        count = dict(zip(steps, cells.numbers(flow.count), strict=True))
        for entry in flow.sums:
            named = (entry.total, *entry.plus, *entry.minus)
            if not all(step in count and np.isfinite(count[step]) for step in named):
                continue
            value = sum(count[step] for step in entry.plus)
            value -= sum(count[step] for step in entry.minus)
            if value == count[entry.total]:
                continue
            parts = " + ".join(number(count[step]) for step in entry.plus)
            parts += "".join(f" - {number(count[step])}" for step in entry.minus)
            yield Finding(
                rule="flow",
                severity="warning",
                where=f"{flow.table}: {entry.total}",
                source_says=f"{entry.total}: {number(count[entry.total])}",
                follows=f"{parts} = {number(value)}.",
                remedy="Check the counts of the flow diagram.",
                lines=tuple(cells.text.lines[steps.index(step)] for step in named),
                columns=(flow.count,),
            )


def _value(evidence: Evidence, total: Total, column: str) -> float | None:
    """Return the statistic of a column; None where missing cells leave it open."""
    cells = evidence.cells(total.table)
    rows = np.ones(len(cells.text.rows), dtype=bool)
    for name, wanted in total.where.items():
        rows &= np.array([cell == wanted for cell in cells.text.column(name)])
    if total.statistic == "rows":
        return float(rows.sum())
    if total.statistic == "distinct":
        chosen = [c for c, use in zip(cells.text.column(column), rows, strict=True) if use]
        return float(len({cell for cell in chosen if not cells.missing(cell)}))
    values = cells.numbers(column)[rows]
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    value = float(STATISTICS[total.statistic](known))
    if len(known) == len(values):
        return value
    # Unknown cells leave sums and means open, but an extreme beyond the printed one is one.
    beyond = {"min": value < float(total.printed), "max": value > float(total.printed)}
    return value if beyond.get(total.statistic) else None


def _subject(total: Total) -> str:
    rows = " and ".join(f"{column} = {value}" for column, value in total.where.items())
    if total.statistic in ("rows", "distinct"):
        what = "rows" if total.statistic == "rows" else f"different values of '{total.column}'"
        return f"The {what}{f' with {rows}' if rows else ''} of '{total.table}'"
    return f"The values of column '{total.column}'{f' with {rows}' if rows else ''}"
