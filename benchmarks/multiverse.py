"""Speed of 1,000 universes of the first case, normal models and selection mechanisms.

Run with ``python benchmarks/multiverse.py``. The decisions are those of the case itself, as many
of their combinations as make a thousand different fits. Wall time needs a quiet machine; CPU time
in this process is printed beside it.
"""

import os
import time
from collections.abc import Sequence

from reanalysis.multiverse import run_multiverse
from reanalysis.plan import Plan, plan
from reanalysis.spec import Axis, Option

ESTIMAND = Axis(
    name="estimand",
    options=(Option("mean effects"), Option("as printed", {"estimand": "composite"})),
)
LEFT_OUT = Axis(name="left_out", leave_out="sample")
NORMAL = (
    ESTIMAND,
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
    LEFT_OUT,
)
STEPS = ((0.025,), (0.05,), (0.5,), (0.025, 0.05), (0.025, 0.5), (0.05, 0.5))
SELECTION = (
    ESTIMAND,
    Axis(
        name="mechanism",
        options=tuple(
            Option(f"{mechanism} {steps}", {"mechanism": mechanism, "steps": steps})
            for mechanism in ("joint", "replace", "study")
            for steps in STEPS
        )
        + tuple(Option(mechanism, {"mechanism": mechanism}) for mechanism in ("pet", "peese")),
    ),
    LEFT_OUT,
)
COUNT = 1000
TARGETS = {"normal models": (NORMAL, 5.0), "selection mechanisms": (SELECTION, 120.0)}


def measure(planned: Plan, axes: Sequence[Axis], scheduler: str) -> tuple[int, int, float, float]:
    """Return universes, failures, wall and CPU seconds."""
    model = planned.asked.models["three_level"]
    wall, cpu = time.perf_counter(), time.process_time()
    result = run_multiverse(planned.data, model, axes, scheduler=scheduler)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return len(result.universes), result.failed, wall, cpu


def main() -> None:
    """Print one line per kind of model and scheduler, with the target beside it."""
    planned = plan("kaiser2021")
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load average {load:.1f} before the start")
    for name, (axes, target) in TARGETS.items():
        for scheduler in ("here", "auto"):
            count, failed, wall, cpu = measure(planned, axes, scheduler)
            print(
                f"{name}, {scheduler}: {count} universes, {failed} failed: {wall:.1f} s, "
                f"{wall / count * COUNT:.1f} s per 1,000 (target on 2 cores: {target:.0f} s); "
                f"{cpu / count * COUNT:.1f} s of CPU time in this process"
            )


if __name__ == "__main__":
    main()
