"""From draws to numbers: estimates, the gate, cross-validation, prior sensitivity, files."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from reanalysis.design import Design
from reanalysis.summaries import (
    check_convergence,
    load_draws,
    loo,
    make_estimates,
    make_posterior,
    power_scaling,
    reported_draws,
    save_draws,
    summarise_draws,
)

CHAINS, DRAWS = 4, 1000
SAMPLER = {"sampler": "nutpie", "chains": CHAINS, "draws": DRAWS, "seed": 1, "attempts": 1}


def make_draws(
    mu: np.ndarray | None = None,
    *,
    diverging: int = 0,
    energy: np.ndarray | None = None,
    clusters: int = 3,
) -> xr.DataTree:
    """Return a well-behaved posterior of independent draws, or one with a fault."""
    rng = np.random.default_rng(1)
    mu = rng.normal(0.2, 0.05, (CHAINS, DRAWS)) if mu is None else mu
    shape = mu.shape
    names = ("chain", "draw")
    flags = np.arange(np.prod(shape)).reshape(shape) < diverging
    groups = {
        "posterior": xr.Dataset(
            {
                "mu": (names, mu),
                "beta": ((*names, "coefficient"), rng.normal(size=(*shape, 2))),
                "tau_between": (names, np.abs(rng.normal(0, 0.1, shape))),
                "mean_r": (names, np.tanh(mu)),
                "theta": ((*names, "effect"), rng.normal(mu[..., None], 0.1, (*shape, clusters))),
            },
            coords={"coefficient": ["intercept", "late"], "effect": list("abcdef"[:clusters])},
        ),
        "sample_stats": xr.Dataset(
            {
                "diverging": (names, flags),
                "energy": (names, rng.normal(size=shape) if energy is None else energy),
            }
        ),
        "log_prior": xr.Dataset({"mu": (names, stats.norm(0, 0.5).logpdf(mu))}),
        "log_likelihood": xr.Dataset(
            {"yi": ((*names, "cluster"), rng.normal(-1, 0.1, (*shape, clusters)))},
            coords={"cluster": list("abcdef"[:clusters])},
        ),
    }
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = dict(SAMPLER)
    return tree


def failures_of(draws: xr.DataTree) -> tuple[str, ...]:
    table = summarise_draws(reported_draws(draws))
    return check_convergence(table, draws, (CHAINS, DRAWS), SAMPLER).failures


# ---------------------------------------------------------------- numbers


def test_quantities_are_reported_under_the_names_of_the_contract() -> None:
    reported = reported_draws(make_draws())
    names = ["mu", "beta[intercept]", "beta[late]", "tau_between", "mean_r"]
    assert list(reported) == names  # theta is by effect and has a table of its own
    assert all(values.dims == ("chain", "draw") for values in reported.values())


def test_estimates_are_unrounded_moments_and_central_95_percent_intervals() -> None:
    draws = make_draws()
    mu = draws["posterior"]["mu"].to_numpy().ravel()
    estimates = make_estimates(summarise_draws(reported_draws(draws)), on_r=["mean_r"])
    estimate = estimates["mu"]
    assert estimate.value == pytest.approx(mu.mean(), rel=1e-12)
    assert estimate.sd == pytest.approx(mu.std(ddof=1), rel=1e-3)  # ArviZ divides by n
    assert (estimate.lower, estimate.median, estimate.upper) == pytest.approx(
        np.quantile(mu, [0.025, 0.5, 0.975]), rel=1e-12
    )
    assert (estimate.level, estimate.interval, estimate.scale) == (0.95, "equal-tailed", "analysis")
    assert estimates["mean_r"].scale == "r"


def test_the_mcse_of_independent_draws_is_the_sd_over_the_root_of_their_number() -> None:
    table = summarise_draws(reported_draws(make_draws()))
    expected = table["sd"] / np.sqrt(CHAINS * DRAWS)
    np.testing.assert_allclose(table["mcse"], expected, rtol=0.1)  # ESS of 4000 is itself noisy


def test_the_ess_of_an_autoregressive_chain_has_its_known_value() -> None:
    rho, rng = 0.6, np.random.default_rng(2)
    chain = np.empty((CHAINS, 4 * DRAWS))
    chain[:, 0] = rng.normal(size=CHAINS)
    for t in range(1, chain.shape[1]):
        noise = rng.normal(size=CHAINS)
        chain[:, t] = rho * chain[:, t - 1] + np.sqrt(1 - rho**2) * noise
    table = summarise_draws(xr.Dataset({"mu": (("chain", "draw"), chain)}))
    expected = chain.size * (1 - rho) / (1 + rho)
    assert table.loc["mu", "ess_bulk"] == pytest.approx(expected, rel=0.1)


# ---------------------------------------------------------------- the gate


def test_independent_draws_pass_the_gate() -> None:
    draws = make_draws()
    diagnostics = make_posterior(draws, make_design()).diagnostics
    assert diagnostics.passed
    assert diagnostics.failures == ()
    assert diagnostics.rhat_max < 1.01
    assert diagnostics.ebfmi_min > 1


@pytest.mark.parametrize(
    ("draws", "expected"),
    [
        (
            make_draws(np.random.default_rng(3).normal(np.arange(4)[:, None] / 5, 1, (4, 1000))),
            "R-hat 1.0",
        ),
        (make_draws(diverging=3), "3 divergent transitions"),
        (make_draws(energy=np.cumsum(np.ones((4, 1000)), axis=1)), "E-BFMI 0.00 is below 0.3"),
        (
            make_draws(np.random.default_rng(4).normal(0.2, 0.05, (4, 318))),
            "4 x 318 draws instead of the requested 4 x 1000",
        ),
        (
            make_draws(np.repeat(np.random.default_rng(5).normal(0, 1, (4, 50)), 20, axis=1)),
            "of mu is below 400",
        ),
    ],
    ids=["chains apart", "divergences", "energy", "partial trace", "sticky chains"],
)
def test_each_fault_of_sampling_is_named(draws: xr.DataTree, expected: str) -> None:
    assert any(expected in failure for failure in failures_of(draws))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_draw_that_is_not_finite_fails_the_gate(value: float) -> None:
    mu = np.random.default_rng(6).normal(0.2, 0.05, (CHAINS, DRAWS))
    mu[2, 500] = value
    failures = failures_of(make_draws(mu))
    assert any("mu, mean_r: draws that are not finite" in f or "mu: draws" in f for f in failures)


def test_a_chain_that_never_moves_fails_the_gate() -> None:
    assert failures_of(make_draws(np.full((CHAINS, DRAWS), 0.2)))


# ---------------------------------------------------------------- LOO and power scaling


def conjugate_draws(y: np.ndarray, prior_sd: float) -> xr.DataTree:
    """Return draws of a normal mean with unit error variance, one observation per cluster."""
    variance = 1 / (1 / prior_sd**2 + len(y))
    rng = np.random.default_rng(7)
    mu = rng.normal(variance * y.sum(), np.sqrt(variance), (CHAINS, 4 * DRAWS))
    names = ("chain", "draw")
    return xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset({"mu": (names, mu)}),
            "log_prior": xr.Dataset({"mu": (names, stats.norm(0, prior_sd).logpdf(mu))}),
            "log_likelihood": xr.Dataset(
                {"yi": ((*names, "cluster"), stats.norm(mu[..., None], 1).logpdf(y))},
                coords={"cluster": [str(i) for i in range(len(y))]},
            ),
        }
    )


def test_loo_gives_the_closed_form_of_the_conjugate_normal_model() -> None:
    y = np.random.default_rng(8).normal(0.5, 1, 20)
    prior_sd = 2.0
    exact = 0.0
    for i in range(len(y)):
        rest = np.delete(y, i)
        variance = 1 / (1 / prior_sd**2 + len(rest))
        exact += stats.norm(variance * rest.sum(), np.sqrt(1 + variance)).logpdf(y[i])
    result = loo(conjugate_draws(y, prior_sd))
    assert result.elpd == pytest.approx(exact, abs=0.05)  # error of importance sampling
    assert np.all(result.pareto_k < 0.7)
    assert result.elpd_i.dims == ("cluster",)


def test_loo_reports_an_influential_sample_in_its_table_and_not_as_a_warning() -> None:
    y = np.append(np.zeros(3), 12.0)
    assert np.max(loo(conjugate_draws(y, 20.0)).pareto_k) > 0.3


def test_power_scaling_tells_a_prior_in_conflict_with_the_data_from_a_weak_one() -> None:
    y = np.random.default_rng(9).normal(3.0, 1, 20)
    weak, conflict = (power_scaling(conjugate_draws(y, sd)) for sd in (50.0, 0.3))
    assert list(weak.index) == ["mu"]
    assert weak.loc["mu", "prior"] < 0.01
    assert conflict.loc["mu", "diagnosis"] == "potential prior-data conflict"


# ---------------------------------------------------------------- files


def make_design() -> Design:
    return Design(
        yi=np.array([0.1, 0.2, 0.3]),
        vi=np.full(3, 0.01),
        X=np.ones((3, 1)),
        coefficients=("mu",),
        cluster=np.arange(3),
        cluster_names=tuple("abc"),
        row_names=tuple("abc"),
    )


def test_draws_come_back_from_a_file_as_they_were(tmp_path: Path) -> None:
    draws = make_draws()
    save_draws(draws, tmp_path / "fit.nc")
    loaded = load_draws(tmp_path / "fit.nc")
    assert loaded.identical(draws)
    assert make_posterior(loaded, make_design()).estimates == (
        make_posterior(draws, make_design()).estimates
    )
    assert [path.name for path in tmp_path.iterdir()] == ["fit.nc"]


def test_the_same_draws_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.nc", "two.nc"):
        save_draws(make_draws(), tmp_path / name)
    assert (tmp_path / "one.nc").read_bytes() == (tmp_path / "two.nc").read_bytes()


def test_a_write_that_fails_keeps_the_old_file_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "fit.nc"
    save_draws(make_draws(), path)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_draws(make_draws(clusters=5), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["fit.nc"]


def test_a_truncated_file_is_an_os_error(tmp_path: Path) -> None:
    path = tmp_path / "fit.nc"
    save_draws(make_draws(), path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(OSError, match="truncated"):
        load_draws(path)
