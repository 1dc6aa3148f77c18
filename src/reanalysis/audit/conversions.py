"""Rules on effects that were not reported as correlations: converted, assumed, combined."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from reanalysis.audit.evidence import Cells, Evidence
from reanalysis.audit.facts import Conversion
from reanalysis.audit.finding import Finding
from reanalysis.audit.wording import number, p_value
from reanalysis.effect_sizes import (
    beta_to_r,
    composite_r,
    d_to_r,
    odds_ratio_to_r,
    t_to_r,
    z_statistic_to_r,
)

__all__ = [
    "CONVERSIONS",
    "composites_beside_single_effects",
    "composites_that_do_not_reproduce",
    "conversions_that_do_not_reproduce",
    "effects_set_to_zero",
    "evidence_lost_in_conversion",
]

# From the value of a reported statistic and the sample size to r.
CONVERSIONS: Mapping[str, Callable[[float, float], float]] = {
    "odds ratio": lambda value, n: float(odds_ratio_to_r(value)),
    "beta": lambda value, n: float(beta_to_r(value, extrapolate=True)),
    "d": lambda value, n: float(d_to_r(value)),
    "t": lambda value, n: float(t_to_r(value, n - 2)),
    "z": lambda value, n: float(z_statistic_to_r(value, n)),
    "r": lambda value, n: value,
}
NEED_N = frozenset({"t", "z"})
FEWEST = 3  # Fisher's z needs more
RATIOS = frozenset({"odds ratio", "risk ratio", "hazard ratio", "rate ratio"})
NORMAL_975 = 1.959963984540054
SIGNIFICANT = 0.05


def conversions_that_do_not_reproduce(evidence: Evidence) -> Iterator[Finding]:
    """Find printed correlations that the reported statistic does not give; note where it does."""
    for fact in evidence.facts.conversions:
        cells = evidence.cells(fact.table)
        sizes = _sizes(cells)
        reproduced = []
        for row, kind, value in _reported(cells, fact):
            printed = cells.text.column(fact.converted)[row]
            if cells.missing(printed) or kind not in CONVERSIONS:
                continue
            if kind in NEED_N and np.isnan(sizes[row]):
                continue
            convert = CONVERSIONS[kind]
            n = float(sizes[row])
            half = 0.5 * 10.0 ** -cells.decimals(cells.text.column(fact.value)[row])
            expected = convert(value, n)
            slack = abs(convert(value + half, n) - convert(value - half, n)) / 2
            slack += 0.5 * 10.0 ** -cells.decimals(printed) + 1e-9
            says = f"{kind} {number(value)}, converted to r = {printed}"
            if abs(expected - cells.number(printed)) <= slack:
                reproduced.append((row, f"{cells.place(row)}: {says} ({expected:.4f})"))
                continue
            position = evidence.position(cells.text.lines[row])
            after = None
            if position is not None and fact.converted == cells.roles.get("ri"):
                effect = evidence.correlation_effect(expected, n)
                after = evidence.pooled_with_row(position, effect) if effect else None
            yield Finding(
                rule="conversion",
                severity="error",
                where=cells.place(row),
                source_says=says,
                follows=f"The conversion gives r = {expected:.4f}.",
                remedy="The printed r is used; check the statistic and the conversion.",
                before=evidence.pooled if after is not None else None,
                after=after,
                lines=(cells.text.lines[row],),
                columns=(fact.value, fact.converted),
            )
        if reproduced:
            yield Finding(
                rule="conversion",
                severity="note",
                where=f"{fact.table}: column '{fact.converted}'",
                source_says="; ".join(text for _, text in reproduced),
                follows=f"{len(reproduced)} printed conversions reproduce.",
                lines=tuple(cells.text.lines[row] for row, _ in reproduced),
                columns=(fact.value, fact.converted),
            )


def evidence_lost_in_conversion(evidence: Evidence) -> Iterator[Finding]:
    """Set the p-value of the reported statistic against the one that the converted r implies."""
    for fact in evidence.facts.conversions:
        cells = evidence.cells(fact.table)
        if not (fact.lower and fact.upper):
            continue
        lower, upper = cells.numbers(fact.lower), cells.numbers(fact.upper)
        sizes, printed = _sizes(cells), cells.numbers(fact.converted)
        for row, kind, value in _reported(cells, fact):
            if not np.isfinite([lower[row], upper[row], sizes[row], printed[row]]).all():
                continue
            says = (
                f"{kind} {number(value)} [{number(lower[row])}, {number(upper[row])}], "
                f"converted to r = {number(printed[row])} with n = {number(sizes[row])}"
            )
            bounds = (lower[row], value, upper[row])
            if not lower[row] < value < upper[row] or (kind in RATIOS and lower[row] <= 0):
                yield Finding(
                    rule="interval",
                    severity="error",
                    where=cells.place(row),
                    source_says=says,
                    follows="The interval does not hold the value.",
                    remedy="The converted r is used as printed; look up the statistic.",
                    lines=(cells.text.lines[row],),
                    columns=(fact.value, fact.lower, fact.upper),
                )
                continue
            low, middle, high = np.log(bounds) if kind in RATIOS else np.array(bounds)
            z = 2 * NORMAL_975 * middle / (high - low)
            z_converted = np.arctanh(printed[row]) * np.sqrt(sizes[row] - 3)
            p, p_converted = 2 * ndtr(-abs(z)), 2 * ndtr(-abs(z_converted))
            crossed = (p < SIGNIFICANT) != (p_converted < SIGNIFICANT)
            if not crossed and abs(z - z_converted) < NORMAL_975:
                continue
            follows = (
                f"The interval implies z = {z:.2f}, {p_value(p)}; the converted r implies "
                f"z = {z_converted:.2f}, {p_value(p_converted)}."
            )
            after = None
            if z**2 < sizes[row]:
                r = float(z_statistic_to_r(z, sizes[row]))
                follows += f" An r that keeps the evidence is {r:.2f}."
                after = _with_correlation(evidence, cells, row, r, sizes[row])
            yield Finding(
                rule="significance",
                severity="error" if crossed else "warning",
                where=cells.place(row),
                source_says=says,
                follows=follows,
                remedy="The converted r is used as printed; the unit of the predictor, or a "
                "dichotomised outcome, may explain the gap.",
                before=evidence.pooled if after is not None else None,
                after=after,
                lines=(cells.text.lines[row],),
                columns=(fact.value, fact.converted),
            )


def effects_set_to_zero(evidence: Evidence) -> Iterator[Finding]:
    """Find effects that entered as zero because they were reported as not significant only."""
    for fact in evidence.facts.zeros:
        cells = evidence.cells(fact.table)
        marks, parts = cells.text.column(fact.flag), cells.numbers(fact.part)
        samples = cells.column("sample")
        for sample in dict.fromkeys(
            s for s, m in zip(samples, marks, strict=True) if m == fact.value
        ):
            rows = [i for i, name in enumerate(samples) if name == sample]
            zeros = [i for i in rows if marks[i] == fact.value]
            rest = [float(parts[i]) for i in rows if i not in zeros]
            after = _with_parts(evidence, sample, rest)
            shown = ", ".join(f"r = {number(r)}" for r in rest)
            yield Finding(
                rule="set_to_zero",
                severity="warning",
                where=cells.place(zeros[0]),
                source_says=f"{len(zeros)} of {len(rows)} effects: n.s., taken as r = 0"
                + (f" ({fact.source})" if fact.source else ""),
                follows="A result that is not significant is not zero"
                + (f"; the rest of the sample is {shown}." if shown else "."),
                remedy="The zero is kept as published; the change is that of leaving it out.",
                before=evidence.pooled if after is not None else None,
                after=after,
                lines=tuple(cells.text.lines[i] for i in zeros),
                columns=(fact.flag, fact.part),
            )


def composites_that_do_not_reproduce(evidence: Evidence) -> Iterator[Finding]:
    """Set printed composites against their parts, where every part is known."""
    for fact in evidence.facts.composites:
        cells = evidence.cells(fact.table)
        parts, printed = cells.numbers(fact.part), cells.text.column(fact.composite)
        samples = cells.column("sample")
        rho = evidence.dataset.intercorrelation
        for sample in dict.fromkeys(samples):
            rows = [i for i, name in enumerate(samples) if name == sample]
            value = printed[rows[0]]
            if len(rows) < 2 or cells.missing(value) or np.isnan(parts[rows]).any():
                continue
            expected = float(composite_r(parts[rows], rho))
            unit = 10.0 ** -cells.decimals(value)
            agrees = abs(expected - cells.number(value)) <= 0.5 * unit + 1e-9
            mean = float(parts[rows].mean())
            shown = ", ".join(number(r) for r in parts[rows])
            follows = f"Σr/√(m + m(m−1)·{number(rho)}) = {expected:.4f} for parts {shown}"
            if not agrees and abs(mean - cells.number(value)) <= 0.5 * unit + 1e-9:
                follows += f"; their mean is {mean:.4f}, which is what is printed"
            after = None
            if not agrees:
                after = _with_composite(evidence, sample, expected, len(rows))
            yield Finding(
                rule="composite",
                severity="note" if agrees else "error",
                where=cells.place(rows[0]),
                source_says=f"composite r = {value}",
                follows=follows + (": it reproduces." if agrees else "."),
                remedy="" if agrees else "The printed composite is used; check how it was formed.",
                before=evidence.pooled if after is not None else None,
                after=after,
                lines=tuple(cells.text.lines[i] for i in rows),
                columns=(fact.part, fact.composite),
            )


def composites_beside_single_effects(evidence: Evidence) -> Iterator[Finding]:
    """Find composites of several effects in one column with single effects: two estimands."""
    data = evidence.dataset
    of = data.effects["composite"].to_numpy()
    composite = int((of > 1).sum())
    if not 0 < composite < len(of):
        return
    other = Evidence(data.reading(estimand="composite"), (), evidence.facts)
    column = data.roles.get("ri", "")
    yield Finding(
        rule="mixed_composites",
        severity="warning",
        where=f"{data.resource}: column '{column}'",
        source_says=f"{composite} rows are composites of 2 to {number(of.max())} effects, "
        f"{len(of) - composite} are single effects",
        follows="A composite is a correlation with a sum of outcomes; at an intercorrelation of "
        f"{number(data.intercorrelation)} it exceeds the mean correlation by up to "
        f"{100 * (np.sqrt(of.max() / (1 + (of.max() - 1) * data.intercorrelation)) - 1):.0f} %.",
        remedy="Composites are converted to mean effects; the change is that of taking them as "
        "printed.",
        before=evidence.pooled,
        after=other.pooled,
        columns=(column,),
    )


def _reported(cells: Cells, fact: Conversion) -> Iterator[tuple[int, str, float]]:
    """Yield row, name and value of each reported statistic."""
    values = cells.numbers(fact.value)
    for row, kind in enumerate(cells.text.column(fact.statistic)):
        if np.isfinite(values[row]):
            yield row, kind, float(values[row])


def _sizes(cells: Cells) -> NDArray[np.float64]:
    """Return the sample sizes of a table, NaN where unknown or too small for Fisher's z."""
    if "ni" not in cells.roles:
        return np.full(len(cells.text.rows), np.nan)
    sizes = cells.numbers(cells.roles["ni"])
    return np.where(sizes > FEWEST, sizes, np.nan)


def _with_correlation(
    evidence: Evidence, cells: Cells, row: int, r: float, n: float
) -> float | None:
    """Return the pooled estimate with one correlation for a sample of a single effect."""
    samples = cells.column("sample")
    if samples.count(samples[row]) > 1:
        return None
    effect = evidence.correlation_effect(r, n)
    return evidence.pooled_with({samples[row]: [effect]}) if effect else None


def _with_parts(evidence: Evidence, sample: str, parts: list[float]) -> float | None:
    """Return the pooled estimate with a sample made of these effects only."""
    if np.isnan(parts).any():
        return None
    if not parts:
        return evidence.pooled_with({sample: []})
    composite = float(composite_r(parts, evidence.dataset.intercorrelation))
    return _with_composite(evidence, sample, composite, len(parts))


def _with_composite(evidence: Evidence, sample: str, composite: float, m: int) -> float | None:
    table = evidence.dataset.effects
    sizes = table.loc[table["sample"].astype(str) == sample, "ni"]
    if sizes.empty:
        return None
    effect = evidence.correlation_effect(composite, float(sizes.iloc[0]), m)
    return evidence.pooled_with({sample: [effect]}) if effect else None
