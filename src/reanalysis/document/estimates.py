"""Every estimate of a document as one table."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from reanalysis.effect_sizes import MEASURES

__all__ = ["estimates_frame"]


def estimates_frame(document: Mapping[str, Any]) -> pd.DataFrame:
    """Return every estimate of a document as one tidy table.

    Parameters
    ----------
    document : mapping
        From `to_document`.

    Returns
    -------
    pandas.DataFrame
        Columns ``model``, ``engine``, ``parameter``, the numbers on the analysis scale, and
        ``value_back``, ``lower_back``, ``upper_back`` where the measure has a
        back-transformation. Fits that failed their gate are left out.
    """
    back = MEASURES[document["data"]["measure"]].back
    rows = []
    for name, model in document["models"].items():
        for engine in ("reml", "exact", "nuts"):
            found = model.get(engine, {})
            if not found.get("diagnostics", {}).get("passed", True):
                continue  # no results; this table has no place to say so
            for parameter, e in found.get("estimates", {}).items():
                value = e["value"] if engine == "reml" else e["mean"]
                row = {"model": name, "engine": engine, "parameter": parameter, "value": value}
                row |= {k: e.get(k) for k in ("sd", "se", "median", "lower", "upper", "p")}
                row["numerical_error"] = e.get("numerical_error")
                row["interval"] = e.get("interval")
                if back is not None and _transforms(parameter):
                    for key, x in (
                        ("value", value),
                        ("lower", e.get("lower")),
                        ("upper", e.get("upper")),
                    ):
                        row[f"{key}_back"] = None if x is None else float(back(x))
                rows.append(row)
    return pd.DataFrame(rows, columns=None if rows else ["model", "engine", "parameter", "value"])


def _transforms(parameter: str) -> bool:
    """Whether a parameter is a mean effect, so that its back-transformation means something."""
    return parameter in ("mu", "new_sample", "new_effect", "beta[intercept]")
