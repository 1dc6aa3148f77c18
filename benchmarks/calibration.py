"""Speed of the batched exact engine, and coverage at the design of the first case.

Run with ``python benchmarks/calibration.py``; prints fits per second of CPU time.
"""

import time

import numpy as np

from reanalysis.calibration import calibrate, simulate
from reanalysis.exact.batch import fit_batch
from reanalysis.plan import plan

FITS = 2048


def main() -> None:
    planned = plan("kaiser2021")
    for name in ("two_level", "three_level"):
        entry = planned.models[name]
        simulated = simulate(entry.design, entry.spec, FITS, np.random.default_rng(1))
        truth = {str(key): column.to_numpy() for key, column in simulated.truth.items()}
        began = time.process_time()
        fit = fit_batch(entry.design, entry.spec, simulated.Y, at=truth, intervals=("mu",))
        seconds = time.process_time() - began
        print(f"{name}: {FITS / seconds:,.0f} fits/s per core, {fit.settled.mean():.1%} settled")
        result = calibrate(entry.design, entry.spec, replicates=1000, frequentist=200)
        print(result.uniformity.to_string(index=False))
        print(result.coverage.to_string(index=False))


if __name__ == "__main__":
    main()
