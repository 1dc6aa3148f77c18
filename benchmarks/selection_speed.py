"""CPU time of the exact selection engine, printed next to its targets.

Made-up tables of the size of a small meta-analysis: 25 samples with one effect each for the model
average, 25 samples with 51 effects for the three-level posterior. Times exclude importing.

    python benchmarks/selection_speed.py
"""

import time
from collections.abc import Callable

import numpy as np

from reanalysis.design import Design
from reanalysis.exact.average import average_models
from reanalysis.exact.selection import fit_exact_selection
from reanalysis.priors import Prior
from reanalysis.spec import ModelSpec

MU = Prior("normal", {"mu": 0.0, "sigma": 0.5})
TAU = Prior("half_normal", {"sigma": 0.25})
SHARE = Prior("beta", {"alpha": 1.0, "beta": 1.0})


def table(effects: int, seed: int = 1) -> Design:
    rng = np.random.default_rng(seed)
    sizes = np.ones(25, dtype=int)
    while sizes.sum() < effects:
        sizes[rng.integers(25)] += 1
    cluster = np.repeat(np.arange(25), sizes)
    vi = np.repeat(1 / rng.integers(12, 155, 25), sizes)
    u = rng.normal(0, 0.1, 25)[cluster]
    yi = 0.2 + u + rng.normal(0, np.sqrt(vi + 0.01))
    names = tuple(map(str, range(25)))
    return Design(
        yi,
        vi,
        np.ones((effects, 1)),
        ("mu",),
        cluster,
        names,
        tuple(map(str, range(effects))),
        "ZCOR",
        levels=3 if effects > 25 else 2,
    )


def seconds(run: Callable[[], object]) -> float:
    run()
    start = time.process_time()
    run()
    return time.process_time() - start


def main() -> None:
    small, large = table(25), table(51)
    two_level = ModelSpec(name="two_level", priors={"mu": MU, "tau_between": TAU})
    took = seconds(lambda: average_models(small, two_level))
    print(f"36-model average, 25 effects: {took:.2f} CPU s (target 2)")
    for steps in ((0.025,), (0.025, 0.5)):
        for mechanism in ("joint", "study", "replace"):
            spec = ModelSpec(
                name="three_level",
                mechanism=mechanism,
                steps=steps,
                priors={"mu": MU, "tau": TAU, "between_share": SHARE},
            )
            took = seconds(lambda spec=spec: fit_exact_selection(large, spec))
            target = " (target 0.3)" if mechanism == "joint" else ""
            print(f"{mechanism}, steps {steps}, 25 samples, 51 effects: {took:.2f} CPU s{target}")


if __name__ == "__main__":
    main()
