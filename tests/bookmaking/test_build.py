"""The book is staged and rendered; what has not changed is left alone."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from randprune_core import paths
from randprune_core.bookmaking import build, notebooks

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


# ---------------------------------------------------------------- the book itself


def toc_pages() -> list[str]:
    toc = yaml.safe_load((REPOSITORY / "_toc.yml").read_text())
    return [toc["root"]] + [page["file"] for part in toc["parts"] for page in part["chapters"]]


def test_toc_lists_every_chapter_notebook():
    listed = [Path(page).name for page in toc_pages() if page.startswith("notebooks/")]
    not_yet_run = ["11_imagenet", "13_cifar100_and_vgg"]  # at the end of the book
    assert listed[-2:] == not_yet_run
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
