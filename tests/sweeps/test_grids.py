"""Tests."""

import pytest
from conftest import made_up_record, store_record

from randprune_core.config import RATIOS, RunConfig, config_to_dict, run_id, setting
from randprune_core.sweeps import cores
from randprune_core.sweeps.grids import (
    GRIDS,
    PLAN,
    PROFILES,
    TIERS,
    dataset_of,
    figures_at,
    grid,
    in_profile,
)
from randprune_core.sweeps.sweep import collect, plan

METHODS = len(RATIOS) - 1 + 2
"""Settings of a sparse network in the chapter on methods: every ratio and two criteria's masks."""


def record(*configs) -> None:
    for config in configs:
        store_record(made_up_record(config))


@pytest.fixture
def no_pool(monkeypatch):
    """Nothing may start a worker."""
    monkeypatch.setattr(cores, "ProcessPoolExecutor", None)


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        (("depht", "quick"), {}, ["figure 'depht'", *GRIDS]),
        (("depth", "gpu"), {}, ["profile 'gpu'", *PROFILES]),
        (("depth", "quick"), {"models": ["resnet-21"]}, ["'resnet-21'", "6n+2"]),
        (("depth", "quick"), {"ratios": ["erkk"]}, ["'erkk'", *RATIOS]),
        (("depth", "quick"), {"sparsities": [1.0]}, ["1.0", "[0, 1)"]),
        (("depth", "quick"), {"seeds": [-1]}, ["-1", "[0, 2**32)"]),
        (("depth", "cpu"), {"variant": "jpeg90"}, ["'jpeg90'", "jpeg75"]),
    ],
)
def test_a_grid_names_what_it_refuses_and_what_is_known(store, arguments, options, said):
    with pytest.raises(ValueError) as caught:
        grid(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    for part in said:
        assert part in message


@pytest.mark.parametrize(
    ("figure", "sizes"),
    [
        # models x (1 dense + ratios x sparsities) x seeds
        ("depth", (3 * (1 + 3 * 2), 3 * (1 + 3 * 2) * 3, 5 * (1 + 4 * 9) * 3)),
        ("width", (3 * 3, 3 * 3 * 3, 4 * (1 + 4 * 9) * 3)),
        ("calibration", (3 * 3, 3 * 3 * 3, 8 * (1 + 4 * 9) * 3)),
        ("ood", (3 * 3, 3 * 3 * 3, 8 * (1 + 4 * 9) * 3)),
        ("robustness", (3 * 3, 3 * 3 * 3, 8 * (1 + 4 * 9) * 3)),
        ("gradient_flow", (3 * (1 + 2 * 2), 3 * (1 + 2 * 2) * 3, 3 * (1 + 2) * 3)),
        # the settings beside the ratios count like ratios
        ("methods", (1 + METHODS, 3 * (1 + METHODS * 2) * 3, 3 * (1 + METHODS * 2) * 3)),
        ("granularity", (1 + 4, 2 * (1 + 4) * 3, 3 * (1 + 4) * 3)),
        ("when", (1 + 5, 2 * (1 + 5) * 3, 2 * (1 + 5) * 3)),
        ("vgg", (2 * 2, 2 * 3 * 3, 3 * (1 + 3 * 3) * 3)),
        ("cifar100", (2 * 2, 2 * 3 * 3, 4 * (1 + 3 * 3) * 3)),
    ],
)
def test_every_grid_has_its_size_and_no_run_twice(store, figure, sizes):
    for profile, size in zip(("quick", "cpu", "paper"), sizes, strict=True):
        configs = grid(figure, profile)
        assert len(configs) == len({run_id(config) for config in configs}) == size
        usual = {"dataset": PROFILES[profile]["dataset"]}
        assert all(in_profile(config_to_dict(config) | usual, profile) for config in configs)
        assert {config.dataset for config in configs} == {dataset_of(figure, profile)}


def test_a_figure_trains_on_the_data_set_of_its_profile_unless_it_names_another(store):
    assert dataset_of("vgg", "paper") == dataset_of("depth", "cpu") == "cifar10"
    assert dataset_of("cifar100", "paper") == dataset_of("cifar100", "cpu") == "cifar100"
    assert dataset_of("cifar100", "quick") == "digits"
    with pytest.raises(ValueError, match="figure 'vg'.*vgg"):
        dataset_of("vg", "quick")


def test_there_is_a_grid_for_every_figure_and_profile():
    assert set(GRIDS) == {
        "depth",
        "width",
        "calibration",
        "ood",
        "robustness",
        "gradient_flow",
        "methods",
        "when",
        "granularity",
        "vgg",
        "cifar100",
    }
    without = {name for name, profiles in GRIDS.items() if set(profiles) != set(PROFILES)}
    assert without == {"vgg", "cifar100"}  # which profile mini leaves to a GPU
    assert figures_at("mini") == [name for name in GRIDS if name not in without]


def test_a_figure_without_runs_at_a_profile_says_which_it_has():
    for ask in (grid, dataset_of):
        with pytest.raises(ValueError, match="'vgg' has no runs at profile 'mini'.*quick, cpu"):
            ask("vgg", "mini")


def all_of_mini() -> dict[str, RunConfig]:
    found = (c for figure in figures_at("mini") for c in grid(figure, "mini"))
    return {run_id(config): config for config in found}


def test_the_figures_of_mini_show_the_plan_and_nothing_else(store):
    sizes = {name: len(tier["seeds"]) * len(tier["cells"]) for name, tier in TIERS.items()}
    assert sizes == {"T1": 45, "T2": 36, "T3": 48, "T4": 30, "T5": 45}
    configs = all_of_mini().values()
    assert len(configs) == len(PLAN) == sum(sizes.values())
    assert all(in_profile(config, "mini") and config.image_size == 16 for config in configs)
    keys = {(c.model, setting(c), c.sparsity, c.seed_init) for c in configs}
    assert keys == set(PLAN)


def test_mini_is_trained_tier_by_tier_seed_by_seed_and_the_longest_runs_first(store):
    order = plan(reversed(all_of_mini().values()))
    first = order[:45]
    assert [c.seed_init for c in first] == [0] * 15 + [1] * 15 + [2] * 15
    models = ["resnet-20-32", "resnet-32", "resnet-20", "resnet-20-8", "resnet-8"]
    assert [c.model for c in first[::3]] == models * 3
    cells = [(c.ratio, c.sparsity) for c in first[:3]]
    assert cells == [("dense", 0.0), ("erk", 0.5), ("erk", 0.9)]
    assert {c.model for c in order[45:129]} == {"resnet-8", "resnet-20"}
    assert [c.seed_init for c in order[45:81]] == [0] * 12 + [1] * 12 + [2] * 12
    assert {c.seed_init for c in order[129:159]} == {3, 4}
    assert plan([*order[100:], *grid("depth", "quick")])[:100] == order[100:200]


def test_lists_leave_out_runs_of_mini_that_are_not_planned_and_take_new_ones(store):
    both = grid("depth", "mini", models=["resnet-14"], seeds=[0, 3])
    assert {c.seed_init for c in both} == {0}  # seed 3 is planned for other networks only
    new = grid("depth", "mini", models=["resnet-44"], ratios=["erk"], sparsities=[0.5], seeds=[3])
    assert [(c.model, c.seed_init, c.image_size) for c in new] == [("resnet-44", 3, 16)]


def test_erk_plus_draws_the_mask_of_erk_where_mini_compares_ratios():
    import torch

    from randprune_core.models import build_model
    from randprune_core.pruning.masks import random_masks
    from randprune_core.pruning.ratios import layer_sparsities

    compared = {(m, level) for m, ratio, level, _ in PLAN if ratio in ("uniform_plus", "grasp")}
    assert len(compared) == 4
    for name, level in compared:
        model = build_model(name, seed=0)
        masks = [
            random_masks(model, layer_sparsities(ratio, model, level), seed=1)
            for ratio in ("erk", "erk_plus")
        ]
        assert all(torch.equal(masks[0][layer], masks[1][layer]) for layer in masks[0])


def test_the_papers_depth_grid_has_the_185_points_of_its_figure(store):
    assert len(grid("depth", "paper", seeds=[0])) == 185


def test_figures_share_runs(store):
    def ids(figure, profile):
        return {run_id(config) for config in grid(figure, profile)}

    for profile in ("quick", "cpu"):
        for figure in ("calibration", "ood", "robustness", "gradient_flow"):
            assert ids(figure, profile) <= ids("depth", profile)
        assert ids("depth", profile) & ids("width", profile)
    for figure in ("calibration", "ood", "robustness"):
        assert ids(figure, "paper") == ids("depth", "paper") | ids("width", "paper")
    assert ids("gradient_flow", "paper") <= ids("depth", "paper")


def test_lists_replace_the_figures_own_and_dense_stands_once(store):
    configs = grid(
        "depth",
        "quick",
        models=["resnet-8", "resnet-8-16"],
        ratios=["dense", "erk"],
        sparsities=[0.5, 0.6],
        seeds=[4, 5],
    )
    found = [(c.model, c.ratio, c.sparsity, c.seed_mask) for c in configs]
    assert found == [
        ("resnet-8", "dense", 0.0, 4),
        ("resnet-8", "dense", 0.0, 5),
        ("resnet-8", "erk", 0.5, 4),
        ("resnet-8", "erk", 0.5, 5),
        ("resnet-8", "erk", 0.6, 4),
        ("resnet-8", "erk", 0.6, 5),
    ]
    assert all(c.seed_init == c.seed_mask == c.seed_data for c in configs)
    assert grid("depth", "quick", models=[]) == []


def test_dense_and_erk_of_every_model_come_first_then_other_ratios_then_other_seeds(store):
    order = plan(grid("depth", "cpu"))
    assert sorted(map(run_id, order)) == sorted(map(run_id, grid("depth", "cpu")))
    head = [(c.model, c.ratio, c.sparsity) for c in order[:6]]
    models = ("resnet-8", "resnet-14", "resnet-20")
    assert head == [(m, r, s) for m in models for r, s in (("dense", 0.0), ("erk", 0.9))]
    assert {(c.ratio, c.sparsity) for c in order[6:9]} == {("erk", 0.8)}
    assert [c.seed_init for c in order] == [0] * 21 + [1] * 21 + [2] * 21
    ranks = {(c.ratio, c.sparsity): place for place, c in reversed(list(enumerate(order)))}
    assert ranks["uniform", 0.9] < ranks["uniform", 0.8]
    assert ranks["erk", 0.8] < ranks["snip", 0.8]


def test_a_few_sparsities_of_every_model_come_before_all_sparsities_of_one(store):
    order = plan(grid("depth", "paper"))
    place = {(c.model, c.ratio, c.sparsity): p for p, c in reversed(list(enumerate(order)))}
    assert max(place[m, "erk", s] for m in ("resnet-20", "resnet-110") for s in (0.9, 0.5)) < min(
        place[m, "erk", s] for m in ("resnet-20", "resnet-110") for s in (0.1, 0.2, 0.3, 0.4, 0.6)
    )


def test_collect_gives_the_recorded_runs_in_grid_order(store, no_pool):
    configs = [RunConfig(seed_init=seed) for seed in range(3)]
    record(configs[2], configs[0])
    for train_missing in (None, False):  # None trains digits only
        frame = collect(configs, train_missing)
        assert list(frame.run_id) == [run_id(configs[0]), run_id(configs[2])]
    assert len(collect([])) == 0
