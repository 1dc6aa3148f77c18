"""REML and the exact engine where numbers are hard: boundaries, scales, sizes.

Every answer is held against one of three things that share no code with the engines: 60-digit
decimal arithmetic on dense matrices, quadrature over dense multivariate normals, or a closed form.
"""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal, localcontext
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from reanalysis.design import Design
from reanalysis.exact import fit_exact
from reanalysis.frequentist import fit_reml
from reanalysis.plan import plan
from reanalysis.priors import Prior
from reanalysis.results import EngineError, FrequentistFit
from reanalysis.spec import ModelSpec

TAU = Prior("half_normal", {"sigma": 0.3})
MU_SIGMA = 0.5
PRIORS = {"mu": Prior("normal", {"sigma": MU_SIGMA}), "tau_between": TAU, "tau_within": TAU}
MODEL = ModelSpec("m", priors=PRIORS)
TWO_LEVELS = replace(MODEL, priors={k: v for k, v in PRIORS.items() if k != "tau_within"})

Vector = NDArray[np.float64]


def make_design(yi: object, vi: object, cluster: object, levels: int) -> Design:
    y, v, c = np.array(yi, float), np.array(vi, float), np.array(cluster, np.intp)
    return Design(
        yi=y,
        vi=v,
        X=np.ones((len(y), 1)),
        coefficients=("mu",),
        cluster=c,
        cluster_names=tuple(f"s{i}" for i in range(c.max() + 1)),
        row_names=tuple(f"r{i}" for i in range(len(y))),
        levels=levels,
        measure="ZCOR",
    )


def model_of(design: Design) -> ModelSpec:
    return MODEL if design.levels == 3 else TWO_LEVELS


def hard_cases() -> dict[str, Design]:
    rng = np.random.default_rng(1)
    orders = np.logspace(-10, 6, 24)
    y = rng.normal(0.2, 0.3, 24)
    single, pairs = np.arange(24), np.arange(24) // 2
    return {
        "variances from 1e-10 to 1e6, two levels": make_design(y, orders, single, 2),
        "variances from 1e-10 to 1e6, three levels": make_design(y, orders, pairs, 3),
        "the same, mixed within samples": make_design(y, rng.permutation(orders), pairs, 3),
        "two effects": make_design([0.1, 0.4], [0.02, 0.03], [0, 1], 2),
        "two effects that agree": make_design([0.1, 0.1001], [0.02, 0.03], [0, 1], 2),
        "effects of 5 and -5": make_design([5, -5] * 6, [0.01] * 12, np.arange(12), 2),
        "effects of 5 and -5 within samples": make_design(
            [5, -5] * 6, [0.01] * 12, np.arange(12) // 2, 3
        ),
        "all effects equal, two levels": make_design(
            [0.2] * 12, np.linspace(0.01, 0.1, 12), np.arange(12), 2
        ),
        "all effects equal, three levels": make_design(
            [0.2] * 12, np.linspace(0.01, 0.1, 12), np.arange(12) // 2, 3
        ),
        "all effects equal to ten digits": make_design(
            [0.2] * 12, [1e-10] * 12, np.arange(12) // 2, 3
        ),
        "all effects zero": make_design([0.0] * 8, [0.04] * 8, np.arange(8) // 2, 3),
        "tiny variances": make_design(rng.normal(0, 0.1, 8), [1e-10] * 8, np.arange(8) // 2, 3),
        "a sample of 200 effects and 9 of one": make_design(
            rng.normal(0.2, 0.2, 209),
            rng.uniform(0.01, 0.1, 209),
            np.r_[np.zeros(200), np.arange(1, 10)],
            3,
        ),
    }


CASES = hard_cases()
DENSE = [name for name, design in CASES.items() if design.k < 50]


# REML against 60 digits


def restricted(design: Design, tau2: Sequence[Decimal]) -> tuple[Decimal, Decimal, Decimal]:
    """Return restricted log-likelihood (without constant), mean and its variance, densely."""
    k, c = design.k, design.cluster
    within = tau2[1] if design.levels == 3 else Decimal(0)
    rows = [
        [
            (Decimal(float(design.vi[i])) + within if i == j else Decimal(0))
            + (tau2[0] if c[i] == c[j] else Decimal(0))
            for j in range(i + 1)
        ]
        for i in range(k)
    ]
    ones, y = [Decimal(1)] * k, [Decimal(float(value)) for value in design.yi]
    log_det = Decimal(0)
    for j in range(k):  # Cholesky, and both right-hand sides by forward substitution
        for i in range(j):
            rows[j][i] -= sum((rows[j][n] * rows[i][n] for n in range(i)), Decimal(0))
            rows[j][i] /= rows[i][i]
        rows[j][j] = (rows[j][j] - sum((x * x for x in rows[j][:j]), Decimal(0))).sqrt()
        log_det += 2 * rows[j][j].ln()
        for side in (ones, y):
            side[j] -= sum((rows[j][n] * side[n] for n in range(j)), Decimal(0))
            side[j] /= rows[j][j]
    information = sum((x * x for x in ones), Decimal(0))
    mean = sum((a * b for a, b in zip(ones, y, strict=True)), Decimal(0)) / information
    squares = sum(((b - a * mean) ** 2 for a, b in zip(ones, y, strict=True)), Decimal(0))
    return -(log_det + information.ln() + squares) / 2, mean, 1 / information


def distance_to_the_maximum(design: Design, tau2: Sequence[Decimal], index: int) -> Decimal:
    """Return the Newton step from a component to the maximum, relative; 0 on the boundary."""
    step = Decimal("1e-12") * (tau2[index] or Decimal(float(np.min(design.vi))))

    def at(shift: Decimal) -> Decimal:
        moved = list(tau2)
        moved[index] += shift
        return restricted(design, moved)[0]

    if not tau2[index]:
        return max(Decimal(0), (at(step) - at(Decimal(0))) / step)
    slope = (at(step) - at(-step)) / (2 * step)
    curvature = (at(step) - 2 * at(Decimal(0)) + at(-step)) / step**2
    return abs(slope / curvature / tau2[index])


@pytest.mark.parametrize("name", DENSE)
def test_reml_is_the_maximum_of_the_likelihood_in_60_digits(name: str) -> None:
    design = CASES[name]
    fit = fit_reml(design, model_of(design))
    assert fit.converged
    with localcontext(prec=60):
        tau2 = [Decimal(fit.tau2_between), Decimal(fit.tau2_within)][: design.levels - 1]
        _, mean, variance = restricted(design, tau2)
        for index in range(len(tau2)):
            assert distance_to_the_maximum(design, tau2, index) < Decimal("1e-6")
    mu = fit.estimates["mu"]
    assert mu.value == pytest.approx(float(mean), rel=1e-10, abs=1e-15)
    assert mu.sd == pytest.approx(float(variance.sqrt()), rel=1e-10)


# The exact engine against quadrature over dense normals


def quadrature(design: Design) -> dict[str, float]:
    """Return the log marginal likelihood and moments, by Gauss-Legendre in each tau."""
    if design.k > 100:  # a narrow posterior; each node costs a millisecond
        edges, many = [0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.5], 7
    elif np.ptp(design.yi) == 0 and np.max(design.vi) < 1e-6:  # as narrow as the errors
        edges, many = [0.0, *2.5e-6 * 2.0 ** np.arange(18)], 8
    else:
        edges, many = [0.0, *0.0125 * 2.0 ** np.arange(9)], 14
    x, w = np.polynomial.legendre.leggauss(many)
    tau = np.concatenate([(b - a) / 2 * x + (a + b) / 2 for a, b in pairwise(edges)])
    weight = np.concatenate([(b - a) / 2 * w for a, b in pairwise(edges)])
    log_prior = np.log(weight * 2 / 0.3) - np.log(2 * np.pi) / 2 - (tau / 0.3) ** 2 / 2
    together = (design.cluster[:, None] == design.cluster).astype(float)
    rows = []
    for i in range(len(tau)):
        for j in range(len(tau)) if design.levels == 3 else [None]:
            within = 0.0 if j is None else tau[j]
            V = np.diag(design.vi + within**2) + tau[i] ** 2 * together
            # Scaled to unit diagonal: variances differ by sixteen orders of magnitude.
            sd = np.sqrt(np.diag(V))
            L = np.linalg.cholesky(V / np.outer(sd, sd))
            a, b = np.linalg.solve(L, np.column_stack([1 / sd, design.yi / sd])).T
            information, score = a @ a + MU_SIGMA**-2, a @ b
            log_density = -(
                np.log(np.diag(L)).sum()
                + np.log(sd).sum()
                + design.k * np.log(2 * np.pi) / 2
                + np.log(information * MU_SIGMA**2) / 2
                + (b @ b - score**2 / information) / 2
            )
            log_density += log_prior[i] + (0.0 if j is None else log_prior[j])
            rows.append((log_density, score / information, 1 / information, tau[i], within))
    log_density, mean, variance, between, within_ = np.array(rows).T
    top = log_density.max()
    p = np.exp(log_density - top)
    found = {"log_marginal_likelihood": float(top + np.log(p.sum()))}
    p /= p.sum()
    mu = float(p @ mean)
    found |= {"mu": mu, "mu_sd": float(np.sqrt(p @ (variance + (mean - mu) ** 2)))}
    found |= {"tau_between": float(p @ between), "tau_within": float(p @ within_)}
    return found


@pytest.mark.parametrize("name", list(CASES))
def test_the_exact_engine_gives_the_posterior_of_dense_quadrature(name: str) -> None:
    design = CASES[name]
    fit, expected = fit_exact(design, model_of(design)), quadrature(design)
    sd = expected["mu_sd"]
    assert fit.log_marginal_likelihood == pytest.approx(
        expected["log_marginal_likelihood"], abs=1e-5
    )
    assert fit.estimates["mu"].value == pytest.approx(expected["mu"], abs=1e-5 * sd)
    assert fit.estimates["mu"].sd == pytest.approx(sd, rel=1e-4)
    for tau in ("tau_between", "tau_within")[: design.levels - 1]:
        assert fit.estimates[tau].value == pytest.approx(expected[tau], rel=1e-4), tau


# Closed forms


@pytest.mark.parametrize("levels", [2, 3])
def test_reml_of_5000_balanced_effects_is_the_analysis_of_variance(levels: int) -> None:
    """Equal variances and sizes: moments of means and of deviations are the REML estimates."""
    rng, n, v = np.random.default_rng(2), 1 if levels == 2 else 5, 0.02
    m = 5000 // n
    y = 0.2 + rng.normal(0, 0.2, (m, 1)) + rng.normal(0, 0.15, (m, n)) * (levels - 2)
    y += rng.normal(0, np.sqrt(v), (m, n))
    design = make_design(y.ravel(), np.full(5000, v), np.repeat(np.arange(m), n), levels)
    fit = fit_reml(design, model_of(design))
    of_means = n * y.mean(axis=1).var(ddof=1)
    inside = y.var(axis=1, ddof=1).mean() if levels == 3 else v
    assert fit.tau2_between == pytest.approx((of_means - inside) / n, rel=1e-8)
    assert fit.tau2_within == pytest.approx(inside - v, rel=1e-8, abs=1e-15)
    assert fit.estimates["mu"].value == pytest.approx(y.mean(), rel=1e-12)
    assert fit.estimates["mu"].sd == pytest.approx(np.sqrt(of_means / 5000), rel=1e-8)
    exact = fit_exact(design, model_of(design))  # so many data that the priors hardly matter
    for name in ("mu", "tau_between", "tau_within")[:levels]:
        reml = fit.estimates[name]
        width = exact.estimates[name].upper - exact.estimates[name].lower
        assert exact.estimates[name].value == pytest.approx(reml.value, abs=0.02 * width), name
        assert reml.upper - reml.lower == pytest.approx(width, rel=0.02), name


def test_equal_effects_give_the_fixed_effect_mean_and_a_heterogeneity_of_exactly_zero() -> None:
    design = CASES["all effects equal, three levels"]
    fit = fit_reml(design, MODEL)
    assert (fit.tau2_between, fit.tau2_within) == (0.0, 0.0)
    assert fit.boundary == ("tau_between", "tau_within")
    assert fit.q == pytest.approx(0.0, abs=1e-12)
    assert fit.estimates["mu"].value == pytest.approx(0.2, rel=1e-14)
    assert fit.estimates["mu"].sd == pytest.approx(np.sum(1 / design.vi) ** -0.5, rel=1e-12)


def test_profile_intervals_end_also_where_variances_are_tiny_beside_the_heterogeneity() -> None:
    yi = np.random.default_rng(3).normal(0, 0.1, 8)
    fit = fit_reml(make_design(yi, [1e-10] * 8, np.arange(8) // 2, 3), MODEL)
    within, between = fit.estimates["tau_within"], fit.estimates["tau_between"]
    assert between.value == 0
    assert between.upper is not None
    assert within.value / 3 < between.upper < 3 * within.value


def test_what_the_data_cannot_tell_is_refused_in_words() -> None:
    one = make_design([0.1, 0.3, 0.2], [0.02, 0.03, 0.02], [0, 0, 0], 3)
    with pytest.raises(EngineError, match="absorb every difference between the 1 samples"):
        fit_reml(one, MODEL)
    singles = make_design([0.1, 0.3], [0.02, 0.03], [0, 1], 3)
    with pytest.raises(EngineError, match="cannot be told apart"):
        fit_reml(singles, MODEL)


# What answers must not depend on

SPEC = """
[data]
path = "t.csv"
[data.columns]
ri = "r"
ni = "n"
sample = "study"
[[model]]
name = "three"
[[model]]
name = "two"
levels = 2
[[model]]
name = "selected"
mechanism = "joint"
steps = [0.025]
engines = ["exact"]
"""


def table() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    studies = np.repeat([f"study {i}" for i in range(9)], 2)
    frame = pd.DataFrame({"study": studies, "r": np.tanh(rng.normal(0.3, 0.2, 18)).round(2)})
    return frame.assign(n=rng.integers(20, 200, 9).repeat(2))


def answers(folder: Path, frame: pd.DataFrame) -> dict[str, float]:
    frame.to_csv(folder / "t.csv", index=False)
    (folder / "s.toml").write_text(SPEC)
    found: dict[str, float] = {}
    for name, planned in plan(folder / "s.toml").models.items():
        engines = {"reml": fit_reml, "exact": fit_exact}
        for engine in planned.engines(tuple(engines)):
            for parameter, e in engines[engine](planned.design, planned.spec).estimates.items():
                numbers = {"value": e.value, "sd": e.sd, "lower": e.lower, "upper": e.upper}
                for key, value in numbers.items():
                    if value is not None:
                        found[f"{name} {engine} {parameter} {key}"] = value
    return found


@pytest.fixture(scope="module")
def as_is(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    return answers(tmp_path_factory.mktemp("as_is"), table())


def assert_same(found: dict[str, float], expected: dict[str, float]) -> None:
    assert found.keys() == expected.keys()
    assert len(found) > 60
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-10, abs=1e-10), name


def test_the_order_of_rows_changes_nothing(as_is: dict[str, float], tmp_path: Path) -> None:
    assert_same(answers(tmp_path, table().sample(frac=1, random_state=1)), as_is)


def test_the_labels_of_samples_change_nothing(as_is: dict[str, float], tmp_path: Path) -> None:
    renamed = table().replace({"study": {f"study {i}": f"{(i * 7) % 9} λ" for i in range(9)}})
    assert_same(answers(tmp_path, renamed), as_is)


def test_the_number_of_blas_threads_changes_nothing(
    as_is: dict[str, float], tmp_path: Path
) -> None:
    with threadpool_limits(limits=2, user_api="blas"):
        assert_same(answers(tmp_path, table()), as_is)
    big = CASES["a sample of 200 effects and 9 of one"]
    fits: list[FrequentistFit] = []
    for threads in (1, 2):
        with threadpool_limits(limits=threads, user_api="blas"):
            fits.append(fit_reml(big, MODEL))
    for name, one in fits[0].estimates.items():
        assert fits[1].estimates[name].value == pytest.approx(one.value, rel=1e-10, abs=1e-10)
