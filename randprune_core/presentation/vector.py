"""A figure as SVG for the page: text as text, no ground, and colours that the page can set.

Equal figures give equal text. Dark ink is `currentColor`, white the ground of the page, and any
other colour a variable: `colours` gives its values for light pages and dark ones.
"""

from __future__ import annotations

import colorsys
import hashlib
import io
import re
from collections.abc import Iterable, Mapping
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from .theme import FONT

GROUNDS = {"light": "#ffffff", "dark": "#121212"}
"""What the page is drawn on."""
CONTRAST = {"light": {"": 3.0, "text-": 4.5}, "dark": {"": 4.5, "text-": 4.5}}
"""The least contrast of lines and of text with the ground: that of WCAG 2.2 (AA), or more."""

_INK = ("#000000", "#222222", "#262626")
_VARIABLE = re.compile(r"var\(--figure-(text-|)([0-9a-f]{6}),")
_HEX = re.compile(r"#[0-9a-f]{6}\b")
_TARGET = re.compile(r"#([\w-]+)")
_LONG = re.compile(r"-?\d+\.\d{3,}(?:e-?\d+)?")


def svg(figure: Figure, name: str, about: str) -> str:
    """A figure as SVG text, with `about` as its description; `name` keeps its ids apart.

    Masks in it become paths: give a copy (`stacked.fitted`) of a figure that is used further.
    """
    for axis in figure.axes:
        for image in list(axis.images):
            if set(np.unique(image.get_array())) <= {0, 1}:  # a mask: its dark pixels are ink
                image.set_visible(False)
                axis.add_patch(PathPatch(_dark(image), color="black", linewidth=0))
    buffer = io.BytesIO()
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "savefig.bbox": None}):
        figure.savefig(buffer, format="svg", facecolor="none", metadata={"Date": None})
    drawn = ElementTree.fromstring(buffer.getvalue())
    for element in drawn.iter():
        element.tag = element.tag.partition("}")[2]
    width, height = _short(drawn.get("viewBox")).split()[2:]
    # By number: matplotlib's own ids change with the last digit of a coordinate.
    used = dict.fromkeys(re.findall(r"(?:url\(|href=\")#([\w-]+)", buffer.getvalue().decode()))
    own = hashlib.sha256(name.encode()).hexdigest()[:10]
    used = {old: f"i{number}_{own}" for number, old in enumerate(used)}
    parts = [part for part in drawn if part.tag == "g" or part.find("clipPath") is not None]
    inside = "".join(_written(part, used) for part in parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}pt" height="{height}pt" '
        f'viewBox="0 0 {width} {height}" font-family="{FONT}, sans-serif" fill="currentColor" '
        f'stroke-linejoin="round"><desc>{escape(about)}</desc>{inside}</svg>\n'
    )


def _dark(image) -> Path:
    """The pixels of a mask that are 1 as one path, a rectangle for each run of a row."""
    vertices = []
    for y, row in enumerate(np.asarray(image.get_array()) > 0):
        ends = np.flatnonzero(np.diff(np.concatenate([[0], row, [0]])))
        for left, right in ends.reshape(-1, 2) - 0.5:
            box = [(left, y - 0.5), (right, y - 0.5), (right, y + 0.5), (left, y + 0.5)]
            vertices += [*box, box[0]]
    codes = [Path.MOVETO, *[Path.LINETO] * 3, Path.CLOSEPOLY] * (len(vertices) // 5)
    return Path(np.array(vertices).reshape(-1, 2), codes)


def _written(element: ElementTree.Element, used: Mapping[str, str]) -> str:
    """An element as text: short numbers, ids as in `used`, no group without a meaning."""
    styles = {part.get("style") for part in element}
    if element.tag == "g" and len(element) > 1 and len(styles) == 1 and None not in styles:
        element.set("style", *styles)  # once for all markers of a line
        for part in element:
            del part.attrib["style"]
    attributes = ""
    for key, value in element.attrib.items():
        if key == "id":
            value = used.get(value)
        elif key == "style":
            value = _style(value, element.tag == "text")
        elif key == "clip-path" or (key.endswith("href") and value.startswith("#")):
            value = _TARGET.sub(lambda found: f"#{used[found[1]]}", value)
        elif not key.endswith("href"):
            value = _short(value) if (element.tag, key) != ("image", "transform") else value
        if value:
            attributes += f" {key.partition('}')[2] or key}={quoteattr(value)}"
    inside = escape(element.text.strip() if element.text else "")
    inside += "".join(_written(part, used) for part in element)
    if element.tag == "g" and not attributes:
        return inside
    end = f">{inside}</{element.tag}>" if inside else "/>"
    return f"<{element.tag}{attributes}{end}"


def _short(value: str) -> str:
    """Numbers with two decimals, no line ends, no turn by nothing."""
    value = re.sub(r"rotate\(-?0 [^)]*\)", "", " ".join(value.split())).strip()
    value = _LONG.sub(lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), value)
    value = re.sub(r"-0(?![.\d])", "0", value)
    return re.sub(r" ?([MLCQz]) ?", r"\1", value) if re.match(r"M ", value) else value


def _style(style: str, text: bool) -> str:
    parts = []
    for part in style.split(";"):
        key, _, value = (word.strip() for word in part.partition(":"))
        if key == "font-family":
            continue
        value = _HEX.sub(lambda found: _variable(found[0], text), value)
        parts.append(f"{key}:{_short(value)}")
    return ";".join(parts)


def _variable(colour: str, text: bool) -> str:
    """What stands for a colour."""
    if colour in _INK:
        return "currentColor"
    if colour == "#ffffff":
        return "var(--figure-ground,#ffffff)"
    return f"var(--figure-{'text-' if text else ''}{colour[1:]},{colour})"


_CHOSEN = {("dark", "4b1d7a"): "#c79bf2"}
"""By hand: the nearest lightness of this one is the colour of ERK to who sees no green."""


def colours(drawn: Iterable[str]) -> str:
    """CSS: the values of all colours in SVG texts, on light pages and on dark ones."""
    found = sorted({match.groups() for text in drawn for match in _VARIABLE.finditer(text)})
    blocks = []
    for mode, ground in GROUNDS.items():
        lines = [f"  --figure-ground: {ground};"]
        for use, digits in found:
            nearest = readable(f"#{digits}", ground, CONTRAST[mode][use])
            value = _CHOSEN.get((mode, digits), nearest)
            lines.append(f"  --figure-{use}{digits}: {value};")
        blocks.append("\n".join([f'html[data-theme="{mode}"] {{', *lines, "}"]))
    return "\n".join([*blocks, ""])


def readable(colour: str, ground: str, least: float) -> str:
    """The colour, or the nearest lightness at which its contrast with the ground is enough.

    Greys are grounds and guides: on a dark ground they are as far from it as they were from white.
    """
    hue, lightness, saturation = colorsys.rgb_to_hls(*to_rgb(colour))
    dark = contrast(ground, "#ffffff") > contrast(ground, "#000000")
    if saturation < 0.05:
        darkest = max(to_rgb(ground))
        grey = darkest + (1 - lightness) * (0.93 - darkest) if dark else lightness
        return to_hex((grey,) * 3)
    while contrast(to_hex(colorsys.hls_to_rgb(hue, lightness, saturation)), ground) < least:
        lightness += 0.005 if dark else -0.005
    return to_hex(colorsys.hls_to_rgb(hue, lightness, saturation))


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, from 1 to 21 (WCAG 2.2)."""
    light, dark = sorted(map(_luminance, (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
