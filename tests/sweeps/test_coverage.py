"""What of the grids is recorded: variants, the profile that is shown, status."""

import subprocess
import sys

import pytest
from conftest import made_up_record, store_record, tiny

from randprune_core import paths
from randprune_core.config import RunConfig, config_to_dict, run_id, setting
from randprune_core.sweeps import coverage
from randprune_core.sweeps.coverage import recorded_variant, resolve_profile, shown_variant, status
from randprune_core.sweeps.grids import GRIDS, grid
from randprune_core.sweeps.sweep import missing


def record(*configs) -> None:
    for config in configs:
        store_record(made_up_record(config))


@pytest.mark.parametrize("profile", ["", "fast", "Quick"])
def test_an_unknown_profile_is_refused_everywhere(store, profile):
    for refuses in (resolve_profile, lambda name: status([name])):
        with pytest.raises(ValueError, match=f"profile {profile!r}.*quick, mini, cpu, paper"):
            refuses(profile)


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


def test_grids_plans_and_status_load_no_torch_and_look_at_no_data(store):
    code = (
        "import sys; from randprune_core.sweeps import coverage, grids, plan, run, sweep;"
        "plan.in_order(grids.grid('depth', 'paper')); coverage.resolve_profile('auto');"
        "assert 'torch' not in sys.modules and 'randprune_core.data.loading' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, check=True)


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


def test_missing_keeps_the_order_and_reports_a_bad_record(store):
    configs = [tiny(seed_init=seed) for seed in range(4)]
    record(configs[1])
    assert missing(configs) == [configs[0], configs[2], configs[3]]
    paths.record_path("digits", run_id(configs[1])).write_text("{")
    with pytest.warns(UserWarning, match="set aside"):
        assert missing(configs) == configs


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
    assert len(status(["cpu"])) == len(GRIDS) - 1  # the control is one of mini


def test_the_control_is_counted_by_itself_and_never_as_mini(store):
    record(*grid("control", "mini"))
    rows = status(["mini"]).set_index("figure")
    assert rows.loc["control", ["recorded", "missing"]].tolist() == [24, 0]
    assert rows.drop("control").recorded.sum() == 0
    assert resolve_profile("auto") == "quick" and resolve_profile("auto", "control") == "mini"


def test_the_control_is_of_the_copy_that_mini_is_recorded_on(store):
    record(*grid("depth", "mini", variant="jpeg75")[:1], *grid("control", "mini")[:4])
    assert shown_variant("control", "mini") == "jpeg75"
