"""Contrasts, mean effects, tests and verdicts of moderators, against independent numbers."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from reanalysis.dataset import Dataset, load_dataset
from reanalysis.design import Design, make_design
from reanalysis.document import to_document
from reanalysis.exact import fit_exact, log_evidence
from reanalysis.exact.coefficients import CoefficientPosterior
from reanalysis.frequentist import fit_reml
from reanalysis.moderation import (
    Moderation,
    make_moderation,
    make_targets,
    moderation_document,
    moderator_family,
    verdict,
)
from reanalysis.plan import plan
from reanalysis.plots.source import select
from reanalysis.priors import Prior
from reanalysis.report.moderators import make_moderators
from reanalysis.results import Diagnostics, Posterior
from reanalysis.runner import run
from reanalysis.spec import ModelSpec, Rope, SpecError

REFERENCE = Path(__file__).parent / "reference"
KAISER = Path(__file__).parents[1] / "data" / "kaiser2021"
PRIORS = {
    "mu": Prior("normal", {"sigma": 0.5}),
    "beta": Prior("normal", {"sigma": 0.25}),
    "tau": Prior("half_normal", {"sigma": 0.25}),
}
MODELS = {"mod_cont": ("cont",), "mod_cat": ("cat",), "mod_both": ("cont", "cat")}
RTOL = 1e-4  # metafor's own stopping rule, see tests/reference/README.md


def reference(name: str) -> dict[str, Any]:
    return json.loads((REFERENCE / f"metafor5_{name}.json").read_text(encoding="utf-8"))


def dataset(name: str, levels: int) -> Dataset:
    frame = pd.read_csv(REFERENCE / "data" / f"{name}.csv", dtype={"study": str})
    sample = {"sample": "study"} if levels == 3 else {}
    return Dataset.from_frame(frame, measure="ZCOR", yi="yi", vi="vi", **sample)


def fitted(spec: ModelSpec, data: Dataset, rope: Rope | None = None) -> tuple[Design, Moderation]:
    design = make_design(data, spec)
    reml, exact = fit_reml(design, spec), fit_exact(design, spec)
    return design, make_moderation(design, spec, reml=reml, exact=exact, rope=rope)


@pytest.fixture(scope="module")
def kaiser() -> Dataset:
    return load_dataset(KAISER)


def composites(**settings: Any) -> ModelSpec:
    return ModelSpec(
        name="composites",
        table="samples",
        estimand="composite",
        levels=2,
        priors=PRIORS,
        **settings,
    )


# ---------------------------------------------------------------- REML against metafor


@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("bcg", 2),
        ("konstantopoulos2011", 2),
        ("konstantopoulos2011", 3),
        ("kaiser2021", 3),
    ],
)
@pytest.mark.parametrize("key", MODELS)
def test_reml_of_moderators_from_a_table_agrees_with_metafor(
    name: str, levels: int, key: str
) -> None:
    """metafor 5.1.12: reference level first in the alphabet, numbers uncentred."""
    expected = reference(name)["two_level" if levels == 2 else "three_level"][key]
    data = dataset(name, levels)
    first = min(str(cell) for cell in data.table["cat"])
    moderators = MODELS[key]
    spec = ModelSpec(
        name="m",
        moderators=moderators,
        reference={"cat": first} if "cat" in moderators else {},
        centring={"cont": 0.0} if "cont" in moderators else {},
        decompose=False,
        priors=PRIORS,
    )
    design = make_design(data, spec)
    fit = fit_reml(design, spec)
    assert fit.coef == pytest.approx(expected["beta"], rel=RTOL)
    tests = make_moderation(design, spec, reml=fit).tests.iloc[-1]
    assert tests["qm"] == pytest.approx(expected["QM"], rel=RTOL)
    # The p-value moves by QM / 2 times the relative change of QM.
    assert tests["p"] == pytest.approx(expected["QMp"], rel=RTOL * max(1.0, tests["qm"]))
    assert tests["df"] == expected["QMdf"][0]


@pytest.mark.parametrize("levels", [2, 3])
def test_the_omnibus_test_does_not_depend_on_the_coding(levels: int) -> None:
    data = dataset("konstantopoulos2011", levels)
    expected = reference("konstantopoulos2011")["two_level" if levels == 2 else "three_level"]
    spec = ModelSpec(name="m", moderators=("cat",), priors=PRIORS, decompose=False)
    design = make_design(data, spec)
    tests = make_moderation(design, spec, reml=fit_reml(design, spec)).tests
    assert tests["qm"].item() == pytest.approx(expected["mod_cat"]["QM"], rel=RTOL)
    assert tests["coefficients"].item() == 2


def test_contrasts_and_means_are_what_a_recoded_fit_says_directly() -> None:
    """Each level as the reference in turn: its intercept is the mean, its slopes the contrasts."""
    data = dataset("konstantopoulos2011", 3)
    spec = ModelSpec(name="m", moderators=("cat", "cont"), priors=PRIORS, decompose=False)
    design = make_design(data, spec)
    moderation = make_moderation(design, spec, reml=fit_reml(design, spec))
    for level in design.terms[0].variables[0].levels:
        recoded = ModelSpec(
            name="m",
            moderators=("cat", "cont"),
            reference={"cat": level},
            priors=PRIORS,
            decompose=False,
        )
        fit = fit_reml(make_design(data, recoded), recoded)
        mean = moderation.means.query("term == 'cat' and label == @level").iloc[0]
        direct = fit.estimates["beta[intercept]"]
        found = mean[["value", "sd", "lower", "upper"]].to_list()
        assert found == pytest.approx([direct.value, direct.sd, direct.lower, direct.upper])
        for row in moderation.contrasts.query("term == 'cat'").to_dict("records"):
            other, _, base = row["label"].partition(" vs ")
            if base == level:
                direct = fit.estimates[f"beta[cat={other}]"]
                assert [row["value"], row["sd"]] == pytest.approx([direct.value, direct.sd])


# ---------------------------------------------------------------- the paper's moderators


@pytest.mark.parametrize(
    ("moderator", "p"),
    [
        ("any_late", 0.019),
        ("late_share", 0.015),
        ("converted", 0.35),
        ("post_only", 0.44),
        ("disorder", 0.39),
        ("contacts_min", 0.21),
        ("mode", 0.17),
        ("self_help_guess", 0.98),
    ],
)
def test_reml_of_the_printed_composites_gives_metafors_p_values(
    kaiser: Dataset, moderator: str, p: float
) -> None:
    """metafor 3.8.1, REML, two levels, r and n of Table 2; as two printed digits."""
    spec = composites(moderators=(moderator,))
    design = make_design(kaiser, spec)
    tests = make_moderation(design, spec, reml=fit_reml(design, spec)).tests
    assert tests["p"].item() == pytest.approx(p, abs=0.0051 if p > 0.1 else 0.00051)


def test_the_slope_on_the_share_of_late_measurements_is_the_one_metafor_gives(
    kaiser: Dataset,
) -> None:
    """metafor 3.8.1 on implied means: b = .264, r = .156 early and .398 late."""
    spec = ModelSpec(name="m", table="samples", moderators=("late_share",), levels=2, priors=PRIORS)
    design = make_design(kaiser, spec)
    moderation = make_moderation(design, spec, reml=fit_reml(design, spec))
    slope = moderation.contrasts.query("kind == 'slope'").iloc[0]
    assert slope["value"] == pytest.approx(0.264, abs=5e-4)
    means = moderation.means.set_index("label")["r"]
    assert [means["0"], means["1"]] == pytest.approx([0.156, 0.398], abs=3e-3)


def test_qm_7_43_is_below_its_threshold_under_chi_square_but_not_under_t_of_23() -> None:
    """The paper's only significant test; .05 / 7 = .0071. stats.f is scipy's."""
    assert stats.chi2.sf(7.43, 1) < 0.05 / 7 < stats.f.sf(7.43, 1, 23)


# ---------------------------------------------------------------- the exact engine's answers


def test_exact_means_and_contrasts_agree_with_draws_from_dense_normals(kaiser: Dataset) -> None:
    """An independent Monte Carlo: tau on a fine grid, coefficients by dense matrices."""
    rope = Rope(-0.1, 0.1)
    spec = composites(moderators=("disorder", "late_share"))
    design, moderation = fitted(spec, kaiser, rope)
    rng = np.random.default_rng(0)
    tau = (np.arange(400) + 0.5) / 400
    unit = [1, 1, 1, 1, 1, design.terms[1].unit]
    prior_sd = np.array([0.5, 0.25, 0.25, 0.25, 0.25, 0.25]) / unit
    log_mass = np.empty(len(tau))
    moments = []
    for i, t in enumerate(tau):
        marginal = np.diag(design.vi + t**2) + (design.X * prior_sd**2) @ design.X.T
        normal = stats.multivariate_normal(np.zeros(design.k), marginal)
        log_mass[i] = normal.logpdf(design.yi) + stats.halfnorm(scale=0.25).logpdf(t)
        weight = design.X.T / (design.vi + t**2)
        cov = np.linalg.inv(weight @ design.X + np.diag(prior_sd**-2.0))
        moments.append((cov @ weight @ design.yi, np.linalg.cholesky(cov)))
    mass = np.exp(log_mass - log_mass.max())
    picks = rng.choice(len(tau), 40_000, p=mass / mass.sum())
    b = np.array([moments[i][0] + moments[i][1] @ rng.standard_normal(design.p) for i in picks])
    for target in make_targets(design):
        z, draws = b @ target.weights, b @ np.stack([target.first, target.second]).T
        table = moderation.means if target.kind == "mean" else moderation.contrasts
        row = table.query("engine == 'exact' and term == @target.term and label == @target.label")
        found = row.iloc[0]
        sd = z.std()
        assert found["value"] == pytest.approx(z.mean(), abs=4 * sd / 200)
        assert found["sd"] == pytest.approx(sd, rel=0.02)
        ends = np.quantile(z, [0.025, 0.975])
        assert [found["lower"], found["upper"]] == pytest.approx(ends, abs=0.04 * sd)
        assert found["positive"] == pytest.approx(np.mean(z > 0), abs=0.01)
        if target.kind == "slope":
            assert np.isnan(found["r"])
            assert np.isnan(found["rope"])
            continue
        r = np.tanh(draws[:, 0]) - np.tanh(draws[:, 1])
        assert found["rope"] == pytest.approx(np.mean(np.abs(r) < 0.1), abs=0.01)
        ends = np.quantile(r, [0.025, 0.975])
        assert [found["r_lower"], found["r_upper"]] == pytest.approx(ends, abs=0.04 * r.std())
        if target.kind == "difference":
            assert found["r"] == pytest.approx(r.mean(), abs=4 * r.std() / 200)


def test_the_difference_of_correlations_is_a_proper_distribution() -> None:
    rng = np.random.default_rng(3)
    root = rng.normal(size=(400, 3, 3))
    posterior = CoefficientPosterior.of(
        rng.dirichlet(np.ones(400)),
        rng.normal(0.2, 0.1, (400, 3)),
        0.05 * root @ root.transpose(0, 2, 1),
        np.zeros(3),
    )
    apart = posterior.tanh_difference(np.array([1.0, 0.5, 0.0]), np.array([1.0, -0.5, 0.3]))
    x = np.linspace(-1.999, 1.999, 1501)
    below, density = apart.cdf_pdf(x)
    assert [below[0], below[-1]] == pytest.approx([0, 1], abs=1e-3)
    assert np.all(np.diff(below) >= 0)
    assert np.trapezoid(density, x) == pytest.approx(below[-1] - below[0], abs=1e-5)
    assert np.trapezoid(x * density, x) == pytest.approx(apart.mean(), abs=1e-3)
    p = np.array([0.025, 0.5, 0.975])
    assert apart.cdf_pdf(apart.quantiles(p))[0] == pytest.approx(p, abs=1e-9)


def test_an_inclusion_bayes_factor_agrees_with_a_second_quadrature(kaiser: Dataset) -> None:
    spec = composites(moderators=("disorder",))
    design, moderation = fitted(spec, kaiser)
    tau, weight = np.polynomial.legendre.leggauss(200)
    tau, weight = (tau + 1) * 0.75, weight * 0.75

    def evidence(X: np.ndarray) -> float:
        prior = np.diag([0.5**2] + [0.25**2] * (X.shape[1] - 1))
        total = 0.0
        for t, w in zip(tau, weight, strict=True):
            sigma = np.diag(design.vi + t**2) + X @ prior @ X.T
            loglik = stats.multivariate_normal(np.zeros(design.k), sigma).logpdf(design.yi)
            total += w * np.exp(loglik + stats.halfnorm(scale=0.25).logpdf(t))
        return total

    expected = evidence(design.X) / evidence(design.X[:, :1])
    assert moderation.tests["bayes_factor"].item() == pytest.approx(expected, rel=1e-4)


def test_exchangeable_levels_keep_their_answers_when_they_are_renamed(kaiser: Dataset) -> None:
    """With sum-to-zero contrasts no level is special: only names change, in any order."""
    renamed = {"OCD": "v", "PTSD": "x", "anxiety": "u", "depression": "z", "other": "w"}
    frame = kaiser.reading(table="samples", estimand="composite").table
    changed = frame.assign(disorder=frame["disorder"].map(renamed))
    answers = []
    for table in (frame, changed):
        data = Dataset.from_frame(table, measure="ZCOR", ri="r", ni="n", sample="sample")
        spec = ModelSpec(name="m", moderators=("disorder",), priors=PRIORS)
        _, moderation = fitted(spec, data)
        exact = moderation.means.query("engine == 'exact'").set_index("label")
        answers.append((moderation.tests["log_bayes_factor"].item(), exact))
    assert answers[0][0] == pytest.approx(answers[1][0], abs=1e-9)
    for old, new in renamed.items():
        one, other = answers[0][1].loc[old], answers[1][1].loc[new]
        columns = ["value", "sd", "lower", "upper", "r_lower"]
        assert one[columns].tolist() == pytest.approx(other[columns].tolist(), abs=1e-9)


def test_interactions_have_a_mean_for_each_cell_and_a_slope_at_each_level() -> None:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "yi": rng.normal(0.2, 0.2, 24),
            "vi": rng.uniform(0.01, 0.04, 24),
            "a": ["x", "y"] * 12,
            "b": ["p", "p", "q", "q"] * 6,
            "dose": rng.uniform(0, 1, 24),
        }
    )
    data = Dataset.from_frame(frame, measure="ZCOR", yi="yi", vi="vi")
    spec = ModelSpec(name="m", moderators="a + b + dose + a:b + a:dose", priors=PRIORS)
    design = make_design(data, spec)
    fit = fit_reml(design, spec)
    moderation = make_moderation(design, spec, reml=fit)
    cells = moderation.means.query("term == 'a:b'").set_index("label")
    assert set(cells.index) == {"x:p", "x:q", "y:p", "y:q"}
    assert cells["rows"].tolist() == [6, 6, 6, 6]
    for label in cells.index:
        one, two = label.split(":")
        at = design.X[(design.moderators["a"] == one) & (design.moderators["b"] == two)].copy()
        at[:, [*design.factors["dose"], *design.factors["a:dose"]]] = 0.0
        assert cells.loc[label, "value"] == pytest.approx(float(at[0] @ fit.coef))
    slopes = moderation.contrasts.query("term == 'a:dose'").set_index("label")["value"]
    main = fit.estimates["beta[dose]"].value
    extra = fit.estimates["beta[a=y:dose]"].value
    assert slopes["dose per unit at x"] == pytest.approx(main - extra / 2)
    assert slopes["dose per unit at y"] == pytest.approx(main + extra / 2)


def test_the_parts_of_a_split_moderator_are_told_apart() -> None:
    """Between samples the effect rises with the dose, within them it falls."""
    rng = np.random.default_rng(5)
    sample = np.repeat(np.arange(20), 3)
    dose = rng.normal(size=20)[sample] + np.tile([-1.0, 0.0, 1.0], 20)
    between = np.bincount(sample, dose)[sample] / 3
    vi = np.full(60, 0.01)
    frame = pd.DataFrame(
        {
            "yi": 0.1 + 0.2 * between - 0.3 * (dose - between) + rng.normal(0, 0.1, 60),
            "vi": vi,
            "dose": dose,
            "study": sample.astype(str),
        }
    )
    data = Dataset.from_frame(frame, measure="ZCOR", yi="yi", vi="vi", sample="study")
    _, moderation = fitted(ModelSpec(name="m", moderators=("dose",), priors=PRIORS), data)
    slopes = moderation.contrasts.query("engine == 'exact' and kind == 'slope'").set_index("term")
    assert slopes.loc["dose.between", "lower"] > 0.05
    assert slopes.loc["dose.within", "upper"] < -0.2
    tests = moderation.tests.set_index("term")
    assert list(tests.index) == ["dose.between", "dose.within", "all"]
    assert tests.loc["dose.within", "df2"] == 57  # effects count
    assert tests.loc["dose.between", "df2"] == 17  # samples count


def test_counts_say_how_many_samples_and_effects_each_level_has(kaiser: Dataset) -> None:
    spec = ModelSpec(name="m", table="effects", moderators=("mode", "late_share"), priors=PRIORS)
    counts = make_moderation(make_design(kaiser, spec), spec).counts
    assert counts.to_dict("records") == [
        {"term": "mode", "level": "oral", "samples": 4, "rows": 6, "effects": 8},
        {"term": "mode", "level": "written", "samples": 21, "rows": 21, "effects": 37},
        {"term": "late_share", "level": "0 to 1", "samples": 25, "rows": 27, "effects": 45},
    ]


# ---------------------------------------------------------------- several models, verdicts


def test_the_family_adjusts_as_bonferroni_and_holm_do(kaiser: Dataset) -> None:
    single = {}
    for name in ("late_share", "mode", "converted"):
        spec = composites(moderators=(name,))
        single[name] = fitted(spec, kaiser)[1]
    family = moderator_family(single).set_index("model")
    p = family["p"]
    assert family["p_bonferroni"].tolist() == pytest.approx(np.minimum(1, 3 * p).tolist())
    assert family.loc["late_share", "p_holm"] == pytest.approx(3 * p["late_share"])
    assert family.loc["mode", "p_holm"] == pytest.approx(2 * p["mode"])
    assert family.loc["converted", "p_holm"] == pytest.approx(max(2 * p["mode"], p["converted"]))
    assert family.loc["late_share", "bonferroni"] == "difference"  # .015 * 3 < .05
    planned = moderator_family(single, tests=7).set_index("model")
    assert planned.loc["late_share", "p_bonferroni"] == pytest.approx(7 * p["late_share"])
    assert planned.loc["late_share", "bonferroni"] == "not shown"
    assert "p_holm" not in planned  # the other four p-values are not there


def test_the_shrinkage_verdict_stands_beside_that_of_the_single_model(kaiser: Dataset) -> None:
    moderators = ("late_share", "mode", "disorder")
    single = {name: fitted(composites(moderators=(name,)), kaiser)[1] for name in moderators}
    shrunk = {k: v for k, v in PRIORS.items() if k != "beta"}
    shrunk["beta_scale"] = Prior("half_normal", {"sigma": 0.15})
    spec = ModelSpec(
        name="joint",
        table="samples",
        estimand="composite",
        levels=2,
        moderators=moderators[:2],
        priors=shrunk,
    )
    joint = fitted(spec, kaiser)[1]
    family = moderator_family(single, joint).set_index("model")
    assert joint.shrunk
    tests = joint.tests.set_index("term")["bayes_factor"]
    assert family.loc["mode", "joint_bayes_factor"] == pytest.approx(tests["mode"])
    assert family.loc["disorder", "shrinkage"] == "not tested"
    assert family.loc["late_share", "shrinkage"] == verdict(float(np.log(tests["late_share"])))


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        (3.0, "difference"),
        (2.99, "the data do not say"),
        (1 / 3, "no difference"),
        (0.34, "the data do not say"),
        (np.nan, "not tested"),
    ],
)
def test_the_verdict_follows_its_stated_rule(factor: float, expected: str) -> None:
    assert verdict(float(np.log(factor))) == expected


# ---------------------------------------------------------------- records and documents


def test_a_failed_nuts_fit_gives_no_numbers(kaiser: Dataset) -> None:
    spec = composites(moderators=("mode",))
    design = make_design(kaiser, spec)
    failed = Diagnostics(1.2, 50.0, 50.0, 3, 0.1, passed=False)
    import xarray as xr

    draws = xr.DataTree.from_dict({"posterior": xr.Dataset()})
    nuts = Posterior("nuts", {}, draws=draws, diagnostics=failed)
    moderation = make_moderation(design, spec, nuts=nuts)
    assert len(moderation.means) == len(moderation.contrasts) == 0
    assert any("failed its convergence gate" in note for note in moderation.notes)


def test_a_model_without_moderators_has_no_moderation(kaiser: Dataset) -> None:
    spec = ModelSpec(name="plain", table="samples")
    with pytest.raises(ValueError, match="has no moderators"):
        make_moderation(make_design(kaiser, spec), spec)


def test_the_document_is_plain_and_leaves_out_what_was_not_computed(kaiser: Dataset) -> None:
    spec = composites(moderators=("mode", "late_share"))
    design, moderation = fitted(spec, kaiser)
    document = json.loads(json.dumps(moderation_document(moderation, design), allow_nan=False))
    assert len(document["values"]["mode"]) == design.k
    assert document["terms"][1]["x"] == pytest.approx(design.moderators["late_share"].tolist())
    reml = [row for row in document["contrasts"] if row["engine"] == "reml"]
    assert all("positive" not in row and "rope" not in row for row in reml)
    line = [row for row in document["lines"] if row["engine"] == "exact"]
    assert [line[0]["x"], line[-1]["x"]] == [0.0, 1.0]


def test_the_notebook_view_has_every_table_and_escapes_what_users_wrote() -> None:
    frame = pd.DataFrame(
        {"r": [0.1, 0.2, 0.4, 0.3], "n": [40, 50, 60, 70], "kind": ["<i>", "b", "<i>", "b"]}
    )
    data = Dataset.from_frame(frame, ri="r", ni="n")
    html = fitted(ModelSpec(name="m", moderators=("kind",), priors=PRIORS), data)[1]._repr_html_()
    for title in ("Tests of the moderators", "Differences and slopes", "Mean effects"):
        assert title in html
    assert "&lt;i&gt;" in html
    assert "<i>" not in html


# ---------------------------------------------------------------- the spec of the first case


def test_the_first_case_asks_seven_moderators_one_by_one_and_six_together() -> None:
    planned = plan(KAISER.parents[1] / "models" / "kaiser2021.toml").models
    family = {name: m for name, m in planned.items() if m.spec.family == "moderators"}
    single = {name: m for name, m in family.items() if "beta_scale" not in m.spec.priors}
    (joint,) = (m for m in family.values() if "beta_scale" in m.spec.priors)
    assert len(single) == 7
    assert all(m.spec.engines == ("reml", "exact") for m in single.values())
    assert joint.spec.engines == ("reml", "exact", "nuts")
    assert (joint.design.p, joint.design.m) == (10, 25)
    assert all(m.spec.note for m in single.values())  # what the printed data cannot determine
    help_notes = " ".join(single["moderator_self_help"].design.notes)
    assert "5 of 25 samples remain" in help_notes
    assert "Only one sample has 'self_help' = no" in help_notes
    moderations = {}
    for name, m in single.items():
        reml, exact = fit_reml(m.design, m.spec), fit_exact(m.design, m.spec)
        moderations[name] = make_moderation(m.design, m.spec, reml=reml, exact=exact)
    exact = fit_exact(joint.design, joint.spec)
    table = moderator_family(
        moderations, make_moderation(joint.design, joint.spec, exact=exact)
    ).set_index("model")
    late = table.loc["moderator_late"]
    assert late["p"] < 0.05 < late["p_bonferroni"]
    assert late["joint_bayes_factor"] < 3 < late["bayes_factor"]
    assert (table["bonferroni"] == "not shown").all()
    assert "difference" not in set(table["shrinkage"])


# ---------------------------------------------------------------- families in a run

SPLIT = """
[data]
path = "table.csv"

[[model]]
name = "time"
moderators = "time"
family = "two"
note = "Nobody printed when."
engines = ["reml", "exact"]

[[model]]
name = "mode"
moderators = ["mode"]
family = "two"
engines = ["reml", "exact"]

[[model]]
name = "both"
moderators = ["time", "mode"]
family = "two"
engines = ["reml", "exact"]
[model.priors]
beta_scale = { family = "half_normal", sigma = 0.15, rationale = "As in the first case." }
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spec of two moderators; one of them varies within samples."""
    rng = np.random.default_rng(8)
    folder = tmp_path_factory.mktemp("two")
    frame = pd.DataFrame(
        {
            "study": [f"s{j}" for j in np.repeat(np.arange(12), 2)],
            "r": np.tanh(rng.normal(0.2, 0.2, 24)).round(3),
            "n": rng.integers(30, 90, 24),
            "time": ["early", "late"] * 6 + ["early"] * 10 + ["late"] * 2,
            "mode": np.repeat(["oral", "written"] * 6, 2),
        }
    )
    frame.to_csv(folder / "table.csv", index=False)
    (folder / "two.toml").write_text(SPLIT, encoding="utf-8")
    return folder / "two.toml"


def test_both_parts_of_a_split_moderator_have_one_test_and_one_verdict(two: Path) -> None:
    document = to_document(run(two))
    joint = document["models"]["both"]
    rows = {row["term"]: row for row in joint["moderation"]["tests"]}
    assert list(rows) == ["time.between", "time.within", "mode", "time", "all"]
    assert rows["time"]["df"] == rows["time"]["coefficients"] == 2
    planned = plan(two).models["both"]
    without = replace(planned.spec, moderators=("mode",))
    expected = log_evidence(planned.design, planned.spec) - log_evidence(
        make_design(planned.data, without), without
    )
    assert rows["time"]["log_bayes_factor"] == pytest.approx(expected, abs=2e-4)
    family = {row["moderator"]: row for row in document["moderators"]["two"]}
    assert list(family) == ["time", "mode"]  # a formula of one column is no joint model
    assert family["time"]["joint_bayes_factor"] == pytest.approx(np.exp(expected), rel=2e-4)
    assert family["time"]["shrinkage_verdict"] == verdict(expected)
    assert {"f", "df1", "df2", "f_p", "f_p_bonferroni", "f_p_holm"} <= set(family["time"])


def test_a_run_of_some_members_corrects_for_all_that_were_planned(two: Path) -> None:
    (row,) = to_document(run(two, models=["mode"]))["moderators"]["two"]
    assert row["p_bonferroni"] == pytest.approx(min(1.0, 2 * row["p"]))
    assert "p_holm" not in row


def test_the_report_sets_the_two_verdicts_side_by_side_and_states_their_rules(two: Path) -> None:
    document = to_document(run(two))
    part = make_moderators(document, {name: select(document, name) for name in document["models"]})
    assert part is not None
    table = part["families"][0]["table"]
    titles = [column.title for column in table.columns]
    assert titles[-2:] == ["Verdict by Bonferroni", "Verdict of the joint model"]
    for row, cells in zip(document["moderators"]["two"], table.rows, strict=True):
        assert [c.text for c in cells[-2:]] == [row["bonferroni_verdict"], row["shrinkage_verdict"]]
    assert "times the number of planned tests, is below .05" in table.note
    assert "odds of 3 to 1" in table.note
    models = {model["title"]: model for model in part["models"]}
    # One figure for each moderator alone, also a split one; the joint model repeats none.
    assert [len(models[name]["images"]) for name in ("time", "mode", "both")] == [1, 1, 0]
    assert models["mode"]["tests"] is None  # its only test is in the family's table
    assert len(models["time"]["tests"].rows) == 3
    assert models["time"]["notes"][0] == "Nobody printed when."
    note = next(n for n in models["time"]["notes"] if "varies within samples" in n)
    assert "only 6 of 12 samples carry the within part" in note


def test_a_joint_model_draws_the_moderators_that_no_model_has_alone(two: Path) -> None:
    document = to_document(run(two, models=["mode", "both"]))
    part = make_moderators(document, {name: select(document, name) for name in document["models"]})
    assert part is not None
    (image,) = part["models"][1]["images"]
    assert image.name == "both_0"
    assert "by time.between" in image.alt
    assert "Other moderators of the model are averaged" in image.caption


def test_a_moderator_without_reml_is_not_tested_and_the_others_still_are(kaiser: Dataset) -> None:
    single = {name: fitted(composites(moderators=(name,)), kaiser)[1] for name in ("mode",)}
    spec = composites(moderators=("converted",))
    design = make_design(kaiser, spec)
    single["converted"] = make_moderation(design, spec, exact=fit_exact(design, spec))
    family = moderator_family(single).set_index("model")
    assert family["bonferroni"].tolist() == ["not shown", "not tested"]
    assert family.loc["mode", "p_bonferroni"] == pytest.approx(min(1, 2 * family.loc["mode", "p"]))
    assert "p_holm" not in family


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('moderators = "time"\n', "", 'family = "two" is for models with moderators'),
        (
            'moderators = ["mode"]',
            'moderators = "mode + time"',
            "has a model of several moderators",
        ),
    ],
)
def test_a_family_that_cannot_be_one_is_refused(two: Path, old: str, new: str, words: str) -> None:
    changed = two.with_name("changed.toml")
    changed.write_text(SPLIT.replace(old, new), encoding="utf-8")
    with pytest.raises(SpecError, match=re.escape(words)):
        plan(changed)
