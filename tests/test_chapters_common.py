import hashlib
import math
import sys

import pandas as pd
import pytest
from conftest import files_under, made_up_record, store_record

from randprune_core import paths
from randprune_core.chapters import common
from randprune_core.presentation.words import listing, plus_minus
from randprune_core.records.failures import note_failure
from randprune_core.sweeps import grids

SMALL = {
    "profile": "cpu",
    "models": ["resnet-8", "resnet-14"],
    "ratios": ["dense", "erk"],
    "sparsities": [0.9],
    "train_missing": False,
}


def record_all(leave_out=(), seeds=(0,), accuracy=0.5, **parameters):
    grid = {key: SMALL[key] for key in ("models", "ratios", "sparsities")} | parameters
    for config in grids.grid("depth", "cpu", seeds=seeds, variant="jpeg75", **grid):
        if (config.model, config.ratio) not in leave_out:
            store_record(made_up_record(config, accuracy))


def test_no_record_is_told_as_such(store):
    records = common.collect_records("depth", **SMALL, seeds=[0])
    assert records.runs.empty and records.seeds() == "no seed"
    assert records.coverage() == (
        "0 of 4 cells recorded (0 of 4 runs, no seed a cell); missing: "
        "ResNet-8: everything; ResNet-14: everything"
    )
    assert records.source().endswith("no seed")


def test_missing_cells_are_named_and_counted(store):
    record_all(leave_out=[("resnet-14", "erk")])
    records = common.collect_records("depth", **SMALL)
    assert records.coverage() == (
        "3 of 4 cells recorded (3 of 12 runs, one seed a cell); missing: ResNet-14: ERK 0.9"
    )
    assert records.cells().recorded.tolist() == [1, 1, 1, 0]
    assert set(records.cells().wanted) == {3}


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [((0,), (0,), "one seed"), ((0, 1), (0, 1), "2 seeds"), ((0, 1, 2), (0,), "1 to 3 seeds")],
)
def test_seeds_are_those_behind_a_cell(store, first, second, words):
    record_all(seeds=first, models=["resnet-8"])
    record_all(seeds=second, models=["resnet-14"])
    records = common.collect_records("depth", **SMALL)
    assert records.seeds() == words
    assert "no cell is missing" in records.coverage()


def test_missing_sparsities_of_a_ratio_are_told_together(store):
    wide = {**SMALL, "sparsities": [0.7, 0.8, 0.9]}
    record_all()
    record_all(sparsities=[0.7], models=["resnet-8"])
    assert (
        common.collect_records("depth", **wide)
        .coverage()
        .endswith("missing: ResNet-8: ERK 0.8; ResNet-14: ERK 0.7 and 0.8")
    )


def test_source_names_profile_data_copy_and_schedule(store):
    record_all()
    records = common.collect_records("depth", **SMALL)
    assert records.variant == "jpeg75"
    assert records.source() == (
        "Profile cpu: CIFAR-10, copy jpeg75, 10,000 images, 16 epochs, one seed"
    )
    assert records.summary().data == (
        f"- {records.source()}\n- {records.coverage()}\n- Profile cpu is a short schedule on "
        "fewer images: it shows a direction, not the paper's accuracies"
    )


def test_only_default_parameters_count_as_default(store):
    changes = {"profile": "quick", "models": ["resnet-8"], "seeds": [0], "device": "cpu"}
    defaults = dict.fromkeys(["models", "ratios", "sparsities", "seeds", "train_missing"])
    defaults |= {"profile": "auto", "device": "auto"}
    assert common.is_default(*defaults.values())
    for name, value in {**changes, "train_missing": False}.items():
        assert not common.is_default(*(defaults | {name: value}).values())
    assert not common.collect_records("depth", **SMALL).default


def test_one_value_stands_for_a_list_and_an_empty_list_raises():
    assert common.as_list("models", None) is None
    assert common.as_list("models", "resnet-8") == ["resnet-8"]
    assert common.as_list("sparsities", 0.9) == [0.9]
    assert common.as_list("seeds", (0, 1)) == [0, 1]
    with pytest.raises(ValueError, match="models is empty"):
        common.as_list("models", [])


@pytest.mark.parametrize(
    "wrong", [{"profile": "cpuu"}, {"models": "resnet-9"}, {"sparsities": 1.0}, {"ratios": "erkk"}]
)
def test_bad_parameters_raise_one_line(store, wrong):
    with pytest.raises(ValueError, match="^[^\n]+$"):
        common.collect_records("depth", **{**SMALL, **wrong})


@pytest.mark.parametrize(
    ("words", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), ([1, 2, 3], "1, 2 and 3")]
)
def test_listing(words, text):
    assert listing(words) == text


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((62.54, math.nan, math.nan), "62.5"),
        ((62.54, 62.04, 63.04), "62.5 ± 0.5"),
        ((-1.26,), "−1.3"),
        ((-0.01,), "0.0"),
    ],
)
def test_plus_minus_has_a_reach_only_with_an_interval(numbers, text):
    assert plus_minus(*numbers) == text


def test_grid_table_has_a_dash_for_a_missing_cell_and_none_for_an_impossible_one():
    rows = [
        ["resnet-14", "uniform", 0.9, 50.0],
        ["resnet-14", "dense", 0.0, 70.0],
        ["resnet-14", "erk", 0.8, 60.0],
        ["resnet-8", "erk", 0.9, 55.0],
    ]
    cells = pd.DataFrame(rows, columns=["model", "ratio", "sparsity", "mean"])
    table = common.grid_table(cells.assign(low=math.nan, high=math.nan), "mean")
    assert table.columns.tolist() == ["network", "ratio", "0", "0.8", "0.9"]
    assert table.values.tolist() == [
        ["ResNet-14", "dense", "70.0", "", ""],
        ["ResNet-14", "Uniform", "", "–", "50.0"],
        ["ResNet-14", "ERK", "", "60.0", "–"],
        ["ResNet-8", "ERK", "", "–", "55.0"],
    ]


def test_table_is_a_myst_table_with_caption_and_name():
    shown = common.show_table(pd.DataFrame({"a": ["1.0"]}), "tab-x", "A caption.").data
    assert shown.startswith(":::{table} A caption.\n:name: tab-x\n\n| a ")
    assert "1.0" in shown and shown.endswith(":::")
    empty = common.show_table(pd.DataFrame(columns=["a"]), "tab-x", "A caption.").data
    assert ":::" not in empty and "A caption." in empty


def test_figure_data_goes_to_figures_by_default_and_to_local_otherwise(store, capsys):
    table = pd.DataFrame({"model": ["resnet-8"], "gap": [1 / 3]})
    common.save_figure_data(table, "depth", default=True)
    common.save_figure_data(table, "depth", default=False)
    assert files_under(store) == ["figures/depth.csv", "local/depth.csv"]
    text = (paths.FIGURES / "depth.csv").read_text()
    assert text == "model,gap\nresnet-8,0.333333\n"
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    assert capsys.readouterr().out.splitlines() == [
        f"results/figures/depth.csv: 1 rows, digest {digest}",
        f"results/local/depth.csv: 1 rows, digest {digest}",
    ]


def test_figure_data_that_did_not_change_is_not_written_again(store):
    table = pd.DataFrame({"gap": [1.0]})
    path = common.save_figure_data(table, "depth", default=True)
    before = path.stat().st_mtime_ns
    assert common.save_figure_data(table, "depth", default=True).stat().st_mtime_ns == before
    common.save_figure_data(table + 1, "depth", default=True)
    assert path.read_text() == "gap\n2\n"


def test_provenance_is_grouped_by_where_the_runs_were_made(store):
    base = {"provenance.commit": "a" * 40, "provenance.dirty": False, "provenance.device": "CPU"}
    base |= {"provenance.versions.torch": "2", "provenance.data.fingerprint": "f" * 64}
    base |= {"provenance.seconds": 600.0, "n": 10_000}
    runs = pd.DataFrame([base, base, base | {"provenance.dirty": True}])
    table = common.provenance(runs)
    assert table.runs.tolist() == [2, 1]
    assert table["commit"].tolist() == ["a" * 12, "a" * 12 + "+"]
    assert table["seconds in all"].tolist() == ["1,200", "600"]
    assert table["test images"].tolist() == ["10,000", "10,000"]
    assert common.provenance(runs[:0]).empty


def test_provenance_of_a_record_that_lacks_some_of_it_says_unknown(store):
    record_all()
    records = common.collect_records("depth", **SMALL)
    (row,) = common.provenance(records.runs).to_dict("records")
    assert row["runs"] == 4 and row["torch"] == "unknown" and row["seconds in all"] == "6"


def test_glue_stores_text_where_myst_nb_is_there_and_prints_where_it_is_not(monkeypatch, capsys):
    stored = {}

    def glue(name, value, display):
        stored[name] = value
        assert display is False

    monkeypatch.setitem(sys.modules, "myst_nb", type(sys)("myst_nb"))
    sys.modules["myst_nb"].glue = glue
    common.glue({"depth-recorded": 21})
    assert stored == {"depth-recorded": "21"}
    monkeypatch.setitem(sys.modules, "myst_nb", None)
    common.glue({"depth-recorded": 21})
    assert capsys.readouterr().out == "depth-recorded: 21\n"


def test_one_record_is_none_for_cifar_that_is_not_recorded(store):
    (config,) = grids.grid(
        "depth", "cpu", models=["resnet-8"], ratios=["dense"], seeds=[0], variant="jpeg75"
    )
    assert common.one_record(config) is None
    store_record(made_up_record(config))
    assert common.one_record(config)["run_id"]


def test_failed_runs_are_shown_with_their_reason_until_they_are_recorded(store):
    records = common.collect_records("depth", **SMALL)
    assert records.failed() == "" and "failed" not in records.summary().data
    config = records.configs[-1]
    note_failure(config, RuntimeError("the loss became nan in epoch 2"))
    line = f"1 of {len(records.configs)} runs failed: ResNet-14 ERK 0.9, "
    assert records.failed().startswith(line)
    assert f"seed {config.seed_init} (the loss became nan in epoch 2)" in records.summary().data
    store_record(made_up_record(config))
    assert common.collect_records("depth", **SMALL).failed() == ""
