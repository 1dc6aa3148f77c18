"""What the data say about a question: Bayes factors, and the ledger of the paper's claims."""

import math
from collections.abc import Mapping
from typing import Any

from reanalysis.plots.source import Selected
from reanalysis.report.answer import usable
from reanalysis.report.tables import Column, Table, caption, estimate, numeric, parameter, text
from reanalysis.wording import (
    evidence,
    is_mean,
    number,
    odds,
    p_value,
    parameter_symbol,
    plain,
    unbroken,
)

__all__ = ["bayes_factor_table", "claims_table", "verdict_doubts", "verdict_rules"]


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
                parameter(name),
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


def claims_table(document: Mapping[str, Any], models: Mapping[str, Selected]) -> Table | None:
    """Return the ledger: what the paper says in numbers, what answers it here, and the verdict.

    Parameters
    ----------
    document : mapping
        The results document.
    models : mapping of str to Selected
        The models by name.

    Returns
    -------
    Table or None
        None where the spec lists no claim. Verdicts of models that failed a check are withheld.
    """
    claims = document.get("claims", ())
    if not claims:
        return None
    judged = any("verdict" in claim for claim in claims)
    doubts = verdict_doubts(document)
    rows = []
    for claim in claims:
        chosen = models.get(claim["model"])
        cells = [text(claim["text"], claim.get("source", ""))]
        if judged:
            withheld = chosen is not None and not usable(chosen)
            cells.append(
                text("withheld", "the model failed a check")
                if withheld
                else text(
                    claim.get("verdict", ""),
                    " ".join(filter(None, (claim.get("reason", ""), doubts.get(claim["id"])))),
                )
            )
        here = (
            _about_bias(document, claim)
            if claim["asserts"] == "no_bias"
            else (_by_reml(chosen, claim), _by_bayes(chosen, claim))
        )
        numbers = (_printed(chosen, claim), *here)
        rows.append((*cells, *map(text, map(unbroken, numbers))))
    heads = ["What the paper says", *["Verdict"] * judged]
    heads += ["Printed", "REML here", "Bayesian here"]
    columns = tuple(Column(h, numeric=False) for h in heads)
    return Table("Printed, and recomputed here", columns, tuple(rows))


def verdict_doubts(document: Mapping[str, Any]) -> dict[str, str]:
    """Say on what the verdict of a claim hangs: single samples, or the width of a prior.

    Parameters
    ----------
    document : mapping
        The results document.

    Returns
    -------
    dict of str to str
        Claim to one or two sentences; claims whose verdict never changed are not in it.
    """
    found = document.get("sensitivity", {})
    doubts: dict[str, list[str]] = {}
    for row in found.get("verdicts", ()):
        if row["changes"]:
            doubts.setdefault(row["claim"], []).append(
                f"Another verdict without {_which(row['changes'])} of the {row['samples']} samples "
                "(see Sensitivity)."
            )
    for row in found.get("widths", ()):
        other = [
            f"{row[f'verdict_{word}']} with {phrase}"
            for word, phrase in (("half", "half the prior width"), ("twice", "twice the width"))
            if row[f"verdict_{word}"] != row["verdict"]
        ]
        if other:
            sentence = "; ".join(other)
            doubts.setdefault(row["claim"], []).append(f"{sentence[0].upper()}{sentence[1:]}.")
    return {claim: " ".join(sentences) for claim, sentences in doubts.items()}


def _which(changes: int) -> str:
    return "one" if changes == 1 else f"any one of {changes}"


def verdict_rules(document: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the rules by which the ledger judges.

    Parameters
    ----------
    document : mapping
        The results document.

    Returns
    -------
    tuple of tuple of str
        What a claim asserts, and the rule for it.
    """
    rules = document.get("rules", {})
    return tuple((plain(key).replace("_", " "), plain(rule)) for key, rule in rules.items())


def _printed(chosen: Selected | None, claim: Mapping[str, Any]) -> str:
    """Return the printed numbers of a claim."""
    published, name = claim.get("published", {}), str(claim["parameter"])
    parts = []
    if chosen is not None and name in chosen.published and "estimate" in published:
        parts.append(_with_interval(chosen, name, chosen.published[name]))
    for key, symbol in (("q", "Q"), ("qm", "QM")):
        if key in published:
            df = f"({published[key + '_df']:.0f})" if f"{key}_df" in published else ""
            p = f", p {p_value(published[key + '_p'])}" if f"{key}_p" in published else ""
            parts.append(f"{symbol}{df} = {number(published[key], 2)}{p}")
        elif f"{key}_p" in published:
            parts.append(f"p {p_value(published[key + '_p'])}")
    if "i2" in published:
        parts.append(f"I² = {number(published['i2'], 1)} %")
    if "p" in published:
        # A paper that prints "p < .001" or less is recorded by its limit.
        relation = "< .001" if published["p"] <= 0.001 else p_value(published["p"])
        parts.append(f"p {relation}")
    if "missing" in published:
        parts.append(f"{published['missing']:.0f} missing studies")
    if claim.get("against"):
        parts.append(f"compared with {_benchmark(claim['against'])}")
    return "; ".join(parts)


def _benchmark(against: Mapping[str, Any]) -> str:
    on_r = against.get("scale") == "r"
    shown = {
        key: number(float(against[key]), 3, leading_zero=not on_r)
        for key in ("estimate", "lower", "upper")
        if key in against
    }
    inside = f" ({shown['lower']} to {shown['upper']})" if {"lower", "upper"} <= set(shown) else ""
    return f"{'r = ' if on_r else ''}{shown.get('estimate', '')}{inside}"


def _by_reml(chosen: Selected | None, claim: Mapping[str, Any]) -> str:
    if chosen is None or "reml" not in chosen.model:
        return ""
    reml, published, name = (
        chosen.model["reml"],
        claim.get("published", {}),
        str(claim["parameter"]),
    )
    parts = []
    found = chosen.reml(name)
    if found is not None and "q" not in published:
        parts.append(_with_interval(chosen, name, found))
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
    if "qm_p" in published and "qm" in reml:
        parts += _difference(chosen, name, ("reml",))
        parts.append(
            f"QM({reml['qm_df']:.0f}) = {number(reml['qm'], 2)}, p {p_value(reml['qm_p'])}"
        )
    return "; ".join(parts)


def _about_bias(document: Mapping[str, Any], claim: Mapping[str, Any]) -> tuple[str, str]:
    """Return what trim-and-fill and the model average say about publication bias."""
    headline = next(iter(document["models"]))
    methods = document.get("small_study", {}).get(headline, {}).get("methods", ())
    filled = [
        f"{m['method'].split(',')[0]}): {m['test']}" for m in methods if "filled" in m["test"]
    ]
    factor = claim.get("log_bayes_factor")
    side = "for" if factor is not None and factor > 0 else "against"
    return "; ".join(filled), "" if factor is None else f"{odds(factor)} {side} publication bias"


def _by_bayes(chosen: Selected | None, claim: Mapping[str, Any]) -> str:
    if chosen is None or chosen.posterior is None or not usable(chosen):
        return ""
    name = str(claim["parameter"])
    found = chosen.posterior[1]["estimates"].get(name)
    parts = [_with_interval(chosen, name, found)] if found else []
    parts += _difference(chosen, name, ("exact", "nuts"))
    factor = claim.get("log_bayes_factor")
    if factor is not None and "probability" not in claim:
        side = "for" if factor > 0 else "against"
        what = "a difference" if "difference" in claim["asserts"] else "a value other than zero"
        parts.append(f"{odds(factor)} {side} {what}")
    if "probability" in claim:
        parts.append(f"probability of the claim {_probability(claim['probability'])}")
    return "; ".join(parts)


def _difference(chosen: Selected, term: str, engines: tuple[str, ...]) -> list[str]:
    """Return the difference that a moderator makes, where it makes only one."""
    rows = [
        row
        for row in chosen.model.get("moderation", {}).get("contrasts", ())
        if row["term"] == term and row["engine"] in engines and row["kind"] == "difference"
    ]
    if len({row["label"] for row in rows}) != 1:
        return []
    row, symbol = rows[0], chosen.scale.symbol
    keys = ("r", "r_lower", "r_upper") if "r" in row else ("value", "lower", "upper")
    value, lower, upper = (chosen.scale.printed(row[key], 3) for key in keys)
    what = f"{symbol} differs by" if "r" in row else "difference"
    return [f"{plain(row['label'])}: {what} {value} ({lower} to {upper})"]


def _probability(p: float) -> str:
    """Return a probability; like a p-value, it is never printed as 0 or 1."""
    return p_value(p).removeprefix("= ")


def _with_interval(chosen: Selected, name: str, e: Mapping[str, Any]) -> str:
    cell = estimate(chosen, name, e)
    symbol = chosen.scale.symbol if is_mean(name) else _quantity(name)
    return f"{symbol} = {cell.text}" + (f" ({cell.note})" if cell.note else "")


def _quantity(name: str) -> str:
    return parameter_symbol(name) or plain(name)
