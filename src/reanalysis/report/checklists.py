"""Reporting checklists, filled from the run: BARG, PRISMA 2020, MARS and ROBUST.

Each item is in our own short words; the guidelines themselves are the authority. An item is done,
missing, not applicable, or needs a human: what a program cannot know is never ticked.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reanalysis.plots.source import Selected
from reanalysis.report.references import REFERENCES

__all__ = ["CHECKLISTS", "Item", "make_checklists"]

Json = Mapping[str, Any]
Rule = Callable[[Json, Json], str]
DONE, MISSING, HUMAN = "done", "missing", "needs a human"
MARKS = {DONE: "✓", MISSING: "✕", HUMAN: "?"}


@dataclass(frozen=True)
class Item:
    """One item of a checklist.

    Attributes
    ----------
    number : str
        Its number in the guideline.
    text : str
        What it asks for.
    judge : callable
        From the document and its headline model to ``done``, ``missing``, ``needs a human``, or a
        reason why it does not apply.
    place : str
        Anchor of the section that has it; empty where a human has to provide it.
    """

    number: str
    text: str
    judge: Rule
    place: str = ""


def _always(document: Json, model: Json) -> str:
    return DONE


def _human(document: Json, model: Json) -> str:
    return HUMAN


def _has(*keys: str) -> Rule:
    def judge(document: Json, model: Json) -> str:
        return DONE if all(document.get(key) for key in keys) else MISSING

    return judge


def _fitted(*engines: str) -> Rule:
    def judge(document: Json, model: Json) -> str:
        return DONE if any(engine in model for engine in engines) else MISSING

    return judge


def _reasons(document: Json, model: Json) -> str:
    return DONE if all(prior["rationale"] for prior in model["priors"]) else MISSING


def _converged(document: Json, model: Json) -> str:
    if "nuts" not in model:
        return "no sampler ran" if "exact" in model else MISSING
    return DONE if model["nuts"]["diagnostics"]["passed"] else MISSING


def _source(document: Json, model: Json) -> str:
    return DONE if document.get("source", {}).get("citation") else MISSING


def _moderated(document: Json, model: Json) -> str:
    if any("moderation" in one for one in document["models"].values()):
        return DONE
    return "no moderator was asked for"


def _bias(document: Json, model: Json) -> str:
    corrected = any(
        one["spec"]["mechanism"] != "none" for one in document["models"].values()
    ) or document.get("average")
    return DONE if corrected or document.get("small_study") else MISSING


def _rope(document: Json, model: Json) -> str:
    if not document.get("rope"):
        return "no smallest effect of interest was stated"
    return DONE if document["rope"].get("rationale") else MISSING


def _risk(document: Json, model: Json) -> str:
    return DONE if document["data"].get("risk_of_bias") else HUMAN


def _flow(document: Json, model: Json) -> str:
    return DONE if document["data"].get("flow") else HUMAN


def _predictive(document: Json, model: Json) -> str:
    return DONE if document.get("predictive") else MISSING


CHECKLISTS: Sequence[tuple[str, str, Sequence[Item]]] = (
    (
        "BARG",
        "kruschke2021",
        (
            Item("Pre A", "Why a Bayesian analysis", _always, "results"),
            Item("Pre B", "Goal of the analysis", _source, "answer"),
            Item("1A", "Data: type, size, measure", _always, "data"),
            Item("1B", "Likelihood and parameters", _always, "priors"),
            Item("1C", "Priors, with their justification", _reasons, "priors"),
            Item("1D", "Formal specification", _has("spec_text"), "provenance"),
            Item("1E", "Prior predictive check", _predictive, "predictive"),
            Item("2A", "Software and settings", _has("versions"), "provenance"),
            Item("2B", "Convergence of the chains", _converged, "convergence"),
            Item("2C", "Resolution: effective sample sizes", _converged, "convergence"),
            Item("2D", "Posterior predictive check", _predictive, "predictive"),
            Item("3A", "Posterior: centre and interval", _fitted("exact", "nuts"), "results"),
            Item("3B", "Kind of interval named", _fitted("exact", "nuts"), "results"),
            Item("3C", "Bayes factors with the prior behind them", _fitted("exact"), "results"),
            Item("4", "Decision limits and their reason", _rope, "limits"),
            Item(
                "5A", "Sensitivity to broad and informed priors", _has("sensitivity"), "sensitivity"
            ),
            Item("5D", "Bayes factor by prior", _has("sensitivity"), "sensitivity"),
            Item("6A", "Software and data available", _has("versions"), "provenance"),
            Item("6B", "Script available", _has("spec_text"), "provenance"),
            Item("6C", "Data as they were analysed", _always, "data"),
        ),
    ),
    (
        "PRISMA 2020 (synthesis)",
        "page2021",
        (
            Item("11", "Risk of bias in studies: method", _risk, "sources"),
            Item("12", "Effect measure", _always, "data"),
            Item("13a", "Which studies enter which synthesis", _always, "data"),
            Item("13b", "Preparation and conversion of data", _always, "data"),
            Item("13c", "Display of individual results", _always, "forest"),
            Item("13d", "Model, heterogeneity, software", _always, "methods"),
            Item("13e", "Causes of heterogeneity", _moderated, "moderators"),
            Item("13f", "Sensitivity analyses", _has("sensitivity"), "sensitivity"),
            Item("14", "Bias from missing results: method", _bias, "publication-bias"),
            Item("15", "Certainty of the evidence: method", _human),
            Item("16a", "Flow of studies", _flow, "sources"),
            Item("17", "Characteristics of studies", _always, "data"),
            Item("18", "Risk of bias in studies", _risk, "sources"),
            Item("19", "Results of individual studies", _always, "forest"),
            Item("20a", "Characteristics and bias per synthesis", _human),
            Item(
                "20b",
                "Result, interval, heterogeneity",
                _fitted("exact", "nuts", "reml"),
                "results",
            ),
            Item("20c", "Investigation of heterogeneity", _moderated, "moderators"),
            Item("20d", "Results of sensitivity analyses", _has("sensitivity"), "sensitivity"),
            Item("21", "Bias from missing results", _bias, "publication-bias"),
            Item("22", "Certainty of the evidence", _human),
            Item("24", "Registration and protocol", _human),
            Item("25", "Support", _human),
            Item("27", "Data and code available", _always, "provenance"),
        ),
    ),
    (
        "JARS-Quant, meta-analysis (MARS)",
        "appelbaum2018",
        (
            Item("Search", "Search strategy and selection", _flow, "sources"),
            Item("Coding", "Coding and its reliability", _human),
            Item("Effects", "Effect sizes, conversions, direction", _always, "data"),
            Item("Dependence", "Several effects of one sample", _always, "priors"),
            Item("Averaging", "Weights and model", _always, "priors"),
            Item("Tables", "Each study with effect and size", _always, "data"),
            Item("Heterogeneity", "Variability beyond chance", _always, "heterogeneity"),
            Item("Moderators", "Moderator analyses and their number", _moderated, "moderators"),
            Item("Bias", "Censoring of results", _bias, "publication-bias"),
            Item("Limits", "What it cannot tell", _has("limits"), "limits"),
        ),
    ),
    (
        "ROBUST",
        "sung2005",
        (
            Item("1", "Prior specified", _always, "priors"),
            Item("2", "Prior justified", _reasons, "priors"),
            Item("3", "Sensitivity to the prior", _has("sensitivity"), "sensitivity"),
            Item("4", "Statistical model", _always, "priors"),
            Item("5", "Analytical technique", _fitted("exact", "nuts"), "methods"),
            Item("6", "Central tendency", _fitted("exact", "nuts"), "results"),
            Item("7", "Spread: SD or interval", _fitted("exact", "nuts"), "results"),
        ),
    ),
)


def make_checklists(
    document: Mapping[str, Any], chosen: Mapping[str, Selected]
) -> dict[str, Any] | None:
    """Return what the section of checklists shows.

    Parameters
    ----------
    document : mapping
        The results document.
    chosen : mapping of str to Selected
        Its models.

    Returns
    -------
    dict
        ``lists``: title, source, tally and rows of each checklist.
    """
    model = next(iter(chosen.values())).model
    lists = []
    for title, key, items in CHECKLISTS:
        rows = []
        for item in items:
            status = item.judge(document, model)
            applies = status in MARKS
            rows.append(
                {
                    "number": item.number,
                    "text": item.text,
                    "mark": MARKS.get(status, "–"),
                    "status": status if applies else f"not applicable: {status}",
                    "place": item.place if status == DONE else "",
                }
            )
        counts = {
            word: sum(row["status"] == word for row in rows) for word in (DONE, MISSING, HUMAN)
        }
        lists.append(
            {
                "title": title,
                "source": str(REFERENCES[key]),
                "tally": ", ".join(f"{n} {word}" for word, n in counts.items() if n),
                "rows": rows,
            }
        )
    return {"lists": lists}
