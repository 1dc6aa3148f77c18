"""Predictive checks against closed forms, the exact posterior and data that do not fit."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from reanalysis.calibration import simulate_given
from reanalysis.dataset import Dataset
from reanalysis.design import Design, make_design
from reanalysis.exact import fit_exact
from reanalysis.predictive import STATISTICS, check_predictions, posterior_parameters
from reanalysis.priors import Prior
from reanalysis.results import EngineError
from reanalysis.spec import ModelSpec

SPEC = ModelSpec(name="m")


@pytest.fixture(scope="module")
def design() -> Design:
    rng = np.random.default_rng(5)
    sample = np.repeat(np.arange(12), [1, 2, 1, 3, 1, 2, 1, 1, 2, 1, 1, 4])
    n = rng.integers(30, 150, 12)[sample]
    z = 0.2 + rng.normal(0, 0.1, 12)[sample] + rng.normal(0, 1 / np.sqrt(n - 3))
    frame = pd.DataFrame({"r": np.tanh(z), "n": n, "s": sample})
    data = Dataset.from_frame(frame, measure="ZCOR", ri="r", ni="n", sample="s")
    return make_design(data, SPEC)


def test_without_heterogeneity_q_is_chi_squared(design: Design) -> None:
    count = 20_000
    truth = {"mu": np.full(count, 0.2), "tau_between": np.zeros(count)}
    truth["tau_within"] = np.zeros(count)
    Y = simulate_given(design, SPEC, truth, np.random.default_rng(1))
    q = STATISTICS["q"][1](Y, design)
    df = design.k - 1
    assert q.mean() == pytest.approx(df, abs=5 * np.sqrt(2 * df / count))
    assert q.var() == pytest.approx(2 * df, rel=0.1)


def test_the_spread_within_samples_is_the_pooled_standard_deviation(design: Design) -> None:
    frame = pd.DataFrame({"y": design.yi, "s": design.cluster})
    groups = [g["y"].to_numpy() for _, g in frame.groupby("s") if len(g) > 1]
    pooled = sum(((g - g.mean()) ** 2).sum() for g in groups) / sum(len(g) - 1 for g in groups)
    found = STATISTICS["within"][1](design.yi[None, :], design)[0]
    assert found == pytest.approx(np.sqrt(pooled), rel=1e-12)


def test_drawn_parameters_have_the_moments_of_the_exact_posterior(design: Design) -> None:
    count = 40_000
    drawn = posterior_parameters(design, SPEC, count, np.random.default_rng(2))
    exact = fit_exact(design, SPEC)
    for name in ("mu", "tau_between", "tau_within"):
        e = exact.estimates[name]
        assert e.sd is not None
        assert drawn[name].mean() == pytest.approx(e.value, abs=5 * e.sd / np.sqrt(count))
        assert drawn[name].std() == pytest.approx(e.sd, rel=0.03)


def test_data_from_the_model_are_reproduced_and_an_outlier_is_not(design: Design) -> None:
    fine = check_predictions(design, SPEC, seed=3, draws=1000)
    assert set(fine.table["statistic"]) == set(STATISTICS)
    assert fine.table["p"].between(0.005, 0.995).all()
    yi = design.yi.copy()
    yi[0] = 2.5
    odd = check_predictions(replace(design, yi=yi), SPEC, seed=3, draws=1000)
    p = odd.table.set_index("statistic")["p"]
    assert p["largest"] < 0.05


def test_before_the_data_the_largest_effect_of_either_sign_is_that_of_the_prior(
    design: Design,
) -> None:
    # Precise effects without heterogeneity all equal mu, and |mu| is half-normal.
    priors = {"mu": Prior("normal", {"sigma": 0.5}), "tau": Prior("half_normal", {"sigma": 1e-4})}
    precise = replace(design, vi=np.full(design.k, 1e-8), yi=np.full(design.k, 0.1))
    found = check_predictions(precise, replace(SPEC, priors=priors), seed=6, draws=4000)
    row = found.table.set_index("statistic").loc["extreme"]
    # Quantiles of a half-normal number: .6745 and 2.2414 standard deviations; 5 standard errors.
    assert row["prior"] == pytest.approx(0.6745 * 0.5, abs=0.03)
    assert row["prior_upper"] == pytest.approx(2.2414 * 0.5, abs=0.08)


def test_the_same_seed_gives_the_same_numbers(design: Design) -> None:
    one, two = (check_predictions(design, SPEC, seed=4, draws=200).document() for _ in range(2))
    assert one == two
    assert check_predictions(design, SPEC, seed=5, draws=200).document() != one


def test_shares_of_a_histogram_add_up_to_nearly_all_draws(design: Design) -> None:
    found = check_predictions(design, SPEC, seed=4, draws=500)
    for edges, shares in found.histograms.values():
        assert len(edges) == len(shares) + 1
        assert 0.99 <= shares.sum() <= 1


def test_selection_models_are_refused_in_words(design: Design) -> None:
    with pytest.raises(EngineError, match="plain normal model"):
        check_predictions(design, replace(SPEC, mechanism="joint"), seed=1)
