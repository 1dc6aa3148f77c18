"""Large tables: time and memory of each engine from 500 to 5,000 effects, five in each sample.

Run with ``python benchmarks/scale.py``. Each fit has a process of its own, so that its peak memory
is its own; times are CPU times of the fit, without imports and without compiling NUTS, which a
first fit of 50 effects does. The slope is that of log time on log k: 1 is linear.
"""

import json
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np

from reanalysis.design import Design
from reanalysis.exact import fit_exact
from reanalysis.frequentist import fit_reml
from reanalysis.spec import ModelSpec

SIZES = (500, 1000, 2500, 5000)
PER_SAMPLE = 5
ENGINES = ("reml", "exact", "nuts")
MEMORY_TARGET = 1.5  # GB
SLOPE_TARGET = 1.1


def literature(k: int) -> Design:
    """Return k simulated effects, five in each sample."""
    rng = np.random.default_rng(1)
    m = k // PER_SAMPLE
    cluster = np.repeat(np.arange(m), PER_SAMPLE)
    vi = np.repeat(1 / rng.integers(20, 200, m), PER_SAMPLE)
    theta = 0.2 + rng.normal(0, 0.12, m)[cluster] + rng.normal(0, 0.08, k)
    return Design(
        yi=theta + rng.normal(0, np.sqrt(vi)),
        vi=vi,
        X=np.ones((k, 1)),
        coefficients=("mu",),
        cluster=cluster,
        cluster_names=tuple(map(str, range(m))),
        row_names=tuple(map(str, range(k))),
        measure="ZCOR",
        levels=3,
    )


def fit(engine: str, design: Design) -> None:
    """Fit the three-level model."""
    spec = ModelSpec("three_level")
    if engine == "reml":
        fit_reml(design, spec)
    elif engine == "exact":
        fit_exact(design, spec)
    else:
        from reanalysis.nuts import fit_nuts

        assert fit_nuts(design, spec).diagnostics.passed  # type: ignore[union-attr]


def measure(engine: str, k: int) -> dict[str, Any]:
    """Return CPU seconds and peak memory in GB of one fit in a process of its own."""
    command = [sys.executable, __file__, engine, str(k)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def alone(engine: str, k: int) -> None:
    """Do one fit and print what it took."""
    fit(engine, literature(50))
    design = literature(k)
    began = time.process_time()
    fit(engine, design)
    seconds = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"seconds": seconds, "gigabytes": peak}))


def main() -> None:
    """Print one line per engine and size, and the slope of each engine."""
    print("engine      k  CPU s    GB")
    for engine in ENGINES:
        found = [measure(engine, k) for k in SIZES]
        for k, one in zip(SIZES, found, strict=True):
            print(f"{engine:6} {k:6,}  {one['seconds']:5.2f}  {one['gigabytes']:4.2f}")
        seconds = [one["seconds"] for one in found]
        slope = np.polyfit(np.log(SIZES), np.log(seconds), 1)[0]
        largest = found[-1]["gigabytes"]
        print(
            f"{engine}: slope {slope:.2f} (target: at most {SLOPE_TARGET}); peak memory at "
            f"{SIZES[-1]:,} effects {largest:.2f} GB (target: below {MEMORY_TARGET})"
        )


if __name__ == "__main__":
    if len(sys.argv) == 3:
        alone(sys.argv[1], int(sys.argv[2]))
    else:
        main()
