"""Model averaging against the exact 36-model ensembles of `exact_psma_*.json`.

The references follow RoBMA 3.6.1: p-values of the t test of a correlation, priors of Cohen's d
halved. Their models without effect and heterogeneity were integrated more coarsely for Molloy et
al. (adaptive quadrature of one of them, in one dimension, agrees with ours to 1e-5).
"""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, stats

from reanalysis.design import Design
from reanalysis.exact.average import (
    PSMA,
    BiasModel,
    average_models,
    named_biases,
    psma_by_mechanism,
)
from reanalysis.priors import Prior
from reanalysis.results import EngineError
from reanalysis.runner import run
from reanalysis.spec import Average, Bias, ModelSpec
from reanalysis.spec_file import load_reanalysis

REFERENCE = Path(__file__).parent / "reference"
ROBMA = ModelSpec(
    name="robma",
    priors={
        "mu": Prior("normal", {"mu": 0.0, "sigma": 0.5}),
        "tau_between": Prior("inverse_gamma", {"alpha": 1.0, "beta": 0.075}),
    },
)

TWO_LEVEL = {
    "mu": Prior("normal", {"mu": 0.0, "sigma": 0.5}),
    "tau_between": Prior("half_normal", {"sigma": 0.25}),
}


def design_of(name, *, clustered=False):
    with (REFERENCE / "data" / f"{name}.csv").open() as file:
        rows = list(csv.DictReader(file))
    k = len(rows)
    study = [row["study"] for row in rows]
    names = tuple(dict.fromkeys(study)) if clustered else tuple(map(str, range(k)))
    return Design(
        yi=np.array([float(row["yi"]) for row in rows]),
        vi=np.array([float(row["vi"]) for row in rows]),
        X=np.ones((k, 1)),
        coefficients=("mu",),
        cluster=np.array([names.index(s) if clustered else i for i, s in enumerate(study)]),
        cluster_names=names,
        row_names=tuple(map(str, range(k))),
        measure="ZCOR",
        levels=3 if clustered else 2,
        ni=np.array([float(row["ni"]) for row in rows]),
    )


@pytest.fixture(scope="module", params=["kaiser2021", "molloy2014"])
def ensemble(request):
    reference = json.loads((REFERENCE / f"exact_psma_{request.param}.json").read_text())
    return average_models(design_of(request.param), ROBMA, p_values="t"), reference


def test_every_model_of_the_ensemble_has_the_reference_marginal_likelihood(ensemble):
    average, reference = ensemble
    expected = np.array([model["log_marginal"] for model in reference["models"]])
    share = np.array(reference["post_prob"])
    difference = np.abs(average.models["log_marginal_likelihood"] - expected)
    assert np.all(difference < 0.01)
    assert np.all(difference[share > 1e-3] < 2e-3)


def test_model_probabilities_and_inclusion_bayes_factors_are_within_one_per_cent(ensemble):
    average, reference = ensemble
    assert average.models["prior"].tolist() == pytest.approx(reference["prior_prob"])
    posterior = np.array(reference["post_prob"])
    assert average.models["posterior"].to_numpy() == pytest.approx(posterior, rel=0.01, abs=1e-6)
    for component in ("effect", "heterogeneity", "bias"):
        row = average.inclusion.loc[component]
        assert row["bayes_factor"] == pytest.approx(reference[f"BF_{component}"], rel=0.002)
        assert row["posterior"] == pytest.approx(reference[f"post_{component}"], abs=1e-3)


def test_averaged_and_conditional_estimates_are_those_of_the_reference(ensemble):
    average, reference = ensemble
    mu = average.averaged["mu"]
    assert mu.value == pytest.approx(reference["mu_mean"], abs=0.003 * reference["mu_sd"])
    assert mu.sd == pytest.approx(reference["mu_sd"], rel=0.003)
    assert average.averaged["tau"].value == pytest.approx(reference["tau_mean"], rel=0.003)
    assert average.averaged["pet"].value == pytest.approx(reference["PET_mean"], rel=0.003)
    assert average.averaged["peese"].value == pytest.approx(reference["PEESE_mean"], rel=0.005)
    conditional = average.conditional
    assert conditional["mu"].value == pytest.approx(reference["mu_mean_conditional"], rel=0.002)
    assert conditional["tau"].value == pytest.approx(reference["tau_mean_conditional"], rel=0.002)


def test_the_probability_of_no_effect_is_a_spike_in_the_averaged_mean(ensemble):
    average, reference = ensemble
    mu = average.averaged["mu"]
    if reference["post_effect"] < 0.5:
        assert mu.median == 0.0
    assert mu.lower == 0.0
    assert average.conditional["mu"].upper >= mu.upper


def test_the_weight_function_is_one_for_the_most_significant_effects(ensemble):
    table = ensemble[0].weight_function
    assert table["mean"].iloc[0] == pytest.approx(1.0)
    assert table["p_to"].iloc[-1] == 1.0
    assert np.all(table["mean"] <= 1 + 1e-9)


def test_a_null_model_with_selection_agrees_with_adaptive_quadrature():
    design = design_of("molloy2014")
    steps, se = (0.05,), np.sqrt(design.vi)
    t = stats.t.isf(0.025, design.ni - 2)
    cut = np.arctanh(t / np.sqrt(t**2 + design.ni - 2))
    tail = 2 * stats.norm.sf(cut / se)

    def likelihood(weight):
        return np.prod(
            np.where(np.abs(design.yi) >= cut, 1, weight) / (weight + (1 - weight) * tail)
        )

    value = np.log(integrate.quad(likelihood, 0, 1, epsabs=1e-14)[0])
    value += stats.norm.logpdf(design.yi, 0, se).sum()
    biases = (PSMA[0], BiasModel("two-sided", "joint", 1.0, steps, True))
    average = average_models(design, ROBMA, biases=biases, p_values="t")
    ours = average.models.query("not effect and not heterogeneity and mechanism == 'joint'")
    assert ours["log_marginal_likelihood"].item() == pytest.approx(value, abs=1e-4)


def test_averaging_over_mechanisms_shares_the_weight_of_each_weight_function():
    weights = (PSMA[0], replace(PSMA[3], weight=1.0))
    biases = [weights[0]]
    biases += [
        BiasModel(f"one-sided ({m})", m, 1 / 3, (0.05,)) for m in ("joint", "replace", "study")
    ]
    spec = ModelSpec(
        name="three_level",
        priors={"mu": Prior("normal", {"mu": 0.0, "sigma": 0.5})}
        | {f"tau_{n}": Prior("half_normal", {"sigma": 0.3}) for n in ("between", "within")},
    )
    average = average_models(design_of("kaiser2021", clustered=True), spec, biases=biases)
    assert average.models["prior"].sum() == pytest.approx(1)
    assert average.models["posterior"].sum() == pytest.approx(1)
    assert average.inclusion.loc["bias: replace", "prior"] == pytest.approx(1 / 6)
    assert {"tau_between", "tau_within"} <= set(average.averaged)
    assert len(psma_by_mechanism()) == 1 + 3 * 6 + 2
    assert sum(b.weight for b in psma_by_mechanism()[1:]) == pytest.approx(1)


def test_the_spec_may_list_another_set_with_other_prior_probabilities():
    biases = named_biases(
        (
            Bias("none"),
            Bias("joint", (0.025,), weight=3.0),
            Bias("joint", (0.05,), True),
            Bias("pet"),
        )
    )
    assert [bias.name for bias in biases] == [
        "none",
        "one-sided .025 (joint)",
        "two-sided .05 (joint)",
        "PET",
    ]
    average = average_models(
        design_of("kaiser2021"), ROBMA, biases=biases, prior_effect=0.2, prior_bias=0.8
    )
    prior = average.models.groupby("bias")["prior"].sum()
    assert prior["one-sided .025 (joint)"] == pytest.approx(0.8 * 3 / 5)
    assert prior["none"] == pytest.approx(0.2)
    assert average.inclusion.loc["effect", "prior"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"bias": (Bias("joint"),)}, "at least one model with bias and one without"),
        ({"bias": (Bias("none"), Bias("pet")), "mechanisms": ("study",)}, "give either bias"),
        ({"prior_bias": 1.0}, "less than 1"),
    ],
)
def test_a_set_that_cannot_be_averaged_is_refused_as_it_is_read(settings, words):
    with pytest.raises(ValueError, match=words):
        Average("m", **settings)


def test_an_average_that_fails_leaves_a_run_standing_and_gives_the_reason(tmp_path):
    (tmp_path / "t.csv").write_text("study,r,n\nA,.1,50\nB,.2,50\nC,.3,50\n")
    spec = tmp_path / "s.toml"
    spec.write_text('[data]\npath = "t.csv"\n[[model]]\nname = "m"\n[average]\nmodel = "m"\n')
    analysis = run(load_reanalysis(spec), engines=("exact",))
    assert analysis.average is None
    assert "all have the same, 0.146" in analysis.further.skipped["average"]
    assert analysis.models["m"].exact is not None


def test_thin_cannot_be_averaged_with_mechanisms_that_ignore_how_many_were_reported():
    with pytest.raises(ValueError, match="'thin' cannot be averaged over"):
        BiasModel("thin", "thin")


def test_a_set_without_an_unbiased_model_is_refused():
    with pytest.raises(ValueError, match="at least one model with bias and one without"):
        average_models(design_of("kaiser2021"), ROBMA, biases=PSMA[1:])


def test_moderators_are_refused():
    design = design_of("kaiser2021")
    design = replace(design, coefficients=("beta[intercept]",))
    with pytest.raises(EngineError, match="one mean and no moderators"):
        average_models(design, ROBMA)


def test_t_test_p_values_need_sample_sizes():
    with pytest.raises(ValueError, match="need correlations with their sample sizes"):
        average_models(replace(design_of("kaiser2021"), ni=None), ROBMA, p_values="t")


@pytest.mark.parametrize(("k", "mu", "tau"), [(25, 0.2, 0.1), (60, 0.2, 0.0)])
def test_models_that_the_data_speak_against_do_not_end_the_average(k, mu, tau):
    """Without an effect only tiny weights explain the data, which need grids of their own.

    The weights of such a model are integrated again by adaptive quadrature: with one step, no
    effect and no heterogeneity a likelihood is prod(w) / prod(A), A the chance of being seen.
    """
    rng = np.random.default_rng(k)
    vi = 1 / rng.integers(12, 300, k)
    yi = mu + rng.normal(0, np.sqrt(tau**2 + vi))
    names = tuple(map(str, range(k)))
    design = Design(yi, vi, np.ones((k, 1)), ("mu",), np.arange(k), names, names, "ZCOR", levels=2)
    models = average_models(design, replace(ROBMA, priors=TWO_LEVEL)).models
    assert len(models) == 36
    null = models[(models["bias"] == "one-sided .05") & ~models["effect"]]
    found = float(null.loc[~null["heterogeneity"], "log_marginal_likelihood"].iloc[0])
    z = yi / np.sqrt(vi)
    beyond = int(np.sum(stats.norm.sf(z) > 0.05))
    normal = float(np.sum(stats.norm.logpdf(yi, 0, np.sqrt(vi))))

    def weighted(w):
        return beyond * np.log(w) - k * np.log(0.05 + 0.95 * w)

    top = max(weighted(w) for w in np.linspace(1e-4, 1, 10_000))
    area, _ = integrate.quad(lambda w: np.exp(weighted(w) - top), 0, 1, limit=500, epsabs=0)
    assert found == pytest.approx(normal + top + np.log(area), abs=5e-3)
