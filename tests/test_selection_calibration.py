"""Simulation-based calibration: simulators and likelihoods agree, and a broken one is caught."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from reanalysis.design import Design
from reanalysis.exact.selection import fit_exact_selection
from reanalysis.exact.selection_calibration import calibrate_selection, simulate_replicate
from reanalysis.exact.selection_identification import SILENT_OVERLAP, identify_weights
from reanalysis.exact.selection_sensitivity import assess_sensitivity
from reanalysis.priors import Prior
from reanalysis.results import EngineError
from reanalysis.selection import Bins, WeightPrior, factors, log_likelihood, simulate_selection
from reanalysis.spec import ModelSpec

MU = np.linspace(-0.2, 0.6, 9)
TAU_BETWEEN = np.array([0.0, 0.1, 0.25])
OMEGA = np.array([[1.0, 1.0, 1.0], [1.0, 0.6, 0.3], [1.0, 0.3, 0.1], [1.0, 0.1, 0.05]])
REPLICATES = 150
MECHANISMS = ("joint", "replace", "study", "thin")


def tail_probabilities(mechanism, fitted_mechanism, seed, m=6, size=2, *, primary=None):
    """Randomised probability integral transforms of a discrete prior's parameters.

    The prior is uniform on a grid, so the posterior is exact: nothing but the simulator and the
    likelihood is tested. The last column is the log-likelihood itself.
    """
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(m), size)
    vi = np.repeat(1 / rng.integers(17, 77, m), size)
    mu, tau = (a.ravel() for a in np.meshgrid(MU, TAU_BETWEEN, indexing="ij"))
    values = np.stack(
        [np.repeat(mu, len(OMEGA)), np.repeat(tau, len(OMEGA)), np.tile(OMEGA[:, 1], len(mu))]
    )
    result = np.empty((REPLICATES, 4))
    for r in range(REPLICATES):
        s, w = rng.integers(len(mu)), rng.integers(len(OMEGA))
        data = simulate_selection(
            mechanism,
            np.full(m * size, mu[s]),
            vi,
            cluster,
            tau[s],
            0.1,
            OMEGA[w],
            rng,
            primary=primary,
        ).data
        data = replace(data, mechanism=fitted_mechanism)
        loglik = log_likelihood(
            data, np.repeat(mu[:, None], data.k, axis=1), tau, np.full_like(tau, 0.1), OMEGA
        ).ravel()
        posterior = np.exp(loglik - loglik.max())
        posterior /= posterior.sum()
        truth = s * len(OMEGA) + w
        for i, value in enumerate([*values, loglik.round(9)]):
            below = posterior[value < value[truth]].sum()
            equal = posterior[value == value[truth]].sum()
            result[r, i] = below + rng.uniform() * equal
    return result


@pytest.fixture
def show(capsys):
    """Print histograms of ranks, ten bins for each parameter, past pytest's capture."""

    def histograms(title, names, ranks):
        with capsys.disabled():
            print(f"\n{title}: {len(ranks)} replicates")
            for name, column in zip(names, np.transpose(ranks), strict=True):
                counts = np.histogram(np.clip(column, 0, 1), np.linspace(0, 1, 11))[0]
                print(f"  {name:>15} {' '.join(f'{n:3d}' for n in counts)}")

    return histograms


NAMES = ("mu", "tau_between", "omega", "log-likelihood")


@pytest.mark.parametrize("mechanism", [*MECHANISMS, "study, primary"])
def test_posterior_ranks_of_the_truth_are_uniform(mechanism, show):
    name = mechanism.partition(",")[0]
    primary = np.arange(12) % 2 == 0 if mechanism == "study, primary" else None
    ranks = tail_probabilities(name, name, seed=1, primary=primary)
    show(mechanism, NAMES, ranks)
    for column, name in enumerate(NAMES):
        assert stats.kstest(ranks[:, column], "uniform").pvalue > 1e-3, name


@pytest.mark.parametrize(("mechanism", "wrong"), [("joint", "replace"), ("study", "joint")])
def test_another_mechanisms_normaliser_is_caught(mechanism, wrong):
    ranks = tail_probabilities(mechanism, wrong, seed=2, m=12, size=3)
    pvalues = [stats.kstest(column, "uniform").pvalue for column in ranks.T]
    assert min(pvalues) < 1e-6


def test_a_broken_normaliser_is_caught(monkeypatch, show):
    survive = factors._all_survive
    monkeypatch.setattr(
        factors, "_all_survive", lambda rows, weights: np.sqrt(survive(rows, weights))
    )
    ranks = tail_probabilities("joint", "joint", seed=3)
    show("joint, square root of its normaliser", NAMES, ranks)
    pvalues = [stats.kstest(column, "uniform").pvalue for column in ranks.T]
    assert min(pvalues) < 1e-6


PRIORS = {
    "mu": Prior("normal", {"mu": 0.1, "sigma": 0.2}),
    "tau_between": Prior("half_normal", {"sigma": 0.2}),
}


def small_design(k=15, **changes):
    rng = np.random.default_rng(4)
    names = tuple(map(str, range(k)))
    design = Design(
        yi=rng.normal(0.2, 0.15, k),
        vi=1 / rng.integers(17, 97, k),
        X=np.ones((k, 1)),
        coefficients=("mu",),
        cluster=np.arange(k),
        cluster_names=names,
        row_names=names,
        measure="ZCOR",
        levels=2,
    )
    return replace(design, **changes)


def spec_of(mechanism="joint", steps=(0.025,)):
    return ModelSpec(name="selection", mechanism=mechanism, steps=steps, priors=PRIORS)


def test_the_exact_engine_is_calibrated(show):
    ranks = calibrate_selection(small_design(), spec_of(), PRIORS, replicates=40, seed=7)
    show("joint, exact engine", ranks.columns, ranks.to_numpy())
    assert ranks.notna().all().all()
    for name in ranks.columns:
        assert stats.kstest(ranks[name], "uniform").pvalue > 1e-3, name
    assert list(ranks.columns) == ["mu", "tau_between", "omega[2]", "log_likelihood"]


def test_replicates_of_thin_lose_rows_but_remember_how_many_were_measured():
    design = small_design(24, cluster=np.repeat(np.arange(8), 3), cluster_names=tuple("abcdefgh"))
    design = replace(design, n_measured=np.full(8, 3.0))
    truth, published = simulate_replicate(design, spec_of("thin"), PRIORS, np.random.default_rng(1))
    assert published.k < design.k
    assert published.n_measured.tolist() == [3.0] * 8
    assert set(truth) == {"mu", "tau_between", "omega[2]"}


def test_sensitivity_starts_at_the_uncorrected_mean_and_falls_with_the_weight():
    result = assess_sensitivity(small_design(), spec_of(), PRIORS, weights=(1, 0.5, 0.1, 1e-6))
    plain = fit_exact_selection(
        small_design(), spec_of(), PRIORS, weights=WeightPrior.fixed([1, 1])
    )
    assert result.curve["value"].iloc[0] == pytest.approx(plain.estimates["mu"].value)
    assert np.all(np.diff(result.curve["value"]) < 0)
    assert result.tipping_weight is not None
    at_tip = fit_exact_selection(
        small_design(), spec_of(), PRIORS, weights=WeightPrior.fixed([1, result.tipping_weight])
    )
    assert at_tip.estimates["mu"].lower == pytest.approx(0, abs=2e-3)
    assert "reaches zero once" in result.sentence


def test_sensitivity_says_when_the_interval_includes_zero_from_the_start():
    design = small_design()
    result = assess_sensitivity(replace(design, yi=design.yi - 0.2), spec_of(), PRIORS)
    assert "already" in result.sentence


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 0.0), (1.2, 0.5)])
def test_unusable_weights_are_named(weights):
    with pytest.raises(ValueError, match=r"values in \(0, 1\]"):
        assess_sensitivity(small_design(), spec_of(), PRIORS, weights=weights)


def test_models_without_weights_have_no_sensitivity():
    with pytest.raises(EngineError, match="no weights to vary"):
        assess_sensitivity(small_design(), spec_of("pet"), PRIORS)


def test_few_samples_do_not_say_how_strong_selection_was():
    result = identify_weights(fit_exact_selection(small_design(5), spec_of(), PRIORS))
    assert not result.informed
    assert "do not say" in result.sentence
    assert np.all(result.table["overlap"] > SILENT_OVERLAP)


def test_many_samples_under_strong_selection_say_so():
    rng = np.random.default_rng(5)
    k = 150
    design = small_design(k)
    data = simulate_selection(
        "joint",
        np.full(k, 0.15),
        design.vi,
        np.arange(k),
        0.1,
        0.0,
        (1, 0.1),
        rng,
        bins=Bins((0.025,)),
    ).data
    fit = fit_exact_selection(replace(design, yi=data.yi), spec_of(), PRIORS)
    result = identify_weights(fit)
    assert result.informed
    assert fit.estimates["omega[2]"].lower < 0.1 < fit.estimates["omega[2]"].upper
    assert fit.estimates["mu"].lower < 0.15 < fit.estimates["mu"].upper


def test_fixed_weights_cannot_be_identified():
    fit = fit_exact_selection(
        small_design(), spec_of(), PRIORS, weights=WeightPrior.fixed([1, 0.5])
    )
    with pytest.raises(ValueError, match="no free selection weights"):
        identify_weights(fit)
