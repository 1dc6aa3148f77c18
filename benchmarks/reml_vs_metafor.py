"""Three-level REML here and in metafor's ``rma.mv``, on the same data in one run.

    python benchmarks/reml_vs_metafor.py [--rows 50 300 5000 50000] [--slowest-r 5000]

R with metafor is optional: without it the table has only this package's times and their growth
with the number of rows. A time is the median CPU time of several calls, so that other work on
the machine counts little; set OMP_NUM_THREADS=1 so that threads do not count twice. ``fit`` is
the likelihood search with estimates, standard errors, tests and Q, which is what ``rma.mv``
computes, and ``full`` adds profile intervals, likelihood-ratio and cluster-robust tests, BLUPs and
tables. metafor runs with dense and (above 100 rows, where it pays) with sparse matrices; the ratio
is to the faster.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from reanalysis.design import Design
from reanalysis.frequentist import fit_reml
from reanalysis.spec import ModelSpec

SPEC = ModelSpec(name="benchmark")
R_SCRIPT = """
suppressMessages(library(metafor))
d <- read.csv(commandArgs(TRUE)[1])
runs <- as.integer(commandArgs(TRUE)[2])
best <- Inf
for (sparse in if (nrow(d) > 1000) TRUE else if (nrow(d) > 100) c(FALSE, TRUE) else FALSE) {
  times <- numeric(runs)
  for (i in seq_len(runs)) {
    used <- system.time(
      fit <- rma.mv(yi, vi, random = ~1 | sample/effect, data = d, sparse = sparse)
    )
    times[i] <- used[["user.self"]] + used[["sys.self"]]
  }
  best <- min(best, median(times))
}
cat(sprintf('{"version": "%s", "time": %.6f, "loglik": %.12g, "mu": %.12g, "se": %.12g}',
            packageVersion("metafor"), best, c(logLik(fit)), c(coef(fit)), fit$se))
"""


def simulate(k: int, seed: int) -> Design:
    """Return k effects in about k/5 samples of unequal size (k/2 samples below 100 effects)."""
    rng = np.random.default_rng(seed)
    m = max(k // (2 if k < 100 else 3 if k < 1000 else 5), 2)
    cluster = np.sort(np.r_[np.arange(m), rng.integers(0, m, k - m)])
    vi = 1 / rng.integers(20, 200, k)
    yi = 0.2 + rng.normal(0, 0.2, m)[cluster] + rng.normal(0, np.sqrt(0.15**2 + vi))
    names = tuple(str(row) for row in range(k))
    return Design(yi, vi, np.ones((k, 1)), ("mu",), cluster, names[:m], names)


def measure(call: Callable[[], object], *, least: float = 1.0) -> float:
    """Return the median CPU seconds of one call, over at least 5 calls and `least` seconds."""
    call()
    times: list[float] = []
    while len(times) < 5 or (sum(times) < least and len(times) < 200):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return statistics.median(times)


def run_metafor(design: Design) -> dict[str, float | str]:
    """Return metafor's time and answer for the same rows."""
    with tempfile.TemporaryDirectory() as folder:
        data, script = Path(folder, "data.csv"), Path(folder, "fit.R")
        rows = zip(design.yi.tolist(), design.vi.tolist(), design.cluster.tolist(), strict=True)
        lines = [f"{y!r},{v!r},{j},{i}" for i, (y, v, j) in enumerate(rows)]
        data.write_text("yi,vi,sample,effect\n" + "\n".join(lines) + "\n")
        script.write_text(R_SCRIPT)
        runs = 20 if design.k < 1000 else 1
        command = ["Rscript", "--vanilla", str(script), str(data), str(runs)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads(answer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[50, 300, 5000, 50000])
    parser.add_argument(
        "--slowest-r", type=int, default=5000, help="largest number of rows given to metafor"
    )
    arguments = parser.parse_args()
    has_r = shutil.which("Rscript") is not None
    heads = ("rows", "fit ms", "full ms", "us/row", "metafor ms", "ratio")
    widths = (7, 9, 9, 8, 11, 8)
    print(*(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True)), " agreement")
    for k in arguments.rows:
        design = simulate(k, seed=k)
        fit = fit_reml(design, SPEC, details=False)
        lean = measure(lambda design=design: fit_reml(design, SPEC, details=False))
        full = measure(lambda design=design: fit_reml(design, SPEC), least=0.5)
        line = f"{k:>7} {1e3 * lean:>9.2f} {1e3 * full:>9.1f} {1e6 * lean / k:>8.2f}"
        if has_r and k <= arguments.slowest_r:
            other = run_metafor(design)
            seconds, loglik = float(other["time"]), float(other["loglik"])
            mu = abs(fit.coef[0] / float(other["mu"]) - 1)
            line += f" {1e3 * seconds:>11.1f} {seconds / lean:>7.0f}x"
            line += f"  loglik {fit.loglik - loglik:+.1e}, mu {mu:.0e} (metafor {other['version']})"
        print(line, flush=True)


if __name__ == "__main__":
    main()
