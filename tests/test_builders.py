"""The PyMC models against SciPy's dense multivariate normal, and what is drawn afterwards."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from pytensor.compile.mode import Mode
from scipy import integrate, special, stats

from reanalysis.builders import (
    LIKELIHOODS,
    PYMC_PRIORS,
    build_model,
    model_data,
    model_structure,
)
from reanalysis.builders.blocks import make_blocks
from reanalysis.builders.conditionals import precision_nodes, student_mean_r
from reanalysis.design import Design
from reanalysis.priors import FAMILIES, Prior
from reanalysis.results import EngineError
from reanalysis.spec import ModelSpec

INTERPRETED = Mode(linker="py", optimizer=None)  # each graph is evaluated a few times only
RTOL = 1e-9  # same quantity through a Cholesky factor and through sums by sample
SIZES = (1, 3, 2, 1, 4, 2)
CLUSTER = np.repeat(np.arange(len(SIZES)), SIZES)

MU = Prior("normal", {"mu": 0.1, "sigma": 0.5})
TAU = Prior("half_normal", {"sigma": 0.3})
RHO = Prior("beta", {"alpha": 7.0, "beta": 3.0})
SLOPE = Prior("student_t", {"nu": 4.0, "sigma": 0.3})
THREE = {"mu": MU, "tau_between": TAU, "tau_within": TAU}


@dataclass(frozen=True)
class Case:
    """A model, and how its unconstrained parameters are named."""

    design: Design
    spec: ModelSpec
    priors: dict[str, Prior]


def make_design(**changes: Any) -> Design:
    rng = np.random.default_rng(7)
    cluster = np.repeat(np.arange(len(SIZES)), SIZES)
    k = len(cluster)
    fields: dict[str, Any] = {
        "yi": rng.normal(0.2, 0.3, k),
        "vi": rng.uniform(0.004, 0.06, k),
        "X": np.ones((k, 1)),
        "coefficients": ("mu",),
        "cluster": cluster,
        "cluster_names": tuple("abcdef"),
        "row_names": tuple(str(i) for i in range(k)),
    }
    return Design(**{**fields, **changes})


def with_moderators(p: int) -> dict[str, Any]:
    rng = np.random.default_rng(8)
    k = sum(SIZES)
    names = ("beta[intercept]", *(f"beta[x{i}]" for i in range(1, p)))
    return {"X": np.c_[np.ones(k), rng.normal(size=(k, p - 1))], "coefficients": names}


def given_covariance() -> np.ndarray:
    """Return any positive definite matrix for each sample, not of constant correlation."""
    rng = np.random.default_rng(9)
    V = np.zeros((sum(SIZES), sum(SIZES)))
    ends = np.cumsum(SIZES)
    for n, end in zip(SIZES, ends, strict=True):
        factor = rng.normal(0.0, 0.1, (n, n + 2))
        V[end - n : end, end - n : end] = factor @ factor.T + 0.005 * np.eye(n)
    return V


def averaged() -> np.ndarray:
    return np.where(np.arange(sum(SIZES)) % 3 == 0, 3.0, 1.0)


def make_cases() -> dict[str, Case]:
    plain = ModelSpec("m")
    V = given_covariance()
    two = {"mu": MU, "tau_between": TAU}
    mixed = with_moderators(3)
    mixed_priors = dict(zip(mixed["coefficients"], (SLOPE, MU, SLOPE), strict=True))
    wide = with_moderators(10)
    share = {"mu": MU, "tau": TAU, "between_share": Prior("beta", {"alpha": 1.5, "beta": 2.0})}
    return {
        "two levels": Case(make_design(levels=2), plain, two),
        "three levels": Case(make_design(), plain, THREE),
        "total and share": Case(make_design(), plain, share),
        "averaged rows": Case(make_design(n_averaged=averaged()), plain, THREE),
        "moderators, two prior families": Case(make_design(**mixed), plain, THREE | mixed_priors),
        "ten coefficients": Case(
            make_design(**wide), plain, THREE | dict.fromkeys(wide["coefficients"], MU)
        ),
        "correlated errors": Case(
            make_design(n_averaged=averaged(), **with_moderators(2)),
            ModelSpec("m", sampling_correlation=0.6),
            THREE | {"beta[intercept]": MU, "beta[x1]": SLOPE},
        ),
        "unknown correlation": Case(
            make_design(n_averaged=averaged()),
            ModelSpec("m", sampling_correlation=RHO),
            THREE | {"sampling_correlation": RHO},
        ),
        "unknown correlation, two levels": Case(
            make_design(levels=2),
            ModelSpec("m", sampling_correlation=RHO),
            two | {"sampling_correlation": RHO},
        ),
        "given V": Case(
            make_design(V=V, vi=np.diag(V).copy(), n_averaged=averaged()), plain, THREE
        ),
    }


CASES = make_cases()
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def draw_parameters(case: Case, rng: np.random.Generator) -> dict[str, float]:
    return {
        name: float(case.priors[name].ppf(rng.uniform(0.05, 0.95)))
        for name in case.priors
        if name in case.design.coefficients or name != "mu"
    }


def parts(case: Case, at: dict[str, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean, the sampling covariance and the covariance of the true effects."""
    design, rho = case.design, at.get("sampling_correlation", case.spec.sampling_correlation)
    same = design.cluster[:, None] == design.cluster
    V = design.V
    if V is None:
        V = np.where(same, rho * np.sqrt(np.outer(design.vi, design.vi)), 0.0)
        np.fill_diagonal(V, design.vi)
    if "tau" in at:
        between, within = at["tau"] ** 2 * np.array([at["between_share"], 1 - at["between_share"]])
    else:
        between, within = at["tau_between"] ** 2, at.get("tau_within", 0.0) ** 2
    G = between * same + within * np.diag(1 / design.n_averaged)
    return design.X @ [at[name] for name in design.coefficients], V, G


def dense_loglik(case: Case, at: dict[str, float]) -> float:
    mean, V, G = parts(case, at)
    return float(stats.multivariate_normal(mean, V + G).logpdf(case.design.yi))


def unconstrained(name: str, prior: Prior, value: float) -> tuple[str, float, float]:
    """Return PyMC's name and value of a parameter, and the log Jacobian of its transform."""
    if prior.support == (0.0, np.inf):
        return f"{name}_log__", np.log(value), np.log(value)
    if prior.support == (0.0, 1.0):
        return f"{name}_logodds__", np.log(value / (1 - value)), np.log(value * (1 - value))
    return name, value, 0.0


def point_of(case: Case, at: dict[str, float]) -> tuple[dict[str, Any], float]:
    """Return the model's point at given parameters, and its log prior with Jacobians."""
    point: dict[str, Any] = {}
    log_prior = 0.0
    coefficients = case.design.coefficients
    families = {case.priors[name].family for name in coefficients}
    for name, value in at.items():
        prior = case.priors[name]
        log_prior += float(prior.logpdf(value))
        if name.startswith("beta["):
            vector = "beta" if len(families) == 1 else f"beta_{prior.family}"
            point[vector] = np.append(point.get(vector, []), value)
            continue
        their_name, their_value, jacobian = unconstrained(name, prior, value)
        point[their_name] = np.array(their_value)
        log_prior += jacobian
    return point, log_prior


@cases
def test_the_density_is_that_of_the_dense_multivariate_normal(case: Case) -> None:
    model = build_model(case.design, case.spec, case.priors)
    logp = model.compile_logp(mode=INTERPRETED)
    rng = np.random.default_rng(1)
    for _ in range(5):
        at = draw_parameters(case, rng)
        point, log_prior = point_of(case, at)
        assert logp(point) == pytest.approx(dense_loglik(case, at) + log_prior, rel=RTOL)


@cases
def test_the_gradient_is_the_slope_of_the_density(case: Case) -> None:
    model = build_model(case.design, case.spec, case.priors)
    logp = model.compile_logp(mode=INTERPRETED)
    gradient = model.compile_dlogp(mode=INTERPRETED)
    point, _ = point_of(case, draw_parameters(case, np.random.default_rng(2)))
    point = {rv.name: point[rv.name] for rv in model.value_vars}
    step = 1e-5
    slopes = []
    for name, value in point.items():
        for i in np.ndindex(value.shape):
            ends = []
            for side in (-step, step):
                moved = value.copy()
                moved[i] += side
                ends.append(float(logp({**point, name: moved})))
            slopes.append((ends[1] - ends[0]) / (2 * step))
    found = gradient(point)
    assert np.all(np.isfinite(found))
    np.testing.assert_allclose(found, slopes, rtol=1e-5, atol=1e-5)  # error of the difference


@cases
def test_the_likelihoods_of_the_samples_add_up_to_the_dense_one(case: Case) -> None:
    blocks = make_blocks(case.design, case.spec)
    rng = np.random.default_rng(3)
    points = [draw_parameters(case, rng) for _ in range(4)]
    by_sample = LIKELIHOODS["none"].sample_loglik(blocks, as_draws(case, points))
    assert by_sample.shape == (4, case.design.m)
    expected = [dense_loglik(case, at) for at in points]
    np.testing.assert_allclose(by_sample.sum(axis=1), expected, rtol=RTOL)


@cases
def test_drawn_effects_have_the_conditional_mean_and_covariance(case: Case) -> None:
    at = draw_parameters(case, np.random.default_rng(4))
    n = 40_000
    blocks = make_blocks(case.design, case.spec)
    draws = as_draws(case, [at] * n)
    u, w = LIKELIHOODS["none"].draw_effects(blocks, draws, np.random.default_rng(5))
    effects = u[:, case.design.cluster] + w
    mean, V, G = parts(case, at)
    gain = np.linalg.solve(V + G, G).T
    expected = gain @ (case.design.yi - mean)
    covariance = G - gain @ G
    sd = np.sqrt(np.diag(covariance))
    # Five standard errors for 13 means and 91 covariances: one false alarm in 20 000 runs.
    assert np.all(np.abs(effects.mean(axis=0) - expected) < 5 * sd / np.sqrt(n))
    bound = 5 * np.sqrt((covariance**2 + np.outer(sd, sd) ** 2) / n)
    assert np.all(np.abs(np.cov(effects.T) - covariance) < bound)


def as_draws(case: Case, points: list[dict[str, float]]) -> dict[str, np.ndarray]:
    draws = {"beta": np.array([[at[n] for n in case.design.coefficients] for at in points])}
    for name in ("tau_between", "tau_within", "sampling_correlation"):
        if name in points[0]:
            draws[name] = np.array([at[name] for at in points])
    if "tau" in points[0]:
        tau, share = (np.array([at[n] for at in points]) for n in ("tau", "between_share"))
        draws |= {"tau_between": tau * np.sqrt(share), "tau_within": tau * np.sqrt(1 - share)}
    return draws


def test_work_in_chunks_gives_what_one_piece_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES["averaged rows"]
    rng = np.random.default_rng(6)
    draws = as_draws(case, [draw_parameters(case, rng) for _ in range(10)])
    blocks = make_blocks(case.design, case.spec)
    whole = LIKELIHOODS["none"].sample_loglik(blocks, draws)
    monkeypatch.setattr("reanalysis.builders.conditionals.CHUNK", 40)
    np.testing.assert_array_equal(LIKELIHOODS["none"].sample_loglik(blocks, draws), whole)


# ---------------------------------------------------------------- prior families

EXAMPLES: dict[str, dict[str, float]] = {
    "normal": {"mu": 0.3, "sigma": 0.7},
    "half_normal": {"sigma": 0.7},
    "student_t": {"nu": 3.5, "mu": 0.3, "sigma": 0.7},
    "half_student_t": {"nu": 3.5, "sigma": 0.7},
    "cauchy": {"mu": 0.3, "sigma": 0.7},
    "half_cauchy": {"sigma": 0.7},
    "exponential": {"rate": 2.5},
    "lognormal": {"mu": -1.0, "sigma": 0.7},
    "gamma": {"alpha": 2.5, "beta": 4.0},
    "inverse_gamma": {"alpha": 1.5, "beta": 0.15},
    "beta": {"alpha": 2.5, "beta": 1.5},
    "uniform": {"lower": 0.2, "upper": 1.7},
}


def test_every_prior_family_has_a_pymc_distribution() -> None:
    assert PYMC_PRIORS.keys() == FAMILIES.keys() == EXAMPLES.keys()


@pytest.mark.parametrize("family", EXAMPLES)
def test_pymc_gives_a_prior_the_density_of_the_prior(family: str) -> None:
    prior = Prior(family, EXAMPLES[family])
    distribution, their_names = PYMC_PRIORS[family]
    arguments = {their_names[name]: np.float64(v) for name, v in prior.parameters.items()}
    x = prior.ppf(np.linspace(0.01, 0.99, 9))
    value = pt.vector("x")
    logp = pm.logp(distribution.dist(**arguments), value).eval({value: x}, mode=INTERPRETED)
    # PyMC adds log 2 in single precision to two half distributions: a constant, so harmless.
    np.testing.assert_allclose(logp, prior.logpdf(x), rtol=1e-10, atol=5e-9)


# ---------------------------------------------------------------- Student-t effects

ROBUST = ModelSpec("m", effects="student_t")
NU = Prior("gamma", {"alpha": 2.0, "beta": 0.1})


def sample_density(design: Design, j: int, mean: float, V: np.ndarray, u: float) -> float:
    rows = design.cluster == j
    covariance = V[np.ix_(rows, rows)]
    return float(
        stats.multivariate_normal(np.full(rows.sum(), mean + u), covariance).pdf(design.yi[rows])
    )


@pytest.mark.parametrize("nu", [0.7, 4.0])
def test_student_t_samples_have_the_likelihood_of_an_integral_over_their_deviation(
    nu: float,
) -> None:
    design = make_design(n_averaged=averaged(), yi=make_design().yi + 2.0 * (CLUSTER == 1))
    mu, between, within = 0.15, 0.2, 0.1
    V = np.diag(design.vi + within**2 / design.n_averaged)
    draws = {
        "beta": np.array([[mu]]),
        **{
            name: np.array([value])
            for name, value in {"tau_between": between, "tau_within": within, "nu": nu}.items()
        },
    }
    found = LIKELIHOODS["none"].sample_loglik(make_blocks(design, ROBUST), draws)[0]
    t = stats.t(nu, scale=between)
    edges = np.r_[-np.inf, np.linspace(-1.0, 3.0, 9), np.inf]
    for j in range(design.m):
        expected = sum(
            integrate.quad(
                lambda u, j=j: t.pdf(u) * sample_density(design, j, mu, V, u),
                *ends,
                epsabs=1e-300,
                epsrel=1e-10,
            )[0]
            for ends in pairwise(edges)
        )
        assert found[j] == pytest.approx(np.log(expected), abs=1e-7)


def test_the_density_of_student_t_effects_is_that_of_normal_ones_given_their_precisions() -> None:
    design, priors = make_design(), THREE | {"nu": NU}
    model = build_model(design, ROBUST, priors)
    logp = model.compile_logp(mode=INTERPRETED)
    rng = np.random.default_rng(1)
    for nu in (0.5, 3.0, 40.0):
        z = rng.normal(size=design.m)
        precision = np.exp(np.sqrt(2 / nu) * z)
        at = {"mu": 0.1, "tau_between": 0.2, "tau_within": 0.15}
        case = Case(design, ROBUST, priors)
        point, expected = point_of(case, at)
        point |= {"nu_log__": np.array(np.log(nu)), "log_precision": z}
        expected += NU.logpdf(nu) + np.log(nu)
        gamma = stats.gamma(nu / 2, scale=2 / nu)
        expected += np.sum(gamma.logpdf(precision) + np.log(precision * np.sqrt(2 / nu)))
        _, V, within = parts(case, at | {"tau_between": 0.0})
        same = design.cluster[:, None] == design.cluster
        between = at["tau_between"] ** 2 * same / precision[design.cluster]
        normal = stats.multivariate_normal(np.full(design.k, at["mu"]), V + within + between)
        expected += normal.logpdf(design.yi)
        assert logp(point) == pytest.approx(expected, rel=RTOL)


def test_the_nodes_of_the_precisions_carry_the_gamma_distribution() -> None:
    nu = np.array([0.05, 0.5, 2.0, 30.0, 1000.0])
    x, log_weight = precision_nodes(nu)
    mass = np.exp(log_weight)
    # Times sqrt(lambda), as a normal density with variance proportional to 1 / lambda brings it.
    half = np.exp(special.gammaln((nu + 1) / 2) - special.gammaln(nu / 2)) * np.sqrt(2 / nu)
    np.testing.assert_allclose((mass * np.exp(x / 2)).sum(axis=1), half, rtol=1e-8)
    np.testing.assert_allclose((mass * np.exp(x)).sum(axis=1), 1.0, rtol=1e-8)


def test_the_mean_correlation_of_student_t_effects_is_an_integral_over_the_t_density() -> None:
    mu, between, nu = 0.3, 0.25, 3.0
    t = stats.t(nu, loc=mu, scale=between)
    expected = integrate.quad(lambda x: np.tanh(x) * t.pdf(x), -np.inf, np.inf)[0]
    found = student_mean_r(*(np.array([v]) for v in (mu, between, 0.0, nu)))
    assert found[0] == pytest.approx(expected, abs=1e-6)


def test_the_number_of_samples_is_part_of_the_structure_of_student_t_models_alone() -> None:
    priors = THREE | {"nu": NU}
    fewer = make_design(cluster=np.minimum(CLUSTER, 4), cluster_names=tuple("abcde"))
    robust, other = (model_structure(d, ROBUST, priors) for d in (make_design(), fewer))
    assert robust != other
    assert model_structure(make_design(), ROBUST, THREE) == model_structure(fewer, ROBUST, THREE)


# ---------------------------------------------------------------- one structure, many models


def test_models_that_differ_in_numbers_share_a_structure() -> None:
    case = CASES["three levels"]
    wider = {name: Prior(p.family, {"sigma": 9.0}) for name, p in case.priors.items()}
    other = make_design(yi=np.zeros(13), n_averaged=averaged())
    known = ModelSpec("m", sampling_correlation=0.5)
    structure = model_structure(case.design, case.spec, case.priors)
    assert structure == model_structure(other, known, wider)
    assert model_data(other, known, wider)["mu_sigma"] == 9.0


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("three levels",)])
def test_models_of_another_form_have_another_structure(name: str) -> None:
    same = {"averaged rows", "given V"}
    base, other = (
        model_structure(case.design, case.spec, case.priors)
        for case in (CASES["three levels"], CASES[name])
    )
    assert (base == other) == (name in same)


def test_variables_and_dimensions_have_the_names_of_the_contract() -> None:
    case = CASES["ten coefficients"]
    model = build_model(case.design, case.spec, case.priors)
    assert model.named_vars_to_dims["beta"] == ("coefficient",)
    assert model.coords["coefficient"][:2] == ("intercept", "x1")
    assert {"beta", "tau_between", "tau_within", "tau"} <= set(model.named_vars)
    intercept_only = build_model(
        CASES["three levels"].design, CASES["three levels"].spec, CASES["three levels"].priors
    )
    assert "mu" in intercept_only.named_vars


# ---------------------------------------------------------------- refusals


def remove(name: str) -> Callable[[Case], Case]:
    return lambda case: replace(
        case, priors={n: prior for n, prior in case.priors.items() if n != name}
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove("mu"), "no prior for 'mu'"),
        (remove("tau_within"), "no prior for 'tau_within'"),
        (
            lambda case: replace(case, priors=case.priors | {"tau_between": MU}),
            r"prior normal\(mu=0.1, sigma=0.5\) of 'tau_between' reaches outside \[0, inf\]",
        ),
        (
            lambda case: replace(case, priors=case.priors | {"sampling_correlation": MU}),
            r"of 'sampling_correlation' reaches outside \[0, 1\]",
        ),
        (
            lambda case: replace(
                case, design=make_design(V=np.full((13, 13), 0.01), vi=np.full(13, 0.01))
            ),
            "sampling covariance of sample 'b' is not positive definite",
        ),
    ],
)
def test_a_model_that_cannot_be_built_says_why(
    change: Callable[[Case], Case], message: str
) -> None:
    case = change(CASES["three levels"])
    with pytest.raises(EngineError, match=message):
        build_model(case.design, case.spec, case.priors)
