"""Ratios, networks and data sets of a study's own: trained, recorded, found again and drawn."""

import json
import os
import subprocess
import sys
import tempfile
import warnings

import pandas as pd
import pytest
import torch
from conftest import files_under, made_up_record, store_record
from matplotlib.legend import Legend

from randprune_core import models, paths, ratios, registry
from randprune_core.__main__ import main
from randprune_core.analysis.cells import summarise
from randprune_core.bookmaking.checks import check_records
from randprune_core.config import RunConfig, run_id
from randprune_core.presentation import plots, theme, words
from randprune_core.pruning.ratios import layer_sparsities
from randprune_core.records.store import find_record
from randprune_core.records.table import load_runs
from randprune_core.sweeps import cluster
from randprune_core.sweeps.grids import grid
from randprune_core.sweeps.plan import in_order
from randprune_core.sweeps.run import load_or_train
from randprune_core.sweeps.sweep import collect, sweep

pytestmark = pytest.mark.usefixtures("registering")

STUDY = """
import torch
from torch import nn

from randprune_core import datasets, models, ratios


def halfway(shapes, sparsity):
    even, erk = ratios.uniform(shapes, sparsity), ratios.erk(shapes, sparsity)
    return {name: (even[name] + erk[name]) / 2 for name in shapes}


class Small(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.linear = nn.Linear(8, num_classes)

    def forward(self, x):
        return self.linear(self.conv(x).relu().amax(dim=(2, 3)))


def shades():
    labels = torch.arange(300) % 3
    noise = torch.randint(0, 60, (300, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    images = (noise + 90 * labels[:, None, None, None]).byte()
    return images[:200], labels[:200], images[200:], labels[200:]


ratios.register("halfway", halfway)
models.register("small", Small)
datasets.register("shades", shades)
"""


@pytest.fixture
def study(tmp_path):
    file = tmp_path / "own_study.py"
    file.write_text(STUDY)
    yield file
    sys.modules.pop("own_study", None)


def config(**changes) -> RunConfig:
    usual = {"dataset": "shades", "model": "small", "ratio": "halfway", "sparsity": 0.8}
    usual |= {"epochs": 2, "train_images": 150, "batch_size": 50}
    return RunConfig(**usual | changes)


def command(*arguments) -> int:
    shown = warnings.showwarning
    try:
        return main(list(map(str, arguments)))
    except SystemExit as stop:
        return stop.code
    finally:
        warnings.showwarning = shown


OPTIONS = [
    *("--dataset", "shades", "--model", "small", "--ratio", "halfway", "--sparsity", "0.8"),
    *("--epochs", "2", "--train-images", "150", "--batch-size", "50"),
    *("--device", "cpu", "--precision", "float32"),
]


@pytest.mark.parametrize("place", ["before", "after"])
def test_the_command_line_trains_and_finds_what_a_file_registers(store, study, capsys, place):
    given = ["--import", study]
    line = [*given, "train", *OPTIONS] if place == "before" else ["train", *OPTIONS, *given]
    assert command(*line) == 0
    record = find_record(config())
    assert record["config"]["code"] == config().code and record["run_id"] == run_id(config())
    assert record["provenance"]["data"]["source"] == "registered"
    assert capsys.readouterr().out.endswith(f"runs/shades/{run_id(config())}.json\n")
    assert check_records() == []


def test_without_the_file_its_names_are_unknown_in_one_line(store, capsys):
    assert command("train", *OPTIONS) == 2
    error = capsys.readouterr().err
    assert "'shades' is not known" in error and error.count("\n") == 1
    assert command("train", "--import", store / "absent.py", *OPTIONS) == 2
    assert "there is no such file" in capsys.readouterr().err
    assert command("--import") == 2
    assert files_under(store) == []


def test_edited_code_finds_no_old_record_and_the_old_one_stays_readable(store, study):
    assert command("--import", study, "train", *OPTIONS) == 0
    old = config()
    study.write_text(STUDY.replace("/ 2", "* 0.5"))
    registry._ENTRIES.clear()
    registry._LOADED.clear()
    registry.load(study)
    assert find_record(config()) is None and run_id(config()) != run_id(old)
    registry._ENTRIES.clear()
    runs = load_runs(model="small", ratio="halfway", dataset="shades")
    assert list(runs.run_id) == [run_id(old)] and list(runs.code) == [old.code]
    assert list(load_runs(code=old.code).image_size) == [8]
    with pytest.raises(ValueError, match="other code of dataset 'shades', model 'small', ratio"):
        load_or_train(RunConfig(**vars(old) | {"seed_init": 1}, recorded=True), progress=False)


def test_worker_processes_know_the_names_and_give_the_same_records(store, study):
    registry.load(study)
    configs = [config(seed_init=seed, ratio=r) for seed in (0, 1) for r in ("halfway", "erk")]
    report = sweep(configs, workers=2, device="cpu", progress=False)
    assert (report.trained, report.failed, report.unfinished) == (4, {}, 0)
    swept = find_record(configs[0])
    paths.record_path("shades", run_id(configs[0])).unlink()
    alone = load_or_train(configs[0], device="cpu", progress=False)
    assert alone["test"] == swept["test"] and alone["history"] == swept["history"]
    assert sweep(configs, progress=False).found == 4


def test_a_worker_on_another_node_knows_the_names_that_the_driver_sends(store, study, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(store.parent))
    registry.load(study)
    wanted, packed = config(), registry.packed()
    registry._ENTRIES.clear()
    study.unlink()
    more = {"device": "cpu", "at_once": None, "code": {"commit": None, "dirty": None}}
    monkeypatch.setattr(cluster, "use_code", lambda code: None)
    monkeypatch.setattr(cluster, "one_thread", lambda: None)
    monkeypatch.setattr(paths, "use_results", lambda folder: None)
    outcome, record = cluster._train_in_worker(
        wanted, None, None, results=str(store), registered=packed, **more
    )
    assert outcome == "trained" and record["config"]["code"] == wanted.code


def test_a_script_with_functions_of_its_own_sweeps_in_worker_processes(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        STUDY + "\nfrom randprune_core import RunConfig, load_runs, sweep\n"
        "if __name__ == '__main__':\n"
        "    usual = dict(dataset='shades', model='small', sparsity=0.8, epochs=1, batch_size=50)\n"
        "    configs = [RunConfig(ratio=r, **usual) for r in ('halfway', 'erk')]\n"
        "    report = sweep(configs, workers=1, device='cpu', progress=False)\n"
        "    print(report.trained, report.failed, sorted(load_runs().ratio))\n"
    )
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(paths.ROOT), "RANDPRUNE_RESULTS": str(tmp_path / "r")},
    )  # fmt: skip
    assert done.stdout == "2 {} ['erk', 'halfway']\n", done.stderr


def test_a_figure_takes_the_names_in_its_lists(store, study):
    registry.load(study)
    runs = grid("depth", "quick", models=["small"], ratios=["dense", "erk", "halfway"])
    assert {c.ratio for c in runs} == {"dense", "erk", "halfway"} and {c.code for c in runs} != {""}
    assert {run_id(c) for c in in_order(runs)} == {run_id(c) for c in runs}
    with pytest.raises(ValueError, match="'halfwy' is not known: choose from .*halfway"):
        grid("depth", "quick", ratios=["halfwy"])


def test_an_own_ratio_is_drawn_beside_the_others_with_a_look_of_its_own(store, study):
    registry.load(study)
    chosen = [config(ratio=r, sparsity=s) for r in ("halfway", "erk") for s in (0.5, 0.8)]
    chosen.append(config(ratio="dense", sparsity=0.0))
    for each in chosen:
        store_record(made_up_record(each))
    frame = collect(chosen)
    assert len(frame) == 5
    figure = plots.plot_by_sparsity(summarise(frame))
    legends = figure.findobj(Legend)
    names = [text.get_text() for legend in legends for text in legend.get_texts()]
    assert names == ["dense", "ERK", "halfway", "one seed"]
    looks = {(theme.COLOURS[name], theme.MARKERS[name]) for name in (*theme.LOOKS, "halfway")}
    assert len(looks) == len(theme.LOOKS) + 1
    assert words.data_label(config()) == "shades" and words.model_label("small") == "small"


def test_settings_without_a_look_get_one_and_keep_it():
    assert theme.LABELS["mine:filter"] == "mine filter" and theme.LABELS["erk:2:4"] == "ERK 2:4"
    assert theme.COLOURS["mine:filter"] == theme.COLOURS["mine"] != theme.COLOURS["other"]
    assert theme.COLOURS["erk:2:4"] == theme.COLOURS["erk"]
    assert theme.in_order(["other", "mine", "erk", "dense"]) == ["dense", "erk", "mine", "other"]
    assert list(theme.LABELS) == list(theme.LOOKS)


# --- what they give is looked at -------------------------------------------------------------

WRONG = {
    "half the budget": (lambda shapes, s: dict.fromkeys(shapes, (1 + s) / 2), "the budget of"),
    "a list": (lambda shapes, s: [s] * len(shapes), "gives a list, not a dict"),
    "too few layers": (lambda shapes, s: {next(iter(shapes)): s}, "lack layer"),
    "a layer too many": (lambda shapes, s: dict.fromkeys([*shapes, "x"], s), "unknown layer 'x'"),
    "a sparsity of 1": (lambda shapes, s: dict.fromkeys(shapes, 1.0), r"not in \[0, 1\)"),
    "a text": (lambda shapes, s: dict.fromkeys(shapes, "0.5"), r"not in \[0, 1\)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_ratio_that_gives_something_wrong_is_refused_in_one_line(case):
    function, said = WRONG[case]
    ratios.register("wrong", function)
    with pytest.raises(ValueError, match=said) as caught:
        layer_sparsities("wrong", models.build_model("resnet-8"), 0.5)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="unknown ratio 'other': known are .*wrong"):
        layer_sparsities("other", models.build_model("resnet-8"), 0.5)


@pytest.mark.parametrize("name", ["resnet-8", "vgg-11", "resnet-14-4"])
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.95])
def test_a_registered_ratio_gives_what_its_function_gives(name, sparsity):
    ratios.register("again", lambda shapes, s: ratios.erk(shapes, s))
    model = models.build_model(name)
    again = layer_sparsities("again", model, sparsity)
    assert again == layer_sparsities("erk", model, sparsity)


def test_a_registered_network_is_drawn_from_its_seed_alone():
    models.register("linear", lambda classes: torch.nn.Sequential(torch.nn.Linear(7, classes)))
    before = torch.get_rng_state()
    first, again, other = (models.build_model("linear", 4, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first[0].weight, again[0].weight)
    assert not torch.equal(first[0].weight, other[0].weight)
    assert first[0].out_features == 4
    models.register("nothing", lambda classes: classes)
    with pytest.raises(ValueError, match="model 'nothing' gives a int, not an nn.Module"):
        models.build_model("nothing")


UNFIT = {
    "as many logits as it likes": (lambda n: flat(8 * 8 * 3, n + 1), r"gives \(1, 4\) for one"),
    "other images": (lambda n: flat(100, n), r"does not take images of shape \(n, 3, 8, 8\)"),
    "images of another kind": (lambda n: torch.nn.LSTM(8, 4), "does not take images"),
    "no tensor": (lambda n: Pair(), "gives a tuple for one image"),
}


class Pair(torch.nn.Linear):
    def __init__(self):
        super().__init__(8, 3)

    def forward(self, x):
        return x, x


def flat(inputs, outputs):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(inputs, outputs))


@pytest.mark.parametrize("case", UNFIT)
def test_a_network_that_does_not_fit_the_data_is_refused_before_training(store, study, case):
    registry.load(study)
    models.register("unfit", UNFIT[case][0])
    with pytest.raises(ValueError, match=f"model 'unfit' ({UNFIT[case][1]})"):
        load_or_train(config(model="unfit"), device="cpu", progress=False)
    assert not list((store / "runs").rglob("*.json"))


def test_records_of_forgotten_names_do_not_stop_the_table(store, study):
    registry.load(study)
    load_or_train(config(), device="cpu", progress=False)
    registry._ENTRIES.clear()
    content = json.loads(next((store / "runs").rglob("*.json")).read_text())
    assert content["config"]["dataset"] == "shades"
    runs = load_runs()
    assert isinstance(runs, pd.DataFrame) and list(runs.setting) == ["halfway"]
    assert check_records() == []
