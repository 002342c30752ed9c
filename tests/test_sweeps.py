"""Sweeps: refusals, the grids, their order, which profile is shown, and the local executor."""

import json
import os
import subprocess
import sys

import pytest
from conftest import files_under, made_up_record, store_record, tiny

from randprune_core import paths
from randprune_core.config import RATIOS, RunConfig, config_to_dict, run_id, setting
from randprune_core.sweeps import cores, coverage
from randprune_core.sweeps import sweep as sweep_module
from randprune_core.sweeps.coverage import recorded_variant, resolve_profile, shown_variant, status
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
from randprune_core.sweeps.sweep import collect, missing, plan, sweep


def record(*configs) -> None:
    for config in configs:
        store_record(made_up_record(config))


@pytest.fixture
def no_pool(monkeypatch):
    """Nothing may start a worker."""
    monkeypatch.setattr(cores, "ProcessPoolExecutor", None)


# --- what is refused -------------------------------------------------------------------------


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
    ("options", "said"),
    [
        ({"executor": "slurm"}, "executor 'slurm'.*local"),
        ({"workers": 0}, "workers 0 is too small"),
        ({"device": "gpu"}, "device 'gpu' is not known"),
    ],
)
def test_a_sweep_refuses_what_it_cannot_do_before_it_starts(store, no_pool, options, said):
    with pytest.raises(ValueError, match=said):
        sweep([tiny()], **options)
    assert files_under(store) == []


@pytest.mark.parametrize("profile", ["", "fast", "Quick"])
def test_an_unknown_profile_is_refused_everywhere(store, profile):
    for refuses in (resolve_profile, lambda name: status([name])):
        with pytest.raises(ValueError, match=f"profile {profile!r}.*quick, mini, cpu, paper"):
            refuses(profile)


# --- grids -----------------------------------------------------------------------------------


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
        ("methods", (1 + 8, 3 * (1 + 8 * 2) * 3, 3 * (1 + 8 * 2) * 3)),
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


def test_another_data_set_has_a_variant_of_its_own(store):
    record(*grid("vgg", "paper", models=["resnet-20"], variant="jpeg75")[:2])
    record(grid("cifar100", "paper", models=["resnet-20"], variant="0123abcd")[0])
    assert recorded_variant("paper") == "jpeg75"
    assert shown_variant("cifar100", "paper") == "0123abcd"
    rows = status(["paper"]).set_index("figure")
    assert rows.loc["cifar100", ["variant", "recorded"]].tolist() == ["0123abcd", 1]
    assert rows.loc["vgg", ["variant", "recorded"]].tolist() == ["jpeg75", 2]


def test_auto_shows_other_networks_and_data_at_cpu_until_paper_has_a_run_of_them(store):
    record(*grid("vgg", "paper", models=["resnet-20"]))
    for figure in ("vgg", "cifar100"):
        assert resolve_profile("auto", figure) == "cpu"
        record(grid(figure, "paper", models=["vgg-16"])[0])
        assert resolve_profile("auto", figure) == "paper"


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


def test_the_variant_is_the_one_most_records_have_or_original(store):
    cpu = {"epochs": 16, "train_images": 10_000}
    assert shown_variant("depth", "cpu") == "original"
    record(RunConfig(variant="0123abcd", **cpu), RunConfig(variant="jpeg75", **cpu))
    record(RunConfig(variant="jpeg75", seed_init=1, **cpu))
    record(*(RunConfig(seed_init=seed) for seed in range(5)))  # another profile
    assert recorded_variant("cpu") == shown_variant("depth", "cpu") == "jpeg75"
    assert {c.variant for c in grid("depth", "cpu", variant="jpeg75")} == {"jpeg75"}
    assert {c.variant for c in grid("depth", "cpu")} == {"original"}
    assert shown_variant("depth", "quick") == "original"
    assert {c.variant for c in grid("depth", "quick", variant="jpeg75")} == {"original"}


def test_the_variant_without_records_is_the_copy_at_hand(store, cifar_folder):
    with pytest.warns(UserWarning, match="no known copy"):
        variant = coverage.variant_at_hand("cifar10")
    assert len(variant) == 8
    assert shown_variant("depth", "cpu") == variant


def test_no_copy_at_hand_is_no_error(monkeypatch, tmp_path):
    for folder in (tmp_path, tmp_path / "not there"):
        monkeypatch.setenv("RANDPRUNE_DATA", str(folder))
        assert coverage.variant_at_hand("cifar10") is None


def test_in_profile_looks_at_the_schedule_and_not_at_the_variant():
    for profile in PROFILES:
        config = grid("depth", profile, variant="jpeg75")[0]
        others = set(PROFILES) - {profile}
        assert in_profile(config, profile) and in_profile(config_to_dict(config), profile)
        assert not any(in_profile(config, other) for other in others)
    assert not in_profile(RunConfig(precision="bfloat16", epochs=16), "paper")
    assert not in_profile(RunConfig(), "paper")  # float32
    assert in_profile(RunConfig(precision="bfloat16", lr=0.05), "paper")


# --- order -----------------------------------------------------------------------------------


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


def test_grids_plans_and_status_load_no_torch_and_look_at_no_data(store):
    code = (
        "import sys; from randprune_core.sweeps import coverage, grids, run, sweep;"
        "grids.plan(grids.grid('depth', 'paper')); coverage.resolve_profile('auto');"
        "assert 'torch' not in sys.modules and 'randprune_core.data.loading' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, check=True)


# --- which profile is shown ------------------------------------------------------------------


def enough(profile, models=3, sparsities=2) -> list[RunConfig]:
    default = GRIDS["depth"][profile]
    return grid(
        "depth",
        profile,
        models=default["models"][:models],
        ratios=["dense", "erk"],
        sparsities=default["sparsities"][-sparsities:],
        seeds=[0],
    )


def test_auto_is_quick_without_records(store):
    assert resolve_profile("auto") == "quick"


@pytest.mark.parametrize("profile", ["cpu", "mini", "paper"])
def test_auto_is_the_profile_with_dense_and_erk_at_two_sparsities_for_three_models(store, profile):
    record(*enough(profile))
    assert resolve_profile("auto") == profile
    assert resolve_profile("quick") == "quick"


@pytest.mark.parametrize("profile", ["cpu", "mini", "paper"])
@pytest.mark.parametrize("kind", ["two models", "one sparsity", "no dense", "other ratio"])
def test_auto_passes_over_a_profile_with_less(store, profile, kind):
    configs = enough(
        profile, models=2 if kind == "two models" else 3, sparsities=1 + (kind != "one sparsity")
    )
    if kind == "no dense":
        configs = [config for config in configs if config.ratio != "dense"]
    if kind == "other ratio":
        values = [config_to_dict(config) for config in configs]
        configs = [
            RunConfig(**v | {"ratio": "uniform" if v["sparsity"] else "dense"}) for v in values
        ]
    record(*configs)
    assert resolve_profile("auto") == "quick"


def test_auto_prefers_the_paper_profile(store):
    record(*enough("cpu"))
    assert resolve_profile("auto") == "cpu"
    record(*enough("mini"))
    assert resolve_profile("auto") == "mini"
    record(*enough("paper"))
    assert resolve_profile("auto") == "paper"


@pytest.mark.parametrize("figure", ["methods", "granularity", "when"])
def test_auto_shows_settings_at_mini_once_two_networks_have_some(store, figure):
    first, second = (
        [c for c in grid(figure, "mini", models=[model], seeds=[0])]
        for model in ("resnet-8", "resnet-20")
    )
    record(*first)
    assert resolve_profile("auto", figure) == "cpu"
    record(*second)
    assert resolve_profile("auto", figure) == "mini"


@pytest.mark.parametrize("figure", ["methods", "granularity"])
def test_auto_shows_settings_at_cpu_until_two_networks_have_some_at_paper(store, figure):
    assert resolve_profile("auto", figure) == "cpu"
    extra = [c for c in grid(figure, "paper", seeds=[0]) if ":" in setting(c)]
    record(*enough("paper"), *[c for c in extra if c.model == "resnet-20"])
    assert resolve_profile("auto", figure) == "cpu"
    record(*[c for c in extra if c.model == "resnet-56"])
    assert resolve_profile("auto", figure) == "cpu"  # without its dense network
    record(*grid(figure, "paper", models=["resnet-20", "resnet-56"], ratios=["dense"], seeds=[0]))
    assert resolve_profile("auto", figure) == "paper"
    assert resolve_profile("quick", figure) == "quick"


def test_records_of_digits_never_count_for_auto(store):
    record(*enough("quick"))
    assert resolve_profile("auto") == "quick"


# --- missing and collect ---------------------------------------------------------------------


def test_missing_keeps_the_order_and_reports_a_bad_record(store):
    configs = [tiny(seed_init=seed) for seed in range(4)]
    record(configs[1])
    assert missing(configs) == [configs[0], configs[2], configs[3]]
    paths.record_path("digits", run_id(configs[1])).write_text("{")
    with pytest.warns(UserWarning, match="set aside"):
        assert missing(configs) == configs


def test_collect_gives_the_recorded_runs_in_grid_order(store, no_pool):
    configs = [RunConfig(seed_init=seed) for seed in range(3)]
    record(configs[2], configs[0])
    for train_missing in (None, False):  # None trains digits only
        frame = collect(configs, train_missing)
        assert list(frame.run_id) == [run_id(configs[0]), run_id(configs[2])]
    assert len(collect([])) == 0


def test_collect_trains_what_is_missing_on_digits_and_names_what_failed(store, monkeypatch):
    configs = [tiny(seed_init=seed) for seed in range(3)]
    record(configs[1])
    asked = []

    def pretend(configs, device, progress):
        asked.append(missing(configs))
        record(asked[-1][0])
        return sweep_module.SweepReport(failed={run_id(asked[-1][1]): "the loss became nan"})

    monkeypatch.setattr(sweep_module, "sweep", pretend)
    with pytest.warns(UserWarning, match=f"{run_id(configs[2])} failed.*became nan"):
        frame = collect(configs)
    assert asked == [[configs[0], configs[2]]]
    assert list(frame.run_id) == [run_id(configs[0]), run_id(configs[1])]
    assert len(collect(configs, train_missing=False)) == 2
    assert len(asked) == 1


# --- sweeping --------------------------------------------------------------------------------


def test_a_sweep_over_recorded_runs_starts_nothing(store, no_pool):
    configs = [tiny(seed_init=seed) for seed in range(3)]
    record(*configs)
    assert sweep(iter(configs)) == sweep_module.SweepReport(found=3)
    assert sweep([]) == sweep_module.SweepReport()


def test_a_sweep_without_time_starts_no_run(store):
    record(tiny())
    report = sweep([tiny(), tiny(seed_init=1), tiny(seed_init=2)], time_budget=0, progress=False)
    assert report == sweep_module.SweepReport(found=1, unfinished=2)
    assert missing([tiny(seed_init=1)])


def test_a_sweep_of_two_workers_equals_single_runs_and_survives_failures(store, trained, capfd):
    before = dict(os.environ)
    good = [trained.config, tiny(seed_mask=1, epochs=1, train_images=50)]
    diverging = tiny(lr=1e30, epochs=1, train_images=50)
    infeasible = tiny(ratio="erk_plus", sparsity=0.998)
    found = tiny(seed_init=9)
    record(found)
    configs = [infeasible, diverging, found, *good]
    report = sweep(configs, workers=2, device="cpu")
    assert (report.trained, report.found, report.unfinished) == (2, 1, 0)
    assert set(report.failed) == {run_id(diverging), run_id(infeasible)}
    assert "the loss became" in report.failed[run_id(diverging)]
    assert "erk_plus" in report.failed[run_id(infeasible)]
    assert missing(configs) == [infeasible, diverging]
    assert json.loads(paths.failed_path(run_id(diverging)).read_text())["error"]
    assert dict(os.environ) == before
    again = json.loads(paths.record_path("digits", run_id(trained.config)).read_text())
    for section in ("config", "layers", "cost", "history", "test"):
        assert again[section] == trained.record[section], section
    lines = capfd.readouterr().err.splitlines()  # no terminal: one line a run
    assert len([line for line in lines if " trained " in line]) == 2
    assert len([line for line in lines if " failed " in line]) == 2


# --- status ----------------------------------------------------------------------------------


def test_status_counts_recorded_and_missing_runs_of_every_figure_and_profile(store):
    configs = grid("gradient_flow", "cpu", variant="jpeg75")[:4]
    record(*configs, *grid("width", "quick"))
    table = status()
    assert list(table.columns) == [
        "figure",
        "profile",
        "variant",
        "recorded",
        "missing",
        "total",
    ]
    assert len(table) == sum(len(profiles) for profiles in GRIDS.values())
    assert (table.recorded + table.missing == table.total).all()
    rows = table.set_index(["figure", "profile"])
    assert rows.loc[("gradient_flow", "cpu"), "recorded"] == 4
    assert rows.loc[("gradient_flow", "cpu"), "variant"] == "jpeg75"
    assert rows.loc[("width", "quick"), ["recorded", "missing"]].tolist() == [9, 0]
    assert rows.loc[("depth", "quick"), "recorded"] == 3  # resnet-20 stands in both grids
    assert rows.loc[("depth", "paper"), ["recorded", "total"]].tolist() == [0, 555]
    assert len(status(["cpu"])) == len(GRIDS)
