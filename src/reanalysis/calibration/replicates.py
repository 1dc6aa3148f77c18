"""One batch of simulated data sets: fitted, and set beside the truth they came from."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from reanalysis.calibration.curves import locate_by_curves
from reanalysis.calibration.simulate import simulate, simulate_each
from reanalysis.design import Design, resolve_priors
from reanalysis.exact.batch import BatchFit, fit_batch
from reanalysis.exact.selection_calibration import Located, locate_truth
from reanalysis.frequentist import fit_reml
from reanalysis.frequentist.robust import robust_fit
from reanalysis.frequentist.wald import coefficient_tests
from reanalysis.frequentist.working import fitted_likelihood
from reanalysis.moderators import COMMON_SCALE
from reanalysis.results import EngineError
from reanalysis.spec import ModelSpec

__all__ = ["BAYES", "METHODS", "Engine", "Replicates", "fit_replicates"]

Engine = Literal["exact", "nuts"]
Ends = list[float | None]
Intervals = dict[str, dict[str, list[Ends]]]  # by method and coefficient

BAYES: Mapping[Engine, str] = {"exact": "Bayes, exact", "nuts": "Bayes, NUTS"}
REML_MECHANISMS = ("none", "pet", "peese")
METHODS = ("Wald z", "t(containment)", "Knapp-Hartung", "CR2")
DRAWS = 199  # posterior draws for the rank of the log-likelihood


@dataclass(frozen=True, eq=False)
class Replicates:
    """A batch of simulated data sets to be fitted.

    Attributes
    ----------
    design, spec : Design, ModelSpec
        What the data are simulated from.
    assumed : tuple of Design and ModelSpec
        What the engines are told.
    count, frequentist : int
        Number of data sets, and how many of them REML fits as well.
    seed, batch : int
        Seed of the run and number of this batch; together they fix the data.
    fixed : mapping of str to float
        Parameters that are not drawn from their priors.
    engine : str
        What gives the posterior.
    """

    design: Design
    spec: ModelSpec
    assumed: tuple[Design, ModelSpec]
    count: int
    frequentist: int
    seed: int
    batch: int
    fixed: Mapping[str, float]
    engine: Engine = "exact"

    @property
    def at_once(self) -> bool:
        """Whether the data sets are simulated and fitted together."""
        pairs = ((self.design, self.spec), self.assumed)
        return self.engine == "exact" and all(_plain(*pair) for pair in pairs)


def _plain(design: Design, spec: ModelSpec) -> bool:
    """Return whether the batched engine has a method for a model."""
    unusual = spec.mechanism != "none" or spec.effects != "normal" or design.scale is not None
    return not unusual and COMMON_SCALE not in resolve_priors(design, spec)


def fit_replicates(job: Replicates) -> dict[str, Any]:
    """Simulate and fit a batch.

    Parameters
    ----------
    job : Replicates
        The batch.

    Returns
    -------
    dict
        For JSON: ``truth``, ``below`` and ``intervals`` by name, each a list over data sets;
        an interval that could not be computed is ``[None, None]``.
    """
    rng = np.random.default_rng(np.random.SeedSequence(job.seed, spawn_key=(job.batch,)))
    return _together(job, rng) if job.at_once else _one_by_one(job, rng)


def _together(job: Replicates, rng: np.random.Generator) -> dict[str, Any]:
    simulated = simulate(job.design, job.spec, job.count, rng, fixed=job.fixed)
    design, spec = job.assumed
    truth = {str(name): column.to_numpy() for name, column in simulated.truth.items()}
    bayes = fit_batch(
        design,
        spec,
        simulated.Y,
        at=truth,
        intervals=design.coefficients,
        draws=DRAWS,
        rng=rng,
    )
    intervals: Intervals = {
        BAYES["exact"]: {name: _pairs(bayes, name) for name in design.coefficients}
    }
    for yi in simulated.Y[: job.frequentist]:
        _add_frequentist(intervals, replace(design, yi=yi.copy()), spec)
    return {
        "truth": {name: column.tolist() for name, column in truth.items()},
        "below": {
            str(name): [None if np.isnan(v) else v for v in column]
            for name, column in bayes.below.items()
        },
        "intervals": intervals,
    }


def _pairs(bayes: BatchFit, name: str) -> list[Ends]:
    ends = zip(bayes.lower[name].tolist(), bayes.upper[name].tolist(), strict=True)
    return [[None, None] if np.isnan(low) else [low, high] for low, high in ends]


def _one_by_one(job: Replicates, rng: np.random.Generator) -> dict[str, Any]:
    design, spec = job.assumed
    truths: list[dict[str, float]] = []
    below: list[Mapping[str, float]] = []
    intervals: Intervals = {}
    data_sets = simulate_each(job.design, job.spec, job.count, rng, fixed=job.fixed)
    for i, (truth, published) in enumerate(data_sets):
        data = published if design is job.design else replace(design, yi=published.yi)
        # The seed depends on the data set alone, not on what the fits of others drew.
        seed = int(np.random.SeedSequence((job.seed, job.batch, i)).generate_state(1)[0])
        truths.append(truth)
        try:
            found = _locate(job.engine, truth, data, spec, seed)
        except EngineError:
            found = Located({}, {})
        below.append(found.below)
        by_name = intervals.setdefault(BAYES[job.engine], {})
        for name in data.coefficients:
            by_name.setdefault(name, []).append(list(found.intervals.get(name, (None, None))))
        if i < job.frequentist:
            _add_frequentist(intervals, data, spec)
    quantities = dict.fromkeys(name for row in below for name in row)
    return {
        "truth": {name: [truth[name] for truth in truths] for name in truths[0]},
        "below": {name: [row.get(name) for row in below] for name in quantities},
        "intervals": intervals,
    }


def _locate(
    engine: Engine, truth: Mapping[str, float], data: Design, spec: ModelSpec, seed: int
) -> Located:
    if engine == "exact" and spec.mechanism == "none":
        return locate_by_curves(truth, data, spec)
    if engine == "exact":
        return locate_truth(truth, data, spec, resolve_priors(data, spec), seed=seed)
    # Imported here: PyMC and nutpie take seconds, and the exact engine does not need them.
    from reanalysis.calibration.sampled import locate_by_nuts

    return locate_by_nuts(truth, data, spec, seed=seed)


def _add_frequentist(intervals: Intervals, data: Design, spec: ModelSpec) -> None:
    """Add what REML says of one data set, as if all samples were alike and nothing selected."""
    data = replace(data, scale=None, scale_variable=None)
    methods = [m for m in METHODS if m != "Knapp-Hartung" or data.k == data.m]
    mechanism = spec.mechanism if spec.mechanism in REML_MECHANISMS else "none"
    model = replace(spec, mechanism=mechanism, effects="normal", scale_moderator="")
    ends: dict[tuple[str, str], Ends] = {
        (method, name): [None, None] for method in methods for name in data.coefficients
    }
    try:
        fit = fit_reml(data, model, details=False)
        work, likelihood, tau2 = fitted_likelihood(data, model, fit)
        tests = coefficient_tests(work, fit.coef, fit.vcov, likelihood.at(tau2).rss)
        robust = robust_fit(work, likelihood, tau2, "CR2").tests
    except EngineError:
        pass  # the intervals stay absent, and the table counts them as failed
    else:
        for table in (tests, robust):
            for row in table.to_dict(orient="records"):
                if (row["test"], row["parameter"]) in ends:
                    ends[row["test"], row["parameter"]] = [float(row["lower"]), float(row["upper"])]
    for (method, name), pair in ends.items():
        intervals.setdefault(method, {}).setdefault(name, []).append(pair)
