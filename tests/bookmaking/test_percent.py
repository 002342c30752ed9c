"""Percent is written in one way: `90 %`, on one line."""

import json
import re

import pytest
from docutils.core import publish_doctree

from randprune_core import paths
from randprune_core.bookmaking.percent import KeepTogether

GLUED = re.compile(r"\d%(?!\w)|:[.\d]*%\}|\}%")
"""A number without a space before its sign, a format that gives one, a value that gets none."""


def typed() -> dict[str, str]:
    """The pages of the book and the sources of its chapters, by name."""
    found = {page.name: page.read_text(encoding="utf-8") for page in paths.BOOK.glob("*.md")}
    for path in paths.NOTEBOOKS.glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        captions = [cell["metadata"].get("mystnb", {}).get("figure", {}) for cell in cells]
        texts = ["".join(cell["source"]) for cell in cells]
        found[path.name] = "\n".join([*texts, *(each.get("caption", "") for each in captions)])
    return found


@pytest.mark.parametrize("name", typed())
def test_a_page_has_a_space_before_each_percent_sign(name):
    assert GLUED.findall(typed()[name]) == []


def test_scripts_have_a_no_break_space_before_each_percent_sign():
    for script in (paths.BOOK / "_static").glob("*.js"):
        text = script.read_text(encoding="utf-8").replace("\\u00a0", "\u00a0")
        text = re.sub(r"--share: .*?%", "", text)  # a length of CSS
        assert re.findall(r"[\d}] ?%(?!\w)", text) == [], script.name


@pytest.mark.parametrize(
    ("text", "found"),
    [("at 90 % and 97.5 %.", 2), ("``90 %`` and 5 %d", 0), ("**90** % is pasted", 1)],
)
def test_number_and_sign_stay_together_but_in_code(text, found):
    page = publish_doctree(text)
    KeepTogether(page).run()
    assert page.astext().count("\u00a0%") == found
    assert page.astext().replace("\u00a0", " ") == publish_doctree(text).astext()


def test_the_book_uses_it():
    assert f"- {KeepTogether.__module__}\n" in (paths.ROOT / "_config.yml").read_text()
