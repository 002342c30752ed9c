"""The page of a chapter: no digests, code at figures only, one footer; its notebook unchanged."""

import copy

from randprune_core.bookmaking.page_layout import lay_out


def cell(name: str, source: str, *outputs: dict, tags=(), kind="code") -> dict:
    found = {"cell_type": kind, "id": name, "source": [source], "metadata": {"tags": list(tags)}}
    return found | ({"outputs": list(outputs)} if kind == "code" else {})


PRINTED = {"output_type": "stream", "name": "stdout", "text": ["8 panels, digest 0766e34fba6c\n"]}
PICTURE = {"output_type": "display_data", "data": {"image/png": "iVBO", "text/plain": "<Figure>"}}
TABLE = {"output_type": "execute_result", "data": {"text/markdown": ["| a |\n", "|---|"]}}
NOTEBOOK = {
    "cells": [
        cell("title", "(chapter-x)=\n# A title", kind="markdown"),
        cell("imports", "import randprune_core"),
        cell("parameters", 'profile = "auto"  # type: str one\nseeds = None', tags=["parameters"]),
        cell("records", "records.summary()", TABLE, tags=["footer"]),
        cell("answer", "say()", TABLE, tags=["answer"]),
        cell("figure", "draw()", PRINTED, PICTURE),
        cell("count", "print(1)", PRINTED),
        cell("live", "print(2)", PRINTED, tags=["example"]),
        cell("glue", "glue()", TABLE, tags=["remove-cell"]),
        cell("data", "## Data\n\nAll numbers.", tags=["footer"], kind="markdown"),
    ]
}


def page(first="", last=("**Cite.** So.",)) -> list[dict]:
    return lay_out(NOTEBOOK, first, last, "03_x")["cells"]


def test_the_page_has_the_cells_of_a_reader_in_their_order():
    found = [each["id"] for each in page()]
    assert found == ["title", "imports", "answer", "figure", "count", "live", "glue", "boxes-end"]


def test_code_is_folded_at_figures_and_is_not_in_the_page_elsewhere():
    tags = {each["id"]: each["metadata"].get("tags") for each in page()}
    assert tags["figure"] == ["hide-input"]
    assert tags["answer"] == ["answer", "remove-input"]
    assert tags["imports"] == tags["count"] == tags["glue"] == ["remove-cell"]


def test_what_a_cell_prints_is_not_in_the_page():
    found = {each["id"]: each.get("outputs") for each in page()}
    assert found["figure"] == [PICTURE] and found["count"] == []
    assert found["answer"] == [TABLE] and found["glue"] == [TABLE]


def test_an_example_keeps_its_code_and_what_it_prints():
    (found,) = (each for each in page() if each["id"] == "live")
    assert found["outputs"] == [PRINTED] and found["metadata"]["tags"] == ["example"]


def test_one_closed_footer_has_records_data_citation_and_parameters_without_comments():
    *_, last = page()
    words = "".join(last["source"])
    assert words.startswith("::::::{dropdown} ") and words.endswith("\n::::::")
    assert ":name: made-03_x\n" in words and ":open:" not in words
    parts = ("| a |\n|---|", "**Data.**\n\nAll numbers.", "**Cite.** So.", "**Parameters.**")
    places = [words.index(part) for part in parts]
    assert places == sorted(places)
    assert '```python\nprofile = "auto"\nseeds = None\n```' in words


def test_what_stands_below_the_title_is_there_only_if_it_is_given():
    assert "".join(page("a badge")[1]["source"]) == "a badge"
    assert page()[1]["id"] == "imports"


def test_the_given_notebook_is_not_changed():
    before = copy.deepcopy(NOTEBOOK)
    page("a badge")
    assert before == NOTEBOOK
