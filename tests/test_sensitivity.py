"""Sensitivity of a model to its priors and to each sample."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from reanalysis.dataset import Dataset
from reanalysis.design import make_design
from reanalysis.exact import fit_exact
from reanalysis.priors import Prior
from reanalysis.results import EngineError
from reanalysis.sensitivity import leave_samples_out, power_prior, scale_curve, scale_priors
from reanalysis.spec import ModelSpec

PRIORS = [
    Prior("normal", {"mu": 0.2, "sigma": 0.5}),
    Prior("half_normal", {"sigma": 0.3}),
    Prior("student_t", {"nu": 4.0, "mu": 0.1, "sigma": 0.3}),
    Prior("half_student_t", {"nu": 3.0, "sigma": 0.3}),
    Prior("cauchy", {"sigma": 0.3}),
    Prior("half_cauchy", {"sigma": 0.3}),
    Prior("exponential", {"rate": 2.0}),
    Prior("lognormal", {"mu": -1.0, "sigma": 0.6}),
    Prior("gamma", {"alpha": 2.0, "beta": 3.0}),
    Prior("inverse_gamma", {"alpha": 2.0, "beta": 0.3}),
    Prior("beta", {"alpha": 2.0, "beta": 3.0}),
    Prior("uniform", {"lower": 0.0, "upper": 1.0}),
]


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(3)
    sample = np.repeat(np.arange(8), [1, 2, 1, 3, 1, 2, 1, 1])
    frame = pd.DataFrame(
        {
            "r": np.round(rng.normal(0.25, 0.1, len(sample)), 3),
            "n": rng.integers(30, 120, len(sample)),
            "study": sample,
        }
    )
    return Dataset.from_frame(frame, measure="ZCOR", ri="r", ni="n", sample="study")


@pytest.mark.parametrize("prior", PRIORS, ids=str)
@pytest.mark.parametrize("alpha", [0.8, 1.25])
def test_the_power_of_a_prior_is_proportional_to_its_density_to_that_power(
    prior: Prior, alpha: float
) -> None:
    x = np.linspace(0.05, 0.95, 19)
    ratio = power_prior(prior, alpha).logpdf(x) - alpha * prior.logpdf(x)
    np.testing.assert_allclose(ratio, ratio[0], atol=1e-10)


def test_a_power_without_an_integral_is_refused() -> None:
    with pytest.raises(EngineError, match="has no integral"):
        power_prior(Prior("cauchy", {"sigma": 1.0}), 0.5)
    with pytest.raises(EngineError, match="is no prior"):
        power_prior(Prior("gamma", {"alpha": 0.1, "beta": 1.0}), 2.0)


def test_the_bayes_factor_falls_with_a_wide_prior_and_matches_the_exact_engine(
    data: Dataset,
) -> None:
    spec = ModelSpec(name="m")
    design = make_design(data, spec)
    curve = scale_curve(design, spec, scales=(0.1, 2.0, 50.0))
    assert curve["stated"].tolist() == [False, True, False, False]
    own = curve[curve["stated"]].iloc[0]
    exact = fit_exact(design, spec)
    assert own["scale"] == 0.5
    assert own["log_bayes_factor"] == pytest.approx(exact.bayes_factors["mu"], abs=1e-6)
    # Lindley: a prior 25 times as wide costs log 25 once it is much wider than the likelihood.
    drop = curve["log_bayes_factor"].iloc[2] - curve["log_bayes_factor"].iloc[3]
    assert drop == pytest.approx(np.log(25), abs=0.01)


def test_a_sample_given_the_others_has_the_density_of_its_exact_prediction(data: Dataset) -> None:
    spec = ModelSpec(name="m", levels=2)
    table = leave_samples_out(data, spec).set_index("sample")
    design = make_design(data, spec)
    full = fit_exact(design, spec)
    assert table["k"].sum() == design.k
    rest = make_design(data, replace(spec, exclude={"study": ("0",)}))
    alone = fit_exact(rest, spec)
    first = table.loc["0"]
    assert first["estimate"] == pytest.approx(alone.estimates["mu"].value, abs=1e-6)
    assert first["tau"] == pytest.approx(alone.estimates["tau_between"].value, abs=1e-6)
    assert first["log_predictive"] == pytest.approx(
        full.log_marginal_likelihood - alone.log_marginal_likelihood, abs=1e-6
    )
    assert first["log_bayes_factor_change"] == pytest.approx(
        full.bayes_factors["mu"] - alone.bayes_factors["mu"], abs=1e-6
    )
    # A normal with the moments of the prediction for sample 0 comes close to its density.
    mu, tau = alone.estimates["mu"], alone.estimates["tau_between"]
    assert mu.sd is not None and tau.sd is not None
    variance = mu.sd**2 + tau.value**2 + tau.sd**2 + design.vi[0]
    normal = -0.5 * ((design.yi[0] - mu.value) ** 2 / variance + np.log(2 * np.pi * variance))
    assert first["log_predictive"] == pytest.approx(normal, abs=0.15)


def test_an_outlying_sample_moves_the_estimate_most_and_is_predicted_worst() -> None:
    r = [0.2, 0.22, 0.18, 0.25, 0.21, 0.75]
    frame = pd.DataFrame({"r": r, "n": 80, "study": list("abcdef")})
    data = Dataset.from_frame(frame, measure="ZCOR", ri="r", ni="n", sample="study")
    table = leave_samples_out(data, ModelSpec(name="m")).set_index("sample")
    assert table["shift"].abs().idxmax() == "f"
    assert table.loc["f", "shift"] < 0
    assert table["log_predictive"].idxmin() == "f"


def test_strengthening_the_prior_of_the_heterogeneity_shrinks_it(data: Dataset) -> None:
    spec = ModelSpec(name="m")
    design = make_design(data, spec)
    table = scale_priors(design, spec).set_index(["group", "alpha", "parameter"])
    assert table.loc[("heterogeneity", 1.25, "tau"), "shift"] < 0
    assert table.loc[("heterogeneity", 0.8, "tau"), "shift"] > 0
    assert table.loc[("effect", 1.25, "mu"), "shift"] < 0  # towards the prior mean of zero
    same = scale_priors(design, spec, alphas=(1.0,))
    np.testing.assert_allclose(same["shift"], 0, atol=1e-6)


def test_sensitivity_refuses_selection_and_priors_without_a_scale(data: Dataset) -> None:
    spec = ModelSpec(name="m", mechanism="joint")
    with pytest.raises(EngineError, match="'joint'"):
        leave_samples_out(data, spec)
    cauchy = ModelSpec(name="m", priors={"mu": Prior("cauchy", {"sigma": 1.0})})
    with pytest.raises(EngineError, match="only if normal"):
        scale_curve(make_design(data, cauchy), cauchy)
