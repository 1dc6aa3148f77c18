"""Prior distributions: densities integrate to one, quantiles invert them, faults are named."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad

from reanalysis.priors import FAMILIES, Prior

EXAMPLES = {
    "normal": ({"mu": 0.3, "sigma": 0.7}, stats.norm(0.3, 0.7)),
    "half_normal": ({"sigma": 0.3}, stats.halfnorm(scale=0.3)),
    "student_t": ({"nu": 4.0, "mu": 0.1, "sigma": 0.5}, stats.t(4, 0.1, 0.5)),
    "half_student_t": ({"nu": 3.0, "sigma": 0.4}, stats.foldnorm),
    "cauchy": ({"mu": 0.2, "sigma": 0.6}, stats.cauchy(0.2, 0.6)),
    "half_cauchy": ({"sigma": 0.5}, stats.halfcauchy(scale=0.5)),
    "exponential": ({"rate": 3.0}, stats.expon(scale=1 / 3)),
    "lognormal": ({"mu": -1.0, "sigma": 0.5}, stats.lognorm(0.5, scale=np.exp(-1))),
    "gamma": ({"alpha": 2.0, "beta": 5.0}, stats.gamma(2, scale=1 / 5)),
    "inverse_gamma": ({"alpha": 1.0, "beta": 0.15}, stats.invgamma(1, scale=0.15)),
    "beta": ({"alpha": 2.0, "beta": 3.0}, stats.beta(2, 3)),
    "uniform": ({"lower": -1.0, "upper": 3.0}, stats.uniform(-1, 4)),
}
PROBABILITIES = np.array([0.001, 0.025, 0.3, 0.5, 0.9, 0.999])
RTOL = 1e-9  # SciPy's own special functions agree with its distributions to about 1e-12


def test_every_family_has_an_example_here() -> None:
    assert set(EXAMPLES) == set(FAMILIES)


@pytest.mark.parametrize("family", [f for f in EXAMPLES if f != "half_student_t"])
def test_density_and_quantiles_equal_scipy_stats(family: str) -> None:
    parameters, reference = EXAMPLES[family]
    prior = Prior(family, parameters)
    x = reference.ppf(PROBABILITIES)
    np.testing.assert_allclose(prior.logpdf(x), reference.logpdf(x), rtol=RTOL, atol=1e-12)
    np.testing.assert_allclose(prior.ppf(PROBABILITIES), x, rtol=RTOL)


def test_half_student_t_folds_the_student_t() -> None:
    prior = Prior("half_student_t", {"nu": 3.0, "sigma": 0.4})
    whole = stats.t(3, 0, 0.4)
    x = np.array([0.0, 0.1, 0.5, 2.0])
    np.testing.assert_allclose(prior.logpdf(x), np.log(2) + whole.logpdf(x), rtol=RTOL)
    np.testing.assert_allclose(prior.ppf(PROBABILITIES), whole.ppf(0.5 + PROBABILITIES / 2))


@pytest.mark.parametrize("family", EXAMPLES)
def test_density_integrates_to_one_over_its_support(family: str) -> None:
    prior = Prior(family, EXAMPLES[family][0])
    middle = float(prior.ppf(0.5))
    lower, upper = prior.support
    total = sum(
        quad(lambda x: float(np.exp(prior.logpdf(x))), *ends, limit=200)[0]
        for ends in ((lower, middle), (middle, upper))
    )
    assert total == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("family", EXAMPLES)
def test_density_is_zero_outside_the_support(family: str) -> None:
    prior = Prior(family, EXAMPLES[family][0])
    lower, upper = prior.support
    outside = [x for x in (lower - 1, upper + 1) if np.isfinite(x)]
    assert np.all(prior.logpdf(outside) == -np.inf)


@given(q=st.floats(0.001, 0.999), family=st.sampled_from(sorted(EXAMPLES)))
def test_quantile_is_the_inverse_of_the_integrated_density(q: float, family: str) -> None:
    prior = Prior(family, EXAMPLES[family][0])
    x = float(prior.ppf(q))
    slope = (float(prior.ppf(min(q + 1e-6, 1))) - float(prior.ppf(q - 1e-6))) / 2e-6
    assert np.exp(prior.logpdf(x)) * slope == pytest.approx(1, rel=1e-3)


def test_draws_by_inversion_follow_the_distribution() -> None:
    draws = Prior("half_normal", {"sigma": 0.3}).rvs(20_000, np.random.default_rng(1))
    assert stats.kstest(draws, stats.halfnorm(scale=0.3).cdf).pvalue > 0.001


def test_defaults_are_filled_in_and_shown() -> None:
    assert str(Prior("normal", {"sigma": 1})) == "normal(mu=0, sigma=1)"


def test_priors_with_the_same_parameters_are_one_key() -> None:
    assert len({Prior("normal", {"sigma": 1}), Prior("normal", {"mu": 0, "sigma": 1.0})}) == 1


def test_a_prior_survives_pickling() -> None:
    prior = Prior("beta", {"alpha": 1, "beta": 2}, "why")
    assert pickle.loads(pickle.dumps(prior)) == prior


@pytest.mark.parametrize(
    ("family", "parameters", "words"),
    [
        ("norml", {"sigma": 1}, ["norml", "Did you mean 'normal'"]),
        ("normal", {"sigma": 0.0}, ["sigma", "greater than 0"]),
        ("normal", {"sigma": -1}, ["sigma", "greater than 0"]),
        ("normal", {"sigma": float("nan")}, ["sigma", "finite"]),
        ("normal", {"sigma": 10**400}, ["sigma", "finite"]),
        ("normal", {"sigma": "1"}, ["sigma", "number", "'1'"]),
        ("normal", {"sigma": True}, ["sigma", "number"]),
        ("normal", {}, ["needs", "sigma"]),
        ("half_normal", {"scale": 1}, ["scale", "sigma"]),
        ("uniform", {"lower": 1, "upper": 1}, ["lower", "below"]),
    ],
)
def test_a_faulty_prior_names_parameter_and_remedy(
    family: str, parameters: dict[str, float], words: list[str]
) -> None:
    with pytest.raises(ValueError) as caught:
        Prior(family, parameters)
    assert all(word in str(caught.value) for word in words)
