"""Sensitivity: single samples, the strength of priors, and what each verdict hangs on."""

from collections.abc import Mapping, Sequence
from typing import Any

from reanalysis.plots.evidence_curve import CAPTION as CURVE_CAPTION
from reanalysis.plots.evidence_curve import describe_evidence_curve, plot_evidence_curve
from reanalysis.plots.left_out import CAPTION as LEFT_OUT_CAPTION
from reanalysis.plots.left_out import describe_left_out, plot_left_out
from reanalysis.plots.source import Selected
from reanalysis.report.figures import to_image
from reanalysis.report.tables import Cell, Column, Table, numeric, parameter, text
from reanalysis.wording import Scale, number, odds, plain, readable_scale

__all__ = ["make_sensitivity"]

Json = Mapping[str, Any]
NOTABLE = 0.1  # posterior standard deviations
GROUPS = {
    "effect": "Prior of the effect",
    "heterogeneity": "Priors of the heterogeneity",
    "other": "Other priors",
}
DIAGNOSES = {
    "none": "no sign of trouble",
    "conflict": "prior and data may disagree",
    "strong prior": "strong prior, or data that say little",
}
PARTS = {
    "samples": "leaving out single samples",
    "curve": "the width of the prior of the effect",
    "powers": "weaker and stronger priors",
    "scaling": "power-scaling of draws",
    "loo": "leave-one-out from draws",
    "heavy_tails": "Student-t effects of the samples",
}


def make_sensitivity(
    document: Mapping[str, Any], chosen: Mapping[str, Selected]
) -> dict[str, Any] | None:
    """Return what the section of sensitivity shows.

    Parameters
    ----------
    document : mapping
        The results document.
    chosen : mapping of str to Selected
        Its models.

    Returns
    -------
    dict or None
        ``sentences``, ``images`` and ``tables``; None where nothing was computed.
    """
    found = document.get("sensitivity")
    if not found:
        return None
    scale = readable_scale(found["measure"])
    one = chosen[found["model"]]
    whole = one.estimate(one.focus)
    labels = _labels(one)
    found = {
        **found,
        "samples": [
            {**row, "sample": labels.get(row["sample"], row["sample"])} for row in found["samples"]
        ],
        "loo": found.get("loo")
        and {
            **found["loo"],
            "samples": [
                {**row, "sample": labels.get(row["sample"], row["sample"])}
                for row in found["loo"]["samples"]
            ],
        },
        "verdicts": [
            {**row, "without": [labels.get(s, s) for s in row["without"]]}
            for row in found["verdicts"]
        ],
    }
    samples, curve = found["samples"], found["curve"]
    images = []
    if whole is not None and samples:
        images.append(
            to_image(
                "left_out",
                plot_left_out(samples, whole, found["measure"]),
                describe_left_out(samples, whole, found["measure"]),
                LEFT_OUT_CAPTION,
            )
        )
    if curve:
        images.append(
            to_image(
                "evidence_curve",
                plot_evidence_curve(curve),
                describe_evidence_curve(curve),
                CURVE_CAPTION,
            )
        )
    tables = [_samples(samples, found.get("loo"), scale)] if samples else []
    tables += [_powers(found["powers"])] if found["powers"] else []
    tables += [_scaling(found["scaling"])] if found.get("scaling") else []
    tables += [_verdicts(document, found)] if found["verdicts"] or found["widths"] else []
    return {"sentences": _sentences(found, scale), "images": images, "tables": tables}


def _labels(one: Selected) -> dict[str, str]:
    """Return words for each sample: its label in the forest plot, and its name if that differs."""
    labels: dict[str, str] = {}
    for row in one.model["effects"]:
        labels.setdefault(row["sample"], row["label"])
    twice = {label for label in labels.values() if list(labels.values()).count(label) > 1}
    return {
        sample: f"{label} ({sample})" if label in twice and label != sample else label
        for sample, label in labels.items()
    }


def _sentences(found: Json, scale: Scale) -> list[str]:
    sentences = []
    if found["samples"]:
        sentences += _on_samples(found["samples"], scale)
    if found.get("loo"):
        sentences.append(_on_left_out(found["loo"], found["samples"]))
    if found["powers"]:
        sentences.append(_on_powers(found["powers"]))
    if found.get("scaling"):
        sentences.append(_on_scaling(found["scaling"]))
    if found.get("heavy_tails"):
        sentences.append(_on_tails(found["heavy_tails"], scale))
    hanging = {row["claim"] for row in found["verdicts"] if row["changes"]}
    hanging |= {
        row["claim"]
        for row in found["widths"]
        if {row["verdict_half"], row["verdict_twice"]} != {row["verdict"]}
    }
    asked = {row["claim"] for row in (*found["verdicts"], *found["widths"])}
    if asked:
        sentences.append(
            f"Of {len(asked)} verdicts of the ledger that could be computed again, "
            f"{len(hanging) or 'none'} depend{'s' if len(hanging) == 1 else ''} on a single sample "
            "or on the width of a prior."
        )
    sentences += [
        f"Not computed, {PARTS.get(part, part)}: {plain(reason)}."
        for part, reason in found.get("skipped", {}).items()
    ]
    return sentences


def _on_samples(samples: Sequence[Json], scale: Scale) -> list[str]:
    estimates = [row["estimate"] for row in samples]
    most = max(samples, key=lambda row: abs(row["shift"]))
    sentences = [
        f"Whichever single sample is left out, the average stays between "
        f"{scale.value(min(estimates), 2)} and {scale.value(max(estimates), 2)}; "
        f"{plain(most['sample'])} moves it most, by {number(abs(most['shift']), 2)} posterior "
        "standard deviations."
    ]
    across = [row for row in samples if row["lower"] <= 0 <= row["upper"]]
    if scale.measure.zero_is_null:
        sentences.append(
            f"Without {len(across)} of them the 95 % interval reaches zero."
            if across
            else "The 95 % interval stays away from zero without any one of them."
            if all(row["lower"] > 0 for row in samples) or all(row["upper"] < 0 for row in samples)
            else "The side on which the 95 % interval lies depends on single samples."
        )
    return sentences


def _on_left_out(found: Json, samples: Sequence[Json]) -> str:
    exact = sum(row["log_predictive"] for row in samples)
    largest = max(row["pareto_k"] for row in found["samples"])
    refits = sum(row["refitted"] for row in found["samples"])
    how = f"{refits} sample{'s' * (refits > 1)} refitted" if refits else "no refit needed"
    return (
        f"The samples, each predicted from the others, have a log density of "
        f"{number(found['elpd'], 2)} (SE {number(found['se'], 2)}) by weighting the draws of NUTS "
        f"(largest Pareto k {number(largest, 2)}, limit {number(found['good_k'], 2)}: {how}) and "
        f"{number(exact, 2)} by exact refits."
    )


def _on_powers(rows: Sequence[Json]) -> str:
    moved = max(rows, key=lambda row: abs(row["shift"]))
    if abs(moved["shift"]) < NOTABLE:
        return (
            "Making any group of priors a quarter stronger or a fifth weaker moves no estimate by "
            f"more than {number(abs(moved['shift']), 3)} posterior standard deviations."
        )
    return (
        f"{GROUPS.get(moved['group'], moved['group'])}, a quarter stronger or a fifth weaker, "
        f"moves {plain(moved['parameter'])} by {number(abs(moved['shift']), 2)} posterior "
        "standard deviations."
    )


def _on_scaling(rows: Sequence[Json]) -> str:
    odd = [row for row in rows if row["diagnosis"] != "none"]
    if not odd:
        return "Power-scaling of the draws shows no conflict of priors and data."
    named = "; ".join(
        f"{GROUPS[row['group']].lower()} for {plain(row['parameter'])}: "
        f"{DIAGNOSES[row['diagnosis']]}"
        for row in odd
    )
    return f"Power-scaling of the draws points at: {named}."


def _on_tails(found: Json, scale: Scale) -> str:
    factor = found["log_bayes_factor"]
    return (
        "With Student-t in place of normal effects of the samples, which lets single ones lie far "
        f"out, the average is {scale.value(found['estimate'], 3)} "
        f"({scale.interval(found['lower'], found['upper'], 3)}), "
        f"{number(abs(found['shift']), 2)} posterior standard deviations away; the odds are "
        f"{odds(factor)} {'for' if factor > 0 else 'against'} heavy tails."
    )


def _samples(rows: Sequence[Json], weighted: Json | None, scale: Scale) -> Table:
    draws = {row["sample"]: row for row in weighted["samples"]} if weighted else {}
    columns = (
        Column("Left out", numeric=False),
        Column("Its effects"),
        Column(f"Average of the others ({scale.symbol})"),
        Column("Shift (posterior SDs)"),
        Column("Heterogeneity τ"),
        Column("Odds of an effect"),
        Column("How well the others predict it (log density)"),
        *([Column("The same from draws (Pareto k)")] if draws else []),
    )
    body = tuple(
        (
            text(row["sample"]),
            numeric(str(row["k"]), row["k"]),
            numeric(
                scale.value(row["estimate"], 3),
                row["estimate"],
                scale.interval(row["lower"], row["upper"], 3),
            ),
            numeric(number(row["shift"], 2), row["shift"]),
            numeric(number(row["tau"], 3), row["tau"]),
            numeric(
                odds(row["log_bayes_factor"]),
                row["log_bayes_factor"],
                "for" if row["log_bayes_factor"] > 0 else "against",
            ),
            numeric(number(row["log_predictive"], 2), row["log_predictive"]),
            *([_weighted(draws[row["sample"]])] if draws else []),
        )
        for row in rows
    )
    note = "Each row is an exact fit of its own, the true effects of the sample integrated out."
    return Table("Without each sample", columns, body, sortable=True, note=note)


def _weighted(row: Json) -> Cell:
    how = "refitted, " * row["refitted"] + f"k {number(row['pareto_k'], 2)}"
    return numeric(number(row["log_predictive"], 2), row["log_predictive"], how)


def _scaling(rows: Sequence[Json]) -> Table:
    columns = (
        Column("Parameter", numeric=False),
        Column("Priors", numeric=False),
        Column("Sensitivity to the prior"),
        Column("Sensitivity to the data"),
        Column("Diagnosis", numeric=False),
    )
    body = tuple(
        (
            parameter(row["parameter"]),
            text(GROUPS[row["group"]]),
            numeric(number(row["prior"], 3), row["prior"]),
            numeric(number(row["likelihood"], 3), row["likelihood"]),
            text(DIAGNOSES[row["diagnosis"]]),
        )
        for row in rows
    )
    note = (
        "How fast the posterior moves when the priors of a group, or the likelihood, are raised "
        "to a power near 1: the draws of NUTS weighted anew by ArviZ (Kallioinen et al. 2024). "
        "Above .05 is worth a look."
    )
    return Table("Power-scaling of the draws", columns, body, sortable=True, note=note)


def _powers(rows: Sequence[Json]) -> Table:
    columns = (
        Column("Parameter", numeric=False),
        Column("Priors", numeric=False),
        Column("Raised to the power"),
        Column("Estimate"),
        Column("Shift (posterior SDs)"),
    )
    body = tuple(
        (
            parameter(row["parameter"]),
            text(GROUPS.get(row["group"], row["group"])),
            numeric(number(row["alpha"], 2), row["alpha"]),
            numeric(
                number(row["estimate"], 3),
                row["estimate"],
                f"{number(row['lower'], 3)} to {number(row['upper'], 3)}",
            ),
            numeric(number(row["shift"], 3), row["shift"]),
        )
        for row in rows
    )
    note = (
        "A power below 1 weakens a prior, one above 1 strengthens it; each is an exact fit of its "
        "own (after Kallioinen et al. 2024). Estimates on the analysis scale."
    )
    return Table("Weaker and stronger priors", columns, body, sortable=True, note=note)


def _verdicts(document: Mapping[str, Any], found: Json) -> Table:
    texts = {claim["id"]: plain(claim["text"]) for claim in document.get("claims", ())}
    widths = {row["claim"]: row for row in found["widths"]}
    verdicts = {row["claim"]: row for row in found["verdicts"]}
    columns = (
        Column("What the paper says", numeric=False),
        Column("Verdict", numeric=False),
        Column("Samples without which it is another", numeric=False),
        Column("Odds, prior half as wide", numeric=False),
        Column("Odds, prior twice as wide", numeric=False),
    )
    body = []
    for claim in texts:
        row, width = verdicts.get(claim), widths.get(claim)
        if row is None and width is None:
            continue
        stated = (row or width or {})["verdict"]
        samples = ""
        if row is not None:
            named = ", ".join(plain(s) for s in row["without"])
            samples = f"{row['changes']} of {row['samples']}" + (f": {named}" if named else "")
        cells = [text(texts[claim]), text(stated), text(samples)]
        for word in ("half", "twice"):
            if width is None:
                cells.append(text(""))
                continue
            factor = width[f"log_bayes_factor_{word}"]
            side = "for" if factor > 0 else "against"
            cells.append(text(f"{odds(factor)} {side}", width[f"verdict_{word}"]))
        body.append(tuple(cells))
    return Table("What each verdict hangs on", columns, tuple(body))
