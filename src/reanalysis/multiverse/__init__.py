"""The multiverse: every defensible combination of decisions, fitted by the exact engine.

References
----------
Steegen, S., Tuerlinckx, F., Gelman, A., & Vanpaemel, W. (2016). Increasing transparency through a
multiverse analysis. Perspectives on Psychological Science, 11(5), 702-712.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from reanalysis.dataset import Dataset
from reanalysis.multiverse.decisions import RULE, conclude, map_decisions, map_options
from reanalysis.multiverse.fitting import Fit, fit_key, fit_seconds, fit_universe
from reanalysis.multiverse.universes import Universe, expand, pair, resolve_axes, vary
from reanalysis.spec import Axis, ModelSpec, Rope, SpecError
from reanalysis.spread import Watcher, spread

__all__ = [
    "RULE",
    "Fit",
    "Multiverse",
    "Universe",
    "conclude",
    "expand",
    "fit_universe",
    "pair",
    "resolve_axes",
    "run_multiverse",
    "vary",
]

NUMBERS = (
    "estimate",
    "sd",
    "lower",
    "upper",
    "probability_positive",
    "log_bayes_factor",
    "log_marginal_likelihood",
    "tau",
    "k",
    "m",
)


@dataclass(frozen=True, eq=False)
class Multiverse:
    """Every universe with its result.

    Attributes
    ----------
    model, measure : str
        The headline model, and the effect-size measure.
    axes : mapping of str to tuple of str
        Options by axis; the headline takes the first of each.
    titles : mapping of str to str
        Words for each axis.
    universes : pandas.DataFrame
        One row per universe, the headline first: its option on each axis, ``estimate``, ``sd``,
        ``lower``, ``upper``, ``probability_positive``, ``log_bayes_factor``,
        ``log_marginal_likelihood``, ``tau``, ``k``, ``m``, ``conclusion`` and ``error``; numbers on
        the analysis scale, NaN and an empty conclusion where the fit failed.
    options : pandas.DataFrame
        What happens under each option.
    decisions : pandas.DataFrame
        What each decision does by itself.
    rule : str
        How a conclusion is drawn.
    """

    model: str
    measure: str
    axes: Mapping[str, tuple[str, ...]]
    titles: Mapping[str, str]
    universes: pd.DataFrame
    options: pd.DataFrame
    decisions: pd.DataFrame
    rule: str = RULE

    @property
    def failed(self) -> int:
        """Number of universes without a result."""
        return int((self.universes["error"] != "").sum())

    def document(self) -> dict[str, Any]:
        """Return everything, for JSON; what was not computed is None."""
        return {
            "model": self.model,
            "measure": self.measure,
            "rule": self.rule,
            "axes": {name: list(options) for name, options in self.axes.items()},
            "titles": dict(self.titles),
            "failed": self.failed,
            "universes": _records(self.universes),
            "options": _records(self.options),
            "decisions": _records(self.decisions),
        }

    def _repr_html_(self) -> str:
        return self.decisions._repr_html_()  # type: ignore[operator]


def run_multiverse(
    data: Dataset,
    model: ModelSpec,
    axes: Sequence[Axis],
    *,
    rope: Rope | None = None,
    store: Path | None = None,
    scheduler: str = "here",
    watcher: Watcher | None = None,
) -> Multiverse:
    """Fit every universe.

    Parameters
    ----------
    data : Dataset
        The data.
    model : ModelSpec
        The headline model.
    axes : sequence of Axis
        The decisions.
    rope : Rope, optional
        Region of practical equivalence, for the conclusions.
    store, scheduler, watcher
        As in `reanalysis.spread.spread`.

    Returns
    -------
    Multiverse
        All results; universes that cannot be fitted are among them, with the reason.

    Raises
    ------
    SpecError
        If there are no decisions, too many universes, or the headline itself is faulty.
    """
    if not axes:
        raise SpecError(["the spec has no [[multiverse]]; state at least one decision."])
    resolved = resolve_axes(data, model, axes)
    universes = expand(data, model, resolved)
    if universes[0].design is None:
        raise SpecError([f"[[multiverse]]: the first universe: {universes[0].fault}"])
    jobs, keys = {}, []
    for universe in universes:
        key = ""
        if universe.design is not None:
            job = Fit(universe.design, universe.spec)
            key = fit_key(job)
            jobs[key] = job
        keys.append(key)
    found = spread(
        fit_universe,
        jobs,
        store=store,
        scheduler=scheduler,
        seconds=float(np.mean([fit_seconds(job) for job in jobs.values()])),
        watcher=watcher,
    )
    rows = []
    for universe, key in zip(universes, keys, strict=True):
        record: Mapping[str, Any] = found[key] if key else {"error": universe.fault}
        row: dict[str, Any] = {**universe.options}
        row |= {name: record.get(name) for name in NUMBERS}
        row["error"] = record.get("error", "")
        row["conclusion"] = (
            ""
            if row["error"]
            else conclude(record["lower"], record["upper"], rope, universes[0].design.measure)
        )
        rows.append(row)
    table = pd.DataFrame(rows).astype(dict.fromkeys(NUMBERS, float))
    options = {axis.name: tuple(option.name for option in axis.options) for axis in resolved}
    return Multiverse(
        model=model.name,
        measure=universes[0].design.measure,
        axes=MappingProxyType(options),
        titles=MappingProxyType({axis.name: axis.title or axis.name for axis in resolved}),
        universes=table,
        options=map_options(table, options),
        decisions=map_decisions(table, options),
    )


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            str(key): None if isinstance(value, float) and np.isnan(value) else value
            for key, value in row.items()
        }
        for row in table.to_dict(orient="records")
    ]
