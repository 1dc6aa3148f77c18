"""Simulation-based calibration of the exact engine or of NUTS, mechanism by mechanism.

Draws parameters from the priors and a literature from the mechanism's simulator, fits it and notes
the posterior probability below each true value; over many replicates these are uniform (Talts et
al. 2018; Modrák et al. 2023 for the log density). Every replicate is appended to a file, so an
interrupted run goes on where it stopped; the same seed gives the same replicates. Without a
folder nothing is kept.

    python benchmarks/selection_sbc.py [FOLDER] [--replicates N] [--mechanisms joint study ...]
                                                [--levels 2 3] [--engine exact]

Two levels: 15 samples with one effect, one step at .025 (under 'thin' two effects are measured).
Three levels: 8 samples with two effects, one step at .025.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from reanalysis.calibration.sampled import locate_by_nuts
from reanalysis.design import Design
from reanalysis.exact.selection_calibration import calibrate_selection, simulate_replicate
from reanalysis.priors import Prior
from reanalysis.results import EngineError
from reanalysis.spec import ModelSpec

MECHANISMS = ("joint", "replace", "study", "thin")
BINS = 20
PRIORS = {
    "mu": Prior("normal", {"mu": 0.1, "sigma": 0.2}),
    "tau_between": Prior("half_normal", {"sigma": 0.2}),
}
WITHIN = {"tau_within": Prior("half_normal", {"sigma": 0.1})}


def design_of(mechanism: str, levels: int) -> Design:
    rng = np.random.default_rng(4)
    samples = 15 if levels == 2 else 8
    size = 1 if levels == 2 and mechanism != "thin" else 2
    k = samples * size
    return Design(
        yi=np.zeros(k),
        vi=np.repeat(1 / rng.integers(17, 97, samples), size),
        X=np.ones((k, 1)),
        coefficients=("mu",),
        cluster=np.repeat(np.arange(samples), size),
        cluster_names=tuple(map(str, range(samples))),
        row_names=tuple(map(str, range(k))),
        measure="ZCOR",
        levels=levels,
        n_measured=np.full(samples, float(size)),
    )


def sampled_ranks(design: Design, spec: ModelSpec, seed: int) -> pd.DataFrame:
    """Return the ranks of one replicate among draws of NUTS; NaN if the chains do not mix."""
    rng = np.random.default_rng(seed)
    truth, published = simulate_replicate(design, spec, spec.priors, rng)
    try:
        below = dict(locate_by_nuts(truth, published, spec, seed=seed).below)
    except EngineError:
        below = dict.fromkeys((*truth, "log_likelihood"), np.nan)
    return pd.DataFrame([below])[[*truth, "log_likelihood"]]


def run(mechanism: str, levels: int, replicates: int, path: Path, engine: str) -> pd.DataFrame:
    """Return the ranks, simulating those that the file does not have yet."""
    priors = PRIORS if levels == 2 else PRIORS | WITHIN
    spec = ModelSpec(name="sbc", mechanism=mechanism, steps=(0.025,), priors=priors)
    design = design_of(mechanism, levels)
    done = len(pd.read_csv(path)) if path.exists() else 0
    for replicate in range(done, replicates):
        seed = 10_000 + replicate
        if engine == "nuts":
            row = sampled_ranks(design, spec, seed)
        else:
            row = calibrate_selection(design, spec, priors, replicates=1, seed=seed)
        row.to_csv(path, mode="a", header=not path.exists(), index=False, float_format="%.6g")
    return pd.read_csv(path)


def report(title: str, ranks: pd.DataFrame) -> None:
    """Print a histogram of the ranks of every parameter, with two tests of uniformity."""
    failed = int(ranks.isna().any(axis=1).sum())
    ranks = ranks.dropna()
    n = len(ranks)
    print(f"\n{title}: {n} replicates, {failed} more without a fit; {BINS} bins of {n / BINS:.0f}")
    for name in ranks.columns:
        counts = np.histogram(ranks[name].clip(0, 1), np.linspace(0, 1, BINS + 1))[0]
        chi2 = stats.chisquare(counts).pvalue
        ecdf = stats.kstest(ranks[name], "uniform")
        bars = " ".join(f"{count:d}" for count in counts)
        print(
            f"  {name:>15}  chi2 p {chi2:.3f}  ECDF distance {ecdf.statistic:.3f} "
            f"p {ecdf.pvalue:.3f}  [{bars}]"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--replicates", type=int, default=100)
    parser.add_argument("--mechanisms", nargs="+", default=MECHANISMS, choices=MECHANISMS)
    parser.add_argument("--levels", nargs="+", type=int, default=(2, 3), choices=(2, 3))
    parser.add_argument("--engine", default="exact", choices=("exact", "nuts"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as nowhere:
        folder = given.folder or Path(nowhere)
        folder.mkdir(parents=True, exist_ok=True)
        for levels in given.levels:
            for mechanism in given.mechanisms:
                path = folder / f"{given.engine}_{mechanism}_{levels}.csv"
                ranks = run(mechanism, levels, given.replicates, path, given.engine)
                report(f"{mechanism}, {levels} levels, {given.engine}", ranks)


if __name__ == "__main__":
    main()
