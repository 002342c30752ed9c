"""The book built from hostile records, notes and CSVs: nothing runs, leaks or becomes markup.

Validation is switched off, so that the texts get to every page: the pages must not rely on it.
"""

import base64
import json
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import hostile
import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import picture, redirect_store, store_record

from randprune_core import paths
from randprune_core.analysis import claims
from randprune_core.bookmaking import boxes, build, notebooks
from randprune_core.chapters.shared import tables
from randprune_core.chapters.shared.records import Records, collect_records
from randprune_core.config import config_to_dict, run_id
from randprune_core.records import failures
from randprune_core.records import store as store_module
from randprune_core.sweeps import grids

pytestmark = pytest.mark.slow

PROFILE, SEEDS = "cpu", list(range(10))
LABELS = ("cite", "sec-rerun-chapter", "chapter-scorecard")
SCORECARD_TEXTS = ("profile", "variant", "statement", "unit", "kind", "why", "part")
INTRO = "(intro)=\n# First page\n\n% generated badges\n\n% generated scorecard\n"
PROVENANCE = "(provenance)=\n# Provenance\n\n% generated\n"
CHAPTER = """\
records = common.collect_records("depth", profile=profile)
records.summary()"""


def cell(kind: str, name: str, source: str, *outputs: dict, **metadata) -> dict:
    made = {"cell_type": kind, "id": name, "metadata": metadata, "source": source.splitlines(True)}
    return made | ({"execution_count": None, "outputs": list(outputs)} if kind == "code" else {})


def output(**data) -> dict:
    data = {name.replace("_", "/"): text for name, text in data.items()}
    return {"output_type": "display_data", "data": data, "metadata": {}}


def chapter(records: Records) -> dict:
    """Chapter 01 in short, with the outputs that its cells give for these records."""
    figure = base64.b64encode(picture(np.zeros((2, 2, 3), "uint8"))).decode()
    table = tables.show_table(tables.provenance(records.runs), "tab-here", "Where runs were made.")
    cells = [
        cell("markdown", "title", "(chapter-depth)=\n# Depth"),
        cell("code", "values", 'profile = "auto"', tags=["parameters"]),
        cell("code", "collect", CHAPTER, output(text_markdown=records.summary().data)),
        cell("code", "scales-figure", "plt.show()", output(image_png=figure)),
        cell("markdown", "data", "{download}`depth.csv </results/figures/depth.csv>`"),
        cell(
            "code",
            "where",
            "common.show_table(common.provenance(records.runs))",
            output(text_markdown=table.data),
            mystnb={"markdown_format": "myst"},
        ),
    ]
    return {"cells": cells, "metadata": notebooks._METADATA, "nbformat": 4, "nbformat_minor": 5}


def fill_store(texts: list[str]) -> None:
    """A record and a note for each text, full of it, and two figure CSVs."""
    free = iter(grids.grid("depth", PROFILE, seeds=SEEDS, variant="jpeg75"))
    for text in texts:
        store_record(hostile.poisoned_record(next(free), text))
        config = next(free)
        note = {"schema": 1, "run_id": run_id(config), "config": config_to_dict(config)}
        paths.FAILED.mkdir(parents=True, exist_ok=True)
        path = paths.failed_path(run_id(config))
        path.write_text(json.dumps(note | {"error": text, text: text}))
    paths.FIGURES.mkdir(parents=True)
    for file in ("scorecard.csv", "scorecard_parts.csv"):
        table = pd.read_csv(paths.ROOT / "results" / "figures" / file)
        for name in table.columns.intersection(SCORECARD_TEXTS):
            table[name] = [texts[row % len(texts)] for row in range(len(table))]
        table.to_csv(paths.FIGURES / file, index=False)
    pd.DataFrame({"words": texts}).to_csv(paths.FIGURES / "depth.csv", index=False)


def small_book(staging: Path) -> None:
    """Reduce a staging folder to the pages with texts of records."""
    labels = [
        *LABELS,
        *dict.fromkeys(claims.CHAPTERS.values()),
    ]
    targets = [f"({label})=\n## {label}\n" for label in labels if label != "chapter-depth"]
    pages = {"intro": INTRO, "provenance": PROVENANCE + "\n" + "\n".join(targets)}
    pages |= {"api": "# Names\n\n% generated\n", "cite": "# Cite\n\n% generated\n"}
    pages["explorer"] = "# Explorer\n\n" + _raw((staging / "book" / "explorer.md").read_text())
    for name, text in pages.items():
        (staging / "book" / f"{name}.md").write_text(text)
    files = ["book/provenance", "book/explorer", "notebooks/01_depth"]
    toc = {"format": "jb-book", "root": "book/intro", "chapters": [{"file": f} for f in files]}
    (staging / "_toc.yml").write_text(yaml.safe_dump(toc))


def _raw(page: str) -> str:
    return "```{raw} html" + page.partition("```{raw} html")[2].partition("\n```")[0] + "\n```\n"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The book of hostile texts: `html`, `texts`, `marker`, `secret` and `staging`."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        folder = tmp_path_factory.mktemp("hostile")
        redirect_store(monkeypatch, folder / "results")
        monkeypatch.setattr(paths, "BUILD", folder / "_build")
        for module, name in ((store_module, "record_problem"), (failures, "note_problem")):
            monkeypatch.setattr(module, name, lambda *_: "", raising=False)
        marker, secret = folder / "marker", folder / "secret.txt"
        secret.write_text(hostile.SECRET)
        secret.with_name("secret.txt.png").write_bytes(hostile.SECRET.encode())
        texts = hostile.texts(marker, secret, folder / "_build" / "staging" / "book")
        fill_store(texts)
        executed = folder / "01_depth.ipynb"
        records = collect_records("depth", profile=PROFILE, seeds=SEEDS)
        executed.write_text(json.dumps(chapter(records)))
        monkeypatch.setattr(boxes, "chapter_records", lambda _: [records])
        staging = build.stage({"01_depth": executed})
        small_book(staging)
        build.make_pages(staging, {"01_depth": executed})
        try:
            html, warned = build.render(staging).parent, False
        except RuntimeError:  # what a text did is looked at nevertheless
            html, warned = paths.BUILD / "html", True
        yield SimpleNamespace(html=html, texts=texts, marker=marker, warned=warned)


def test_sphinx_has_nothing_to_warn_of(built):
    assert not built.warned


def test_nothing_is_executed(built):
    assert not built.marker.exists()


def test_no_file_from_outside_is_published(built):
    files = [path for path in built.html.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert [p for p in files if hostile.SECRET.encode() in p.read_bytes()] == []
    assert [p for p in files if "secret" in p.name] == []


def test_a_csv_to_download_holds_no_formula(built):
    from randprune_core.presentation import foreign

    found = list(built.html.rglob("*.csv"))
    assert {path.name for path in found} == {"depth.csv", "01_depth_runs.csv"}
    for path in found:
        content = path.read_text(encoding="utf-8")
        assert foreign.formulas(content) == [] and "formula1" in content


PAGES = {"intro": 0, "provenance": 3, "explorer": 0, "01_depth": 2}
"""Pages, and how often at least each text is shown there."""


@pytest.fixture(scope="module")
def opened(browser, built):
    """What a browser makes of each page: `text`, `elements`, and what it was asked to load."""
    found = {}
    for name in PAGES:
        folder = "notebooks" if name == "01_depth" else "book"
        page = browser.new_page()
        asked, alerts = [], []
        page.on("request", lambda request, asked=asked: asked.append(request.url))
        page.on("dialog", lambda dialog, alerts=alerts: (alerts.append(1), dialog.dismiss()))
        page.goto((built.html / folder / f"{name}.html").as_uri(), wait_until="load")
        page.wait_for_timeout(300)
        if name == "explorer":
            page.evaluate(WALK)
        page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        facts = page.evaluate(LOOK)
        found[name] = SimpleNamespace(**facts, asked=asked, alerts=alerts)
        page.close()
    return found


WALK = """() => {  // the metrics of the explorer with markup in their names are drawn
  for (const option of [...document.getElementById("explorer-metric").options]) {
    if (!/<(script|img|svg)/.test(option.value)) continue;
    const list = document.getElementById("explorer-metric");
    list.value = option.value;
    list.dispatchEvent(new Event("change"));
  }
}"""
LOOK = """() => {
  const all = [...document.querySelectorAll("main *")];
  const does = ({ name, value }) => /^on/.test(name)
    ? /hostile|^x$/.test(value)
    : name !== "value" && /javascript:|evil|secret/.test(value);
  const bad = (node) => [...node.attributes].some(does);
  return {
    ran: window.hostile !== undefined,
    bad: all.filter(bad).map((node) => node.outerHTML.slice(0, 200)),
    foreign: all.filter((node) => /^(iframe|object|embed|form|base|meta)$/i.test(node.tagName)
      && !node.closest("#explorer-root")).map((node) => node.outerHTML.slice(0, 200)),
    maths: document.querySelectorAll("mjx-container, .math").length,
    cells: [...document.querySelectorAll("main td *, .cell_output li *")]
      .filter((node) => !/^(P|CODE|SPAN|A)$/i.test(node.tagName))
      .map((node) => node.outerHTML.slice(0, 200)),
    text: document.querySelector("main").textContent,
  };
}"""


@pytest.mark.parametrize("name", PAGES)
def test_no_text_is_live_in_a_browser(opened, name):
    page = opened[name]
    assert not page.ran and page.alerts == []
    assert [url for url in page.asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert (page.bad, page.foreign, page.cells, page.maths) == ([], [], [], 0)


def words(text: str) -> str:
    """A text without punctuation, of which Sphinx sets quotes and dashes as a printer would."""
    return " ".join(re.findall(r"\w+", text))


@pytest.mark.parametrize("name", [name for name, least in PAGES.items() if least])
def test_every_text_is_shown_as_it_is(opened, built, name):
    from randprune_core.presentation import foreign

    page = words(opened[name].text)
    for text in built.texts:
        assert page.count(words(foreign.plain(text))) >= PAGES[name], text


def test_a_hostile_verdict_or_claim_is_refused_by_name(store):
    from randprune_core.bookmaking import intro

    paths.FIGURES.mkdir(parents=True)
    figures = paths.ROOT / "results" / "figures"
    good = (figures / "scorecard.csv").read_text(encoding="utf-8")
    shutil.copy(figures / "scorecard_parts.csv", paths.FIGURES)
    (paths.FIGURES / "scorecard.csv").write_text(good)
    assert "grid-item-card" in intro.scorecard()
    for verdict in ("{{ 7 * 7 }}", "<script>", "`x`"):
        (paths.FIGURES / "scorecard.csv").write_text(good.replace("undecided", verdict))
        with pytest.raises(ValueError, match=r"scorecard\.csv: not the scorecard of chapter 11"):
            intro.scorecard()


@pytest.mark.parametrize("relative", [False, True])
def test_a_link_that_leads_outside_is_not_staged(store, tmp_path, monkeypatch, relative):
    monkeypatch.setattr(paths, "BUILD", tmp_path / "_build")
    secret = tmp_path / "secret.csv"
    secret.write_text(hostile.SECRET)
    paths.FIGURES.mkdir(parents=True)
    (paths.FIGURES / "depth.csv").symlink_to("../../secret.csv" if relative else secret)
    with pytest.raises(ValueError, match=r"figures/depth\.csv leads out of"):
        build.stage({})
    shutil.rmtree(paths.BUILD, ignore_errors=True)
    assert os.path.exists(secret)
