"""The chapter on when to prune: empty, one-seed and full grids, and masks that are watched."""

import numpy as np
import pandas as pd
import pytest
from conftest import made_up_record, store_record

from randprune_core.analysis import cells, intervals
from randprune_core.chapters import when_to_prune, when_to_prune_figures
from randprune_core.chapters.shared.records import Records, by_setting
from randprune_core.config import RunConfig, setting
from randprune_core.presentation import plots
from randprune_core.records.table import records_to_frame
from randprune_core.sweeps import grids
from randprune_core.sweeps.profiles import PROFILES

LEVELS = {"dense": 0.64, "erk": 0.58, "erk:during": 0.56, "erk:after": 0.40}
LEVELS |= {"erk:set": 0.59, "erk:rigl": 0.60}


def made_up(seeds=1, models=("resnet-8", "resnet-20"), only=tuple(LEVELS), spread=0.002) -> Records:
    """Records of profile `cpu` whose accuracy depends on the setting and a little on the seed."""
    grid = grids.grid("when", "cpu", models=models, seeds=range(seeds), variant="jpeg75")
    found = []
    for config in grid:
        if setting(config) in only:
            accuracy = LEVELS[setting(config)] + spread * (config.seed_init - (seeds - 1) / 2)
            found.append(made_up_record(config, accuracy))
    return Records("when", "cpu", grid, records_to_frame(found), True)


def differences(records: Records) -> pd.DataFrame:
    return when_to_prune.against_static(by_setting(records.runs))


def points(records: Records) -> pd.DataFrame:
    return cells.summarise(by_setting(records.runs))


def test_the_grid_has_every_scenario_once_for_each_network_and_seed():
    for profile in PROFILES:
        configs = grids.grid("when", profile, variant="original", seeds=[0])
        for model in {config.model for config in configs}:
            own = [setting(config) for config in configs if config.model == model]
            assert sorted(own) == sorted(LEVELS)


# --- without records -------------------------------------------------------------------------


def test_without_records_tables_are_empty_and_the_figures_are_drawn(store):
    empty = made_up(only=())
    assert differences(empty).empty and points(empty).empty
    assert when_to_prune.cell_table(points(empty), "mean").empty
    curves = when_to_prune.curves(empty)
    assert curves.empty
    assert when_to_prune.shown_sparsity(curves) is None
    assert when_to_prune.figure_table(empty, points(empty), differences(empty)).empty
    for figure in (
        when_to_prune_figures.plot_scenarios(points(empty), "title"),
        when_to_prune_figures.plot_curves(curves, empty.configs, "title"),
    ):
        assert [axis.get_title() for axis in figure.get_axes()] == ["no run is recorded"]


def test_one_cell_allows_a_figure_and_no_statement():
    one = made_up(models=("resnet-8",), only=("erk",))
    assert differences(one).empty
    figure = when_to_prune_figures.plot_scenarios(points(one), "title")
    (axis,) = figure.get_axes()
    assert [label.get_text() for label in axis.get_yticklabels()] == ["before training"]


def test_a_scenario_without_its_static_mask_is_compared_with_nothing():
    assert differences(made_up(only=("dense", "erk:after"))).empty
    assert list(differences(made_up(only=("erk", "erk:after"))).ratio) == ["erk:after"] * 2


# --- one seed and several --------------------------------------------------------------------


def test_differences_are_contrasts_and_only_against_the_same_ratio_and_sparsity():
    records = made_up(seeds=3)
    found = differences(records)
    assert set(found.ratio) == set(LEVELS) - {"dense", "erk"}
    row = found[(found.ratio == "erk:rigl") & (found.model == "resnet-8")].iloc[0]
    samples = [
        [LEVELS[name] + shift for shift in (-0.002, 0, 0.002)] for name in ("erk:rigl", "erk")
    ]
    values = [100 * np.array(sample) for sample in samples]
    still = cells.cells_of(by_setting(records.runs)).spread
    expected = intervals.contrast(values, [1, -1], still)
    assert (row.difference, row.low, row.high) == pytest.approx(expected[:3])


# --- tables ----------------------------------------------------------------------------------


def test_the_scenarios_are_read_from_the_configs():
    table = when_to_prune.scenario_table(made_up().configs).set_index("scenario")
    assert list(table.index) == [when_to_prune.label(name) for name in when_to_prune.ORDER]
    assert table["dense epochs"].tolist() == [16, 0, 4, 12, 0, 0]
    assert (table["dense epochs"] + table["sparse epochs"] == 16).all()
    assert table["learning rate when pruned"].tolist() == ["–", "0.1", "0.1", "0.001", "0.1", "0.1"]
    assert table["weights trained (%)"].tolist() == ["100", "10", "32.5", "77.5", "10", "10"]
    assert table["updates of the mask"].tolist() == ["–"] * 4 + [11, 11]
    assert table["dense backward passes for it"].tolist() == ["–"] * 5 + [44]


def test_a_table_has_the_scenarios_of_each_network_in_the_order_of_the_chapter():
    table = when_to_prune.cell_table(points(made_up()), "mean")
    names = [when_to_prune.label(name) for name in when_to_prune.ORDER]
    assert table.scenario.tolist() == names + names
    assert table.network.tolist() == ["ResNet-8"] * 6 + ["ResNet-20"] * 6
    assert table["0.9"].tolist()[:6] == [
        "",
        *(f"{number}.0\u00a0○" for number in (58, 56, 40, 59, 60)),
    ]


def test_the_file_has_a_row_a_cell_and_no_difference_for_dense_and_static():
    records = made_up()
    table = when_to_prune.figure_table(records, points(records), differences(records))
    assert len(table) == 12 and set(table.source) == {"cpu jpeg75"}
    without = table[table.difference.isna()]
    assert sorted(set(without.setting)) == ["dense", "erk"]


# --- curves ----------------------------------------------------------------------------------


def test_curves_are_means_over_seeds_of_the_recorded_histories(store):
    configs = [
        RunConfig(epochs=4, ratio="erk", sparsity=0.9, when="after", seed_init=seed)
        for seed in range(2)
    ]
    values = [[0.1, 0.5, 0.75, 0.25], [0.2, 0.5, 0.85, 0.45]]
    for config, history in zip(configs, values, strict=True):
        record = made_up_record(config)
        record["history"]["validation_accuracy"] = history
        store_record(record)
    records = Records("when", "paper", configs, pd.DataFrame(), True)
    curves = when_to_prune.curves(records)
    assert curves.epoch.tolist() == [1, 2, 3, 4] and set(curves.n) == {2}
    assert curves["mean"].tolist() == pytest.approx([15, 50, 80, 35])
    assert curves.low[1] == curves.high[1] == pytest.approx(50)
    (axis,) = when_to_prune_figures.plot_curves(curves, configs, "title").get_axes()
    assert axis.lines[-1].get_xdata()[0] == 3  # pruned after the third epoch


# --- masks that are watched ------------------------------------------------------------------


def test_masks_that_are_watched_move_as_the_schedule_says(store, monkeypatch):
    monkeypatch.setattr(
        when_to_prune, "LIVE", when_to_prune.LIVE | {"epochs": 4, "train_images": 50}
    )
    moves = when_to_prune.watch_rules()
    assert moves.ratio.tolist() == ["erk:set"] * 2 + ["erk:rigl"] * 2
    assert moves.epoch.tolist() == [1, 2] * 2
    assert ((moves.changed > 0) & (moves.changed <= moves.dropped)).all()
    assert ((moves.ever > 0.1) & (moves.ever < 0.17)).all()
    text = when_to_prune.moves_summary(moves)
    assert text.startswith("With SET, 2 updates change ") and "With RigL" in text
    digest = plots.digest(when_to_prune_figures.plot_moves(moves, when_to_prune.moves_title()))
    assert digest.startswith("2 panels")


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_accuracy_figure_has_a_panel_a_network_and_draws_every_mean(seeds):
    records = made_up(seeds=seeds, models=("resnet-8", "resnet-14", "resnet-20", "resnet-32"))
    axes = when_to_prune_figures.plot_scenarios(points(records), "title").get_axes()
    assert [axis.get_title() for axis in axes][-1] == "ResNet-32, sparsity 0.9"
    assert len(axes) == 4
    drawn = {round(float(line.get_xdata()[0]), 6) for line in axes[0].lines}
    assert {round(100 * level, 6) for level in LEVELS.values()} <= drawn
    assert len(axes[0].patches) == (seeds > 1)  # the band of the dense network
