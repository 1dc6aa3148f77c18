"""Calibration: whether the intervals hold what they promise at this design."""

from collections.abc import Mapping
from typing import Any

from reanalysis.plots.calibration import CAPTION, describe_calibration, plot_calibration
from reanalysis.plots.source import Selected
from reanalysis.report.figures import to_image
from reanalysis.report.tables import Column, Table, numeric, parameter, text
from reanalysis.wording import number, p_value

__all__ = ["make_calibration"]

SUSPECT = 0.05


def make_calibration(
    document: Mapping[str, Any], chosen: Mapping[str, Selected]
) -> dict[str, Any] | None:
    """Return what the section of calibration shows.

    Parameters
    ----------
    document : mapping
        The results document.
    chosen : mapping of str to Selected
        Its models.

    Returns
    -------
    dict or None
        ``sentences``, ``image`` and ``table``; None where nothing was simulated.
    """
    found = document.get("calibration")
    if not found:
        return None
    image = None
    if found["uniformity"]:
        image = to_image(
            "calibration", plot_calibration(found), describe_calibration(found), CAPTION
        )
    return {"sentences": _sentences(found), "image": image, "table": _coverage(found)}


def _sentences(found: Mapping[str, Any]) -> list[str]:
    sentences = [
        f"{found['replicates']:,} data sets were simulated with parameters from the priors, each "
        f"with {found['k']} effects in {found['m']} samples of these sizes, and fitted. Of the "
        "95 % intervals, "
        + ", ".join(
            f"{100 * row['coverage']:.1f} % ({row['method']})"
            for row in found["coverage"]
            if row["parameter"] == found["coverage"][0]["parameter"]
        )
        + " held the true average."
    ]
    if found["uniformity"]:
        worst = min(row["p_holm"] for row in found["uniformity"])
        sentences.append(
            "The posterior is calibrated as far as these data sets can tell "
            f"(smallest p {p_value(worst)} after correction for {len(found['uniformity'])} "
            "quantities)."
            if worst >= SUSPECT
            else "The posterior is not calibrated: the true values do not fall evenly into it "
            f"(smallest p {p_value(worst)})."
        )
    return sentences


def _coverage(found: Mapping[str, Any]) -> Table:
    columns = (
        Column("Parameter", numeric=False),
        Column("95 % interval", numeric=False),
        Column("Holds the truth"),
        Column("Mean width"),
        Column("Failed fits"),
    )
    rows = tuple(
        (
            parameter(row["parameter"]),
            text(row["method"]),
            numeric(
                f"{100 * row['coverage']:.1f} %", row["coverage"], f"± {100 * row['mcse']:.1f}"
            ),
            numeric(number(row["width"], 3), row["width"]),
            numeric(str(row["failed"]), row["failed"]),
        )
        for row in found["coverage"]
    )
    note = "± is the Monte-Carlo standard error. Widths are on the analysis scale."
    return Table("Coverage at this design", columns, rows, note=note)
