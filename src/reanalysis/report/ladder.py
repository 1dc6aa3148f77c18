"""The ladder from the published number to ours: its steps, and what they add up to."""

from collections.abc import Mapping
from typing import Any

from reanalysis.plots.ladder import CAPTION, describe_ladder, plot_ladder
from reanalysis.plots.source import Selected
from reanalysis.report.figures import to_image
from reanalysis.report.tables import Cell, Column, Table, missing, numeric, text
from reanalysis.wording import Scale, readable_scale

__all__ = ["make_ladder"]


def make_ladder(
    document: Mapping[str, Any], chosen: Mapping[str, Selected]
) -> dict[str, Any] | None:
    """Return what the ladder's section shows.

    Parameters
    ----------
    document : mapping
        The results document.
    chosen : mapping of str to Selected
        Its models.

    Returns
    -------
    dict or None
        ``sentence``, ``table``, ``image``, ``rule``; None without a ladder.
    """
    found = document.get("ladder")
    if not found:
        return None
    scale = readable_scale(found["measure"])
    steps = found["steps"]
    fitted = [step for step in steps if "estimate" in step]
    total = fitted[-1]["estimate"] - fitted[0]["estimate"]
    turns = [step["title"] for step in steps if step.get("conclusion_changed")]
    sentence = (
        f"{len(fitted) - 1} changes take the estimate from {_shown(scale, fitted[0]['estimate'])} "
        f"to {_shown(scale, fitted[-1]['estimate'])}, by {_signed(scale, total)} in all. "
    )
    sentence += (
        f"The conclusion changes at: {'; '.join(turns)}."
        if turns
        else "The conclusion changes at no step."
    )
    return {
        "sentence": sentence,
        "table": _table(steps, scale, total),
        "image": to_image("ladder", plot_ladder(found), describe_ladder(found), CAPTION),
        "rule": found["rule"],
    }


def _table(steps: list[Mapping[str, Any]], scale: Scale, total: float) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for step in steps:
        if "estimate" not in step:
            cells = (missing(), missing(), text(f"not computed: {step['error']}"))
        else:
            interval = ""
            if "lower" in step and "upper" in step:
                interval = f"{_shown(scale, step['lower'])} to {_shown(scale, step['upper'])}"
            changed = " (changed)" if step.get("conclusion_changed") else ""
            cells = (
                numeric(_shown(scale, step["estimate"]), step["estimate"], interval),
                numeric(_signed(scale, step["change"]), step["change"]) if rows else missing(),
                text(f"{step['conclusion']}{changed}"),
            )
        effects = f"{step['k']} rows, {step['m']} samples" if "k" in step else ""
        rows.append((text(step["title"], step["method"]), *cells, text(effects)))
    sum_cells = (missing(), numeric(_signed(scale, total), total), text(""), text(""))
    rows.append((text("Sum of all changes"), *sum_cells))
    columns = (
        Column("Step", numeric=False),
        Column(f"Estimate ({scale.symbol}) and 95 % interval"),
        Column("Change"),
        Column("Conclusion", numeric=False),
        Column("Data", numeric=False),
    )
    return Table("One change at a time", columns, tuple(rows))


def _shown(scale: Scale, value: float) -> str:
    return scale.printed(value, 3)


def _signed(scale: Scale, value: float) -> str:
    printed = scale.printed(value, 3)
    return f"+{printed}" if value > 0 else printed
