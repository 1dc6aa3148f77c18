"""Rule on the p-values that a table prints beside its effects."""

import re
from collections.abc import Iterator

import numpy as np
from scipy.special import ndtr, stdtr

from reanalysis.audit.evidence import Evidence
from reanalysis.audit.finding import Finding
from reanalysis.audit.wording import p_value

__all__ = ["p_values_of_rows_that_do_not_follow"]

NAMES = ("p", "p_value", "pvalue", "p_val", "pval", "sig")
SLACK = 2.0  # factor: the effect was rounded, or the test was another one than ours
SMALL = 0.005  # below it, p-values differ by orders of magnitude for want of a decimal


def p_values_of_rows_that_do_not_follow(evidence: Evidence) -> Iterator[Finding]:
    """Find p-values that neither the one- nor the two-sided test of the row's effect gives."""
    cells = evidence.cells()
    column = next(
        (
            name
            for name in cells.text.header
            if name.strip().casefold().replace(".", "_").replace(" ", "_") in NAMES
        ),
        None,
    )
    if column is None or column in cells.roles.values():
        return
    effects = evidence.dataset.effects
    for row, cell in enumerate(cells.text.column(column)):
        position = evidence.position(cells.text.lines[row])
        stated = _interval(cell, cells.decimal)
        if position is None or stated is None:
            continue
        lowest, highest = stated
        two_sided = _two_sided(
            *(float(effects[name].iloc[position]) for name in ("yi", "vi", "ni"))
        )
        if any(
            lowest / SLACK <= p <= highest * SLACK or max(p, highest) <= SMALL
            for p in (two_sided, two_sided / 2)
        ):
            continue
        yield Finding(
            rule="p_value",
            severity="warning",
            where=cells.place(row),
            source_says=f"{column} = {cell}",
            follows=f"The effect and its precision give {p_value(two_sided)}, two-sided.",
            remedy="The effect in use is kept; look both up in the source.",
            lines=(cells.text.lines[row],),
            columns=(column,),
        )


def _interval(cell: str, decimal: str) -> tuple[float, float] | None:
    """Return the smallest and the largest p-value that a printed one may stand for."""
    found = re.fullmatch(r"\s*([<=]?)\s*(0?\.\d+|[01](?:\.0*)?)\s*", cell.replace(decimal, "."))
    if found is None:
        return None
    value = float(found[2])
    if found[1] == "<":
        return 0.0, value
    half = 0.5 * 10.0 ** -len(found[2].partition(".")[2])
    return max(value - half, 0.0), value + half


def _two_sided(yi: float, vi: float, ni: float) -> float:
    """Return the two-sided p-value of an effect; of a correlation by its t-test."""
    z = abs(yi) / np.sqrt(vi)
    if np.isfinite(ni) and ni > 3 and np.isclose(vi * (ni - 3), 1.0):
        t = np.sinh(abs(yi)) * np.sqrt(ni - 2)  # r / sqrt(1 - r²) is the sinh of Fisher's z
        return float(2 * stdtr(ni - 2, -t))
    return float(2 * ndtr(-z))
