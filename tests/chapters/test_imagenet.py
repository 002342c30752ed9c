"""Chapter 12: the grid by Table 1's recipe, its costs and commands, and runs on made pictures."""

import math
import os
import shlex
import subprocess

import pytest
from conftest import files_under, made_up_record, store_record

from randprune_core import __main__, paths
from randprune_core.analysis.layers import layer_table
from randprune_core.chapters import imagenet as chapter
from randprune_core.config import RunConfig
from randprune_core.data import imagenet
from randprune_core.presentation import plots


@pytest.fixture(scope="module")
def layers():
    return layer_table([chapter.MODEL], ["uniform", "erk", "erk_plus"], chapter.SPARSITIES)


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
    assert "0 of 5 cells recorded" in chapter.summary(records).data
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
    assert not plots.is_empty(figure)


def test_each_missing_run_has_the_command_that_trains_just_it(store, monkeypatch):
    dense, *_ = chapter.grid()
    recorded(dense, 0.78, 1.0)
    records, _ = chapter.collect(seeds=[0, 2])
    block = chapter.show_commands(records).data.removeprefix("```bash\n").removesuffix("\n```")
    say = "torchrun() { echo torchrun $*; }"
    done = subprocess.run(["sh", "-c", f"{say}\n{block}"], capture_output=True, text=True)
    commands = done.stdout.splitlines()
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


def test_the_commands_of_the_figure_fit_into_the_width_of_the_page():
    lines = [line for config in chapter.grid() for line in chapter.command(config).splitlines()]
    assert max(map(len, lines)) < 88


class Ilsvrc:
    variant, train = "original", range(1_281_167)


# --- what needs no data ----------------------------------------------------------------------


def test_counts_are_those_of_wide_resnet_50_2(layers):
    table = chapter.cost_table(layers).set_index(["ratio", "sparsity"])
    dense = table.loc["dense", 0.0]
    assert dense.parameters == 68_883_240 and dense.mac_ratio == 1.0
    assert dense.macs == pytest.approx(11.4e9, rel=0.01)
    erk, uniform = (table.loc[ratio, 0.9] for ratio in ("erk", "uniform"))
    assert erk.parameters == pytest.approx(uniform.parameters, abs=54)
    assert uniform.mac_ratio == pytest.approx(0.1, abs=1e-3)
    assert erk.mac_ratio > 2 * uniform.mac_ratio
    assert erk.flop / dense.flop == pytest.approx(100 / 90)  # dense kernels skip no zero
    assert dense.flop == 6 * dense.macs * 1_281_167 * 90


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
    erk = found[1]["cost"]
    assert (erk["kept_weights"], erk["dense_weights"]) == (2471, 4940)
    for record in found:
        assert math.isfinite(record["history"]["gradient_norm"]["norm"][-1])
    same, made = chapter.demonstration(records, found)
    assert same is records and made is found  # not trained a second time
    assert "Synthetic images" in chapter.plot_gradient_norm(records, found)._suptitle.get_text()
