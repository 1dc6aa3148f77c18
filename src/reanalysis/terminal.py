"""What a person at the terminal sees: progress, and the answer in a few lines.

Progress goes to standard error: a display that moves on a terminal, plain lines elsewhere.
"""

import math
import os
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from reanalysis.progress import Progress, Stage

if TYPE_CHECKING:
    from reanalysis.analysis import Analysis, ModelResult
    from reanalysis.audit import Finding
    from reanalysis.spread import Tally, Watcher

__all__ = ["answer", "columns", "findings_text", "say", "watch", "watch_fits"]

WORDS = {
    "check": "check",
    "reml": "REML",
    "exact": "exact",
    "nuts": "NUTS",
    "report": "report",
}
TOLD_EVERY = 2.0  # seconds between lines of progress
COMPILING = "compiling, about 15 s"


def say(text: str, *, err: bool = False) -> None:
    """Print text that may hold words from a table or a spec.

    Parameters
    ----------
    text : str
        What to print; control characters other than line breaks are shown as ``?``, so that a
        study name cannot command the terminal.
    err : bool
        Whether to print to standard error.
    """
    stream = sys.stderr if err else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    click.echo(_harmless(text).encode(encoding, "replace").decode(encoding), err=err)


def _harmless(text: str) -> str:
    return "".join(
        "?" if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs") else c for c in text
    )


def columns(rows: Sequence[Sequence[str]], *, indent: str = "") -> str:
    """Return rows as text in aligned columns.

    Parameters
    ----------
    rows : sequence of sequence of str
        Cells; all rows have the same number.
    indent : str
        Put before each line.

    Returns
    -------
    str
        One line per row, without trailing spaces.
    """
    if not rows:
        return ""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = (
        indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


@contextmanager
def watch() -> Iterator[Progress]:
    """Show the progress of a run on standard error.

    Yields
    ------
    callable
        To be passed to `reanalysis.analysis.run` as ``progress``.
    """
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        with _moving() as progress:
            yield progress
    else:
        with _plain() as progress:
            yield progress


@contextmanager
def _plain() -> Iterator[Progress]:
    """Print one line when a step starts; draws are not counted aloud."""
    announced = -1

    def show(stage: Stage) -> None:
        nonlocal announced
        if stage.note:
            say(f"        {stage.note}", err=True)
        elif not stage.of:
            say(_title(stage), err=True)
        elif not stage.what and stage.number != announced:
            announced = stage.number
            say(f"        {COMPILING}, then {stage.of:,} draws", err=True)

    yield show


@contextmanager
def _moving() -> Iterator[Progress]:
    """Show the step that is running with its time and draws, and keep a line of each that ended."""
    # Imported here: only a terminal needs it.
    from rich.console import Console
    from rich.markup import escape as without_markup
    from rich.progress import (
        BarColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Display

    def escape(text: str) -> str:
        return without_markup(_harmless(text))

    console = Console(stderr=True, highlight=False)
    display = Display(
        SpinnerColumn("line"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[hint]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    task = display.add_task("", total=None, hint="")
    current: tuple[str, float] | None = None
    counted = ""

    def finish() -> None:
        if current is not None:
            console.print(f"{escape(current[0])}  {time.monotonic() - current[1]:.1f} s")

    def show(stage: Stage) -> None:
        nonlocal current, counted
        if stage.note:
            console.print(f"        {escape(stage.note)}")
        elif stage.what:
            if stage.what != counted:
                counted = stage.what
                display.reset(task, description=f"        {escape(stage.what)}")
            hint = f"{stage.done:,} of {stage.of:,}"
            display.update(task, completed=stage.done, total=stage.of, hint=hint)
        elif stage.of:
            hint = "sampling" if stage.done else COMPILING
            display.update(task, completed=stage.done, total=stage.of or None, hint=hint)
        else:
            finish()
            current = (_title(stage), time.monotonic())
            display.reset(task, total=None, description=escape(current[0]), hint="")

    with display:
        yield show
        finish()


@contextmanager
def watch_fits(what: str) -> Iterator["Watcher"]:
    """Show how far many fits are on standard error: a bar on a terminal, else a line at times.

    Parameters
    ----------
    what : str
        What is fitted, for the bar.

    Yields
    ------
    callable
        To be passed to `reanalysis.spread.spread` as ``watcher``.
    """
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        with _moving() as progress:
            yield lambda tally: progress(
                Stage(0, 0, "check", "", done=tally.done, of=tally.total, what=what)
            )
        return
    told = time.monotonic()

    def show(tally: "Tally") -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= TOLD_EVERY or tally.done == tally.total:
            told = now
            failed = f", {tally.failed} failed" if tally.failed else ""
            left = f", about {tally.seconds_left:.0f} s left" if tally.seconds_left else ""
            say(f"{tally.done} of {tally.total}{failed}{left}", err=True)

    yield show


def _title(stage: Stage) -> str:
    place = f"[{stage.number}/{stage.total}] " if stage.number else "[start] "
    return f"{place}{WORDS[stage.step]}: {stage.detail}"


def answer(analysis: "Analysis", report: str) -> str:
    """Return what a run found, in about six lines.

    Parameters
    ----------
    analysis : Analysis
        The finished analysis; its first model is the headline.
    report : str
        Where the report is.

    Returns
    -------
    str
        Estimates of every source side by side, heterogeneity, prediction and the gates. A fit
        that failed its gate is named, and its numbers are not shown.
    """
    (name, first), *others = analysis.models.items()
    rows = [
        ("data", f"k = {first.design.k} effects, m = {first.design.m} samples; model {name}"),
        (_mean_title(first), _sources(first)),
        *_heterogeneity(first),
        *_bias_allowed_for(analysis),
        *((f"  {other}", _sources(result)) for other, result in others),
        *_gates(analysis),
        ("report", report),
    ]
    return columns(rows)


def _mean_title(result: "ModelResult") -> str:
    if result.design.p > 1:
        return "intercept"
    from reanalysis.effect_sizes import MEASURES

    return f"pooled {MEASURES[result.design.measure].back_label}"


def _sources(result: "ModelResult") -> str:
    """Return the first coefficient from every source."""
    name = result.design.coefficients[0]
    found = {
        "exact": result.exact.estimates.get(name) if result.exact else None,
        "NUTS": result.nuts.estimates.get(name) if result.nuts and result.converged else None,
        "REML": result.reml.estimates.get(name) if result.reml else None,
    }
    words = [
        f"{source} {_interval(e.value, e.lower, e.upper, result)}"
        for source, e in found.items()
        if e is not None
    ]
    table = result.comparison.table
    if "published" in table and name in table.index:
        low, value, high = (float(table[column][name]) for column in PUBLISHED)
        if math.isfinite(value):
            words.append(f"published {_interval(value, low, high, result)}")
    return "   ".join(words) or "no result"


PUBLISHED = ("published_lower", "published", "published_upper")


def _heterogeneity(result: "ModelResult") -> list[tuple[str, str]]:
    bayes = result.exact or (result.nuts if result.converged else None)
    if bayes is None:
        return []
    rows = []
    total = bayes.estimates.get("tau") or bayes.estimates.get("tau_between")
    if total is not None and total.lower is not None and total.upper is not None:
        words = f"{_three(total.value)} [{_three(total.lower)}, {_three(total.upper)}]"
        ahead = bayes.estimates.get("new_sample")
        if ahead is not None and ahead.lower is not None and ahead.upper is not None:
            low, high = _shown(ahead.lower, result), _shown(ahead.upper, result)
            words += f"   a new sample: {low} to {high}"
        rows.append(("tau", words))
    return rows


def _bias_allowed_for(analysis: "Analysis") -> list[tuple[str, str]]:
    """Return what is left of the effect when models with publication bias are averaged in."""
    average = analysis.average
    if average is None or "mu" not in average.averaged:
        return []
    mean = average.averaged["mu"]
    model = next(iter(analysis.models.values()))
    log_factor = float(average.inclusion["log_bayes_factor"]["effect"])
    odds = math.exp(min(abs(log_factor), math.log(10_000)))
    side = "for" if log_factor > 0 else "against"
    words = f"{odds:,.3g} to 1 {side} an effect (average of {len(average.models)} models)"
    shown = _interval(mean.value, mean.lower, mean.upper, model)
    return [("bias allowed for", f"{shown}   {words}")]


def _gates(analysis: "Analysis") -> list[tuple[str, str]]:
    rows = []
    for name, result in analysis.models.items():
        diagnostics = result.nuts.diagnostics if result.nuts else None
        if diagnostics is not None and not diagnostics.passed:
            rows.append(("NOT CONVERGED", f"NUTS, {name}: {'; '.join(diagnostics.failures)}"))
        wrong = result.comparison.agreement
        for parameter in wrong.index[~wrong["agrees"].astype(bool)]:
            ratio = float(wrong["ratio"][parameter])
            rows.append(
                ("DISAGREE", f"NUTS and exact, {name}: {parameter} by {ratio:.1f} standard errors")
            )
        rows += [
            ("skipped", f"{engine}, {name}: {why}")
            for engine, why in result.skipped.items()
            if engine in analysis.engines and engine in result.spec.engines
        ]
    sampled = [r.nuts.diagnostics for r in analysis.models.values() if r.nuts]
    passed = [d for d in sampled if d is not None and d.passed]
    if passed and len(passed) == len(sampled):
        rhat = max(d.rhat_max for d in passed)
        ess = min(min(d.ess_bulk_min, d.ess_tail_min) for d in passed)
        words = f"passed: R-hat {rhat:.3f}, ESS {ess:.0f}, no divergences"
        ratios = [
            float(r.comparison.agreement["ratio"].max())
            for r in analysis.models.values()
            if len(r.comparison.agreement)
        ]
        if ratios and analysis.agrees:
            words += f"; NUTS within {max(ratios):.1f} standard errors of exact (limit 4)"
        rows.append(("gates", words))
    return rows


def _interval(value: float, lower: float | None, upper: float | None, result: "ModelResult") -> str:
    shown = _shown(value, result)
    if lower is None or upper is None or not math.isfinite(lower + upper):
        return shown
    return f"{shown} [{_shown(lower, result)}, {_shown(upper, result)}]"


def _shown(value: float, result: "ModelResult") -> str:
    """Return a number on the scale that people read: r for correlations."""
    import numpy as np

    from reanalysis.effect_sizes import MEASURES

    back = MEASURES[result.design.measure].back
    return _three(float(back(np.array(value))) if back is not None else value)


def _three(value: float) -> str:
    """Return three decimals; the leading zero stays, so that no measure is misread."""
    text = f"{value:.3f}"
    return "0.000" if text == "-0.000" else text


def findings_text(findings: Sequence["Finding"]) -> str:
    """Return the findings of an audit as text.

    Parameters
    ----------
    findings : sequence of Finding
        From `reanalysis.audit.audit`.

    Returns
    -------
    str
        One block per finding, then their counts.
    """
    blocks = []
    for finding in findings:
        rows = [
            ("  source says", finding.source_says),
            ("  follows", finding.follows),
            ("  remedy", finding.remedy),
        ]
        if finding.before is not None and finding.after is not None:
            change = f"{finding.before:.3f} as it stands, {finding.after:.3f} the other way"
            rows.append(("  pooled", change))
        head = f"{finding.severity.upper()}  {finding.where}  [{finding.rule}]"
        blocks.append(f"{head}\n{columns([row for row in rows if row[1]])}")
    counts = Counter(finding.severity for finding in findings)
    found = ", ".join(f"{n} {word}{'s' if n > 1 else ''}" for word, n in counts.items())
    blocks.append(f"Found: {found}." if findings else "Nothing contradicts itself.")
    return "\n\n".join(blocks)
