"""Speed of the batched exact engine and of NUTS over many data sets; what calibration shows.

Run with ``python benchmarks/calibration.py``, all at the design of the first case. Fits per second
are of CPU time. What needs two free cores, the throughput of two workers against one, comes last.
"""

import os
import time
from dataclasses import replace

import numpy as np

from reanalysis.calibration import calibrate, simulate
from reanalysis.exact.batch import fit_batch
from reanalysis.plan import PlannedModel, plan
from reanalysis.spread import WORKER_ENVIRONMENT, spread

FITS = 2048
NUTS_FITS = 300
WORKER_FITS, PER_TASK = 100_000, 500


def speed(name: str, planned: PlannedModel) -> None:
    """Print fits per second and core of the batched engine, each with its interval of the mean."""
    design, spec = planned.design, planned.spec
    simulated = simulate(design, spec, FITS, np.random.default_rng(1))
    truth = {str(key): column.to_numpy() for key, column in simulated.truth.items()}
    rates = []
    for _ in range(5):
        began = time.process_time()
        fit = fit_batch(design, spec, simulated.Y, at=truth, intervals=("mu",))
        rates.append(FITS / (time.process_time() - began))
    print(
        f"{name}: {np.median(rates):,.0f} fits/s per core (target: at least 1,500), "
        f"{fit.settled.mean():.1%} settled"
    )


def coverage(name: str, planned: PlannedModel) -> None:
    """Print how often each interval holds the truth, and whether ranks are uniform."""
    result = calibrate(planned.design, planned.spec, replicates=1000, frequentist=200)
    table = result.coverage.set_index("method")
    bayes = table.loc["Bayes, exact", "coverage"]
    p = result.uniformity["p_holm"].min()
    print(
        f"{name}: Bayesian interval holds the truth in {100 * bayes:.1f} % of 1,000 data sets "
        f"(target: 93 to 97 %), smallest p of uniformity {p:.3f}; in the first 200, "
        + ", ".join(f"{m} {100 * c:.1f} %" for m, c in table["coverage"].items() if m[0] != "B")
    )


def broken(planned: PlannedModel) -> None:
    """Print whether a variance that is taken for a standard deviation is noticed."""
    design, spec = planned.design, planned.spec
    wrong = replace(design, vi=np.sqrt(design.vi))
    for engine, replicates in (("exact", 200), ("nuts", 50)):
        result = calibrate(
            design,
            spec,
            engine=engine,  # type: ignore[arg-type]
            replicates=replicates,
            frequentist=0,
            assumed=(wrong, spec),
        )
        p = result.uniformity["p_holm"].min()
        shown = f"p = {p:.1e}" if p > 1e-12 else "p < 1e-12"
        print(f"broken likelihood, {engine}, {replicates} data sets: {shown} (target: below .001)")


def sampled(name: str, planned: PlannedModel) -> None:
    """Print how long NUTS takes for many data sets through one compiled model."""
    began, wall = time.process_time(), time.perf_counter()
    result = calibrate(
        planned.design, planned.spec, engine="nuts", replicates=NUTS_FITS, frequentist=0
    )
    seconds, wall = time.process_time() - began, time.perf_counter() - wall
    p = result.uniformity["p_holm"].min()
    print(
        f"{name}, NUTS: {result.replicates} data sets in {seconds:.0f} s of CPU time, {wall:.0f} s "
        f"of wall time, compiling included (target: 120 s); smallest p of uniformity {p:.3f}"
    )


def fit_some(job: tuple[PlannedModel, int]) -> dict[str, float]:
    """Simulate and fit, for a worker."""
    planned, seed = job
    rng = np.random.default_rng(seed)
    Y = simulate(planned.design, planned.spec, PER_TASK, rng).Y
    fit = fit_batch(planned.design, planned.spec, Y, intervals=("mu",))
    return {"settled": float(fit.settled.mean())}


def workers(planned: PlannedModel) -> None:
    """Print the throughput of two Dask workers against that of one, both warm."""
    import dask
    from distributed import Client, LocalCluster

    jobs = {str(i): (planned, i) for i in range(WORKER_FITS // PER_TASK)}
    rates = {}
    for count in (1, 2):
        with (
            dask.config.set({"distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT}),
            LocalCluster(
                n_workers=count, threads_per_worker=1, dashboard_address=":0", protocol="tcp://"
            ) as cluster,
        ):
            with Client(cluster) as client:
                client.run(fit_some, (planned, 0))
            began = time.perf_counter()
            spread(fit_some, jobs, scheduler=cluster.scheduler_address, seconds=0.06)
            rates[count] = WORKER_FITS / (time.perf_counter() - began)
    print(
        f"Dask: {rates[1]:,.0f} fits/s with one worker, {rates[2]:,.0f} with two: "
        f"{rates[2] / rates[1]:.2f} times (target: at least 1.6, with two free cores)"
    )


def main() -> None:
    planned = plan("kaiser2021").models
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} before the start")
    for name in ("two_level", "three_level"):
        speed(name, planned[name])
        coverage(name, planned[name])
    broken(planned["three_level"])
    sampled("three_level", planned["three_level"])
    workers(planned["three_level"])


if __name__ == "__main__":
    main()
