"""Calibrate the rule that decides whether data say anything about selection.

Simulates tables without and with selection, fits each exactly and prints, for several numbers of
samples, the quantiles of the overlap of prior and posterior and how often the rule speaks.

    python benchmarks/selection_identification.py [--replicates N]
"""

import argparse

import numpy as np

from reanalysis.design import Design
from reanalysis.exact.selection import fit_exact_selection
from reanalysis.exact.selection_identification import SILENT_OVERLAP, identify_weights
from reanalysis.priors import Prior
from reanalysis.results import EngineError
from reanalysis.selection import Bins, simulate_selection
from reanalysis.spec import ModelSpec

PRIORS = {
    "mu": Prior("normal", {"mu": 0.0, "sigma": 0.5}),
    "tau_between": Prior("half_normal", {"sigma": 0.25}),
}


def overlaps(
    k: int, omega: tuple[float, ...], steps: tuple[float, ...], n: int, seed: int
) -> np.ndarray:
    rng = np.random.default_rng(seed)
    spec = ModelSpec(name="selection", mechanism="joint", steps=steps, priors=PRIORS)
    rows = []
    for _ in range(n):
        vi = 1 / rng.integers(17, 97, k)
        mu, tau = rng.normal(0.15, 0.1), abs(rng.normal(0, 0.15))
        data = simulate_selection(
            "joint", np.full(k, mu), vi, np.arange(k), tau, 0.0, omega, rng, bins=Bins(steps)
        ).data
        names = tuple(map(str, range(k)))
        design = Design(
            data.yi, data.vi, np.ones((k, 1)), ("mu",), np.arange(k), names, names, "ZCOR", levels=2
        )
        try:
            fit = fit_exact_selection(design, spec, PRIORS)
        except EngineError as error:
            print(f"  k = {k}: {error}")
            continue
        rows.append(identify_weights(fit).table["overlap"].to_numpy())
    return np.array(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=100)
    n = parser.parse_args().replicates
    print(f"rule: the data speak if the overlap is below {SILENT_OVERLAP}")
    print(f"{'steps':>12} {'k':>5} {'weights':>18}   overlap 5 %, 50 %, 95 %   share that speaks")
    for steps, weights in (
        ((0.025,), ((1.0, 1.0), (1.0, 0.5), (1.0, 0.2), (1.0, 0.05))),
        ((0.025, 0.5), ((1.0, 1.0, 1.0), (1.0, 0.5, 0.2))),
    ):
        for k in (5, 10, 25, 60, 120):
            for omega in weights:
                table = overlaps(k, omega, steps, n, seed=k)
                for b in range(table.shape[1]):
                    low, mid, high = np.quantile(table[:, b], [0.05, 0.5, 0.95])
                    share = np.mean(table[:, b] < SILENT_OVERLAP)
                    print(
                        f"{steps!s:>12} {k:>5} {omega!s:>18}   "
                        f"omega[{b + 2}] {low:.2f} {mid:.2f} {high:.2f}   {share:.2f}"
                    )


if __name__ == "__main__":
    main()
