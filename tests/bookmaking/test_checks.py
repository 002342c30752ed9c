"""`check` finds nothing in good results; else it names file, fault and what mends it."""

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest
from conftest import made_up_record, store_record, tiny
from small_project import PARAMETERS, code, stream, write

from randprune_core import paths
from randprune_core.bookmaking import notebooks
from randprune_core.bookmaking.checks import check, check_records
from randprune_core.sweeps.grids import grid


def test_check_records_finds_nothing_in_good_records(store, trained):
    store_record(trained.record)
    store_record(made_up_record(tiny(seed_init=1)))
    store_record(made_up_record(tiny(ratio="dense", sparsity=0.0)))
    assert check_records() == []


def wrong_budget(record):
    record["layers"][0]["kept"] += 50
    record["cost"]["kept_weights"] += 50


def wrong_cost(record):
    record["cost"]["kept_weights"] += 1


def wrong_epochs(record):
    record["history"]["epoch"] = record["history"]["epoch"][:-1]


def wrong_fraction(record):
    record["test"]["fgsm"]["1"]["accuracy"] = 25.0


def wrong_bins(record):
    record["test"]["bins"][0]["count"] -= 1


def edited_accuracy(record):
    record["test"]["accuracy"] = 0.75


def edited_ece(record):
    record["test"]["ece"] = 0.01


def no_bins(record):
    del record["test"]["bins"]


def no_layers(record):
    record["layers"] = None


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (wrong_budget, "keeps 150 of 1000 weights, but sparsity 0.9 is 100"),
        (wrong_cost, "layers keep 100 weights, cost says 101"),
        (wrong_epochs, "history has 1 of 2 epochs"),
        (wrong_fraction, "fgsm.1.accuracy is 25.0, not a fraction"),
        (wrong_bins, "the calibration bins hold 359 images, the test set 360"),
        (edited_accuracy, "accuracy is 0.75, but its calibration bins give 0.500000"),
        (edited_ece, "ece is 0.01, but its calibration bins give 0.062500"),
        (no_bins, "not complete"),
        (no_layers, "its layers are a NoneType, not a list"),
    ],
)
def test_check_records_names_the_file_and_the_contradiction(store, edit, problem):
    record = made_up_record(tiny())
    edit(record)
    path = store_record(record)
    (found,) = check_records()
    assert found.startswith(f"{path}: ") and problem in found and "\n" not in found


@pytest.mark.parametrize(("figure", "profile"), [("when", "cpu"), ("control", "mini")])
def test_a_bad_record_comes_with_the_sweep_that_trains_its_run(store, figure, profile):
    config = grid(figure, profile, variant="jpeg75")[-1]
    record = made_up_record(config)
    wrong_cost(record)
    store_record(record)
    (found,) = check_records()
    assert found.endswith(f"run `python -m randprune_core sweep {figure} --profile {profile}`")


def test_a_damaged_note_of_a_failed_run_is_named(store):
    path = paths.failed_path(run_id := "0123456789ab")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"run_id": run_id}))
    assert check_records()[0].startswith(f"{path}: not the note of a failed run")


# --- chapters and figures --------------------------------------------------------------------


@pytest.fixture
def chapter(project):
    """A project with one chapter whose stored outputs name one figure's data."""
    figure = paths.FIGURES / "depth.csv"
    figure.write_text("gap\n1\n")
    digest = hashlib.sha256(figure.read_bytes()).hexdigest()[:12]
    line = stream(f"results/figures/depth.csv: 1 rows, digest {digest}\n")
    source = write(project, "01_depth", PARAMETERS, code("save()", outputs=[line]))
    notebooks.store_fingerprints(["01_depth"])
    return source


def test_outputs_and_figures_in_step_are_no_problem(chapter):
    assert check() == []


@pytest.mark.parametrize("kinds", [("*.csv",), ("*.py",), ("*.ipynb", "*.json"), ("*",)])
def test_line_ends_of_another_system_are_no_problem(chapter, kinds):
    changed = 0
    for path in sorted({path for kind in kinds for path in paths.ROOT.rglob(kind)}):
        if path.is_file():
            text = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
            changed += text != path.read_bytes()
            path.write_bytes(text)
    assert changed or kinds == ("*.py",)
    assert check() == []


@pytest.mark.parametrize("setting", ["true", "input", "false"])
def test_a_clone_has_the_committed_bytes_whatever_git_is_set_to(tmp_path, setting):
    attributes = (Path(__file__).parents[2] / ".gitattributes").read_text()
    contents = {"a.csv": b"x\n1\n", "b.csv": b"x\r\n1\r\n", "c.json": b"{}\n", "d.png": b"\0\r\n\n"}
    contents[".gitattributes"] = attributes.encode()
    (tmp_path / "one").mkdir()
    for name, content in contents.items():
        (tmp_path / "one" / name).write_bytes(content)

    def git(*arguments):
        settings = ("-c", "user.name=n", "-c", "user.email=e@example.org")
        settings += ("-c", f"core.autocrlf={setting}")
        kept = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        done = subprocess.run(
            ["git", *settings, *arguments],
            cwd=tmp_path / "one",
            env=kept,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "all")
    git("clone", "-q", "-c", f"core.autocrlf={setting}", ".", str(tmp_path / "two"))
    assert {n: (tmp_path / "two" / n).read_bytes() for n in contents} == contents
    assert git("-C", str(tmp_path / "two"), "status", "--porcelain") == ""


@pytest.mark.parametrize("change", ["cells", "a record", "the core", "no fingerprint", "damaged"])
def test_stored_outputs_that_are_out_of_step_are_named_with_what_refreshes_them(chapter, change):
    content = notebooks.read_notebook(chapter)
    if change == "cells":
        content["cells"][1]["source"] = ["other()"]
        chapter.write_text(json.dumps(content))
    elif change == "a record":
        store_record(made_up_record(grid("depth", "mini", variant="original")[0]))
    elif change == "the core":
        (paths.ROOT / "randprune_core" / "new.py").write_text("")
    else:
        paths.STORED_OUTPUTS.write_text("{}" if change == "no fingerprint" else "{")
    (found,) = check()
    assert found.startswith(f"{chapter}: its stored outputs were made from other")
    assert found.endswith("run `python -m randprune_core book --refresh`")


def test_a_notebook_that_is_none_is_named(chapter):
    chapter.write_text("{")
    problems = check()
    assert problems[0].startswith(f"{chapter}: not readable as a notebook")


@pytest.mark.parametrize("change", ["edited", "deleted"])
def test_figure_data_that_is_not_what_its_chapter_drew_is_named_with_what_writes_it(
    chapter, change
):
    figure = paths.FIGURES / "depth.csv"
    figure.write_text("gap\n2\n") if change == "edited" else figure.unlink()
    (found,) = check()
    assert found.startswith(f"{figure}: {'not the numbers' if change == 'edited' else 'missing'}")
    assert "run `python -m randprune_core notebook 01_depth`" in found


def test_figure_data_that_no_chapter_drew_is_named(chapter):
    (paths.FIGURES / "other.csv").write_text("a\n")
    (found,) = check()
    assert found.startswith(f"{paths.FIGURES / 'other.csv'}: no chapter")


def test_another_results_folder_has_records_only(store):
    assert check() == []


def test_a_formula_in_a_csv_is_named_with_its_file(project):
    for folder in (paths.FIGURES, paths.PAPER, paths.BENCHMARKS):
        (folder / "good.csv").write_text("a,b\n-0.5,x\n")
        (folder / "bad.csv").write_text('a,b\n1,"=HYPERLINK(""x"")"\n')
    said = "bad.csv: a spreadsheet takes its cell '=HYP"
    assert sum(said in problem for problem in check()) == 3
    (paths.PAPER / "bad.csv").write_bytes(b"\xff\xfe")
    assert [p for p in check() if "not readable as CSV" in p]
