import math

import numpy as np
import pytest
from conftest import made_up_record, tiny

from randprune_core.chapters import robustness, robustness_live
from randprune_core.chapters.robustness_live import Attacked
from randprune_core.chapters.shared import gap_to_dense
from randprune_core.config import RunConfig
from randprune_core.pruning.masks import mask_counts
from randprune_core.records.table import records_to_frame


def record(model: str, sparsity: float, seed=0, clean=0.8, keeps=1.0, images=1000) -> dict:
    """Accuracy falls with the level; `keeps` multiplies what is left under PGD."""
    ratio = "erk" if sparsity else "dense"
    config = RunConfig(
        variant="jpeg75", model=model, ratio=ratio, sparsity=sparsity, seed_init=seed
    )
    made = made_up_record(config)

    def entry(accuracy: float) -> dict:
        return {"accuracy": accuracy, "n": images}

    made["test"] |= {
        "clean": entry(clean),
        "fgsm": {"1": entry(clean / 2), "8": entry(0.03)},
        "pgd": {"0.5": entry(0.7 * clean * keeps), "2": entry(0.4 * clean * keeps), "8": entry(0)},
        "noise": {"0.04": entry(0.9 * clean), "0.12": entry(0.6 * clean)},
    }
    return made


def found(spread=(0.0,), keeps=0.5, models=("resnet-8", "resnet-20"), sparsities=(0.8, 0.9)):
    return [
        record(model, s, seed, 0.8 - 0.1 * (s > 0) + shift, keeps if s else 1.0)
        for model in models
        for s in (0.0, *sparsities)
        for seed, shift in enumerate(spread)
    ]


def frame(**options):
    return records_to_frame(found(**options))


# ---------------------------------------------------------------- tables


def test_nothing_recorded_gives_empty_tables():
    none = records_to_frame([])
    curves = robustness.curve_table(none)
    assert curves.empty and robustness.difference_table(none).empty
    assert robustness.by_seed(none).empty
    assert robustness.floor_levels(curves, 10) == {}


def test_what_an_attack_turns_more_is_a_difference_of_shares_with_its_interval():
    runs = frame(spread=(-0.01, 0.0, 0.01)).drop(columns="accuracy")
    runs["accuracy"] = runs.groupby("ratio")["clean.accuracy"].transform("mean")
    runs["pgd.1.accuracy"] = runs["pgd.2.accuracy"]
    models = ["resnet-8", "resnet-20"]
    turned = robustness.turned_more(runs, None, models)
    # Dense falls from 80 to 32 %, sparse from 70 to 14 %.
    assert turned.value == pytest.approx(100 * (56 / 70 - 48 / 80))
    assert turned.low < 20 < turned.high
    pooled = robustness.turned_more(runs, runs, models)
    assert (pooled.value, pooled.low) == pytest.approx((turned.value, turned.low))
    assert math.isnan(robustness.turned_more(runs, None, ["resnet-56"]).value)
    assert math.isnan(robustness.turned_more(records_to_frame([]), None, models).value)
    assert math.isnan(robustness.turned_more(runs.drop(columns="pgd.1.accuracy"), None, models)[0])


def test_levels_are_numbers_in_order_with_the_clean_images_first():
    assert robustness.levels(frame()) == {
        "fgsm": [0.0, 1.0, 8.0],
        "pgd": [0.0, 0.5, 2.0, 8.0],
        "noise": [0.0, 0.04, 0.12],
    }


def test_record_without_a_clean_accuracy_begins_at_the_first_level():
    runs = records_to_frame([made_up_record(tiny())])
    assert robustness.levels(runs) == {"fgsm": [1.0], "pgd": [0.5]}
    curves = robustness.curve_table(runs)
    assert curves[["kind", "level", "mean"]].values.tolist() == [
        ["fgsm", 1.0, 25.0],
        ["pgd", 0.5, 12.5],
    ]


def test_binomial_error_is_that_of_the_recorded_number_of_images_whatever_the_seeds():
    for spread in ((0.0,), (-0.01, 0.0, 0.01)):
        curves = robustness.curve_table(frame(spread=spread))
        cell = curves[(curves.kind == "fgsm") & (curves.level == 1) & (curves.ratio == "dense")]
        assert cell.images.tolist() == [1000, 1000]
        assert cell.se.tolist() == pytest.approx([100 * math.sqrt(0.4 * 0.6 / 1000)] * 2)


def test_differences_are_sparse_minus_dense_in_points_with_both_errors():
    differences = robustness.difference_table(frame())
    row = differences[(differences.kind == "pgd") & (differences.level == 2)].iloc[0]
    assert row.difference == pytest.approx(100 * 0.4 * (0.7 * 0.5 - 0.8))
    shares = (0.4 * 0.8, 0.4 * 0.7 * 0.5)
    expected = 100 * math.sqrt(sum(share * (1 - share) / 1000 for share in shares))
    assert row.se == pytest.approx(expected)
    assert math.isnan(row.low)


def test_a_level_is_on_the_floor_only_when_every_network_is():
    limit = 0.1 + 2 * math.sqrt(0.09 / 1000)
    for share, expected in ((limit - 1e-6, [8.0]), (limit + 1e-3, [])):
        made = found()
        made[0]["test"]["fgsm"]["8"]["accuracy"] = share
        curves = robustness.curve_table(records_to_frame(made))
        assert robustness.floor_levels(curves, 10)["fgsm"] == expected


def test_floor_depends_on_the_number_of_classes():
    curves = robustness.curve_table(frame())
    assert robustness.floor_levels(curves, 10)["fgsm"] == [8.0]
    assert robustness.floor_levels(curves, 100)["fgsm"] == []
    assert robustness.floor_levels(curves, 2)["fgsm"] == [1.0, 8.0]


def test_runs_one_by_one_have_every_kind_and_level():
    runs = frame(spread=(-0.01, 0.01), models=("resnet-8",), sparsities=(0.9,))
    values = robustness.by_seed(runs)
    here = values[(values.kind == "pgd") & (values.level == 2) & (values.ratio == "dense")]
    assert here.value.tolist() == pytest.approx([40 * 0.79, 40 * 0.81])
    lost = robustness.by_seed(runs, gap_to_dense.seed_gaps)
    assert set(lost.ratio) == {"erk"} and len(lost) == 2 * 10
    clean = lost[lost.level == 0]
    assert clean.value.tolist() == pytest.approx([10.0] * len(clean))


# ---------------------------------------------------------------- attacked images


def example(name: str, before: list[int], after: list[int], epsilon=0.1) -> Attacked:
    images = np.full((len(before), 3, 4, 4), 0.5, dtype=np.float32)
    sure, targets = np.full(len(before), 0.875), np.zeros(len(before), dtype=int)
    said = [(np.array(answers), sure) for answers in (before, after)]
    return Attacked(name, epsilon, images, images + np.float32(epsilon), targets, *said)


def test_chosen_images_are_right_for_all_and_turned_for_one():
    first = example("dense", [0, 1, 0, 0], [0, 1, 1, 0])
    second = example("ERK 0.9", [0, 0, 0, 0], [0, 1, 0, 1])
    assert robustness_live.choose([first, second], 2) == [2, 3]
    assert robustness_live.choose([first, second], 3) == [2, 3, 0]  # filled up


def test_example_figure_shows_change_answer_and_confidence():
    examples = [example("dense", [0], [0]), example("ERK 0.9", [0], [7])]
    axes = robustness_live.example_figure(examples, [0]).get_axes()
    assert [axis.get_xlabel() for axis in axes] == [
        "dense: 0, 88 %\nERK 0.9: 0, 88 %",
        "",
        "0, 88 %",
        "",
        "7, 88 %",
    ]
    assert axes[1].images[0].get_array().max() == pytest.approx(1.0)  # plus epsilon is white
    weights = [axis.xaxis.label.get_fontweight() for axis in (axes[2], axes[4])]
    assert weights == ["normal", "bold"]


def test_networks_are_trained_attacked_and_left_unrecorded(store):
    networks = robustness_live.train_networks("cpu", train_images=50)
    examples = robustness_live.attack(networks, count=20)
    assert [one.name for one in examples] == list(networks) == ["dense", "ERK 0.9"]
    kept = [sum(mask_counts(run.masks).values()) for run in networks.values()]
    assert kept[0] == 0 and kept[1] == pytest.approx(0.1 * 77_360, abs=20)
    assert not list(store.rglob("*.json"))
    for one in examples:
        assert len(one.images) == 20
        assert np.abs(one.perturbed.astype(float) - one.images).max() <= one.epsilon
        assert one.perturbed.min() >= 0 and one.perturbed.max() <= 1
        assert np.mean(one.after[0] == one.targets) <= np.mean(one.before[0] == one.targets)
