"""Chapters are executed, staged and rendered; what has not changed is left alone."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from randprune_core import book, notebooks, paths
from randprune_core.config import run_id
from randprune_core.sweeps.grids import CHAPTERS, grid

REPOSITORY = paths.ROOT


def code(source: str, *tags: str, outputs=(), **metadata) -> dict:
    if tags:
        metadata["tags"] = list(tags)
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": f"cell-{abs(hash(source)):x}"[:16],
        "metadata": metadata,
        "outputs": list(outputs),
        "source": source.splitlines(keepends=True),
    }


def stream(text: str, name: str = "stdout") -> dict:
    return {"output_type": "stream", "name": name, "text": text.splitlines(keepends=True)}


def notebook(*cells: dict) -> dict:
    return {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


PARAMETERS = code('profile = "auto"\nseeds = [0, 1]', "parameters")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty repository in a temporary folder, to which `paths` points."""
    folders = {
        "ROOT": "",
        "NOTEBOOKS": "notebooks",
        "BOOK": "book",
        "BUILD": "_build",
        "RESULTS": "results",
        "RUNS": "results/runs",
        "FAILED": "results/failed",
        "FIGURES": "results/figures",
        "PAPER": "results/paper",
        "LOCAL": "results/local",
        "CHECKPOINTS": "results/checkpoints",
        "BENCHMARKS": "results/benchmarks",
    }
    for name, folder in folders.items():
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        monkeypatch.setattr(paths, name, tmp_path / folder)
    monkeypatch.setattr(paths, "STORED_OUTPUTS", tmp_path / "notebooks" / "outputs.json")
    for name in ("RANDPRUNE_DATA", "RANDPRUNE_RESULTS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "randprune_core").mkdir()
    (tmp_path / "constraints.txt").write_text("numpy==1\n")
    return tmp_path


def write(project: Path, name: str, *cells: dict) -> Path:
    path = project / "notebooks" / f"{name}.ipynb"
    path.write_text(json.dumps(notebook(*cells)))
    return path


def printed(path: Path) -> str:
    cells = json.loads(path.read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    return "".join("".join(output.get("text", "")) for output in outputs)


# ---------------------------------------------------------------- names and parameters


def test_unknown_chapter_names_the_known_ones(project):
    write(project, "02_depth", PARAMETERS)
    with pytest.raises(ValueError, match=r"'02_depht'.*02_depth"):
        notebooks.chapter("02_depht")


@pytest.mark.parametrize("name", ["02_depth", "02_depth.ipynb", "notebooks/02_depth.ipynb"])
def test_chapter_is_found_by_stem_file_name_and_path(project, name):
    source = write(project, "02_depth", PARAMETERS)
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
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("was executed"))
    with pytest.raises(ValueError, match=r"'depht' of 01_a: known are profile, seeds"):
        book.run_notebook("01_a", {"depht": 1})
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
    parsed = book.parse_parameters([("x", text)])["x"]
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
        ("randprune_core/ratios.py", True),
        ("randprune_core/chapters/depth.py", True),
        ("randprune_core/page_boxes.py", False),
        ("constraints.txt", True),
        ("results/runs/cifar10/0123456789ab.json", True),
        ("results/paper/figure1.csv", True),
        ("results/failed/0123456789ab.json", True),
        ("results/runs/digits/0123456789ab.json", False),
        ("results/figures/depth.csv", False),
        ("results/local/02_depth.ipynb", False),
        ("results/checkpoints/0123456789ab.pt", False),
    ],
)
def test_surroundings_follow_core_lock_file_and_committed_records(project, file, matters):
    before = notebooks.surroundings()
    (project / file).parent.mkdir(parents=True, exist_ok=True)
    (project / file).write_text("new")
    assert (notebooks.surroundings() != before) == matters


def test_a_chapter_depends_on_the_records_of_its_own_grids_and_of_those_that_judge(project):
    def touched(figure, profile="mini"):
        name = run_id(grid(figure, profile, variant="original")[-1])
        before = {name: notebooks.surroundings(name) for name in CHAPTERS}
        path = project / "results" / "runs" / "cifar10" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("new")
        changed = {name for name in CHAPTERS if notebooks.surroundings(name) != before[name]}
        path.unlink()
        return changed

    assert touched("when") == {"10_when_to_prune"}
    assert touched("granularity") == {"09_granularity"}
    assert touched("vgg", "paper") == {"13_cifar100_and_vgg"}
    every = {name for name, figures in CHAPTERS.items() if figures}
    assert touched("depth") == touched("width") == every
    note = project / "results" / "failed" / f"{run_id(grid('when', 'mini')[-1])}.json"
    before = [notebooks.surroundings(name) for name in ("10_when_to_prune", "09_granularity")]
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text("{}")
    after = [notebooks.surroundings(name) for name in ("10_when_to_prune", "09_granularity")]
    assert after[0] != before[0] and after[1] == before[1]


def test_a_chapter_without_grids_of_its_own_depends_on_every_record(project):
    before = notebooks.surroundings("14_scorecard")
    path = project / "results" / "runs" / "cifar10" / "0123456789ab.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("new")
    assert notebooks.surroundings("14_scorecard") != before


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_grids_of_a_chapter_are_those_that_its_cells_collect(name):
    from randprune_core.page_boxes import figures_of

    assert tuple(figures_of(notebooks.read_notebook(notebooks.chapter(name)))) == CHAPTERS[name]


def test_no_chapter_imports_what_its_outputs_are_said_not_to_depend_on():
    code = (
        "import importlib, pkgutil, sys\n"
        "from randprune_core import chapters, notebooks\n"
        "from randprune_core.training import engine, imagenet\n"
        "from randprune_core.sweeps import cluster, gpu\n"
        "for found in pkgutil.iter_modules(chapters.__path__):\n"
        "    importlib.import_module(f'randprune_core.chapters.{found.name}')\n"
        "pages = {f'randprune_core.{name}' for name in notebooks._PAGES}\n"
        "assert all(importlib.util.find_spec(name) for name in pages)\n"
        "print(sorted(pages & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    inside = "\n".join(path.read_text() for path in notebooks.chapters().values())
    for module in (paths.ROOT / "randprune_core" / "chapters").glob("*.py"):
        inside += module.read_text()
    assert not re.search(rf"import ({'|'.join(notebooks._PAGES)})\b", inside)


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
    assert book.refresh() == [source]
    stored = source.read_bytes()
    assert printed(source) == "1\n"
    assert book.refresh() == []
    assert source.read_bytes() == stored


def test_a_fresh_clone_shows_stored_outputs_as_long_as_nothing_they_depend_on_changed(
    project, counted
):
    source = write(project, "01_a", code("1"))
    write(project, "02_b", code("2"))
    book.refresh()
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
    book.refresh(["02_b"])
    assert set(notebooks.stored_fingerprints()) == {"02_b"}
    book.refresh(["01_a"])
    assert list(notebooks.stored_fingerprints()) == ["01_a", "02_b"]


def test_refresh_stores_the_picture_of_the_depth_chapter_for_the_readme(project, monkeypatch):
    png = {"output_type": "display_data", "metadata": {}, "data": {"image/png": "aGVsbG8="}}
    monkeypatch.setattr(notebooks, "execute", lambda source, _, target: shutil.copy(source, target))
    figure = code("draw()", outputs=[png]) | {"id": "accuracy-figure"}
    write(project, "02_depth", figure)
    (project / "book" / "_static").mkdir()
    (project / "_build" / "executed").mkdir(parents=True)
    book.refresh()
    assert (project / "book" / "_static" / "figure-depth.png").read_bytes() == b"hello"


def test_readme_shows_the_picture_of_the_book():
    (picture,) = re.findall(r"!\[.*\]\((.*)\)", (REPOSITORY / "README.md").read_text())
    stored = book._picture(notebooks.chapter("02_depth"), "accuracy-figure")
    assert (REPOSITORY / picture).read_bytes() == stored


@pytest.mark.parametrize(("tags", "stored"), [((), "2\n"), ((notebooks.VOLATILE_TAG,), "1\n")])
def test_refresh_leaves_a_notebook_that_differs_only_where_it_may(project, counted, tags, stored):
    source = write(project, "01_a", code("1", *tags))
    before = json.loads(source.read_text())
    before["cells"][0]["outputs"] = [stream("1\n")]
    notebooks.write_notebook(notebooks.normalise(before), source)
    counted.append("an earlier call")  # the stub prints 2 now
    book.refresh()
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
    target = book.run_notebook("01_a", {"profile": "quick"})
    assert target == project / "results/local/01_a.ipynb"
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

    staging = book.stage({"01_a": executed})

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
        book.render(staging)
    assert "fig-missing" in capsys.readouterr().err
    assert not (project / "_build" / "html.sha256").exists()


def test_unchanged_staging_folder_is_not_built_again(project, monkeypatch):
    staging = small_book(project, "and text")
    index = book.render(staging)
    assert index == project / "_build/html/index.html"
    assert "and text" in (index.parent / "book" / "intro.html").read_text()

    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("Sphinx was started"))
    assert book.render(staging) == index
    (staging / "book" / "intro.md").write_text("# Other\n")
    with pytest.raises(pytest.fail.Exception, match="Sphinx was started"):
        book.render(staging)


# ---------------------------------------------------------------- the book itself


@pytest.fixture(scope="module")
def html() -> Path:
    return book.build_book().parent


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
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a process was started"))
    assert book.build_book() == html / "index.html"
