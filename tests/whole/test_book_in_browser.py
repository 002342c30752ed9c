"""The built book in a real browser: every page opened once, wide and narrow, light and dark."""

import contextlib
import functools
import gzip
import http.server
import io
import json
import os
import re
import statistics
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import pytest
import yaml
from matplotlib.backends.backend_svg import RendererSVG
from matplotlib.font_manager import FontProperties
from pages import NARROW, WIDE, resize, tab_of
from PIL import Image

from randprune_core import paths
from randprune_core.bookmaking import cite
from randprune_core.presentation import theme, vector

HEAVIEST = 3_000_000  # bytes that a page loads, compressed, with its pictures and scripts
AXE = (paths.ROOT / "tests" / "axe" / "axe.min.js").read_text(encoding="utf-8")


def pages() -> list[str]:
    toc = yaml.safe_load((paths.ROOT / "_toc.yml").read_text())
    return [toc["root"]] + [page["file"] for part in toc["parts"] for page in part["chapters"]]


@functools.cache
def compressed(file: str) -> bytes:
    return gzip.compress(Path(file).read_bytes(), 6)


class WebServer(http.server.SimpleHTTPRequestHandler):
    """Compresses text, as every web host does, so that pages weigh what a reader loads."""

    def log_message(self, *_):
        pass

    def handle(self):
        with contextlib.suppress(ConnectionError):  # the browser has gone on to another page
            super().handle()

    def do_GET(self):
        file = self.translate_path(self.path)
        if not file.endswith((".html", ".js", ".css", ".svg")) or not os.path.isfile(file):
            return super().do_GET()
        content = compressed(file)
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(file))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture(scope="module")
def site(browser, html):
    """The address of the built book, served on the loopback interface."""
    handler = functools.partial(WebServer, directory=html)
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
    page = browser.new_page(viewport=WIDE)
    page.complaints = []

    def note(wrong: bool, text: str) -> None:
        if wrong:
            page.complaints.append(text)

    page.on("console", lambda message: note(message.type in ("warning", "error"), message.text))
    page.on("pageerror", lambda error: note(True, str(error)))
    page.on("response", lambda answer: note(answer.status >= 400, f"{answer.status}: {answer.url}"))
    page.on(
        "request",
        lambda request: note(
            not request.url.startswith((site, "data:", "blob:")), f"left the host: {request.url}"
        ),
    )
    yield page
    page.close()


def visit(tab, address: str) -> None:
    """Open a page and wait until its letters and formulas are there and it is painted."""
    tab.goto(address)
    tab.evaluate(
        """async () => {
          await document.fonts.ready;
          await window.MathJax?.startup?.promise;
        }"""
    )
    tab.wait_for_function(
        "document.querySelectorAll('.math').length"
        " <= document.querySelectorAll('mjx-container').length"
        " && performance.getEntriesByName('first-contentful-paint').length === 1"
    )


# ---------------------------------------------------------------- what is wrong with a page


def broken_figures(tab) -> Iterator[str]:
    """Figures that are not drawn, not visible, not numbered, or not described."""
    yield from tab.evaluate(
        """async () => {
          const faults = [];
          for (const figure of document.querySelectorAll("article figure")) {
            const drawings = [...figure.querySelectorAll(".drawing > svg[role=img]")];
            const shown = drawings.filter((drawing) => drawing.checkVisibility());
            const number = figure.querySelector("figcaption .caption-number");
            const wrong = {
              "is not drawn once for a desk and once for a phone": drawings.length !== 2,
              "is a picture": figure.querySelector("img"),
              "is not visible": shown.length !== 1 || shown[0].clientWidth < 200,
              "is not described": !(drawings[0]?.getAttribute("aria-label").length >= 20),
              "has no number": !number?.textContent.startsWith("Fig."),
            };
            const named = Object.keys(wrong).filter((fault) => wrong[fault]);
            faults.push(...named.map((fault) => `${figure.id} ${fault}`));
          }
          return faults;
        }"""
    )


LETTERS = """(kind) => {
  // What is wrong with the letters of the drawings that are shown, by their boxes as rendered.
  const faults = [];
  for (const drawing of document.querySelectorAll(".drawing > svg")) {
    if (!drawing.checkVisibility()) continue;
    const name = drawing.closest("figure").id, frame = drawing.getBoundingClientRect();
    if (!drawing.classList.contains(kind)) faults.push(`${name} is not the ${kind} one`);
    const scale = frame.width / drawing.viewBox.baseVal.width;
    const texts = [...drawing.querySelectorAll("text")].filter((text) => text.textContent.trim());
    const boxes = texts.map((text) => text.getBoundingClientRect());
    texts.forEach((text, place) => {
      const box = boxes[place], words = `${name}: ${text.textContent}`;
      const size = parseFloat(getComputedStyle(text).fontSize) * scale;
      if (size < 11) faults.push(`${words} is ${size.toFixed(1)} pixels high`);
      if (box.left < 0 || box.right > window.innerWidth
          || box.left < frame.left - 1 || box.right > frame.right + 1
          || box.top < frame.top - 2 || box.bottom > frame.bottom + 2)
        faults.push(`${words} is outside`);
      for (let other = place + 1; other < texts.length; other += 1) {
        const beside = boxes[other];
        const across = Math.min(box.right, beside.right) - Math.max(box.left, beside.left);
        const down = Math.min(box.bottom, beside.bottom) - Math.max(box.top, beside.top);
        if (across > 1 && down > 4) faults.push(`${words} lies on ${texts[other].textContent}`);
      }
    });
  }
  return faults;
}"""


def small_letters(tab) -> Iterator[str]:
    """Letters on a phone that are smaller than 11 pixels, on each other, or cut off."""
    yield from tab.evaluate(LETTERS, "phone")


def letters_of_a_desk(tab) -> Iterator[str]:
    yield from tab.evaluate(LETTERS, "wide")


def faint_letters(tab) -> Iterator[str]:
    """Letters in drawings whose contrast with the page is below 4.5; those on cells left out."""
    found = tab.evaluate(
        """() => [...document.querySelectorAll(".drawing > svg text")]
          .filter((text) => text.checkVisibility())
          .filter((text) => !/fill: *(#|rgb)/.test(text.getAttribute("style")))
          .map((text) => [text.textContent, getComputedStyle(text).fill,
            getComputedStyle(document.body).backgroundColor])"""
    )
    for words, ink, ground in {tuple(row) for row in found}:
        one, other = (
            "#{:02x}{:02x}{:02x}".format(*map(int, re.findall(r"\d+", colour)[:3]))
            for colour in (ink, ground)
        )
        if vector.contrast(one, other) < 4.5:
            yield f"{words}: {one} on {other}"


def other_letters(tab) -> Iterator[str]:
    """Drawings whose letters are not those that they were laid out with."""
    yield from tab.evaluate(
        """async () => {
          await document.fonts.ready;
          const used = new Set([...document.querySelectorAll(".drawing text")].map((text) =>
            getComputedStyle(text).fontFamily.split(",")[0].replaceAll('"', "")));
          return [...used].filter((name) => name !== "figures"
            || !document.fonts.check(`12px ${name}`));
        }"""
    )


def broken_maths(tab) -> Iterator[str]:
    if count := tab.locator("mjx-merror, [data-mjx-error]").count():
        yield f"{count} formulas with an error"


def open_code(tab) -> Iterator[str]:
    """Code cells that are not folded; examples stay open."""
    yield from tab.evaluate(
        """() => [...document.querySelectorAll("article .cell:not(.tag_example) .cell_input")]
          .filter((cell) => !cell.closest("details"))
          .map((cell) => `open code: ${cell.textContent.slice(0, 40)}`)"""
    )


def overflow(tab) -> Iterator[str]:
    """Elements that end beyond the right edge and are in no box that scrolls."""
    yield from tab.evaluate(
        """() => {
          const clips = (node) => node && node !== document.body && (
            ["auto", "scroll", "hidden", "clip"].includes(getComputedStyle(node).overflowX)
            || clips(node.parentElement));
          return [...document.querySelectorAll("article, article *")]
            .filter((node) => node.getClientRects().length
              && node.getBoundingClientRect().right > window.innerWidth + 1
              && !clips(node.parentElement))
            .slice(0, 3)
            .map((node) => `${node.tagName} ${node.className} overflows: `
              + `${node.textContent.slice(0, 40)}`);
        }"""
    )
    if tab.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
        yield "the page scrolls sideways"


SCROLLS = ".pst-scrollable-table-container, .explorer-table, mjx-container, pre"


def hidden_ends(tab) -> Iterator[str]:
    """What scrolls sideways without a cue at its edge, or where the keyboard cannot get at it."""
    yield from tab.evaluate(
        """(boxes) => [...document.querySelectorAll(`article :is(${boxes})`)].flatMap((box) => {
          const style = getComputedStyle(box);
          const scrolls = ["auto", "scroll"].includes(style.overflowX)
            && box.checkVisibility() && box.scrollWidth > box.clientWidth + 1;
          if (!scrolls) return [];
          const name = box.getAttribute("aria-label") ?? box.getAttribute("aria-labelledby");
          const wrong = {
            "has no cue": !style.backgroundAttachment.includes("local"),
            "cannot be focused": box.tabIndex < 0,
            "has no name": box.querySelector("table") && (!name || !box.role),
          };
          const faults = Object.keys(wrong).filter((fault) => wrong[fault]);
          return faults.map((fault) => `${box.className || box.tagName} ${fault}: `
            + box.textContent.trim().slice(0, 40));
        })""",
        SCROLLS,
    )


def loose_columns(tab) -> Iterator[str]:
    """Tables whose first column goes away when they are scrolled sideways."""
    yield from tab.evaluate(
        """() => [...document.querySelectorAll("article :is(.pst-scrollable-table-container,"
            + " .explorer-table)")].flatMap((box) => {
          if (!box.checkVisibility() || box.scrollWidth <= box.clientWidth + 20) return [];
          box.scrollLeft = 1e6;
          const edge = box.getBoundingClientRect().left;
          const cells = [...box.querySelectorAll("tr > :first-child")];
          const loose = cells.filter((cell) =>
            Math.abs(cell.getBoundingClientRect().left - edge) > 2);
          const wide = cells.some((cell) => cell.clientWidth > 0.6 * box.clientWidth);
          box.scrollLeft = 0;
          const words = box.textContent.trim().slice(0, 40);
          return [...(loose.length ? [`first column scrolls away: ${words}`] : []),
                  ...(wide ? [`first column leaves no room: ${words}`] : [])];
        })"""
    )


def small_targets(tab) -> Iterator[str]:
    """Buttons and doors of less than 40 pixels; not links in a text, nor what covers a card.

    A box to tick is as large as its label.
    """
    yield from tab.evaluate(
        """() => [...document.querySelectorAll("a, button, input, select, summary")]
          .filter((node) => node.checkVisibility({opacityProperty: true, visibilityProperty: true})
            && !node.matches("#pst-skip-link a, .sd-stretched-link")
            && !node.closest("article :is(p, li, td, dd, dt, caption, figcaption, .citation)"))
          .map((node) => node.type === "checkbox" ? node.labels[0] ?? node : node)
          .filter((node) => {
            const box = node.getBoundingClientRect();
            return box.width < 39.5 || box.height < 39.5;
          })
          .map((node) => `${node.tagName} ${node.className} ${node.id} is small: `
            + node.textContent.trim().slice(0, 30))"""
    )


def inaccessible(tab, *rules: str) -> Iterator[str]:
    """Serious and critical violations that axe finds, by all of its rules or by those given."""
    if not tab.evaluate("'axe' in window"):
        tab.evaluate(AXE)
    # The cues of what scrolls are pictures, on which axe does not measure contrast.
    tab.add_style_tag(content=".bd-article * { background-image: none !important; }")
    options = {"resultTypes": ["violations"], "preload": False}
    if rules:
        options["runOnly"] = {"type": "rule", "values": rules}
    found = tab.evaluate("(options) => axe.run(document, options)", options)
    for violation in found["violations"]:
        if violation["impact"] in ("serious", "critical"):
            node = violation["nodes"][0]
            more = f"{violation['id']}, {len(violation['nodes'])} times: {node['html'][:120]}"
            yield f"{more} {node['failureSummary'][-160:]}"


def too_heavy(tab) -> Iterator[str]:
    """More bytes than a page may load; prints them, and when something was first painted."""
    loaded = tab.evaluate(
        "[...performance.getEntriesByType('navigation'),"
        " ...performance.getEntriesByType('resource')]"
        ".map((entry) => [entry.name, entry.encodedBodySize])"
    )
    paint = tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    weight = sum(size for _, size in loaded)
    print(f"{weight / 1e6:.2f} MB in {len(loaded)} files, first paint after {paint:.0f} ms")
    if weight > HEAVIEST:
        largest = sorted(loaded, key=lambda entry: -entry[1])[:3]
        yield f"{weight:,} bytes, the largest: {largest}"


def raw_markup(tab) -> Iterator[str]:
    """Markup of MyST that is shown as it was typed, in examples of code left out."""
    yield from tab.evaluate(
        """() => {
          const raw = /\\{(ref|numref|eq|cite)|<(sec|chapter|fig|tab)-/;
          const walker = document.createTreeWalker(
            document.querySelector("article"), NodeFilter.SHOW_TEXT);
          const faults = [];
          while (walker.nextNode()) {
            const node = walker.currentNode;
            if (node.parentElement.closest("pre, code, script, style")) continue;
            if (raw.test(node.data)) faults.push(`raw markup: ${node.data.trim().slice(0, 60)}`);
          }
          return faults;
        }"""
    )


def complaints(tab) -> Iterator[str]:
    yield from tab.complaints


def dark_and_narrow(tab) -> None:
    """What depends on colours and width is looked at once more."""
    resize(tab, NARROW)
    tab.evaluate("Object.assign(document.documentElement.dataset, {mode: 'dark', theme: 'dark'})")
    tab.evaluate("document.getAnimations().forEach((each) => each.finish())")


def counts(tab) -> Iterator[str]:
    """Lines that are there for the checks of a chapter, and more folds of code than figures."""
    if found := re.search(r"digest [0-9a-f]{12}|\d+ rows,", tab.locator("article").inner_text()):
        yield f"a line of a check: {found[0]}"
    folds = tab.locator("article .cell details.hide").count()
    figures = tab.locator("article .cell img, article .cell svg.wide").count()
    if folds > figures:
        yield f"{folds} folds of code at {figures} figures"


def late(tab) -> Iterator[str]:
    """An answer that begins below 500 pixels of a wide page, or a key figure below 900."""
    places = {".tag_answer .cell_output": 500, "article .cell :is(svg.wide, img)": 900}
    for found, most in places.items():
        top = tab.locator(found).first.bounding_box()["y"]
        if top > most:
            yield f"{found} begins at {top:.0f} pixels"


@pytest.mark.parametrize("name", pages())
def test_page_has_no_fault(site, tab, name):
    visit(tab, f"{site}/{name}.html")
    assert tab.locator("article h1").count() == 1
    if name.startswith("notebooks/"):
        assert tab.locator("article figure").count() > 0
    wide = (broken_figures, letters_of_a_desk, faint_letters, other_letters, broken_maths)
    wide += (open_code, raw_markup, overflow, hidden_ends, too_heavy, inaccessible)
    if name.startswith("notebooks/"):
        wide += (counts, late)
    faults = [fault for rule in wide for fault in rule(tab)]
    dark_and_narrow(tab)
    for rule in (overflow, hidden_ends, loose_columns, small_targets, small_letters, faint_letters):
        faults += rule(tab)
    faults += inaccessible(tab, "color-contrast", "scrollable-region-focusable", "target-size")
    assert [*faults, *complaints(tab)] == []


def drawing(inside: str, kind: str = "phone") -> str:
    """A drawing that is shown whatever the width is."""
    look = "display:block !important;width:100px"
    return (
        f"<figure id='x'><span class='drawing'><svg class='{kind}' style='{look}' role='img' "
        f"aria-label='x' viewBox='0 0 100 100'>{inside}</svg></span></figure>"
    )


BREAKAGES = {
    "a digest": (counts, "<p>8 panels, digest 0766e34fba6c</p>"),
    "folded code without a figure": (
        counts,
        "<div class='cell'><details class='hide'><summary>x</summary></details></div>",
    ),
    "a figure that is a picture": (
        broken_figures,
        "<figure><img src='data:,' alt='a picture that is described at length'></figure>",
    ),
    "small letters": (small_letters, drawing("<text y='20' style='font-size:1px'>a</text>")),
    "letters on letters": (small_letters, drawing("<text y='20'>a</text><text y='21'>b</text>")),
    "letters that are cut off": (small_letters, drawing("<text x='-9' y='20'>a</text>")),
    "a wide drawing on a phone": (small_letters, drawing("", "wide")),
    "a narrow drawing on a desk": (letters_of_a_desk, drawing("")),
    "faint letters": (
        faint_letters,
        drawing("<text y='20' style='fill:var(--none,#cccccc)'>a</text>"),
    ),
    "letters of another kind": (
        other_letters,
        drawing("<text y='20' style='font-family:serif'>a</text>"),
    ),
    "a formula with an error": (broken_maths, "<mjx-merror>x</mjx-merror>"),
    "code that is not folded": (
        open_code,
        "<div class='cell'><div class='cell_input'>print()</div></div>",
    ),
    "a role that is not resolved": (raw_markup, "<p>see {ref}<code>depth</code></p>"),
    "an anchor that is not resolved": (raw_markup, "<p>profile cpu &lt;sec-profiles&gt;</p>"),
    "a wide box": (overflow, "<div style='width: 3000px'>wide</div>"),
    "a wide box without a cue": (
        hidden_ends,
        "<pre tabindex=0 style='width: 50px; background: none'>wide and wide</pre>",
    ),
    "a wide table that moves": (
        loose_columns,
        "<div class='explorer-table' style='overflow: auto; width: 200px'><table style='width: "
        "900px'><tr><td style='position: static'>a</td><td>b</td></tr></table></div>",
    ),
    "a small button": (small_targets, "<button style='width: 20px; min-width: 0'>x</button>"),
    "a picture without a description": (inaccessible, "<img src='data:,' width=50 height=50>"),
    "faint text": (inaccessible, "<p style='color: #ddd; background: #fff'>Faint text</p>"),
}


@pytest.mark.parametrize(("rule", "markup"), BREAKAGES.values(), ids=BREAKAGES)
def test_fault_of_a_page_is_found(site, tab, rule, markup):
    visit(tab, f"{site}/book/bibliography.html")
    tab.set_viewport_size(NARROW)
    assert list(rule(tab)) == []
    article = "document.querySelector('article')"
    tab.evaluate(f"(markup) => {article}.insertAdjacentHTML('beforeend', markup)", markup)
    assert list(rule(tab)) != []


def test_an_answer_that_is_far_down_is_found(site, tab):
    visit(tab, f"{site}/notebooks/10_when_to_prune.html")
    assert list(late(tab)) == []
    space = "<div style='height: 700px'></div>"
    title = "document.querySelector('article h1')"
    tab.evaluate(f"(space) => {title}.insertAdjacentHTML('afterend', space)", space)
    assert len(list(late(tab))) == 2


def test_heavy_page_and_complaints_are_found(site, tab, monkeypatch):
    visit(tab, f"{site}/book/bibliography.html")
    assert [*too_heavy(tab), *complaints(tab)] == []
    monkeypatch.setitem(globals(), "HEAVIEST", 1_000)
    assert len(list(too_heavy(tab))) == 1
    with tab.expect_console_message(lambda message: message.text == "broken"):
        tab.evaluate("fetch('/missing.json').then(() => console.error('broken'))")
    assert any("broken" in complaint for complaint in tab.complaints)
    assert any("404" in complaint for complaint in tab.complaints)


def test_letters_are_as_wide_as_the_layout_took_them(site, tab):
    visit(tab, f"{site}/notebooks/01_depth.html")
    found = tab.evaluate(
        """async () => {
          await document.fonts.ready;
          return [...document.querySelectorAll(".drawing > svg.wide text")].map((text) => {
            const style = getComputedStyle(text);
            return [text.textContent, parseFloat(style.fontSize), style.fontWeight,
              text.getComputedTextLength()];
          });
        }"""
    )
    renderer = RendererSVG(500, 500, io.StringIO(), image_dpi=72)
    assert len(found) > 50 and {weight for _, _, weight, _ in found} == {"400", "700"}
    for words, size, weight, width in found:
        font = FontProperties(family=theme.FONT, size=size, weight=int(weight))
        taken = renderer.get_text_width_height_descent(words, font, False)[0]
        assert width == pytest.approx(taken, rel=0.03, abs=0.7), words


# ---------------------------------------------------------------- links


class Links(HTMLParser):
    """The anchors of a page and what it links to."""

    def __init__(self, page: Path):
        super().__init__()
        self.anchors, self.targets = {""}, set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.anchors |= {values[key] for key in ("id", "name") if values.get(key)}
        self.targets |= {values[key] for key in ("href", "src") if values.get(key)}


def missing_targets(html: Path) -> list[str]:
    """Links within the book whose file or anchor does not exist."""
    found = {page: Links(page) for page in html.rglob("*.html") if "_static" not in page.parts}
    wrong = []
    for page, links in found.items():
        for target in links.targets:
            if re.match(r"[a-z]+:|//", target):
                continue
            address, anchor = urldefrag(urljoin(page.as_uri(), target))
            file = Path(unquote(address.removeprefix("file://").partition("?")[0]))
            anchors = found[file].anchors if file in found else {"", anchor}
            if not file.is_file() or unquote(anchor) not in anchors:
                wrong.append(f"{page.relative_to(html)}: {target}")
    return wrong


def test_every_link_within_the_book_has_a_target(html):
    assert missing_targets(html) == []


def test_equations_are_numbered_as_the_reader_meets_them_and_links_say_their_numbers(html):
    found = {name: (html / f"{name}.html").read_text(encoding="utf-8") for name in pages()}
    number = r'id="(equation-[\w-]+)".*?class="eqno">\(([\d.]+)\)'
    equations = {
        (Path(name).name, anchor): each
        for name, text in found.items()
        for anchor, each in re.findall(number, text, re.DOTALL)
    }
    plain = [int(each) for each in equations.values() if "." not in each]
    assert plain == [*range(1, len(plain) + 1)] and len(plain) > 10
    links = [
        (Path(page).stem or Path(name).name, anchor, each)
        for name, text in found.items()
        for page, anchor, each in re.findall(r'href="([^"#]*)#(equation-[^"]+)">\((.*?)\)<', text)
    ]
    assert len(links) > 5
    assert [link for link in links if equations[link[:2]] != link[2]] == []


def test_link_without_a_target_is_found(tmp_path):
    (tmp_path / "a.html").write_text("<p id='here'></p>")
    links = ("a.html#here", "a.html#there", "b.html", "https://example.org/x", "#")
    text = "".join(f"<a href='{link}'></a>" for link in links)
    (tmp_path / "c.html").write_text(text)
    assert sorted(missing_targets(tmp_path)) == ["c.html: a.html#there", "c.html: b.html"]


# ---------------------------------------------------------------- what a reader does


def test_search_box_leads_to_pages_with_the_word(site, tab):
    visit(tab, f"{site}/book/bibliography.html")
    tab.keyboard.press("Control+k")
    tab.keyboard.type("sparsity")
    tab.keyboard.press("Enter")
    tab.locator("#search-results li a").first.wait_for()
    assert tab.locator("#search-results li").count() > 1
    assert tab.complaints == []


def test_excerpts_of_the_search_are_of_the_text_of_a_page(site, tab):
    visit(tab, f"{site}/search.html?q=adversarial")
    found = tab.locator("#search-results .context")
    found.filter(has_text="sparsity").first.wait_for()
    excerpts = " ".join(found.all_inner_texts())
    assert ".pdf" not in excerpts  # a button above the page
    assert "worsesupported" not in excerpts  # letters of a figure
    visit(tab, f"{site}/search.html?q=xyzzyq")
    tab.get_by_text("No page has all of these words.").wait_for()


def test_a_page_in_the_dark_theme_is_printed_in_the_light_one(site, tab):
    visit(tab, f"{site}/book/explorer.html")
    themes = """() => ["", "beforeprint", "afterprint"].map((name) => {
      if (name) dispatchEvent(new Event(name));
      else document.documentElement.dataset.theme = "dark";
      return document.documentElement.dataset.theme; })"""
    assert tab.evaluate(themes) == ["dark", "light", "dark"]


def cut_on_paper(tab) -> list[str]:
    """Tables and code of which a sheet of A4 has not all, as it has no window to scroll."""
    tab.emulate_media(media="print")
    tab.set_viewport_size({"width": 718, "height": 1046})  # less a margin of a centimetre
    return tab.evaluate("""() => {
      for (const fold of document.querySelectorAll("details")) fold.open = true;
      const boxes = "article :is(.pst-scrollable-table-container, .explorer-table, pre)";
      return [...document.querySelectorAll(boxes)].filter((box) => box.clientHeight
        && (box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 1))
        .map((box) => box.textContent.trim().slice(0, 40)); }""")


PRINTED = ["notebooks/05_robustness", "notebooks/11_scorecard"]
PRINTED += ["book/explorer", "book/provenance", "book/reproduce", "book/method"]


@pytest.mark.parametrize("name", PRINTED)
def test_nothing_is_cut_on_paper(site, tab, name):
    visit(tab, f"{site}/{name}.html")
    assert cut_on_paper(tab) == []


def test_what_paper_cuts_is_found(site, tab):
    visit(tab, f"{site}/book/provenance.html")
    tab.add_style_tag(content=".bd-article td { white-space: nowrap !important; }")
    assert cut_on_paper(tab) != []


def test_sidebar_leads_to_every_page_and_opens_on_a_phone(site, tab):
    visit(tab, f"{site}/book/intro.html")
    listed = tab.evaluate("[...document.querySelectorAll('nav a')].map((link) => link.href)")
    assert {f"{site}/{name}.html" for name in pages()[1:]} <= set(listed)
    tab.set_viewport_size(NARROW)
    tab.wait_for_function(
        "document.querySelector('#pst-primary-sidebar').getBoundingClientRect().right <= 0"
    )
    tab.locator("button.primary-toggle").click()
    glossary = tab.get_by_role("dialog").get_by_role("link", name="Glossary")
    glossary.wait_for()
    assert [*small_targets(tab)] == []
    glossary.click()
    tab.wait_for_url("**/glossary.html")
    assert tab.complaints == []


def test_titles_of_cards_look_like_links_and_a_link_within_a_card_leads_elsewhere(site, tab):
    visit(tab, f"{site}/book/intro.html")
    looks = tab.evaluate(
        """() => {
          return ["light", "dark"].flatMap((theme) => {
            document.documentElement.dataset.theme = theme;
            document.getAnimations().forEach((each) => each.finish());
            const link = getComputedStyle(document.querySelector("article section > p a")).color;
            return [...document.querySelectorAll("article .sd-card-body > :first-child")].map(
              (title) => getComputedStyle(title).color === link);
          });
        }"""
    )
    assert len(looks) == 2 * (11 + 3) and all(looks)
    tab.locator(".doors").get_by_role("link", name="Reproduce").click()
    tab.wait_for_url("**/reproduce.html*")
    assert tab.complaints == []


def test_pages_lead_to_the_previous_and_the_next(site, tab):
    visit(tab, f"{site}/{pages()[1]}.html")
    tab.locator("a.right-next").click()
    tab.wait_for_url(f"**/{pages()[2]}.html")
    tab.locator("a.left-prev").click()
    tab.wait_for_url(f"**/{pages()[1]}.html")


def test_the_footer_of_a_chapter_opens_with_the_keyboard_and_holds_what_can_be_copied(site, tab):
    visit(tab, f"{site}/notebooks/01_depth.html")
    footer = tab.locator("details.footer")
    footer.locator("summary").focus()
    tab.keyboard.press("Enter")
    for text in ("make notebook", "Behind this page", "profile = ", "@in"):
        assert footer.get_by_text(text).first.is_visible()
    assert footer.locator("button.copybtn").count() == 2  # parameters and citation


def shade(tab, box, place: int) -> float:
    """How light the last pixels of a box are, 0 to 255, when it is scrolled to a place."""
    box.evaluate("(box, place) => { box.scrollLeft = place; }", place)
    with Image.open(io.BytesIO(box.screenshot(animations="disabled"))) as picture:
        edge = picture.convert("L").crop((picture.width - 3, 0, picture.width, picture.height))
        return statistics.median(edge.tobytes())


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_shadow_stands_where_a_table_goes_on_and_leaves_at_its_end(site, tab, theme):
    visit(tab, f"{site}/book/provenance.html")
    resize(tab, NARROW)
    tab.evaluate("(theme) => { document.documentElement.dataset.theme = theme; }", theme)
    tab.evaluate("document.getAnimations().forEach((each) => each.finish())")
    box = tab.locator(".pst-scrollable-table-container[tabindex='0']").first
    box.wait_for()
    goes_on, ends = shade(tab, box, 0), shade(tab, box, 10_000)
    assert goes_on < ends - 20 if theme == "light" else goes_on > ends + 20
    box.focus()
    box.evaluate("(box) => { box.scrollLeft = 0; }")
    tab.keyboard.press("ArrowRight")
    tab.wait_for_function("document.activeElement.scrollLeft > 0")
    assert "Table" in box.get_attribute("aria-label")
    assert tab.complaints == []


def test_korean_words_are_drawn_with_the_letters_of_the_book(site, tab):
    visit(tab, f"{site}/book/glossary.html")
    loaded = tab.evaluate(
        """async () => {
          await document.fonts.ready;
          const fonts = [...document.fonts].filter((font) => font.status === "loaded");
          return fonts.map((font) => `${font.family} ${font.weight}`.replaceAll('"', ""));
        }"""
    )
    assert {"Korean of the book 400", "Korean of the book 700"} <= set(loaded)
    assert tab.complaints == []


def test_entry_to_cite_is_copied_whole_and_does_not_scroll(site, tab):
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visit(tab, f"{site}/book/cite.html")
    tab.set_viewport_size(NARROW)
    entry = tab.locator(".highlight-bibtex").first
    assert entry.locator("pre").evaluate("(box) => box.scrollWidth <= box.clientWidth")
    button = entry.locator("button.copybtn")
    assert button.evaluate("(button) => getComputedStyle(button).opacity") == "1"
    button.click()
    copied = tab.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == cite.paper()
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
            for place, setting, sparsity, _, mean, *_ in first["measured"][metric["key"]]["value"]
            if (name := first["settings"][setting]) != hidden and first["models"][place] == model
        }

    network = tab.get_by_label("Network", exact=True)
    network.focus()
    tab.keyboard.press("Home")
    model, accuracy = first["models"][0], data["metrics"][0]
    assert network.input_value() == model
    assert shown() == expected(model, accuracy)
    assert model in tab.locator("#explorer-root svg[role=group]").first.get_attribute("aria-label")

    box = tab.get_by_role("checkbox").first
    box.focus()
    tab.keyboard.press("Space")
    assert shown() == expected(model, accuracy, hidden=first["settings"][0])
    box.click()
    ece = next(metric for metric in data["metrics"] if metric["key"] == "ece")
    tab.get_by_label("Metric").select_option("ece")
    assert shown() == expected(model, ece)
    assert "Lower is better" in tab.get_by_role("status").inner_text()

    tab.set_viewport_size(NARROW)
    tab.wait_for_function(
        "document.querySelector('#explorer-root svg[role=group]').clientWidth < 390"
    )
    assert [*overflow(tab), *complaints(tab)] == []


def test_explorer_works_from_a_file_at_a_shared_address(html, browser):
    address = (html / "book/explorer.html").as_uri()
    with tab_of(browser, f"{address}#metric=ece&show=gap") as page:
        page.locator("#explorer-root svg[role=group]").nth(1).wait_for()
        assert page.get_by_label("Metric").input_value() == "ece"
        assert page.locator(".chart .zero").count() == 2
        assert page.locator(".explorer-table tbody tr").count() > 2
