"""NUTS against exact posteriors, and its behaviour when sampling fails or is interrupted."""

import _thread
import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytensor
import pytest

from reanalysis import nuts
from reanalysis.builders import build_model, model_data
from reanalysis.builders.compiled import compile_model
from reanalysis.design import Design
from reanalysis.nuts import SamplerSettings, fit_nuts
from reanalysis.priors import Prior
from reanalysis.results import EngineError, Posterior
from reanalysis.spec import ModelSpec

pytestmark = pytest.mark.nuts

REFERENCE = Path(__file__).parent / "reference"
TAU = Prior("half_normal", {"sigma": 0.3})
# The priors of the reference posteriors, which are by adaptive quadrature in R.
MODEL = ModelSpec(
    "reference",
    priors={"mu": Prior("normal", {"sigma": 0.5}), "tau_between": TAU, "tau_within": TAU},
)
NAMES = {
    "mu": "mu",
    "tau_between": "sd_study",
    "tau_within": "sd_es",
    "tau": "tau_total",
    "new_effect": "predictive_new_effect",
}


def design_of(name: str, **changes: Any) -> Design:
    """Return a reference data set, effects in studies."""
    table = pd.read_csv(REFERENCE / "data" / f"{name}.csv").sort_values("study", kind="stable")
    cluster, studies = pd.factorize(table["study"])
    fields: dict[str, Any] = {
        "yi": table["yi"].to_numpy(float).copy(),
        "vi": table["vi"].to_numpy(float).copy(),
        "X": np.ones((len(table), 1)),
        "coefficients": ("mu",),
        "cluster": cluster,
        "cluster_names": tuple(str(study) for study in studies),
        "row_names": tuple(str(row) for row in table["row"]),
        "measure": "ZCOR" if name == "kaiser2021" else "SMD",
    }
    return Design(**{**fields, **changes})


@pytest.fixture(scope="module")
def fits() -> dict[str, Posterior]:
    """Fit both data sets, the second with the code compiled for the first."""
    return {
        name: fit_nuts(design_of(name), MODEL) for name in ("konstantopoulos2011", "kaiser2021")
    }


# ---------------------------------------------------------------- agreement with quadrature


@pytest.mark.parametrize("name", ["konstantopoulos2011", "kaiser2021"])
def test_nuts_agrees_with_quadrature_within_four_mcse(
    fits: dict[str, Posterior], name: str
) -> None:
    exact = json.loads((REFERENCE / f"exact3_{name}.json").read_text())
    assert fits[name].diagnostics.passed
    for ours, theirs in NAMES.items():
        estimate = fits[name].estimates[ours]
        assert abs(estimate.value - exact[theirs]["mean"]) < 4 * estimate.numerical_error, ours
        assert estimate.sd == pytest.approx(exact[theirs]["sd"], rel=0.06), ours  # 4 MCSE
    quantiles = dict(zip(exact["mu"]["probs"], exact["mu"]["q"], strict=True))
    mu = fits[name].estimates["mu"]
    assert mu.median == pytest.approx(quantiles[0.5], abs=0.1 * exact["mu"]["sd"])
    assert mu.lower == pytest.approx(quantiles[0.025], abs=0.2 * exact["mu"]["sd"])
    assert mu.upper == pytest.approx(quantiles[0.975], abs=0.2 * exact["mu"]["sd"])


def test_pymcs_own_sampler_agrees_with_quadrature_within_four_mcse() -> None:
    exact = json.loads((REFERENCE / "exact3_konstantopoulos2011.json").read_text())
    fit = fit_nuts(design_of("konstantopoulos2011"), MODEL, settings=SamplerSettings("pymc"))
    assert fit.diagnostics.sampler["sampler"] == "pymc"
    assert fit.diagnostics.passed
    for ours, theirs in NAMES.items():
        estimate = fit.estimates[ours]
        assert abs(estimate.value - exact[theirs]["mean"]) < 4 * estimate.numerical_error, ours


def test_the_mean_correlation_lies_between_zero_and_the_tanh_of_the_mean(
    fits: dict[str, Posterior],
) -> None:
    fit = fits["kaiser2021"]
    assert fit.estimates["mean_r"].scale == "r"
    posterior = fit.draws["posterior"]
    assert np.all(np.abs(posterior["mean_r"]) <= np.abs(np.tanh(posterior["mu"])))
    assert "mean_r" not in fits["konstantopoulos2011"].estimates  # not correlations


def test_draws_have_the_dimensions_of_the_contract(fits: dict[str, Posterior]) -> None:
    draws = fits["konstantopoulos2011"].draws
    dims = {str(dim) for group in draws.subtree for dim in group.dims}
    assert dims == {"chain", "draw", "cluster", "effect"}
    assert draws["posterior"]["theta"].sizes == {"chain": 4, "draw": 1000, "effect": 56}
    assert draws["log_likelihood"]["yi"].dims == ("chain", "draw", "cluster")
    assert set(draws["log_prior"].data_vars) == {"mu", "tau_between", "tau_within"}


def test_shrunken_effects_are_listed_by_row(fits: dict[str, Posterior]) -> None:
    effects = fits["konstantopoulos2011"].effects
    assert list(effects.columns) == ["row", "sample", "yi", "mean", "sd", "lower", "upper"]
    assert effects["mean"].var() < effects["yi"].var()
    assert np.all((effects["lower"] < effects["mean"]) & (effects["mean"] < effects["upper"]))


# ---------------------------------------------------------------- reproducibility


def same_draws(one: Posterior, other: Posterior) -> bool:
    pairs = ((one.draws[g].dataset, other.draws[g].dataset) for g in ("posterior", "log_prior"))
    return all(a.equals(b) for a, b in pairs)


SHORT = SamplerSettings(tune=50, draws=50)


def test_the_same_seed_gives_the_same_draws_whatever_the_number_of_cores() -> None:
    design = design_of("kaiser2021")
    one, two, other = (
        fit_nuts(design, MODEL, settings=replace(SHORT, cores=cores), seed=seed)
        for cores, seed in ((1, 5), (2, 5), (1, 6))
    )
    assert same_draws(one, two)
    assert not same_draws(one, other)


def test_a_refit_with_new_data_equals_a_fresh_compilation(
    fits: dict[str, Posterior], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nuts, "_compiled", {})
    assert same_draws(fit_nuts(design_of("kaiser2021"), MODEL), fits["kaiser2021"])


@pytest.mark.usefixtures("fits")  # they put the compiled code on disk
def test_the_density_is_the_same_to_the_last_bit_compiled_afresh_or_read_from_disk() -> None:
    design, priors = design_of("kaiser2021"), MODEL.priors
    model = build_model(design, MODEL, priors)
    cached = compile_model(model, ["mu"])
    with pytensor.config.change_flags(numba__cache=False):
        fresh = compile_model(model, ["mu"])
    data = cached.arguments(model_data(design, MODEL, priors))
    for x in np.random.default_rng(1).normal(0, 2, (200, cached.size)):
        (value, gradient), (again, slope) = (
            compiled.logp_and_gradient(x, *data) for compiled in (cached, fresh)
        )
        assert value == again
        assert np.array_equal(gradient, slope)


# ---------------------------------------------------------------- the gate


def test_too_few_draws_fail_the_gate_after_one_longer_attempt() -> None:
    fit = fit_nuts(design_of("kaiser2021"), MODEL, settings=SamplerSettings(tune=100, draws=50))
    assert not fit.diagnostics.passed
    assert any("ESS" in failure for failure in fit.diagnostics.failures)
    record = fit.diagnostics.sampler
    assert (record["attempts"], record["tune"], record["draws"]) == (2, 200, 100)
    assert record["target_accept"] == 0.99


def test_a_posterior_that_cannot_be_sampled_is_marked_failed() -> None:
    # Gamma(0.05) has almost all of its mass below 1e-3, down to 1e-30: on the log scale, on
    # which NUTS moves, a plateau tens of units long beside the narrow region near the data.
    steep = Prior("gamma", {"alpha": 0.05, "beta": 0.05})
    priors = {"mu": MODEL.priors["mu"], "tau_between": steep, "tau_within": steep}
    settings = SamplerSettings(chains=2, tune=50, draws=120)
    fit = fit_nuts(design_of("kaiser2021"), replace(MODEL, priors=priors), settings=settings)
    assert not fit.diagnostics.passed
    assert any("R-hat" in failure for failure in fit.diagnostics.failures)


def test_a_longer_second_attempt_can_pass_the_gate() -> None:
    settings = SamplerSettings(tune=500, draws=250)
    fit = fit_nuts(design_of("kaiser2021"), MODEL, settings=settings)
    assert fit.diagnostics.sampler["attempts"] == 2
    assert fit.diagnostics.passed


# ---------------------------------------------------------------- models


def test_moderators_give_one_estimate_for_each_coefficient() -> None:
    design = design_of("konstantopoulos2011")
    late = (np.arange(design.k) % 2).astype(float)
    design = replace(
        design,
        X=np.column_stack([np.ones(design.k), late]),
        coefficients=("beta[intercept]", "beta[late]"),
    )
    priors = {"beta": Prior("normal", {"sigma": 0.5}), **MODEL.priors}
    fit = fit_nuts(design, replace(MODEL, priors=priors), settings=SHORT)
    names = ["beta[intercept]", "beta[late]", "tau_between", "tau_within", "tau"]
    assert list(fit.estimates) == names  # no predictions: they depend on the moderators
    assert list(fit.draws["posterior"]["coefficient"].values) == ["intercept", "late"]
    assert fit.draws["log_prior"]["beta"].dims == ("chain", "draw", "coefficient")


def test_one_effect_size_is_refused_because_pymc_would_return_the_prior() -> None:
    one = Design(
        yi=np.array([0.2]),
        vi=np.array([0.01]),
        X=np.ones((1, 1)),
        coefficients=("mu",),
        cluster=np.zeros(1, dtype=np.intp),
        cluster_names=("a",),
        row_names=("1",),
        levels=2,
    )
    priors = {"mu": MODEL.priors["mu"], "tau_between": TAU}
    with pytest.raises(EngineError, match="at least 2 effect sizes; it has 1"):
        fit_nuts(one, ModelSpec("m", priors=priors))


def test_a_density_that_is_nowhere_finite_is_an_error_in_words() -> None:
    design = design_of("kaiser2021")
    with pytest.raises(EngineError, match="no starting point: the density is not finite"):
        fit_nuts(replace(design, yi=design.yi * 1e200), MODEL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sampler": "stan"}, "sampler must be 'nutpie' or 'pymc', not 'stan'"),
        ({"draws": 0}, "draws must be 1 or more, not 0"),
        ({"target_accept": 1.0}, r"target_accept must be in \[0.5, 1\), not 1.0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SamplerSettings(**change)


# ---------------------------------------------------------------- interrupts and progress


def test_progress_counts_up_to_the_total() -> None:
    seen: list[tuple[int, int]] = []
    fit_nuts(
        design_of("konstantopoulos2011"),
        MODEL,
        settings=SamplerSettings(tune=1000, draws=3000),
        progress=lambda done, total: seen.append((done, total)),
    )
    done = [pair[0] for pair in seen]
    assert done == sorted(done)
    assert {total for _, total in seen} == {16_000}


def test_an_interrupt_of_nutpie_ends_the_fit_and_gives_no_draws() -> None:
    fired: list[int] = []

    def interrupt(done: int, total: int) -> None:
        if done > 500 and not fired:
            fired.append(done)
            _thread.interrupt_main()  # progress comes from another thread; Ctrl-C does not

    with pytest.raises(KeyboardInterrupt):
        fit_nuts(
            design_of("kaiser2021"),
            MODEL,
            settings=SamplerSettings(draws=100_000),
            progress=interrupt,
        )
    assert fired


@pytest.mark.parametrize("moment", [300, 2000])  # in tuning and while draws are kept
def test_an_interrupt_of_pymcs_sampler_is_not_taken_for_a_finished_fit(moment: int) -> None:
    handler = signal.getsignal(signal.SIGINT)
    calls: list[int] = []

    def interrupt(done: int, total: int) -> None:
        calls.append(done)
        if done == moment:
            signal.raise_signal(signal.SIGINT)

    settings = SamplerSettings("pymc", chains=2, tune=1000, draws=5000)
    with pytest.raises(KeyboardInterrupt):
        fit_nuts(design_of("kaiser2021"), MODEL, settings=settings, progress=interrupt)
    assert calls[-1] == moment  # no further chain was started
    assert signal.getsignal(signal.SIGINT) is handler
