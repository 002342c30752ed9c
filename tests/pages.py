"""The pages with controls in a browser: each alone, without the book around it, and by touch."""

import contextlib
import re
import shutil
from pathlib import Path

from randprune_core import paths

WIDE, NARROW = {"width": 1400, "height": 900}, {"width": 390, "height": 844}
_COLOURS = """<style>
  * { box-sizing: border-box; }
  html { --pst-color-text-base: #222832; --pst-color-background: #fff; --pst-color-primary: #176de8;
    --pst-color-text-muted: #48566b; background: #fff; color: #222832; }
  html[data-theme=dark] { --pst-color-text-base: #ced6dd; --pst-color-background: #14181e;
    --pst-color-text-muted: #9ca4af; background: #14181e; color: #ced6dd; }
  body { max-width: 740px; margin: 1rem; font: 16px sans-serif; } pre { overflow-x: auto; }
</style>"""


def write_page(folder: Path, name: str, data: str) -> str:
    """The address of a page made of its own markup, scripts and styles; `data` is its data."""
    shutil.copytree(paths.BOOK / "_static", folder / "_static", ignore=_others)
    (folder / "_static" / f"{name}-data.js").write_text(data, encoding="utf-8")
    source = (paths.BOOK / f"{name}.md").read_text(encoding="utf-8")
    body = "\n".join(re.findall(r"```\{raw\} html\n(.*?)```", source, re.DOTALL))
    head = f"<!doctype html><html lang=en data-theme=light><meta charset=utf-8>{_COLOURS}"
    head += f"<meta name=viewport content='width=device-width'><title>{name}</title>"
    page = folder / "book" / f"{name}.html"
    page.parent.mkdir()
    page.write_text(f"{head}<main><h1>{name}</h1>{body}</main></html>", encoding="utf-8")
    return page.as_uri()


def _others(_, names: list[str]) -> list[str]:
    return [name for name in names if not name.endswith((".js", ".css"))]


@contextlib.contextmanager
def tab_of(browser, address: str, **options):
    """A new tab with a page that must not complain; `options` are those of the browser's page."""
    page = browser.new_page(**{"viewport": WIDE} | options)
    complaints = []

    def note(message) -> None:
        if not message.text.startswith(("[PST]", "[togglebutton]")):  # what the theme says
            complaints.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    yield page
    page.close()
    assert complaints == []


def resize(tab, size: dict) -> None:
    """Give the window another size; what is done about it 300 ms later is done when this ends.

    The theme looks then at what scrolls. From here on the clock of the page is Playwright's.
    """
    if tab.viewport_size == size:  # nothing would happen
        return
    tab.clock.install()
    tab.evaluate(
        """() => {
          window.resized = new Promise((seen) => addEventListener("resize", seen, { once: true }));
        }"""
    )
    tab.set_viewport_size(size)
    tab.evaluate("() => window.resized.then(() => null)")
    tab.clock.run_for(400)


def words(tab) -> list[str]:
    """What is open at the points of the pictures: at most one text."""
    return tab.locator(".chart-tip:visible").all_inner_texts()


def centre(node) -> tuple[float, float]:
    """Where a finger or a pointer meets a node, which is brought into view."""
    node.scroll_into_view_if_needed()
    box = node.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
