"""The report of the first case: each section is there, says its numbers, and its links lead on."""

import base64
import json
import re
from copy import deepcopy
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from reanalysis.report import figures, render_html
from reanalysis.report.checklists import CHECKLISTS, DONE, MISSING
from reanalysis.report.references import REFERENCES, bibtex

ROOT = Path(__file__).parents[1]
SECTIONS = [
    "answer",
    "results",
    "forest",
    "claims",
    "ladder",
    "models",
    "moderators",
    "multiverse",
    "sensitivity",
    "priors",
    "heterogeneity",
    "publication-bias",
    "convergence",
    "predictive",
    "calibration",
    "audit",
    "data",
    "sources",
    "methods",
    "checklists",
    "limits",
    "provenance",
]


@pytest.fixture(scope="module")
def document() -> dict:
    path = ROOT / "reports" / "kaiser2021" / "results.json"
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def html(document: dict) -> str:
    return render_html(document)


def section(html: str, name: str) -> str:
    start = html.index(f'<section id="{name}"')
    return html[start : html.find('<section id="', start + 10)]


def test_every_section_is_there_in_order_and_in_the_contents(html: str) -> None:
    found = re.findall(r'<section id="([^"]+)"', html)
    assert [name for name in found if not name.startswith("model-")] == SECTIONS
    nav = html[html.index("<nav") : html.index("</nav>")]
    assert re.findall(r'href="#([^"]+)"', nav) == SECTIONS


def test_every_link_inside_the_page_leads_to_an_anchor(html: str) -> None:
    ids = set(re.findall(r' id="([^"]+)"', html))
    links = set(re.findall(r'href="#([^"]+)"', html))
    assert len(links) > 20
    assert links <= ids


def drawn_text(figure: Figure) -> list[Text]:
    """Return the text of a figure but for the ticks beyond the ends of its axes."""
    found = list(figure.texts)
    for ax in figure.findobj(lambda artist: hasattr(artist, "get_xlim")):
        found += [*ax.texts, ax.title, ax.xaxis.label, ax.yaxis.label]
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def test_no_word_of_a_figure_runs_over_its_edge(
    document: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured in DejaVu Sans, which is wider than the fonts of readers' systems."""
    drawn: list[Figure] = []
    original = figures.to_svg
    monkeypatch.setattr(figures, "to_svg", lambda f: (drawn.append(f), original(f))[1])
    render_html(document)
    assert len(drawn) > 20
    over = []
    for figure in drawn:
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        width, height = figure.bbox.size
        for text in drawn_text(figure):
            x0, y0, x1, y1 = text.get_window_extent(renderer).extents
            if min(x0, y0) < -1 or x1 > width + 1 or y1 > height + 1:
                over.append(text.get_text())
    assert over == []


def test_the_file_is_below_three_megabytes(html: str) -> None:
    assert len(html.encode()) < 3_000_000


def test_no_item_of_a_checklist_is_missing_for_the_first_case(html: str, document: dict) -> None:
    model = next(iter(document["models"].values()))
    for title, _, items in CHECKLISTS:
        missing = [i.number for i in items if i.judge(document, model) == MISSING]
        assert missing == [], title
        assert all(i.place for i in items if i.judge(document, model) == DONE), title


def test_a_prior_without_a_reason_fails_its_items(document: dict) -> None:
    poorer = deepcopy(document)
    model = next(iter(poorer["models"].values()))
    model["priors"][0]["rationale"] = ""
    failed = {
        (title, item.number)
        for title, _, items in CHECKLISTS
        for item in items
        if item.judge(poorer, model) == MISSING
    }
    assert failed == {("BARG", "1C"), ("ROBUST", "2")}


def test_the_methods_text_cites_what_the_list_of_references_holds(html: str) -> None:
    text = section(html, "methods")
    methods, listed = text.split("<h3>References</h3>")
    for reference in REFERENCES.values():
        name, year = reference.short.rsplit(", ", 1)
        cited = f"{name.replace('&', '&amp;')}, {year}" in methods
        entry = str(reference).replace("&", "&amp;") in listed
        assert cited == entry, reference.short
    assert "27 effect sizes from 25 samples" in methods


def test_the_claim_of_no_bias_is_answered_by_its_own_method_and_by_the_average(
    html: str, document: dict
) -> None:
    """The paper: trim-and-fill, zero missing studies (results 3.2)."""
    claims = section(html, "claims").replace("\xa0", " ").replace("\u202f", " ")
    assert "Trim-and-fill (L0): 0 filled in" in claims
    bias = next(r for r in document["average"]["inclusion"] if r["component"] == "bias")
    assert f"{bias['bayes_factor']:.2f} to 1 for publication bias" in claims


def test_the_multiverse_names_the_decision_behind_every_unclear_end(
    html: str, document: dict
) -> None:
    unclear = [u for u in document["multiverse"]["universes"] if u["conclusion"] == "unclear"]
    assert unclear
    assert all(u["mechanism"] != "nothing went missing" for u in unclear)
    assert (
        f"All {len(unclear)} combinations that end unclear decide otherwise than the headline "
        "about: How results went missing" in section(html, "multiverse").replace("\xa0", " ")
    )


def test_the_methods_text_names_every_prior(html: str) -> None:
    assert (
        "normal(0, 0.5) (average effect), half-normal(0.25) (heterogeneity, total) and beta(1, 1) "
        "(share of heterogeneity between samples)" in section(html, "methods")
    )


def test_the_methods_text_tells_only_what_was_run(document: dict) -> None:
    less = deepcopy(document)
    for key in ("multiverse", "calibration", "average", "moderators", "sensitivity"):
        del less[key]
    less["models"] = {"three_level": less["models"]["three_level"]}
    methods = section(render_html(less), "methods")
    for word in (
        "multiverse",
        "simulated from the prior",
        "PET",
        "moderators one at a time",
        "Holm",
    ):
        assert word not in methods


def test_references_can_be_loaded_as_bibtex(html: str) -> None:
    href = re.search(r'download="references.bib" href="([^"]+)"', html)
    assert href is not None
    text = base64.b64decode(href[1].split(",", 1)[1]).decode()
    keys = re.findall(r"^@article\{(\w+),$", text, re.MULTILINE)
    assert len(keys) >= 10
    assert set(keys) <= set(REFERENCES)
    assert text == bibtex(keys)
    assert text.count("{") == text.count("}")


def test_the_flow_and_the_risk_of_bias_are_those_of_the_paper(html: str, document: dict) -> None:
    # Section 3 of the paper: 5859 - 1910 = 3949; 210 full texts; 19 + 1 = 20 articles.
    counts = {row["step"]: row["count"] for row in document["data"]["flow"]}
    assert counts["identified"] - counts["duplicates"] == counts["screened"] == 3949
    assert counts["eligible"] + counts["from_references"] == counts["included"] == 20
    text = section(html, "sources")
    assert "5,859" in text
    assert len(document["data"]["risk_of_bias"]["samples"]) == 25
    assert "unclear" in text


def test_verdicts_say_on_what_they_hang(html: str) -> None:
    claims = section(html, "claims").replace("\xa0", " ").replace("\u202f", " ")
    # Late alliance: a Bayes factor of 3.5 that falls below 3 at other widths of the prior.
    assert "Uncertain with half the prior width" in claims
    assert "of the 25 samples (see Sensitivity)" in claims


def test_no_number_of_evidence_is_called_an_absence_of_bias(html: str, document: dict) -> None:
    quoted = [claim["text"] for claim in document["claims"]]
    words = re.sub(r"<[^>]+>", " ", re.sub(r"data:[^\"]+", "", html))
    for text in quoted:
        words = words.replace(text.replace("&", "&amp;"), "")
    for found in re.finditer(r"no (indication of )?publication bias", words.lower()):
        around = words[found.start() - 80 : found.end() + 80]
        assert "never" in around or "cannot" in around, around


def test_pictures_of_bias_carry_the_numbers_of_the_document(html: str, document: dict) -> None:
    text = section(html, "publication-bias")
    tipping = document["assumed_weights"]["tipping_weight"]
    assert f"{1 / tipping:.1f} times less often" in text
    for name in ("z_plot", "corrected", "assumed_weights", "funnel", "weights"):
        assert f'<figure class="{name}">' in text


def test_each_moderator_has_its_figure_counts_and_coding(html: str, document: dict) -> None:
    text = section(html, "moderators")
    single = [
        name
        for name, model in document["models"].items()
        if len({row["term"] for row in model.get("moderation", {}).get("counts", ())}) == 1
    ]
    assert len(single) == 8
    for name in single:
        title = document["models"][name]["title"].replace("&", "&amp;")
        assert f"How many: {title}" in text
        assert f'<figure class="{name}_0">' in text
