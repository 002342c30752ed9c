"""The three pages with controls in the built book, by touch, on a desk and on a phone.

A node is tapped by its locator, which waits until the layout stands: a tap at coordinates that were
asked for a moment before can meet a link that moved there meanwhile.
"""

import pytest
from pages import NARROW, WIDE, resize, tab_of, words
from whole.test_book_in_browser import inaccessible, overflow

SMALL = """[...document.querySelectorAll(
    ".explorer-controls :is(select, button, input:not([type=checkbox]), fieldset label)")]
  .filter((node) => {
    const { width, height } = node.getBoundingClientRect();
    return Math.min(width, height) < 40;
  }).map((node) => node.outerHTML.slice(0, 80))"""


@pytest.fixture
def book(html):
    return html / "book"


def use_explorer(tab) -> None:
    """A legend entry takes its curve away and brings it back; the address follows."""
    rows = tab.locator(".explorer-table").nth(1).locator("tbody tr")
    before, entry = rows.count(), tab.locator("fieldset label", has_text="dense")
    entry.tap()
    assert 0 < rows.count() < before and "hide=dense" in tab.url
    entry.tap()
    assert rows.count() == before and "hide=dense" not in tab.url


def use_draw_a_mask(tab) -> None:
    """A touched bar chooses its layer, and Redraw draws another mask."""
    bars = tab.locator("#mask-layers .column")
    bars.nth(2).tap()
    bars.nth(7).tap()
    assert tab.locator("#mask-layer").input_value() == "7"
    assert words(tab)[0].startswith("8. ")
    seed = int(tab.locator("#mask-seed").input_value())
    tab.get_by_role("button", name="Redraw").tap()
    assert tab.locator("#mask-seed").input_value() == str(seed + 1)


def use_train_it(tab) -> None:
    """Train trains the next seed."""
    rows = tab.locator("#train-it-root tbody tr")
    count = rows.count()
    tab.locator("#train-it-seed").fill(str(count))
    tab.get_by_role("button", name="Train").tap()
    rows.nth(count).wait_for()


USES = {"explorer": use_explorer, "draw_a_mask": use_draw_a_mask, "train_it": use_train_it}


@pytest.mark.parametrize("name", USES)
def test_page_is_used_by_touch_at_both_widths_in_light_and_dark(browser, book, name):
    with tab_of(browser, (book / f"{name}.html").as_uri(), has_touch=True) as tab:
        for size in (WIDE, NARROW):
            resize(tab, size)
            tab.wait_for_function("document.querySelector('.chart svg').clientWidth < innerWidth")
            USES[name](tab)
            assert tab.evaluate(SMALL) == []
            point = tab.locator(".chart [role=img]").last
            point.tap()
            assert words(tab) == [point.get_attribute("aria-label")]
            for mode in ("light", "dark"):
                tab.evaluate(f"document.documentElement.dataset.theme = '{mode}'")
                tab.evaluate("document.getAnimations().forEach((each) => each.finish())")
                assert [*overflow(tab), *inaccessible(tab)] == []
            tab.locator("article h1").tap()
            assert words(tab) == []


def test_small_targets_are_found(browser, book):
    with tab_of(browser, (book / "explorer.html").as_uri()) as tab:
        tab.add_style_tag(content=".explorer-controls label { min-height: 0 !important; }")
        assert "explorer-dense" in tab.evaluate(SMALL)[0]
