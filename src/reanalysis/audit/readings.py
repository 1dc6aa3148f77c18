"""Rules on quantities that the source prints more than once."""

from collections.abc import Iterator, Mapping
from itertools import combinations

import numpy as np

from reanalysis.audit.evidence import Cells, Evidence
from reanalysis.audit.facts import Readings, SampleSizes
from reanalysis.audit.finding import Finding
from reanalysis.audit.wording import listed, number

__all__ = [
    "places_that_disagree",
    "sample_sizes_that_differ_within_a_sample",
    "samples_described_alike",
]

NAMES = {"ri": "r", "ni": "n", "yi": "effect", "vi": "variance", "sei": "standard error"}


def places_that_disagree(evidence: Evidence) -> Iterator[Finding]:
    """Find the same quantity printed twice with different values."""
    for fact in evidence.facts.readings:
        cells = evidence.cells(fact.table)
        values = {
            place: {role: cells.numbers(column) for role, column in roles.items()}
            for place, roles in fact.places.items()
        }
        unsaid = np.full(len(cells.text.rows), np.nan)
        for row in range(len(unsaid)):
            differing = [
                role
                for role in NAMES
                if len({x for v in values.values() if not np.isnan(x := v.get(role, unsaid)[row])})
                > 1
            ]
            if differing:
                yield _disagreement(evidence, fact, cells, row, differing)


def sample_sizes_that_differ_within_a_sample(evidence: Evidence) -> Iterator[Finding]:
    """Find effects of one sample with different n, for example at several measurement times."""
    declared = evidence.facts.sample_sizes
    roles = evidence.dataset.roles
    if not declared and "ni" in roles and "sample" in roles:
        declared = (SampleSizes(evidence.dataset.resource, roles["ni"]),)
    for fact in declared:
        cells = evidence.cells(fact.table)
        sizes = cells.numbers(fact.column)
        samples = cells.column("sample")
        found: dict[str, list[int]] = {}
        for i in np.flatnonzero(sizes > 0).tolist():
            found.setdefault(samples[i], []).append(i)
        for sample, rows in found.items():
            if len({sizes[i] for i in rows}) < 2:
                continue
            smallest = min(sizes[i] for i in rows)
            after = _with_sample_size(evidence, sample, smallest)
            yield Finding(
                rule="sample_size",
                severity="warning" if evidence.facts.sample_sizes else "note",
                where=cells.place(rows[0]),
                source_says="n = "
                + ", ".join(number(sizes[i]) for i in rows)
                + f" in {len(rows)} effects of one sample",
                follows="The effects rest on different people; one n for all is an approximation.",
                remedy="The analysis uses the n of each row in use; the change is that of n = "
                f"{number(smallest)}.",
                before=evidence.pooled if after is not None else None,
                after=after,
                lines=tuple(cells.text.lines[i] for i in rows),
                columns=(fact.column,),
            )


def samples_described_alike(evidence: Evidence) -> Iterator[Finding]:
    """Find samples that count as independent but are described alike in every column."""
    for fact in evidence.facts.descriptions:
        cells = evidence.cells(fact.table)
        described = list(zip(*(cells.text.column(c) for c in fact.columns), strict=True))
        for i, j in combinations(range(len(described)), 2):
            if described[i] != described[j] or any(cells.missing(c) for c in described[i]):
                continue
            shown = ", ".join(
                f"{column} = {value}"
                for column, value in zip(fact.columns, described[i], strict=True)
            )
            yield Finding(
                rule="same_description",
                severity="note",
                where=f"{cells.place(i)} and line {cells.text.lines[j]}",
                source_says=f"{shown} for both",
                follows="Two independent samples rarely agree in all of these; the values may be "
                "those of both together, or the people the same.",
                remedy="Both are kept as independent samples.",
                lines=(cells.text.lines[i], cells.text.lines[j]),
                columns=fact.columns,
            )


def _disagreement(
    evidence: Evidence, fact: Readings, cells: Cells, row: int, differing: list[str]
) -> Finding:
    def said(roles: Mapping[str, str]) -> dict[str, str]:
        return {r: cells.text.column(c)[row] for r, c in roles.items() if r in differing}

    places = {place: said(roles) for place, roles in fact.places.items()}
    in_use = {r: c for r, c in evidence.dataset.roles.items() if r in differing}
    same_table = fact.table == evidence.dataset.resource
    used = said(in_use) if same_table else {}
    used_from = [place for place, entry in places.items() if entry == used]
    other = next((place for place, entry in places.items() if entry != used), "")
    after = None
    if same_table and other:
        after = _with_reading(evidence, cells, row, fact.places[other])
    return Finding(
        rule="reading",
        severity="warning",
        where=cells.place(row),
        source_says="; ".join(
            f"{place}: {', '.join(f'{NAMES[r]} = {value}' for r, value in entry.items())}"
            for place, entry in places.items()
        ),
        follows=f"{listed([NAMES[role] for role in differing])} cannot have both values.",
        remedy=f"{used_from[0]} is used." if used_from else "",
        before=evidence.pooled if after is not None else None,
        after=after,
        lines=(cells.text.lines[row],),
        columns=tuple(roles[r] for roles in fact.places.values() for r in differing if r in roles),
    )


def _with_reading(
    evidence: Evidence, cells: Cells, row: int, places: Mapping[str, str]
) -> float | None:
    """Return the pooled estimate with the other place's values in one row."""
    position = evidence.position(cells.text.lines[row])
    if position is None:
        return None
    roles = {**cells.roles, **places}
    value = {
        role: float(cells.numbers(roles[role])[row])
        for role in ("ri", "ni", "yi", "vi", "sei")
        if role in roles
    }
    effect: tuple[float, float] | None
    if "ri" in value and "ni" in value:
        m = evidence.dataset.effects["composite"].iloc[position]
        effect = evidence.correlation_effect(value["ri"], value["ni"], m)
    else:
        v = value["vi"] if "vi" in value else value.get("sei", np.nan) ** 2
        effect = (value["yi"], v) if v > 0 else None
    return evidence.pooled_with_row(position, effect) if effect else None


def _with_sample_size(evidence: Evidence, sample: str, n: float) -> float | None:
    """Return the pooled estimate with another n for a sample that has one row in use."""
    table = evidence.dataset.effects
    rows = np.flatnonzero((table["sample"].astype(str) == sample).to_numpy())
    cells = evidence.cells()
    if len(rows) != 1 or "ri" not in cells.roles:
        return None
    position = int(rows[0])
    row = cells.text.lines.index(int(table["line"].iloc[position]))
    r = float(cells.numbers(cells.roles["ri"])[row])
    effect = evidence.correlation_effect(r, n, float(table["composite"].iloc[position]))
    return evidence.pooled_with_row(position, effect) if effect else None
