"""NUTS and quadrature, which share no likelihood code, on selection models."""

from typing import Any

import numpy as np
import pytest
from arviz_stats import mcse

from reanalysis.design import Design
from reanalysis.exact import fit_exact
from reanalysis.nuts import fit_nuts
from reanalysis.priors import Prior
from reanalysis.spec import ModelSpec
from reanalysis.summaries import load_draws, loo, make_posterior, power_scaling, save_draws

pytestmark = pytest.mark.nuts

PRIORS = {
    "mu": Prior("normal", {"mu": 0.0, "sigma": 0.5}),
    "tau": Prior("half_normal", {"sigma": 0.25}),
    "between_share": Prior("beta", {"alpha": 1.0, "beta": 1.0}),
}


def make_design(**changes: Any) -> Design:
    """Return 10 samples with 20 effects, whose expected direction is negative."""
    rng = np.random.default_rng(12)
    sizes = np.array([1, 2, 3, 1, 2, 4, 1, 2, 3, 1])
    cluster = np.repeat(np.arange(10), sizes)
    vi = np.repeat(1 / rng.integers(20, 100, 10), sizes)
    yi = -0.25 + rng.normal(0, 0.1, 10)[cluster] + rng.normal(0, np.sqrt(vi + 0.005))
    fields: dict[str, Any] = {
        "yi": yi,
        "vi": vi,
        "X": np.ones((20, 1)),
        "coefficients": ("mu",),
        "cluster": cluster,
        "cluster_names": tuple("abcdefghij"),
        "row_names": tuple(str(i) for i in range(20)),
        "measure": "ZCOR",
        "direction": -1,
    }
    return Design(**{**fields, **changes})


@pytest.mark.parametrize("mechanism", ["joint", "pet"])
def test_nuts_agrees_with_quadrature_within_four_mcse(mechanism: str, tmp_path: Any) -> None:
    design = make_design()
    spec = ModelSpec("selection", mechanism=mechanism, priors=PRIORS)
    exact, sampled = fit_exact(design, spec), fit_nuts(design, spec, seed=5)
    assert sampled.diagnostics is not None
    assert sampled.diagnostics.passed
    extra = {"omega[2]", "omega[3]"} if mechanism == "joint" else {"pet"}
    shared = set(exact.estimates) & set(sampled.estimates)
    assert shared >= extra | {"mu", "tau", "tau_between", "tau_within", "new_effect", "mean_r"}
    # The mean has a long tail where the weights are small, so its spread is known less well.
    of_spread = mcse(sampled.draws, method="sd")
    for name in shared:
        ours, theirs = sampled.estimates[name], exact.estimates[name]
        assert ours.numerical_error is not None
        assert abs(ours.value - theirs.value) < 4 * ours.numerical_error, name
        assert abs(ours.sd - theirs.sd) < 4 * float(of_spread[name]), name
    # Effects are drawn towards the corrected mean, and come from the draws that were saved.
    assert len(sampled.effects) == design.k
    assert np.all(sampled.effects["sd"] < 2 * np.sqrt(design.vi))
    save_draws(sampled.draws, tmp_path / "draws.nc")
    again = make_posterior(load_draws(tmp_path / "draws.nc"), design)
    assert again.estimates == sampled.estimates
    # The likelihood of each sample is there for leave-one-out, the priors for power-scaling.
    assert np.isfinite(loo(sampled.draws).elpd)
    assert extra <= set(power_scaling(sampled.draws).index)
