"""The exact engine of selection models, PET and PEESE, against other programs' numbers.

References: `exact_single_*.json` and `exact_mlsel_*.json` (adaptive quadrature written in R),
`metafor5_*.json` (metafor 5.1, `selmodel`).
"""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import optimize

from reanalysis.design import Design
from reanalysis.exact import log_evidence
from reanalysis.exact.selection import fit_exact_selection, make_target
from reanalysis.exact.selection_fit import integrate_target
from reanalysis.exact.selection_sampling import pareto_k
from reanalysis.priors import Prior
from reanalysis.results import EngineError
from reanalysis.selection import Bins, SelectionData, WeightPrior, log_likelihood
from reanalysis.spec import ModelSpec

REFERENCE = Path(__file__).parent / "reference"
MU = Prior("normal", {"mu": 0.0, "sigma": 0.5})
TAU = Prior("half_normal", {"sigma": 0.3})


def load(name):
    return json.loads((REFERENCE / f"{name}.json").read_text())


def design_of(name, *, clustered=False, **changes):
    with (REFERENCE / "data" / f"{name}.csv").open() as file:
        rows = list(csv.DictReader(file))
    k = len(rows)
    study = [row["study"] for row in rows]
    names = tuple(dict.fromkeys(study)) if clustered else tuple(map(str, range(k)))
    code = [names.index(s) for s in study] if clustered else range(k)
    design = Design(
        yi=np.array([float(row["yi"]) for row in rows]),
        vi=np.array([float(row["vi"]) for row in rows]),
        X=np.ones((k, 1)),
        coefficients=("mu",),
        cluster=np.array(code, dtype=np.intp),
        cluster_names=names,
        row_names=tuple(map(str, range(k))),
        measure="ZCOR",
        levels=3 if clustered else 2,
    )
    return replace(design, **changes)


def spec_of(mechanism="joint", steps=(0.025,), **priors):
    return ModelSpec(
        name="selection",
        mechanism=mechanism,
        steps=steps,
        priors={"mu": MU, "tau_between": TAU} | priors,
    )


@pytest.mark.parametrize("data", ["kaiser2021", "molloy2014"])
@pytest.mark.parametrize(
    ("model", "steps", "two_sided"),
    [
        ("step_onesided_025", (0.025,), False),
        ("step_onesided_025_5", (0.025, 0.5), False),
        ("step_onesided_05", (0.05,), False),
        ("step_twosided_05", (0.05,), True),
    ],
)
def test_step_functions_reproduce_adaptive_quadrature(data, model, steps, two_sided):
    reference = load(f"exact_single_{data}")[model]
    fit = fit_exact_selection(design_of(data), spec_of(steps=steps), two_sided=two_sided)
    assert fit.log_marginal_likelihood == pytest.approx(reference["log_marginal"], abs=1e-3)
    assert fit.bins["effects"].tolist() == reference["counts"]
    for ours, theirs in (("mu", "mu"), ("tau_between", "tau")):
        e = fit.estimates[ours]
        assert e.value == pytest.approx(reference[theirs]["mean"], abs=5e-3 * e.sd)
        assert e.sd == pytest.approx(reference[theirs]["sd"], rel=5e-3)
    for b, (mean, sd) in enumerate(
        zip(reference["omega_mean"], reference["omega_sd"], strict=True)
    ):
        if b:
            e = fit.estimates[f"omega[{b + 1}]"]
            assert e.value == pytest.approx(mean, abs=5e-3 * sd)
            assert e.sd == pytest.approx(sd, rel=5e-3)


@pytest.mark.parametrize("data", ["kaiser2021", "molloy2014"])
@pytest.mark.parametrize(
    ("model", "mechanism", "scale"),
    [("PET", "pet", 1.0), ("PEESE_5", "peese", 5.0), ("PEESE_10", "peese", 10.0)],
)
def test_pet_and_peese_reproduce_adaptive_quadrature(data, model, mechanism, scale):
    reference = load(f"exact_single_{data}")[model]
    spec = spec_of(mechanism, **{mechanism: Prior("half_cauchy", {"sigma": scale})})
    fit = fit_exact_selection(design_of(data), spec)
    assert fit.log_marginal_likelihood == pytest.approx(reference["log_marginal"], abs=1e-3)
    for ours, theirs in (("mu", "mu"), ("tau_between", "tau"), (mechanism, "coef")):
        e = fit.estimates[ours]
        assert e.value == pytest.approx(reference[theirs]["mean"], abs=5e-3 * e.sd)
        assert e.sd == pytest.approx(reference[theirs]["sd"], rel=5e-3)
    e, quantiles = fit.estimates[mechanism], reference["coef_q"]
    assert [e.lower, e.median, e.upper] == pytest.approx(
        [quantiles["q025"], quantiles["q50"], quantiles["q975"]], abs=0.01 * e.sd
    )
    assert "by construction" in fit.notes[0]


@pytest.mark.parametrize(("mechanism", "key"), [("joint", "marginal"), ("replace", "conditional")])
def test_three_level_selection_reproduces_adaptive_quadrature(mechanism, key):
    reference = load("exact_mlsel_kaiser2021")[key]
    spec = ModelSpec(
        name="selection",
        mechanism=mechanism,
        steps=(0.025,),
        priors={"mu": MU, "tau": TAU, "between_share": Prior("beta", {"alpha": 1, "beta": 1})},
    )
    fit = fit_exact_selection(design_of("kaiser2021", clustered=True), spec)
    # The reference moves by 4e-5 (marginal 3e-5) between its own two grids.
    assert fit.log_marginal_likelihood == pytest.approx(reference["log_marginal"], abs=1e-3)
    for name, theirs in (("mu", "mu"), ("tau", "tau"), ("omega[2]", "omega")):
        e = fit.estimates[name]
        assert e.value == pytest.approx(reference[theirs]["mean"], abs=5e-3 * e.sd)
        assert e.sd == pytest.approx(reference[theirs]["sd"], rel=5e-3)
    assert abs(fit.check.difference) < 5 * fit.check.standard_error + 0.01


@pytest.mark.parametrize("data", ["kaiser2021", "molloy2014"])
@pytest.mark.parametrize(
    ("model", "steps", "two_sided"),
    [
        ("selmodel_step_025", (0.025,), False),
        ("selmodel_step_025_5", (0.025, 0.5), False),
        ("selmodel_step_05", (0.05,), False),
        ("selmodel_step_025_05_5", (0.025, 0.05, 0.5), False),
        ("selmodel_step_twosided_05", (0.05,), True),
    ],
)
def test_maximum_of_the_likelihood_is_metafors_selmodel(data, model, steps, two_sided):
    reference = load(f"metafor5_{data}")["bias"][model]
    design = design_of(data)
    effects = SelectionData(design.yi, design.vi, design.cluster, Bins(steps, two_sided), "joint")

    def minus(x):
        omega = np.r_[1.0, np.exp(x[2:])][None]
        return -log_likelihood(
            effects, np.full((1, design.k), x[0]), [abs(x[1])], [0.0], omega
        ).item()

    delta = np.log(np.maximum(reference["delta"][1:], 1e-4))
    starts = [np.r_[reference["beta"], 0.05, delta], np.r_[0.1, 0.1, np.zeros(len(steps))]]
    fits = [
        optimize.minimize(minus, s, method="Nelder-Mead", tol=1e-9, options={"maxiter": 4000})
        for s in starts
    ]
    best = min(fits, key=lambda fit: fit.fun)
    assert -best.fun >= reference["logLik"] - 1e-6
    assert -best.fun == pytest.approx(reference["logLik"], abs=1e-3)
    assert best.x[0] == pytest.approx(reference["beta"], abs=1e-3)
    assert np.exp(best.x[2:]) == pytest.approx(reference["delta"][1:], abs=5e-3)


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("mechanism", ["joint", "replace", "study"])
def test_weights_fixed_at_one_give_the_normal_model(mechanism, clustered):
    design = design_of("molloy2014" if not clustered else "kaiser2021", clustered=clustered)
    extra = {"tau_within": TAU} if clustered else {}
    fit = fit_exact_selection(
        design, spec_of(mechanism, (0.025, 0.5), **extra), weights=WeightPrior.fixed([1, 1, 1])
    )
    normal = log_evidence(design, spec_of("none", **extra))
    assert fit.log_marginal_likelihood == pytest.approx(normal, abs=2e-3)


def test_moderators_agree_between_quadrature_and_importance_sampling():
    design = design_of("kaiser2021")
    x = np.linspace(-1, 1, design.k)
    design = replace(
        design, X=np.column_stack([np.ones(design.k), x]), coefficients=("mu", "beta[x]")
    )
    spec = ModelSpec(
        name="moderator",
        mechanism="joint",
        steps=(0.025,),
        priors={"mu": MU, "beta": Prior("normal", {"mu": 0, "sigma": 0.25}), "tau_between": TAU},
    )
    target = make_target(
        design, spec, {"mu": MU, "beta[x]": spec.priors["beta"], "tau_between": TAU}
    )
    integral = integrate_target(target)
    beta = integral.sample.points[:, :2]
    mean = integral.sample.weights @ beta
    sd = np.sqrt(integral.sample.weights @ (beta - mean) ** 2)
    fit = fit_exact_selection(design, spec)
    for i, name in enumerate(design.coefficients):
        assert fit.estimates[name].value == pytest.approx(mean[i], abs=0.08 * sd[i])
        assert fit.estimates[name].sd == pytest.approx(sd[i], rel=0.08)
    assert "new_sample" not in fit.estimates


def test_flipping_the_data_and_the_direction_flips_the_mean():
    design = design_of("kaiser2021")
    forward = fit_exact_selection(design, spec_of())
    mirrored = fit_exact_selection(replace(design, yi=-design.yi), spec_of(), direction=-1)
    assert mirrored.estimates["mu"].value == pytest.approx(-forward.estimates["mu"].value, abs=1e-4)
    assert mirrored.log_marginal_likelihood == pytest.approx(
        forward.log_marginal_likelihood, abs=1e-4
    )


def test_quantiles_belong_to_the_density_curves():
    fit = fit_exact_selection(design_of("molloy2014"), spec_of(steps=(0.025, 0.5)))
    for name in ("mu", "tau_between", "omega[2]", "omega[3]"):
        x, density = fit.densities[name]
        e = fit.estimates[name]
        inside = (x > e.lower) & (x < e.upper)
        assert np.sum(density) * (x[1] - x[0]) == pytest.approx(1, abs=0.01)
        assert np.sum(density[inside]) * (x[1] - x[0]) == pytest.approx(0.95, abs=0.03)


def test_predictions_widen_from_mean_to_sample_and_keep_its_centre():
    fit = fit_exact_selection(design_of("kaiser2021"), spec_of())
    mu, new, r = (fit.estimates[name] for name in ("mu", "new_sample", "mean_r"))
    assert new.value == pytest.approx(mu.value, abs=1e-3)
    tau = fit.estimates["tau_between"]
    assert new.sd**2 == pytest.approx(mu.sd**2 + tau.sd**2 + tau.value**2, rel=0.01)
    assert r.scale == "r"
    assert r.value == pytest.approx(np.tanh(mu.value), abs=0.003)


def ten_effects(yi, **changes):
    names = tuple("abcdefghij")
    design = Design(
        yi=np.asarray(yi, dtype=float) + np.linspace(0, 1e-3, 10),
        vi=np.full(10, 0.02),
        X=np.ones((10, 1)),
        coefficients=("mu",),
        cluster=np.arange(10),
        cluster_names=names,
        row_names=names,
        measure="ZCOR",
        levels=2,
    )
    return replace(design, **changes)


@pytest.mark.parametrize("mechanism", ["joint", "replace", "study"])
def test_a_table_of_significant_effects_only_runs_and_says_so(mechanism):
    fit = fit_exact_selection(ten_effects(np.full(10, 0.6)), spec_of(mechanism, (0.025, 0.5)))
    assert any("All 10 effects have p <= 0.025" in note for note in fit.notes)
    # Nothing was seen that selection could have hidden: only the prior speaks of the weights.
    assert fit.estimates["omega[2]"].upper > 0.9


@pytest.mark.parametrize("mechanism", ["joint", "replace", "study"])
def test_a_table_without_significant_effects_runs_and_says_so(mechanism):
    yi = np.linspace(0.01, 0.1, 10)
    fit = fit_exact_selection(ten_effects(yi), spec_of(mechanism, (0.025, 0.5)))
    assert any("All 10 effects have 0.025 < p <= 0.5" in note for note in fit.notes)
    assert any("No effect has p <= 0.025" in note for note in fit.notes)
    assert fit.bins["effects"].tolist() == [0, 10, 0]


def test_a_bin_without_effects_runs_and_says_what_the_prior_did():
    fit = fit_exact_selection(
        ten_effects(np.r_[np.full(5, 0.5), np.full(5, -0.1)]), spec_of(steps=(0.025, 0.5))
    )
    assert fit.bins["effects"].tolist() == [5, 0, 5]
    (note,) = (note for note in fit.notes if note.startswith("No effect has"))
    assert "0.025 < p <= 0.5" in note
    assert "comes from the prior" in note


def test_effects_against_the_expected_direction_are_warned_about():
    yi = np.linspace(0.1, 0.4, 10)
    wrong = fit_exact_selection(ten_effects(yi), spec_of(), direction=-1)
    assert any("10 of 10 effects point against the expected direction" in n for n in wrong.notes)
    right = fit_exact_selection(ten_effects(-yi), spec_of(), direction=-1)
    assert not any("expected direction" in note for note in right.notes)


def test_weights_held_by_the_spec_are_said_to_be_held_and_not_estimated():
    design = ten_effects(np.linspace(0.1, 0.4, 10))
    spec = replace(spec_of("joint", (0.025, 0.5)), omega=(1.0, 0.5, 0.2))
    fit = fit_exact_selection(design, spec)
    assert any("The weights are held at 1, 0.5, 0.2" in note for note in fit.notes)
    assert fit.bins["weight"].tolist() == [1.0, 0.5, 0.2]
    assert not [name for name in fit.estimates if name.startswith("omega")]
    given = fit_exact_selection(
        design, spec_of("joint", (0.025, 0.5)), weights=WeightPrior.fixed([1.0, 0.5, 0.2])
    )
    assert fit.estimates["mu"] == given.estimates["mu"]


def test_steps_out_of_order_are_refused():
    # A spec is refused earlier, as it is read.
    spec = spec_of()
    object.__setattr__(spec, "steps", (0.5, 0.025))
    with pytest.raises(ValueError, match="steps must increase"):
        fit_exact_selection(ten_effects(np.full(10, 0.6)), spec)


def test_thin_without_n_measured_is_refused():
    with pytest.raises(ValueError, match="'thin' needs n_measured"):
        fit_exact_selection(ten_effects(np.full(10, 0.6)), spec_of("thin"))


def test_n_measured_below_the_number_reported_is_refused():
    design = ten_effects(np.full(10, 0.6), n_measured=np.r_[np.ones(9), 0.0])
    with pytest.raises(ValueError, match="sample 10 reports 1 effects, but n_measured is 0"):
        fit_exact_selection(design, spec_of("thin"))


@pytest.mark.parametrize("mechanism", ["joint", "replace", "study", "thin", "pet"])
def test_huge_samples_whose_p_values_underflow_are_no_problem(mechanism):
    # z = 80: the p-value, 1e-1392, is far below the smallest number there is.
    yi = np.linspace(-0.2, 0.8, 10)
    design = ten_effects(yi, vi=np.full(10, 1e-4), n_measured=np.ones(10))
    fit = fit_exact_selection(design, spec_of(mechanism))
    assert np.isfinite(fit.log_marginal_likelihood)
    assert fit.estimates["mu"].lower < fit.estimates["mu"].value < fit.estimates["mu"].upper


def test_unreported_effects_that_could_not_have_failed_are_an_error_and_no_number():
    # The unreported effect of a sample at z = 80 shares its true effect: it fails with e^-1600.
    design = ten_effects(
        np.linspace(-0.2, 0.8, 10), vi=np.full(10, 1e-4), n_measured=np.full(10, 2.0)
    )
    with pytest.raises(EngineError, match="nodes are not enough"):
        fit_exact_selection(design, spec_of("thin"))


@pytest.mark.parametrize("mechanism", ["joint", "replace", "study", "thin"])
def test_points_that_cannot_matter_have_no_density_and_cost_no_nodes(mechanism):
    """With a mean of 8 an unreported effect could not have failed, whatever the nodes."""
    design = ten_effects(
        np.linspace(-0.1, 0.5, 10),
        cluster=np.repeat(np.arange(5), 2),
        cluster_names=tuple("abcde"),
        n_measured=np.full(5, 4.0),
    )
    spec = spec_of(mechanism)
    target = make_target(design, spec, {"mu": MU, "tau_between": TAU})
    base, v = np.array([[0.1, 1.0], [8.0, 0.1]]), np.array([[0.4], [0.9]])
    table = target.log_density_table(base, v)
    assert np.all(table[1] == -np.inf)
    direct = target.log_density(np.column_stack([np.repeat(base[:1], 2, axis=0), v]))
    assert table[0] == pytest.approx(direct, abs=1e-7)


def test_correlated_sampling_errors_are_refused():
    spec = replace(spec_of(), sampling_correlation=0.5)
    with pytest.raises(EngineError, match="independent sampling errors"):
        fit_exact_selection(design_of("kaiser2021"), spec)


def test_an_unsuitable_prior_of_the_weights_is_named():
    with pytest.raises(ValueError, match="must be a beta distribution"):
        fit_exact_selection(design_of("kaiser2021"), spec_of(omega=TAU))


def test_independent_weights_may_exceed_their_more_significant_neighbours():
    prior = Prior("beta", {"alpha": 1.0, "beta": 1.0})
    fit = fit_exact_selection(
        design_of("kaiser2021"), spec_of(steps=(0.025, 0.05, 0.5), omega=prior)
    )
    # Kaiser et al. have no effect between .025 and .05, but 16 between .05 and .5.
    assert fit.estimates["omega[2]"].value < fit.estimates["omega[3]"].value


def test_pareto_k_recovers_the_shape_of_a_pareto_tail():
    rng = np.random.default_rng(1)
    for shape in (0.3, 0.7, 1.2):
        weights = (rng.uniform(size=20_000) ** -shape - 1) / shape
        assert pareto_k(weights) == pytest.approx(shape, abs=0.15)
