"""Kaiser, Hanschmidt & Kersting (2021): what the printed table gives, and what the paper prints."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reanalysis.dataset import load_dataset
from reanalysis.design import Design, make_design
from reanalysis.exact import fit_exact
from reanalysis.frequentist import fit_reml
from reanalysis.runner import run
from reanalysis.spec import ModelSpec
from reanalysis.spec_file import load_reanalysis

ROOT = Path(__file__).parents[2]
COMPOSITES = ModelSpec(name="composites", table="samples", estimand="composite", levels=2)


@pytest.fixture(scope="module")
def designs() -> dict[str, Design]:
    data = load_dataset(ROOT / "data" / "kaiser2021")
    models = {
        "table_2": COMPOSITES,
        "implied_mean": replace(COMPOSITES, estimand="mean"),
    }
    return {name: make_design(data, model) for name, model in models.items()}


def test_two_level_reml_of_the_printed_composites_gives_metafors_numbers(
    designs: dict[str, Design],
) -> None:
    """metafor 3.8.1 on Table 2's r and N: r = .1926 [.135, .249], tau2 = 0, Q(24) = 23.3."""
    fit = fit_reml(designs["table_2"], COMPOSITES)
    mu = fit.estimates["mu"]
    assert np.tanh(mu.value) == pytest.approx(0.1926, abs=5e-5)
    assert np.tanh([mu.lower, mu.upper]) == pytest.approx([0.135, 0.249], abs=5e-4)
    assert fit.q == pytest.approx(23.3, abs=0.05)
    assert fit.tau2_between == 0
    assert fit.boundary == ("tau_between",)


def test_the_mean_effect_behind_a_composite_carries_its_delta_method_variance(
    designs: dict[str, Design],
) -> None:
    """A numerical derivative of atanh(c / f) in atanh(c); f = 1.085 for two, 1.118 for three."""
    composite, mean = designs["table_2"], designs["implied_mean"]
    for i in range(mean.k):
        f = {1: 1.0, 2: 1.0846523, 3: 1.1180340}[int(mean.n_averaged[i])]
        z, h = composite.yi[i], 1e-5
        slope = (np.arctanh(np.tanh(z + h) / f) - np.arctanh(np.tanh(z - h) / f)) / (2 * h)
        assert mean.yi[i] == pytest.approx(np.arctanh(np.tanh(z) / f), abs=1e-7)
        assert mean.vi[i] == pytest.approx(slope**2 * composite.vi[i], rel=1e-6)


def test_the_exact_posterior_of_table_2_is_that_of_an_independent_quadrature(
    designs: dict[str, Design],
) -> None:
    """mu ~ N(0, .5), tau ~ HalfNormal(.3): mean .1961857, sd .0339980, tau .0556580, BF 17,236."""
    from reanalysis.priors import Prior

    spec = replace(
        COMPOSITES,
        priors={
            "mu": Prior("normal", {"sigma": 0.5}),
            "tau_between": Prior("half_normal", {"sigma": 0.3}),
        },
    )
    fit = fit_exact(designs["table_2"], spec)
    assert fit.estimates["mu"].value == pytest.approx(0.1961857, abs=5e-7)
    assert fit.estimates["mu"].sd == pytest.approx(0.0339980, abs=2e-6)
    assert fit.estimates["tau_between"].value == pytest.approx(0.0556580, abs=5e-7)
    assert np.exp(fit.bayes_factors["mu"]) == pytest.approx(17236, rel=1e-3)


def test_the_bundled_spec_keeps_what_is_determined_and_averages_what_is_not() -> None:
    """15 single effects and 12 composites (Appendix A is not printed): 27 rows in 25 samples."""
    analysis = run(ROOT / "models" / "kaiser2021.toml", engines=("reml",), models=("three_level",))
    design = analysis.models["three_level"].design
    assert (design.k, design.m) == (27, 25)
    assert np.sum(design.n_averaged == 1) == 15
    assert sorted(set(design.n_averaged)) == [1, 2, 3]


def test_the_printed_overall_effect_is_compared_on_the_z_scale() -> None:
    analysis = run(ROOT / "models" / "kaiser2021.toml", engines=("reml",), models=("three_level",))
    row = analysis.models["three_level"].comparison.table.loc["mu"]
    assert np.tanh(row["published"]) == pytest.approx(0.203)
    assert np.tanh([row["published_lower"], row["published_upper"]]) == pytest.approx(
        [0.141, 0.263]
    )
    assert abs(row["reml_minus_published_in_se"]) < 1


def test_every_prior_of_the_bundled_spec_has_a_rationale() -> None:
    spec = load_reanalysis(ROOT / "models" / "kaiser2021.toml")
    for model in spec.models.values():
        assert model.priors
        for name, prior in model.priors.items():
            assert prior.rationale, f"{model.name}: {name}"
