import numpy as np
import pandas as pd
import pytest
from conftest import made_up_record, store_record
from made_up_runs import EPOCHS, curve, falls_then_flat
from matplotlib.colors import to_rgb

from randprune_core.analysis.gradient_flow import (
    FLAT,
    INITIAL,
    PEAK,
    TO_FLAT,
    flow_table,
    mean_curves,
    rate_steps,
    run_curves,
    smooth,
)
from randprune_core.chapters import gradient_flow, gradient_flow_figures
from randprune_core.chapters.shared import gradient_curves
from randprune_core.chapters.shared.records import Records, collect_records
from randprune_core.presentation import plots, stacked, theme
from randprune_core.records.store import find_records
from randprune_core.sweeps.grids import grid

# ---------------------------------------------------------------- records


GRID = {"models": ["resnet-8", "resnet-14"], "sparsities": [0.8, 0.9]}
LEVELS = {"dense": 1.2, "erk": 1.0, "snip": 0.9, "uniform": 0.7}


def record_all(seeds=(0,), leave_out=(), never_flat=(), ratios=("dense", "erk", "snip")):
    """Records of profile `cpu` whose accuracy follows the flat level, and the level the ratio.

    `leave_out` and `never_flat` hold (model, ratio) pairs. The bigger network has more of both.
    """
    configs = grid("gradient_flow", "cpu", ratios=ratios, seeds=seeds, variant="jpeg75", **GRID)
    for config in configs:
        name = (config.model, config.ratio)
        if name in leave_out:
            continue
        size = 1 + (config.model == "resnet-14")
        level = size * LEVELS[config.ratio] - 0.1 * config.sparsity + 0.001 * config.seed_init
        record = made_up_record(config, 0.3 * size + 0.1 * level)
        shape = (lambda t: 9 - t) if name in never_flat else falls_then_flat
        norms = [level * norm for norm in curve(shape)]
        record["history"]["gradient_norm"] = {"epoch": EPOCHS, "norm": norms}
        record["history"]["gradient_norm_at_init"] = 5 * level
        record["history"]["lr"] = [0.1] * 8 + [0.01] * 4 + [0.001] * 4
        record["cost"]["dense_weights"] = 1_000 * size
        store_record(record)


def collect(**parameters) -> Records:
    return collect_records("gradient_flow", profile="cpu", **GRID, **parameters)


def recorded(**parameters) -> list[dict]:
    return find_records(collect(**parameters).configs)


def over_dense(found: list[dict]) -> pd.DataFrame:
    return gradient_flow.over_dense(run_curves(found))


def test_nothing_recorded_gives_empty_tables_and_figures(store):
    found = recorded(seeds=[0])
    flows, curves = flow_table(found), mean_curves(found)
    assert found == [] and flows.empty and curves.empty and over_dense(found).empty
    assert gradient_curves.shown_sparsity(flows) is None
    assert gradient_flow.correlations(flows).value.isna().all()
    steps = rate_steps(found)
    for figure in (
        gradient_curves.plot_curves(curves, flows, steps, None),
        gradient_flow_figures.plot_over_dense(over_dense(found), steps),
        gradient_flow_figures.plot_predictors(flows),
    ):
        assert plots.is_empty(figure)


def test_flow_table_reads_norms_phase_and_gap_of_each_run(store):
    record_all(seeds=(0, 1))
    flows = flow_table(recorded())
    erk = flows[(flows.model == "resnet-8") & (flows.ratio == "erk") & (flows.sparsity == 0.8)]
    assert erk.seed.tolist() == [0, 1]
    assert erk[FLAT].tolist() == pytest.approx([0.92, 0.921])
    assert erk[INITIAL].tolist() == pytest.approx([4.6, 4.605])
    assert (erk.start == 1.0).all()
    assert (erk[PEAK] > erk[TO_FLAT]).all()
    # 10 * (1.2005 - 0.92): the mean of the dense runs, not the run of the same seed
    assert erk.gap.tolist() == pytest.approx([2.805, 2.795])
    assert flows[flows.ratio == "dense"].gap.isna().all()


def test_gap_needs_a_dense_network_and_predictors_a_flat_phase(store):
    record_all(leave_out=[("resnet-8", "dense")], never_flat=[("resnet-14", "snip")])
    used = gradient_flow.cell_means(flow_table(recorded(seeds=[0])))
    assert set(zip(used.model, used.ratio, strict=True)) == {("resnet-14", "erk")}


def test_curve_that_is_flat_at_once_has_its_initial_norm_up_to_there():
    history = {"gradient_norm_at_init": 1.1, "lr": [0.1] * 16}
    history["gradient_norm"] = {"epoch": EPOCHS, "norm": [1.0] * len(EPOCHS)}
    config = grid("gradient_flow", "cpu", variant="jpeg75")[0]
    record = made_up_record(config) | {"history": history}
    (row,) = flow_table([record]).to_dict("records")
    assert (row["start"], row[TO_FLAT]) == (0.0, 1.1)


@pytest.mark.parametrize(
    "change",
    [
        {"variant": "original"},
        {"epochs": 17},
        {"granularity": "filter"},
        {"method": "set"},
        {"when": "during"},
    ],
)
def test_profile_records_leave_out_other_copies_methods_and_schedules(store, monkeypatch, change):
    config = grid("gradient_flow", "cpu", variant="jpeg75", seeds=[0])[-1]
    kept, other = made_up_record(config), made_up_record(config)
    store_record(kept)
    other["config"] |= change
    monkeypatch.setattr(gradient_flow, "all_records", lambda dataset: iter([other, kept]))
    assert gradient_flow.profile_records(collect(seeds=[0])) == [kept]


def test_profile_records_hold_the_masks_that_a_criterion_chose(store, monkeypatch):
    config = grid("gradient_flow", "cpu", variant="jpeg75", seeds=[0])[-1]
    random, chosen, dynamic = (made_up_record(config) for _ in range(3))
    chosen["config"] |= {"mask_source": "own"}
    dynamic["config"] |= {"method": "set"}
    monkeypatch.setattr(
        gradient_flow, "all_records", lambda dataset: iter([random, chosen, dynamic])
    )
    store_record(random)
    assert gradient_flow.profile_records(collect(seeds=[0])) == [random, chosen]


def test_profile_records_hold_every_ratio_small_networks_first(store):
    record_all(ratios=("dense", "erk", "uniform"))
    found = gradient_flow.profile_records(collect(seeds=[0]))
    assert [record["config"]["model"] for record in found] == ["resnet-8"] * 5 + ["resnet-14"] * 5
    assert {record["config"]["ratio"] for record in found} == {"dense", "erk", "uniform"}


def test_profile_records_obey_the_lists_and_keep_dense(store):
    record_all(seeds=(0, 1))
    found = gradient_flow.profile_records(
        collect(), models="resnet-8", ratios=["erk"], sparsities=0.9, seeds=[1]
    )
    configs = [record["config"] for record in found]
    assert [(c["ratio"], c["sparsity"], c["seed_init"]) for c in configs] == [
        ("dense", 0.0, 1),
        ("erk", 0.9, 1),
    ]


def test_mean_curves_begin_with_initialisation_and_have_intervals_over_seeds(store):
    record_all(seeds=(0,))
    one = mean_curves(recorded())
    assert one.low.isna().all() and (one.groupby(["model", "ratio", "sparsity"]).size() == 62).all()
    record_all(seeds=(1,))
    two = mean_curves(recorded())
    first = two.iloc[0]
    assert (first.epoch, first.n) == (0.0, 2) and first.low < first.norm < first.high
    assert first.norm == pytest.approx(5 * 1.2005)


def test_smoothing_takes_the_saw_tooth_away_and_leaves_the_start():
    epochs = np.arange(101) / 10
    level = np.where(epochs == 0, 9.0, 1.0)
    teeth = level + 0.5 * ((epochs % 1 == 0) & (epochs > 0))
    smoothed = smooth(epochs, teeth)
    assert smoothed[0] == 9.0
    assert smoothed[30:] == pytest.approx(np.full(71, 1.05), abs=0.03)
    assert smooth(epochs, level) == pytest.approx(level)


def test_long_parts_of_the_training_weigh_more_than_short_ones():
    smoothed = smooth([0.0, 4.7, 4.9, 5.0, 6.0], [9.0, 9.0, 1.0, 1.0, 3.0])
    assert smoothed[-1] == pytest.approx((0.2 * 1 + 0.1 * 1 + 1 * 3) / 1.3)


def test_a_run_is_held_against_the_dense_run_of_its_network_and_seed(store):
    record_all(seeds=(0, 1), leave_out=[("resnet-14", "dense")])
    shares = over_dense(recorded())
    assert set(shares.model) == {"resnet-8"} and set(shares.seed) == {0, 1}
    part = shares[(shares.ratio == "erk") & (shares.sparsity == 0.8) & (shares.seed == 1)]
    assert len(part) == 62
    assert part.share.to_numpy() == pytest.approx(np.full(62, 0.921 / 1.201))


def test_steps_of_the_learning_rate(store):
    record_all()
    assert rate_steps(recorded()) == [8, 12]
    assert rate_steps([]) == []


@pytest.mark.parametrize(
    ("cells", "level"),
    [
        ([("erk", 0.9), ("snip", 0.9), ("erk", 0.1)], 0.9),
        ([("erk", 0.9), ("erk", 0.8)], 0.8),
        ([("erk", 0.4), ("erk", 0.6), ("erk", 0.5)], 0.5),
        ([("dense", 0.0)], None),
    ],
)
def test_shown_sparsity_has_most_cells_and_then_is_nearest_to_the_papers(cells, level):
    flows = pd.DataFrame(cells, columns=["ratio", "sparsity"]).assign(model="resnet-8")
    assert gradient_curves.shown_sparsity(pd.concat([flows, flows])) == level


# ---------------------------------------------------------------- predictors


def made_up_flows(gaps: dict[str, list[float]], sign: float) -> pd.DataFrame:
    """Runs whose norms are `sign` times the gap within a network, whatever other networks do."""
    rows = []
    for size, (model, values) in enumerate(gaps.items(), start=1):
        for seed, gap in enumerate(values):
            norm = 100 * size + sign * (gap - min(values))
            row = {"model": model, "ratio": "erk", "sparsity": 0.9, "seed": seed, "gap": gap}
            row |= dict.fromkeys(gradient_flow.PREDICTORS, norm)
            rows.append(row | {"weights": size, "start": 1.0})
    return pd.DataFrame(rows)


def view(table: pd.DataFrame, name: str) -> pd.DataFrame:
    return table[table["view"] == name]


def test_correlation_within_networks_is_free_of_differences_between_them():
    values = np.arange(8.0)
    gaps = {"resnet-8": list(values + 20), "resnet-14": list(values)}
    flows = made_up_flows(gaps, 1.0)
    cells = flows.assign(sparsity=flows.seed / 10)
    assert cells.gap.corr(cells[FLAT], method="spearman") < -0.3  # over all cells
    within = view(gradient_flow.correlations(cells), "within")
    assert within.value.tolist() == pytest.approx([1.0] * 3) and within.n.tolist() == [16] * 3


def test_correlation_across_networks_is_free_of_what_sparsity_does():
    """Larger networks have a longer norm and a smaller gap, sparser ones a longer and a larger."""
    rows = []
    for size, level in np.ndindex(6, 2):
        row = {"model": f"resnet-{6 * size + 8}", "ratio": "erk", "sparsity": (0.5, 0.9)[level]}
        row |= dict.fromkeys(gradient_flow.PREDICTORS, 10.0 * level + size)
        rows.append(row | {"seed": 0, "gap": 20.0 * level - size, "weights": size, "start": 1.0})
    table = gradient_flow.correlations(pd.DataFrame(rows))
    assert view(table, "across").value.tolist() == pytest.approx([-1.0] * 3)
    assert view(table, "within").value.tolist() == pytest.approx([1.0] * 3)
    assert (view(table, "across").high < 0).all() and (view(table, "across").n == 12).all()
    assert view(table, "ratios").value.isna().all() and (view(table, "ratios").n == 0).all()


def test_ratios_are_compared_in_one_network_at_one_sparsity(store):
    record_all(ratios=("dense", "erk", "snip", "uniform"))
    flows = flow_table(gradient_flow.profile_records(collect(seeds=[0])))
    found = view(gradient_flow.correlations(flows), "ratios").set_index("predictor").loc[FLAT]
    assert (found.value, found.n) == (pytest.approx(-1.0), 12)


def test_the_seeds_of_a_cell_count_once():
    one = made_up_flows({"resnet-8": [1.0], "resnet-14": [2.0], "resnet-20": [4.0]}, 1.0)
    three = pd.concat([one.assign(seed=seed, gap=one.gap + 0.1 * seed) for seed in range(3)])
    cells = gradient_flow.cell_means(three)
    assert cells.n.tolist() == [3] * 3 and cells.gap.tolist() == pytest.approx([1.1, 2.1, 4.1])
    assert (view(gradient_flow.correlations(three), "across").n == 3).all()


def test_groups_of_one_cell_are_left_out():
    flows = made_up_flows({"resnet-8": list(np.arange(10.0)), "resnet-14": [3.0]}, -1.0)
    table = gradient_flow.correlations(flows.assign(sparsity=flows.seed / 10))
    assert (view(table, "within").n == 10).all()
    assert view(table, "within").value.tolist() == pytest.approx([-1.0] * 3)


def test_places_in_a_group_share_ties_and_have_mean_one_half():
    cells = pd.DataFrame({"model": ["a"] * 4 + ["b"] * 2, "gap": [3.0, 1, 1, 9, 5, 4]})
    places = gradient_flow.places(cells, "gap", ["model"])
    assert places.tolist() == [0.625, 0.25, 0.25, 0.875, 0.75, 0.25]


def test_too_few_cells_have_no_interval(store):
    record_all()
    few = gradient_flow.correlations(flow_table(recorded(seeds=[0])))
    assert view(few, "within").value.notna().all() and few.low.isna().all()
    record_all(ratios=("dense", "erk", "snip", "uniform"))
    flows = flow_table(gradient_flow.profile_records(collect(seeds=[0])))
    many = view(gradient_flow.correlations(flows), "within").set_index("predictor").loc[TO_FLAT]
    assert many.n == 12 and many.low <= many.value < many.high


# ---------------------------------------------------------------- figures


def test_figures_change_with_what_they_draw(store):
    record_all(seeds=(0, 1))
    found = recorded()
    flows, curves = flow_table(found), mean_curves(found)
    draw = gradient_curves.plot_curves
    base = plots.digest(draw(curves, flows, [8, 12], 0.9))
    assert base.startswith("2 panels")
    assert plots.digest(draw(curves, flows, [8, 12], 0.8)) != base
    assert plots.digest(draw(curves, flows, [8], 0.9)) != base
    assert plots.digest(draw(curves, flows.assign(start=2.0), [8, 12], 0.9)) != base
    predictors = gradient_flow_figures.plot_predictors
    assert plots.digest(predictors(flows.assign(gap=-flows.gap))) != plots.digest(predictors(flows))


def test_lines_are_paler_with_fewer_zeros_and_have_a_band_where_there_are_several_seeds(store):
    record_all(ratios=("dense", "erk"))
    figure = gradient_flow_figures.plot_over_dense(over_dense(recorded()), [8])
    (one, _) = figure.get_axes()
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["dense", "ERK 0.8", "ERK 0.9", "learning rate ÷ 10"]
    handles = dict(zip(names, figure.legends[0].legend_handles, strict=True))
    assert to_rgb(handles["ERK 0.9"].get_color()) == to_rgb(theme.COLOURS["erk"])
    assert sum(handles["ERK 0.8"].get_color()) > sum(handles["ERK 0.9"].get_color())
    assert len(one.lines) == 4  # two sparsities, a step of the rate and the dense twin
    record_all(seeds=(1,), ratios=("dense", "erk"))
    (two, _) = gradient_flow_figures.plot_over_dense(over_dense(recorded()), [8]).get_axes()
    assert len(two.lines) == 4
    assert [len(band.get_paths()) for band in one.collections] == [0, 0]
    bands = [band.get_paths()[0].vertices[:, 1] for band in two.collections]
    low, high = two.get_ylim()
    assert len(bands) == 2 and all(low < band.min() and band.max() < high for band in bands)


def test_each_network_is_named_once_beside_an_end_also_on_a_phone(store):
    record_all()
    flows = flow_table(recorded())
    for width in (theme.WIDTH, stacked.WIDTH):
        first, *others = gradient_flow_figures.plot_predictors(flows, width=width).get_axes()
        assert [text.get_text() for text in first.texts] == ["ResNet-14", "ResNet-8"]
        assert not any(axis.texts for axis in others)
        ends = gradient_flow.cell_means(flows).groupby("model").gap.agg(["min", "max"])
        for text in first.texts:
            assert text.xy[1] in set(ends.loc[text.get_text().lower()])


@pytest.mark.parametrize(
    ("last", "names"),
    [(4, ["start", "0.1", "1", "2", "3"]), (160, ["start", "1", "10", "100"])],
)
def test_the_epochs_of_short_trainings_have_ticks_between(last, names):
    curves = pd.DataFrame({"model": "resnet-8", "epoch": [0, last]})
    _, axes = gradient_curves.epoch_panels(curves, [], "", "", (1, 2, 5))
    assert [label.get_text() for label in axes["resnet-8"].get_xticklabels()] == names


def test_no_line_crosses_the_name_of_a_network():
    cells = [("resnet-8", 1.0, 3.0, 1.2, -1.0), ("resnet-20", 1.05, 1.5, 1.2, -2.0)]
    rows = [
        {"model": model, "ratio": "erk", "sparsity": sparsity, "seed": 0, "gap": gap, "weights": 1}
        | dict.fromkeys(gradient_flow.PREDICTORS, norm)
        for model, low, top, high, bottom in cells
        for sparsity, norm, gap in ((0.9, low, top), (0.5, high, bottom))
    ]
    figure = gradient_flow_figures.plot_predictors(pd.DataFrame(rows))
    figure.draw_without_rendering()
    axis = figure.get_axes()[0]
    lines = [line for line in axis.lines if line.get_linestyle() == "-"]
    boxes = [text.get_window_extent() for text in axis.texts]
    assert len(lines) == len(boxes) == 2
    for line in lines:
        path = line.get_path().transformed(line.get_transform())
        assert not any(path.intersects_bbox(box, filled=False) for box in boxes)
