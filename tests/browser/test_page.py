"""The report in a real browser: quiet, offline, accessible, and at home on any screen and paper."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from reanalysis import run
from reanalysis.document import to_document
from reanalysis.report import render_html

pytestmark = pytest.mark.browser

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SPEC = Path(__file__).parents[2] / "models" / "kaiser2021.toml"
MODELS = ("three_level", "two_level", "selection_joint")
WIDTHS = (360, 768, 1440)
LONG = "x" * 300
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A report as a file; three labels are made hostile to the layout."""
    document = to_document(run(SPEC, engines=("reml", "exact"), models=MODELS))
    effects = document["models"]["three_level"]["effects"]
    effects[0]["label"], effects[1]["label"] = LONG, "long words " * 30
    effects[2]["label"] = "<b>שלום</b> \u202etxet"
    document["data"]["rows"][0][document["data"]["columns"].index("label")] = LONG
    document["data"]["rows"] = document["data"]["rows"][:4]  # the checker reads every cell twice
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(render_html(document), encoding="utf-8")
    return file.as_uri()


@pytest.fixture(scope="module")
def browser():
    assert CHROMIUM.exists(), (
        f"{CHROMIUM} is missing; the browser tests need Debian's package 'chromium': "
        "apt-get install chromium"
    )
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, address):
    """The page, with everything that a console or the network would show."""
    context = browser.new_context(accept_downloads=True)
    page = context.new_page()
    page.messages, page.requests = [], []
    page.on("console", lambda message: page.messages.append(message.text))
    page.on("pageerror", lambda error: page.messages.append(str(error)))
    page.on("request", lambda request: page.requests.append(request.url))
    page.goto(address)
    yield page
    context.close()


def open_all(page):
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")


def test_the_console_stays_silent_and_nothing_is_requested_but_the_file(page, address):
    open_all(page)
    page.mouse.wheel(0, 50_000)
    page.wait_for_timeout(100)
    assert page.messages == []
    assert [url for url in page.requests if not url.startswith("data:")] == [address]


@pytest.mark.parametrize("width", WIDTHS)
def test_no_screen_scrolls_sideways(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    for _ in range(2):  # as it opens, and with every section open
        sizes = page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert sizes[0] <= sizes[1]
        open_all(page)


def test_the_answer_and_its_picture_are_on_the_first_screen(page):
    page.set_viewport_size({"width": 1440, "height": 900})
    assert page.locator(".headline").count() == 3  # claimed, holds, how sure
    for selector in (".headline", ".status", "figure.comparison img"):
        box = page.locator(selector).last.bounding_box()
        assert box["y"] + box["height"] <= 900


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1440, "light")])
def test_axe_finds_no_violation(browser, address, scheme, width):
    context = browser.new_context(
        bypass_csp=True,  # the page's own policy forbids the checker's script
        color_scheme=scheme,
        viewport={"width": width, "height": 900},
    )
    page = context.new_page()
    page.goto(address)
    open_all(page)
    results = Axe().run(page, options={"runOnly": {"type": "tag", "values": WCAG}})
    context.close()
    assert len(results.response["passes"]) > 20
    assert results.response["violations"] == [], results.generate_report()


def test_images_have_their_size_and_can_be_read(page):
    open_all(page)
    sizes = page.evaluate("[...document.images].map((i) => [i.complete, i.naturalWidth])")
    assert len(sizes) == page.locator("figure").count() >= 8
    assert all(complete and width > 200 for complete, width in sizes)


def test_a_link_opens_the_section_it_leads_to(page):
    assert page.locator("#provenance > details").get_attribute("open") is None
    page.locator("nav a[href='#provenance']").click()
    page.wait_for_function("document.querySelector('#provenance > details').open")


def test_one_button_opens_and_closes_every_section(page):
    page.get_by_role("button", name="Open all sections").click()
    assert page.locator("main details:not([open])").count() == 0
    page.get_by_role("button", name="Close all sections").click()
    assert page.locator("main details[open]").count() == 0


def test_a_table_can_be_sorted_by_keyboard(page):
    page.locator("nav a[href='#data']").click()
    table = page.locator("#data table").first
    head = table.get_by_role("button", name="SE")
    read = "rows => rows.map((row) => Number(row.dataset.v))"
    cells = table.locator("tbody tr td:nth-child(7)")
    head.press("Enter")
    ascending = cells.evaluate_all(read)
    assert ascending == sorted(ascending)
    assert table.locator("th[aria-sort='ascending']").count() == 1
    head.press("Enter")
    assert cells.evaluate_all(read) == sorted(ascending, reverse=True)


def test_a_row_of_the_forest_tells_its_numbers_under_the_pointer(page):
    row = page.locator("figure.forest .rows i").first
    row.scroll_into_view_if_needed()
    row.hover()
    tip = row.evaluate("(e) => getComputedStyle(e, '::after').content")
    assert "% of the weight" in tip


def test_averages_can_be_read_on_the_scale_of_the_analysis_and_back(page):
    cell, head = page.locator("#results td[data-other]").first, page.locator("#models thead").first
    before = cell.inner_text().split()
    assert "(r)" in head.inner_text()
    page.get_by_role("button", name="Averages as Fisher's z").click()
    assert cell.inner_text().split()[0] == "0.206"  # atanh(.203)
    assert "(Fisher's z)" in head.inner_text()
    page.get_by_role("button", name="Averages as r").click()
    assert cell.inner_text().split() == before
    assert "(r)" in head.inner_text()


def test_a_file_inside_the_page_can_be_saved(page):
    page.locator("nav a[href='#provenance']").click()
    with page.expect_download() as download:
        page.locator("a[download='data.csv']").click()
    assert download.value.suggested_filename == "data.csv"
    text = Path(download.value.path()).read_text(encoding="utf-8")
    assert text.startswith("sample,study,label")
    assert page.messages == []


def test_without_javascript_everything_is_there(browser, address):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert page.get_by_role("button").count() == 0
    page.locator("#priors summary").first.click()
    assert page.locator("#priors table").first.is_visible()
    context.close()


def test_paper_holds_every_section(page, tmp_path):
    pdf = page.pdf(path=tmp_path / "report.pdf", format="A4")
    assert pdf.startswith(b"%PDF")
    page.emulate_media(media="print")
    hidden = page.evaluate(
        """[...document.querySelectorAll('main h3, main table:not(.wide-only table)')]
           .filter((e) => !e.checkVisibility()).map((e) => e.textContent.slice(0, 60))"""
    )
    assert hidden == []
    assert not page.locator("nav").is_visible()
