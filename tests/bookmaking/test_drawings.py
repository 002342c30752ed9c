"""Figures stand in the pages as SVG, and nothing but figures does."""

import base64
import json
import re

import pytest
from small_project import PARAMETERS, code, notebook, stream, write

from randprune_core import paths
from randprune_core.bookmaking import checks, drawings, notebooks

ABOUT = "1 panel, 4 numbers, digest 0123456789ab"
LINE = f"results/figures/gap.svg: {ABOUT}\n"
PNG = b"\x89PNG a picture"
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="10pt" height="5pt" viewBox="0 0 10 5">'
    f"<desc>{ABOUT}</desc>INSIDE</svg>\n"
)
INSIDE = (
    '<g clip-path="url(#p0123456789)"><path d="M0 0L1.5 2" style="fill:none;'
    'stroke:var(--figure-0072b2,#0072b2)"/></g><defs><clipPath id="p0123456789">'
    '<rect x="0" y="0" width="9" height="4"/></clipPath></defs>'
    '<text x="1" y="2" style="font-size:9px" transform="rotate(-90 1 2)">a &lt; b</text>'
)


def picture() -> dict:
    data = {"image/png": base64.b64encode(PNG).decode(), "text/plain": "<Figure>"}
    return {"output_type": "display_data", "metadata": {}, "data": data}


def figure_cell(*tags: str, line: str = LINE) -> dict:
    return code("show()", *tags, outputs=[stream(line), picture()])


def save(folder, inside: str = INSIDE, about: str = ABOUT) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for ending in drawings.KINDS:
        text = SVG.replace("INSIDE", inside).replace(ABOUT, about)
        (folder / f"gap{ending}.svg").write_text(text)


@pytest.fixture
def staged(project):
    """A staging folder with a chapter of one figure, and what Sphinx made of it."""
    staging, html = project / "_build" / "staging", project / "_build" / "html"
    (staging / "notebooks").mkdir(parents=True)
    chapter = notebook(PARAMETERS, figure_cell())
    (staging / "notebooks" / "01_depth.ipynb").write_text(json.dumps(chapter))
    save(staging / "results" / "figures")
    (html / "_images").mkdir(parents=True)
    (html / "notebooks").mkdir()
    (html / "_images" / "abc.png").write_bytes(PNG)
    (html / "_images" / "other.png").write_bytes(b"another")
    page = (
        '<figure><img alt="A &quot;line&quot;" src="../_images/abc.png" /><p>caption</p></figure>'
    )
    (html / "notebooks" / "01_depth.html").write_text(page)
    (html / "index.html").write_text('<img src="_images/other.png">')
    return staging, html


def note(staging) -> None:
    drawings.note_drawings(staging, sorted((staging / "notebooks").glob("*.ipynb")))


def test_an_svg_takes_the_place_of_its_picture_with_its_description(staged):
    staging, html = staged
    note(staging)
    drawings.put_drawings(html, staging)
    page = (html / "notebooks" / "01_depth.html").read_text()
    assert "<img" not in page and page.endswith("</span><p>caption</p></figure>")
    assert re.findall(r'<svg class="(\w+)" role="img" aria-label="([^"]*)"', page) == [
        ("wide", "A &quot;line&quot;"),
        ("phone", "A &quot;line&quot;"),
    ]
    assert page.count("a &lt; b</text>") == 2 and "digest" not in page
    assert (html / "index.html").read_text() == '<img src="_images/other.png">'


@pytest.mark.parametrize("change", ["another digest", "no file", "no phone file", "not an svg"])
def test_a_picture_stays_where_no_svg_belongs_to_it(staged, change):
    staging, html = staged
    before = (html / "notebooks" / "01_depth.html").read_text()
    folder = staging / "results" / "figures"
    if change == "another digest":
        save(folder, about="1 panel, 4 numbers, digest ba9876543210")
    elif change == "not an svg":
        (folder / "gap.svg").write_text("<p>")
    else:
        (folder / ("gap.svg" if change == "no file" else "gap-phone.svg")).unlink()
    note(staging)
    drawings.put_drawings(html, staging)
    assert (html / "notebooks" / "01_depth.html").read_text() == before


HOSTILE = {
    "a script": "<script>window.hostile=1</script>",
    "a handler": '<g onload="window.hostile=1"/>',
    "a handler of the mouse": '<path d="M0 0" onclick="x()"/>',
    "foreign markup": '<foreignObject><p xmlns="http://www.w3.org/1999/xhtml">x</p></foreignObject>',
    "a link": '<a href="javascript:x()"><text>x</text></a>',
    "a picture of another host": '<image href="http://evil.example/x.png"/>',
    "an svg as a picture": '<image href="data:image/svg+xml;base64,aaaa"/>',
    "another file": '<use href="http://evil.example/x.svg#a"/>',
    "a style that loads": '<path style="fill:url(http://evil.example/x)"/>',
    "a style that hides it": '<path style="fill:U\\52 L(//evil.example)"/>',
    "rules for the page": "<style>body { display: none }</style>",
    "an id of the page": '<path id="explorer-root" d="M0 0"/>',
    "motion": '<animate attributeName="href" to="javascript:x()"/>',
    "a number that is none": '<path d="M0 0&quot; onload=x"/>',
}


@pytest.mark.parametrize("inside", HOSTILE.values(), ids=HOSTILE)
def test_what_no_figure_has_gets_into_no_page_and_is_named_with_its_file(staged, inside):
    staging, html = staged
    folder = staging / "results" / "figures"
    save(folder, inside)
    before = (html / "notebooks" / "01_depth.html").read_text()
    note(staging)
    drawings.put_drawings(html, staging)
    assert (html / "notebooks" / "01_depth.html").read_text() == before
    (drawing,) = drawings.drawn(notebook(figure_cell()))
    said = drawings.problem(folder, drawing)
    assert said.startswith(f"{folder / 'gap.svg'}: not a figure (a figure has no ")


BOMBS = {
    "entities": '<!DOCTYPE s [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><svg>&b;</svg>',
    "a comment": "<svg><!-- x --></svg>",
    "cdata": "<svg><![CDATA[<script>]]></svg>",
    "an instruction": "<?xml-stylesheet href='x'?><svg/>",
    "no xml": "<svg>",
    "too long": f"<svg>{' ' * 2**21}</svg>",
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_what_cannot_be_read_as_a_figure_is_named_in_one_line(tmp_path, text):
    save(tmp_path)
    (tmp_path / "gap.svg").write_text(text)
    (drawing,) = drawings.drawn(notebook(figure_cell()))
    said = drawings.problem(tmp_path, drawing)
    assert said.startswith(f"{tmp_path / 'gap.svg'}: not a figure (")
    assert "\n" not in said


def test_a_rerun_with_other_parameters_has_no_figure_of_the_book():
    line = LINE.replace("results/figures/", "results/local/01_depth/seeds=0/")
    assert list(drawings.drawn(notebook(figure_cell(line=line)))) == []


def test_style_has_the_colours_and_the_letters_of_the_figures(staged):
    from io import BytesIO

    from fontTools.ttLib import TTFont

    staging, _ = staged
    note(staging)
    drawings.write_style(staging)
    static = staging / "book" / "_static"
    style = (static / "figures-ink.css").read_text()
    assert style.count("--figure-0072b2: #") == 2
    for weight in ("normal", "bold"):
        assert f'url("figures-{weight}.woff")' in style
        with TTFont(BytesIO((static / f"figures-{weight}.woff").read_bytes())) as font:
            assert set("a <b") <= {chr(code) for code in font.getBestCmap()}
            assert ord("Ω") not in font.getBestCmap()
            assert "Bitstream" in font["name"].getDebugName(0)
    assert "Bitstream Vera" in (static / "figures-font-LICENSE.txt").read_text()
    before = {path.name: path.read_bytes() for path in static.iterdir()}
    drawings.write_style(staging)
    assert before == {path.name: path.read_bytes() for path in static.iterdir()}


def test_a_cell_without_a_picture_is_no_figure():
    metadata = {"mystnb": {"figure": {"name": "fig-a", "caption": "A"}, "image": {"alt": "B"}}}
    said = {"output_type": "display_data", "metadata": {}, "data": {"text/markdown": "Nothing."}}
    empty, full = (code("show()", outputs=[out], **metadata) for out in (said, picture()))
    shown = drawings.without_empty_figures(
        json.loads(json.dumps(notebook(PARAMETERS, empty, full)))
    )
    kept = [cell["metadata"].get("mystnb", {}) for cell in shown["cells"]]
    assert [list(each) for each in kept] == [[], ["image"], ["figure", "image"]]


def test_a_book_without_figures_has_a_style(project):
    drawings.write_style(project)
    assert "--figure-ground" in (project / "book" / "_static" / "figures-ink.css").read_text()


# ---------------------------------------------------------------- what `check` says of them


@pytest.fixture
def chapter(project):
    """A project with one chapter that drew a figure."""
    save(paths.FIGURES)
    source = write(project, "01_depth", PARAMETERS, figure_cell())
    notebooks.store_fingerprints(["01_depth"])
    return source


def test_figures_that_their_chapter_drew_are_no_problem(chapter):
    assert checks.check() == []


@pytest.mark.parametrize("ending", drawings.KINDS)
def test_an_svg_that_its_chapter_did_not_draw_is_named_with_what_writes_it(chapter, ending):
    path = paths.FIGURES / f"gap{ending}.svg"
    path.write_text(path.read_text().replace("0123456789ab<", "ba9876543210<"))
    (found,) = checks.check()
    assert found.startswith(f"{path}: not what the chapter drew")
    assert found.endswith("run `python -m randprune_core notebook 01_depth`, which writes it again")
    path.unlink()
    (found,) = checks.check()
    assert found.startswith(f"{path}: missing")


def test_an_svg_that_no_chapter_drew_is_named(chapter):
    (paths.FIGURES / "other.svg").write_text("<svg/>")
    (found,) = checks.check()
    assert found.startswith(f"{paths.FIGURES / 'other.svg'}: no chapter's stored outputs name it")


def test_a_figure_that_differs_between_machines_may_have_another_digest(project):
    save(paths.FIGURES, about="1 panel, 4 numbers, digest ba9876543210")
    write(project, "01_depth", PARAMETERS, figure_cell("nbval-ignore-output"))
    notebooks.store_fingerprints(["01_depth"])
    assert checks.check() == []
    (paths.FIGURES / "gap.svg").unlink()
    assert "gap.svg: missing" in checks.check()[0]
