"""The PyMC selection models against the NumPy likelihoods of `reanalysis.selection`.

Those share no code with the builders and are themselves tested against quadrature by definition,
Monte Carlo and metafor.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from pytensor.compile.mode import Mode
from scipy import stats

from reanalysis.builders import LIKELIHOODS, build_model, model_data, model_structure
from reanalysis.builders.bias_parameters import bias_parameters
from reanalysis.builders.selection_conditionals import check_nodes
from reanalysis.design import Design
from reanalysis.priors import Prior
from reanalysis.results import EngineError
from reanalysis.selection import Bins, SelectionData, log_likelihood
from reanalysis.spec import ModelSpec

INTERPRETED = Mode(linker="py", optimizer=None)
SIZES = (1, 3, 2, 1, 4, 2)
K = sum(SIZES)
MU = Prior("normal", {"mu": 0.1, "sigma": 0.5})
TAU = Prior("half_normal", {"sigma": 0.3})
FLAT = Prior("beta", {"alpha": 1.5, "beta": 2.0})
MECHANISMS = ("joint", "replace", "study", "thin")


@dataclass(frozen=True)
class Case:
    """A model of a design."""

    design: Design
    spec: ModelSpec
    priors: dict[str, Prior]


def make_design(**changes: Any) -> Design:
    rng = np.random.default_rng(7)
    vi = np.repeat(1 / rng.integers(20, 120, len(SIZES)), SIZES)
    vi[[3, 9]] *= 1.3  # some rows of a sample are alike, others not
    fields: dict[str, Any] = {
        "yi": rng.normal(0.2, 0.3, K),
        "vi": vi,
        "X": np.ones((K, 1)),
        "coefficients": ("mu",),
        "cluster": np.repeat(np.arange(len(SIZES)), SIZES),
        "cluster_names": tuple("abcdef"),
        "row_names": tuple(str(i) for i in range(K)),
        "n_measured": np.array(SIZES) + np.array([0.0, 2, 0, 1, 3, 1]),
    }
    return Design(**{**fields, **changes})


def case_of(mechanism: str, form: str) -> Case:
    changes: dict[str, Any] = {}
    priors = {"mu": MU, "tau_between": TAU, "tau_within": TAU}
    spec: dict[str, Any] = {"mechanism": mechanism}
    if form == "two levels, one sample each":
        changes = {
            "levels": 2,
            "cluster": np.arange(K),
            "cluster_names": tuple(str(i) for i in range(K)),
            "n_measured": np.ones(K) + (np.arange(K) % 3 == 0),
        }
        del priors["tau_within"]
    elif form == "moderator, averaged rows, negative direction":
        changes = {
            "X": np.column_stack([np.ones(K), np.linspace(-1, 1, K)]),
            "coefficients": ("beta[intercept]", "beta[x]"),
            "direction": -1,
            "n_averaged": np.where(np.arange(K) % 5 == 0, 2.0, 1.0),
        }
        priors |= {"beta[intercept]": MU, "beta[x]": MU}
    elif form == "two-sided, independent weights":
        spec |= {"two_sided": True, "steps": (0.05, 0.1)}
        priors["omega"] = FLAT
    elif form == "total and share, one step":
        spec["steps"] = (0.05,)
        priors = {"mu": MU, "tau": TAU, "between_share": FLAT}
    elif form == "fixed weights":
        spec["omega"] = (1.0, 0.4, 0.1)
    elif form == "primary effect":
        changes["primary"] = np.isin(np.arange(K), [0, 2, 5, 6, 7, 12])
    return Case(make_design(**changes), ModelSpec("m", **spec), priors)


FORMS = (
    "three levels",
    "two levels, one sample each",
    "moderator, averaged rows, negative direction",
    "two-sided, independent weights",
    "total and share, one step",
    "fixed weights",
)
CASES = [(mechanism, form) for mechanism in MECHANISMS for form in FORMS]
CASES.append(("study", "primary effect"))


@dataclass(frozen=True)
class Point:
    """Parameters, their place in the model, and their log prior there."""

    beta: np.ndarray
    between: float
    within: float
    omega: np.ndarray
    slope: float
    values: dict[str, np.ndarray]
    log_prior: float


def draw_point(case: Case, rng: np.random.Generator) -> Point:
    design, priors = case.design, case.priors
    values: dict[str, np.ndarray] = {}
    log_prior = 0.0

    def draw(name: str, *of: Prior) -> np.ndarray:
        nonlocal log_prior
        x = np.array([float(p.ppf(rng.uniform(0.1, 0.6))) for p in of])
        log_prior += float(sum(p.logpdf(v) for p, v in zip(of, x, strict=True)))
        if of[0].support == (0.0, np.inf):
            name, place, slope = f"{name}_log__", np.log(x), np.log(x)
        elif of[0].support == (0.0, 1.0):
            name, place, slope = f"{name}_logodds__", np.log(x / (1 - x)), np.log(x * (1 - x))
        else:
            place, slope = x, np.zeros(len(x))
        log_prior += float(slope.sum())
        vector = name.startswith(("beta", "omega"))
        values[name] = place if vector else place[0]
        return x

    name = "mu" if design.coefficients == ("mu",) else "beta"
    beta = draw(name, *(priors[c] for c in design.coefficients))
    if "tau" in priors:
        tau, share = draw("tau", priors["tau"])[0], draw("between_share", FLAT)[0]
        between, within = tau * share**0.5, tau * (1 - share) ** 0.5
    else:
        between = draw("tau_between", TAU)[0]
        within = draw("tau_within", TAU)[0] if "tau_within" in priors else 0.0
    omega, slope = np.array(case.spec.omega or [1.0]), 0.0
    for extra, members in bias_parameters(case.spec, priors).items():
        x = draw(extra, *members)
        if extra in ("pet", "peese"):
            slope = x[0]
        else:
            omega = np.r_[1.0, x if extra == "omega" else np.cumprod(x)]
    return Point(beta, between, within, omega, slope, values, log_prior)


def numpy_loglik(case: Case, at: Point) -> float:
    design, spec = case.design, case.spec
    data = SelectionData(
        design.direction * design.yi,
        design.vi,
        design.cluster,
        Bins(spec.steps, spec.two_sided),
        spec.mechanism,
        n_averaged=design.n_averaged,
        n_measured=design.n_measured,
        primary=design.primary,
    )
    eta = design.direction * design.X @ at.beta
    return log_likelihood(data, eta[None], [at.between], [at.within], at.omega[None])[0, 0]


def draws_of(points: list[Point]) -> dict[str, np.ndarray]:
    return {
        "beta": np.array([at.beta for at in points]),
        "omega": np.array([at.omega for at in points]),
        "tau_between": np.array([at.between for at in points]),
        "tau_within": np.array([at.within for at in points]),
    }


@pytest.mark.parametrize(("mechanism", "form"), CASES)
def test_the_density_is_that_of_the_selection_likelihood(mechanism: str, form: str) -> None:
    case = case_of(mechanism, form)
    logp = build_model(case.design, case.spec, case.priors).compile_logp(mode=INTERPRETED)
    rng = np.random.default_rng(1)
    for _ in range(6):
        at = draw_point(case, rng)
        expected = numpy_loglik(case, at) + at.log_prior
        assert logp(at.values) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("form", FORMS[:3])
@pytest.mark.parametrize("mechanism", ["pet", "peese"])
def test_pet_and_peese_are_regressions_with_one_more_predictor(mechanism: str, form: str) -> None:
    case = case_of(mechanism, form)
    design = case.design
    logp = build_model(design, case.spec, case.priors).compile_logp(mode=INTERPRETED)
    rng = np.random.default_rng(2)
    for _ in range(4):
        at = draw_point(case, rng)
        predictor = design.vi**0.5 if mechanism == "pet" else design.vi
        mean = design.X @ at.beta + design.direction * at.slope * predictor
        covariance = at.between**2 * (design.cluster[:, None] == design.cluster)
        covariance = covariance + np.diag(design.vi + at.within**2 / design.n_averaged)
        expected = stats.multivariate_normal(mean, covariance).logpdf(design.yi) + at.log_prior
        assert logp(at.values) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("mechanism", "form"), CASES)
def test_the_likelihoods_of_the_samples_add_up(mechanism: str, form: str) -> None:
    case = case_of(mechanism, form)
    likelihood = LIKELIHOODS[mechanism]
    rng = np.random.default_rng(3)
    points = [draw_point(case, rng) for _ in range(5)]
    rows = likelihood.rows(case.design, case.spec)
    by_sample = likelihood.sample_loglik(rows, draws_of(points))
    assert by_sample.shape == (5, case.design.m)
    expected = [numpy_loglik(case, at) for at in points]
    np.testing.assert_allclose(by_sample.sum(axis=1), expected, atol=1e-6)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_the_gradient_is_the_slope_of_the_density(mechanism: str) -> None:
    case = case_of(mechanism, "three levels")
    model = build_model(case.design, case.spec, case.priors)
    logp = model.compile_logp(mode=INTERPRETED)
    gradient = model.compile_dlogp(mode=INTERPRETED)
    at = draw_point(case, np.random.default_rng(4))
    point = {value.name: np.asarray(at.values[value.name]) for value in model.value_vars}
    step, slopes = 1e-5, []
    for name, value in point.items():
        for i in np.ndindex(value.shape):
            ends = []
            for side in (-step, step):
                moved = value.copy()
                moved[i] += side
                ends.append(float(logp({**point, name: moved})))
            slopes.append((ends[1] - ends[0]) / (2 * step))
    np.testing.assert_allclose(gradient(point), slopes, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_huge_samples_and_tiny_weights_keep_density_and_gradient_finite(mechanism: str) -> None:
    case = case_of(mechanism, "three levels")
    design = replace(case.design, vi=np.full(K, 1e-6))
    model = build_model(design, case.spec, case.priors)
    rng = np.random.default_rng(5)
    point = draw_point(case, rng).values
    point |= {"omega_ratio_logodds__": np.array([-8.0, -8.0])}
    assert np.isfinite(model.compile_logp(mode=INTERPRETED)(point))
    assert np.all(np.isfinite(model.compile_dlogp(mode=INTERPRETED)(point)))


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_drawn_sample_effects_have_the_density_of_the_mechanism(mechanism: str) -> None:
    """By definition: prior times rows times what the mechanism does given the sample's effect."""
    case = case_of(mechanism, "three levels")
    design = case.design
    omega, between, within = np.array([1.0, 0.3, 0.05]), 0.25, 0.1
    n = 20_000
    draws = {
        "beta": np.full((n, 1), 0.1),
        "omega": np.tile(omega, (n, 1)),
        "tau_between": np.full(n, between),
        "tau_within": np.full(n, within),
    }
    likelihood = LIKELIHOODS[mechanism]
    rows = likelihood.rows(design, case.spec)
    u, w = likelihood.draw_effects(rows, draws, np.random.default_rng(6))
    grid = np.linspace(-1.5, 1.5, 3001)
    for j in range(design.m):
        mine = design.cluster == j
        vi, yi = design.vi[mine], design.yi[mine]
        sd = np.sqrt(vi + within**2)
        density = stats.norm.pdf(grid, 0, between)
        density *= stats.norm.pdf(yi, 0.1 + grid[:, None], sd).prod(axis=1)

        def passes(v: np.ndarray) -> np.ndarray:
            cut = stats.norm.isf([0.025, 0.5])[:, None] * np.sqrt(v)
            sd = np.sqrt(v + within**2)
            first, second = (stats.norm.sf(c, 0.1 + grid[:, None], sd) for c in cut)
            return first + omega[1] * (second - first) + omega[2] * (1 - second)

        if mechanism == "replace":
            density /= passes(vi).prod(axis=1)
        if mechanism == "thin":
            missing = design.n_measured[j] - mine.sum()
            density *= (1 - passes(vi.mean(keepdims=True))[:, 0]) ** missing
        density /= density.sum()
        mean = density @ grid
        spread = np.sqrt(density @ (grid - mean) ** 2)
        assert u[:, j].mean() == pytest.approx(mean, abs=5 * spread / np.sqrt(n))
        assert u[:, j].std() == pytest.approx(spread, rel=5 / np.sqrt(2 * n) + 2e-3)
        # Given the sample's effect, the rest is shared between true effect and error.
        share = within**2 / (within**2 + vi)
        expected = share * (yi - 0.1 - mean)
        error = 5 * np.sqrt(share * vi + (share * spread) ** 2) / np.sqrt(n)
        assert np.all(np.abs(w[:, mine].mean(axis=0) - expected) < error)


def test_ratios_of_weights_amount_to_a_cumulative_dirichlet() -> None:
    case = case_of("joint", "three levels")
    (members,) = bias_parameters(case.spec, case.priors).values()
    rng = np.random.default_rng(8)
    omega = np.cumprod([prior.rvs(20_000, rng) for prior in members], axis=0)
    parts = rng.dirichlet([1.0, 1.0, 1.0], 20_000)
    expected = np.cumsum(parts[:, ::-1], axis=1)[:, ::-1].T[1:]
    for ours, theirs in zip(omega, expected, strict=True):
        assert stats.ks_2samp(ours, theirs).pvalue > 1e-3
    assert np.corrcoef(omega)[0, 1] == pytest.approx(np.corrcoef(expected)[0, 1], abs=0.03)


def test_more_spread_effects_get_more_nodes_and_single_effects_need_one() -> None:
    near, far = case_of("joint", "three levels"), case_of("joint", "three levels")
    far = replace(far, design=replace(far.design, yi=4 * far.design.yi))
    counts = [
        len(LIKELIHOODS["joint"].rows(case.design, case.spec).nodes)
        for case in (near, far, case_of("joint", "two levels, one sample each"))
    ]
    assert counts[1] > counts[0] > counts[2] == 1


def test_nodes_that_were_not_enough_are_an_error() -> None:
    case = case_of("joint", "three levels")
    rows = LIKELIHOODS["joint"].rows(case.design, case.spec)
    draws = {
        "beta": np.zeros((40, 1)),
        "omega": np.tile([1.0, 0.3, 0.05], (40, 1)),
        "tau_between": np.linspace(0.1, 20.0, 40),
        "tau_within": np.full(40, 0.01),
    }
    with pytest.raises(EngineError, match=r"nodes were not enough .*tau_between up to 20\)"):
        check_nodes(rows, draws)
    check_nodes(rows, draws | {"tau_between": np.full(40, 0.1)})


def test_numbers_do_not_change_the_structure_but_mechanism_sides_and_bins_do() -> None:
    case = case_of("joint", "three levels")

    def key(**changes: Any) -> tuple[str, ...]:
        return model_structure(case.design, replace(case.spec, **changes), case.priors)

    assert key() == key(steps=(0.05, 0.1))
    assert len({key(), key(steps=(0.05,)), key(two_sided=True), key(mechanism="study")}) == 4
    data = model_data(case.design, case.spec, case.priors)
    np.testing.assert_array_equal(data["omega_ratio_alpha"], [2.0, 1.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spec": {"sampling_correlation": 0.5}}, "independent sampling errors"),
        ({"design": {"n_measured": None}}, "'thin' needs n_measured"),
        (
            {"design": {"n_measured": np.array(SIZES) - np.array([0.0, 1, 0, 0, 0, 0])}},
            "sample 'b' reports 3 effects, but n_measured is 2",
        ),
        ({"priors": {"omega": MU}}, r"of 'omega' reaches outside \[0, 1\]"),
    ],
)
def test_a_selection_model_that_cannot_be_built_says_why(
    change: dict[str, dict[str, Any]], message: str
) -> None:
    case = case_of("thin", "three levels")
    design = replace(case.design, **change.get("design", {}))
    spec = replace(case.spec, **change.get("spec", {}))
    with pytest.raises(EngineError, match=message):
        build_model(design, spec, case.priors | change.get("priors", {}))
