"""Hangul on the pages is drawn with letters that come with the book."""

import json
import re

import pytest
from fontTools.ttLib import TTFont

from randprune_core import paths

HANGUL = re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]")
FOLDER = paths.BOOK / "_static" / "korean"


def letters() -> dict[str, str]:
    """Every Hangul letter of the pages and chapters, with a file that has it."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in paths.BOOK.glob("*.md")}
    for path in paths.NOTEBOOKS.glob("*.ipynb"):
        texts[path.name] = str(json.loads(path.read_text(encoding="utf-8")))
    return {letter: name for name, text in texts.items() for letter in HANGUL.findall(text)}


@pytest.mark.parametrize(("name", "weight"), [("regular", 400), ("bold", 700)])
def test_every_korean_letter_of_the_book_is_in_the_font(name, weight):
    font = TTFont(FOLDER / f"{name}.woff")
    known, wanted = font.getBestCmap(), letters()
    assert len(wanted) > 100
    missing = {letter: page for letter, page in wanted.items() if ord(letter) not in known}
    assert not missing, "make the fonts anew: book/_static/korean/README.md"
    assert font["OS/2"].usWeightClass == weight
    outlines = font["CFF "].cff.topDictIndex[0].CharStrings
    assert all(outlines[known[ord(letter)]].bytecode for letter in wanted)


def test_font_keeps_the_words_of_its_licence():
    licence = (FOLDER / "OFL.txt").read_text(encoding="utf-8")
    for name in ("regular", "bold"):
        names = TTFont(FOLDER / f"{name}.woff")["name"]
        assert "SIL Open Font License" in names.getDebugName(13)
        assert names.getDebugName(0).removeprefix("© ") in licence
