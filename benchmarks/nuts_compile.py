"""CPU seconds to compile each form of the NUTS model: for the first time, from disk, and by nutpie.

Run as ``python benchmarks/nuts_compile.py``. Each measurement is a process of its own; "first"
starts with an empty compilation folder, which the other two then share.
"""

import os
import subprocess
import sys
import tempfile

MEASURE = """
import sys, time
import numpy as np
import nutpie
from reanalysis.builders import build_model, model_data
from reanalysis.builders.compiled import compile_model
from reanalysis.design import Design
from reanalysis.priors import Prior
from reanalysis.spec import ModelSpec

form, by = sys.argv[1:]
levels = 2 if form == "two levels" else 3
p = int(form.split()[0]) if "coefficients" in form else 1
rng = np.random.default_rng(1)
k = 51
names = ("mu",) if p == 1 else tuple(f"beta[{i}]" for i in range(p))
design = Design(
    yi=rng.normal(0.2, 0.2, k),
    vi=rng.uniform(0.005, 0.03, k),
    X=np.column_stack([np.ones(k), rng.normal(size=(k, p - 1))]),
    coefficients=names,
    cluster=np.arange(k) // 2,
    cluster_names=tuple(str(j) for j in range(26)),
    row_names=tuple(str(i) for i in range(k)),
    levels=levels,
)
priors = dict.fromkeys(names, Prior("normal", {"sigma": 0.5}))
priors |= dict.fromkeys(("tau_between", "tau_within"), Prior("half_normal", {"sigma": 0.3}))
if "unknown" in form:
    priors["sampling_correlation"] = Prior("beta", {"alpha": 7, "beta": 3})
spec = ModelSpec("benchmark", sampling_correlation=priors.get("sampling_correlation", 0.0))
start = time.process_time()
model = build_model(design, spec, priors)
if by == "nutpie":
    nutpie.compile_pymc_model(model, backend="numba", var_names=["tau_between"])
    evaluation = float("nan")
else:
    compiled = compile_model(model, ["tau_between"])
seconds = time.process_time() - start
if by != "nutpie":
    data, x = compiled.arguments(model_data(design, spec, priors)), np.zeros(compiled.size)
    start = time.process_time()
    for _ in range(5000):
        compiled.logp_and_gradient(x, *data)
    evaluation = (time.process_time() - start) / 5000 * 1e6
print(seconds, evaluation)
"""
FORMS = ("two levels", "three levels", "three levels, unknown correlation", "8 coefficients")


def measure(form: str, by: str, folder: str) -> tuple[float, float]:
    """Return CPU seconds of compilation and microseconds of one gradient, in a new process."""
    environment = {**os.environ, "PYTENSOR_FLAGS": f"base_compiledir={folder}"}
    command = [sys.executable, "-c", MEASURE, form, by]
    result = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    seconds, evaluation = (float(word) for word in result.stdout.split())
    return seconds, evaluation


def main() -> None:
    """Print one line for each form."""
    print(f"{'':36}{'first':>9}{'from disk':>11}{'by nutpie':>11}{'gradient':>12}")
    for form in FORMS:
        with tempfile.TemporaryDirectory() as folder:
            first, _ = measure(form, "reanalysis", folder)
            disk, gradient = measure(form, "reanalysis", folder)
            theirs, _ = measure(form, "nutpie", folder)
        print(f"{form:36}{first:7.1f} s{disk:9.1f} s{theirs:9.1f} s{gradient:9.1f} µs", flush=True)


if __name__ == "__main__":
    main()
