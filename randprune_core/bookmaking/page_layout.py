"""How the page of a chapter is laid out: what its notebook shows, in the order of a reader.

A notebook says how it was made: parameters, counts and digests of its figures, where its runs come
from. The page keeps the words, tables and figures; code stands folded beside the figure that it
draws, and all the rest in one closed footer. The committed notebook stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

PARAMETERS, FOOTER, EXAMPLE = "parameters", "footer", "example"
"""Tags: of the cell that papermill sets; of cells whose words and tables go to the footer; of cells
that are there to be read, code and printed lines and all."""
_TITLE = "How this page was made, and how to make it again"
_NO_CODE, _FOLDED, _NOTHING = "remove-input", "hide-input", "remove-cell"


def lay_out(notebook: dict, first: str, last: Iterable[str], name: str) -> dict:
    """A notebook as its page shows it.

    `first` stands below the title, empty for nothing; `last` are paragraphs of the footer, below
    those that the notebook has for it and above its parameters. `name` is the chapter's.
    """
    title, *rest = notebook["cells"]
    cells = [title, markdown("boxes-top", first)] if first else [title]
    footer = []
    for cell in rest:
        if {PARAMETERS, FOOTER} & _tags(cell):
            footer += _paragraphs(cell)
        else:
            cells.append(_on_page(cell))
    parameters = "".join(_code(cell) for cell in rest if PARAMETERS in _tags(cell))
    box = "\n\n".join([*footer, *filter(None, last), parameters]).strip()
    opened = f"::::::{{dropdown}} {_TITLE}\n:name: made-{name}\n:class-container: footer"
    cells.append(markdown("boxes-end", f"{opened}\n\n{box}\n::::::"))
    return notebook | {"cells": cells}


def markdown(name: str, words: str) -> dict:
    """A Markdown cell of the page."""
    lines = words.splitlines(keepends=True)
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": lines}


def text(cell: dict) -> str:
    """The source of a cell."""
    return "".join(cell["source"])


def _tags(cell: dict) -> set[str]:
    return set(cell["metadata"].get("tags", ()))


def _on_page(cell: dict) -> dict:
    """A cell without what it printed; its code is folded where it draws, else left out.

    Examples stay as they are.
    """
    if cell["cell_type"] != "code" or {_NOTHING, EXAMPLE} & _tags(cell):
        return cell
    shown = [output for output in cell.get("outputs", ()) if output["output_type"] != "stream"]
    kind = _NOTHING
    if shown:
        kind = _FOLDED if any("image/png" in out.get("data", {}) for out in shown) else _NO_CODE
    tags = sorted(_tags(cell) - {_FOLDED, _NO_CODE} | {kind})
    return cell | {"metadata": cell["metadata"] | {"tags": tags}, "outputs": shown}


def _paragraphs(cell: dict) -> list[str]:
    """What a cell has for the footer: its words, its headings as such, or its tables and lists."""
    if cell["cell_type"] == "markdown":
        return [re.sub(r"^#+ (.+)$", r"**\1.**", text(cell), flags=re.MULTILINE)]
    found = (output.get("data", {}).get("text/markdown", "") for output in cell.get("outputs", ()))
    return ["".join(words) for words in found if words]


def _code(cell: dict) -> str:
    """The parameters with their defaults; what they mean stands in the notebook."""
    lines = (re.sub(r"\s+#.*", "", line) for line in text(cell).splitlines())
    return "\n".join(["**Parameters.**\n", "```python", *lines, "```"])
