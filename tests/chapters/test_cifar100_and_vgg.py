"""The chapter on CIFAR-100 and VGG: nothing recorded, something recorded, and what is counted."""

import pandas as pd
import pytest
from conftest import made_up_record, store_record

from randprune_core.analysis.cells import summarise
from randprune_core.chapters import cifar100_and_vgg as chapter
from randprune_core.sweeps.grids import grid


def record(profile="cpu", seeds=(0,)) -> None:
    """Records of `vgg-11` on CIFAR-10, 80 % dense and 70 % sparse."""
    for seed in seeds:
        for config in grid("vgg", profile, models=["vgg-11"], seeds=[seed]):
            accuracy = 0.8 if config.ratio == "dense" else 0.7
            store_record(made_up_record(config, accuracy + 0.001 * seed))


def test_without_records_the_page_says_so(store):
    parts = chapter.collect()
    assert [part.profile for part in parts] == ["cpu", "cpu"] and parts[0].default
    assert chapter.together(parts).empty and summarise(chapter.together(parts)).empty
    lines = chapter.summary(parts).data
    assert "CIFAR-10: none of 6 cells" in lines and "CIFAR-100: none of 6 cells" in lines
    table = chapter.figure_table(parts)
    assert (table.recorded == 0).all() and table["mean"].isna().all() and len(table) == 12


def test_what_is_said_of_a_data_set_without_runs_does_not_depend_on_the_copy_at_hand(
    store, cifar_folder
):
    with pytest.warns(UserWarning, match="no known copy"):
        parts = chapter.collect()
    assert len(parts[1].variant) == 8
    assert parts[1].variant not in chapter.summary(parts).data
    assert parts[1].variant not in chapter.figure_table(parts).to_csv()


def test_seeds_have_an_interval_and_networks_stay_apart_by_data_set(store):
    record(seeds=(0, 1, 2))
    for seed in range(3):
        for config in grid("cifar100", "cpu", models=["vgg-11"], seeds=[seed]):
            store_record(made_up_record(config, 0.5 if config.ratio == "dense" else 0.3))
    parts = chapter.collect()
    points = chapter.points(parts).set_index(["model", "ratio", "sparsity"])
    assert points.loc[("vgg-11, CIFAR-10", "dense", 0.0), "mean"] == pytest.approx(80.1)
    assert points.loc[("vgg-11, CIFAR-100", "erk", 0.9), "mean"] == pytest.approx(30.0)


def test_on_digits_there_is_one_grid(store):
    record("quick")
    parts = chapter.collect(profile="quick", train_missing=False)
    assert len(parts) == 1 and not parts[0].default
    assert "digits" in chapter.summary(parts).data


def test_parameters_reach_both_grids(store):
    parts = chapter.collect(models="vgg-16", sparsities=[0.5], seeds=3, profile="paper")
    for part in parts:
        assert {(c.model, c.seed_init) for c in part.configs} == {("vgg-16", 3)}
        assert {c.sparsity for c in part.configs} == {0.0, 0.5}
    with pytest.raises(ValueError, match="vgg-12"):
        chapter.collect(models=["vgg-12"])


def test_the_table_behind_the_figure_has_every_cell_once(store):
    record()
    table = chapter.figure_table(chapter.collect())
    keys = ["model", "ratio", "sparsity"]
    assert list(table.columns) == [*keys, "recorded", "wanted", "mean", "low", "high"]
    assert not table.duplicated(keys).any()
    assert table[table["mean"].notna()].model.unique().tolist() == ["vgg-11, CIFAR-10"]
    assert isinstance(table, pd.DataFrame) and len(table) == 12
