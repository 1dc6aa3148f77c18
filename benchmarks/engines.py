"""The exact engine against a compiled NUTS refit, and a whole run from a cold start.

Run with: python benchmarks/engines.py

Prints CPU seconds (user + system, all threads) measured in one run on one machine; the ratios are
what carries over to other machines. "Equal accuracy" favours NUTS here: 4 x 1000 draws leave a
Monte-Carlo error of about 2 % of a posterior standard deviation in the mean, the exact engine
less than 0.01 %.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from reanalysis.design import Design
from reanalysis.exact import fit_exact
from reanalysis.nuts import SamplerSettings, fit_nuts
from reanalysis.priors import Prior
from reanalysis.spec import ModelSpec

SIZES = [1] * 12 + [2] * 6 + [3] * 5 + [6] * 2  # 25 samples, 51 effects
SPEC = ModelSpec(
    name="benchmark",
    priors={
        "mu": Prior("normal", {"sigma": 0.5}),
        "tau_between": Prior("half_normal", {"sigma": 0.3}),
        "tau_within": Prior("half_normal", {"sigma": 0.3}),
    },
)


def make_design(seed: int) -> Design:
    """25 samples with 51 correlations, n from 15 to 158 as in the first case."""
    rng = np.random.default_rng(seed)
    sizes = np.array(SIZES)
    cluster = np.repeat(np.arange(len(sizes)), sizes)
    vi = (1 / (rng.integers(15, 159, len(sizes)) - 3))[cluster]
    k = len(cluster)
    true = 0.2 + rng.normal(0, 0.08, len(sizes))[cluster] + rng.normal(0, 0.05, k)
    return Design(
        yi=true + rng.normal(0, np.sqrt(vi)),
        vi=vi,
        X=np.ones((k, 1)),
        coefficients=("mu",),
        cluster=cluster,
        cluster_names=tuple(f"sample {j}" for j in range(len(sizes))),
        row_names=tuple(f"effect {i}" for i in range(k)),
        measure="ZCOR",
    )


def cpu_seconds(call: Callable[[], object], repeats: int) -> float:
    """Return the median CPU time of one call, after one to warm up."""
    call()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return float(np.median(times))


def command_line(*arguments: str) -> tuple[float, float]:
    """Return CPU and wall seconds of `reanalysis`, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out = ["--out", folder] if arguments[0] == "run" else []
        code = "from reanalysis.cli import main; main()"
        command = [sys.executable, "-c", code, *arguments, *out]
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env={**os.environ})
        wall = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def fastest(*arguments: str, repeats: int = 3) -> tuple[float, float]:
    """Return the least CPU and wall seconds of several runs; other work only adds to them."""
    cpu, wall = zip(*(command_line(*arguments) for _ in range(repeats)), strict=True)
    return min(cpu), min(wall)


def main() -> None:
    """Print the table."""
    design = make_design(1)
    parameters = cpu_seconds(lambda: fit_exact(design, SPEC, detail="parameters"), 200)
    full = cpu_seconds(lambda: fit_exact(design, SPEC), 50)
    settings = SamplerSettings(draws=1000)
    start = time.process_time()
    first = fit_nuts(design, SPEC, settings=settings, seed=1)
    compiled = time.process_time() - start
    refit = cpu_seconds(lambda: fit_nuts(make_design(2), SPEC, settings=settings, seed=1), 5)
    exact = fit_exact(design, SPEC)
    mu, sampled = exact.estimates["mu"], first.estimates["mu"]
    exactly = "--engine", "reml", "--engine", "exact"
    # The headline model; the spec holds more.
    headline = fastest("run", "kaiser2021", "--model", "three_level", *exactly)[0]
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        table.write_text("study,r,n\na,.2,50\nb,.3,40\nc,.1,120\nd,.25,60\ne,.15,80\n")
        bare = fastest("run", str(table), *exactly)[0]
    rows = [
        ("exact, parameters and log marginal likelihood", f"{1e3 * parameters:8.2f} ms", "2 ms"),
        ("exact, with Bayes factors, predictions and effects", f"{1e3 * full:8.2f} ms", ""),
        ("NUTS refit, compiled, 4 x (1000 + 1000)", f"{1e3 * refit:8.0f} ms", ""),
        ("  ratio NUTS refit / exact parameters", f"{refit / parameters:8.0f}", "300"),
        ("NUTS, first fit with compilation", f"{compiled:8.1f} s", ""),
        ("error of the mean, exact (posterior SDs)", f"{mu.numerical_error / mu.sd:8.1e}", ""),
        ("error of the mean, NUTS (posterior SDs)", f"{sampled.numerical_error / mu.sd:8.1e}", ""),
        ("run from a cold start: headline, reml and exact", f"{headline:8.2f} s", "1.5 CPU s"),
        ("  the same for a table of five rows", f"{bare:8.2f} s", "1.5 CPU s"),
        ("--help", f"{fastest('--help', repeats=5)[1]:8.2f} s", "0.3 s wall"),
        (
            "everything: all models and engines",
            f"{command_line('run', 'kaiser2021')[1]:8.1f} s",
            "60 s wall",
        ),
    ]
    for name, value, target in rows:
        print(f"{name:55s} {value:>12s}  {target and 'target ' + target}")


if __name__ == "__main__":
    main()
