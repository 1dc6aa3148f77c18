"""Several one-moderator models beside the joint one: adjusted tests, Bayes factors, verdicts.

The verdicts follow rules that are stated before any number is seen and printed with them.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd

from reanalysis.frequentist.omnibus import adjust_p_values
from reanalysis.moderation.record import ALL, Moderation

__all__ = ["ALPHA", "EVIDENCE", "RULES", "moderator_family", "verdict"]

ALPHA = 0.05
EVIDENCE = 3.0  # Jeffreys (1961): where evidence stops being bare mention

RULES: Mapping[str, str] = {
    "bonferroni": (
        "a difference if the p-value of QM (chi-square), times the number of tests in the "
        "family, is below .05; otherwise not shown, which does not mean that there is none"
    ),
    "bayes_factor": (
        "a difference if the Bayes factor for the moderator, alone in its model, is at least 3; "
        "no difference if it is at most 1/3; otherwise the data do not say"
    ),
    "shrinkage": (
        "as before, with the Bayes factor of the joint model against the same model without the "
        "moderator: its coefficients share a scale that all moderators estimate together"
    ),
}
Verdict = Literal["difference", "no difference", "not shown", "the data do not say", "not tested"]


def verdict(log_bayes_factor: float | None) -> Verdict:
    """Return the verdict of a Bayes factor.

    Parameters
    ----------
    log_bayes_factor : float or None
        Natural log of the Bayes factor for a difference; None or NaN where there is none.

    Returns
    -------
    str
        By the rule in `RULES`.
    """
    if log_bayes_factor is None or np.isnan(log_bayes_factor):
        return "not tested"
    if log_bayes_factor >= np.log(EVIDENCE):
        return "difference"
    return "no difference" if log_bayes_factor <= -np.log(EVIDENCE) else "the data do not say"


def moderator_family(
    single: Mapping[str, Moderation], joint: Moderation | None = None, *, tests: int | None = None
) -> pd.DataFrame:
    """Set the models of single moderators side by side, and beside the joint model.

    Parameters
    ----------
    single : mapping of str to Moderation
        Models of one moderator each, by name; see `reanalysis.moderators.find_families`.
    joint : Moderation, optional
        The model of all moderators.
    tests : int, optional
        Number of tests in the family, where more were planned than are given: p-values are
        adjusted for those that were planned.

    Returns
    -------
    pandas.DataFrame
        One row per model: ``model``, ``moderator``; REML's ``qm``, ``df``, ``p``, ``f``, ``df1``,
        ``df2``, ``f_p``, and ``p_bonferroni``, ``p_holm``, ``f_p_bonferroni``, ``f_p_holm`` (Holm
        only if all tests of the family are there); ``bayes_factor`` and
        ``joint_bayes_factor``; and the verdicts ``bonferroni``, ``bayes`` and ``shrinkage``. A
        moderator that was split in two is tested by both parts together.
    """
    rows = []
    for name, moderation in single.items():
        table = moderation.tests.set_index("term")
        term = ALL if ALL in table.index else table.index[0]
        row: dict[str, object] = {"model": name, "moderator": ", ".join(moderation.moderators)}
        tested = table.drop(columns="coefficients").loc[[term]]
        row |= {str(column): tested[column].iloc[0] for column in tested}
        row["joint_log_bayes_factor"] = _joint(moderation, joint)
        rows.append(row)
    family = pd.DataFrame(rows)
    if family.empty:
        return family
    family["joint_bayes_factor"] = np.exp(family["joint_log_bayes_factor"])
    count = max(tests or 0, len(family))
    if "p" in family:
        known = family["p"].notna()
        for column in ("p", "f_p"):
            p = family[column].to_numpy(float)
            family[f"{column}_bonferroni"] = np.minimum(1.0, count * p)
            if count == known.sum():
                family[f"{column}_holm"] = adjust_p_values(p)["holm"].to_numpy()
        shown = np.where(family["p_bonferroni"] < ALPHA, "difference", "not shown")
        family["bonferroni"] = np.where(known, shown, "not tested")
    if "log_bayes_factor" in family:
        family["bayes"] = [verdict(value) for value in family["log_bayes_factor"]]
    family["shrinkage"] = [verdict(value) for value in family["joint_log_bayes_factor"]]
    return family


def _joint(moderation: Moderation, joint: Moderation | None) -> float:
    """Return the log Bayes factor of a moderator in the joint model; NaN where it is not in it."""
    if joint is None or "log_bayes_factor" not in joint.tests:
        return np.nan
    found = joint.tests.set_index("term")["log_bayes_factor"]
    (moderator,) = moderation.moderators
    same = [n for n in (moderator, moderation.tests["term"].iloc[0]) if n in found.index]
    return float(found[same[0]]) if same else np.nan
