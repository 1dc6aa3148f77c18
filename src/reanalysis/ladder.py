"""The ladder from the published number to ours, one change at a time.

Each rung changes one thing: which numbers are read, what they estimate, how they depend on each
other, how the interval is made, what is known beforehand. The changes add up to the difference.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from reanalysis.dataset import Dataset
from reanalysis.design import Design
from reanalysis.effect_sizes import MEASURES
from reanalysis.exact import fit_exact
from reanalysis.frequentist import fit_reml, fit_robust
from reanalysis.frequentist.distributions import interval
from reanalysis.frequentist.wald import containment_df
from reanalysis.multiverse import RULE, conclude, pair, vary
from reanalysis.results import EngineError
from reanalysis.spec import ModelSpec, Rope, Rung, SpecError

__all__ = ["Ladder", "climb"]

# From the readable scale, on which papers print, to the analysis scale.
FORWARD: Mapping[Any, Any] = {np.tanh: np.arctanh, np.exp: np.log, special.expit: special.logit}
METHODS = {
    "published": "as printed",
    "wald": "REML, Wald z",
    "t": "REML, t with containment degrees of freedom",
    "cr2": "REML, cluster-robust (CR2)",
    "bayes": "Bayesian, exact",
}


@dataclass(frozen=True, eq=False)
class Ladder:
    """The steps, in order.

    Attributes
    ----------
    measure : str
        Effect-size measure.
    steps : pandas.DataFrame
        One row per rung: ``step``, ``title``, ``method``, ``estimate``, ``lower``, ``upper`` on
        the readable scale (r), ``change`` from the rung before (they add up to the last estimate
        minus the first), ``conclusion`` and ``conclusion_changed``, ``k``, ``m``. For a rung that
        cannot be fitted, its ``error``; the next one is compared with the last that could.
    rule : str
        How a conclusion is drawn.
    """

    measure: str
    steps: pd.DataFrame
    rule: str = RULE

    def document(self) -> dict[str, Any]:
        """Return everything, for JSON; what was not computed is None."""
        records = self.steps.astype(object).where(self.steps.notna(), None).to_dict("records")
        return {"measure": self.measure, "rule": self.rule, "steps": records}

    def _repr_html_(self) -> str:
        return self.steps._repr_html_()  # type: ignore[operator]


def climb(
    data: Dataset,
    models: Mapping[str, ModelSpec],
    rungs: tuple[Rung, ...],
    *,
    rope: Rope | None = None,
) -> Ladder:
    """Fit every rung.

    Parameters
    ----------
    data : Dataset
        The data.
    models : mapping of str to ModelSpec
        Models by name; the first is where a ladder starts that names none.
    rungs : tuple of Rung
        The first is the published number.
    rope : Rope, optional
        Region of practical equivalence, for the conclusions.

    Returns
    -------
    Ladder
        All steps; a rung that an engine cannot fit is among them, with the reason.

    Raises
    ------
    SpecError, DataError
        If there is no ladder, or a rung does not fit the data.
    """
    if len(rungs) < 2:
        raise SpecError(["the ladder needs the published number and at least one more rung."])
    back = MEASURES[data.measure].back
    model = next(iter(models.values()))
    method = "wald"
    start = _published(rungs[0], data.measure, rope)
    rows: list[dict[str, Any]] = [start]
    last = start
    for rung in rungs[1:]:
        model = models[rung.model] if rung.model else model
        model = vary(model, rung.change)
        method = rung.interval or method
        design, spec = pair(data, model)
        row: dict[str, Any] = {
            "step": rung.name,
            "title": rung.title or rung.name,
            "method": METHODS[method],
            "k": design.k,
            "m": design.m,
            "error": "",
        }
        try:
            ends = np.array(_fit(design, spec, method))
        except EngineError as error:
            rows.append(row | {"error": str(error), "conclusion": ""})
            continue
        shown = (back(ends) if back else ends).tolist()
        row |= dict(zip(("estimate", "lower", "upper"), shown, strict=True))
        row["change"] = row["estimate"] - last["estimate"]
        row["conclusion"] = conclude(float(ends[1]), float(ends[2]), rope, data.measure)
        row["conclusion_changed"] = bool(
            last["conclusion"] and row["conclusion"] != last["conclusion"]
        )
        rows.append(row)
        last = row
    return Ladder(data.measure, pd.DataFrame(rows).astype({"k": "Int64", "m": "Int64"}))


def _published(rung: Rung, measure: str, rope: Rope | None) -> dict[str, Any]:
    """Return the first rung, on the readable scale."""
    back = MEASURES[measure].back
    forward = FORWARD.get(back, np.asarray) if back else np.asarray
    numbers = {
        key: float(rung.published[key])
        for key in ("estimate", "lower", "upper")
        if key in rung.published
    }
    if rung.published.get("scale") == "analysis" and back:
        numbers = {key: float(back(np.array(value))) for key, value in numbers.items()}
    conclusion = ""
    if {"lower", "upper"} <= numbers.keys():
        ends = forward(np.array([numbers["lower"], numbers["upper"]]))
        conclusion = conclude(float(ends[0]), float(ends[1]), rope, measure)
    row = {
        "step": rung.name,
        "title": rung.title or rung.name,
        "method": METHODS["published"],
        "error": "",
        "change": 0.0,
        "conclusion": conclusion,
        "conclusion_changed": False,
    }
    return row | numbers


def _fit(design: Design, spec: ModelSpec, method: str) -> tuple[float, float, float]:
    """Return estimate and interval of the first coefficient on the analysis scale."""
    if method == "bayes":
        posterior = fit_exact(design, spec, detail="parameters")
        estimate = posterior.estimates[design.coefficients[0]]
        assert estimate.lower is not None and estimate.upper is not None
        return estimate.value, estimate.lower, estimate.upper
    fit = fit_reml(design, spec, details=False)
    value, se, df = float(fit.coef[0]), float(np.sqrt(fit.vcov[0, 0])), np.inf
    if method == "t":
        df = float(containment_df(design)[0])
    elif method == "cr2":
        robust = fit_robust(design, spec, fit)
        se, df = float(np.sqrt(robust.vcov[0, 0])), float(robust.df[0])
    lower, upper = interval(value, se, df)
    return value, float(lower), float(upper)
