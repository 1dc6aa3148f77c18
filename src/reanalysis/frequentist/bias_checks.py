"""All small-study methods on one data set, side by side: `check_small_study`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import pandas as pd

from reanalysis.design import Design
from reanalysis.frequentist.asymmetry import fit_egger, fit_rank_test
from reanalysis.frequentist.funnel import funnel_contours
from reanalysis.frequentist.pet_peese import fit_pet_peese
from reanalysis.frequentist.selmodel import SelmodelFit, fit_selmodel
from reanalysis.frequentist.small_study import SmallStudyResult
from reanalysis.frequentist.trimfill import fit_trimfill
from reanalysis.results import EngineError, FrequentistFit
from reanalysis.spec import ModelSpec

__all__ = ["SmallStudyChecks", "check_small_study"]

ONE_STEP = (0.025,)


@dataclass(frozen=True, eq=False)
class SmallStudyChecks:
    """Every small-study method that these data allow.

    Attributes
    ----------
    results : mapping of str to SmallStudyResult
        ``funnel``, ``egger``, ``egger_mixed``, ``rank_test``, ``trimfill_L0``, ``trimfill_R0``,
        ``pet_peese``.
    selection : mapping of str to SelmodelFit
        ``one_step`` (.025: the three-parameter model) and ``two_steps`` (the model's steps).
    skipped : mapping of str to str
        Methods that could not be used, with the reason.
    """

    results: Mapping[str, SmallStudyResult]
    selection: Mapping[str, SelmodelFit]
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def table(self) -> pd.DataFrame:
        """One row per method: adjusted mean with interval where it gives one, and its test."""
        rows = [row for name, result in self.results.items() for row in _rows(name, result)]
        for name, fit in self.selection.items():
            mu = fit.estimates["mu"]
            method = f"Selection model ({name.replace('_', ' ')}, {fit.alternative})"
            rows.append((name, method, mu.value, mu.lower, mu.upper, "LRT", fit.lrt_p))
        names = ["name", "method", "mean", "lower", "upper", "test", "p"]
        return pd.DataFrame(rows, columns=names)

    def _repr_html_(self) -> str:
        skipped = "".join(f"<li>{name}: {why}</li>" for name, why in self.skipped.items())
        return f"{self.table._repr_html_()}<ul>{skipped}</ul>"  # type: ignore[operator]


def check_small_study(
    design: Design,
    spec: ModelSpec,
    fit: FrequentistFit,
    *,
    direction: Literal["positive", "negative"] = "positive",
) -> SmallStudyChecks:
    """Run all small-study methods.

    Parameters
    ----------
    design : Design
        The arrays of a model without moderators.
    spec : ModelSpec
        The model; gives the steps of the larger selection model.
    fit : FrequentistFit
        Its fit; the axis of the funnel.
    direction : {"positive", "negative"}, default "positive"
        Direction in which an effect is expected.

    Returns
    -------
    SmallStudyChecks
        Results with their limits; what could not be computed is listed with the reason.
    """
    alternative: Literal["greater", "less"] = "greater" if direction == "positive" else "less"
    methods: dict[str, Callable[[], SmallStudyResult]] = {
        "funnel": lambda: funnel_contours(design, spec, fit),
        "egger": lambda: fit_egger(design, spec),
        "egger_mixed": lambda: fit_egger(design, spec, model="mixed"),
        "rank_test": lambda: fit_rank_test(design, spec),
        "trimfill_L0": lambda: fit_trimfill(design, spec, estimator="L0"),
        "trimfill_R0": lambda: fit_trimfill(design, spec, estimator="R0"),
        "pet_peese": lambda: fit_pet_peese(design, spec, direction=direction),
    }
    results: dict[str, SmallStudyResult] = {}
    selection: dict[str, SelmodelFit] = {}
    skipped: dict[str, str] = {}
    for name, method in methods.items():
        try:
            results[name] = method()
        except EngineError as error:
            skipped[name] = str(error)
    for name, steps in (("one_step", ONE_STEP), ("two_steps", spec.steps)):
        try:
            selection[name] = fit_selmodel(design, spec, steps=steps, alternative=alternative)
        except EngineError as error:
            skipped[name] = str(error)
    return SmallStudyChecks(
        MappingProxyType(results), MappingProxyType(selection), MappingProxyType(skipped)
    )


def _rows(
    name: str, result: SmallStudyResult
) -> list[tuple[str, str, float | None, float | None, float | None, str, float | None]]:
    """Return the lines of the overview for one method."""
    if name == "funnel":
        return []
    if name == "rank_test":
        return [(name, result.method, None, None, None, "Kendall's tau", result.numbers["p"])]
    if name.startswith("trimfill"):
        last = result.table.iloc[-1]
        p = result.numbers.get("k0_p")
        test = f"{result.numbers['k0']:.0f} filled in"
        return [(name, result.method, last["value"], last["lower"], last["upper"], test, p)]
    if name == "pet_peese":
        robust = result.table[result.table["parameter"] == "mu"]
        best = "CR2" if (robust["test"] == "CR2").any() else "t(containment)"
        chosen = robust[robust["test"] == best]
        return [
            (name, row["method"], row["value"], row["lower"], row["upper"], best, row["p"])
            for _, row in chosen.iterrows()
        ]
    limit = result.table.iloc[0]
    p = result.numbers["p"]
    ends = limit["value"], limit["lower"], limit["upper"]
    return [(name, result.method, *ends, "slope", p)]
