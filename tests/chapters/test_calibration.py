import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import made_up_record, store_record

from randprune_core.analysis import claim_runs
from randprune_core.chapters import calibration
from randprune_core.chapters.shared.records import Records
from randprune_core.config import RunConfig
from randprune_core.metrics import classification
from randprune_core.metrics.classification import chance_error, error_of_bins, overconfidence
from randprune_core.presentation import plots
from randprune_core.records.table import records_to_frame

SIZES = {"resnet-8": 1_000, "resnet-14": 2_000, "resnet-20": 3_000}
SEEDS = (-0.001, 0.0, 0.001)


def bins_of(rows) -> list[dict]:
    names = ("lower", "upper", "count", "confidence", "accuracy")
    return [dict(zip(names, row, strict=True)) for row in rows]


BINS = bins_of([(0.0, 0.5, 0, None, None), (0.5, 0.8, 30, 0.7, 0.6), (0.8, 1.0, 70, 0.9, 1.0)])


@pytest.fixture
def made(store):
    """A function that stores records and collects them: ECE by (model, ratio, sparsity)."""

    def make(errors: dict, spread=(0.0,), bins=BINS) -> Records:
        configs, stored = [], []
        for (model, ratio, sparsity), ece in errors.items():
            for seed, shift in enumerate(spread):
                config = RunConfig(
                    variant="jpeg75", model=model, ratio=ratio, sparsity=sparsity, seed_init=seed
                )
                record = made_up_record(config)
                record["cost"]["dense_weights"] = SIZES[model]
                record["test"] |= {"ece": ece + shift, "bins": bins, "n": 100}
                store_record(record)
                configs.append(config)
                stored.append(record)
        return Records("calibration", "cpu", configs, records_to_frame(stored), True)

    return make


def pairs(**differences: float) -> dict:
    """ECE 0.03 in each dense network, and more by a number in ERK at 0.9."""
    errors = {}
    for model, difference in differences.items():
        name = model.replace("_", "-")
        errors |= {(name, "dense", 0.0): 0.03, (name, "erk", 0.9): 0.03 + difference}
    return errors


def nothing(full: Records) -> Records:
    return Records("calibration", "cpu", full.configs, records_to_frame([]), True)


# ---------------------------------------------------------------- bins


def test_empty_bins_count_nothing():
    bins = calibration.record_bins({"test": {"bins": BINS}})
    assert math.isnan(bins.confidence[0])
    assert overconfidence(bins) == pytest.approx(0.3 * 0.1 - 0.7 * 0.1)


def test_overconfidence_is_the_signed_error():
    """Where every bin is too sure it is the ECE, where every bin is too unsure its negative."""
    for accuracy, sign in ((0.5, 1), (1.0, -1)):
        bins = pd.DataFrame(bins_of([(0.0, 0.8, 20, 0.7, accuracy), (0.8, 1.0, 5, 0.9, accuracy)]))
        if sign == 1:
            assert overconfidence(bins) == pytest.approx(error_of_bins(bins))
        else:
            assert overconfidence(bins) == pytest.approx(-error_of_bins(bins))


def test_chance_error_is_the_mean_error_of_simulated_perfect_calibration():
    draw = np.random.default_rng(0)
    errors, expected = [], []
    for _ in range(300):
        confidence = draw.uniform(0.5, 1.0, 2_000)
        right = draw.random(2_000) < confidence
        # two classes; class 0 is always the prediction
        bins = classification.calibration_bins(
            np.stack([confidence, 1 - confidence], 1), np.where(right, 0, 1)
        )
        errors.append(error_of_bins(bins))
        expected.append(chance_error(bins))
    assert np.mean(expected) == pytest.approx(np.mean(errors), rel=0.05)


def test_chance_error_is_zero_where_confidence_leaves_no_doubt():
    bins = pd.DataFrame(bins_of([(0.0, 0.5, 0, np.nan, np.nan), (0.5, 1.0, 9, 1.0, 1.0)]))
    assert chance_error(bins) == 0


def test_with_bins_reads_each_run_from_its_own_record(made):
    found = made(pairs(resnet_8=0.01), SEEDS)
    other = bins_of([(0.0, 1.0, 100, 0.9, 0.5)])
    record = made_up_record(found.configs[-1])
    record["test"]["bins"] = other
    store_record(record)
    runs = calibration.with_bins(found).runs
    assert runs.run_id.tolist() == found.runs.run_id.tolist()
    assert runs.overconfidence.tolist() == pytest.approx([-0.04] * 5 + [0.4])


def test_with_bins_reads_the_runs_of_the_pool_too(made):
    found = made(pairs(resnet_8=0.01))
    stored = [made_up_record(config) for config in claim_runs.pool("cpu", "jpeg75")[:3]]
    for record in stored:
        record["test"]["bins"] = BINS
        store_record(record)
    pool = calibration.with_bins(replace(found, pool=records_to_frame(stored))).pool
    assert pool.run_id.tolist() == [record["run_id"] for record in stored]
    assert pool.overconfidence.tolist() == pytest.approx([-0.04] * 3)


# ---------------------------------------------------------------- which runs are drawn


def test_without_a_pair_no_diagram_is_drawn(made):
    for errors in ({("resnet-8", "dense", 0.0): 0.1}, {("resnet-8", "erk", 0.9): 0.1}):
        found = made(errors)
        assert calibration.chosen_runs(found.runs).empty
        bins = calibration.chosen_bins(found)
        assert bins.empty
        assert plots.is_empty(calibration.reliability_figure(found, bins))


def test_diagrams_are_of_the_smallest_and_largest_network_by_weights(made):
    found = made(pairs(resnet_20=0.0, resnet_14=0.0, resnet_8=0.0), SEEDS)
    shuffled = found.runs.sample(frac=1, random_state=1)
    chosen = calibration.chosen_runs(shuffled)
    assert chosen[["model", "ratio"]].values.tolist() == [
        ["resnet-8", "dense"],
        ["resnet-8", "erk"],
        ["resnet-20", "dense"],
        ["resnet-20", "erk"],
    ]
    assert (chosen.seed_init == 0).all()


def test_diagrams_take_the_highest_sparsity_that_most_networks_have(made):
    errors = pairs(resnet_8=0.0, resnet_14=0.0)
    errors = {(m, r, s and 0.8): e for (m, r, s), e in errors.items()}
    found = made(errors | {("resnet-8", "erk", 0.9): 0.0, ("resnet-8", "uniform", 0.8): 0.0})
    chosen = calibration.chosen_runs(found.runs)
    assert chosen.sparsity.tolist() == [0, 0.8, 0, 0.8]
    assert set(chosen.ratio) == {"dense", "erk"}


def test_one_network_and_another_ratio_give_one_column_of_diagrams(made):
    found = made({("resnet-8", "dense", 0.0): 0.1, ("resnet-8", "snip", 0.9): 0.1})
    figure = calibration.reliability_figure(found, calibration.chosen_bins(found))
    titles = [axis.get_title() for axis in figure.get_axes()]
    assert titles == ["ResNet-8, dense, seed 0", "", "ResNet-8, SNIP ratio 0.9, seed 0", ""]


def test_reliability_figure_draws_filled_bins_and_all_counts(made):
    found = made(pairs(resnet_8=0.0))
    bins = calibration.chosen_bins(found)
    figure = calibration.reliability_figure(found, bins)
    diagram, counts, *_ = figure.get_axes()
    drawn = [line.get_xydata().tolist() for line in diagram.lines]
    assert [[0.7, 0.6], [0.9, 1.0]] in drawn
    assert [patch.get_height() for patch in counts.patches] == [0, 30, 70]
    entries = [text.get_text() for text in figure.legends[0].get_texts()]
    assert entries == ["perfect calibration", "distance from it", "95 % interval of a bin"]
    before = plots.digest(figure)
    (bars,) = [lines for lines in diagram.collections if len(lines.get_segments()[0]) == 2][-1:]
    # Wilson's interval of 18 right among 30: Newcombe (1998), equation 3.
    assert bars.get_segments()[0][:, 1] == pytest.approx([0.4232, 0.7541], abs=5e-5)
    other = bins.assign(accuracy=bins.accuracy / 2)
    assert plots.digest(calibration.reliability_figure(found, other)) != before


# ---------------------------------------------------------------- sparse against dense


def test_nothing_recorded_gives_empty_tables(made):
    found = nothing(made(pairs(resnet_8=0.0)))
    found = calibration.with_bins(found)
    assert found.runs.empty and calibration.figure_table(found).empty


def test_the_smallest_network_comes_first(made):
    runs = calibration.with_bins(made(pairs(resnet_20=-0.01, resnet_8=0.02), SEEDS)).runs
    assert list(runs.model.unique()) == ["resnet-8", "resnet-20"]


def test_figure_table_has_a_row_a_cell_with_every_number(made):
    found = made(pairs(resnet_8=0.02), SEEDS)
    table = calibration.figure_table(calibration.with_bins(found))
    assert table.ratio.tolist() == ["dense", "erk"]
    assert table.source.unique().tolist() == ["cpu jpeg75"]
    assert table.ece.tolist() == pytest.approx([0.03, 0.05])
    assert table.difference.tolist()[1] == pytest.approx(0.02)
    assert math.isnan(table.difference[0]) and table.nll.tolist() == [1.25, 1.25]
    assert (table.ece_low < table.ece).all() and table.chance.notna().all()
