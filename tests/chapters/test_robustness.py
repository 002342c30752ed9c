import math

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
from conftest import made_up_record, tiny

from randprune_core.chapters import robustness, robustness_live
from randprune_core.chapters import robustness_figures as figures
from randprune_core.chapters.shared.records import Records
from randprune_core.config import RunConfig
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


def records_of(made: list[dict]) -> Records:
    configs = [RunConfig(**one["config"]) for one in made]
    return Records("robustness", "cpu", configs, records_to_frame(made), True)


def empty_records() -> Records:
    some = records_of(found())
    return Records("robustness", "cpu", some.configs, records_to_frame([]), True)


# ---------------------------------------------------------------- tables


def test_nothing_recorded_gives_empty_tables_and_figures_that_say_so():
    none = empty_records()
    curves, differences = (
        make(none.runs) for make in (robustness.curve_table, robustness.difference_table)
    )
    assert curves.empty and differences.empty
    assert robustness.floor_levels(curves, 10) == robustness.strongest(curves, 10) == {}
    assert robustness.strongest_rows(differences, {}, "erk").empty
    assert robustness.level_table(curves, "pgd", "erk").empty
    figure = figures.accuracy_figure(curves, ["fgsm", "pgd"], "erk", 10)
    assert figure.get_axes()[0].get_title() == "no run is recorded"
    figure = figures.difference_figure(differences, ["pgd"], "erk", {})
    assert figure.get_axes()[0].get_title() == "no run is recorded"


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


def test_strongest_level_is_the_last_off_the_floor_and_never_the_clean_one():
    curves = robustness.curve_table(frame())
    assert robustness.strongest(curves, 10) == {"fgsm": 1.0, "pgd": 2.0, "noise": 0.12}
    assert "fgsm" not in robustness.strongest(curves, 2)


def test_three_sparsities_at_most_are_shown_and_the_papers_is_one_of_them():
    tenths = [place / 10 for place in range(1, 10)]
    curves = robustness.curve_table(frame(models=("resnet-8",), sparsities=tenths))
    assert robustness.shown_sparsities(curves, "erk") == [0.5, 0.8, 0.9]
    table = robustness.level_table(curves, "pgd", "erk")
    assert table.pruning.tolist() == ["dense", "ERK 0.5", "ERK 0.8", "ERK 0.9"]
    assert list(table.columns) == ["network", "pruning", "0", "0.5", "2", "8"]


def test_the_shown_ratio_is_erk_or_else_the_first_other():
    runs = frame()
    assert robustness.shown_ratio(runs) == "erk"
    assert robustness.shown_ratio(runs.replace({"ratio": {"erk": "snip"}})) == "snip"
    assert robustness.shown_ratio(runs[runs.ratio == "dense"]) == "erk"


# ---------------------------------------------------------------- sentences


def test_strongest_rows_have_the_chosen_level_of_each_kind():
    differences = robustness.difference_table(frame())
    table = robustness.strongest_rows(differences, {"pgd": 2.0, "noise": 0.04}, "erk")
    assert (
        table["attack or noise"].tolist()
        == ["PGD, ε = 2/255"] * 2 + ["Gaussian noise, σ = 0.04"] * 2
    )
    assert table["0.9"].tolist()[0] == "−18.0"


# ---------------------------------------------------------------- figures


def test_panels_are_kinds_by_models_and_the_floor_is_grey():
    curves = robustness.curve_table(frame())
    figure = figures.accuracy_figure(curves, ["fgsm", "noise"], "erk", 10)
    axes = figure.get_axes()
    assert [axis.get_title() for axis in axes] == ["ResNet-8", "ResNet-20"] * 2
    grey = [len(axis.patches) for axis in axes]
    assert grey == [1, 1, 0, 0]  # FGSM has a floor, noise has none
    left = axes[0].patches[0].get_x()
    assert 1 < left < 8
    drawn = [line.get_ydata().tolist() for line in axes[0].lines if len(line.get_ydata()) == 3]
    assert drawn[0] == pytest.approx([80, 40, 3])


def test_intervals_over_seeds_are_drawn_beside_the_binomial_ones():
    def bars(spread) -> int:
        differences = robustness.difference_table(frame(spread=spread))
        figure = figures.difference_figure(differences, ["pgd"], "erk", {"pgd": [8.0]})
        return len(figure.get_axes()[0].collections)

    assert (bars((0.0,)), bars((-0.01, 0.01))) == (2, 4)


# ---------------------------------------------------------------- attacked images


def example(
    name: str, before: list[int], after: list[int], epsilon=0.1
) -> robustness_live.Attacked:
    images = np.full((len(before), 3, 4, 4), 0.5, dtype=np.float32)
    sure = np.full(len(before), 0.875)
    targets = np.zeros(len(before), dtype=int)
    changed = images + np.float32(epsilon)
    both = (np.array(before), np.array(after), sure, sure)
    return robustness_live.Attacked(name, epsilon, images, changed, targets, *both)


def test_chosen_images_are_right_for_all_and_turned_for_one():
    first = example("dense", [0, 1, 0, 0], [0, 1, 1, 0])
    second = example("ERK 0.9", [0, 0, 0, 0], [0, 1, 0, 1])
    assert robustness_live.choose([first, second], 2) == [2, 3]
    assert robustness_live.choose([first, second], 3) == [2, 3, 0]  # filled up


def test_example_figure_shows_change_answer_and_confidence():
    examples = [example("dense", [0], [0]), example("ERK 0.9", [0], [7])]
    axes = figures.example_figure(examples, [0]).get_axes()
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
    dense, sparse = robustness_live.facts(networks, examples)
    assert dense.startswith("dense: 77,360 of 77,360 weights")
    assert sparse.startswith("ERK 0.9: 7,73") and "masked weights zero: True" in sparse
    assert dense.endswith("20 attacked images, all within ε and in [0, 1]: True")
    assert not list(store.rglob("*.json"))
    for one in examples:
        kept = np.mean(one.after == one.targets), np.mean(one.before == one.targets)
        assert kept[0] <= kept[1]
    assert len(robustness_live.accuracies(examples)) == 2


def test_facts_report_an_image_outside_of_the_ball(store):
    networks = robustness_live.train_networks("cpu", train_images=50)
    name = next(iter(networks))
    outside = example(name, [0], [0], epsilon=0.1)
    outside.perturbed[0, 0, 0, 0] = 0.7
    (line,) = robustness_live.facts({name: networks[name]}, [outside])
    assert line.endswith(": False")
