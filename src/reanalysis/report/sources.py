"""The source's own search and appraisal: flow of studies and risk of bias."""

from collections.abc import Mapping
from typing import Any

from reanalysis.plots import flow, risk_of_bias
from reanalysis.plots.source import Selected
from reanalysis.report.figures import to_image
from reanalysis.report.tables import Column, Table, numeric, text

__all__ = ["make_sources"]


def make_sources(
    document: Mapping[str, Any], chosen: Mapping[str, Selected]
) -> dict[str, Any] | None:
    """Return what the section of the source's search shows.

    Parameters
    ----------
    document : mapping
        The results document.
    chosen : mapping of str to Selected
        Its models.

    Returns
    -------
    dict or None
        ``flow`` and ``risk``, each an image and a table, or None; None without either.
    """
    data = document["data"]
    steps, risk = data.get("flow"), data.get("risk_of_bias")
    if not steps and not risk:
        return None
    return {
        "flow": {
            "image": to_image(
                "flow", flow.plot_flow(steps), flow.describe_flow(steps), flow.CAPTION
            ),
            "table": Table(
                "Flow of studies",
                (Column("Step", numeric=False), Column("Number")),
                tuple((text(s["what"]), numeric(f"{s['count']:,}", s["count"])) for s in steps),
            ),
        }
        if steps
        else None,
        "risk": {
            "image": to_image(
                "risk_of_bias",
                risk_of_bias.plot_risk_of_bias(risk),
                risk_of_bias.describe_risk_of_bias(risk),
                risk_of_bias.CAPTION,
            ),
            "table": Table(
                "Risk of bias, in words",
                (
                    Column("Sample", numeric=False),
                    *(Column(domain, numeric=False) for domain in risk["domains"]),
                ),
                tuple(
                    (
                        text(sample["label"]),
                        *(text(risk_of_bias.WORDS.get(m, m)) for m in sample["marks"]),
                    )
                    for sample in risk["samples"]
                ),
            ),
        }
        if risk
        else None,
    }
