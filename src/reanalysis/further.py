"""What a run adds to its models: sensitivity, and the parts that the spec asks for.

Everything here is about the headline model, the first of the spec.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from reanalysis.claims import Entry, Fitted
from reanalysis.ladder import Ladder, climb
from reanalysis.plan import Plan, PlannedModel
from reanalysis.predictive import Predictive, check_predictions
from reanalysis.progress import Steps
from reanalysis.results import EngineError
from reanalysis.robustness import Robustness, make_robustness
from reanalysis.spread import Watcher
from reanalysis.threads import one_blas_thread
from reanalysis.versions import release_key

if TYPE_CHECKING:
    from reanalysis.calibration import Calibration
    from reanalysis.exact.selection_sensitivity import AssumedWeights
    from reanalysis.multiverse import Multiverse

__all__ = ["Further", "make_further"]

MOST_BY_REML = 300  # data sets of a calibration; its four intervals cost more than the posterior
WEIGHTED = ("joint", "replace", "study", "thin")
ALWAYS = ("sensitivity", "predictive", "assumed_weights")  # of whichever models there are


@dataclass(frozen=True, eq=False)
class Further:
    """What stands beside the models of an analysis.

    Attributes
    ----------
    ladder : Ladder or None
        From the published number to ours, one change at a time.
    multiverse : Multiverse or None
        Every combination of the decisions that the spec names.
    calibration : Calibration or None
        Whether the intervals keep what they promise at this design.
    sensitivity : Robustness or None
        What the headline and the ledger rest on.
    predictive : Predictive or None
        What the headline model expected before and after the data.
    assumed_weights : AssumedWeights or None
        The mean of the first selection model for weights that are assumed.
    skipped : mapping of str to str
        Part to the reason why it is not there; parts that were not asked for are not named.
    """

    ladder: Ladder | None = None
    multiverse: "Multiverse | None" = None
    calibration: "Calibration | None" = None
    sensitivity: Robustness | None = None
    predictive: Predictive | None = None
    assumed_weights: "AssumedWeights | None" = None
    skipped: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return every part by its name, for JSON, and under ``skipped`` why others are absent."""
        parts = {
            "ladder": self.ladder,
            "multiverse": self.multiverse,
            "calibration": self.calibration,
            "sensitivity": self.sensitivity,
            "predictive": self.predictive,
            "assumed_weights": self.assumed_weights,
        }
        found = {name: _present(part.document()) for name, part in parts.items() if part}
        return {**found, **({"skipped": dict(self.skipped)} if self.skipped else {})}


def make_further(
    plan: Plan,
    fits: Mapping[str, Fitted],
    claims: Sequence[Entry],
    engines: Sequence[str],
    seed: int,
    steps: Steps,
    *,
    store: Path | None = None,
    scheduler: str = "here",
) -> Further:
    """Compute what the spec asks for beside its models.

    Parameters
    ----------
    plan : Plan
        Spec, data and designs.
    fits : mapping of str to Fitted
        Its models as they were fitted.
    claims : sequence of Entry
        The ledger.
    engines : sequence of str
        Engines that were asked for; everything here needs the exact one.
    seed : int
        Seed of every random step.
    steps : Steps
        Told what is going on.
    store : pathlib.Path, optional
        Folder in which single fits are kept as they come, for a run that goes on where it was
        stopped.
    scheduler : str
        Where many fits are done, as in `reanalysis.spread.spread`. A script whose work is not
        under ``if __name__ == "__main__"`` must stay in its own process, ``here``.

    Returns
    -------
    Further
        With reasons for what is not there.

    Raises
    ------
    SpecError, DataError
        If a decision or a rung does not fit the data.
    """
    asked = plan.asked
    parts: Mapping[str, tuple[bool, Callable[[], Any]]] = {
        "ladder": (bool(asked.ladder), lambda: _ladder(plan)),
        "multiverse": (
            bool(asked.multiverse),
            lambda: _multiverse(plan, store, scheduler, _watcher(steps, "multiverse")),
        ),
        "calibration": (
            asked.calibration is not None,
            lambda: _calibration(plan, seed, store, scheduler, _watcher(steps, "calibration")),
        ),
        "sensitivity": (True, lambda: _sensitivity(plan, fits, claims)),
        "predictive": (True, lambda: _predictive(plan, seed)),
        "assumed_weights": (bool(_selecting(plan)), lambda: _assumed_weights(plan)),
    }
    found: dict[str, Any] = {}
    skipped: dict[str, str] = {}
    for name, (wanted, compute) in parts.items():
        if not wanted:
            continue
        if "exact" not in engines:
            skipped[name] = "it needs the exact engine, which was not asked for"
        elif name not in ALWAYS and len(plan.models) < len(asked.models):
            skipped[name] = "only some of the models were asked for; it comes with all of them"
        else:
            steps.note(f"{name} of the headline model")
            if store is not None:
                store.mkdir(parents=True, exist_ok=True)
            try:
                with one_blas_thread():
                    found[name] = compute()
            except EngineError as error:
                skipped[name] = str(error)
    return Further(**found, skipped=MappingProxyType(skipped))


def _sensitivity(plan: Plan, fits: Mapping[str, Fitted], claims: Sequence[Entry]) -> Robustness:
    return make_robustness(plan.data, plan.models, plan.asked.claims, claims, fits)


def _predictive(plan: Plan, seed: int) -> Predictive:
    headline = next(iter(plan.models.values()))
    return check_predictions(headline.design, headline.spec, seed=seed)


def _selecting(plan: Plan) -> list[PlannedModel]:
    return [m for m in plan.models.values() if m.spec.mechanism in WEIGHTED]


def _assumed_weights(plan: Plan) -> "AssumedWeights":
    from reanalysis.exact.selection_sensitivity import assess_sensitivity

    first = _selecting(plan)[0]
    return assess_sensitivity(first.design, first.spec, direction=first.design.direction)


def _ladder(plan: Plan) -> Ladder:
    asked = plan.asked
    return climb(plan.data, asked.models, asked.ladder, rope=asked.rope)


def _watcher(steps: Steps, what: str) -> Watcher:
    return lambda tally: steps.fits(what, tally.done, tally.total)


def _multiverse(plan: Plan, store: Path | None, scheduler: str, watcher: Watcher) -> "Multiverse":
    # Imported here, as below: most runs have none, and Dask takes its time.
    from reanalysis.multiverse import run_multiverse

    asked = plan.asked
    return run_multiverse(
        plan.data,
        next(iter(asked.models.values())),
        asked.multiverse,
        rope=asked.rope,
        store=store and store / f"universes-{release_key()}.jsonl",
        scheduler=scheduler,
        watcher=watcher,
    )


def _calibration(
    plan: Plan, seed: int, store: Path | None, scheduler: str, watcher: Watcher
) -> "Calibration":
    from reanalysis.calibration import calibrate

    assert plan.asked.calibration is not None
    headline = next(iter(plan.models.values()))
    return calibrate(
        headline.design,
        headline.spec,
        replicates=plan.asked.calibration.replicates,
        frequentist=MOST_BY_REML,
        seed=seed,
        store=store and store / f"replicates-{release_key()}.jsonl",
        scheduler=scheduler,
        watcher=watcher,
    )


def _present(value: Any) -> Any:
    """Drop what was not computed from every record."""
    if isinstance(value, Mapping):
        return {
            key: _present(part)
            for key, part in value.items()
            if part is not None and part == part  # NaN differs from itself
        }
    return [_present(part) for part in value] if isinstance(value, (list, tuple)) else value
