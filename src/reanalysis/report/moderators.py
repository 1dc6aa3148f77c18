"""Moderators: the family of tests side by side, and each moderator by itself."""

from collections.abc import Mapping, Sequence
from typing import Any

from reanalysis.plots import bubble, marginal_means
from reanalysis.plots.source import Selected
from reanalysis.report.figures import Image, to_image
from reanalysis.report.tables import Cell, Column, Table, missing, numeric, record_table, text
from reanalysis.wording import number, odds, p_value, parameter_name, plain

__all__ = ["make_moderators"]

Json = Mapping[str, Any]
COUNTS = ("samples", "rows", "effects")


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
    return {
        "families": [
            {"sentence": _sentence(rows), "table": _family(name, rows, chosen)}
            for name, rows in families.items()
        ],
        "models": [_model(document, one) for one in moderated],
    }


def _sentence(rows: Sequence[Json]) -> str:
    shown = [r for r in rows if r.get("bonferroni_verdict") == "difference"]
    jointly = [r for r in rows if r.get("shrinkage_verdict") == "difference"]
    silent = [r for r in rows if r.get("shrinkage_verdict", "") == "the data do not say"]

    def tally(count: int) -> str:
        return "none" if not count else str(count)

    parts = [
        f"{len(rows)} moderators were tested one at a time: {tally(len(shown))} of them survives "
        "correction for that many tests."
        if len(shown) < 2
        else f"{len(rows)} moderators were tested one at a time: {len(shown)} of them survive "
        "correction for that many tests."
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
        Column("p, Bonferroni"),
        Column("p, Holm"),
        Column("By Bonferroni", numeric=False),
        Column("Odds of a difference, alone"),
        Column("and jointly"),
        Column("By the joint model", numeric=False),
    )
    body = []
    for row in rows:
        model = chosen[row["model"]]
        test = model.model["moderation"]["tests"]
        statistic = (
            numeric(number(row["qm"], 2), row["qm"], f"df {row['df']:.0f}, p {p_value(row['p'])}")
            if "qm" in row
            else missing()
        )
        body.append(
            (
                text(model.model.get("title", row["model"]), _counted(model)),
                statistic,
                _p(row, "f_p", f"df {test[0]['df1']:.0f}, {test[0]['df2']:.0f}" if test else ""),
                _p(row, "p_bonferroni"),
                _p(row, "p_holm"),
                text(row.get("bonferroni_verdict", "")),
                _factor(row, "bayes_factor"),
                _factor(row, "joint_bayes_factor"),
                text(row.get("shrinkage_verdict", "")),
            )
        )
    note = (
        "Odds are Bayes factors of the model with the moderator against the one without it. The "
        "F tests use containment degrees of freedom. A single test asks about one moderator and "
        "forgets the others; the joint model holds all of them with a scale that they share, so "
        "that small differences are pulled to zero."
    )
    return Table(f"Family “{plain(name)}”", columns, tuple(body), sortable=True, note=note)


def _counted(model: Selected) -> str:
    return f"{model.model['m']} samples, {model.model['k']} rows"


def _p(row: Json, key: str, note: str = "") -> Cell:
    if key not in row:
        return missing()
    return numeric(p_value(row[key]).removeprefix("= "), row[key], note)


def _factor(row: Json, key: str) -> Cell:
    if key not in row:
        return missing()
    factor = float(row[key])
    return numeric(number(factor, 2), factor, "for" if factor > 1 else "against")


def _model(document: Mapping[str, Any], one: Selected) -> dict[str, Any]:
    moderation = one.model["moderation"]
    title = plain(one.model.get("title", one.name))
    return {
        "title": title,
        "counted": _counted(one),
        "counts": _counts(moderation["counts"], title),
        "contrasts": _comparisons(moderation["contrasts"], f"Differences: {title}", one),
        "means": _comparisons(moderation["means"], f"Averages: {title}", one),
        "tests": _tests(moderation["tests"], title),
        "notes": [plain(note) for note in moderation.get("notes", ())],
        "images": _images(document, one),
    }


def _counts(rows: Sequence[Json], title: str) -> Table | None:
    return record_table(f"How many: {title}", rows) if rows else None


def _tests(rows: Sequence[Json], title: str) -> Table | None:
    if not rows:
        return None
    columns = (
        Column("Moderator", numeric=False),
        Column("QM (χ², REML)"),
        Column("F"),
        Column("Odds of a difference"),
    )
    body = tuple(
        (
            text(parameter_name(row["term"])),
            numeric(number(row["qm"], 2), row["qm"], f"df {row['df']:.0f}, p {p_value(row['p'])}")
            if "qm" in row
            else missing(),
            numeric(
                number(row["f"], 2),
                row["f"],
                f"df {row['df1']:.0f}, {row['df2']:.0f}, p {p_value(row['f_p'])}",
            )
            if "f" in row
            else missing(),
            numeric(
                odds(row["log_bayes_factor"]),
                row["log_bayes_factor"],
                "for" if row["log_bayes_factor"] > 0 else "against",
            )
            if "log_bayes_factor" in row
            else missing(),
        )
        for row in rows
    )
    return Table(f"Tests: {title}", columns, body)


def _comparisons(rows: Sequence[Json], caption: str, one: Selected) -> Table | None:
    """Return contrasts or means: Bayesian on the readable and the analysis scale, then REML."""
    if not rows:
        return None
    symbol = one.scale.symbol
    by_label: dict[tuple[str, str], dict[str, Json]] = {}
    for row in rows:
        by_label.setdefault((row["term"], row["label"]), {})[row["engine"]] = row
    transformed = any("r" in row for row in rows)
    columns = [Column("", numeric=False)]
    columns += [Column(f"Bayesian ({symbol})")] if transformed else []
    columns += [Column("Bayesian (analysis scale)"), Column("P(> 0)"), Column("P(no difference)")]
    columns += [Column(f"REML ({symbol if transformed else 'analysis scale'})")]
    body = []
    for (term, label), engines in by_label.items():
        bayes = engines.get("exact") or engines.get("nuts")
        reml = engines.get("reml")
        cells = [text(label, parameter_name(term))]
        if transformed:
            cells.append(_interval(bayes, "r", "r_lower", "r_upper", one))
        cells.append(_interval(bayes, "value", "lower", "upper", None))
        cells += [_share(bayes, "positive"), _share(bayes, "rope")]
        keys = ("r", "r_lower", "r_upper") if transformed else ("value", "lower", "upper")
        cells.append(_interval(reml, *keys, one if transformed else None))
        body.append(tuple(cells))
    note = "P(no difference) is the share inside the smallest effect of interest (see Limits)."
    if not any("rope" in row for row in rows):
        note = ""
    return Table(caption, tuple(columns), tuple(body), note=note)


def _interval(row: Json | None, value: str, lower: str, upper: str, one: Selected | None) -> Cell:
    if row is None or value not in row:
        return missing()
    show = one.scale.printed if one else number
    note = ""
    if lower in row and upper in row:
        note = f"{show(row[lower], 3)} to {show(row[upper], 3)}"
    return numeric(show(row[value], 3), row[value], note)


def _share(row: Json | None, key: str) -> Cell:
    if row is None or key not in row:
        return missing()
    return numeric(p_value(row[key]).removeprefix("= "), row[key])


def _images(document: Mapping[str, Any], one: Selected) -> list[Image]:
    images = []
    kinds = (
        (bubble.number_terms, bubble.plot_bubble, bubble.describe_bubble, bubble.CAPTION),
        (
            marginal_means.factor_terms,
            marginal_means.plot_marginal_means,
            marginal_means.describe_marginal_means,
            marginal_means.CAPTION,
        ),
    )
    if len({row["term"] for row in one.model["moderation"]["counts"]}) > 1:
        return []  # the joint model's would repeat those of the single ones
    for terms, plot, describe, caption in kinds:
        images += [
            to_image(
                f"{one.name}_{i}",
                plot(document, one.name, term=term),
                describe(document, one.name, term=term),
                caption,
            )
            for i, term in enumerate(terms(one))
        ]
    return images
