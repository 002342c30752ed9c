"""What others wrote is text wherever it gets to: in MyST, a table, a figure, a script, a CSV."""

import ast
import csv
import html
import io
import json
import re
from pathlib import Path

import hostile
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from randprune_core import paths
from randprune_core.presentation import foreign

CORPUS = hostile.texts(Path("marker"), Path("secret"), Path("pages/book"))
by_name = pytest.mark.parametrize("text", CORPUS, ids=hostile.trace)
EXTENSIONS = {
    *("amsmath", "attrs_block", "attrs_inline", "colon_fence", "deflist", "dollarmath"),
    *("fieldlist", "html_admonition", "html_image", "linkify", "strikethrough", "substitution"),
    "tasklist",
}
"""All that MyST can be told to read, far more than the book does."""


@pytest.fixture(scope="module")
def markdown():
    """Turns MyST to HTML, with every extension; pages are made by the same parser."""
    from markdown_it.renderer import RendererHTML
    from myst_parser.config.main import MdParserConfig
    from myst_parser.parsers.mdit import create_md_parser

    config = MdParserConfig(enable_extensions=EXTENSIONS)
    return create_md_parser(config, RendererHTML).render


PLACES = {
    "a paragraph": ("{}", "<p>{}</p>"),
    "a sentence": ("Made on {}, in one go.", "<p>Made on {}, in one go.</p>"),
    "a list": ("- {}", "<ul>\n<li>{}</li>\n</ul>"),
    "words that are stressed": ("**{}**", "<p><strong>{}</strong></p>"),
}


def shown(made: str) -> str:
    return html.unescape(made).strip()


@by_name
@pytest.mark.parametrize("place", PLACES)
def test_a_text_is_shown_as_it_is_and_is_no_markup(place, text, markdown):
    before, after = PLACES[place]
    made = markdown(before.format(foreign.text(text)))
    assert shown(made) == after.format(foreign.plain(text))
    assert len(re.findall("<[a-z]", made)) == len(re.findall("<[a-z]", after))


@by_name
def test_a_text_stays_in_its_cell(text, markdown):
    frame = pd.DataFrame({text: [text, "next"], "b": ["c", text]})
    written = foreign.table(frame, "tab-a", "A caption").splitlines()
    assert written[:3] == [":::{table} A caption", ":name: tab-a", ""] and written[-1] == ":::"
    made = markdown("\n".join(written[3:-1]))
    cells = re.findall(r"<t[hd](?: [^>]*)?>(.*?)</t[hd]>", made, re.DOTALL)
    plain = foreign.plain(text)
    assert list(map(shown, cells)) == [plain, "b", plain, "c", "next", plain]
    assert not [cell for cell in cells if "<" in cell]


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40) | st.text("ab.:/*_[](){}<>!#&=+-`~|$\\@^%1 \n\t", max_size=40))
def test_no_text_at_all_is_markup(markdown, text):
    made = markdown(f"a {foreign.text(text)} b\n\n{foreign.text(text)}")
    assert not re.findall(r"<(?!/?p>)\S", made)
    paragraphs = [shown(part) for part in re.findall("<p>(.*?)</p>", made, re.DOTALL)]
    plain = foreign.plain(text)
    assert paragraphs[0].split() == ["a", *plain.split(), "b"]
    assert paragraphs[1:] == ([plain] if plain else [])


def test_what_looks_like_the_address_of_a_site_is_no_link(markdown):
    for name in ("0.GL", "a.com", "x.name", "a.РФ", "a.xn--p1ai", "foo.info:80", "b.shop/c"):
        made = markdown(f"a {foreign.text(name)} b")
        assert made == f"<p>a {name} b</p>\n"


def test_ordinary_names_are_left_as_they_are():
    for name in ("AMD EPYC", "2.15.0+cu132", "−3.80 [−8.36, 0.76] points", "conv1.weight", "2:4"):
        assert foreign.text(name) == name
    assert foreign.text("1. a") == "1&#46; a" and foreign.text("-0.5") == "-0.5"


def test_a_cell_that_our_own_code_wrote_in_myst_is_left_as_it_is():
    frame = pd.DataFrame({"a": [foreign.Markup("[x](https://a.example)"), "[x](y)"], "n": [1.5, 2]})
    body = foreign.table(frame, "tab-a", "A")
    assert "| [x](https://a.example) |" in body and "| [x&#93;(y)" in body and "| 1.5 |" in body


@by_name
def test_a_name_as_code_and_a_link_hold_nothing_else(text, markdown):
    assert re.fullmatch(r"<p><code>[\w.:+? -]+</code></p>", shown(markdown(foreign.code(text))))
    made = markdown(foreign.link(text, f"https://a.example/{text}"))
    assert re.fullmatch(r'<p><a href="https://a\.example/[^"]*">[^<]*</a></p>\n', made)
    assert shown(made).endswith(f"{foreign.plain(text)}</a></p>")
    assert foreign.link(text, "javascript:alert(1)") == foreign.text(text)


@by_name
def test_a_label_of_a_figure_is_no_mathematics(text):
    from matplotlib.cbook import is_math_text

    label = foreign.plain(text)
    assert not is_math_text(label) and "\\" not in label and len(label) <= foreign.LONGEST
    assert label.isprintable()


@by_name
def test_json_ends_no_script(text):
    made = foreign.script({text: [text]})
    assert json.loads(made) == {text: [text]}
    assert not re.search("[<>&\u2028\u2029]", made)


@by_name
def test_no_spreadsheet_finds_a_formula(text):
    frame = pd.DataFrame({text: [text], "n": [-1.5]})
    content = foreign.csv_text(frame)
    rows = list(csv.reader(io.StringIO(content)))
    assert [len(row) for row in rows] == [2, 2] and rows[1][1] == "-1.5"
    for cell in re.split("[;\t\r\n]", rows[0][0]):
        assert not cell.strip().startswith(tuple("=+-@\uff1d"))
    assert foreign.formulas(content) == [] and foreign.defused(content) == content


def test_formulas_are_found_and_taken_from_a_file_and_numbers_are_none():
    content = 'a,b\n-0.5,"=1+1"\n+3e-5,x\n'
    assert foreign.formulas(content) == ["=1+1"]
    assert foreign.defused(content) == "a,b\n-0.5,'=1+1\n+3e-5,x\n"
    for path in (paths.ROOT / "results").glob("*/*.csv"):
        text = path.read_text(encoding="utf-8")
        assert foreign.defused(text) == text, path


def test_tables_of_the_committed_chapters_need_no_escape():
    """They were written with these functions, and what they show is ordinary."""
    cells = 0
    for path in paths.NOTEBOOKS.glob("*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", ()):
                text = "".join(output.get("data", {}).get("text/markdown", ""))
                rows = text.splitlines() if ":::{table}" in text else []
                for row in (row for row in rows if re.match(r"\|[^:|]", row)):
                    for found in map(str.strip, row.strip("|").split("|")):
                        cells += 1
                        assert foreign.text(found) == found or found.startswith("["), path
    assert cells > 500


# --- and nothing else does ---------------------------------------------------------------------

WRITES = {"to_markdown", "to_html", "to_csv", "to_latex", "HTML", "Javascript", "Latex", "Template"}
EVALUATES = {"eval", "exec", "compile", "system", "popen", "__import__", "unsafe_load"}


def called(source: Path) -> set[str]:
    """The names of the functions that a module calls, without the `eval()` of a network."""
    nodes = [n for n in ast.walk(ast.parse(source.read_text())) if isinstance(n, ast.Call)]
    names = {node.func.id for node in nodes if isinstance(node.func, ast.Name)}
    methods = {node.func.attr for node in nodes if isinstance(node.func, ast.Attribute)}
    return names | methods - {"eval", "compile"}


def test_no_other_module_writes_tables_or_html_and_none_evaluates():
    core = paths.ROOT / "randprune_core"
    sources = [*core.rglob("*.py"), *(paths.ROOT / "benchmarks").glob("*.py")]
    writers = {source.stem for source in sources if called(source) & WRITES}
    assert len(sources) > 50 and writers == {"foreign"}
    assert [source for source in sources if called(source) & EVALUATES] == []


def test_the_book_reads_markdown_without_extensions_that_evaluate_or_make_links_of_text():
    config = yaml.safe_load((paths.ROOT / "_config.yml").read_text())
    enabled = set(config["parse"]["myst_enable_extensions"])
    assert enabled <= {"amsmath", "colon_fence", "dollarmath"}
    assert config["execute"]["execute_notebooks"] == "off"
    running = {"matplotlib.sphinxext.plot_directive", "sphinx.ext.ifconfig", "jupyter_sphinx"}
    assert not running & set(config["sphinx"]["config"]["extensions"])
