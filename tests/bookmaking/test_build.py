"""The book is staged and rendered; what has not changed is left alone."""

import hashlib
import re
import subprocess
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import pytest
import yaml
from PIL import Image

from randprune_core import paths
from randprune_core.bookmaking import archive, build, notebooks, repository, summary

REPOSITORY = paths.ROOT


# ---------------------------------------------------------------- staging and rendering


def test_stage_mirrors_the_book_under_its_relative_paths(project):
    (project / "book/_static").mkdir()
    for name in ("_config.yml", "_toc.yml", "book/intro.md", "book/_static/a.css"):
        (project / name).write_text(name)
    (project / "results/figures/depth.csv").write_text("1")
    executed = project / "_build/executed/01_a.ipynb"
    executed.parent.mkdir(parents=True)
    executed.write_text("{}")
    stale = project / "_build/staging/book/removed.md"
    stale.parent.mkdir(parents=True)
    stale.write_text("old")

    staging = build.stage({"01_a": executed})

    found = {str(p.relative_to(staging)) for p in staging.rglob("*") if p.is_file()}
    assert found == {
        "_config.yml",
        "_toc.yml",
        "book/intro.md",
        "book/_static/a.css",
        "notebooks/01_a.ipynb",
        "results/figures/depth.csv",
    }
    assert (staging / "book/intro.md").read_text() == "book/intro.md"


def test_moved_results_have_the_same_place_in_the_book(project, monkeypatch, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for name, folder in (("RESULTS", ""), ("FIGURES", "figures"), ("BENCHMARKS", "benchmarks")):
        monkeypatch.setattr(paths, name, elsewhere / folder)
    published = "randprune_core/published/figure1.csv"
    names = (published, "results/benchmarks/a.csv", "results/benchmarks/b.csv")
    moved = (elsewhere / "figures/depth.csv", elsewhere / "benchmarks/b.csv")
    for file in (*moved, *(project / name for name in names)):
        file.parent.mkdir(exist_ok=True)
        file.write_text("moved" if file in moved else "committed")
    staging = build.stage({})
    found = {str(p.relative_to(staging)): p.read_text() for p in staging.rglob("*") if p.is_file()}
    committed = dict.fromkeys(names[:2], "committed")
    assert found == {names[2]: "moved", "results/figures/depth.csv": "moved"} | committed


def small_book(project: Path, text: str) -> Path:
    """A staging folder with one page and the project's own configuration."""
    staging = project / "_build" / "staging"
    (staging / "book" / "_static" / "mathjax").mkdir(parents=True)
    (staging / "_config.yml").write_bytes((REPOSITORY / "_config.yml").read_bytes())
    (staging / "_toc.yml").write_text("format: jb-book\nroot: book/intro\n")
    (staging / "book" / "references.bib").write_text("@misc{a, title={A}, author={B}, year=2022}\n")
    for name in ("book.css", "favicon.svg"):
        content = (REPOSITORY / "book" / "_static" / name).read_bytes()
        (staging / "book" / "_static" / name).write_bytes(content)
    (staging / "book" / "intro.md").write_text(f"# Title\n\n{{cite}}`a` {text}\n\n")
    with (staging / "book" / "intro.md").open("a") as page:
        page.write("```{bibliography}\n```\n")
    return staging


def test_broken_reference_fails_the_build_and_is_not_remembered(project, capsys):
    staging = small_book(project, "{numref}`fig-missing`")
    with pytest.raises(RuntimeError, match="book was not built"):
        build.render(staging)
    assert "fig-missing" in capsys.readouterr().err
    assert not (project / "_build" / "html.sha256").exists()


def test_unchanged_staging_folder_is_not_built_again(project, monkeypatch):
    staging = small_book(project, "and text")
    index = build.render(staging)
    assert index == project / "_build/html/index.html"
    assert "and text" in (index.parent / "book" / "intro.html").read_text()

    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("Sphinx was started"))
    assert build.render(staging) == index
    (staging / "book" / "intro.md").write_text("# Other\n")
    with pytest.raises(pytest.fail.Exception, match="Sphinx was started"):
        build.render(staging)


class Head(HTMLParser):
    """The `meta` tags of a page by their name, with its first heading and its canonical address."""

    def __init__(self, page: Path):
        super().__init__()
        self.meta, self.heading, self.canonical = {}, "", None
        self._in_heading = False
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "meta" and (name := values.get("name") or values.get("property")):
            self.meta[name] = values["content"]
        if tag == "link" and values.get("rel") == "canonical":
            self.canonical = values["href"]
        self._in_heading |= tag == "h1" and not self.heading

    def handle_endtag(self, tag):
        self._in_heading &= tag != "h1"

    def handle_data(self, data):
        if self._in_heading and data != "#":
            self.heading += data


def test_shared_link_of_a_published_book_has_whole_addresses(project):
    staging = small_book(project, "and text")
    layout = (REPOSITORY / "book" / "_templates" / "layout.html").read_bytes()
    (staging / "book" / "_templates").mkdir()
    (staging / "book" / "_templates" / "layout.html").write_bytes(layout)
    page = staging / "book" / "intro.md"
    page.write_text(f'---\ndescription: "Costs < 1 % & \\"more\\""\n---\n{page.read_text()}')
    home = repository.Repository("Some-One", "pruning")
    repository.show_repository(staging / "_config.yml", home)
    index = build.render(staging)
    for place in (index, index.parent / "book" / "intro.html"):
        head = Head(place)
        assert head.meta["description"] == head.meta["og:description"] == 'Costs < 1 % & "more"'
        assert head.meta["og:title"] == "Title"
        site = "https://some-one.github.io/pruning/"
        assert head.meta["og:image"] == f"{site}_static/social-card.png"
        assert head.meta["og:url"] == head.canonical == f"{site}book/intro.html"


# ---------------------------------------------------------------- the book itself


def toc_pages() -> list[str]:
    toc = yaml.safe_load((REPOSITORY / "_toc.yml").read_text())
    return [toc["root"]] + [page["file"] for part in toc["parts"] for page in part["chapters"]]


def test_toc_lists_every_chapter_notebook():
    listed = [Path(page).name for page in toc_pages() if page.startswith("notebooks/")]
    not_yet_run = ["12_imagenet", "13_cifar100_and_vgg", "14_speed"]  # at the end of the book
    assert listed[-3:] == not_yet_run
    assert sorted(listed) == list(notebooks.chapters())


@pytest.mark.parametrize("page", toc_pages())
def test_page_of_the_book_exists_with_its_pictures_and_links(html, page):
    path = html / f"{page}.html"
    text = path.read_text()
    local = [
        target
        for target in re.findall(r'(?:src|href)="([^"#?]+)', text)
        if not re.match(r"(https?|mailto|data|javascript):", target)
    ]
    assert local
    assert [target for target in local if not (path.parent / target).exists()] == []


def test_pages_load_nothing_from_another_host(html):
    loads = re.compile(r"""<(?:script|img|link|iframe)\b[^>]*(?:src|href)=["'](?:https?:)?//""")
    assert [page for page in html.rglob("*.html") if loads.search(page.read_text())] == []
    assert (html / "_static" / "mathjax" / "tex-svg.js").stat().st_size > 1_000_000


def test_second_build_of_the_book_starts_no_process(html, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))
    assert build.build_book() == html / "index.html"


def test_every_page_describes_itself_in_words_of_its_own(html):
    pages = [*(html / f"{page}.html" for page in toc_pages()), html / "index.html"]
    heads = {page: Head(page) for page in pages}
    descriptions = [head.meta["description"] for head in heads.values()]
    assert all(50 <= len(text) <= 170 for text in descriptions)
    assert len(set(descriptions)) == len(pages) - 1  # index.html leads to the first page
    assert heads[pages[-1]].meta["description"] == descriptions[0]
    for head in heads.values():
        title = re.sub(r"^\d+\. ", "", head.meta["og:title"])  # chapters are numbered
        assert head.heading in ("", title)
    others = {html / "search.html": Head(html / "search.html")}
    for page, head in (heads | others).items():
        meta = head.meta
        assert meta["og:title"] == meta["twitter:title"] != ""
        assert meta["og:description"] == meta["twitter:description"] == meta["description"]
        assert meta["twitter:card"] == "summary_large_image"
        assert meta["twitter:image"] == meta["og:image"]
        assert "og:url" not in meta and head.canonical is None  # no home is known
        picture = page.parent / meta["og:image"]
        assert picture.resolve() == html / "_static" / summary.CARD
        with Image.open(picture) as found:
            assert [*map(str, found.size)] == [meta["og:image:width"], meta["og:image:height"]]


def downloads(page: Path) -> dict[str, Path]:
    """The files that a page offers, by their names."""
    found = re.findall(r'<a class="[^"]*download[^"]*"[^>]*href="([^"]+)"', page.read_text())
    return {Path(name).name: page.parent / name for name in found}


def test_archive_holds_the_data_of_the_book_and_has_the_checksum_beside_its_link(html):
    page = html / "book" / "provenance.html"
    packed = downloads(page)[archive.NAME]
    assert hashlib.sha256(packed.read_bytes()).hexdigest() in page.read_text()
    with zipfile.ZipFile(packed) as content:
        assert content.testzip() is None
        top = archive.NAME.removesuffix(".zip")
        found = {name.removeprefix(f"{top}/"): content.read(name) for name in content.namelist()}
    named = [path for path in paths.RUNS.rglob("*.json") if path.parent.name != "digits"]
    assert len(named) > 0
    folders = (paths.FIGURES, paths.COMMITTED_BENCHMARKS, paths.PAPER)
    named += [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    named += [paths.ROOT / name for name in ("results/README.md", "LICENSE", "CITATION.cff")]
    expected = {path.relative_to(paths.ROOT).as_posix(): path.read_bytes() for path in named}
    assert found == expected


def test_first_page_offers_the_summary(html):
    content = downloads(html / "book" / "intro.html")[summary.PDF].read_bytes()
    assert content.startswith(b"%PDF-") and content == summary.pdf(summary.collect(), None)


def test_every_entry_of_the_bibliography_leads_to_the_work(html):
    text = (html / "book" / "bibliography.html").read_text()
    entries = re.findall(r'<div class="citation".*?</div>', text, re.DOTALL)
    assert len(entries) > 20
    assert [entry for entry in entries if 'href="https://' not in entry] == []
    bib = (paths.BOOK / "references.bib").read_text(encoding="utf-8")
    for number in re.findall(r"^  eprint +=.*\{([\d.]+)\}", bib, re.MULTILINE):
        assert urljoin("https://arxiv.org/abs/", number) in text, number
