"""CPU time of the engines of selection models, and errors of the average, beside their targets.

Made-up tables of the size of a small meta-analysis: 25 samples with one effect each for the model
average, 25 samples with 51 effects for the three-level posterior. Times exclude importing. NUTS is
fitted twice in a process of its own, with an empty compilation folder. Errors of Bayes factors are
those against the reference ensembles of the tests.

    python benchmarks/selection_speed.py
"""

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

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


ROBMA = {
    "mu": MU,
    "tau_between": Prior("inverse_gamma", {"alpha": 1.0, "beta": 0.075}),
}
REFERENCE = Path(__file__).parents[1] / "tests" / "reference"
NUTS = """
import time
import selection_speed as benchmark
from reanalysis.nuts import fit_nuts
spec = benchmark.three_level("joint", (0.025, 0.5))
for _ in range(2):
    start = time.process_time()
    fit = fit_nuts(benchmark.table(51), spec, seed=1)
    print(time.process_time() - start, fit.diagnostics.passed)
"""


def three_level(mechanism: str, steps: tuple[float, ...]) -> ModelSpec:
    return ModelSpec(
        name="three_level",
        mechanism=mechanism,
        steps=steps,
        priors={"mu": MU, "tau": TAU, "between_share": SHARE},
    )


def bayes_factor_errors(name: str) -> dict[str, float]:
    """Return relative errors of the inclusion Bayes factors of a published table."""
    reference = json.loads((REFERENCE / f"exact_psma_{name}.json").read_text())
    with (REFERENCE / "data" / f"{name}.csv").open() as file:
        rows = list(csv.DictReader(file))
    k, names = len(rows), tuple(map(str, range(len(rows))))
    yi, vi, ni = (np.array([float(row[c]) for row in rows]) for c in ("yi", "vi", "ni"))
    design = Design(
        yi, vi, np.ones((k, 1)), ("mu",), np.arange(k), names, names, "ZCOR", levels=2, ni=ni
    )
    found = average_models(design, ModelSpec(name="robma", priors=ROBMA), p_values="t").inclusion
    return {
        name: found.loc[name, "bayes_factor"] / reference[f"BF_{name}"] - 1
        for name in ("effect", "heterogeneity", "bias")
    }


def sampled() -> list[tuple[float, bool]]:
    """Return CPU seconds of two fits by NUTS, the first with compilation, and if they converged."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTENSOR_FLAGS": f"base_compiledir={folder}"}
        environment["PYTHONPATH"] = str(Path(__file__).parent)
        lines = subprocess.run(
            [sys.executable, "-c", NUTS],
            check=True,
            capture_output=True,
            text=True,
            env=environment,
        ).stdout.splitlines()
    return [(float(line.split()[0]), line.endswith("True")) for line in lines]


def seconds(run: Callable[[], object]) -> float:
    run()
    took = []
    for _ in range(3):
        start = time.process_time()
        run()
        took.append(time.process_time() - start)
    return min(took)


def main() -> None:
    small, large = table(25), table(51)
    two_level = ModelSpec(name="two_level", priors={"mu": MU, "tau_between": TAU})
    took = seconds(lambda: average_models(small, two_level))
    print(f"36-model average, 25 effects: {took:.2f} CPU s (target 2)")
    for name in ("kaiser2021", "molloy2014"):
        errors = ", ".join(f"{k} {v:+.3%}" for k, v in bayes_factor_errors(name).items())
        print(f"errors of inclusion Bayes factors, {name}: {errors} (target 1 %)")
    for steps in ((0.025,), (0.025, 0.5)):
        for mechanism in ("joint", "study", "replace"):
            spec = three_level(mechanism, steps)
            took = seconds(lambda spec=spec: fit_exact_selection(large, spec))
            target = " (target 0.3)" if mechanism == "joint" else ""
            print(f"{mechanism}, steps {steps}, 25 samples, 51 effects: {took:.2f} CPU s{target}")
    for (took, passed), when in zip(
        sampled(), ("with compilation (target 40)", "compiled"), strict=True
    ):
        gate = "passed" if passed else "failed"
        print(f"joint by NUTS, 4 chains, {when}: {took:.1f} CPU s, gate {gate}")


if __name__ == "__main__":
    main()
