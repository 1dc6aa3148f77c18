"""Rules on the printed results themselves: Q and I², tests and intervals, claim by claim."""

from collections.abc import Iterator

import numpy as np
from scipy.special import chdtrc, fdtrc, ndtr, ndtri

from reanalysis.audit.evidence import Evidence
from reanalysis.audit.finding import Finding
from reanalysis.audit.wording import number, p_value
from reanalysis.spec import Claim

__all__ = [
    "estimates_outside_the_middle_of_their_interval",
    "i2_that_q_does_not_give",
    "p_values_that_do_not_follow",
    "tests_that_depend_on_their_reference",
    "totals_of_claims",
]

I2_SLACK = 0.6  # percentage points: rounding of Q and of I² to whole numbers
NORMAL_975 = 1.959963984540054
DEFAULT_ALPHA = 0.05


def i2_that_q_does_not_give(evidence: Evidence) -> Iterator[Finding]:
    """Find an I² that its own Q does not give."""
    for claim in evidence.claims:
        q, df, i2 = (_number(claim, key) for key in ("q", "q_df", "i2"))
        if q is None or df is None or i2 is None or q <= 0:
            continue
        expected = max(0.0, 100 * (q - df) / q)
        if abs(expected - i2) <= I2_SLACK:
            continue
        yield Finding(
            rule="i2",
            severity="warning",
            where=_where(claim),
            source_says=f"I² = {number(i2)} %, Q({number(df)}) = {number(q, 4)}",
            follows=f"(Q − df)/Q = {expected:.1f} %. A model's ratio of variances is another "
            "quantity and may be what is printed.",
            remedy="Both definitions are reported by name.",
        )


def p_values_that_do_not_follow(evidence: Evidence) -> Iterator[Finding]:
    """Find p-values of Q and QM that their statistics do not give under chi-square."""
    for claim in evidence.claims:
        for statistic, name in (("q", "Q"), ("qm", "QM")):
            value, df, p = (_number(claim, statistic + end) for end in ("", "_df", "_p"))
            if value is None or df is None or p is None:
                continue
            expected = float(chdtrc(df, value))
            if abs(expected - p) <= max(0.006, 0.1 * p):
                continue
            yield Finding(
                rule="p_value",
                severity="warning",
                where=_where(claim),
                source_says=f"{name}({number(df)}) = {number(value, 4)}, p = {number(p)}",
                follows=f"Chi-square with {number(df)} df gives {p_value(expected)}.",
                remedy="Check which reference distribution was used.",
            )


def tests_that_depend_on_their_reference(evidence: Evidence) -> Iterator[Finding]:
    """Find moderator tests that pass their threshold only under the chi-square reference."""
    for claim in evidence.claims:
        qm, df = _number(claim, "qm"), _number(claim, "qm_df")
        if qm is None or df is None or df < 1:
            continue
        alpha = _number(claim, "alpha") or DEFAULT_ALPHA
        p = float(chdtrc(df, qm))
        denominators = _denominators(evidence, claim, df)
        small = {words: float(fdtrc(df, d, qm / df)) for words, d in denominators.items()}
        if not small or p > alpha or all(value <= alpha for value in small.values()):
            continue
        name = "t" if df == 1 else "F"
        shown = ", ".join(f"{p_value(value)} with {words}" for words, value in small.items())
        yield Finding(
            rule="reference",
            severity="warning",
            where=_where(claim),
            source_says=f"QM({number(df)}) = {number(qm, 4)}, threshold p = {number(alpha)}",
            follows=f"Under chi-square {p_value(p)}; under {name} with containment degrees of "
            f"freedom {shown}. The result passes only under chi-square, which takes the "
            "variances as known.",
            remedy="Both references are reported.",
        )


def estimates_outside_the_middle_of_their_interval(evidence: Evidence) -> Iterator[Finding]:
    """Find estimates that are not the middle of their interval, or contradict their p-value."""
    for claim in evidence.claims:
        estimate, lower, upper, p = (
            _number(claim, key) for key in ("estimate", "lower", "upper", "p")
        )
        if estimate is None or lower is None or upper is None or not lower < upper:
            continue
        on_r = claim.published.get("scale", "analysis") == "r"
        if on_r and max(abs(estimate), abs(lower), abs(upper)) >= 1:
            continue
        e, lo, hi = (np.arctanh(x) if on_r else x for x in (estimate, lower, upper))
        unit = 10.0 ** -max(_decimals(x) for x in (estimate, lower, upper))
        slack = 1.5 * unit / (1 - max(lower**2, upper**2) if on_r else 1)
        says = f"{number(estimate)} [{number(lower)}, {number(upper)}]"
        if abs(e - (lo + hi) / 2) > slack + 0.02 * (hi - lo):
            middle = float(np.tanh((lo + hi) / 2) if on_r else (lo + hi) / 2)
            yield Finding(
                rule="interval",
                severity="warning",
                where=_where(claim),
                source_says=says,
                follows=f"The middle of the interval is {middle:.3f}.",
                remedy="Check the three numbers; a profile or bootstrap interval need not be "
                "symmetric.",
            )
        elif p is not None and p > 0:
            expected = float(2 * ndtr(-abs(e) / ((hi - lo) / (2 * NORMAL_975))))
            # Compared as z: p-values of strong effects differ by factors that mean nothing.
            if abs(ndtri(expected / 2) - ndtri(min(p, 1) / 2)) > 0.5 and expected > p:
                yield Finding(
                    rule="interval",
                    severity="warning",
                    where=_where(claim),
                    source_says=f"{says}, p = {number(p)}",
                    follows=f"The interval implies {p_value(expected)}.",
                    remedy="Check the interval and the p-value.",
                )


def totals_of_claims(evidence: Evidence) -> Iterator[Finding]:
    """Find claimed numbers of participants that the rows do not add up to."""
    declared = {float(total.printed) for total in evidence.facts.totals}
    sizes = evidence.dataset.effects.groupby("sample")["ni"].max()
    seen: set[float] = set()
    for claim in evidence.claims:
        n = _number(claim, "n")
        if n is None or claim.parameter != "mu" or n in declared | seen or sizes.isna().any():
            continue
        seen.add(n)
        if n != sizes.sum():
            yield Finding(
                rule="total",
                severity="warning",
                where=_where(claim),
                source_says=f"{number(n)} participants",
                follows=f"The samples add up to {number(sizes.sum())}.",
                remedy="The rows are used as they are.",
            )


def _denominators(evidence: Evidence, claim: Claim, df: float) -> dict[str, float]:
    """Return the containment degrees of freedom: samples, and effects, less the coefficients."""
    coefficients = df + 1
    k = _number(claim, "k") or 0
    k = max([k, *(_number(other, "k") or 0 for other in evidence.claims)]) or evidence.dataset.k
    m = _number(claim, "m") or evidence.dataset.m
    found: dict[str, float] = {}
    for count, what in ((m, "samples"), (k, "effects")):
        left = count - coefficients
        if left > 0:
            found.setdefault(f"{number(left)} df ({what})", left)
    return found


def _number(claim: Claim, key: str) -> float | None:
    value = claim.published.get(key)
    return float(value) if isinstance(value, (int, float)) else None


def _decimals(value: float) -> int:
    return len(repr(value).partition(".")[2]) if "e" not in repr(value) else 0


def _where(claim: Claim) -> str:
    return f"claim '{claim.id}'" + (f" ({claim.source})" if claim.source else "")
