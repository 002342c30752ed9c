"""The grids of the figures, and the recorded runs of one."""

import pytest
from conftest import made_up_record, store_record

from randprune_core.config import RATIOS, RunConfig, config_to_dict, run_id
from randprune_core.sweeps import cores
from randprune_core.sweeps.grids import GRIDS, dataset_of, figures_at, grid
from randprune_core.sweeps.profiles import PROFILES, in_profile
from randprune_core.sweeps.sweep import collect

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
        "control",
    }
    without = {name for name, profiles in GRIDS.items() if set(profiles) != set(PROFILES)}
    assert without == {"vgg", "cifar100", "control"}
    assert set(figures_at("mini")) == set(GRIDS) - {"vgg", "cifar100"}  # these need a GPU
    assert [name for name in PROFILES if name in GRIDS["control"]] == ["mini"]


def test_a_figure_without_runs_at_a_profile_says_which_it_has():
    for ask in (grid, dataset_of):
        with pytest.raises(ValueError, match="'vgg' has no runs at profile 'mini'.*quick, cpu"):
            ask("vgg", "mini")


def test_lists_leave_out_runs_of_mini_that_are_not_planned_and_take_new_ones(store):
    both = grid("depth", "mini", models=["resnet-14"], seeds=[0, 3])
    assert {c.seed_init for c in both} == {0}  # seed 3 is planned for other networks only
    new = grid("depth", "mini", models=["resnet-44"], ratios=["erk"], sparsities=[0.5], seeds=[3])
    assert [(c.model, c.seed_init, c.image_size) for c in new] == [("resnet-44", 3, 16)]


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


def test_collect_gives_the_recorded_runs_in_grid_order(store, no_pool):
    configs = [RunConfig(seed_init=seed) for seed in range(3)]
    record(configs[2], configs[0])
    for train_missing in (None, False):  # None trains digits only
        frame = collect(configs, train_missing)
        assert list(frame.run_id) == [run_id(configs[0]), run_id(configs[2])]
    assert len(collect([])) == 0
