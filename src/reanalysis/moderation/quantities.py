"""The answer of each engine to each target, on the analysis scale and as correlations.

A *difference of correlations* is that of two means after the back-transformation, not the
back-transformation of their difference on the analysis scale.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from reanalysis.moderation.sources import Source
from reanalysis.moderation.targets import Target
from reanalysis.spec import Rope

__all__ = ["COLUMNS", "answer"]

COLUMNS = (
    "term",
    "label",
    "kind",
    "engine",
    "value",
    "sd",
    "lower",
    "upper",
    "positive",
    "rope",
    "r",
    "r_lower",
    "r_upper",
    "numerical_error",
)


def answer(
    engine: str,
    targets: Sequence[Target],
    source: Source,
    *,
    on_r: bool,
    rope: Rope | None = None,
) -> pd.DataFrame:
    """Answer every target from one engine's distribution of the coefficients.

    Parameters
    ----------
    engine : str
        ``reml``, ``exact`` or ``nuts``.
    targets : sequence of Target
        The questions.
    source : Source
        The distribution.
    on_r : bool
        Whether the analysis scale is Fisher's z, so that correlations can be shown.
    rope : Rope, optional
        Region of practical equivalence, for means and for differences.

    Returns
    -------
    pandas.DataFrame
        One row per target, with `COLUMNS`. On the analysis scale: ``value``, ``sd`` and the
        central 95 % interval; ``positive`` and ``rope``, the posterior probabilities of being
        above zero and inside the region (NaN for REML, whose interval is Wald's). As
        correlations: ``r`` and its interval; of a mean it is tanh of the mean z; NaN for a
        slope.
    """
    summary = source.summarise(np.array([target.weights for target in targets]))
    bayesian = engine != "reml"
    rows = []
    for i, target in enumerate(targets):
        row: dict[str, str | float] = {
            "term": target.term,
            "label": target.label,
            "kind": target.kind,
            "engine": engine,
            "value": float(summary.value[i]),
            "sd": float(summary.sd[i]),
            "lower": float(summary.lower[i]),
            "upper": float(summary.upper[i]),
        }
        if bayesian:
            row["positive"] = float(summary.positive[i])
            row["numerical_error"] = float(summary.error[i])
            row["rope"] = _mass_in_rope(target, source, on_r, rope)
        if on_r and target.kind == "mean":
            ends = np.tanh([row["value"], row["lower"], row["upper"]])
            row |= dict(zip(("r", "r_lower", "r_upper"), ends.tolist(), strict=True))
        elif on_r and target.kind == "difference":
            value, lower, upper = source.correlations(target.first, target.second)
            if not bayesian:  # an estimate, not a mean over its error
                at = source.summarise(np.stack([target.first, target.second])).value
                value = float(np.tanh(at[0]) - np.tanh(at[1]))
            row |= {"r": value, "r_lower": lower, "r_upper": upper}
        rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _mass_in_rope(target: Target, source: Source, on_r: bool, rope: Rope | None) -> float:
    """Return the probability of the region; NaN where it is not stated for such a quantity."""
    if rope is None or target.kind == "slope":
        return np.nan
    limits = rope.lower, rope.upper
    if rope.scale == "analysis":
        return source.inside(target.weights, limits)
    if not on_r:
        return np.nan
    if target.kind == "difference":
        return source.correlations_inside(target.first, target.second, limits)
    low, high = np.arctanh(np.clip(limits, -1 + 1e-12, 1 - 1e-12)).tolist()
    return source.inside(target.weights, (low, high))
