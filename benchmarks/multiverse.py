"""Speed of 1 000 normal universes of the first case, in this process and on a local cluster.

Run with ``python benchmarks/multiverse.py``.
"""

import time

from reanalysis.multiverse import run_multiverse
from reanalysis.plan import plan
from reanalysis.spec import Axis, Option

AXES = (
    Axis(
        name="estimand",
        options=(Option("mean effects"), Option("as printed", {"estimand": "composite"})),
    ),
    Axis(
        name="rho",
        options=tuple(
            Option(str(rho), {"sampling_correlation": rho}) for rho in (0.0, 0.3, 0.5, 0.7, 0.9)
        ),
    ),
    Axis(name="levels", options=(Option("three"), Option("two", {"levels": 2}))),
    Axis(
        name="priors",
        options=(
            Option("stated"),
            Option("wide", {"priors": {"mu": {"family": "normal", "sigma": 1.0}}}),
        ),
    ),
    Axis(name="left_out", leave_out="sample"),
)


def main() -> None:
    planned = plan("kaiser2021")
    model = planned.asked.models["three_level"]
    for scheduler in ("here", "local"):
        wall, cpu = time.perf_counter(), time.process_time()
        result = run_multiverse(planned.data, model, AXES, scheduler=scheduler)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(
            f"{scheduler}: {len(result.universes)} universes, {result.failed} failed: "
            f"{wall:.1f} s ({cpu:.1f} s of CPU time in this process)"
        )


if __name__ == "__main__":
    main()
