"""Chapters are executed; one that has not changed is left alone."""

import ast
import json
import re
import shutil
import subprocess
import sys

import pytest
from small_project import PARAMETERS, code, notebook, printed, stream, write

from randprune_core import paths
from randprune_core.bookmaking import build, notebooks
from randprune_core.config import run_id
from randprune_core.sweeps.grids import ANY_RUN, CHAPTERS, grid

REPOSITORY = paths.ROOT


# ---------------------------------------------------------------- names and parameters


def test_unknown_chapter_names_the_known_ones(project):
    write(project, "01_depth", PARAMETERS)
    with pytest.raises(ValueError, match=r"'02_depht'.*01_depth"):
        notebooks.chapter("02_depht")


@pytest.mark.parametrize("name", ["01_depth", "01_depth.ipynb", "notebooks/01_depth.ipynb"])
def test_chapter_is_found_by_stem_file_name_and_path(project, name):
    source = write(project, "01_depth", PARAMETERS)
    assert notebooks.chapter(name) == source


def test_chapters_are_numbered_notebooks_in_order(project):
    for name in ("02_b", "scratch", "01_a"):
        write(project, name, PARAMETERS)
    assert list(notebooks.chapters()) == ["01_a", "02_b"]


def test_default_parameters_are_the_literals_of_the_tagged_cell(project):
    source = write(project, "01_a", code("other = 3"), PARAMETERS)
    assert notebooks.default_parameters(source) == {"profile": "auto", "seeds": [0, 1]}


@pytest.mark.parametrize("bad", ["seeds = range(3)", "import torch", "a, b = 1, 2", "seeds = ["])
def test_parameters_cell_with_anything_but_literals_is_refused(project, bad):
    with pytest.raises(ValueError, match="01_a.ipynb, cell tagged parameters"):
        notebooks.default_parameters(write(project, "01_a", code(bad, "parameters")))


def test_notebook_without_parameters_cell_is_refused(project):
    with pytest.raises(ValueError, match="no cell tagged parameters"):
        notebooks.default_parameters(write(project, "01_a", code("seeds = [0]")))


def test_unknown_parameter_names_the_known_ones_and_runs_nothing(project, monkeypatch):
    source = write(project, "01_a", PARAMETERS)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("was executed"))
    with pytest.raises(ValueError, match=r"'depht' of 01_a: known are profile, seeds"):
        build.run_notebook("01_a", {"depht": 1})
    with pytest.raises(ValueError, match="'depht'"):
        notebooks.execute(source, {"depht": 1}, project / "out.ipynb")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("quick", "quick"),
        ("True", True),
        ("true", True),
        ("None", None),
        ("0.9", 0.9),
        ("1e-3", 1e-3),
        ("[0.8, 0.9]", [0.8, 0.9]),
        ("[resnet-8, resnet-14]", ["resnet-8", "resnet-14"]),
        ("a: b: c", "a: b: c"),
        ("'1'", "1"),
    ],
)
def test_parameter_values_are_read_as_literals(text, value):
    parsed = notebooks.parse_parameters([("x", text)])["x"]
    assert parsed == value and type(parsed) is type(value)


# ---------------------------------------------------------------- what is stored


def test_normalise_strips_what_differs_between_equal_runs():
    noisy = code("1", "keep", papermill={"duration": 1}, execution={"iopub.status.idle": "now"})
    injected = code("x = 1", "injected-parameters")
    content = notebook(noisy, injected, code("2", papermill={}) | {"metadata": {"tags": []}})
    content["metadata"] = {"papermill": {"start_time": "now"}, "language_info": {"version": "3.1"}}
    cleaned = notebooks.normalise(content)
    assert [cell["metadata"] for cell in cleaned["cells"]] == [
        {"tags": ["keep"]},
        {"tags": ["injected-parameters"]},
        {},
    ]
    assert cleaned["cells"][1]["id"] == "injected-parameters"
    assert set(cleaned["metadata"]) == {"kernelspec", "language_info"}
    assert "version" not in cleaned["metadata"]["language_info"]
    assert notebooks.normalise(json.loads(json.dumps(cleaned))) == cleaned


@pytest.mark.parametrize(("parameters", "hidden"), [({"profile": "quick"}, True), ({}, False)])
def test_defaults_are_hidden_only_where_parameters_replace_them(parameters, hidden):
    content = json.loads(json.dumps(notebook(PARAMETERS)))
    cleaned = notebooks.normalise(content, parameters)
    assert ("hide-cell" in cleaned["cells"][0]["metadata"]["tags"]) == hidden
    assert cleaned["metadata"].get("randprune") == ({"parameters": parameters} if hidden else None)


def test_chunks_of_one_stream_are_joined_and_other_outputs_keep_their_order():
    chunks = [stream("a\nb"), stream("c\n"), stream("x", "stderr"), stream("d")]
    (cell,) = notebooks.normalise(notebook(code("1", outputs=chunks)))["cells"]
    assert [("".join(out["text"]), out["name"]) for out in cell["outputs"]] == [
        ("a\nbc\n", "stdout"),
        ("x", "stderr"),
        ("d", "stdout"),
    ]


# ---------------------------------------------------------------- fingerprints


def test_fingerprint_follows_cells_tags_and_parameters_but_not_outputs(project):
    def key(*cells, parameters=None, around=""):
        return notebooks.fingerprint(write(project, "01_a", *cells), parameters or {}, around)

    first = key(code("1"))
    assert key(code("1", outputs=[stream("seen")])) == first
    others = [
        key(code("2")),
        key(code("1", "nbval-ignore-output")),
        key(code("1"), parameters={"seeds": [1]}),
        key(code("1"), around="other"),
    ]
    assert len({first, *others}) == 5


@pytest.mark.parametrize(
    ("file", "matters"),
    [
        ("randprune_core/pruning/ratios.py", True),
        ("randprune_core/chapters/depth.py", True),
        ("randprune_core/bookmaking/notebooks.py", True),
        ("randprune_core/bookmaking/boxes.py", False),
        ("randprune_core/__main__.py", False),
        ("constraints.txt", True),
        ("results/runs/cifar10/0123456789ab.json", True),
        ("randprune_core/published/figure1.csv", True),
        ("results/failed/0123456789ab.json", True),
        ("results/runs/digits/0123456789ab.json", False),
        ("results/figures/depth.csv", False),
        ("results/local/01_depth.ipynb", False),
        ("results/checkpoints/0123456789ab.pt", False),
    ],
)
def test_surroundings_follow_core_lock_file_and_committed_records(project, file, matters):
    before = notebooks.surroundings()
    (project / file).parent.mkdir(parents=True, exist_ok=True)
    (project / file).write_text("new")
    assert (notebooks.surroundings() != before) == matters


def test_surroundings_follow_what_the_paper_published_where_results_are_moved(
    project, monkeypatch, tmp_path_factory
):
    monkeypatch.setattr(paths, "RESULTS", tmp_path_factory.mktemp("elsewhere"))
    before = notebooks.surroundings()
    (project / "randprune_core/published/figure1.csv").write_text("new")
    assert notebooks.surroundings() != before


def test_a_chapter_depends_on_the_records_of_its_own_grids_and_of_those_that_judge(project):
    def touched(figure, profile="mini"):
        name = run_id(grid(figure, profile, variant="original")[-1])
        before = {name: notebooks.surroundings(name) for name in CHAPTERS}
        path = project / "results" / "runs" / "cifar10" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("new")
        changed = {name for name in CHAPTERS if notebooks.surroundings(name) != before[name]}
        path.unlink()
        assert changed >= set(ANY_RUN)
        return changed - set(ANY_RUN)

    assert touched("when") == {"10_when_to_prune"}
    assert touched("granularity") == {"09_granularity"}
    assert touched("control") == {"01_depth"}
    assert touched("vgg", "paper") == {"13_cifar100_and_vgg"}
    every = {name for name, figures in CHAPTERS.items() if figures} - set(ANY_RUN)
    assert touched("depth") == touched("width") == every
    note = project / "results" / "failed" / f"{run_id(grid('when', 'mini')[-1])}.json"
    before = [notebooks.surroundings(name) for name in ("10_when_to_prune", "09_granularity")]
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text("{}")
    after = [notebooks.surroundings(name) for name in ("10_when_to_prune", "09_granularity")]
    assert after[0] != before[0] and after[1] == before[1]


def test_a_chapter_without_grids_of_its_own_depends_on_every_record(project):
    before = notebooks.surroundings("11_scorecard")
    path = project / "results" / "runs" / "cifar10" / "0123456789ab.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("new")
    assert notebooks.surroundings("11_scorecard") != before


def test_a_change_of_one_chapter_makes_that_chapter_stale_alone(project):
    def touched(file):
        before = {name: notebooks.surroundings(name) for name in CHAPTERS}
        path = project / "randprune_core" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("new")
        return {name for name in CHAPTERS if notebooks.surroundings(name) != before[name]}

    assert touched("chapters/granularity.py") == {"09_granularity"}
    assert touched("chapters/robustness_figures.py") == {"05_robustness"}
    assert touched("chapters/shared/tables.py") == set(CHAPTERS)
    assert touched("chapters/__init__.py") == set(CHAPTERS)
    assert touched("analysis/claims.py") == touched("training/loop.py") == set(CHAPTERS)
    assert touched("bookmaking/boxes.py") == set()


def test_every_chapter_stands_in_the_table_of_grids():
    assert list(CHAPTERS) == list(notebooks.chapters())


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_grids_of_a_chapter_are_those_that_its_cells_collect(name):
    cells = notebooks.read_notebook(notebooks.chapter(name))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    own = (paths.ROOT / "randprune_core" / "chapters").glob(f"{name[3:]}*.py")
    text = "\n".join([*code, *(path.read_text(encoding="utf-8") for path in own)])
    collected = re.findall(r"\bcollect_records\(\s*\"(\w+)\"", text)
    if f'CHAPTERS["{name}"]' in text:  # it goes through the table itself
        collected += CHAPTERS[name]
    assert tuple(collected) == CHAPTERS[name]


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_imports_only_what_its_outputs_are_said_to_depend_on(name):
    package, hashed = paths.ROOT / "randprune_core", notebooks.code_of(name)
    for cell in notebooks.read_notebook(notebooks.chapter(name))["cells"]:
        nodes = ast.parse("".join(cell["source"])).body if cell["cell_type"] == "code" else ()
        for node in nodes:
            if isinstance(node, ast.ImportFrom) and node.module.startswith("randprune_core"):
                folder = package.parent / node.module.replace(".", "/")
                files = [folder / f"{alias.name}.py" for alias in node.names]
                files = [file for file in (*files, folder.with_suffix(".py")) if file.exists()]
                assert set(files) <= hashed, ast.unparse(node)


@pytest.fixture
def counted(monkeypatch):
    """Replaces papermill by a stub that counts and prints how often it was called."""
    calls = []

    def fake(source, parameters, target, **_):
        calls.append(source.stem)
        content = notebooks.read_notebook(source)
        for cell in content["cells"]:
            cell["outputs"] = [stream(f"{len(calls)}\n")]
        notebooks.write_notebook(notebooks.normalise(content), target)

    monkeypatch.setattr(notebooks, "execute", fake)
    return calls


def test_chapter_is_executed_again_only_after_a_change(project, counted):
    write(project, "01_a", code("1"))
    write(project, "02_b", code("2"))
    notebooks.execute_chapters()
    notebooks.execute_chapters()
    assert sorted(counted) == ["01_a", "02_b"]
    write(project, "02_b", code("3"))
    notebooks.execute_chapters()
    assert sorted(counted) == ["01_a", "02_b", "02_b"]


def test_failed_chapter_is_executed_again(project, monkeypatch):
    write(project, "01_a", code("1"))
    calls = []

    def fail(source, *_, **__):
        calls.append(source)
        raise RuntimeError("broken")

    monkeypatch.setattr(notebooks, "execute", fail)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="broken"):
            notebooks.execute_chapters()
    assert len(calls) == 2


def test_refresh_stores_outputs_once_and_then_changes_nothing(project, counted):
    source = write(project, "01_a", code("1"))
    assert build.refresh() == [source]
    stored = source.read_bytes()
    assert printed(source) == "1\n"
    assert build.refresh() == []
    assert source.read_bytes() == stored


def test_a_fresh_clone_shows_stored_outputs_as_long_as_nothing_they_depend_on_changed(
    project, counted
):
    source = write(project, "01_a", code("1"))
    write(project, "02_b", code("2"))
    build.refresh()
    stored = source.read_bytes()
    shutil.rmtree(project / "_build")
    assert notebooks.execute_chapters()["01_a"].read_bytes() == stored
    assert len(counted) == 2
    shutil.rmtree(project / "_build")
    write(project, "01_a", code("3"))
    notebooks.execute_chapters()
    assert counted[2:] == ["01_a"]
    shutil.rmtree(project / "_build")
    (project / "randprune_core" / "new.py").write_text("")
    notebooks.execute_chapters()
    assert sorted(counted[3:]) == ["01_a", "02_b"]


def test_refresh_of_one_chapter_leaves_the_fingerprints_of_the_others(project, counted):
    write(project, "01_a", code("1"))
    write(project, "02_b", code("2"))
    build.refresh(["02_b"])
    assert set(notebooks.stored_fingerprints()) == {"02_b"}
    build.refresh(["01_a"])
    assert list(notebooks.stored_fingerprints()) == ["01_a", "02_b"]


def test_refresh_stores_the_picture_of_the_depth_chapter_for_the_readme(project, monkeypatch):
    png = {"output_type": "display_data", "metadata": {}, "data": {"image/png": "aGVsbG8="}}
    monkeypatch.setattr(notebooks, "execute", lambda source, _, target: shutil.copy(source, target))
    figure = code("draw()", outputs=[png]) | {"id": "scales-figure"}
    write(project, "01_depth", figure)
    (project / "book" / "_static").mkdir()
    (project / "_build" / "executed").mkdir(parents=True)
    build.refresh()
    assert (project / "book" / "_static" / "figure-depth.png").read_bytes() == b"hello"


def test_readme_shows_the_picture_of_the_book():
    (picture,) = re.findall(r"!\[.*\]\((.*)\)", (REPOSITORY / "README.md").read_text())
    stored = build._picture(notebooks.chapter("01_depth"), "scales-figure")
    assert (REPOSITORY / picture).read_bytes() == stored


@pytest.mark.parametrize(("tags", "stored"), [((), "2\n"), ((notebooks.VOLATILE_TAG,), "1\n")])
def test_refresh_leaves_a_notebook_that_differs_only_where_it_may(project, counted, tags, stored):
    source = write(project, "01_a", code("1", *tags))
    before = json.loads(source.read_text())
    before["cells"][0]["outputs"] = [stream("1\n")]
    notebooks.write_notebook(notebooks.normalise(before), source)
    counted.append("an earlier call")  # the stub prints 2 now
    build.refresh()
    assert printed(source) == stored


# ---------------------------------------------------------------- papermill


def test_execution_uses_this_interpreter_in_the_repository_whatever_the_user_has(
    project, monkeypatch
):
    spec = project / "user" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": ["/bin/false"], "display_name": "x", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(project / "user"))
    monkeypatch.setenv("MPLBACKEND", "agg")
    write(
        project,
        "01_a",
        PARAMETERS,
        code("import os, sys\nprint(sys.executable, os.getcwd(), profile, seeds)"),
        code("print('MPLBACKEND' in os.environ and os.environ['MPLBACKEND'])"),
        code("import randprune_core"),
    )
    before = (project / "notebooks/01_a.ipynb").read_bytes()
    target = build.run_notebook("01_a", {"profile": "quick"})
    assert target == project / "results/local/01_a/profile=quick/01_a.ipynb"
    first, second = printed(target).splitlines()
    assert first == f"{sys.executable} {project} quick [0, 1]"
    assert "inline" in second
    assert (project / "notebooks/01_a.ipynb").read_bytes() == before
    assert not list(project.rglob(".01_a*")), "a partial file was left"
    cells = json.loads(target.read_text())["cells"]
    assert [cell["id"] for cell in cells].count("injected-parameters") == 1
    assert not re.search(r"papermill|iopub", target.read_text())


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("raise ValueError('unknown profile')", ValueError, "^01_a: unknown profile$"),
        ("1 / 0", RuntimeError, r"01_a: cell \[2\] failed with ZeroDivisionError"),
        ("import os; os._exit(3)", RuntimeError, "01_a was not executed: "),
    ],
)
def test_failing_cell_is_reported_and_leaves_the_target_alone(project, source, error, message):
    target = project / "out.ipynb"
    target.write_text("old")
    with pytest.raises(error, match=message):
        notebooks.execute(write(project, "01_a", PARAMETERS, code(source)), {}, target)
    assert target.read_text() == "old"


def test_what_is_left_out_is_said_in_the_terminal_and_not_in_the_outputs(project, capfd):
    line = "from randprune_core.records.files import left_out; left_out('a.json: no record')"
    target = project / "out.ipynb"
    notebooks.execute(write(project, "01_a", PARAMETERS, code(line), code(line)), {}, target)
    assert capfd.readouterr().err.count("warning: 01_a: set aside: a.json: no record\n") == 1
    assert "no record\\n" not in target.read_text() and "stderr" not in target.read_text()
