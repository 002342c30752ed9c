import numpy as np
import pytest
from conftest import made_up_record, store_record
from made_up_runs import SMALL, record_all
from scipy import stats

from randprune_core.analysis.cells import gap_to_dense, summarise
from randprune_core.analysis.claims import judge
from randprune_core.chapters.shared.records import (
    PARAMETERS,
    as_list,
    collect_records,
    is_default,
    one_record,
)
from randprune_core.records.failures import note_failure
from randprune_core.sweeps import grids


def test_a_figure_without_records_says_so(store):
    records = collect_records("depth", **SMALL, seeds=[0])
    assert records.runs.empty and records.seeds() == "no\u00a0seed"
    assert records.coverage() == (
        "0 of 4 cells recorded (0 of 4 planned runs, no\u00a0seed in a recorded cell); missing: "
        "ResNet-8: everything; ResNet-14: everything"
    )
    assert records.source().endswith("no\u00a0seed")


def test_missing_cells_are_named_and_counted(store):
    record_all(leave_out=[("resnet-14", "erk")])
    records = collect_records("depth", **SMALL)
    assert records.coverage() == (
        "3 of 4 cells recorded (3 of 12 planned runs, one\u00a0seed in a recorded cell); "
        "missing: ResNet-14: ERK 0.9"
    )
    assert records.cells().recorded.tolist() == [1, 1, 1, 0]
    assert set(records.cells().wanted) == {3}


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [((0,), (0,), "one seed"), ((0, 1), (0, 1), "2 seeds"), ((0, 1, 2), (0,), "1 to 3 seeds")],
)
def test_seeds_are_those_behind_a_cell(store, first, second, words):
    record_all(seeds=first, models=["resnet-8"])
    record_all(seeds=second, models=["resnet-14"])
    records = collect_records("depth", **SMALL)
    assert records.seeds() == words.replace(" ", "\u00a0")
    assert "no cell is missing" in records.coverage()


def test_missing_sparsities_of_a_ratio_are_listed_together(store):
    wide = {**SMALL, "sparsities": [0.7, 0.8, 0.9]}
    record_all()
    record_all(sparsities=[0.7], models=["resnet-8"])
    assert (
        collect_records("depth", **wide)
        .coverage()
        .endswith("missing: ResNet-8: ERK 0.8; ResNet-14: ERK 0.7 and 0.8")
    )


def test_source_names_profile_data_copy_and_schedule(store):
    record_all()
    records = collect_records("depth", **SMALL)
    assert records.variant == "jpeg75"
    assert records.source() == (
        "Profile cpu: CIFAR-10, copy jpeg75, 10,000\u00a0images, 16\u00a0epochs, one\u00a0seed"
    )
    assert records.summary().data == (
        f"- {records.source()}\n- {records.coverage()}\n- Profile cpu is a short schedule on "
        "fewer images: it shows a direction, not the paper's accuracies"
    )


def test_only_default_parameters_count_as_default(store):
    changes = {"profile": "quick", "models": ["resnet-8"], "seeds": [0], "device": "cpu"}
    defaults = dict.fromkeys(PARAMETERS) | {"profile": "auto", "device": "auto"}
    assert is_default(*defaults.values())
    for name, value in {**changes, "train_missing": False}.items():
        assert not is_default(*(defaults | {name: value}).values())
    assert not collect_records("depth", **SMALL).default


def test_one_value_stands_for_a_list_and_an_empty_list_raises():
    assert as_list("models", None) is None
    assert as_list("models", "resnet-8") == ["resnet-8"]
    assert as_list("sparsities", 0.9) == [0.9]
    assert as_list("seeds", (0, 1)) == [0, 1]
    with pytest.raises(ValueError, match="models is empty"):
        as_list("models", [])


@pytest.mark.parametrize(
    "wrong", [{"profile": "cpuu"}, {"models": "resnet-9"}, {"sparsities": 1.0}, {"ratios": "erkk"}]
)
def test_bad_parameters_raise_one_line(store, wrong):
    with pytest.raises(ValueError, match="^[^\n]+$"):
        collect_records("depth", **{**SMALL, **wrong})


def test_one_record_is_none_for_cifar_that_is_not_recorded(store):
    (config,) = grids.grid(
        "depth", "cpu", models=["resnet-8"], ratios=["dense"], seeds=[0], variant="jpeg75"
    )
    assert one_record(config) is None
    store_record(made_up_record(config))
    assert one_record(config)["run_id"]


def test_failed_runs_are_shown_with_their_reason_until_they_are_recorded(store):
    records = collect_records("depth", **SMALL)
    assert records.failed() == "" and "failed" not in records.summary().data
    config = records.configs[-1]
    note_failure(config, RuntimeError("the loss became nan in epoch 2"))
    line = f"1 of {len(records.configs)} runs failed: ResNet-14 ERK 0.9, "
    assert records.failed().startswith(line)
    assert f"seed {config.seed_init} (the loss became nan in epoch 2)" in records.summary().data
    store_record(made_up_record(config))
    assert collect_records("depth", **SMALL).failed() == ""


def record_noisy(figures=("depth", "width"), profile="mini", seeds=(0, 1, 2)):
    """Every run of some figures, with accuracies that differ."""
    draw = np.random.default_rng(0)
    for figure in figures:
        for config in grids.grid(figure, profile, seeds=seeds, variant="jpeg75"):
            store_record(made_up_record(config, 0.7 + 0.01 * draw.standard_normal()))


def gap_of(records, model="resnet-20", sparsity=0.9):
    gaps = gap_to_dense(records.runs, pool=records.pool)
    mine = (gaps.model == model) & (gaps.sparsity == sparsity) & (gaps.ratio == "erk")
    (gap,) = gaps[mine][["gap", "low", "high"]].to_numpy()
    return gap


@pytest.mark.parametrize(("profile", "model"), [("mini", "resnet-20"), ("cpu", "resnet-8")])
def test_a_contrast_has_one_interval_on_every_page(store, profile, model):
    """Whatever the grid of the page is, and whatever its parameters leave out."""
    figures = ("depth", "width", "methods", "robustness")
    record_noisy(figures, profile)
    shown = [collect_records(f, profile=profile) for f in figures if f != "width"]
    shown += [collect_records("width", profile=profile)] * (model == "resnet-20")
    shown.append(collect_records("depth", profile=profile, models=model, sparsities=0.9))
    first, *others = (gap_of(records, model) for records in shown)
    assert np.isfinite(first).all() and len({len(records.runs) for records in shown}) > 2
    for other in others:
        assert other == pytest.approx(first, rel=1e-12)
    width = [gap_to_dense(records.runs).eval("high - low").iloc[0] for records in shown[:2]]
    assert width[0] != pytest.approx(width[1])  # with the spread of the page alone they differ


def test_the_interval_of_a_page_is_that_of_the_verdict_but_for_its_level(store):
    record_noisy(("depth", "width", "methods"))
    records = collect_records("depth", profile="mini")
    gap, low, high = gap_of(records, "resnet-32", 0.5)
    (part,) = (part for part in judge(records.read(), "mini", (3,)) if part.part == "deepest")
    assert part.seeds == 3 and part.estimate.value == pytest.approx(-gap)
    levels = stats.t.ppf([0.975, 0.9875], 15 * (3 - 1))  # the 15 cells of the table of decisions
    assert (high - low) / levels[0] == pytest.approx(
        (part.estimate.high - part.estimate.low) / levels[1]
    )
    assert "read too" not in collect_records("robustness", profile="mini").summary().data


def test_runs_on_other_data_than_their_profile_have_their_own_spread(store):
    assert collect_records("cifar100", profile="cpu").pool is None
    assert collect_records("vgg", profile="cpu").pool is not None


def test_a_page_counts_the_runs_that_it_reads_beside_its_grid_once(store):
    record_noisy(profile="cpu", seeds=[0])
    records = collect_records("depth", profile="cpu", models="resnet-8")
    pool = {*records.pool.run_id}
    assert len(pool) == 5 * 3 and len(records.runs) == 7
    more = len(pool - {*records.runs.run_id})
    assert len(records.read()) == len(records.read(records.runs, records.pool)) == 7 + more
    line = f"{more} recorded runs of other grids are read too, for "
    assert f"- {line}the spread between seeds\n" in records.summary().data
    others = collect_records("depth", profile="cpu").runs
    more += len({*others.run_id} - pool - {*records.runs.run_id})
    assert f"- {more} recorded runs" in records.summary(others, why="a test").data
    assert summarise(records.runs, pool=records.pool).low.isna().all()  # one seed each
