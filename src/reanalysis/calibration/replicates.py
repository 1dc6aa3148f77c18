"""One batch of simulated data sets: fitted, and set beside the truth they came from."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reanalysis.calibration.simulate import simulate
from reanalysis.design import Design
from reanalysis.exact.batch import BatchFit, fit_batch
from reanalysis.frequentist import fit_reml
from reanalysis.frequentist.robust import robust_fit
from reanalysis.frequentist.wald import coefficient_tests
from reanalysis.frequentist.working import fitted_likelihood
from reanalysis.results import EngineError
from reanalysis.spec import ModelSpec

__all__ = ["BAYES", "METHODS", "Replicates", "fit_replicates"]

Vector = NDArray[np.float64]

BAYES = "Bayes, exact"
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
    """

    design: Design
    spec: ModelSpec
    assumed: tuple[Design, ModelSpec]
    count: int
    frequentist: int
    seed: int
    batch: int
    fixed: Mapping[str, float]


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
    intervals = {BAYES: {name: _pairs(bayes, name) for name in design.coefficients}}
    for i in range(min(job.frequentist, job.count)):
        for method, name, ends in _frequentist(design, spec, simulated.Y[i]):
            intervals.setdefault(method, {}).setdefault(name, []).append(ends)
    return {
        "truth": {name: column.tolist() for name, column in truth.items()},
        "below": {
            str(name): [None if np.isnan(v) else v for v in column]
            for name, column in bayes.below.items()
        },
        "intervals": intervals,
    }


def _pairs(bayes: BatchFit, name: str) -> list[list[float | None]]:
    ends = zip(bayes.lower[name].tolist(), bayes.upper[name].tolist(), strict=True)
    return [[None, None] if np.isnan(low) else [low, high] for low, high in ends]


def _frequentist(
    design: Design, spec: ModelSpec, y: Vector
) -> list[tuple[str, str, list[float | None]]]:
    """Return method, coefficient and interval of one data set."""
    methods = [m for m in METHODS if m != "Knapp-Hartung" or design.k == design.m]
    data = replace(design, yi=y.copy())
    try:
        fit = fit_reml(data, spec, details=False)
        work, likelihood, tau2 = fitted_likelihood(data, spec, fit)
        rss = likelihood.at(tau2).rss
        tests = coefficient_tests(work, fit.coef, fit.vcov, rss)
        robust = robust_fit(work, likelihood, tau2, "CR2").tests
    except EngineError:
        return [(m, name, [None, None]) for m in methods for name in design.coefficients]
    return [
        (str(method), str(name), [float(lower), float(upper)])
        for table in (tests, robust)
        for method, name, lower, upper in zip(
            *(table[column] for column in ("test", "parameter", "lower", "upper")), strict=True
        )
        if method in methods
    ]
