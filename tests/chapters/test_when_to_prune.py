"""The chapter on when to prune: scenarios beside static masks, and masks that are watched."""

import math

import pandas as pd
import pytest

from randprune_core.analysis import published
from randprune_core.chapters import when_to_prune
from randprune_core.config import setting
from randprune_core.presentation.theme import LABELS
from randprune_core.sweeps import grids
from randprune_core.sweeps.profiles import PROFILES

SCENARIOS = {"dense", "erk", "erk:during", "erk:after", "erk:set", "erk:rigl"}
OURS = ["model", "ratio", "sparsity", "n", "difference", "low", "high"]


def test_the_grid_has_every_scenario_once_for_each_network_and_seed():
    for profile in PROFILES:
        configs = grids.grid("when", profile, variant="original", seeds=[0])
        for model in {config.model for config in configs}:
            own = [setting(config) for config in configs if config.model == model]
            assert sorted(own) == sorted(SCENARIOS)


# --- beside the static mask ------------------------------------------------------------------


def drawn(ours: pd.DataFrame):
    figure = when_to_prune.plot_over_static(ours, published.rigl(), "title")
    return figure, figure.get_axes()[0]


def test_published_numbers_are_hollow_and_named_at_their_last_point():
    figure, axis = drawn(pd.DataFrame(columns=OURS))
    zero, *lines = axis.lines
    assert set(zero.get_ydata()) == {0}
    assert len(lines) == 3 and not figure.legends
    assert all(line.get_markerfacecolor() == "white" for line in lines)
    for line in lines:
        assert line.get_xdata() == pytest.approx([0.5, 0.2, 0.1, 0.05])  # what is kept
    heights = {text.get_text(): text.xy[1] for text in axis.texts}
    assert heights["RigL"] == pytest.approx(2.8) and heights["static"] == 0
    left, right = axis.get_xlim()
    assert left > right  # sparser to the right
    assert [text.get_text() for text in axis.get_xticklabels()] == ["0.95", "0.9", "0.8", "0.5"][
        ::-1
    ]


def test_runs_of_this_book_are_filled_beside_each_other_with_their_intervals():
    rows = [["resnet-8", "erk:set", 0.9, 3, 0.5, -0.4, 1.4]]
    rows.append(["resnet-8", "erk:rigl", 0.9, 1, 0.9, math.nan, math.nan])
    figure, axis = drawn(pd.DataFrame(rows, columns=OURS))
    first, interval, second = axis.lines[4:]
    assert first.get_markerfacecolor() != "white"
    assert (first.get_ydata()[0], second.get_ydata()[0]) == (0.5, 0.9)
    assert list(interval.get_ydata()) == [-0.4, 1.4]
    assert first.get_xdata()[0] != second.get_xdata()[0]
    (key,) = figure.legends
    assert [text.get_text() for text in key.get_texts()] == [
        LABELS["erk:set"],
        LABELS["erk:rigl"],
    ]


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
