"""The committed report with every section: silent, offline, accessible, on any screen."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

pytestmark = pytest.mark.browser

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
REPORT = Path(__file__).parents[2] / "reports" / "kaiser2021" / "report.html"


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield chromium
        chromium.close()


def opened(context):
    page = context.new_page()
    page.messages, page.requests = [], []
    page.on("console", lambda message: page.messages.append(message.text))
    page.on("pageerror", lambda error: page.messages.append(str(error)))
    page.on("request", lambda request: page.requests.append(request.url))
    page.goto(REPORT.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    return page


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_the_whole_report_fits_every_screen_and_asks_for_nothing(browser, width):
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = opened(context)
    sizes = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert sizes[0] <= sizes[1]
    assert (
        page.evaluate(
            "[...document.querySelectorAll('th, td')]"
            ".filter((cell) => cell.scrollWidth > cell.clientWidth + 1).map((c) => c.textContent)"
        )
        == []  # no cell runs into its neighbour
    )
    assert page.messages == []
    assert [url for url in page.requests if not url.startswith("data:")] == [REPORT.as_uri()]
    context.close()


def test_axe_finds_no_violation_in_the_whole_report(browser):
    context = browser.new_context(viewport={"width": 360, "height": 900}, bypass_csp=True)
    page = opened(context)
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa"]})
    assert [violation["id"] for violation in found.response["violations"]] == []
    context.close()


def test_the_whole_report_prints(browser):
    context = browser.new_context()
    page = opened(context)
    assert len(page.pdf(format="A4")) > 100_000
    context.close()
