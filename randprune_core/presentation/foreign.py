"""How text that others wrote gets into a page: through the functions here, and in no other way.

Foreign is whatever a record, a note of a failed run or a CSV holds: such files are shared, and may
come from anybody. The functions do not rely on `forms`, which refuses most of such text on reading.
"""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass
from urllib.parse import quote

import pandas as pd

LONGEST = 1_000
"""Characters of a foreign text that are shown; the rest is cut off."""

_NO_BREAK = "\u00a0"
_LOOKALIKES = {"$": "\uff04", "\\": "\uff3c"}
_ALWAYS = r"[\"&<>`*~#{}|!@^]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"
_WITH_NEIGHBOURS = r"/(?=/)|(?<=/)/|:(?=:)|(?<=:):|\[(?=\^)|\](?=[(\[:])|(?<=www)\."
_DOMAINS = "biz|com|edu|gov|net|org|pro|web|xxx|aero|asia|coop|info|museum|name|shop|[рР][фФ]"
_ADDRESS = rf"\.(?=(?i:xn--|(?:[a-z]{{2}}|{_DOMAINS})(?![a-z0-9])))"
"""The dot of what Markdown would take for the address of a site and make a link of: `a.com`."""
_AT_START = r"^[=:%(]|^[+-](?!\d)|(?<=^\d)[.)](?=\s|$)|(?<=^\d\d)[.)](?=\s|$)"
_MARKUP = re.compile(f"{_ALWAYS}|{_WITH_NEIGHBOURS}|{_ADDRESS}|{_AT_START}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_FORMULA = re.compile(r"(^|;)(?=\s*[=+\-@\uff1d\uff0b\uff0d\uff20])")


@dataclass(frozen=True)
class Markup:
    """MyST that our own code made, for a cell of `table` that is not to be escaped."""

    source: str


def plain(value: object, longest: int = LONGEST) -> str:
    """A text as one line of printable characters, for the label of a figure and the like.

    A dollar sign and a backslash are replaced by their wide forms: Matplotlib, MathJax and Jupyter
    read mathematics even where the page has them escaped.
    """
    letters = (c if c.isprintable() or c == _NO_BREAK else " " for c in str(value)[: 4 * longest])
    words = re.sub("  +", " ", "".join(_LOOKALIKES.get(c, c) for c in letters))
    words = words.strip(f" {_NO_BREAK}")
    return words if len(words) <= longest else f"{words[: longest - 1]}…"


def text(value: object, longest: int = LONGEST) -> str:
    """A text for a place in MyST Markdown, which shows it as it is: no markup, role or block.

    Characters that could mean something become numeric character references, which are text in
    every dialect of Markdown, inside of a table as well.
    """
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", plain(value, longest))


def code(value: object) -> str:
    """A short name, such as a commit, as code in MyST; `?` for what no name holds."""
    return f"`{re.sub('[^A-Za-z0-9_.:+-]', '?', plain(value)) or '?'}`"


def link(words: object, address: str) -> str:
    """A link in MyST to an address that begins with https://; without one, the words alone."""
    words = text(words)
    if not address.startswith("https://"):
        return words
    label = words.replace("[", "&#91;").replace("]", "&#93;")
    return f"[{label}]({quote(address, safe=':/?=%~+,@#-._')})"


def table(frame: pd.DataFrame, name: str, caption: str) -> str:
    """A numbered table in MyST; cells and headings are text, except those that are `Markup`.

    `name` and `caption` are ours, MyST as they stand.
    """
    return f":::{{table}} {caption}\n:name: {name}\n\n{rows(frame)}\n:::"


def rows(frame: pd.DataFrame) -> str:
    """A table in Markdown without a number; its cells as those of `table`."""
    written = frame.map(_cell).rename(columns=_cell)
    return written.to_markdown(index=False, disable_numparse=True)


def _cell(value: object) -> object:
    if isinstance(value, Markup):
        return value.source
    return text(value) if isinstance(value, str) else value


def script(value: object) -> str:
    """JSON that may stand in a script, inside of a page too; ValueError for NaN."""
    written = json.dumps(value, ensure_ascii=False, allow_nan=False)
    for letter in "<>&\u2028\u2029":
        written = written.replace(letter, f"\\u{ord(letter):04x}")
    return written


def spreadsheet_cell(value: object) -> object:
    """A cell of a CSV that no spreadsheet takes for a formula: an apostrophe is put before it.

    So it is after a semicolon, where some programs see the next cell. Tabs, line ends and what
    cannot be printed become spaces. Numbers, as such or as text, stay as they are.
    """
    if not isinstance(value, str) or _NUMBER.fullmatch(value):
        return value
    line = "".join(c if c.isprintable() or c == _NO_BREAK else " " for c in value)
    return _FORMULA.sub(r"\1'", line)


def csv_text(frame: pd.DataFrame, **options) -> str:
    """A table as CSV, without an index, with cells that are safe in a spreadsheet.

    `options` are those of `DataFrame.to_csv`. Equal tables give equal text on every machine.
    """
    safe = frame.map(spreadsheet_cell).rename(columns=spreadsheet_cell)
    return safe.to_csv(index=False, lineterminator="\n", **options)


def formulas(content: str) -> list[str]:
    """The cells of a CSV that a spreadsheet would take for formulas, in their order."""
    rows = csv.reader(io.StringIO(content, newline=""))
    return [cell for row in rows for cell in row if spreadsheet_cell(cell) != cell]


def defused(content: str) -> str:
    """A CSV without formulas; one that has none is returned as it is, to the letter."""
    if not formulas(content):
        return content
    made = io.StringIO(newline="")
    rows = csv.reader(io.StringIO(content, newline=""))
    csv.writer(made, lineterminator="\n").writerows(map(spreadsheet_cell, row) for row in rows)
    return made.getvalue()
