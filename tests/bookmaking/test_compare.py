"""Re-runs side by side: each has a folder named by its parameters, and what differs is shown."""

import json

import pandas as pd
import pytest
from small_project import PARAMETERS, code, stream, write

from randprune_core import paths
from randprune_core.bookmaking import build
from randprune_core.bookmaking.compare import compare

HEAD = ["model", "ratio", "sparsity", "number", "A", "B", "difference"]


def rerun(name: str, rows: list[tuple], figure: str = "depth", **parameters) -> None:
    """A re-run that drew a figure from these rows: source, model, ratio, sparsity, accuracy."""
    folder = paths.LOCAL / name
    folder.mkdir(parents=True)
    columns = ["source", "model", "ratio", "sparsity", "accuracy", "accuracy_low"]
    table = pd.DataFrame([(*row, 0.5) for row in rows], columns=columns)
    table.to_csv(folder / f"{figure}.csv", index=False)
    line = f"results/local/{name}/{figure}.csv: {len(table)} rows, digest 0123456789ab\n"
    cell = code("", outputs=[stream(line)])
    whole = {"cells": [cell], "metadata": {"randprune": {"parameters": parameters}}}
    (folder / f"{name[:4]}.ipynb").write_text(json.dumps(whole))


def test_what_differs_is_shown_side_by_side_whatever_the_profile(project):
    paper = ("paper", "resnet-20", "erk", 0.9, 90.0)
    first = [
        ("cpu jpeg75", "resnet-8", ratio, 0.5, value)
        for ratio, value in (("erk", 60.25), ("snip", 61))
    ]
    second = [("quick", "resnet-8", "erk", 0.5, 62.0), ("quick", "resnet-8", "snip", 0.5, 61.0)]
    rerun("01_a/seeds=0", [*first, paper], seeds=[0])
    rerun("01_a/seeds=1", [*second, paper, ("quick", "resnet-8", "grasp", 0.5, 40.0)], seeds=[1])
    lines = compare("01_a/seeds=0", "01_a/seeds=1").splitlines()
    assert lines[:2] == ["A: 01_a, seeds=[0]", "B: 01_a, seeds=[1]"]
    assert lines[3] == "depth.csv: 2 of 4 numbers differ"
    assert lines[4].split() == ["source", *HEAD]
    assert lines[5].split() == ["own", "resnet-8", "erk", "0.5", "accuracy", "60.25", "62", "1.75"]
    assert lines[6].split() == ["own", "resnet-8", "grasp", "0.5", "accuracy", "40"]


def test_equal_re_runs_show_no_table(project):
    for name in ("01_a/x", "01_a/y"):
        rerun(name, [("cpu", "resnet-8", "erk", 0.5, 60.0)])
    text = compare("01_a/x", str(paths.LOCAL / "01_a" / "y"))
    assert text.endswith("\n\ndepth.csv: 0 of 1 numbers differ")


def test_a_chapter_by_its_name_is_what_is_stored_of_it(project):
    rerun("01_a/seeds=0", [("cpu", "resnet-8", "erk", 0.5, 60.0)])
    (paths.LOCAL / "01_a/seeds=0/depth.csv").rename(paths.FIGURES / "depth.csv")
    rerun("01_a/seeds=1", [("cpu", "resnet-8", "erk", 0.5, 61.0)])
    line = "results/figures/depth.csv: 1 rows, digest 0123456789ab\n"
    write(project, "01_a", PARAMETERS, code("", outputs=[stream(line)]))
    lines = compare("01_a", "01_a/seeds=1").splitlines()
    assert lines[0] == "A: 01_a, default parameters"
    assert lines[3] == "depth.csv: 1 of 1 numbers differ"


@pytest.mark.parametrize("name", sorted(path.stem for path in paths.NOTEBOOKS.glob("*.ipynb")))
def test_every_chapter_of_the_book_can_be_compared(name):
    found = [line for line in compare(name, name).splitlines()[3:] if line]
    assert found and all(": 0 of " in line for line in found)


def test_a_re_run_that_is_not_there_or_is_of_another_chapter_is_one_line(project):
    rerun("01_a/x", [("cpu", "resnet-8", "erk", 0.5, 60.0)])
    rerun("02_b/x", [("cpu", "resnet-8", "erk", 0.5, 60.0)], figure="width")
    with pytest.raises(ValueError, match=r"^no re-run '01_a/z': there are 01_a/x, 02_b/x; .*$"):
        compare("01_a/z", "01_a/x")
    with pytest.raises(ValueError, match="^01_a/x and 02_b/x draw no figure in common: .*$"):
        compare("01_a/x", "02_b/x")


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({}, "default"),
        ({"seeds": [0, 1], "profile": "quick"}, "profile=quick,seeds=0+1"),
        ({"sparsities": 0.9, "train_missing": True}, "sparsities=0.9,train_missing=True"),
    ],
)
def test_the_folder_of_a_re_run_has_the_name_of_its_parameters(parameters, name):
    assert build.rerun_name(parameters) == name


def test_parameters_that_do_not_suit_a_folder_get_one_of_their_own():
    odd = [{"device": "cuda:0"}, {"device": "cuda/0"}, {"device": "../x"}, {"device": "é"}]
    odd += [{"seeds": list(range(n))} for n in (100, 101)]
    names = [build.rerun_name(parameters) for parameters in odd]
    assert len(set(names)) == len(odd)
    assert all("/" not in name and len(name) < 150 and name.isascii() for name in names)
