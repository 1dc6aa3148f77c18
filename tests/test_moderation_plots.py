"""The bubble plot and the marginal-means plot draw the samples and the numbers of the document."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from reanalysis.dataset import load_dataset
from reanalysis.design import make_design
from reanalysis.exact import fit_exact
from reanalysis.frequentist import fit_reml
from reanalysis.moderation import make_moderation, moderation_document
from reanalysis.plots.bubble import describe_bubble, number_terms, plot_bubble
from reanalysis.plots.marginal_means import (
    describe_marginal_means,
    factor_terms,
    plot_marginal_means,
)
from reanalysis.plots.source import select
from reanalysis.spec import ModelSpec

KAISER = Path(__file__).parents[1] / "data" / "kaiser2021"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The keys of a results document that the figures need."""
    data = load_dataset(KAISER)
    models = {}
    for name, moderators in (("both", ("disorder", "late_share")), ("plain", ())):
        spec = ModelSpec(name=name, table="samples", moderators=moderators)
        design = make_design(data, spec)
        rows = zip(design.yi, design.vi, strict=True)
        models[name] = {"effects": [{"yi": float(y), "vi": float(v)} for y, v in rows]}
        if moderators:
            moderation = make_moderation(
                design, spec, reml=fit_reml(design, spec), exact=fit_exact(design, spec)
            )
            models[name]["moderation"] = moderation_document(moderation, design)
    return {"data": {"measure": "ZCOR"}, "models": models}


def circles(figure: Figure) -> np.ndarray:
    offsets = [collection.get_offsets() for collection in figure.axes[0].collections]
    return np.concatenate([np.asarray(o) for o in offsets if len(o)])


def test_the_marginal_means_plot_draws_every_effect_on_the_line_of_its_level(
    document: dict[str, Any],
) -> None:
    figure = plot_marginal_means(document)
    drawn = circles(figure)
    moderation = document["models"]["both"]["moderation"]
    levels = moderation["terms"][0]["variables"][0]["levels"]
    yi = [effect["yi"] for effect in document["models"]["both"]["effects"]]
    expected = [
        (y, levels.index(v)) for y, v in zip(yi, moderation["values"]["disorder"], strict=True)
    ]
    rounded = {(round(float(x), 9), round(float(y))) for x, y in drawn}
    assert rounded == {(round(x, 9), y) for x, y in expected}
    text = " ".join(t.get_text() for t in figure.axes[0].texts)
    # Table 1: samples 2, 4, 5, 8, 9, 14, 20, 21 with 1, 1, 1, 2, 2, 1, 2, 3 effects.
    assert "depression\n8 samples, 13 effects" in text


def test_the_bubble_plot_draws_every_effect_and_the_line_of_the_exact_engine(
    document: dict[str, Any],
) -> None:
    figure = plot_bubble(document)
    moderation = document["models"]["both"]["moderation"]
    yi = [effect["yi"] for effect in document["models"]["both"]["effects"]]
    points = circles(figure)
    assert points[: len(yi), 1].tolist() == pytest.approx(yi)
    assert points[: len(yi), 0].tolist() == pytest.approx(moderation["values"]["late_share"])
    rows = [r for r in moderation["lines"] if r["engine"] == "exact"]
    lines = [np.asarray(line.get_ydata()) for line in figure.axes[0].lines]
    assert any(
        len(line) == len(rows) and np.allclose(line, [r["value"] for r in rows]) for line in lines
    )


def test_the_descriptions_hold_the_numbers(document: dict[str, Any]) -> None:
    means = document["models"]["both"]["moderation"]["means"]
    found = next(m for m in means if m["label"] == "OCD" and m["engine"] == "exact")
    shown = f"{found['r']:.2f}".removeprefix("0")
    assert f"OCD {shown} (" in describe_marginal_means(document)
    assert describe_bubble(document).startswith("25 effects against late_share")


def test_a_model_without_such_a_moderator_says_what_it_has(document: dict[str, Any]) -> None:
    assert factor_terms(select(document, "plain")) == number_terms(select(document, "plain")) == []
    with pytest.raises(
        KeyError, match="no moderator 'late_share' that is a factor; it has disorder"
    ):
        plot_marginal_means(document, "both", term="late_share")
    with pytest.raises(KeyError, match="it has none"):
        plot_bubble(document, "plain")


def test_the_figures_draw_on_the_callers_axes(document: dict[str, Any]) -> None:
    figure = Figure(figsize=(8, 4))
    left, right = figure.subplots(1, 2)
    assert plot_bubble(document, ax=left) is figure
    assert plot_marginal_means(document, ax=right) is figure
    assert len(left.collections) > 0
