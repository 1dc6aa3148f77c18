"""Whether the engines are right at the user's own design: calibration, coverage and width.

Parameters are drawn from the priors and data from the model; then the posterior probability below
the true value of each parameter is uniform (Talts et al. 2018, arXiv:1804.06788), and so is that of
the log-likelihood, which depends on the data and sees faults that single parameters hide (Modrák
et al. 2023, Bayesian Analysis). The same data sets tell how often each interval holds the truth.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from reanalysis.calibration.replicates import (
    BAYES,
    METHODS,
    Engine,
    Replicates,
    fit_replicates,
)
from reanalysis.calibration.simulate import Simulation, simulate, simulate_each, simulate_given
from reanalysis.calibration.uniformity import points, uniform_band, uniform_p
from reanalysis.design import Design
from reanalysis.results import EngineError
from reanalysis.spec import ModelSpec
from reanalysis.spread import Watcher, spread

__all__ = [
    "BAYES",
    "METHODS",
    "Calibration",
    "Engine",
    "Simulation",
    "calibrate",
    "points",
    "simulate",
    "simulate_given",
    "uniform_band",
    "uniform_p",
]

BATCH, BATCH_ALONE = 100, 5  # data sets that are fitted together, or one by one, in one job
SECONDS, SECONDS_ALONE = 0.005, 0.5  # of one data set, about


@dataclass(frozen=True, eq=False)
class Calibration:
    """How well the intervals of a model keep what they promise, at one design.

    Attributes
    ----------
    model : str
        Name of the model.
    engine, mechanism : str
        What gave the posterior, and the model's selection mechanism.
    k, m : int
        Effects and samples of the design.
    replicates, seed : int
        Number of simulated data sets, and the seed that they follow from.
    fixed : mapping of str to float
        Parameters held at one value; the others came from their priors.
    below : pandas.DataFrame of shape (replicates, quantities)
        Posterior probability below the truth, uniform for a right posterior if no parameter was
        fixed; NaN where the engine did not settle.
    uniformity : pandas.DataFrame
        One row per quantity: ``quantity``, ``mean``, ``p`` of uniformity, and ``p_holm`` for all
        quantities together; empty if a parameter was fixed.
    coverage : pandas.DataFrame
        One row per coefficient and method: ``parameter``, ``method``, ``coverage`` of the 95 %
        interval with its Monte-Carlo standard error ``mcse``, mean and median ``width``,
        ``replicates``, and ``failed`` fits, which are left out; no row for a method that gave no
        interval at all.
    """

    model: str
    engine: Engine
    mechanism: str
    k: int
    m: int
    replicates: int
    seed: int
    fixed: Mapping[str, float]
    below: pd.DataFrame
    uniformity: pd.DataFrame
    coverage: pd.DataFrame

    def document(self) -> dict[str, Any]:
        """Return everything but the single replicates, for JSON."""
        return {
            "model": self.model,
            "engine": self.engine,
            "mechanism": self.mechanism,
            "k": self.k,
            "m": self.m,
            "replicates": self.replicates,
            "seed": self.seed,
            "fixed": dict(self.fixed),
            "uniformity": self.uniformity.to_dict(orient="records"),
            "coverage": self.coverage.to_dict(orient="records"),
            "ecdf": {
                str(name): ecdf(column.dropna().to_numpy()).tolist()
                for name, column in self.below.items()
            },
        }

    def _repr_html_(self) -> str:
        return self.coverage._repr_html_()  # type: ignore[operator]


def calibrate(
    design: Design,
    spec: ModelSpec,
    *,
    engine: Engine = "exact",
    replicates: int = 1000,
    frequentist: int | None = None,
    seed: int = 2021,
    fixed: Mapping[str, float] | None = None,
    assumed: tuple[Design, ModelSpec] | None = None,
    store: Path | None = None,
    scheduler: str = "here",
    watcher: Watcher | None = None,
) -> Calibration:
    """Simulate at a design, fit, and see how often the truth is where it is said to be.

    Parameters
    ----------
    design : Design
        The design; its `yi` is not used.
    spec : ModelSpec
        The model, with any mechanism.
    engine : str
        ``exact``, or ``nuts``: through one compiled model, about half a second for a data set.
    replicates : int
        Number of data sets.
    frequentist : int, optional
        How many of them REML fits as well; all by default.
    seed : int
        Seed of everything.
    fixed : mapping of str to float, optional
        Parameters that are not drawn from their priors; for coverage at one truth.
    assumed : tuple of Design and ModelSpec, optional
        What the engines are told, if not what the data come from: to see what a wrong model does.
        Under ``thin``, which loses rows, only the model may differ.
    store, scheduler, watcher
        As in `reanalysis.spread.spread`.

    Returns
    -------
    Calibration
        Calibration, coverage and width.

    Raises
    ------
    EngineError
        If the model cannot be simulated, or hardly any data set could be fitted.
    ValueError
        If `fixed` names a parameter that the model does not have, or there are too few replicates.
    """
    if replicates < 2:
        raise ValueError(f"replicates must be at least 2, not {replicates}")
    fixed = dict(fixed or {})
    told = assumed or (design, spec)
    whole = Replicates(design, spec, told, replicates, 0, seed, 0, fixed, engine)
    batch, each = (BATCH, SECONDS) if whole.at_once else (BATCH_ALONE, SECONDS_ALONE)
    next(simulate_each(design, spec, 1, np.random.default_rng(seed), fixed=fixed))  # names faults
    with_reml = replicates if frequentist is None else min(frequentist, replicates)
    jobs = {}
    for start in range(0, replicates, batch):
        job = replace(
            whole,
            count=min(batch, replicates - start),
            frequentist=max(0, min(batch, with_reml - start)),
            batch=start // batch,
        )
        jobs[_key(job)] = job
    found = spread(
        fit_replicates,
        jobs,
        store=store,
        scheduler=scheduler,
        seconds=batch * each,
        watcher=watcher,
    )
    records = [record for record in found.values() if "error" not in record]
    truth, below = (
        pd.concat([pd.DataFrame(r[part], dtype=float) for r in records], ignore_index=True)
        for part in ("truth", "below")
    )
    if below.empty or below.count().min() < 2:
        raise EngineError(f"the {engine} engine fitted fewer than 2 of {replicates} data sets")
    return Calibration(
        model=spec.name,
        engine=engine,
        mechanism=spec.mechanism,
        k=design.k,
        m=design.m,
        replicates=len(below),
        seed=seed,
        fixed=MappingProxyType(fixed),
        below=below,
        uniformity=_uniformity(below) if not fixed else pd.DataFrame(),
        coverage=_coverage(records, truth),
    )


def ecdf(values: np.ndarray) -> np.ndarray:
    """Return the share of values at or below each of `points`.

    Parameters
    ----------
    values : numpy.ndarray of shape (n,)
        Numbers in (0, 1).

    Returns
    -------
    numpy.ndarray
        Shares.
    """
    at = points(len(values))
    return np.searchsorted(np.sort(values), at, side="right") / len(values)


def _uniformity(below: pd.DataFrame) -> pd.DataFrame:
    columns = {str(name): column.dropna().to_numpy() for name, column in below.items()}
    p = np.array([uniform_p(values) for values in columns.values()])
    order = np.argsort(p)
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    holm = np.empty_like(p)
    holm[order] = np.minimum(steps, 1.0)
    return pd.DataFrame(
        {
            "quantity": list(columns),
            "mean": [float(values.mean()) for values in columns.values()],
            "p": p,
            "p_holm": holm,
            "replicates": [len(values) for values in columns.values()],
        }
    )


def _coverage(records: Sequence[Mapping[str, Any]], truth: pd.DataFrame) -> pd.DataFrame:
    ends: dict[tuple[str, str], list[np.ndarray]] = {}
    start = 0
    for record in records:
        count = len(next(iter(record["truth"].values())))
        for method, by_name in record["intervals"].items():
            for name, pairs in by_name.items():
                values = np.array(pairs, dtype=float).reshape(-1, 2)
                true = truth[name].to_numpy()[start : start + len(values), None]
                ends.setdefault((name, method), []).append(np.hstack([values, true]))
        start += count
    rows = []
    for (name, method), parts in ends.items():
        values = np.vstack(parts)
        good = values[np.isfinite(values).all(axis=1)]
        if not len(good):
            continue
        hit = (good[:, 0] <= good[:, 2]) & (good[:, 2] <= good[:, 1])
        width = good[:, 1] - good[:, 0]
        share = float(hit.mean())
        rows.append(
            {
                "parameter": name,
                "method": method,
                "coverage": share,
                "mcse": float(np.sqrt(share * (1 - share) / len(good))),
                "width": float(width.mean()),
                "width_median": float(np.median(width)),
                "replicates": len(good),
                "failed": len(values) - len(good),
            }
        )
    return pd.DataFrame(rows)


def _key(job: Replicates) -> str:
    """Return a key that stands for the data and the fits of a batch."""
    digest = sha256()
    for design, spec in ((job.design, job.spec), job.assumed):
        for name in ("vi", "X", "cluster", "n_averaged", "n_measured", "V", "scale"):
            array = getattr(design, name)
            digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
        digest.update(repr((design.levels, design.direction, design.coefficients, spec)).encode())
    digest.update(
        repr((job.count, job.frequentist, job.seed, job.batch, job.fixed, job.engine)).encode()
    )
    return digest.hexdigest()[:24]
