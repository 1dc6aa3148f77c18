"""The figures: what they draw is what the document says."""

import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

import reanalysis.plots as plots
from reanalysis import run
from reanalysis.document import to_document
from reanalysis.plots.comparison import describe_comparison
from reanalysis.plots.forest import describe_forest, forest_rows, pooling_weights
from reanalysis.plots.funnel import describe_funnel
from reanalysis.plots.prior_posterior import describe_prior_posterior, prior_density
from reanalysis.plots.source import select
from reanalysis.plots.style import readable_axis
from reanalysis.plots.weights import describe_weights
from reanalysis.priors import Prior

SPEC = Path(__file__).parents[1] / "models" / "kaiser2021.toml"
MODELS = ("three_level", "selection_joint", "two_level")
PLOTS = (
    plots.plot_comparison,
    plots.plot_forest,
    plots.plot_funnel,
    plots.plot_prior_posterior,
    plots.plot_weights,
)
DESCRIPTIONS = (
    describe_comparison,
    describe_forest,
    describe_funnel,
    describe_prior_posterior,
    describe_weights,
)
HOSTILE = "<script>alert('$x^2$')</script> \u202etxet " + "東京" + "x" * 300


@pytest.fixture(scope="module")
def analysis():
    return run(SPEC, engines=("reml", "exact"), models=MODELS)


@pytest.fixture(scope="module")
def document(analysis):
    return to_document(analysis)


@pytest.mark.parametrize("plot", PLOTS)
def test_a_figure_is_a_matplotlib_figure_and_its_svg_is_the_same_every_time(plot, document):
    figure = plot(document)
    assert isinstance(figure, Figure)
    svg = plots.to_svg(figure)
    assert svg.startswith("<svg")
    assert svg == plots.to_svg(plot(document))


@pytest.mark.parametrize("plot", PLOTS)
def test_a_figure_takes_an_analysis_as_it_is(plot, analysis, document):
    assert plots.to_svg(plot(analysis)) == plots.to_svg(plot(document))


@pytest.mark.parametrize("plot", PLOTS)
def test_a_figure_can_be_drawn_on_the_callers_axes(plot, document):
    figure = Figure()
    FigureCanvasSVG(figure)
    left, right = figure.subplots(1, 2)
    extra = {"parameters": ["mu"]} if plot is plots.plot_prior_posterior else {}
    assert plot(document, "two_level", ax=left, **extra) is figure
    assert left.has_data()
    assert not right.has_data()


def test_one_axes_cannot_hold_several_parameters(document):
    with pytest.raises(ValueError, match="one parameter, not 2"):
        plots.plot_prior_posterior(document, parameters=["mu", "tau"], ax=Figure().subplots())


def test_a_model_without_a_posterior_says_that_there_is_nothing_to_draw(document):
    bare = deepcopy(document)
    del bare["models"]["two_level"]["exact"]
    with pytest.raises(ValueError, match="two_level"):
        plots.plot_prior_posterior(bare, "two_level")


@pytest.mark.parametrize("describe", DESCRIPTIONS)
@pytest.mark.parametrize("model", ["three_level", "two_level"])
def test_a_text_alternative_has_numbers_and_at_most_300_characters(describe, model, document):
    words = describe(document, model)
    assert len(words) <= 300
    assert any(c.isdigit() for c in words)


def test_an_analysis_without_selection_models_has_no_weights_to_draw(document):
    bare = deepcopy(document)
    del bare["models"]["selection_joint"]
    with pytest.raises(ValueError, match="no model of this analysis has publication weights"):
        plots.plot_weights(bare)


def test_no_figure_needs_pyplot():
    code = "import sys, reanalysis.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("model", ["three_level", "two_level"])
def test_squares_are_sized_by_the_weights_that_give_remls_average(model, document):
    """The weighted mean of the effects is REML's estimate, which another module computed."""
    part = document["models"][model]
    weights = pooling_weights(part)
    yi = np.array([e["yi"] for e in part["effects"]])
    assert weights.sum() == pytest.approx(1.0)
    assert weights @ yi == pytest.approx(part["reml"]["estimates"]["mu"]["value"], rel=1e-6)


def test_correlated_sampling_errors_enter_the_weights(document):
    part = deepcopy(document["models"]["three_level"])
    part["spec"]["sampling_correlation"] = 0.6
    apart, together = pooling_weights(document["models"]["three_level"]), pooling_weights(part)
    pair = [i for i, e in enumerate(part["effects"]) if e["sample"] == "8"]
    assert len(pair) == 2
    assert together[pair].sum() < apart[pair].sum()


@pytest.mark.parametrize("name", ["tau_between", "tau_within"])
def test_the_implied_prior_of_a_part_is_that_of_simulated_draws(name):
    tau, share = Prior("half_normal", {"sigma": 0.25}), Prior("beta", {"alpha": 2.0, "beta": 3.0})
    priors = {
        "tau": {"family": tau.family, "parameters": tau.parameters},
        "between_share": {"family": share.family, "parameters": share.parameters},
    }
    rng = np.random.default_rng(7)
    total, s = tau.rvs(400_000, rng), share.rvs(400_000, rng)
    draws = total * np.sqrt(s if name == "tau_between" else 1 - s)
    x = np.linspace(0, 1.5, 3001)
    density = prior_density(priors, name, x)
    assert np.trapezoid(density, x) == pytest.approx(1.0, abs=2e-3)
    for edge in (0.05, 0.1, 0.2, 0.4):
        inside = x <= edge
        # Four standard errors of a share of 400,000 draws.
        assert np.trapezoid(density[inside], x[inside]) == pytest.approx(
            np.mean(draws <= edge), abs=4 * 0.5 / np.sqrt(400_000) + 1e-3
        )


def test_the_axis_is_labelled_in_r_with_the_spacing_of_z(document):
    ax = Figure().subplots()
    readable_axis(ax, select(document).scale, (-0.7, 1.2))
    ticks = {t.get_text(): x for t, x in zip(ax.get_xticklabels(), ax.get_xticks(), strict=True)}
    assert set(ticks) >= {"−.4", "0", ".2", ".8"}
    for label, z in ticks.items():
        assert np.tanh(z) == pytest.approx(float(label.replace("−", "-")), abs=1e-4)


def test_ratios_have_ticks_at_equal_distance_from_one(document):
    ratios = deepcopy(document)
    ratios["data"]["measure"] = "OR"
    ax = Figure().subplots()
    readable_axis(ax, select(ratios).scale, (-1.0, 1.0))
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0.5", "1", "2"]


def test_hostile_labels_are_drawn_as_text_and_never_as_mathematics(document):
    hostile = deepcopy(document)
    for row in hostile["models"]["three_level"]["effects"]:
        row["label"] = HOSTILE
    svg = plots.to_svg(plots.plot_forest(hostile))
    assert "<script" not in svg
    assert "&lt;script&gt;alert('$x^2$')" in svg or "&lt;script&gt;alert(&#39;$x^2$" in svg
    assert "\u202e" not in svg
    assert "x" * 40 not in svg
    assert len(describe_forest(hostile)) <= 300


def test_intervals_that_leave_the_axis_end_in_arrows(document):
    wide = deepcopy(document)
    wide["models"]["three_level"]["effects"][0]["vi"] = 4.0
    usual, clipped = (plots.plot_forest(d).axes[0] for d in (document, wide))
    markers = [line.get_marker() for line in clipped.lines]
    assert "<" in markers
    assert ">" in markers
    assert "<" not in [line.get_marker() for line in usual.lines]


def test_the_forest_can_be_sorted(document):
    labels = [
        t.get_text()
        for t in plots.plot_forest(document, order="effect").axes[0].texts
        if t.get_text().startswith(("Gieselmann", "Beckner et al. (2007) T-SEFT, 11"))
    ]
    assert [label[:5] for label in labels] == ["Giese", "Beckn"]


def test_what_a_row_of_the_forest_tells_lies_over_its_row(document):
    """The axes know where row 14 is drawn; the report only knows the fractions."""
    figure = plots.plot_forest(document)
    ax = figure.axes[0]
    rows = forest_rows(document)
    effect = document["models"]["three_level"]["effects"][14]
    y = ax.transData.transform((effect["yi"], 14.0))[1]
    top, height, words = rows[14]
    assert 1 - (top + height / 2) == pytest.approx(y / figure.bbox.height, abs=1e-6)
    assert words.startswith(f"{effect['label']}: r = .49 (.12 to .74); n = 25;")
    assert sum(float(r[2].split("; ")[2].split(" %")[0]) for r in rows) == pytest.approx(100, abs=1)


def test_a_failed_nuts_fit_is_drawn_nowhere(document):
    failed = deepcopy(document)
    part = failed["models"]["three_level"]
    part["nuts"] = {
        "estimates": {"mu": {"mean": 0.777, "lower": 0.666, "upper": 0.888}},
        "densities": {"mu": {"x": [0.7, 0.8], "density": [1.0, 2.0]}},
        "diagnostics": {"passed": False, "failures": ["R-hat 1.3"]},
    }
    for plot in PLOTS:
        assert plots.to_svg(plot(failed)) == plots.to_svg(plot(document))
