"""The built book in a real browser: figures, maths, console and network, page by page."""

import functools
import http.server
import json
import os
import shutil
import threading
from pathlib import Path

import pytest
import yaml

from randprune_core import book, paths

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def pages() -> list[str]:
    toc = yaml.safe_load((paths.ROOT / "_toc.yml").read_text())
    return [toc["root"]] + [page["file"] for part in toc["parts"] for page in part["chapters"]]


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip(f"no browser: install one of {', '.join(BROWSERS)}")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=executable, args=sandbox)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def site(browser):
    """The address of the built book, served on the loopback interface."""
    html = book.build_book().parent
    handler = functools.partial(QuietHandler, directory=html)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def tab(browser, site):
    """A new tab that notes what it should not do: complain, fail, or leave the host."""
    page = browser.new_page()
    page.complaints = []
    page.on(
        "console",
        lambda message: (
            message.type in ("warning", "error") and page.complaints.append(message.text)
        ),
    )
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on(
        "request",
        lambda request: (
            request.url.startswith((site, "data:", "blob:"))
            or page.complaints.append(f"left the host: {request.url}")
        ),
    )
    page.on(
        "response",
        lambda response: (
            response.status < 400 or page.complaints.append(f"{response.status}: {response.url}")
        ),
    )
    yield page
    page.close()


def visit(tab, address: str) -> None:
    tab.goto(address, wait_until="networkidle")
    tab.wait_for_function(
        "document.querySelectorAll('.math').length"
        " <= document.querySelectorAll('mjx-container').length"
    )


@pytest.mark.parametrize("name", pages())
def test_page_shows_its_figures_and_maths_and_has_nothing_to_complain_of(site, tab, name):
    visit(tab, f"{site}/{name}.html")
    assert tab.locator("article h1").count() == 1

    figures = tab.locator("article figure")
    for index in range(figures.count()):
        figure = figures.nth(index)
        image = figure.locator("img")
        image.scroll_into_view_if_needed()
        assert image.is_visible()
        assert image.evaluate("image => image.complete && image.naturalWidth > 100")
        assert len(image.get_attribute("alt")) >= 20
        assert figure.locator("figcaption .caption-number").inner_text().startswith("Fig.")
    if name.startswith("notebooks/"):
        assert figures.count() > 0

    errors = tab.locator("mjx-merror, [data-mjx-error]")
    assert errors.count() == 0
    # The text may not spill over the page, whatever a table holds.
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert tab.complaints == []


def test_search_finds_a_word_of_a_chapter(site, tab):
    visit(tab, f"{site}/search.html?q=sparsity")
    tab.locator("#search-results li a").first.wait_for()
    assert tab.locator("#search-results li").count() > 1
    assert tab.complaints == []


def test_explorer_shows_what_is_picked_with_mouse_and_keyboard(site, tab):
    visit(tab, f"{site}/book/explorer.html")
    script = Path(paths.BUILD, "html/_static/explorer-data.js").read_text()
    data = json.loads(script.partition("=")[2].rstrip().rstrip(";"))
    first, styles = data["sets"][0], data["styles"]

    def shown() -> set[tuple]:
        rows = tab.locator(".explorer-table").first.locator("tbody tr").all()
        return {tuple(row.locator("th, td").all_inner_texts()[:3]) for row in rows}

    def expected(model: str, metric: dict, hidden: str = "") -> set[tuple]:
        return {
            (f"{sparsity:g}", styles[name]["label"], f"{mean:.{metric['digits']}f}")
            for place, setting, sparsity, _, mean, *_ in metric["cells"]
            if (name := first["settings"][setting]) != hidden and first["models"][place] == model
        }

    network = tab.get_by_label("Network", exact=True)
    network.focus()
    tab.keyboard.press("Home")
    model, accuracy = first["models"][0], first["metrics"][0]
    assert network.input_value() == model
    assert shown() == expected(model, accuracy)
    assert (
        tab.locator("#explorer-root svg[role=img] > title").first.text_content().count(model) == 1
    )

    box = tab.get_by_role("checkbox").first
    box.focus()
    tab.keyboard.press("Space")
    assert shown() == expected(model, accuracy, hidden=first["settings"][0])
    box.click()
    ece = next(metric for metric in first["metrics"] if metric["key"] == "ece")
    tab.get_by_label("Metric").select_option("ece")
    assert shown() == expected(model, ece)
    assert "Lower is better" in tab.get_by_role("status").inner_text()

    tab.set_viewport_size({"width": 390, "height": 800})
    tab.wait_for_function(
        "document.querySelector('#explorer-root svg[role=img]').clientWidth < 390"
    )
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert tab.complaints == []


def test_explorer_works_from_a_file(site, browser):
    page = browser.new_page()
    page.goto((paths.BUILD / "html/book/explorer.html").as_uri())
    page.locator("#explorer-root svg[role=img]").nth(1).wait_for()
    assert page.locator(".explorer-table tbody tr").count() > 2
    page.close()


def test_page_with_a_fault_is_noticed(site, tab):
    """The fixture that the tests above rely on does report what goes wrong."""
    tab.goto(f"{site}/book/intro.html", wait_until="networkidle")
    with tab.expect_console_message(lambda message: message.text == "broken"):
        tab.evaluate("fetch('/missing.json').then(() => console.error('broken'))")
    assert any("broken" in complaint for complaint in tab.complaints)
    assert any("404" in complaint for complaint in tab.complaints)


def test_pages_are_those_on_disk(site):
    html = paths.BUILD / "html"
    assert [name for name in pages() if not Path(html, f"{name}.html").is_file()] == []
