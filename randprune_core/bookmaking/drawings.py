"""Figures as vectors: what a chapter drew as SVG stands in the page in the place of its picture.

An SVG is a shared file and may come from anybody: it is taken apart and written anew from the
elements and attributes that figures have, and anything else is refused.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path
from xml.etree import ElementTree

from .. import paths
from ..presentation.theme import FONT
from .notebooks import VOLATILE_TAG, read_notebook

KINDS = {"": "wide", "-phone": "phone"}
"""What is added to the name of a figure for each of its files, and its class in a page."""

FIGURES = Path("results", "figures")
"""Where their files are in a staging folder."""
_INDEX = FIGURES / "drawings.json"

_PRINTED = re.compile(r"^results/figures/(\w+)\.svg: (.+)$", re.MULTILINE)
_PICTURE = re.compile(r'<img\b[^>]*\bsrc="[^"]*?(_images/[^"/]+\.png)"[^>]*>')
_ALT = re.compile(r'\balt="([^"]*)"')
_MOST_BYTES = 2**21

_ELEMENTS = {"svg", "g", "path", "use", "defs", "clipPath", "rect", "text", "tspan", "image"}
_SIMPLE = re.compile(r"[\w\s.,:;#%()'+-]*")
_ATTRIBUTES = dict.fromkeys(("d", "x", "y", "width", "height", "transform"), _SIMPLE)
_ATTRIBUTES |= {
    "id": re.compile(r"\w+[0-9a-f]{10}"),
    "clip-path": re.compile(r"url\(#\w+\)"),
    "href": re.compile(r"#\w+|data:image/png;base64,[A-Za-z0-9+/=\s]+"),
    "style": re.compile(r"(?!.*url)[\w\s.,:;#%()'+-]*", re.DOTALL | re.IGNORECASE),
}


@dataclass(frozen=True)
class Drawing:
    """A figure among the outputs of a chapter: its name, what was printed of it, its PNG.

    One that is not `steady` differs from machine to machine.
    """

    name: str
    about: str
    picture: bytes
    steady: bool


def drawn(notebook: Mapping) -> Iterator[Drawing]:
    """The figures that the cells of a notebook drew and saved in `results/figures/`."""
    for cell in notebook["cells"]:
        outputs = cell.get("outputs", ())
        text = "".join("".join(output.get("text", "")) for output in outputs)
        pictures = [output["data"] for output in outputs if "image/png" in output.get("data", {})]
        steady = VOLATILE_TAG not in cell["metadata"].get("tags", ())
        for (name, about), data in zip(_PRINTED.findall(text), pictures, strict=False):
            yield Drawing(name, about, base64.b64decode("".join(data["image/png"])), steady)


def without_empty_figures(notebook: dict) -> dict:
    """A notebook in which a cell that shows no picture is no numbered figure with a caption."""
    return notebook | {"cells": [_shown_as_it_is(cell) for cell in notebook["cells"]]}


def _shown_as_it_is(cell: dict) -> dict:
    look = cell["metadata"].get("mystnb", {})
    outputs = cell.get("outputs", ())
    if "figure" not in look or any("image/png" in output.get("data", {}) for output in outputs):
        return cell
    look = {key: value for key, value in look.items() if key != "figure"}
    return cell | {"metadata": cell["metadata"] | {"mystnb": look}}


def problem(folder: Path, drawing: Drawing) -> str:
    """What is wrong with the files of a figure in a folder; empty where they are what was drawn."""
    for ending in KINDS:
        path = folder / f"{drawing.name}{ending}.svg"
        if not path.is_file():
            return f"{path}: missing"
        try:
            markup(path, "", "")
            about = _parsed(path).findtext("desc")
        except ValueError as error:
            return f"{path}: not a figure ({error})"
        if drawing.steady and about != drawing.about:
            return f"{path}: not what the chapter drew, which is {drawing.about}"
    return ""


def markup(path: Path, kind: str, alt: str) -> str:
    """The SVG in a file for a page, named by `alt`; ValueError for what no figure has."""
    drawing = _parsed(path)
    size = drawing.get("viewBox", "")
    if drawing.tag != "svg" or not re.fullmatch(r"0 0 [\d.]+ [\d.]+", size):
        raise ValueError("it has no size")
    inside = "".join(_markup(part) for part in drawing if part.tag != "desc")
    return f'<svg class="{kind}" role="img" aria-label="{alt}" viewBox="{size}">{inside}</svg>'


def _parsed(path: Path) -> ElementTree.Element:
    """The SVG in a file, its elements without their name space; ValueError for anything else."""
    text = paths.read_regular(path, _MOST_BYTES).decode()
    if "<!" in text or "<?" in text:
        raise ValueError("it holds a declaration")
    try:
        drawing = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(error) from None
    for element in drawing.iter():
        element.tag = element.tag.removeprefix("{http://www.w3.org/2000/svg}")
    return drawing


def _markup(element: ElementTree.Element) -> str:
    attributes = ""
    for key, value in element.attrib.items():
        if key not in _ATTRIBUTES or not _ATTRIBUTES[key].fullmatch(value):
            raise ValueError(f"a figure has no {key}={value[:40]!r}")
        attributes += f' {key}="{escape(value)}"'
    if element.tag not in _ELEMENTS:
        raise ValueError(f"a figure has no element {element.tag[:40]!r}")
    inside = escape(element.text or "") + "".join(map(_markup, element))
    return f"<{element.tag}{attributes}>{inside}</{element.tag}>"


def note_drawings(staging: Path, executed: Iterable[Path]) -> None:
    """Note in a staging folder which pictures of the chapters have files that belong to them."""
    found = {
        hashlib.sha256(drawing.picture).hexdigest(): drawing.name
        for chapter in executed
        for drawing in drawn(read_notebook(chapter))
        if not problem(staging / FIGURES, drawing)
    }
    paths.write_whole(staging / _INDEX, json.dumps(found, sort_keys=True).encode())


def _found(staging: Path) -> dict[str, str]:
    """The names of the figures whose files belong to them, by the hash of their pictures."""
    index = staging / _INDEX
    return json.loads(index.read_text(encoding="utf-8")) if index.exists() else {}


def put_drawings(html: Path, staging: Path) -> None:
    """Put the figures of the chapters as SVG in the place of their pictures, on every page.

    A picture is known by its bytes. One without files that belong to it stays.
    """
    found = _found(staging)

    def put(image: re.Match) -> str:
        picture = html / unescape(image[1])
        name = picture.is_file() and found.get(hashlib.sha256(picture.read_bytes()).hexdigest())
        if not name:
            return image[0]
        alt = _ALT.search(image[0])
        files = {kind: staging / FIGURES / f"{name}{ending}.svg" for ending, kind in KINDS.items()}
        inside = "".join(markup(file, kind, alt[1] if alt else "") for kind, file in files.items())
        return f'<span class="drawing">{inside}</span>'

    for page in html.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        if (replaced := _PICTURE.sub(put, text)) != text:
            paths.write_whole(page, replaced.encode())


def write_style(staging: Path) -> None:
    """Write the style of figures: their colours, and the letters that they were measured with.

    The letters are those that the figures have, from the font that comes with matplotlib.
    """
    from ..presentation import vector  # here, because matplotlib takes a second

    names = sorted(set(_found(staging).values()))
    files = [staging / FIGURES / f"{name}{ending}.svg" for name in names for ending in KINDS]
    letters = {letter for path in files for letter in "".join(_parsed(path).itertext())}
    static = staging / "book" / "_static"
    faces = []
    for weight in ("normal", "bold"):
        paths.write_whole(static / f"figures-{weight}.woff", _font(weight, letters))
        source = f'src: url("figures-{weight}.woff") format("woff");'
        faces.append(f'@font-face {{ font-family: "figures"; font-weight: {weight}; {source} }}\n')
    licence = _font_file("normal").with_name("LICENSE_DEJAVU")
    paths.write_whole(static / "figures-font-LICENSE.txt", licence.read_bytes())
    colours = vector.colours(path.read_text(encoding="utf-8") for path in files)
    paths.write_whole(static / "figures-ink.css", ("".join(faces) + colours).encode())


def _font_file(weight: str) -> Path:
    from matplotlib.font_manager import FontProperties, findfont

    return Path(findfont(FontProperties(family=FONT, weight=weight), fallback_to_default=False))


def _font(weight: str, letters: set[str]) -> bytes:
    from fontTools import subset

    options = subset.Options(flavor="woff", name_IDs=["*"], layout_features=["kern"])
    options.drop_tables += ["FFTM"]  # FontForge's time stamp
    subsetter, made = subset.Subsetter(options), io.BytesIO()
    subsetter.populate(text="".join(sorted(letters)))
    with subset.load_font(_font_file(weight), options) as font:
        subsetter.subset(font)
        subset.save_font(font, made, options)
    return made.getvalue()
