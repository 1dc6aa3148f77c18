"""Bins of p-values, priors on the weights, simulators, and what they refuse."""

import numpy as np
import pytest
from scipy import stats

from reanalysis.selection import Bins, SelectionData, WeightPrior, simulate_selection


def test_an_effect_exactly_on_a_step_counts_as_significant():
    bins = Bins((0.025, 0.5))
    critical = bins.cutoffs([0.1])[0, 0]
    assert bins.of([critical, np.nextafter(critical, 0), 0.0, -1e-12], [0.1] * 4).tolist() == [
        0,
        1,
        1,
        2,
    ]


def test_kaiser_2021_has_7_16_and_2_effects_in_the_bins(kaiser):
    # Counts as printed by metafor 5.1 (metafor5_kaiser2021.json, selmodel_step_025_5).
    assert Bins((0.025, 0.5)).counts(*kaiser).tolist() == [7, 16, 2]


def test_bins_of_huge_z_values_do_not_underflow():
    assert Bins((0.025, 0.5)).counts([1e3, -1e3], [1e-3, 1e-3]).tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ((0.5, 0.025), "increase"),
        ((0.025, 0.025), "increase"),
        ((0.0, 0.5), "between 0 and 1"),
        ((0.5, 1.0), "between 0 and 1"),
        ((), "at least one"),
    ],
)
def test_unusable_steps_are_named(steps, message):
    with pytest.raises(ValueError, match=message):
        Bins(steps)


def test_cumulative_dirichlet_is_uniform_on_ordered_weights():
    rng = np.random.default_rng(1)
    prior = WeightPrior.cumulative_dirichlet(4)
    sorted_uniform = -np.sort(-rng.uniform(size=(40_000, 3)), axis=1)
    draws = prior.rvs(40_000, rng)[:, 1:]
    assert np.all(np.diff(prior.rvs(100, rng), axis=1) <= 0)
    for b in range(3):
        assert stats.ks_2samp(draws[:, b], sorted_uniform[:, b]).pvalue > 1e-3


def test_cumulative_dirichlet_sums_dirichlet_draws_from_the_tail():
    rng = np.random.default_rng(2)
    prior = WeightPrior.cumulative_dirichlet(3, (2.0, 1.0, 3.0))
    eta = rng.dirichlet((2.0, 1.0, 3.0), 40_000)
    draws = prior.rvs(40_000, rng)
    assert stats.ks_2samp(draws[:, 1], eta[:, 1] + eta[:, 2]).pvalue > 1e-3
    assert stats.ks_2samp(draws[:, 2], eta[:, 2]).pvalue > 1e-3
    quantiles = prior.quantiles([0.1, 0.5, 0.9])
    assert np.quantile(draws, [0.1, 0.5, 0.9], axis=0) == pytest.approx(quantiles, abs=0.01)


@pytest.mark.parametrize(
    "prior",
    [WeightPrior.cumulative_dirichlet(3, (2.0, 1.5, 3.0)), WeightPrior.independent_beta(3, 2, 3)],
)
def test_the_density_of_the_coordinates_integrates_to_one(prior):
    nodes, weights = np.polynomial.legendre.leggauss(40)
    x = np.stack(np.meshgrid((nodes + 1) / 2, (nodes + 1) / 2), axis=-1)
    total = np.sum(np.exp(prior.logpdf(x)) * np.outer(weights, weights)) / 4
    assert total == pytest.approx(1, abs=1e-4)  # one exponent is .5


def test_fixed_weights_must_start_with_one():
    assert WeightPrior.fixed([1, 0.3]).omega(np.empty((2, 0))).tolist() == [[1, 0.3], [1, 0.3]]
    with pytest.raises(ValueError, match="start with 1"):
        WeightPrior.fixed([0.9, 0.3])


def test_thin_without_the_number_measured_says_what_is_missing():
    with pytest.raises(ValueError, match="needs n_measured"):
        SelectionData(np.zeros(2), np.ones(2), np.zeros(2), Bins(), "thin")


def test_fewer_measured_than_reported_names_the_sample():
    with pytest.raises(ValueError, match="sample 2 reports 2 effects, but n_measured is 1"):
        SelectionData(
            np.zeros(3), np.ones(3), np.array([0, 1, 1]), Bins(), "thin", n_measured=np.ones(2)
        )


@pytest.mark.parametrize("mechanism", ["joint", "replace", "study", "thin"])
def test_simulators_publish_no_failing_effect_when_its_weight_is_zero(mechanism):
    rng = np.random.default_rng(3)
    cluster = np.repeat(np.arange(200), 3)
    published = simulate_selection(
        mechanism, np.full(600, 0.3), np.full(600, 0.02), cluster, 0.1, 0.1, (1, 1, 0), rng
    )
    data = published.data
    if mechanism == "study":
        assert np.all(np.minimum.reduceat(data.bin, data.starts) < 2)
    else:
        assert np.all(data.bin < 2)
    assert data.m == 200
    if mechanism == "thin":
        assert data.k < 600
        assert np.all(data.missing + data.sizes == 3)


def test_an_impossible_selection_is_given_up_with_a_reason(monkeypatch):
    monkeypatch.setattr("reanalysis.selection.simulate.ROUNDS", 50)
    with pytest.raises(ValueError, match="has still not passed"):
        simulate_selection(
            "joint", [-50.0], [0.01], [0], 0.0, 0.0, (1, 0, 0), np.random.default_rng(1)
        )


@pytest.fixture
def kaiser():
    """Effects and standard errors of Kaiser et al. (2021), Table 2, on Fisher's z."""
    r = [5, 14, 22, 9, 20, 13, 10, 23, -8, -4, 25, 45, 49]
    r += [16, 10, 26, 31, 24, 24, 13, 47, 9, 44, 47, 7]
    n = [96, 56, 96, 25, 24, 35, 90, 48, 49, 44, 44, 27, 25]
    n += [41, 58, 158, 29, 38, 41, 25, 20, 15, 31, 35, 21]
    return np.arctanh(np.array(r) / 100), 1 / np.sqrt(np.array(n) - 3)
