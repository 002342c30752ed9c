"""The Makefile in folders with names that a shell splits or evaluates: other folders survive."""

import json
import os
import re
import shutil
import site
import subprocess
import sys

import pytest
from fake_set_up import Project, program
from small_project import small_copy

from randprune_core import paths

ODD = "späce and 'quote'"
NAMES = (ODD, 'a "b" c', "a $x $(touch made) `touch made`", "a;touch made;b", "#1 100% *", "-rf x")
TARGETS = ("setup", "book", "test-notebooks", "notebook", "lab", "lint", "serve", "clean")


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
            done = project.make(*options, target, "NAME=01_depth")
            assert done.returncode == 0, (target, done.stderr)
    assert project.folder.is_dir()
    both = project.make("setup", "book", "test-notebooks", "notebook", "NAME=01_depth")
    assert both.returncode == 0
    assert project.logged()[-4:] == ["-m", "randprune_core", "notebook", "01_depth"]


def test_only_lab_installs_jupyterlab(tmp_path):
    project = Project(tmp_path, "plain")
    shutil.copy(paths.ROOT / "requirements-lab.lock", project.folder)
    assert project.make("book").returncode == 0
    assert "requirements-lab.lock" not in project.logged()
    done = project.make("lab", "ARGS=--no-browser")
    assert done.returncode == 0, done.stderr
    assert "requirements-lab.lock" in project.logged()
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
    variables = [("NAME", "notebook"), ("PORT", "serve"), ("HOST", "serve")]
    for variable, target in variables[: 3 if how == "argument" else 2]:
        arguments = [f"{variable}={name}"] if how == "argument" else []
        more = {} if arguments else {variable: name}
        assert project.make(target, *arguments, **more).returncode == 0
        assert name in project.logged()


def test_the_book_is_served_to_this_machine_whatever_the_shell_says_of_its_host(tmp_path):
    project = Project(tmp_path, "plain")
    for given, host in (((), "127.0.0.1"), (("HOST=0.0.0.0",), "0.0.0.0")):
        assert project.make("serve", *given, HOST="elsewhere").returncode == 0
        assert project.logged()[-4:-2] == ["--bind", host]


def test_arguments_of_a_notebook_are_words_of_the_shell(tmp_path):
    project = Project(tmp_path, ODD)
    project.make("setup")
    project.make("notebook", "NAME=01_depth", "ARGS=-p models '[a, b]'")
    assert project.logged()[-4:] == ["01_depth", "-p", "models", "[a, b]"]
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
    targets = ("setup", "book", "test-notebooks", "notebook", "NAME=01_depth", "ARGS=-p a 2")
    done = subprocess.run(
        ["make", *targets], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "_build" / "html" / "notebooks" / "01_depth.html").is_file()
    shown = json.loads((folder / "_build" / "executed" / "01_depth.ipynb").read_text())
    assert f"{ODD} da ta" in json.dumps(shown, ensure_ascii=False)
    executed = folder / "results" / "local" / "01_depth" / "a=2" / "01_depth.ipynb"
    assert '"a = 2' in executed.read_text() and ODD in executed.read_text()
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
