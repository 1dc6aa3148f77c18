"""The answer on top of the page: a status, what was claimed, what holds and how sure it is.

Every word is chosen by a rule from numbers of the document; nothing is typed for a case.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from reanalysis.plots.source import Selected
from reanalysis.report.audit import audit_sentence
from reanalysis.report.averaging import averaged_effect
from reanalysis.wording import Scale, number, odds, parameter_name, plain

__all__ = ["Answer", "Status", "make_answer", "make_status", "usable"]

BY_CHOICE = "left out by the model"  # the spec names the engines of a model: no gap

SAME = 0.1  # of a published standard error: not worth a word
HOW_MUCH = ((1.0, "a little "), (2.0, ""), (math.inf, "clearly "))  # in published standard errors
Z95 = 1.959964
VERDICTS = (
    "supported",
    "uncertain",
    "contradicted",
    "cannot be checked from the published data",
)


@dataclass(frozen=True)
class Status:
    """Whether the numbers may be used.

    Attributes
    ----------
    level : {"good", "partial", "bad"}
        All checks passed, some were not made, or one failed.
    title : str
        In a few words.
    details : tuple of str
        Why, sentence by sentence.
    """

    level: Literal["good", "partial", "bad"]
    title: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """The top of the page.

    Attributes
    ----------
    headline : tuple of str
        What was claimed, what holds and how sure it is, in a sentence each; empty where there is
        no result to give.
    claimed, holds, sure : tuple of str
        The same in more detail.
    quote, quote_source : str
        What the paper says, in its words, and where.
    """

    headline: tuple[str, ...]
    claimed: tuple[str, ...]
    holds: tuple[str, ...]
    sure: tuple[str, ...]
    quote: str = ""
    quote_source: str = ""


def make_status(models: Sequence[Selected]) -> Status:
    """Return the status light of a report.

    Parameters
    ----------
    models : sequence of Selected
        All models, the headline first.

    Returns
    -------
    Status
        The worst thing found decides.
    """
    bad: list[str] = []
    failed = [m for m in models if m.nuts_failed]
    for m in failed:
        why = "; ".join(map(plain, m.model["nuts"]["diagnostics"].get("failures", ())))
        bad.append(
            f"NUTS missed its convergence gate in model “{_title(m)}”"
            f"{': ' + why if why else ''}. None of its numbers is shown as a result."
        )
    if models[0].nuts_failed and models[0].posterior is not None:
        bad.append("The answer above is the exact engine’s, which needs no sampling.")
    apart = [m for m in models if disagreements(m)]
    for m in apart:
        names = ", ".join(parameter_name(n).lower() for n in disagreements(m))
        bad.append(
            f"In model “{_title(m)}” the two Bayesian engines differ by more than Monte-Carlo "
            f"error in: {names}. One of them is wrong; they are shown only to find the fault."
        )
    unstable = [m for m in models if not m.model.get("reml", {}).get("converged", True)]
    bad += [f"REML did not converge in model “{_title(m)}”." for m in unstable]
    if bad:
        title = (
            "Not converged" if failed else "The engines disagree" if apart else "REML not converged"
        )
        return Status("bad", title, tuple(bad))
    ran = [m for m in models if "nuts" in m.model]
    skipped = _skipped(models)
    if not ran:
        reasons = {plain(m.model.get("skipped", {}).get("nuts", "not run")) for m in models}
        reasons = reasons - {BY_CHOICE} or reasons
        others = [line for line in skipped if not line.startswith("NUTS")]
        why = "; ".join(sorted(reasons))
        gone = f"NUTS, the independent check by sampling, was not run ({why})."
        return Status("partial", "Checked in part", (gone, *others))
    passed = f"NUTS passed its convergence gate in {len(ran)} of {len(ran)} fits."
    worst = [row for m in ran for row in m.model.get("agreement", ())]
    agree = (
        (
            f"NUTS and the exact engine, which share no likelihood code, agree: the largest of "
            f"{len(worst)} differences is {number(max(r['ratio'] for r in worst), 1)} Monte-Carlo "
            "standard errors (limit 4).",
        )
        if worst
        else ()
    )
    if skipped:
        return Status("partial", "Checked in part", (passed, *agree, *skipped))
    return Status("good", "All checks passed", (passed, *agree))


def _skipped(models: Sequence[Selected]) -> list[str]:
    """Say which engines gave no result, models with the same reason together."""
    titles: dict[tuple[str, str], list[str]] = {}
    for m in models:
        for engine, reason in m.model.get("skipped", {}).items():
            if reason == BY_CHOICE:
                continue
            titles.setdefault((_engine(engine), plain(reason)), []).append(f"“{_title(m)}”")
    return [
        f"{engine} gave no result for {where}: {reason}."
        for (engine, reason), named in titles.items()
        for where in (
            [f"model {named[0]}"] if len(named) == 1 else [f"{len(named)} of {len(models)} models"]
        )
    ]


def disagreements(chosen: Selected) -> list[str]:
    """Return the parameters on which NUTS and the exact engine disagree.

    Parameters
    ----------
    chosen : Selected
        A model.

    Returns
    -------
    list of str
        Names; empty where they agree or were not compared.
    """
    return [str(r["parameter"]) for r in chosen.model.get("agreement", ()) if not r["agrees"]]


def usable(chosen: Selected) -> bool:
    """Whether a sentence may be drawn from a model's numbers.

    Parameters
    ----------
    chosen : Selected
        A model.

    Returns
    -------
    bool
        False where the engines disagree, or NUTS failed and no other Bayesian engine ran.
    """
    return not disagreements(chosen) and not (chosen.nuts_failed and chosen.posterior is None)


def make_answer(document: Mapping[str, Any], models: Sequence[Selected]) -> Answer:
    """Return the sentences on top of the page.

    Parameters
    ----------
    document : mapping
        The results document.
    models : sequence of Selected
        All models, the headline first.

    Returns
    -------
    Answer
        Without a headline where the headline model's numbers may not be used.
    """
    chosen = models[0]
    found, printed = chosen.estimate(chosen.focus), chosen.published.get(chosen.focus)
    claim: Mapping[str, Any] = next(
        (
            c
            for c in document.get("claims", ())
            if c["model"] == chosen.name and c["parameter"] == chosen.focus
        ),
        {},
    )
    claimed = _basis(claim.get("published", {}))
    quote = {"quote": plain(claim.get("text", "")), "quote_source": plain(claim.get("source", ""))}
    if found is None or "lower" not in found or not usable(chosen):
        withheld = ("No sentence is drawn from numbers that failed their checks.",)
        return Answer((), claimed, withheld, ("Not answered; see the status above.",), **quote)
    sentences = (
        _claim(chosen, printed),
        _result(chosen, found, printed),
        _certainty(document, chosen),
    )
    return Answer(
        tuple(filter(None, sentences)),
        claimed,
        (*_holds(chosen, found, printed), *_verdicts(document, models)),
        (*_sure(chosen, models), *_doubts(document, chosen)),
        **quote,
    )


def _verdicts(document: Mapping[str, Any], models: Sequence[Selected]) -> tuple[str, ...]:
    """Count the verdicts of the ledger."""
    counts = Counter(str(c["verdict"]) for c in document.get("claims", ()) if "verdict" in c)
    if not counts or not all(map(usable, models)):
        return ()
    known = [v for v in VERDICTS if counts[v]]
    said = ", ".join(f"{counts[v]} {v}" for v in known)
    return (f"Of the paper’s {_count(counts.total(), 'claim')} examined: {said}.",)


def _doubts(document: Mapping[str, Any], chosen: Selected) -> tuple[str, ...]:
    sentence = audit_sentence(document.get("audit", ()), chosen.scale)
    return (sentence,) if sentence else ()


def _claim(chosen: Selected, printed: Mapping[str, float] | None) -> str:
    """Say what the paper prints."""
    if printed is None:
        return ""
    scale = chosen.scale
    inside = ""
    if "lower" in printed and "upper" in printed:
        inside = f" (95 % interval {scale.interval(printed['lower'], printed['upper'])})"
    reports = f"The paper reports {_average(chosen)} of {_with_symbol(scale, printed['mean'])}"
    return f"{reports.replace('the average', 'an average', 1)}{inside}."


def _result(chosen: Selected, found: Mapping[str, Any], printed: Mapping[str, float] | None) -> str:
    """Say what was found here, and whether it lies on the paper's side of zero."""
    scale = chosen.scale
    text = f"Recomputed here, {_average(chosen)} is {_with_symbol(scale, found['mean'])}"
    text += f" (95 % interval {scale.interval(found['lower'], found['upper'])})"
    if not scale.measure.zero_is_null:
        return f"{text}."
    before = None
    if printed is not None and "lower" in printed and "upper" in printed:
        before = _side(printed)
    return f"{text}{_direction(_side(found), before)}"


def _direction(now: int, before: int | None) -> str:
    """Say on which side of zero the interval lies, and where the paper's lay; 0 is both sides."""
    side = {1: "above", -1: "below", 0: ""}[now]
    where = f"lies wholly {side} zero" if side else "includes zero"
    if before is None:
        return f"; the interval {where}."
    if now == before:
        return (
            f": {side} zero, as the paper says." if side else "; as in the paper, it may be zero."
        )
    if now == 0:
        return ", less certain: the interval now includes zero; the paper’s did not."
    if before == 0:
        return f", more certain: the interval {where}; the paper’s included it."
    return f", turned around: the interval {where}, the paper’s on the other side."


def _certainty(document: Mapping[str, Any], chosen: Selected) -> str:
    """Say how strong the evidence for an average effect is, without and with publication bias."""
    factors = chosen.posterior[1].get("log_bayes_factors", {}) if chosen.posterior else {}
    if chosen.focus not in factors:
        return ""
    factor = factors[chosen.focus]
    text = f"the odds {_for_or_against(factor)} an average effect are {odds(factor)}"
    if chosen.model["spec"]["mechanism"] == "none":
        text = f"if every result was published, {text}"
    averaged = averaged_effect(document)
    if averaged is not None:
        factor, mean, models = averaged
        scale = chosen.scale
        text += (
            f"; if results may have gone missing ({models} models averaged), they are "
            f"{odds(factor)} {_for_or_against(factor)} it, and the average is "
            f"{scale.value(mean['mean'])} ({scale.interval(mean['lower'], mean['upper'])})"
        )
    return f"{text[0].upper()}{text[1:]}."


def _for_or_against(log_factor: float) -> str:
    return "for" if log_factor > 0 else "against"


def _basis(extra: Mapping[str, Any]) -> tuple[str, ...]:
    """Say how much the paper rests on, where the spec states it."""
    if "k" not in extra:
        return ()
    text = f"The paper rests on {extra['k']:,.0f} effects"
    text += f" in {extra['m']:,.0f} samples" if "m" in extra else ""
    text += f" with {extra['n']:,.0f} people" if "n" in extra else ""
    return (f"{text}.",)


def _holds(
    chosen: Selected, found: Mapping[str, Any], printed: Mapping[str, float] | None
) -> tuple[str, ...]:
    sentences = (
        ("The spec of this run states no printed number for the average effect.",)
        if printed is None
        else (_size(chosen.scale, found, printed),)
    )
    effects, samples = chosen.model["k"], chosen.model["m"]
    basis = f"Here: {_count(effects, 'effect')} from {_count(samples, 'sample')}"
    return (*sentences, f"{basis} (model “{_title(chosen)}”).")


def _size(scale: Scale, found: Mapping[str, Any], printed: Mapping[str, float]) -> str:
    """Compare the estimate with the printed one, by the printed interval."""
    if "lower" not in printed or "upper" not in printed:
        return f"The paper printed {scale.value(printed['mean'])}, without an interval."
    se = (printed["upper"] - printed["lower"]) / (2 * Z95)
    shift = (found["mean"] - printed["mean"]) / se
    if abs(shift) < SAME:
        return "Its size is practically the one printed."
    digits = 2 if scale.value(found["mean"]) != scale.value(printed["mean"]) else 3
    values = f"{scale.value(found['mean'], digits)}, not {scale.value(printed['mean'], digits)}"
    much = next(word for limit, word in HOW_MUCH if abs(shift) < limit)
    margin = "well within" if abs(shift) < 1 else "within" if abs(shift) < Z95 else "beyond"
    return (
        f"The average is {much}{'larger' if shift > 0 else 'smaller'} than printed ({values}), "
        f"{margin} the paper’s own margin of error."
    )


def _sure(chosen: Selected, models: Sequence[Selected]) -> tuple[str, ...]:
    sentences = []
    new, found = chosen.estimate("new_sample"), chosen.estimate(chosen.focus)
    if new is not None and found is not None and "lower" in new:
        wide = (new["upper"] - new["lower"]) / (found["upper"] - found["lower"])
        ends = f"between {chosen.scale.value(new['lower'])} and {chosen.scale.value(new['upper'])}"
        sentences.append(
            f"Samples differ: 95 % of new ones should have their own average {ends}."
            if wide > 1.1
            else f"Samples hardly differ: 95 % of new ones should have their average {ends}."
        )
    means = [
        float(e["mean"])
        for m in models
        if usable(m) and m.focus == chosen.focus and (e := m.estimate(m.focus)) is not None
    ]
    if len(means) > 1:
        low, high = chosen.scale.value(min(means)), chosen.scale.value(max(means))
        reach = f"is {low} in all" if low == high else f"lies between {low} and {high} in the"
        sentences.append(f"The average {reach} {len(means)} models of this report.")
    return tuple(sentences)


def _average(chosen: Selected) -> str:
    at = "" if chosen.focus == "mu" else f" ({parameter_name(chosen.focus).lower()})"
    noun = {"g": "effect", "effect size": "effect"}.get(chosen.scale.noun, chosen.scale.noun)
    return f"the average {noun}{at}"


def _with_symbol(scale: Scale, value: float) -> str:
    symbol = f"{scale.symbol} = " if len(scale.symbol) <= 2 else ""
    return symbol + scale.value(value)


def _side(interval: Mapping[str, float]) -> int:
    return 1 if interval["lower"] > 0 else -1 if interval["upper"] < 0 else 0


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _engine(name: str) -> str:
    return {"reml": "REML", "exact": "The exact engine", "nuts": "NUTS"}.get(name, plain(name))


def _title(chosen: Selected) -> str:
    return plain(chosen.model.get("title", chosen.name))
