"""Tests."""

import io
import math

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb

from randprune_core.config import RATIOS
from randprune_core.presentation import plots, theme

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def points(interval=True, **means) -> pd.DataFrame:
    """A summary with the dense network and one line, `model=accuracy` of the dense network."""
    rows = []
    for model, dense in means.items():
        for ratio, sparsity, drop in (("dense", 0.0, 0), ("erk", 0.8, 3), ("erk", 0.9, 5)):
            mean, reach = float(dense - drop), 0.5 if interval else math.nan
            name = model.replace("_", "-")
            rows.append([name, ratio, sparsity, mean, mean - reach, mean + reach])
    return pd.DataFrame(rows, columns=["model", "ratio", "sparsity", "mean", "low", "high"])


def published(**means) -> pd.DataFrame:
    return points(**means).assign(dense_band=0.2)


def gaps(**start) -> pd.DataFrame:
    rows = [
        [model.replace("_", "-"), "erk", sparsity, gap + sparsity, gap, gap + 2]
        for model, gap in start.items()
        for sparsity in (0.8, 0.9)
    ]
    return pd.DataFrame(rows, columns=["model", "ratio", "sparsity", "gap", "low", "high"])


def panels(figure) -> dict:
    return {axis.get_title(): axis for axis in figure.get_axes()}


def lines(axis, ratio: str) -> list:
    """Lines with points in the colour of a ratio; caps of error bars are no such lines."""
    wanted = to_rgb(theme.COLOURS[ratio])
    return [
        line
        for line in axis.lines
        if to_rgb(line.get_color()) == wanted and line.get_linestyle() != "None"
    ]


def test_every_ratio_has_a_colour_a_marker_and_a_name_of_its_own():
    for look in (theme.COLOURS, theme.MARKERS, theme.LABELS):
        assert tuple(look)[: len(RATIOS)] == RATIOS
        assert len({look[ratio] for ratio in RATIOS}) == len(RATIOS)


def test_every_other_setting_is_told_apart_by_colour_and_marker_together():
    assert set(theme.COLOURS) == set(theme.MARKERS) == set(theme.LABELS)
    looks = [(theme.COLOURS[key], theme.MARKERS[key]) for key in theme.COLOURS]
    assert len(set(looks)) == len(looks) == len(set(theme.LABELS.values()))


def test_colours_differ_in_lightness_or_hue_on_white():
    rgb = np.array([to_rgb(colour) for colour in set(theme.COLOURS.values())])
    distance = np.linalg.norm(rgb[:, None] - rgb, axis=-1)[np.triu_indices(len(rgb), 1)]
    assert distance.min() > 0.25
    assert np.linalg.norm(1 - rgb, axis=1).min() > 0.5


def seeds(**values: list[float]) -> pd.DataFrame:
    """The runs of ERK at 0.9 one by one, `model=values`."""
    rows = [
        [model.replace("_", "-"), "erk", 0.9, value]
        for model, found in values.items()
        for value in found
    ]
    return pd.DataFrame(rows, columns=["model", "ratio", "sparsity", "value"])


def marked(axis, ratio: str) -> tuple[list, list]:
    """The heights of the filled and of the hollow markers in the colour of a ratio."""
    filled, hollow = [], []
    for line in axis.lines:
        if to_rgb(line.get_color()) != to_rgb(theme.COLOURS[ratio]) or line.get_marker() != "o":
            continue
        inside = to_rgb(line.get_markerfacecolor())
        which = slice(None) if line.get_markevery() is None else line.get_markevery()
        if line.get_markersize() > 3:
            (hollow if inside == (1, 1, 1) else filled).extend(line.get_ydata()[which])
    return filled, hollow


def dots(axis) -> list:
    small = [line for line in axis.lines if line.get_markersize() < 3 and line.get_marker() == "o"]
    return [value for line in small for value in line.get_ydata()]


def test_a_row_without_a_run_is_left_out():
    empty = points(resnet_8=70)[:0]
    for figure in (plots.plot_by_sparsity(empty), plots.plot_gap_to_dense(gaps(resnet_8=1)[:0])):
        assert plots.is_empty(figure)
    beside = plots.plot_by_sparsity(empty, published(resnet_20=92), published_title="the paper")
    assert set(panels(beside)) == {"ResNet-20"}
    assert [part.get_suptitle() for part in beside.subfigs] == ["", "the paper"]


def test_one_seed_is_hollow_and_the_key_says_so():
    frame = points(resnet_8=70)
    frame.loc[2, ["low", "high"]] = math.nan
    figure = plots.plot_by_sparsity(frame)
    assert marked(figure.get_axes()[0], "erk") == ([67.0], [65.0])
    assert labels(figure) == ["dense", "ERK", "one seed", "95 % interval of dense"]
    bare = points(interval=False, resnet_8=70)
    assert labels(plots.plot_by_sparsity(bare)) == ["dense", "ERK", "one seed"]


def labels(figure) -> list[str]:
    return [text.get_text() for text in figure.subfigs[0].legends[0].get_texts()]


def test_seeds_are_dots_where_a_cell_has_several():
    runs = seeds(resnet_8=[64.0, 66.0], resnet_14=[63.0])
    figure = plots.plot_by_sparsity(points(resnet_8=70, resnet_14=70), seeds=runs)
    axes = panels(figure)
    assert dots(axes["ResNet-8"]) == [64.0, 66.0] and dots(axes["ResNet-14"]) == []
    gap = plots.plot_gap_to_dense(gaps(resnet_8=3), seeds=runs, sparsities=[0.9])
    assert dots(gap.get_axes()[0]) == [64.0, 66.0]


def test_the_panels_of_gaps_have_one_scale():
    figure = plots.plot_gap_to_dense(gaps(resnet_8=3), gaps(resnet_20=30))
    assert len({axis.get_ylim() for axis in figure.get_axes()}) == 1


def test_accuracy_panel_draws_the_means_and_the_dense_network_across():
    figure = plots.plot_by_sparsity(points(resnet_8=70, resnet_20=80))
    axes = panels(figure)
    assert set(axes) == {"ResNet-8", "ResNet-20"}
    (erk,) = lines(axes["ResNet-20"], "erk")
    assert erk.get_xydata().tolist() == [[0.8, 77.0], [0.9, 75.0]]
    (dense,) = lines(axes["ResNet-20"], "dense")
    assert set(dense.get_ydata()) == {80.0}


@pytest.mark.parametrize("levels", [[0.9], [0.5, 0.9], [tenth / 10 for tenth in range(1, 10)]])
def test_ratios_stand_side_by_side_nearer_to_their_sparsity_than_to_the_next(levels):
    names = ["uniform", "uniform_plus", "erk", "snip"]
    rows = [["resnet-8", ratio, level, 60.0, 59.0, 61.0] for ratio in names for level in levels]
    frame = pd.DataFrame(rows, columns=points().columns)
    figure = plots.plot_by_sparsity(frame, frame.assign(dense_band=0.2))
    (ours, theirs), drawn = figure.get_axes(), {}
    for ratio in names:
        (line,), (paper,) = lines(ours, ratio), lines(theirs, ratio)
        drawn[ratio] = line.get_xdata() - levels
        assert paper.get_xdata().tolist() == levels
    low, high = ours.get_xlim()
    aside = np.array([*drawn.values()])
    assert (np.diff(aside, axis=0) > 0.01 * (high - low)).all()
    assert np.abs(aside).max() < min(np.diff(levels), default=high - low) / 4
    assert low < levels[0] + aside.min() and levels[-1] + aside.max() < high


def test_intervals_are_drawn_where_there_are_any():
    with_interval = plots.plot_by_sparsity(points(resnet_8=70))
    one_seed = plots.plot_by_sparsity(points(interval=False, resnet_8=70))
    (axis,), (bare,) = with_interval.get_axes(), one_seed.get_axes()
    (bars,) = axis.collections
    assert [segment[:, 1].tolist() for segment in bars.get_segments()] == [
        [66.5, 67.5],
        [64.5, 65.5],
    ]
    assert len(axis.patches) == 1  # the band of the dense network
    assert not bare.collections and not bare.patches


def test_published_points_are_hollow_in_a_row_of_their_own():
    figure = plots.plot_by_sparsity(points(resnet_8=70), published(resnet_20=92))
    axes = panels(figure)
    (ours,) = lines(axes["ResNet-8"], "erk")
    (theirs,) = lines(axes["ResNet-20"], "erk")
    assert to_rgb(theirs.get_markerfacecolor()) == to_rgb("white")
    assert to_rgb(ours.get_markerfacecolor()) == to_rgb(theme.COLOURS["erk"])


def test_overlay_draws_both_in_the_panels_of_the_same_model_and_leaves_others_out():
    theirs = published(resnet_20=92, resnet_32=93)
    figure = plots.plot_by_sparsity(points(resnet_20=80), theirs, overlay=True)
    axes = panels(figure)
    assert set(axes) == {"ResNet-20"}
    drawn = [line.get_ydata().tolist() for line in lines(axes["ResNet-20"], "erk")]
    assert sorted(drawn) == [[77.0, 75.0], [89.0, 87.0]]


def test_a_ratio_has_one_colour_in_every_figure():
    for figure in (
        plots.plot_by_sparsity(points(resnet_8=70)),
        plots.plot_gap_to_dense(gaps(resnet_8=3, resnet_14=2)),
        plots.plot_layer_sparsities(layers()),
    ):
        assert lines(figure.get_axes()[0], "erk")


def test_gap_has_a_panel_a_sparsity_and_a_tick_a_model_in_the_order_given():
    figure = plots.plot_gap_to_dense(gaps(resnet_8=3, resnet_14=2, resnet_110=1))
    axes = panels(figure)
    assert list(axes) == ["sparsity 0.8", "sparsity 0.9"]
    axis = axes["sparsity 0.9"]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["8", "14", "110"]
    (erk,) = lines(axis, "erk")
    assert erk.get_ydata() == pytest.approx([3.9, 2.9, 1.9])


def test_every_dot_and_every_bar_stands_inside_of_the_frame():
    runs = seeds(resnet_8=[40.0, 90.0])
    dotted = plots.plot_by_sparsity(points(resnet_8=70), seeds=runs)
    barred = plots.plot_gap_to_dense(gaps(resnet_8=3).assign(dense_band=60.0))
    for figure, lowest, highest in ((dotted, 40, 90), (barred, -60, 60)):
        for axis in figure.get_axes():
            low, high = axis.get_ylim()
            assert low < lowest and highest < high


def test_a_margin_is_a_dotted_line_with_its_number_in_the_key():
    figure = plots.plot_gap_to_dense(gaps(resnet_8=3), margin=0.3)
    for axis in figure.get_axes():
        levels = [line.get_ydata()[0] for line in axis.lines if len(set(line.get_ydata())) == 1]
        assert {0, 0.3} <= set(levels)
    assert labels(figure) == ["ERK", "margin 0.3"]
    assert plots.is_empty(plots.plot_gap_to_dense(gaps(resnet_8=3)[:0], margin=0.3))


def test_a_band_about_zero_is_as_wide_as_its_column_says_and_named_in_the_key():
    frame = gaps(resnet_8=3, resnet_14=2).assign(dense_band=0.2)
    figure = plots.plot_gap_to_dense(frame, sparsities=[0.9], band="sampling error")
    (axis,) = figure.get_axes()
    assert [bar.get_y() for bar in axis.patches] == pytest.approx([-0.2] * 2)
    assert [bar.get_height() for bar in axis.patches] == pytest.approx([0.4] * 2)
    assert labels(figure) == ["ERK", "sampling error"]


def test_with_sizes_all_panels_have_one_logarithmic_axis_of_them():
    ours, theirs = gaps(resnet_8=3, resnet_20=2, resnet_32=1), gaps(resnet_20=2, resnet_80=1)
    sizes = {f"resnet-{depth}": depth for depth in (8, 20, 32, 80, 110)}
    figure = plots.plot_gap_to_dense(ours, theirs, sizes=sizes, sparsities=[0.9])
    above, below = figure.get_axes()
    for axis in (above, below):
        assert [tick.get_text() for tick in axis.get_xticklabels()] == ["8", "20", "32", "80"]
    assert above.get_xlim() == below.get_xlim()
    (own,), (paper,) = lines(above, "erk"), lines(below, "erk")
    x, there = own.get_xdata(), paper.get_xdata()
    assert x[1] == pytest.approx(there[0])
    assert (x[1] - x[0]) / (there[1] - there[0]) == pytest.approx(math.log(20 / 8) / math.log(4))


def test_gap_panels_are_limited_to_the_sparsities_asked_for():
    figure = plots.plot_gap_to_dense(gaps(resnet_8=3), gaps(resnet_20=1), sparsities=[0.9])
    assert [axis.get_title() for axis in figure.get_axes()] == ["sparsity 0.9"] * 2


def layers() -> pd.DataFrame:
    rows = [
        [model, ratio, position, sparsity]
        for model in ("resnet-8", "wide_resnet50_2")
        for ratio in ("uniform", "erk")
        for position, sparsity in enumerate((0.0, 0.5, 0.9), start=1)
    ]
    return pd.DataFrame(rows, columns=["model", "ratio", "position", "sparsity"])


def test_layer_sparsities_have_a_panel_a_model():
    figure = plots.plot_layer_sparsities(layers())
    assert [axis.get_title("left") for axis in figure.get_axes()] == [
        "ResNet-8",
        "Wide ResNet-50-2",
    ]
    named = plots.plot_layer_sparsities(layers(), 0.9)
    assert named.get_axes()[0].get_title("left") == "ResNet-8, sparsity 0.9"
    (erk,) = lines(figure.get_axes()[0], "erk")
    assert erk.get_xdata().tolist() == [1, 2, 3]
    assert erk.get_ydata().tolist() == pytest.approx([100, 50, 10])
    assert figure.get_axes()[0].get_yscale() == "log"


def test_shortcuts_are_shaded_and_a_plus_lies_dashed_on_its_twin():
    table = layers()[lambda rows: rows.model == "resnet-8"]
    named = table.assign(layer=table.position.map({1: "conv", 2: "stage2.0.shortcut.0", 3: "fc"}))
    named = pd.concat([named, named[named.ratio == "erk"].assign(ratio="erk_plus")])
    figure = plots.plot_layer_sparsities(named)
    (axis,) = figure.get_axes()
    assert [(span.get_x(), span.get_width()) for span in axis.patches] == [(1.5, 1.0)]
    (erk,), (plus,) = lines(axis, "erk"), lines(axis, "erk_plus")
    assert plus.get_zorder() > erk.get_zorder() and plus.get_linewidth() < erk.get_linewidth()
    entries = [text.get_text() for text in figure.legends[0].get_texts()]
    assert entries == ["Uniform", "ERK", "ERK+", "shortcut"]
    assert not plots.plot_layer_sparsities(table).get_axes()[0].patches


def test_mask_shows_each_kernel_as_a_cell():
    mask = np.zeros((2, 3, 3, 3), dtype=bool)
    mask[1, 2, 0, 1] = True  # second filter, third channel, top row, middle column
    (axis,) = plots.plot_mask({"one": mask}).get_axes()
    (image,) = axis.images
    assert image.get_array().shape == (6, 9)
    assert np.argwhere(np.asarray(image.get_array())).tolist() == [[3, 7]]


def test_mask_of_a_linear_layer_is_shown_as_it_is():
    mask = np.eye(3, 4, dtype=bool)
    (axis,) = plots.plot_mask({"linear": mask}).get_axes()
    assert np.array_equal(axis.images[0].get_array(), mask)


def test_figures_fit_the_page_with_text_of_nine_points_on_white():
    figure = plots.plot_by_sparsity(points(resnet_8=70), published(resnet_20=92))
    figure.canvas.draw()
    assert figure.get_figwidth() == theme.WIDTH
    assert to_rgb(figure.get_facecolor()) == to_rgb("white")
    texts = [text for axis in figure.get_axes() for text in axis.get_xticklabels()]
    texts += [axis.title for axis in figure.get_axes()]
    assert min(text.get_size() for text in texts) >= 9
    key = figure.subfigs[0].legends[0].get_window_extent()
    assert key.x0 >= 0 and key.x1 <= figure.bbox.width


def test_equal_frames_give_equal_pictures():
    def picture():
        buffer = io.BytesIO()
        plots.plot_gap_to_dense(gaps(resnet_8=3)).savefig(buffer, metadata={"Software": None})
        return buffer.getvalue()

    assert picture() == picture()


@pytest.mark.parametrize("column", ["mean", "sparsity", "low"])
def test_digest_changes_with_what_is_drawn(column):
    frame, other = points(resnet_8=70), points(resnet_8=70)
    assert plots.digest(plots.plot_by_sparsity(frame)) == plots.digest(
        plots.plot_by_sparsity(other)
    )
    other.loc[2, column] += 0.01
    assert plots.digest(plots.plot_by_sparsity(frame)) != plots.digest(
        plots.plot_by_sparsity(other)
    )


def test_digest_sees_bands_layers_and_masks_and_not_the_last_bit():
    frame = layers()
    near, far = (frame.assign(sparsity=frame.sparsity + more) for more in (1e-12, 0.01))
    first, same, other = (plots.digest(plots.plot_layer_sparsities(f)) for f in (frame, near, far))
    assert first == same != other
    mask = np.eye(4, dtype=bool)
    assert plots.digest(plots.plot_mask({"m": mask})) != plots.digest(plots.plot_mask({"m": ~mask}))
    wide, narrow = (gaps(resnet_8=3).assign(dense_band=band) for band in (0.2, 0.1))
    assert plots.digest(plots.plot_gap_to_dense(wide[:0], wide)) != plots.digest(
        plots.plot_gap_to_dense(wide[:0], narrow)
    )
