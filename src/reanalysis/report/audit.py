"""What the source contradicts, as the report shows it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from reanalysis.report.tables import Column, Table, missing, numeric, text
from reanalysis.wording import Scale

__all__ = ["audit_sentence", "audit_table", "audit_tally"]

PLURALS = {"error": "errors", "warning": "warnings", "note": "notes"}


def audit_table(findings: Sequence[Mapping[str, Any]], scale: Scale) -> Table:
    """Return the findings of the audit.

    Parameters
    ----------
    findings : sequence of mapping
        The document's ``audit``.
    scale : Scale
        The readable scale, on which the findings give the average.

    Returns
    -------
    Table
        One row for each finding, in the order of the audit: errors first.
    """
    rows = []
    for finding in findings:
        effect = finding.get("effect_on_pooled")
        kind = f"{finding.get('severity', '')}: {finding.get('rule', '')}".strip(": ")
        rows.append(
            (
                text(finding.get("where", ""), kind.replace("_", " ")),
                text(finding.get("source_says", "")),
                text(finding.get("follows", "")),
                text(finding.get("remedy", "")),
                missing()
                if effect is None
                else numeric(scale.printed(effect, 3), effect, _from_to(finding, scale)),
            )
        )
    heads = ("Where", "The source says", "What follows", "What was done")
    return Table(
        "Findings of the audit",
        (
            *(Column(h, numeric=False) for h in heads),
            Column(f"Average, otherwise ({scale.symbol})"),
        ),
        tuple(rows),
        note="Last column: change of the average if the matter is resolved the other way.",
    )


def audit_tally(findings: Sequence[Mapping[str, Any]]) -> str:
    """Count the findings by severity.

    Parameters
    ----------
    findings : sequence of mapping
        The document's ``audit``.

    Returns
    -------
    str
        Such as ``1 error, 15 warnings, 6 notes``.
    """
    counts = Counter(str(f.get("severity", "note")) for f in findings)
    return ", ".join(
        f"{n} {one if n == 1 else many}" for one, many in PLURALS.items() if (n := counts[one])
    )


def audit_sentence(findings: Sequence[Mapping[str, Any]], scale: Scale) -> str:
    """Say in one sentence how much the contradictions matter.

    Parameters
    ----------
    findings : sequence of mapping
        The document's ``audit``.
    scale : Scale
        The readable scale.

    Returns
    -------
    str
        Empty where no doubt was found that moves the average.
    """
    doubts = [f for f in findings if f.get("severity") in ("error", "warning")]
    moving = [f for f in doubts if "before" in f and "after" in f]
    if not moving:
        return ""
    most = max(moving, key=lambda f: abs(f["after"] - f["before"]))
    places = "one place" if len(doubts) == 1 else f"{len(doubts)} places"
    return (
        f"The source contradicts itself or raises doubts in {places}; resolved the other way, the "
        f"weightiest would move the average from {scale.printed(most['before'])} to "
        f"{scale.printed(most['after'])}."
    )


def _from_to(finding: Mapping[str, Any], scale: Scale) -> str:
    if "before" not in finding or "after" not in finding:
        return ""
    return f"{scale.printed(finding['before'], 3)} to {scale.printed(finding['after'], 3)}"
