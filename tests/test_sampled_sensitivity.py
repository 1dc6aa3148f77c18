"""Power-scaling and leave-one-out from draws, against closed forms and exact refits."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from reanalysis.dataset import Dataset
from reanalysis.design import Design, make_design
from reanalysis.exact import fit_exact
from reanalysis.plan import PlannedModel
from reanalysis.predictive import posterior_parameters
from reanalysis.results import Posterior
from reanalysis.robustness import make_robustness
from reanalysis.sampled_sensitivity import leave_one_out, scale_groups
from reanalysis.sensitivity import leave_samples_out
from reanalysis.spec import ModelSpec

SPEC = ModelSpec(name="m", levels=2)
SHAPE = (4, 1000)


def literature(r: list[float]) -> Dataset:
    frame = pd.DataFrame({"r": r, "n": 60, "study": [f"s{i}" for i in range(len(r))]})
    return Dataset.from_frame(frame, measure="ZCOR", ri="r", ni="n", sample="study")


def draws_of(design: Design) -> xr.DataTree:
    """Return independent draws of a two-level posterior with the densities of single samples."""
    rng = np.random.default_rng(4)
    drawn = posterior_parameters(design, SPEC, SHAPE[0] * SHAPE[1], rng)
    spread = np.sqrt(drawn["tau_between"][:, None] ** 2 + design.vi)
    loglik = stats.norm.logpdf(design.yi, drawn["mu"][:, None], spread)
    by_cluster = ("chain", "draw", "cluster")
    return xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset({"mu": (by_cluster[:2], drawn["mu"].reshape(SHAPE))}),
            "log_likelihood": xr.Dataset(
                {"yi": (by_cluster, loglik.reshape(*SHAPE, design.m))},
                coords={"cluster": list(design.cluster_names)},
            ),
        }
    )


def test_weighted_draws_predict_each_sample_as_its_exact_refit_does() -> None:
    data = literature([0.1, 0.25, 0.3, 0.18, 0.22, 0.05, 0.35, 0.2])
    design = make_design(data, SPEC)
    refits = leave_samples_out(data, SPEC)
    found = leave_one_out(draws_of(design), refits.assign(log_predictive=np.nan))
    assert not found.samples["refitted"].any()
    exact = refits.set_index("sample")["log_predictive"][found.samples["sample"]].to_numpy()
    # Monte-Carlo error of 4,000 draws; the densities themselves are of the order of 1.
    np.testing.assert_allclose(found.samples["log_predictive"], exact, atol=0.03)
    assert found.elpd == pytest.approx(exact.sum(), abs=0.05)
    assert found.se == pytest.approx(np.sqrt(8) * exact.std(ddof=1), rel=0.05)


def test_where_weights_fail_the_refit_takes_their_place() -> None:
    data = literature([0.2, 0.22, 0.18, 0.25, 0.21, 0.97])
    design = make_design(data, SPEC)
    refits = leave_samples_out(data, SPEC)
    found = leave_one_out(draws_of(design), refits).samples.set_index("sample")
    assert found["refitted"].tolist() == [False] * 5 + [True]
    assert found.loc["s5", "pareto_k"] > 0.7
    exact = refits.set_index("sample").loc["s5", "log_predictive"]
    assert found.loc["s5", "log_predictive"] == exact


def test_a_prior_in_conflict_with_the_data_is_found_in_its_own_group() -> None:
    # mu ~ N(0, 1) and five observations of 4 with standard deviation 1: both pull the posterior.
    rng = np.random.default_rng(1)
    mu = rng.normal(20 / 6, np.sqrt(1 / 6), SHAPE)
    tau = rng.uniform(0.1, 0.9, SHAPE)
    dims = ("chain", "draw")
    loglik = stats.norm.logpdf(4.0, mu[..., None], 1.0) * np.ones(5)
    tree = xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset({"mu": (dims, mu), "tau": (dims, tau)}),
            "log_prior": xr.Dataset(
                {"mu": (dims, stats.norm.logpdf(mu)), "tau": (dims, np.zeros(SHAPE))}
            ),
            "log_likelihood": xr.Dataset({"yi": ((*dims, "cluster"), loglik)}),
        }
    )
    table = scale_groups(tree).set_index(["group", "parameter"])
    assert table.loc[("effect", "mu"), "diagnosis"] == "conflict"
    assert table.loc[("heterogeneity", "mu"), "prior"] == pytest.approx(0, abs=1e-9)
    assert table.loc[("effect", "tau"), "diagnosis"] == "none"


class Fits:
    """A headline without draws."""

    reml = None
    nuts = None

    def __init__(self, design: Design) -> None:
        self.design = design
        self.exact: Posterior | None = fit_exact(design, SPEC)


def test_without_draws_the_rest_is_computed_and_the_reason_stated() -> None:
    data = literature([0.1, 0.25, 0.3, 0.18])
    design = make_design(data, SPEC)
    found = make_robustness(
        data, {"m": PlannedModel(SPEC, data, design)}, (), (), {"m": Fits(design)}
    )
    assert set(found.skipped) == {"scaling", "loo"}
    assert "needs draws" in found.skipped["loo"]
    assert len(found.samples) == 4
    tails = found.heavy_tails
    assert tails is not None
    robust = fit_exact(design, ModelSpec(name="t", levels=2, effects="student_t"))
    assert tails.estimate == robust.estimates["mu"].value
    assert tails.log_bayes_factor == robust.bayes_factors["nu"]
    assert found.document()["heavy_tails"]["degrees"] == robust.estimates["nu"].median
