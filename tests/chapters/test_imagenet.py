"""Chapter 11: the grid by Table 1's recipe, its costs and commands, and runs on made pictures."""

import math
import os
import shlex

import pytest
from conftest import files_under, made_up_record, store_record

from randprune_core import __main__, paths
from randprune_core.chapters import imagenet as chapter
from randprune_core.chapters import imagenet_cost as costs
from randprune_core.config import RunConfig
from randprune_core.data import imagenet
from randprune_core.presentation import plots


@pytest.fixture(scope="module")
def layers():
    return costs.layers(None, None, None)


# --- the grid and its records ----------------------------------------------------------------


def test_the_grid_follows_table_1_with_more_epochs_for_the_sparse_networks():
    configs = chapter.grid()
    assert [(c.ratio, c.sparsity) for c in configs] == [("dense", 0.0)] + [
        (ratio, sparsity) for ratio in ("snip", "erk") for sparsity in (0.5, 0.9)
    ]
    assert {(c.ratio == "dense", c.epochs) for c in configs} == {(True, 90), (False, 100)}
    for config in configs:
        assert (config.model, config.train_images) == ("wide_resnet50_2", 1_281_167)
        assert (config.batch_size, config.lr, config.weight_decay) == (768, 0.4, 1e-4)


def test_without_records_the_chapter_names_what_is_missing(store):
    records, found = chapter.collect()
    assert (found, records.profile, records.default) == ([], "paper", True)
    figure = chapter.plot_gradient_norm(records, found)
    assert plots.is_empty(figure) and not figure.legends  # there is no line to name
    assert "0 of 5 cells recorded" in chapter.summary(records).data
    missing = "Wide ResNet-50-2: dense, SNIP ratio 0.5 and 0.9 and ERK 0.5 and 0.9"
    assert chapter.missing(records) == missing
    assert files_under(store) == []


def test_names_that_are_not_known_are_refused(store):
    with pytest.raises(ValueError, match="unknown profile 'full'"):
        chapter.collect(profile="full")
    with pytest.raises(ValueError, match="'erkk'"):
        chapter.collect(ratios=["erkk"])
    with pytest.raises(ValueError, match="imagenet was not found"):
        chapter.collect(train_missing=True)


def recorded(config: RunConfig, accuracy: float, level: float) -> dict:
    """A made-up record of a whole training, whose gradient norm is `level` at its end."""
    record = made_up_record(config, accuracy)
    epochs = config.epochs
    early = [(n + 1) / 10 for n in range(50)]
    curve = {"epoch": [*early, *range(6, epochs + 1)], "norm": [level] * (50 + epochs - 5)}
    falls = {90: (30, 60, 80), 100: (30, 60, 90)}[epochs]
    rates = [0.4 / 10 ** sum(e >= f for f in falls) * min((e + 1) / 5, 1) for e in range(epochs)]
    record["history"] |= {"gradient_norm": curve, "lr": rates}
    store_record(record)
    return record


def test_recorded_runs_are_drawn_with_both_schedules(store):
    dense, *sparse = chapter.grid(sparsities=[0.5])
    recorded(dense, 0.78, 1.0)
    for config, level in zip(sparse, (0.9, 0.8), strict=True):
        recorded(config, 0.77, level)
    records, found = chapter.collect(sparsities=[0.5])
    assert len(found) == 3 and not records.default
    assert "3 of 3 cells recorded" in chapter.summary(records).data
    figure = chapter.plot_gradient_norm(records, found)
    (whole,) = figure.axes
    upright = {line.get_xdata()[0] for line in whole.lines if len(set(line.get_xdata())) == 1}
    assert upright >= {30, 60, 80, 90} and not whole.texts
    assert len([line for line in whole.lines if len(line.get_xdata()) > 50]) == 3
    assert plots.digest(figure) != plots.digest(chapter.plot_gradient_norm(records, found[:1]))
    assert not plots.is_empty(figure) and chapter.missing(records) == ""


def test_each_missing_run_has_the_command_that_trains_just_it(store, monkeypatch):
    dense, *_ = chapter.grid()
    recorded(dense, 0.78, 1.0)
    records, _ = chapter.collect(seeds=[0, 2])
    commands = chapter.show_commands(records).data.splitlines()[1:-1]
    assert len(commands) == len(records.configs) - 1
    monkeypatch.setattr(imagenet, "load_folder", lambda model: Ilsvrc)
    configs = []
    for command in commands:
        launcher, words = command.split(" -m randprune_core ")
        assert launcher == "torchrun --standalone --nproc-per-node 4"
        parsed = vars(__main__._parser().parse_args(shlex.split(words)))
        values = {name: parsed[name] for name in parsed if name in RunConfig.__dataclass_fields__}
        configs.append(__main__._config(values, "cpu"))
    assert configs == [config for config in records.configs if config != dense]


class Ilsvrc:
    variant, train = "original", range(1_281_167)


# --- what needs no data ----------------------------------------------------------------------


def test_counts_are_those_of_wide_resnet_50_2(layers):
    table = costs.cost_table(layers).set_index(["ratio", "sparsity"])
    dense = table.loc["dense", 0.0]
    assert dense.parameters == 68_883_240 and dense.mac_ratio == 1.0
    assert dense.macs == pytest.approx(11.4e9, rel=0.01)
    erk, uniform = (table.loc[ratio, 0.9] for ratio in ("erk", "uniform"))
    assert erk.parameters == pytest.approx(uniform.parameters, abs=54)
    assert uniform.mac_ratio == pytest.approx(0.1, abs=1e-3)
    assert erk.mac_ratio > 2 * uniform.mac_ratio
    assert erk.flop / dense.flop == pytest.approx(100 / 90)  # dense kernels skip no zero
    assert dense.flop == 6 * dense.macs * 1_281_167 * 90


def test_the_estimate_is_labelled_and_the_unequal_budget_is_computed(layers):
    table = costs.cost_table(layers)
    assert "estimate, not a measurement" in costs.estimate(table)
    assert "network" not in costs.show_costs(table)
    assert costs.cost_caption(table).startswith("Wide ResNet-50-2: parameters")
    text = costs.unequal(table)
    assert "11.1 % more steps" in text
    share = table[(table.ratio == "erk") & (table.sparsity == 0.9)].mac_ratio.iloc[0]
    assert f"{share * 100 / 90:.3f} under ERK at 0.9" in text
    assert "under" not in costs.unequal(table[table.ratio != "erk"])


def test_a_list_of_ratios_that_need_data_leaves_those_of_shapes(layers):
    assert set(layers.ratio) == {"uniform", "erk", "erk_plus"}
    chosen = costs.layers(["resnet50"], ["dense", "snip", "erk"], [0.8])
    assert set(chosen.ratio) == {"erk"} and set(chosen.model) == {"resnet50"}


def test_the_recipe_table_has_both_schedules():
    table = costs.recipe_table().set_index("setting")
    assert table.loc["epochs", ["dense", "sparse"]].tolist() == ["90", "100"]
    assert table.loc["learning rate ÷ 10 after"].tolist()[:2] == ["30, 60, 80", "30, 60, 90"]
    assert set(table.source) == {"[T] [S]", "[R]", "ours"}


# --- made pictures ---------------------------------------------------------------------------


def test_made_runs_are_whole_and_leave_nothing_behind(store, monkeypatch):
    monkeypatch.setenv("RANDPRUNE_DATA", "as before")
    monkeypatch.setitem(chapter._MADE_EPOCHS, "quick", 2)
    records, found = chapter.collect(profile="quick", ratios=["dense", "erk"], sparsities=[0.5])
    assert os.environ["RANDPRUNE_DATA"] == "as before"
    assert (
        files_under(store) == []
        and not paths.CHECKPOINTS.exists()
        or not any(paths.CHECKPOINTS.iterdir())
    )
    assert (len(found), records.runs.ratio.tolist()) == (2, ["dense", "erk"])
    assert not records.default
    assert chapter.checked(found).splitlines()[1] == (
        "erk 0.5: 20 steps, 2471 of 4940 weights kept, the loss fell: True"
    )
    for record in found:
        assert math.isfinite(record["history"]["gradient_norm"]["norm"][-1])
    same, made = chapter.demonstration(records, found)
    assert same is records and made is found  # not trained a second time
    assert "Made pictures" in chapter.plot_gradient_norm(records, found)._suptitle.get_text()
