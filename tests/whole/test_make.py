"""The Makefile in folders with names that a shell splits or evaluates: other folders survive."""

import html
import json
import os
import re
import shutil
import site
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from randprune_core import paths
from randprune_core.analysis import claims
from randprune_core.bookmaking import notebooks

ODD = "späce and 'quote'"
NAMES = (ODD, 'a "b" c', "a $x $(touch made) `touch made`", "a;touch made;b", "#1 100% *", "-rf x")
TARGETS = ("setup", "book", "test-notebooks", "notebook", "lab", "lint", "serve", "clean")
# Written to the log as one line an argument; `-m venv` makes a folder with the same program in it.
PYTHON = f"""#!/bin/sh
printf '%s\\n' "$@" >> "$LOG"
case "$*" in
  "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; exit ;;
  *"print(sys.executable)"*) echo "$0"; exit ;;
  *version_info*) exec {sys.executable} "$@" ;;
esac
"""
UV = """#!/bin/sh
printf '%s\\n' uv "$@" >> "$LOG"
"""


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


class Project:
    """What make needs of the repository in a folder `name`, a sibling for each of its words."""

    def __init__(self, place: Path, name: str):
        self.place, self.folder, self.log = place, place / "here" / name, place / "log"
        self.folder.mkdir(parents=True)
        for file in ("Makefile", "requirements.txt", "constraints.txt"):
            shutil.copy(paths.ROOT / file, self.folder)
        words = {*name.split(), name.split()[0] + "/.venv", *name.split(";"), name.strip("'")}
        self.siblings = [self.folder.parent / word / "precious" for word in words - {"*", name}]
        for sibling in self.siblings:
            sibling.parent.mkdir(parents=True, exist_ok=True)
            sibling.write_text("kept")
        program(place / "bin" / "python3", PYTHON)
        program(place / "bin" / "uv", UV)
        self.log.touch()

    def make(self, *arguments: str, **more: str) -> subprocess.CompletedProcess:
        before = self.outside()
        environment = {"PATH": f"{self.place / 'bin'}:/usr/bin:/bin", "LOG": str(self.log), **more}
        self.log.write_text("")
        done = subprocess.run(
            ["make", *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert self.outside() == before, done
        assert not list(self.place.rglob("made")), done
        return done

    def outside(self) -> list[str]:
        """Every file and folder but those of the project itself."""
        found = self.place.rglob("*")
        return sorted(str(p) for p in found if not p.is_relative_to(self.folder))

    def logged(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture(params=NAMES)
def project(request, tmp_path):
    return Project(tmp_path, request.param)


def test_set_up_removes_a_broken_environment_and_nothing_else(project):
    stale = project.folder / ".venv" / "stale"
    stale.parent.mkdir()
    stale.write_text("old")
    done = project.make("setup")
    assert done.returncode == 0, done.stderr
    assert not stale.exists() and list((project.folder / ".venv").glob(".installed-*"))
    assert all(sibling.read_text() == "kept" for sibling in project.siblings)
    assert project.logged().count("install") == 2
    assert project.make("setup").returncode == 0 and project.logged() == []


def test_every_target_dry_and_real_leaves_other_folders_alone(project):
    for options in (["-n"], []):
        for target in TARGETS:
            done = project.make(*options, target, "NAME=02_depth")
            assert done.returncode == 0, (target, done.stderr)
    assert project.folder.is_dir()
    both = project.make("setup", "book", "test-notebooks", "notebook", "NAME=02_depth")
    assert both.returncode == 0
    assert project.logged()[-4:] == ["-m", "randprune_core", "notebook", "02_depth"]


def test_only_lab_installs_jupyterlab(tmp_path):
    project = Project(tmp_path, "plain")
    shutil.copy(paths.ROOT / "requirements-lab.txt", project.folder)
    assert project.make("book").returncode == 0
    assert "requirements-lab.txt" not in project.logged()
    done = project.make("lab", "ARGS=--no-browser")
    assert done.returncode == 0, done.stderr
    assert "requirements-lab.txt" in project.logged()
    assert project.logged()[-4:] == ["-m", "jupyterlab", "notebooks", "--no-browser"]
    assert project.make("lab").returncode == 0
    assert project.logged() == ["-m", "jupyterlab", "notebooks"]
    assert not re.search("^jupyterlab", (paths.ROOT / "requirements.txt").read_text(), re.MULTILINE)


HOSTILE = (
    "x; touch made",
    "$(touch made)",
    "`touch made`",
    "a'b",
    'a"b',
    "$(shell touch made)",
    "a b",
)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("how", ["argument", "environment"])
def test_a_name_and_a_port_are_one_word_whatever_is_in_them(tmp_path, name, how):
    project = Project(tmp_path, "plain")
    assert project.make("setup").returncode == 0
    for variable, target in (("NAME", "notebook"), ("PORT", "serve")):
        arguments = [f"{variable}={name}"] if how == "argument" else []
        more = {} if arguments else {variable: name}
        assert project.make(target, *arguments, **more).returncode == 0
        assert name in project.logged()


def test_arguments_of_a_notebook_are_words_of_the_shell(tmp_path):
    project = Project(tmp_path, ODD)
    project.make("setup")
    project.make("notebook", "NAME=02_depth", "ARGS=-p models '[a, b]'")
    assert project.logged()[-4:] == ["02_depth", "-p", "models", "[a, b]"]
    assert project.make("notebook").returncode == 2


@pytest.mark.parametrize("how", ["argument", "environment"])
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ('/da ta/it\'s "here" $x #1', None),
        ("da ta/it's", "{folder}/da ta/it's"),
        ("../shared/data", "{folder}/../shared/data"),
        ("data", "{folder}/data"),
        ("~/da ta", None),
    ],
)
def test_the_data_folder_is_the_one_that_was_named(tmp_path, given, expected, how):
    project = Project(tmp_path, ODD)
    show = tmp_path / "show.mk"
    show.write_text("show:\n\t@printf '%s' \"$$RANDPRUNE_DATA\"\n")
    arguments = [f"RANDPRUNE_DATA={given}"] if how == "argument" else []
    more = {} if arguments else {"RANDPRUNE_DATA": given}
    done = project.make("-f", "Makefile", "-f", str(show), "show", *arguments, **more)
    assert done.stdout == (expected or given).format(folder=project.folder), done.stderr


@pytest.mark.parametrize("name", ["a:b", "a b:c", "a{b}", "a\nb"])
def test_a_folder_in_which_python_cannot_work_is_refused_before_anything_else(tmp_path, name):
    project = Project(tmp_path, name)
    for target in TARGETS:
        done = project.make(target)
        assert done.returncode == 2 and done.stdout == "" and project.logged() == []
        assert done.stderr.count("\n") == 1 and "with a colon, a brace or a line end" in done.stderr
    assert not (project.folder / ".venv" / "bin").exists()


def test_help_lists_the_targets(project):
    listed = project.make("help").stdout
    assert all(f"make {target} " in listed for target in TARGETS)


# --- for real ----------------------------------------------------------------------------------


# Stands in for uv, which would take 6 GB: the new environment sees the packages of this one.
BORROW = f"""#!/bin/sh
for folder in .venv/lib/python3*/site-packages; do
  echo '{site.getsitepackages()[0]}' > "$folder/borrowed.pth"
done
"""
CHAPTER = """\
import matplotlib.pyplot as plt
from randprune_core import paths
from randprune_core.bookmaking import notebooks
figure, axes = plt.subplots(figsize=(1, 1))
print(paths.ROOT.name, paths.data_root().name)
plt.show()"""


def small_copy(folder: Path) -> None:
    """The repository with one short chapter, without records, and with pages of a line each."""
    left_out = shutil.ignore_patterns("runs", "local", "checkpoints", "failed", "__pycache__")
    for name in ("randprune_core", "results"):
        shutil.copytree(paths.ROOT / name, folder / name, ignore=left_out)
    shutil.copytree(paths.BOOK / "_static", folder / "book" / "_static")
    shutil.copy(paths.BOOK / "references.bib", folder / "book")
    for name in ("Makefile", "pyproject.toml", "_config.yml", "LICENSE", "CITATION.cff"):
        shutil.copy(paths.ROOT / name, folder)
    for name in ("requirements.txt", "constraints.txt", "README.md"):
        shutil.copy(paths.ROOT / name, folder)
    labels = dict.fromkeys(claims.CHAPTERS.values())
    targets = [
        f"({label})=\n## {label}\n"
        for label in [*labels, "chapter-scorecard", "sec-rerun-chapter", "cite"]
    ]
    for name in ("api", "cite", "intro", "provenance"):
        (folder / "book" / f"{name}.md").write_text(f"# {name}\n")
    first = "# First page\n\n% generated scorecard\n\n"
    (folder / "book" / "intro.md").write_text(first + "\n".join(targets))
    toc = "format: jb-book\nroot: book/intro\nchapters:\n  - file: notebooks/02_depth\n"
    (folder / "_toc.yml").write_text(toc)
    base = {"metadata": {}, "cell_type": "code", "execution_count": None, "outputs": []}
    cells = [{"cell_type": "markdown", "id": "title", "metadata": {}, "source": "# Depth"}]
    cells.append(base | {"id": "values", "source": "a = 1", "metadata": {"tags": ["parameters"]}})
    cells.append(base | {"id": "accuracy-figure", "source": CHAPTER})
    (folder / "notebooks").mkdir()
    whole = {"cells": cells, "metadata": notebooks._METADATA, "nbformat": 4, "nbformat_minor": 5}
    (folder / "notebooks" / "02_depth.ipynb").write_text(json.dumps(whole))


@pytest.mark.slow
def test_the_book_is_built_and_a_chapter_run_in_such_a_folder(tmp_path):
    folder = tmp_path / "here" / ODD
    folder.mkdir(parents=True)
    for word in ("späce", "and", "'quote'"):
        (folder.parent / word / ".venv").mkdir(parents=True)
    small_copy(folder)
    (folder / ".venv").mkdir()
    program(tmp_path / "bin" / "uv", BORROW)
    environment = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
    environment |= {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "PYTHON": sys._base_executable}
    environment["RANDPRUNE_DATA"] = "da ta"
    targets = ("setup", "book", "test-notebooks", "notebook", "NAME=02_depth", "ARGS=-p a 2")
    done = subprocess.run(
        ["make", *targets], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    page = (folder / "_build" / "html" / "notebooks" / "02_depth.html").read_text()
    assert f"{ODD} da ta" in html.unescape(re.sub("<[^>]+>", "", page))
    again = (folder / "results" / "local" / "02_depth" / "a=2" / "02_depth.ipynb").read_text()
    assert '"a = 2' in again and ODD in again
    assert sorted(os.listdir(folder.parent)) == sorted(["späce", "and", "'quote'", ODD])


def test_scripts_quote_their_paths():
    """What runs on other machines, by the words that delete or evaluate."""
    workflows = list((paths.ROOT / ".github" / "workflows").glob("*.yml"))
    for file in [paths.ROOT / ".ci" / "run", *workflows]:
        text = file.read_text(encoding="utf-8")
        assert "rm -" not in text and "eval " not in text
    lines = [line for line in (paths.ROOT / "Makefile").read_text().splitlines() if "rm -" in line]
    removed = [line.strip().removeprefix("@") for line in lines]
    assert removed == [
        "rm -rf _build .pytest_cache .ruff_cache .hypothesis",
        "find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +",
        "rm -rf $(VENV)",
        "rm -f $(VENV)/.installed-*",
        "rm -f $(VENV)/.$$name-*",
    ]
    assert "VENV := .venv\n" in (paths.ROOT / "Makefile").read_text()
    assert os.access(paths.ROOT / ".ci" / "run", os.X_OK)
