"""Rules that compare the rows of a table with each other; none needs a declaration."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from reanalysis.audit.columns import read_columns
from reanalysis.audit.consistency import contradictions, corrected_effects
from reanalysis.audit.evidence import Cells, Evidence
from reanalysis.audit.finding import Finding
from reanalysis.audit.pooling import leave_one_out_residuals
from reanalysis.audit.wording import number, p_value

__all__ = [
    "correlations_too_large",
    "effects_far_from_the_rest",
    "rows_entered_twice",
    "sample_sizes_out_of_line",
]

Vector = NDArray[np.float64]
FEWEST_ROWS = 6
DOUBTFUL, UNLIKELY = 0.05, 0.01  # family-wise p-values of an outlier: note, warning
FITS = 2.0  # studentised residual at which a value is unremarkable
CEILING = 0.95
COINCIDENCES = 0.05  # expected number of chance pairs below which equal rows are suspicious
N_GAP = 8.0
YEARS = (1900, 2100)


def effects_far_from_the_rest(evidence: Evidence) -> Iterator[Finding]:
    """Find outliers by leave-one-out residual, and the slip that would explain them."""
    table = evidence.dataset.effects
    if len(table) < FEWEST_ROWS:
        return
    yi, vi = corrected_effects(evidence, contradictions(read_columns(evidence)))
    residual, centre = leave_one_out_residuals(yi, vi)
    df = len(yi) - 2
    cells = evidence.cells()
    family = 2 * stdtr(df, -np.abs(residual)) * len(yi)
    for i in map(int, np.flatnonzero(family < DOUBTFUL)):
        p = float(family[i])
        scale = float((yi[i] - centre[i]) / residual[i])
        flipped = _fits_with_the_other_sign(yi[i], centre[i], scale)
        guess = "; with the other sign it fits" if flipped else ""
        if not flipped and p < UNLIKELY:
            guess = _guess(evidence, i, yi[i], centre[i], scale)
        value = -float(yi[i]) if flipped else None
        row = cells.text.lines.index(int(table["line"].iloc[i]))
        after = evidence.pooled_with_row(i, None if value is None else (value, float(vi[i])))
        yield Finding(
            rule="sign_flip" if flipped else "outlier",
            severity="warning" if p < UNLIKELY else "note",
            where=cells.place(row),
            source_says=f"effect {number(float(yi[i]))}",
            follows=f"{abs(residual[i]):.1f} standard deviations from the other rows "
            f"({p_value(p)} for the largest of {len(yi)}){guess}.",
            remedy="Kept; the change is that of "
            + ("leaving it out." if value is None else "the corrected value."),
            before=evidence.pooled if after is not None else None,
            after=after,
            lines=(cells.text.lines[row],),
            columns=tuple(c for r, c in cells.roles.items() if r in ("ri", "yi")),
        )


def correlations_too_large(evidence: Evidence) -> Iterator[Finding]:
    """Find correlations beyond what the reliabilities of the two measures allow."""
    cells = evidence.cells()
    if "ri" not in cells.roles:
        return
    known = evidence.facts.reliability
    ceiling = float(np.sqrt(known.predictor * known.outcome)) if known else CEILING
    why = (
        f"reliabilities {number(known.predictor)} and {number(known.outcome)} allow at most "
        f"{ceiling:.2f}"
        if known
        else f"even measures with a reliability of {CEILING} allow at most {ceiling}"
    )
    correlations = cells.numbers(cells.roles["ri"])
    for row in np.flatnonzero(np.abs(correlations) > ceiling):
        position = evidence.position(cells.text.lines[row])
        after = evidence.pooled_with_row(position, None) if position is not None else None
        yield Finding(
            rule="implausible",
            severity="warning",
            where=cells.place(int(row)),
            source_says=f"r = {number(float(correlations[row]))}",
            follows=f"The {why}.",
            remedy="Kept; the change is that of leaving it out.",
            before=evidence.pooled if after is not None else None,
            after=after,
            lines=(cells.text.lines[row],),
            columns=(cells.roles["ri"],),
        )


def rows_entered_twice(evidence: Evidence) -> Iterator[Finding]:
    """Find rows that agree in their numbers more closely than chance explains."""
    cells = evidence.cells()
    roles = cells.roles
    identifiers = {roles[r] for r in ("effect", "label", "study", "sample") if r in roles}
    numeric = [c for c in _informative(cells) if c not in identifiers]
    effect = {roles[r] for r in ("ri", "yi") if r in roles} & set(numeric)
    if not effect:
        return
    others = [c for c in cells.text.header if c not in identifiers and c not in numeric]
    samples, studies = cells.column("sample"), cells.column("study")
    values = {c: cells.text.column(c) for c in (*numeric, *others)}
    rate = {column: _share_of_equal_pairs(values[column]) for column in numeric}
    k = len(cells.text.rows)
    alike: dict[tuple[str, ...], list[int]] = {}
    for row in range(k):
        alike.setdefault(tuple(values[c][row] for c in sorted(effect)), []).append(row)
    for i, j in (pair for rows in alike.values() for pair in combinations(rows, 2)):
        same_source = samples[i] == samples[j] != "" or studies[i] == studies[j] != ""
        equal = [c for c in numeric if values[c][i] == values[c][j]]
        whole = all(values[c][i] == values[c][j] for c in values)
        if same_source and not whole:
            continue  # two outcomes of one sample share n, year and often a rounded effect
        if len(equal) < len(numeric) and not whole:
            continue
        expected = k * (k - 1) / 2 * float(np.prod([rate[c] for c in equal]))
        if expected > 1 and not same_source:
            continue
        position = evidence.position(cells.text.lines[j])
        after = evidence.pooled_with_row(position, None) if position is not None else None
        shown = ", ".join(f"{c} = {values[c][i]}" for c in equal)
        yield Finding(
            rule="duplicate",
            severity="warning" if same_source or expected < COINCIDENCES else "note",
            where=f"{cells.place(j)}, like line {cells.text.lines[i]}",
            source_says=shown,
            follows=f"{k} rows with values like these agree by chance in {expected:.2g} pairs.",
            remedy="Both rows are kept; the change is that of leaving the second out.",
            before=evidence.pooled if after is not None else None,
            after=after,
            lines=(cells.text.lines[i], cells.text.lines[j]),
            columns=tuple(equal),
        )


def sample_sizes_out_of_line(evidence: Evidence) -> Iterator[Finding]:
    """Find sample sizes that look like a year, or lie far beyond every other."""
    cells = evidence.cells()
    if "ni" not in cells.roles:
        return
    column = cells.roles["ni"]
    sizes = cells.numbers(column)
    yield from _swapped_with_a_year(evidence, cells, column, sizes)
    order = np.argsort(sizes)
    if len(sizes) < FEWEST_ROWS or not (sizes[order] > 0).all():
        return
    for row, neighbour in ((order[-1], order[-2]), (order[0], order[1])):
        ratio = max(sizes[row] / sizes[neighbour], sizes[neighbour] / sizes[row])
        if ratio < N_GAP:
            continue
        yield Finding(
            rule="n_typo",
            severity="warning",
            where=cells.place(int(row)),
            source_says=f"{column} = {number(sizes[row])}; the nearest is "
            f"{number(sizes[neighbour])}",
            follows=f"No other row comes within a factor of {N_GAP:.0f}: a digit too many or too "
            "few?",
            remedy="Kept; look it up in the source.",
            lines=(cells.text.lines[row],),
            columns=(column,),
        )


def _fits_with_the_other_sign(y: float, centre: float, scale: float) -> bool:
    return y * centre < 0 and abs(-y - centre) < FITS * scale


def _guess(evidence: Evidence, i: int, y: float, centre: float, scale: float) -> str:
    """Return the slips that would explain an outlier, in words; they are guesses, not findings."""
    guesses = []
    if abs(y / 10 - centre) < FITS * scale:
        guesses.append("a shifted decimal point")
    n = float(evidence.dataset.effects["ni"].iloc[i])
    standardised = evidence.dataset.measure == "SMD" and n > 3
    if standardised and abs(y / np.sqrt(n / 2) - centre) < FITS * scale:
        guesses.append("a standard error taken for a standard deviation")
    return f"; {' or '.join(guesses)} would explain it" if guesses else ""


def _informative(cells: Cells) -> list[str]:
    """Return the numeric columns that vary."""
    columns = []
    for name in cells.text.header:
        values = cells.numbers(name)
        if np.isfinite(values).all() and len(np.unique(values)) > 1:
            columns.append(name)
    return columns


def _share_of_equal_pairs(values: list[str]) -> float:
    """Return the chance that two rows agree in a column; never exactly zero."""
    _, count = np.unique(np.array(values), return_counts=True)
    pairs = len(values) * (len(values) - 1) / 2
    return float(((count * (count - 1) / 2).sum() + 0.5) / (pairs + 1))


def _swapped_with_a_year(
    evidence: Evidence, cells: Cells, column: str, sizes: Vector
) -> Iterator[Finding]:
    for name in cells.text.header:
        years = cells.numbers(name)
        if name == column or not np.isfinite(years).all():
            continue
        inside = (years >= YEARS[0]) & (years <= YEARS[1])
        if inside.mean() < 0.8 or inside.all():
            continue
        for row in np.flatnonzero(~inside & (sizes >= YEARS[0]) & (sizes <= YEARS[1])):
            position = evidence.position(cells.text.lines[row])
            after = None
            if position is not None and "ri" in cells.roles and years[row] > 3:
                r = float(cells.numbers(cells.roles["ri"])[row])
                effect = evidence.correlation_effect(r, float(years[row]))
                after = evidence.pooled_with_row(position, effect) if effect else None
            yield Finding(
                rule="swapped_columns",
                severity="error",
                where=cells.place(int(row)),
                source_says=f"{column} = {number(sizes[row])}, {name} = {number(years[row])}",
                follows=f"'{column}' looks like a year and '{name}' does not: the two are swapped.",
                remedy="The value in use is kept; look it up in the source.",
                before=evidence.pooled if after is not None else None,
                after=after,
                lines=(cells.text.lines[row],),
                columns=(column, name),
            )
