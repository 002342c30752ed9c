"""The order in which runs are trained, and the plan of profile mini."""

from dataclasses import replace

import torch

from randprune_core.config import RunConfig, run_id, setting
from randprune_core.models import build_model
from randprune_core.pruning.masks import random_masks
from randprune_core.pruning.ratios import layer_sparsities
from randprune_core.sweeps.grids import figures_at, grid
from randprune_core.sweeps.plan import PLAN, TIERS, in_order, place
from randprune_core.sweeps.profiles import CONTROL, in_control, in_profile


def all_of_mini() -> dict[str, RunConfig]:
    found = (c for figure in figures_at("mini") for c in grid(figure, "mini"))
    return {run_id(config): config for config in found}


def test_the_figures_of_mini_show_the_plan_and_nothing_else(store):
    sizes = {name: len(tier["seeds"]) * len(tier["cells"]) for name, tier in TIERS.items()}
    sizes["control"] *= len(CONTROL)
    assert sizes == {"T1": 45, "T2": 36, "T3": 48, "control": 24, "T4": 30, "T5": 45}
    configs = all_of_mini().values()
    assert len(configs) == len(PLAN) == sum(sizes.values())
    assert all(in_profile(c, "mini") != in_control(c) and c.image_size == 16 for c in configs)
    assert sum(map(in_control, configs)) == 24
    keys = {(c.model, setting(c), c.sparsity, c.seed_init, c.train_images) for c in configs}
    assert keys == set(PLAN)


def test_mini_is_trained_tier_by_tier_seed_by_seed_and_the_longest_runs_first(store):
    order = in_order(reversed(all_of_mini().values()))
    first = order[:45]
    assert [c.seed_init for c in first] == [0] * 15 + [1] * 15 + [2] * 15
    models = ["resnet-20-32", "resnet-32", "resnet-20", "resnet-20-8", "resnet-8"]
    assert [c.model for c in first[::3]] == models * 3
    cells = [(c.ratio, c.sparsity) for c in first[:3]]
    assert cells == [("dense", 0.0), ("erk", 0.5), ("erk", 0.9)]
    assert {c.model for c in order[45:129]} == {"resnet-8", "resnet-20"}
    assert [c.seed_init for c in order[45:81]] == [0] * 12 + [1] * 12 + [2] * 12
    assert {c.seed_init for c in order[153:183]} == {3, 4}
    assert in_order([*order[100:], *grid("depth", "quick")])[:100] == order[100:200]


def test_the_control_comes_between_the_tiers_a_seed_at_a_time(store):
    order = in_order(reversed(all_of_mini().values()))
    control = order[129:153]
    assert control == in_order(grid("control", "mini")) and all(map(in_control, control))
    found = [(c.train_images, c.model, c.ratio, c.sparsity) for c in control[:8]]
    cells = [(m, *r) for m in ("resnet-20", "resnet-8") for r in (("dense", 0.0), ("erk", 0.9))]
    assert found == [(images, *cell) for images in (10_000, 2_500) for cell in cells]
    assert [c.seed_init for c in control] == [0] * 8 + [1] * 8 + [2] * 8


def test_a_run_that_only_looks_like_one_of_the_control_has_no_place(store):
    config = grid("control", "mini")[0]
    assert place(config) is not None
    for change in ({"epochs": 160}, {"image_size": None}, {"batch_size": 64}, {"seed_init": 3}):
        assert place(replace(config, **change)) is None


def test_erk_plus_draws_the_mask_of_erk_where_mini_compares_ratios():
    compared = {(m, level) for m, ratio, level, *_ in PLAN if ratio in ("uniform_plus", "grasp")}
    assert len(compared) == 4
    for name, level in compared:
        model = build_model(name, seed=0)
        masks = [
            random_masks(model, layer_sparsities(ratio, model, level), seed=1)
            for ratio in ("erk", "erk_plus")
        ]
        assert all(torch.equal(masks[0][layer], masks[1][layer]) for layer in masks[0])


def test_dense_and_erk_of_every_model_come_first_then_other_ratios_then_other_seeds(store):
    order = in_order(grid("depth", "cpu"))
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
    order = in_order(grid("depth", "paper"))
    place = {(c.model, c.ratio, c.sparsity): p for p, c in reversed(list(enumerate(order)))}
    assert max(place[m, "erk", s] for m in ("resnet-20", "resnet-110") for s in (0.9, 0.5)) < min(
        place[m, "erk", s] for m in ("resnet-20", "resnet-110") for s in (0.1, 0.2, 0.3, 0.4, 0.6)
    )
