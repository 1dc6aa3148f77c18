"""The report: complete, escaped, traceable to the document, and silent where a check failed."""

import base64
import gzip
import hashlib
import json
import math
import re
from copy import deepcopy
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from reanalysis import run
from reanalysis.document import to_document
from reanalysis.report import render_html
from reanalysis.report.downloads import csv_text

SPEC = Path(__file__).parents[1] / "models" / "kaiser2021.toml"
MODELS = ("three_level", "two_level", "selection_joint")
LARGEST = 1_500_000  # bytes; notes of the issue: a page that opens at once on a phone
VOID = {"meta", "link", "img", "br", "hr", "input"}
ANCHORS = (
    "answer",
    "results",
    "forest",
    "claims",
    "models",
    "priors",
    "heterogeneity",
    "publication-bias",
    "convergence",
    "data",
    "limits",
    "provenance",
)


class Page(HTMLParser):
    """A page read tag by tag; faults of nesting raise."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> repeats an attribute"
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)

    def all(self, *names: str) -> list[dict[str, str]]:
        return [attrs for tag, attrs in self.tags if tag in names]

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text).replace("\u00a0", " "))

    @property
    def labels(self) -> str:
        """What is written in the figures, and their text alternatives."""
        parts = []
        for image in self.all("img"):
            kind, content = image["src"].split(",", 1)
            assert kind == "data:image/svg+xml;base64"
            svg = base64.b64decode(content).decode()
            parts += [*re.findall(r"<text[^>]*>([^<]*)</text>", svg), image["alt"]]
        return unescape("\n".join(parts))

    def file(self, name: str) -> str:
        href = next(a["href"] for a in self.all("a") if a.get("download") == name)
        content = base64.b64decode(href.split(",", 1)[1])
        return (gzip.decompress(content) if name.endswith(".gz") else content).decode()


@pytest.fixture(scope="module")
def fitted():
    return to_document(run(SPEC, engines=("reml", "exact"), models=MODELS))


@pytest.fixture
def document(fitted):
    return deepcopy(fitted)


@pytest.fixture(scope="module")
def html(fitted):
    return render_html(fitted)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def with_nuts(document, *, passed=True, ratio=1.0, shift=0.0):
    """Give every model a NUTS fit, made from the exact one; `shift` marks its numbers."""
    for model in document["models"].values():
        exact = model["exact"]["estimates"]
        keys = ("mean", "median", "lower", "upper")
        model["nuts"] = {
            "estimates": {
                name: {k: v + shift if k in keys else v for k, v in e.items()}
                for name, e in exact.items()
            },
            "diagnostics": {
                "rhat_max": 1.002 if passed else 1.31,
                "ess_bulk_min": 2000.0,
                "ess_tail_min": 1900.0,
                "divergences": 0 if passed else 17,
                "ebfmi_min": 0.9,
                "passed": passed,
                "failures": [] if passed else ["R-hat is 1.31, above 1.01"],
                "sampler": {"sampler": "nutpie", "chains": 4},
                "table": [{"parameter": "mu", "rhat": 1.002, "ess_bulk": 2000.0, "mcse": 0.001}],
            },
        }
        for effect in model["effects"]:
            if "exact" in effect:
                effect["nuts"] = {k: v + shift for k, v in effect["exact"].items()}
        model["agreement"] = [
            {"parameter": name, "mcse": 0.001, "ratio": ratio, "agrees": ratio <= 4.0}
            for name in (exact if passed else ())
        ]
        model.pop("skipped", None)
    return document


def test_the_page_is_well_formed_and_every_id_is_unique(page):
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_links_inside_the_page_resolve_and_the_anchors_stay(page):
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    inside = [a["href"][1:] for a in page.all("a") if a["href"].startswith("#")]
    assert set(inside) <= ids
    assert set(ANCHORS) <= ids


def test_headings_begin_with_one_h1_and_skip_no_level(page):
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_every_figure_has_a_text_alternative_with_numbers_and_a_caption(page):
    images = page.all("img")
    assert len(images) == len(page.all("figcaption")) == len(page.all("figure")) >= 8
    for image in images:
        assert 40 < len(image["alt"]) <= 300
        assert re.search(r"\d", image["alt"])


def test_every_table_has_a_caption_headings_with_scope_and_a_region_of_its_own(page):
    tables = len(page.all("table"))
    assert len(page.all("caption")) == tables > 10
    assert all(th.get("scope") in ("col", "row") for th in page.all("th"))
    regions = [d for d in page.all("div") if d.get("class", "").startswith("scroll")]
    labels = [d["aria-label"] for d in regions]
    assert len(labels) == len(set(labels)) == tables
    assert all(d["tabindex"] == "0" and d["role"] == "region" for d in regions)


def test_the_page_asks_the_network_for_nothing(html, page):
    policy = next(m["content"] for m in page.all("meta") if "http-equiv" in m)
    assert policy.startswith("default-src 'none'; img-src data:;")
    script = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    assert len(script) == 1
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    for tag, attrs in page.tags:
        for name in {"src", "href", "poster", "data", "action"} & set(attrs):
            # A reader may follow a link; nothing else may leave the file.
            inside = ("data:", "#", "https://doi.org/") if tag == "a" else ("data:",)
            assert attrs[name].startswith(inside)
    assert "url(" not in re.search(r"<style>(.*?)</style>", html, flags=re.DOTALL)[1]


def test_the_same_document_gives_the_same_bytes(fitted, html):
    assert render_html(json.loads(json.dumps(fitted))) == html
    assert len(html.encode()) < LARGEST


def test_the_answer_is_what_was_claimed_what_holds_and_how_sure(page):
    """Paper: r = .203 [.141, .263], results 3.2. Ours: the exact engine, tested elsewhere."""
    assert (
        "The paper reports an average correlation of r = .20 (95 % interval .14 to .26). "
        "Recomputed here, the average correlation is r = .18 (95 % interval .12 to .25): above "
        "zero, as the paper says. If every result was published, the odds for an average effect "
        "are more than 10,000 to 1; if results may have gone missing"
    ) in page.words
    assert "The paper rests on 51 effects in 25 samples with 1,167 people" in page.words
    assert "The average is a little smaller than printed (.18, not .20), well within" in page.words
    assert "95 % of new ones should have their own average between .05 and .32" in page.words


def test_the_answer_says_what_is_left_when_publication_bias_is_allowed_for(page, fitted):
    effect = next(r for r in fitted["average"]["inclusion"] if r["component"] == "effect")
    assert 1 < effect["bayes_factor"] < 3
    odds = f"{effect['bayes_factor']:.2f} to 1 for it"
    assert f"({len(fitted['average']['models'])} models averaged), they are {odds}" in page.words
    assert "Bias allowed for" in page.labels


def test_each_mechanism_of_selection_has_its_average_and_its_weights(page, fitted):
    found = fitted["models"]["selection_joint"]
    assert "A sample is seen only if all of its effects survive selection by p-value." in page.words
    for one in found["selection"]["bins"][1:]:
        printed = f"{one['posterior_median']:.2f}".lstrip("0")
        assert f"{one['bin']} joint".replace("<=", "≤") in page.words
        assert printed in page.words
    assert "The data do not say how strong the selection was" in page.words


def with_average(document, r, lower, upper):
    """Change one estimate of the document, and nothing else."""
    document = deepcopy(document)
    mu = document["models"]["three_level"]["exact"]["estimates"]["mu"]
    mu |= {"mean": math.atanh(r), "lower": math.atanh(lower), "upper": math.atanh(upper)}
    return document


def test_a_changed_number_changes_everywhere(document):
    """One number is given two values in turn; no print of the first may outlive the second."""
    old = Page(render_html(with_average(document, 0.5551, 0.4442, 0.6663)))
    new = Page(render_html(with_average(document, 0.7774, 0.7113, 0.8884)))
    prints = (
        ("r = .56", "r = .78"),
        ("r = .555", "r = .777"),
        (".44 to .67", ".71 to .89"),
        (".444 to .666", ".711 to .888"),
        (".56 [.44, .67]", ".78 [.71, .89]"),
        (".555 [.444, .666]", ".777 [.711, .888]"),
        ("0.6257", "1.0388"),  # on Fisher's z, in the table of differences
    )
    for before, after in prints:
        shown = (old.words + old.labels).count(before)
        assert shown > 0, before
        assert before not in new.words + new.labels
        assert (new.words + new.labels).count(after) >= shown
    drawn = [old.labels.count(shown) for shown in (".56 [.44, .67]", ".555 [.444, .666]")]
    assert drawn == [1, 2]  # the forest; the comparison and its text alternative
    estimates = [json.loads(p.file("results.json.gz")) for p in (old, new)]
    means = [e["models"]["three_level"]["exact"]["estimates"]["mu"]["mean"] for e in estimates]
    assert means == [math.atanh(0.5551), math.atanh(0.7774)]
    assert str(means[1]) in new.file("estimates.csv")
    assert str(means[0]) not in new.file("estimates.csv")


def test_hostile_names_are_shown_as_text(document):
    names = [
        "<script>alert(1)</script>",
        '"><img src=x onerror="alert(1)">',
        "=HYPERLINK(0)",
        "safe \u202etxet desrever\u202c name",
        "long " * 60,
        "$x^2$ & {{ 7 * 7 }} {% raw %}",
        "'-- O’Brien \\ \x00\x1b[31m",
        "東京 שלום",
    ]
    rows = document["models"]["three_level"]["effects"]
    column = document["data"]["columns"].index("label")
    for i, name in enumerate(names):
        rows[i]["label"] = name
        document["data"]["rows"][i][column] = name
    document["title"] = names[0]
    document["limits"] = names
    document["claims"][0]["text"] = names[1]
    html = render_html(document)
    page = Page(html)
    assert html.count("<script") == 1
    assert not [attrs for _, attrs in page.tags if "onerror" in attrs]
    assert len(page.all("img")) == len(page.all("figure"))
    for name in names[:3] + names[5:6] + names[7:]:
        assert page.words.count(name) >= 2
    assert ("long " * 60).strip() in page.words
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00\x1b]", html)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00\x1b]", page.labels)
    assert "$x^2$ & {{ 7 * 7 }}" in page.labels
    assert "\n3,Andersson 2015,'=HYPERLINK(0)," in page.file("data.csv").replace(".0,", ",")


def test_cells_that_begin_like_formulas_get_an_apostrophe_and_numbers_do_not():
    rows = [["=1+1", "+a", "-b", "@c", "\td", "\re", "plain", -0.5, 3]]
    text = csv_text(["=x", "b", "c", "d", "e", "f", "g", "h", "i"], rows)
    assert text.splitlines()[0] == "'=x,b,c,d,e,f,g,h,i"
    assert "'=1+1,'+a,'-b,'@c,'\td," in text
    assert text.endswith(",plain,-0.5,3\n")


def test_an_engine_that_was_skipped_is_named_with_its_reason(document):
    document["models"]["three_level"]["skipped"] = {
        "nuts": "not asked for",
        "reml": "the likelihood is flat <b>",
    }
    del document["models"]["three_level"]["reml"]
    words = Page(render_html(document)).words
    assert "NUTS: not asked for" in words
    assert "REML: the likelihood is flat <b>" in words
    assert "REML has no fit of this model: the likelihood is flat <b>" in words
    assert "Checked in part" in words


def test_all_checks_passed_is_said_only_when_nuts_ran_and_agreed(document, page):
    assert "All checks passed" not in page.words
    assert "NUTS, the independent check by sampling, was not run (not asked for)" in page.words
    words = Page(render_html(with_nuts(document))).words
    assert "All checks passed" in words
    assert "NUTS passed its convergence gate in 3 of 3 fits" in words
    assert "Agreement of NUTS and the exact engine" in words


def test_a_failed_gate_is_named_and_none_of_its_numbers_is_shown(document):
    html = render_html(with_nuts(document, passed=False, shift=7.0))
    page = Page(html)
    assert "Not converged" in page.words
    assert "R-hat is 1.31, above 1.01" in page.words
    assert "The answer above is the exact engine’s" in page.words
    assert "✕ no" in page.words
    assert "Bayes, NUTS" not in page.words
    for number in ("7.186", "7.187", "7.19"):
        assert number not in page.words + page.labels
    assert "the average correlation is r = .18" in page.words  # of the exact engine, which holds


def without_exact(document):
    for part in ("sensitivity", "predictive", "assumed_weights", "average"):
        document.pop(part, None)
    for model in document["models"].values():
        del model["exact"]
    return document


def test_no_sentence_is_drawn_from_a_failed_gate_alone(document):
    document = without_exact(with_nuts(document, passed=False))
    for model in document["models"].values():
        for effect in model["effects"]:
            effect.pop("exact", None)
    words = Page(render_html(document)).words
    assert "No result is given" in words
    assert "Recomputed here" not in words
    assert "withheld" in words
    assert "more than 10,000 to 1" not in words


def test_engines_that_disagree_give_no_headline(document):
    words = Page(render_html(with_nuts(document, ratio=9.0))).words
    assert "The engines disagree" in words
    assert "No result is given" in words
    assert "Recomputed here" not in words
    assert "✕ no" in words


def test_a_run_of_reml_alone_has_an_answer_too(document):
    document = without_exact(document)
    for model in document["models"].values():
        for effect in model["effects"]:
            effect.pop("exact", None)
    page = Page(render_html(document))
    assert "the average correlation is r = .18 (95 % interval .12 to .24)" in page.words
    drawn = {attrs["class"] for tag, attrs in page.tags if tag == "figure"}
    assert {"comparison", "forest", "funnel"} <= drawn
    assert not {"prior_posterior", "z_plot", "left_out", "predictive"} & drawn


def test_a_boundary_estimate_and_small_p_values_are_never_bare_zeros(page):
    assert "0 (boundary)" in page.words
    assert "p < .001" in page.words
    assert not re.search(r"\bp = \.000\b", page.words)
    assert "nan" not in page.words.lower().split()
    assert not re.search(r"\bNone\b(?! of| given)", page.words)


@pytest.mark.parametrize("log_factor", [800.0, -800.0, 9.3, 0.0])
def test_bayes_factors_of_any_size_are_printed(document, log_factor):
    exact = document["models"]["three_level"]["exact"]
    exact["log_bayes_factors"]["mu"] = log_factor
    words = Page(render_html(document)).words
    if abs(log_factor) > 700:
        assert "more than 10,000 to 1" in words
        assert f"{'−' if log_factor < 0 else ''}347.44" in words  # 800 / ln 10
    side = "for" if log_factor > 0 else "against"
    assert f"the odds {side} an average effect are" in words


def test_a_posterior_that_includes_zero_is_called_less_certain(document):
    document["models"]["three_level"]["exact"]["estimates"]["mu"]["lower"] = -0.01
    words = Page(render_html(document)).words
    assert "less certain: the interval now includes zero; the paper’s did not" in words
    assert "as the paper says" not in words


@pytest.mark.parametrize(
    ("measure", "sentence"),
    [
        ("SMD", "the average effect is g = 0.19 (95 % interval 0.12 to 0.25)"),
        ("OR", "the average odds ratio is 1.21 (95 % interval 1.13 to 1.29)"),
        ("GEN", "the average effect is 0.19 (95 % interval 0.12 to 0.25)"),
    ],
)
def test_other_measures_are_read_on_their_own_scale(document, measure, sentence):
    document["data"]["measure"] = measure
    assert sentence in Page(render_html(document)).words


def test_audit_and_verdicts_are_shown_when_they_are_there(document):
    document["audit"] = [{"rule": "n_total", "severity": "error", "source_says": "N = 1167"}]
    document["claims"][0] |= {"verdict": "supported", "reason": "BF above 10"}
    page = Page(render_html(document))
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert "audit" in ids
    for words in ("N = 1167", "supported", "BF above 10"):
        assert words in page.words


def test_a_document_without_the_optional_parts_is_rendered(document):
    bare = {
        key: document[key]
        for key in ("contract", "title", "versions", "seed", "engines", "data", "comparison")
    }
    bare["models"] = {"two_level": document["models"]["two_level"]}
    bare["data"] = {
        key: document["data"][key]
        for key in ("name", "k", "m", "measure", "sha256", "table", "columns", "rows")
    }
    page = Page(render_html(bare))
    assert "The spec of this run states no limits" in page.words
    assert "claims" not in {attrs.get("id") for _, attrs in page.tags}


def test_the_files_inside_the_page_are_those_of_the_run(page, fitted):
    assert json.loads(page.file("results.json.gz")) == json.loads(json.dumps(fitted))
    assert page.file("spec.toml") == SPEC.read_text(encoding="utf-8")
    lines = page.file("estimates.csv").splitlines()
    assert lines[0].startswith("model,engine,parameter,value")
    assert any(line.startswith("three_level,exact,mu,") for line in lines)
    assert len(page.file("data.csv").splitlines()) == 1 + fitted["data"]["k"]
