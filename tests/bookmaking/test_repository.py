"""One setting, `repository.url`, makes every link to the published book; unset, there is none."""

import copy
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from randprune_core import paths
from randprune_core.bookmaking import boxes, build, cite, notebooks, repository
from randprune_core.bookmaking.repository import LAUNCH_BRANCH, Repository

URL = "https://github.com/someone/pruning"
HOME = Repository("someone", "pruning", "main")


def config_with(tmp_path: Path, **values) -> Path:
    file = tmp_path / "_config.yml"
    file.write_text(yaml.safe_dump({"html": {}, "repository": values} if values else {"html": {}}))
    return file


@pytest.mark.parametrize("values", [{}, {"url": ""}, {"url": None, "branch": "main"}])
def test_no_address_is_no_repository(tmp_path, values):
    assert repository.repository(config_with(tmp_path, **values)) is None


@pytest.mark.parametrize("url", [URL, f"{URL}/", f"{URL}.git"])
def test_address_is_read_with_its_usual_endings(tmp_path, url):
    found = repository.repository(config_with(tmp_path, url=url))
    assert (found, found.url) == (HOME, URL)


@pytest.mark.parametrize("url", ["github.com/a/b", "https://example.org/a/b", f"{URL}/tree/main"])
def test_other_addresses_are_refused_by_name(tmp_path, url):
    with pytest.raises(ValueError, match=re.escape(url)):
        repository.repository(config_with(tmp_path, url=url))


@pytest.mark.parametrize("branch", ['a", "b', "a b", "-f", "a;b", "../{x}", "<b>", 7, "a\nb"])
def test_a_branch_that_could_be_more_than_a_name_is_refused(tmp_path, branch):
    with pytest.raises(ValueError, match="repository.branch in _config.yml is "):
        repository.repository(config_with(tmp_path, url=URL, branch=branch))
    assert repository.repository(config_with(tmp_path, url=URL, branch="a/b-1.x")).branch


def test_a_commit_stays_in_its_place_in_an_address():
    assert HOME.commit("../x?<a>") == f"{URL}/commit/..%2Fx%3F%3Ca%3E"


def test_the_committed_book_names_no_repository_or_one_on_github():
    home = repository.repository()
    assert home is None or home.url.startswith("https://github.com/")


def links(text: str) -> set[str]:
    """Every address outside of BibTeX braces, quotes and Markdown brackets."""
    return set(re.findall(r"https://[^\s<>(){}`\"',]+", text))


def test_without_a_repository_no_page_has_a_link_of_it():
    notebook = notebooks.read_notebook(notebooks.chapter("14_speed"))
    boxed = boxes.add_boxes(notebook, "14_speed", no_runs(), None, Path("unused"))
    assert links("".join(boxed["cells"][-1]["source"])) == set()
    assert links(cite.companion(None)) == set()
    assert repository.badges(None) == ""


def test_every_link_of_a_chapter_leads_to_what_exists(tmp_path):
    from randprune_core.records.table import load_runs

    name = "03_calibration"
    notebook = notebooks.read_notebook(notebooks.chapter(name))
    runs = load_runs(dataset="cifar10")
    boxed = boxes.add_boxes(notebook, name, runs, HOME, tmp_path)
    text = "".join("".join(boxed["cells"][place]["source"]) for place in (1, -1))
    found = links(text)
    on_github = {link for link in found if link.startswith(URL)}
    binder, colab = sorted(found - on_github, reverse=True)

    path = f"notebooks/{name}.ipynb"
    assert binder == f"https://mybinder.org/v2/gh/someone/pruning/main?urlpath=lab/tree/{path}"
    assert colab == (
        f"https://colab.research.google.com/github/someone/pruning/blob/{LAUNCH_BRANCH}/{path}"
    )
    commits = {link for link in on_github if "/commit/" in link}
    assert {link.rpartition("/")[2] for link in commits} <= set(runs["provenance.commit"])
    for link in on_github - commits:
        kind, branch, *rest = link.removeprefix(f"{URL}/").split("/")
        assert (kind, branch) in {("blob", "main"), ("tree", "main")}
        assert (paths.ROOT / "/".join(rest)).exists(), link

    table = (tmp_path / boxes.runs_file(name)).read_text()
    records = {link for link in links(table) if link.startswith(f"{URL}/blob/main/")}
    assert len(records) == len(table.splitlines()) - 1 > 0
    assert all((paths.ROOT / link.removeprefix(f"{URL}/blob/main/")).is_file() for link in records)


def no_runs():
    from randprune_core.records.table import records_to_frame

    return records_to_frame([])


def test_citations_have_the_address_only_when_it_is_set():
    assert f"{{{URL}}}" in cite.companion(HOME)
    assert f"{URL}/blob/main/notebooks/01_depth.ipynb" in cite.chapter("01_depth", "Depth", HOME)
    entry = cite.chapter("02_width", "At 90 % sparsity", None)
    assert r"{At 90 \% sparsity}" in entry  # a bare one begins a comment in TeX
    assert "url" not in cite.companion(None) + cite.chapter("01_depth", "Depth", None)


def test_the_theme_gets_its_buttons_in_the_staging_folder(tmp_path):
    staged = tmp_path / "_config.yml"
    staged.write_bytes((paths.ROOT / "_config.yml").read_bytes())
    repository.show_repository(staged, HOME)
    settings = yaml.safe_load(staged.read_text())
    assert settings["repository"]["url"] == URL
    assert settings["html"]["use_repository_button"] is True
    assert settings["sphinx"] == yaml.safe_load((paths.ROOT / "_config.yml").read_text())["sphinx"]


# ---------------------------------------------------------------- the launched copies


def test_colab_opens_the_branch_that_the_workflow_writes():
    workflow = (paths.ROOT / ".github" / "workflows" / "book.yml").read_text()
    assert f"--initial-branch {LAUNCH_BRANCH}" in workflow
    assert "path: _build/launch" in workflow


@pytest.fixture
def first_cell(tmp_path) -> str:
    """The first cell of a launched chapter, whose repository is a folder with one file."""
    origin = tmp_path / "origin"
    git = ["git", "-C", str(origin), "-c", "user.name=x", "-c", "user.email=x@localhost"]
    subprocess.run(["git", "init", "-q", "-b", "main", str(origin)], check=True)
    (origin / "randprune_core.py").write_text("NAME = 'the cloned core'\n")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "one"], check=True)
    notebook = {"cells": [{"cell_type": "code", "source": []}]}
    launched = repository.launch_copy(copy.deepcopy(notebook), HOME)
    assert launched["cells"][1:] == notebook["cells"]
    return "".join(launched["cells"][0]["source"]).replace(URL, origin.as_uri())


PROBE = """
import importlib.util, json, os, subprocess, sys
real, calls = subprocess.run, []
def run(command, **options):
    calls.append([str(word) for word in command])
    if command[0] == "git":
        real(command, capture_output=True, **options)
subprocess.run = run
if {missing}:
    sys.path[:] = [p for p in sys.path if not os.path.isdir(p + "/randprune_core")]
    importlib.util.find_spec = lambda name: None
exec(sys.stdin.read())
print(json.dumps([calls, __import__("randprune_core").__dict__.get("NAME")]))
"""


@pytest.mark.parametrize("missing", [True, False])
def test_launched_chapter_installs_the_core_where_it_is_missing(tmp_path, first_cell, missing):
    probe = [sys.executable, "-c", PROBE.format(missing=missing)]
    done = subprocess.run(
        probe, input=first_cell, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    calls, name = json.loads(done.stdout)
    if missing:
        assert [call[0] for call in calls] == ["git", sys.executable]
        assert calls[1][1:4] == ["-m", "pip", "install"]
        assert name == "the cloned core"
    else:
        assert (calls, name) == ([], None)


def test_binder_installs_files_that_exist():
    folder = paths.ROOT / "binder"
    for line in (folder / "requirements.txt").read_text().splitlines():
        option, _, target = line.partition(" ")
        if option in ("-c", "-r"):
            assert (folder / target).is_file()
        elif option == "-e":
            assert (paths.ROOT / target / "pyproject.toml").is_file()
        else:
            assert line.startswith("#")
    assert re.fullmatch(r"python-3\.\d+\n", (folder / "runtime.txt").read_text())


def test_page_is_filled_with_what_is_made_for_it(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n% generated\nb % generated\n% generated cards\n")
    build.fill_page(page, {None: "first", "cards": "second"})
    assert page.read_text() == "a\nfirst\nb % generated\nsecond\n"
