"""Tables of results: the sources side by side, all models, evidence, heterogeneity, claims."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from reanalysis.plots.source import Selected
from reanalysis.report.answer import usable
from reanalysis.report.tables import (
    Cell,
    Column,
    Table,
    caption,
    mark,
    missing,
    numeric,
    record_tables,
    text,
)
from reanalysis.wording import (
    evidence,
    is_mean,
    number,
    odds,
    p_value,
    parameter_name,
    parameter_symbol,
    plain,
)

__all__ = [
    "agreement_table",
    "bayes_factor_table",
    "claims_table",
    "comparison_table",
    "differences_table",
    "frequentist_tables",
    "heterogeneity_table",
    "overview_table",
]

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
        cells = [_estimate(chosen, name, found[s]) if s in found else missing() for s in sources]
        rows.append((_parameter(name), *cells))
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
        rows.append((_parameter(name), *cells))
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
                _parameter(name),
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
            _interval(chosen, bayes.get("estimates", {}).get("new_sample")),
            _estimate(chosen, tau, bayes["estimates"][tau])
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


def bayes_factor_table(chosen: Selected) -> Table | None:
    """Return the Bayes factors of a model, in words.

    Parameters
    ----------
    chosen : Selected
        The model.

    Returns
    -------
    Table or None
        None where none was computed.
    """
    factors = chosen.posterior[1].get("log_bayes_factors", {}) if chosen.posterior else {}
    if not factors:
        return None
    rows = []
    for name, log_factor in factors.items():
        favoured = f"{_quantity(name)} is {'not ' if log_factor > 0 else ''}zero"
        rows.append(
            (
                _parameter(name),
                text(favoured),
                numeric(odds(log_factor), abs(log_factor)),
                numeric(number(log_factor / math.log(10), 2), log_factor),
                text(evidence(log_factor)),
            )
        )
    return Table(
        caption("Bayes factors", chosen),
        (
            Column("", numeric=False),
            Column("The data favour", numeric=False),
            Column("Odds"),
            Column("log₁₀ BF₁₀"),
            Column("Usual label", numeric=False),
        ),
        tuple(rows),
        note="Each compares the model as it is with the same model in which the quantity is "
        "exactly zero; they depend on the priors above. Labels: Lee & Wagenmakers (2013).",
    )


def heterogeneity_table(chosen: Selected) -> Table | None:
    """Return REML's heterogeneity statistics, each with its formula.

    Parameters
    ----------
    chosen : Selected
        The model.

    Returns
    -------
    Table or None
        None where REML did not run.
    """
    records = chosen.model.get("reml", {}).get("tables", {}).get("heterogeneity", ())
    if not records:
        return None
    rows = []
    for record in records:
        name, value = str(record["quantity"]), record["value"]
        percent = name.startswith("I2")
        printed = f"{number(value, 1)} %" if percent else _statistic(name, value)
        cell = numeric(printed, value)
        formula = str(record["formula"]).replace("tau2", "τ²").replace(" - ", " − ")
        rows.append((text(name.replace("I2", "I²")), cell, text(formula)))
    return Table(
        caption("Heterogeneity by REML", chosen),
        (Column("", numeric=False), Column("Value"), Column("Formula", numeric=False)),
        tuple(rows),
        note="I² by variance ratio and I² from Q are different quantities; a printed I² must be "
        "compared with the one that has the same formula.",
    )


def frequentist_tables(chosen: Selected) -> tuple[Table, ...]:
    """Return REML's further tables: tests, intervals, predictions, fit.

    Parameters
    ----------
    chosen : Selected
        The model.

    Returns
    -------
    tuple of Table
        In the order of the document, without the heterogeneity, which has its own place.
    """
    tables = chosen.model.get("reml", {}).get("tables", {})
    rest = {
        name: [{k: v for k, v in row.items() if k != "level"} for row in rows]
        for name, rows in tables.items()
        if name != "heterogeneity"
    }
    return record_tables(caption("REML", chosen), rest)


def claims_table(document: Mapping[str, Any], models: Mapping[str, Selected]) -> Table | None:
    """Return what the paper says in numbers, and what the same numbers are here.

    Parameters
    ----------
    document : mapping
        The results document.
    models : mapping of str to Selected
        The models by name.

    Returns
    -------
    Table or None
        None where the spec lists no claim.
    """
    claims = [c for c in document.get("claims", ()) if c["model"] in models]
    if not claims:
        return None
    judged = any("verdict" in c for c in claims)
    rows = []
    for claim in claims:
        chosen = models[claim["model"]]
        cells = [
            text(claim["text"], claim.get("source", "")),
            text(_printed_claim(chosen, claim["parameter"], claim.get("published", {}))),
            text(_reml_claim(chosen, claim)),
            text(_bayes_claim(chosen, str(claim["parameter"]))),
        ]
        if judged:
            cells.append(text(claim.get("verdict", ""), claim.get("reason", "")))
        rows.append(tuple(cells))
    heads = ["What the paper says", "Printed", "REML here", "Bayesian here"]
    heads += ["Verdict"] if judged else []
    columns = tuple(Column(h, numeric=False) for h in heads)
    return Table("Printed, and recomputed here", columns, tuple(rows))


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


def _parameter(name: str) -> Cell:
    symbol = parameter_symbol(name)
    return text(parameter_name(name), symbol)


def _quantity(name: str) -> str:
    return parameter_symbol(name) or plain(name)


def _estimate(chosen: Selected, name: str, e: Mapping[str, Any]) -> Cell:
    """Return an estimate with its interval below, on the scale on which it is read."""
    if is_mean(name):
        show = chosen.scale.back
        printed, zero = (lambda x: chosen.scale.printed(x, 3)), False
    else:
        show = float
        on_r = e.get("scale") == "r"
        printed = lambda x: number(x, 3, leading_zero=not on_r)  # noqa: E731
        zero = name.startswith("tau")
    value = "0 (boundary)" if zero and e["mean"] == 0 else printed(show(e["mean"]))
    note = ""
    if "lower" in e and "upper" in e:
        lower = "0" if zero and e["lower"] == 0 else printed(show(e["lower"]))
        note = f"{lower} to {printed(show(e['upper']))}"
    return numeric(value, e["mean"], note)


def _focal(chosen: Selected, e: Mapping[str, Any] | None) -> Cell:
    return missing() if e is None else _estimate(chosen, chosen.focus, e)


def _interval(chosen: Selected, e: Mapping[str, Any] | None) -> Cell:
    if e is None or "lower" not in e:
        return missing()
    return numeric(chosen.scale.interval(e["lower"], e["upper"], 3), e["lower"])


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


def _statistic(name: str, value: float) -> str:
    if name == "Q p":
        return p_value(value).removeprefix("= ")
    if name == "Q df":
        return f"{value:.0f}"
    return number(value, 2 if name == "Q" else 4)


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


def _printed_claim(chosen: Selected, parameter: str, published: Mapping[str, Any]) -> str:
    parts = []
    if parameter in chosen.published and "estimate" in published:
        parts.append(_with_interval(chosen, parameter, chosen.published[parameter]))
    if "q" in published:
        df = f"({published['q_df']:.0f})" if "q_df" in published else ""
        p = f", p {p_value(published['q_p'])}" if "q_p" in published else ""
        parts.append(f"Q{df} = {number(published['q'], 2)}{p}")
    if "i2" in published:
        parts.append(f"I² = {number(published['i2'], 1)} %")
    if "p" in published:
        relation = "< .001" if published["p"] <= 0.001 else p_value(published["p"])
        parts.append(f"p {relation}")
    return "; ".join(parts)


def _reml_claim(chosen: Selected, claim: Mapping[str, Any]) -> str:
    reml, published = chosen.model.get("reml"), claim.get("published", {})
    if reml is None:
        return ""
    parts = []
    found = chosen.reml(str(claim["parameter"]))
    if found is not None and "q" not in published:
        parts.append(_with_interval(chosen, str(claim["parameter"]), found))
        if "p" in found:
            parts.append(f"p {p_value(found['p'])}")
    if "q" in published and "q" in reml:
        q = f"Q({reml['q_df']:.0f}) = {number(reml['q'], 2)}, p {p_value(reml['q_p'])}"
        parts.append(q)
    if "i2" in published and "i2_total" in reml:
        parts.append(
            f"I² = {number(reml['i2_total'], 1)} % (variance ratio), "
            f"{number(reml['i2_q'], 1)} % (from Q)"
        )
    return "; ".join(parts)


def _bayes_claim(chosen: Selected, parameter: str) -> str:
    if chosen.posterior is None or not usable(chosen):
        return ""
    engine = chosen.posterior[1]
    found = engine["estimates"].get(parameter)
    parts = [_with_interval(chosen, parameter, found)] if found else []
    factor = engine.get("log_bayes_factors", {}).get(parameter)
    if factor is not None:
        parts.append(f"{odds(factor)} {'for' if factor > 0 else 'against'} a value other than zero")
    return "; ".join(parts)


def _with_interval(chosen: Selected, parameter: str, e: Mapping[str, Any]) -> str:
    cell = _estimate(chosen, parameter, e)
    symbol = chosen.scale.symbol if is_mean(parameter) else _quantity(parameter)
    return f"{symbol} = {cell.text}" + (f" ({cell.note})" if cell.note else "")
