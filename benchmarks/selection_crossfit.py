"""The cross-fit table: data made by each selection mechanism, fitted under each.

120 samples with 3 effects (true mean .15, tau_between .15, tau_within .10, n from 20 to 79, weight
.2 beyond a one-sided p-value of .025; 'thin' measures 5 effects and reports some), by maximum
likelihood. Prints the mean estimate with its Monte-Carlo standard error, and how often each
likelihood fits best.

    python benchmarks/selection_crossfit.py [--replicates N]
"""

import argparse

import numpy as np
from scipy import optimize

from reanalysis.selection import (
    Bins,
    Mechanism,
    SelectionData,
    log_likelihood,
    simulate_selection,
)

MECHANISMS: tuple[Mechanism, ...] = ("none", "joint", "replace", "study", "thin")
BINS = Bins((0.025,))
TRUTH = {"mu": 0.15, "tau_between": 0.15, "tau_within": 0.10, "omega": (1.0, 0.2)}
SAMPLES, EFFECTS, MEASURED = 120, 3, 5


def simulate(mechanism: Mechanism, rng: np.random.Generator) -> SelectionData:
    size = MEASURED if mechanism == "thin" else EFFECTS
    vi = np.repeat(1 / (rng.integers(20, 80, SAMPLES) - 3), size)
    return simulate_selection(
        mechanism,
        np.full(SAMPLES * size, TRUTH["mu"]),
        vi,
        np.repeat(np.arange(SAMPLES), size),
        TRUTH["tau_between"],
        TRUTH["tau_within"],
        TRUTH["omega"],
        rng,
        bins=BINS,
    ).data


def fit(data: SelectionData, mechanism: Mechanism) -> tuple[float, float]:
    """Return the maximum-likelihood mean and the maximum under a mechanism."""
    data = SelectionData(
        data.yi,
        data.vi,
        data.cluster,
        data.bins,
        mechanism,
        n_measured=data.n_measured,
    )
    step = 1e-4

    def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
        # All points of the numerical gradient in one call.
        points = np.vstack([x, x + step * np.eye(len(x)), x - step * np.eye(len(x))])
        omega = np.column_stack([np.ones(len(points)), np.exp(points[:, 3])])
        value = log_likelihood(
            data,
            np.repeat(points[:, :1], data.k, axis=1),
            np.abs(points[:, 1]),
            np.abs(points[:, 2]),
            omega,
            paired=True,
        )
        gradient = (value[1 : len(x) + 1] - value[len(x) + 1 :]) / (2 * step)
        return -value[0], -gradient

    free = [(-1, 1), (0.001, 1), (0.001, 1), (-7, -1e-3)]
    if mechanism == "none":
        free[3] = (0.0, 0.0)
    start = np.array([data.yi.mean() / 2, 0.12, 0.12, 0.0 if mechanism == "none" else -0.7])
    best = optimize.minimize(objective, start, jac=True, method="L-BFGS-B", bounds=free)
    return float(best.x[0]), -float(best.fun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=60)
    n = parser.parse_args().replicates
    print(f"true mean {TRUTH['mu']}; {n} data sets per row; mean estimate (Monte-Carlo SE)")
    print(f"{'made by':>10}" + "".join(f"{m:>16}" for m in MECHANISMS) + "   fits best")
    for made in MECHANISMS[1:]:
        # 'thin' needs the number measured, which only its own data tell.
        fitted = MECHANISMS if made == "thin" else MECHANISMS[:-1]
        estimates, loglik = np.empty((n, len(fitted))), np.empty((n, len(fitted)))
        for r in range(n):
            data = simulate(made, np.random.default_rng(1000 + r))
            for j, mechanism in enumerate(fitted):
                estimates[r, j], loglik[r, j] = fit(data, mechanism)
        mean, se = estimates.mean(axis=0), estimates.std(axis=0, ddof=1) / np.sqrt(n)
        cells = "".join(f"{a:>9.3f} ({b:.3f})" for a, b in zip(mean, se, strict=True))
        # The likelihood of 'thin' also explains how many were reported: not comparable.
        others = [j for j, m in enumerate(fitted) if m != "thin"]
        wins = np.bincount(np.argmax(loglik[:, others], axis=1), minlength=len(others))
        best = ", ".join(f"{fitted[j]} {w}" for j, w in zip(others, wins, strict=True) if w)
        print(f"{made:>10}" + cells.ljust(16 * len(MECHANISMS)) + "   " + best, flush=True)


if __name__ == "__main__":
    main()
