"""The sources side by side: one model's estimates, their differences, and all models at once."""

from collections.abc import Mapping, Sequence
from typing import Any

from reanalysis.plots.source import Selected
from reanalysis.report.answer import usable
from reanalysis.report.tables import (
    Cell,
    Column,
    Table,
    caption,
    estimate,
    interval,
    mark,
    missing,
    numeric,
    parameter,
    text,
)
from reanalysis.wording import number, odds

__all__ = ["agreement_table", "comparison_table", "differences_table", "overview_table"]

SOURCES = {"published": "Paper", "reml": "REML", "exact": "Bayes, exact", "nuts": "Bayes, NUTS"}
SHORT = {"published": "Paper", "reml": "REML", "exact": "Exact", "nuts": "NUTS"}
Z95 = 1.959964


def comparison_table(chosen: Selected) -> Table:
    """Return every estimate of a model from every source, on the readable scale.

    Parameters
    ----------
    chosen : Selected
        The model.

    Returns
    -------
    Table
        One row for each parameter, one column for each source; intervals as a second line.
    """
    sources = _sources(chosen)
    rows = []
    for name in _parameters(chosen):
        found = chosen.estimates(name)
        cells = [estimate(chosen, name, found[s]) if s in found else missing() for s in sources]
        rows.append((parameter(name), *cells))
    return Table(
        caption("Estimates and 95 % intervals", chosen),
        (Column("", numeric=False), *(Column(SOURCES[s]) for s in sources)),
        tuple(rows),
        note=_scale_note(chosen),
    )


def differences_table(chosen: Selected) -> Table:
    """Return the estimates on the analysis scale, to four digits, with their differences.

    Parameters
    ----------
    chosen : Selected
        The model.

    Returns
    -------
    Table
        Differences are computed from unrounded numbers.
    """
    sources = _sources(chosen)
    pairs = [
        (a, b)
        for a, b in (
            ("exact", "reml"),
            ("nuts", "exact"),
            ("reml", "published"),
            ("exact", "published"),
        )
        if a in sources and b in sources
    ]
    rows = []
    names = _parameters(chosen)
    for name in names:
        found = chosen.estimates(name)
        cells = [
            numeric(number(found[s]["mean"], 4), found[s]["mean"]) if s in found else missing()
            for s in sources
        ]
        for a, b in pairs:
            if a in found and b in found:
                gap = found[a]["mean"] - found[b]["mean"]
                cells.append(numeric(number(gap, 4), gap, _in_se(gap, found[b], b)))
            else:
                cells.append(missing())
        rows.append((parameter(name), *cells))
    heads = (*(SHORT[s] for s in sources), *(f"{SHORT[a]} − {SHORT[b]}" for a, b in pairs))
    label = chosen.scale.measure.label
    return Table(
        caption(f"Estimates as {label}, and their differences", chosen),
        (Column("", numeric=False), *(Column(h) for h in heads)),
        tuple(rows),
        note="Posterior means for the Bayesian columns; heterogeneity is a standard deviation."
        + (" The mean correlation over samples is an r here too." if "mean_r" in names else "")
        + (" SE: the standard error of the printed estimate." if "published" in sources else ""),
    )


def agreement_table(chosen: Selected) -> Table | None:
    """Return the check of NUTS against the exact engine.

    Parameters
    ----------
    chosen : Selected
        The model.

    Returns
    -------
    Table or None
        None where they were not compared.
    """
    checks = chosen.model.get("agreement", ())
    if not checks or chosen.nuts_failed:
        return None
    rows = []
    for row in checks:
        name = str(row["parameter"])
        found = chosen.estimates(name)
        gap = found["nuts"]["mean"] - found["exact"]["mean"]
        rows.append(
            (
                parameter(name),
                numeric(number(found["exact"]["mean"], 4), found["exact"]["mean"]),
                numeric(number(found["nuts"]["mean"], 4), found["nuts"]["mean"]),
                numeric(number(gap, 4), gap),
                numeric(number(row["mcse"], 4), row["mcse"]),
                numeric(number(row["ratio"], 1), row["ratio"]),
                mark(bool(row["agrees"])),
            )
        )
    heads = ("Exact", "NUTS", "Difference", "Monte-Carlo error", "Ratio")
    return Table(
        caption("Agreement of NUTS and the exact engine", chosen),
        (Column("", numeric=False), *map(Column, heads), Column("Within 4", numeric=False)),
        tuple(rows),
        note="Analysis scale. The two engines share no likelihood code. A ratio above 4 would mean "
        "that one of them is wrong (by chance alone: 6 in 100,000 comparisons).",
    )


def overview_table(models: Sequence[Selected]) -> Table:
    """Return all models of a report, one row each.

    Parameters
    ----------
    models : sequence of Selected
        The models, the headline first.

    Returns
    -------
    Table
        Average effect by REML and by Bayes, prediction interval, heterogeneity and evidence.
    """
    symbol = models[0].scale.symbol
    rows = []
    for chosen in models:
        model = chosen.model
        bayes = chosen.posterior[1] if chosen.posterior and usable(chosen) else {}
        tau = "tau" if "tau" in bayes.get("estimates", {}) else "tau_between"
        cells = [
            _focal(chosen, chosen.reml(chosen.focus)),
            _focal(chosen, bayes.get("estimates", {}).get(chosen.focus)),
            interval(chosen, bayes.get("estimates", {}).get("new_sample")),
            estimate(chosen, tau, bayes["estimates"][tau])
            if tau in bayes.get("estimates", {})
            else missing(),
            _factor(bayes.get("log_bayes_factors", {}).get(chosen.focus)),
        ]
        about = f"{model['k']} effects, {model['m']} samples, {model['levels']} levels"
        rows.append((text(model.get("title", chosen.name), about), *cells))
    heads = (
        f"REML ({symbol})",
        f"Bayes ({symbol})",
        f"A new sample ({symbol})",
        "Heterogeneity τ",
        "Odds for an effect",
    )
    return Table(
        "One row for each model",
        (Column("Model", numeric=False), *map(Column, heads)),
        tuple(rows),
        note="First row: the headline model. Bayesian numbers come from the exact engine where it "
        "ran, otherwise from NUTS.",
    )


def _sources(chosen: Selected) -> list[str]:
    names = _parameters(chosen)
    return [s for s in SOURCES if any(s in chosen.estimates(name) for name in names)]


def _parameters(chosen: Selected) -> list[str]:
    """Return the parameters that any source estimates, without copies of one another."""
    engines = (chosen.model.get(e, {}).get("estimates", {}) for e in ("exact", "reml"))
    nuts = {} if chosen.nuts_failed else chosen.model.get("nuts", {}).get("estimates", {})
    names = dict.fromkeys(n for found in (*engines, nuts, chosen.published) for n in found)
    if chosen.model.get("levels") == 2:
        for copy, original in (("tau", "tau_between"), ("new_effect", "new_sample")):
            if original in names:
                names.pop(copy, None)
    return list(names)


def _focal(chosen: Selected, e: Mapping[str, Any] | None) -> Cell:
    return missing() if e is None else estimate(chosen, chosen.focus, e)


def _factor(log_factor: float | None) -> Cell:
    if log_factor is None:
        return missing()
    printed = odds(log_factor)
    return numeric(printed if log_factor >= 0 else f"{printed} against", log_factor)


def _in_se(gap: float, reference: Mapping[str, Any], source: str) -> str:
    """Return a difference in standard errors of the printed estimate."""
    if source != "published" or "lower" not in reference or "upper" not in reference:
        return ""
    se = (reference["upper"] - reference["lower"]) / (2 * Z95)
    return f"{number(gap / se, 2)} SE"


def _scale_note(chosen: Selected) -> str:
    scale = chosen.scale
    shown = (
        f"Average effects as {scale.symbol}, back-transformed from {scale.measure.label}; "
        f"heterogeneity on the scale of {scale.measure.label}."
        if scale.transformed
        else f"All numbers on the scale of {scale.measure.label}."
    )
    return (
        f"{shown} Intervals hold 95 %: posterior probability for Bayes (equal tails), confidence "
        "for REML and the paper."
    )
