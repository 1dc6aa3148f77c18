"""Which decisions change the conclusion, and which do not."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from reanalysis.effect_sizes import MEASURES
from reanalysis.spec import Rope

__all__ = ["RULE", "conclude", "map_decisions", "map_options"]

RULE = (
    "positive: the 95 % interval lies above 0; negative: it lies below 0; unclear: it holds 0; "
    "negligible: it lies inside the region of practical equivalence; substantial: it lies beyond "
    "that region on the side of the estimate"
)


def conclude(lower: float, upper: float, rope: Rope | None, measure: str) -> str:
    """Return the conclusion from an interval.

    Parameters
    ----------
    lower, upper : float
        Ends on the analysis scale.
    rope : Rope or None
        Region of practical equivalence.
    measure : str
        Effect-size measure, for a region that is stated on the readable scale.

    Returns
    -------
    str
        ``substantial``, ``positive``, ``negative``, ``unclear`` or ``negligible``, by `RULE`.
    """
    if rope is not None:
        back = MEASURES[measure].back if rope.scale == "r" else None
        ends = np.array([lower, upper])
        low, high = back(ends) if back else ends
        if rope.lower < low and high < rope.upper:
            return "negligible"
        if low > rope.upper or high < rope.lower:
            return "substantial"
    if lower > 0:
        return "positive"
    return "negative" if upper < 0 else "unclear"


def map_options(universes: pd.DataFrame, axes: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Return what happens under each option, all other decisions taken in every way.

    Parameters
    ----------
    universes : pandas.DataFrame
        One row per universe, the headline first.
    axes : mapping of str to sequence of str
        Options by axis.

    Returns
    -------
    pandas.DataFrame
        One row per axis and option: ``universes`` fitted, ``failed``, ``same_conclusion`` (share
        of them with the headline's conclusion), and ``median``, ``lowest`` and ``highest``
        estimate.
    """
    headline = universes["conclusion"].iloc[0]
    rows = []
    for axis, options in axes.items():
        for option in options:
            inside = universes[universes[axis] == option]
            fitted = inside[inside["conclusion"] != ""]
            estimates = fitted["estimate"]
            rows.append(
                {
                    "axis": axis,
                    "option": option,
                    "universes": len(fitted),
                    "failed": len(inside) - len(fitted),
                    "same_conclusion": float((fitted["conclusion"] == headline).mean())
                    if len(fitted)
                    else np.nan,
                    "median": float(estimates.median()),
                    "lowest": float(estimates.min()),
                    "highest": float(estimates.max()),
                }
            )
    return pd.DataFrame(rows)


def map_decisions(universes: pd.DataFrame, axes: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Return what each decision does by itself, all others held.

    Parameters
    ----------
    universes : pandas.DataFrame
        One row per universe.
    axes : mapping of str to sequence of str
        Options by axis.

    Returns
    -------
    pandas.DataFrame
        One row per axis, the one with the largest shift first: ``options``; ``comparisons``, the
        number of ways to take the other decisions; ``changes_conclusion``, in how many of these
        the conclusion depends on this one; ``share``; ``largest_shift`` of the estimate.
    """
    fitted = universes[universes["conclusion"] != ""]
    rows = []
    for axis, options in axes.items():
        others = [name for name in axes if name != axis]
        ways = fitted.groupby(others or np.zeros(len(fitted)), sort=False, observed=True)
        found = ways.agg(
            size=("estimate", "size"),
            conclusions=("conclusion", "nunique"),
            lowest=("estimate", "min"),
            highest=("estimate", "max"),
        )
        found = found[found["size"] > 1]
        changed = int((found["conclusions"] > 1).sum())
        rows.append(
            {
                "axis": axis,
                "options": len(options),
                "comparisons": len(found),
                "changes_conclusion": changed,
                "share": changed / len(found) if len(found) else np.nan,
                "largest_shift": float((found["highest"] - found["lowest"]).max()),
            }
        )
    table = pd.DataFrame(rows)
    return table.sort_values("largest_shift", ascending=False, kind="stable", ignore_index=True)
