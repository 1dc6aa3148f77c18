"""Moderators: the family of tests side by side, and each moderator by itself."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reanalysis.plots import bubble, marginal_means
from reanalysis.plots.source import Selected
from reanalysis.report.figures import Image, to_image
from reanalysis.report.tables import Cell, Column, Table, missing, numeric, record_table, text
from reanalysis.wording import number, odds, p_value, parameter_name, plain

__all__ = ["make_moderators"]

Json = Mapping[str, Any]
Show = Callable[[float, int], str]
OTHERS = "Other moderators of the model are averaged over their levels, or at their mean."


def make_moderators(
    document: Mapping[str, Any], chosen: Mapping[str, Selected]
) -> dict[str, Any] | None:
    """Return what the section of moderators shows.

    Parameters
    ----------
    document : mapping
        The results document.
    chosen : mapping of str to Selected
        Its models.

    Returns
    -------
    dict or None
        ``families``, each with a sentence and a table, and ``models``, each with tables, notes and
        figures; None without a moderator.
    """
    moderated = [one for one in chosen.values() if "moderation" in one.model]
    if not moderated:
        return None
    families = document.get("moderators", {})
    members = {row["model"] for rows in families.values() for row in rows}
    about = {one.name: {_about(t) for t in one.model["moderation"]["terms"]} for one in moderated}
    alone = {name for names in about.values() if len(names) == 1 for name in names}
    return {
        "families": [
            {"sentence": _sentence(rows), "table": _family(name, rows, chosen)}
            for name, rows in families.items()
        ],
        "models": [
            _model(document, one, alone if len(about[one.name]) > 1 else set(), one.name in members)
            for one in moderated
        ],
    }


def _sentence(rows: Sequence[Json]) -> str:
    shown = [r for r in rows if r.get("bonferroni_verdict") == "difference"]
    jointly = [r for r in rows if r.get("shrinkage_verdict") == "difference"]
    silent = [r for r in rows if r.get("shrinkage_verdict", "") == "the data do not say"]

    def tally(count: int) -> str:
        return "none" if not count else str(count)

    were = "moderator was" if len(rows) == 1 else "moderators were"
    survive = "survive" if len(shown) > 1 else "survives"
    parts = [
        f"{len(rows)} {were} tested one at a time: {tally(len(shown))} of them {survive} "
        "correction for all tests of the family."
    ]
    if any("joint_bayes_factor" in r for r in rows):
        parts.append(
            f"In one model with all of them, {tally(len(jointly))} "
            f"{'is' if len(jointly) < 2 else 'are'} supported, and for {len(silent)} the data do "
            "not say whether there is a difference."
        )
    return " ".join(parts)


def _family(name: str, rows: Sequence[Json], chosen: Mapping[str, Selected]) -> Table:
    columns = (
        Column("Moderator", numeric=False),
        Column("QM (χ², REML)"),
        Column("p, F test"),
        Column("p, Holm"),
        Column("Odds, alone"),
        Column("Verdict by Bonferroni", numeric=False),
        Column("Verdict of the joint model", numeric=False),
    )
    shrunk = any(one.model.get("moderation", {}).get("shrunk") for one in chosen.values())
    body = []
    for row in rows:
        model = chosen[row["model"]]
        adjusted = f"p {p_value(row['p_bonferroni'])}" if "p_bonferroni" in row else ""
        jointly = row.get("joint_bayes_factor")
        body.append(
            (
                text(model.model.get("title", row["model"]), _counted(model)),
                _statistic(row, "qm", f"df {row.get('df', 0):.0f}", "p"),
                _share(row, "f_p", f"df {row.get('df1', 0):.0f}, {row.get('df2', 0):.0f}"),
                _share(row, "p_holm"),
                _odds(row.get("bayes_factor")),
                text(row.get("bonferroni_verdict", "not tested"), adjusted),
                text(row["shrinkage_verdict"], "" if jointly is None else _in_favour(jointly)),
            )
        )
    return Table(
        f"Family “{plain(name)}”",
        columns,
        tuple(body),
        sortable=True,
        note=_small_print(rows, shrunk),
    )


def _small_print(rows: Sequence[Json], shrunk: bool) -> str:
    """Return the rules of the verdicts, which were stated before any number."""
    note = (
        "QM and F are REML's tests of one moderator at a time, F with containment degrees of "
        "freedom. By Bonferroni there is a difference if p of QM, times the number of planned "
        "tests, is below .05. Odds for a difference are Bayes factors of the model with the "
        "moderator against the one without it."
    )
    if any("joint_bayes_factor" in row for row in rows):
        scale = ", with a scale that they share, so that small differences are drawn to zero"
        note += (
            f" The joint model holds all moderators at once{scale if shrunk else ''}: it sees a "
            "difference from odds of 3 to 1 for it, none from 3 to 1 against it, and between "
            "these the data do not say."
        )
    return note


def _counted(model: Selected) -> str:
    return f"{model.model['m']} samples, {model.model['k']} rows"


def _statistic(row: Json, key: str, df: str, p: str) -> Cell:
    if key not in row:
        return missing()
    return numeric(number(row[key], 2), row[key], f"{df}, p {p_value(row[p])}")


def _odds(factor: float | None) -> Cell:
    if factor is None:
        return missing()
    shown = odds(math.log(factor))
    return numeric(shown, factor, "for" if factor > 1 else "against")


def _in_favour(factor: float) -> str:
    return f"{odds(math.log(factor))} {'for' if factor > 1 else 'against'}"


def _model(document: Mapping[str, Any], one: Selected, drawn: set[str], tested: bool) -> Json:
    """Return what is shown of one model.

    Its only test is in the table of the family where it is a member of one, and a figure that a
    model of the same moderator alone has already is not drawn again.
    """
    moderation = one.model["moderation"]
    title = plain(one.model.get("title", one.name))
    return {
        "title": title,
        "counted": _counted(one),
        "counts": _counts(moderation["counts"], title),
        "contrasts": _comparisons(moderation["contrasts"], f"Differences: {title}", one),
        "means": _comparisons(moderation["means"], f"Averages: {title}", one),
        "tests": None
        if tested and len(moderation["tests"]) == 1
        else _tests(moderation["tests"], title),
        "notes": [plain(note) for note in moderation.get("notes", ())],
        "images": _images(document, one, drawn),
    }


def _counts(rows: Sequence[Json], title: str) -> Table | None:
    return record_table(f"How many: {title}", rows) if rows else None


def _tests(rows: Sequence[Json], title: str) -> Table | None:
    if not rows:
        return None
    columns = (
        Column("Moderator", numeric=False),
        Column("QM (χ², REML)"),
        Column("F test"),
        Column("Odds of a difference"),
    )
    body = tuple(
        (
            text(parameter_name(row["term"])),
            _statistic(row, "qm", f"df {row.get('df', 0):.0f}", "p"),
            _statistic(row, "f", f"df {row.get('df1', 0):.0f}, {row.get('df2', 0):.0f}", "f_p"),
            _odds(row.get("bayes_factor")),
        )
        for row in rows
    )
    return Table(f"Tests: {title}", columns, body)


def _comparisons(rows: Sequence[Json], caption: str, one: Selected) -> Table | None:
    """Return contrasts or means of the Bayesian engine and REML, on both scales."""
    if not rows:
        return None
    by_label: dict[tuple[str, str], dict[str, Json]] = {}
    for row in rows:
        by_label.setdefault((row["term"], row["label"]), {})[row["engine"]] = row
    scales: list[tuple[str, tuple[str, str, str], Show]] = []
    if any("r" in row for row in rows):
        scales.append((one.scale.symbol, ("r", "r_lower", "r_upper"), one.scale.printed))
    symbol = "z" if one.scale.symbol == "r" else "analysis scale"
    scales.append((symbol, ("value", "lower", "upper"), number))
    columns = [Column("", numeric=False)]
    columns += [Column(f"Bayesian ({name})") for name, _, _ in scales]
    columns += [Column("P(> 0)"), Column("P(small)")]
    columns += [Column(f"REML ({name})") for name, _, _ in scales]
    body = []
    several = len({term for term, _ in by_label}) > 1
    for (term, label), engines in by_label.items():
        bayes = engines.get("exact") or engines.get("nuts")
        cells = [text(label, parameter_name(term) if several else "")]
        cells += [_interval(bayes, keys, show) for _, keys, show in scales]
        cells += [_share(bayes, "positive"), _share(bayes, "rope")]
        cells += [_interval(engines.get("reml"), keys, show) for _, keys, show in scales]
        body.append(tuple(cells))
    return Table(caption, tuple(columns), tuple(body), note=_what_is_small(rows, one))


def _what_is_small(rows: Sequence[Json], one: Selected) -> str:
    rope = one.document.get("rope")
    if not rope or not any("rope" in row for row in rows):
        return ""
    low, high = (one.scale.printed(rope[end]) for end in ("lower", "upper"))
    where = f" ({one.scale.symbol})" if rope["scale"] == "r" else ", on the analysis scale"
    return f"P(small) is the probability that it lies between {low} and {high}{where}."


def _interval(row: Json | None, keys: tuple[str, str, str], show: Show) -> Cell:
    value, lower, upper = keys
    if row is None or value not in row:
        return missing()
    note = ""
    if lower in row and upper in row:
        note = f"{show(row[lower], 2)} to {show(row[upper], 2)}"
    return numeric(show(row[value], 2), row[value], note)


def _share(row: Json | None, key: str, note: str = "") -> Cell:
    if row is None or key not in row:
        return missing()
    return numeric(p_value(row[key]).removeprefix("= "), row[key], note)


def _images(document: Mapping[str, Any], one: Selected, drawn: set[str]) -> list[Image]:
    kinds = (
        (bubble.number_terms, bubble.plot_bubble, bubble.describe_bubble, bubble.CAPTION),
        (
            marginal_means.factor_terms,
            marginal_means.plot_marginal_means,
            marginal_means.describe_marginal_means,
            marginal_means.CAPTION,
        ),
    )
    about = {term["name"]: _about(term) for term in one.model["moderation"]["terms"]}
    images: list[Image] = []
    for terms, plot, describe, caption in kinds:
        wanted = [term for term in terms(one) if about[term] not in drawn]
        for term in wanted:
            images.append(
                to_image(
                    f"{one.name}_{len(images)}",
                    plot(document, one.name, term=term),
                    describe(document, one.name, term=term),
                    f"{caption} {OTHERS}" if len(set(about.values())) > 1 else caption,
                )
            )
    return images


def _about(term: Json) -> str:
    """Return the moderator of a term, also of one that was split in two."""
    return ":".join(variable["name"] for variable in term["variables"])
