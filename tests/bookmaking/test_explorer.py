"""The explorer's data: what is shown together, what an interval needs, how everything looks."""

import json
import math
import re

import pytest
from conftest import made_up_record, store_record, tiny

from randprune_core import paths
from randprune_core.analysis.cells import gap_to_dense
from randprune_core.analysis.intervals import mean_interval
from randprune_core.analysis.published import figure1
from randprune_core.analysis.published import gap_to_dense as published_gaps
from randprune_core.bookmaking import build, explorer
from randprune_core.config import RunConfig
from randprune_core.presentation.theme import COLOURS, LABELS, MARKERS
from randprune_core.records.store import all_records
from randprune_core.records.table import load_runs, records_to_frame
from randprune_core.sweeps.grids import grid
from randprune_core.sweeps.profiles import PROFILES


def config(seed=0, **changes) -> RunConfig:
    """A run of profile cpu on the copy jpeg75."""
    fields = {"model": "resnet-8", "ratio": "erk", "sparsity": 0.9, "variant": "jpeg75"}
    seeds = {"seed_init": seed, "seed_mask": seed, "seed_data": seed}
    return RunConfig(**{**PROFILES["cpu"], **fields, **seeds, **changes})


def data(*records) -> dict:
    return explorer.explorer_data(records_to_frame(records))


def cells(found: dict, key: str = "accuracy", place: int = 0, show: str = "value") -> list:
    return found["sets"][place]["measured"][key][show]


def keys(found: dict) -> list[str]:
    return [metric["key"] for metric in found["metrics"]]


def test_without_records_there_is_no_set():
    found = data()
    assert (found["styles"], found["metrics"], found["sets"]) == ({}, [], [])


def test_one_seed_has_no_interval():
    assert cells(data(made_up_record(config(), 0.75))) == [[0, 0, 0.9, 1, 75.0, [], [[0, 75.0]]]]


def test_interval_of_more_seeds_is_that_of_statistics():
    values = [0.70, 0.72, 0.75]
    found = data(*(made_up_record(config(seed), v) for seed, v in enumerate(values)))
    ((_, _, sparsity, n, mean, interval, seeds),) = cells(found)
    expected = mean_interval([100 * value for value in values])
    assert (sparsity, n) == (0.9, 3)
    assert (mean, *interval) == pytest.approx(expected[:3], abs=1e-4)
    assert seeds == [[0, 70.0], [1, 72.0], [2, 75.0]]


def test_gap_is_dense_minus_sparse_as_in_the_chapters_with_a_dot_a_pair_of_seeds():
    dense = {0: 0.80, 1: 0.83, 2: 0.82}
    sparse = {0: 0.75, 1: 0.74, 3: 0.77}
    records = [made_up_record(config(n, ratio="dense", sparsity=0.0), v) for n, v in dense.items()]
    records += [made_up_record(config(n), v) for n, v in sparse.items()]
    ((model, setting, sparsity, n, mean, interval, seeds),) = cells(data(*records), show="gap")
    (expected,) = gap_to_dense(records_to_frame(records)).to_dict("records")
    assert (model, setting, sparsity, n) == (0, 1, 0.9, 3)
    assert (mean, *interval) == pytest.approx(
        [expected[k] for k in ("gap", "low", "high")], abs=1e-4
    )
    assert mean > 0
    assert seeds == [[0, 5.0], [1, 9.0]]


def test_gap_needs_the_dense_network_of_the_same_model_and_profile():
    found = data(
        made_up_record(config(), 0.7),
        made_up_record(config(model="resnet-20", ratio="dense", sparsity=0.0), 0.8),
        made_up_record(config(ratio="dense", sparsity=0.0, epochs=17), 0.8),
    )
    assert [cells(found, place=place, show="gap") for place in (0, 1)] == [[], []]


def test_cost_and_gradient_norms_are_metrics_and_other_columns_of_cost_are_not():
    record = made_up_record(config())
    epochs = [tenth / 10 for tenth in range(1, 21)] + [3.0]
    record["history"]["gradient_norm"] = {"epoch": epochs, "norm": [*range(1, 21), 7.0]}
    record["cost"] |= {"mac_ratio": 0.125, "dense_macs": 80}
    runs = records_to_frame([record])
    found = explorer.explorer_data(explorer.with_gradients(runs, [record]))
    measured = {key: cells(found, key)[0][4] for key in keys(found)[-6:]}
    assert measured == {
        "gradient.initial": 1.0,
        "gradient.first_epoch": 5.5,
        "gradient.last_epoch": 7.0,
        "cost.mac_ratio": 12.5,
        "cost.kept_weights": 100,
        "provenance.seconds": 1.5,
    }
    assert found["sets"][0]["measured"]["provenance.seconds"]["note"]


def test_records_without_a_gradient_norm_have_none():
    with_norm, without = made_up_record(config(0)), made_up_record(config(1))
    without["history"]["gradient_norm_at_init"] = None
    runs = records_to_frame([with_norm, without])
    found = explorer.explorer_data(explorer.with_gradients(runs, [with_norm, without]))
    assert cells(found, "gradient.initial") == [[0, 0, 0.9, 1, 1.0, [], [[0, 1.0]]]]
    assert "gradient.last_epoch" not in keys(found)
    assert cells(found)[0][3] == 2


def test_points_of_the_paper_are_its_accuracies_and_their_gaps():
    points = figure1()
    gaps = published_gaps(points)
    found = data(made_up_record(config()))["paper"]["accuracy"]
    for show, table, column in (("value", points, "mean"), ("gap", gaps, "gap")):
        expected = {
            (row.model, row.ratio, row.sparsity): getattr(row, column) for row in table.itertuples()
        }
        shown = {
            (model.replace("ResNet", "resnet"), *at): mean for model, *at, mean, _ in found[show]
        }
        assert shown == pytest.approx(expected, abs=0.005)
        assert len(found[show]) == len(table)


def test_paper_stands_beside_its_own_data_only():
    found = data(made_up_record(config()), made_up_record(config(dataset="cifar100")))
    assert sorted(entry["paper"] for entry in found["sets"]) == [False, True]


def test_set_keeps_its_key_when_others_come():
    first, other = made_up_record(config()), made_up_record(config(lr=0.05))
    (alone,) = data(first)["sets"]
    (odd,) = data(other)["sets"]
    more = data(first, other, made_up_record(config(1, lr=0.05)))["sets"]
    assert [entry["key"] for entry in more] == [odd["key"], alone["key"]]
    assert alone["key"] == "cpu-cifar10-jpeg75"


@pytest.mark.parametrize(
    "other",
    [{"variant": "original"}, {"epochs": 17}, {"lr": 0.05}, {"precision": "bfloat16"}],
)
def test_runs_of_another_copy_schedule_or_optimiser_are_another_set(other):
    found = data(
        made_up_record(config(0), 0.7),
        made_up_record(config(1), 0.8),
        made_up_record(config(2, **other), 0.1),
    )
    assert [entry["label"].partition(":")[0] for entry in found["sets"]][0] == "cpu"
    assert [cells(found, place=place)[0][3] for place in (0, 1)] == [2, 1]
    labels = [entry["label"] for entry in found["sets"]]
    assert len(set(labels)) == 2


def test_optimiser_of_no_profile_is_not_called_one():
    (entry,) = data(made_up_record(config(lr=0.05)))["sets"]
    assert entry["label"].startswith("no profile: ") and "learning rate 0.05" in entry["label"]


def test_settings_of_one_ratio_are_told_apart():
    found = data(
        made_up_record(config(ratio="snip"), 0.7),
        made_up_record(config(ratio="snip", mask_source="own"), 0.8),
    )
    assert found["sets"][0]["settings"] == ["snip", "snip:own"]
    assert [cell[1:5] for cell in cells(found)] == [[0, 0.9, 1, 70.0], [1, 0.9, 1, 80.0]]


def test_runs_whose_seeds_differ_are_left_out():
    found = data(made_up_record(config()), made_up_record(config(seed_mask=1)))
    assert cells(found)[0][3] == 1


def test_counts_and_standard_errors_are_no_metrics_and_unknown_metrics_are():
    record = made_up_record(config())
    record["test"]["new"] = {"measure": 0.5, "n": 7}
    runs = records_to_frame([record])
    assert explorer.metric_keys(runs) == [
        "accuracy",
        "ece",
        "nll",
        "ood.photos.auroc",
        "ood.photos.auroc_energy",
        "ood.photos.fpr95",
        "fgsm.1.accuracy",
        "pgd.0.5.accuracy",
        "cost.kept_weights",
        "provenance.seconds",
        "new.measure",
    ]


def test_metric_that_some_runs_lack_is_shown_for_the_others():
    without = made_up_record(config(1))
    del without["test"]["ood"]
    found = data(made_up_record(config(0)), without)
    assert cells(found, "ood.photos.auroc") == [[0, 0, 0.9, 1, 0.75, [], [[0, 0.75]]]]
    assert cells(found)[0][3] == 2


def test_levels_of_an_attack_are_in_the_order_of_their_strength():
    record = made_up_record(config())
    record["test"]["pgd"] = {k: {"accuracy": 0.1, "n": 100} for k in ("8", "0.5", "16", "2")}
    keys = explorer.metric_keys(records_to_frame([record]))
    levels = [float(found[1]) for key in keys if (found := re.match(r"pgd\.([\d.]+)\.", key))]
    assert levels == [0.5, 2, 8, 16]


def test_attack_says_its_images_and_its_floor():
    (entry,) = data(made_up_record(config()))["sets"]
    found = entry["measured"]
    assert found["pgd.0.5.accuracy"]["images"] == "100"
    # 10 classes and 100 images: 10 % and two standard errors of 3 %.
    assert found["pgd.0.5.accuracy"]["floor"] == 16.0
    assert found["accuracy"]["floor"] is None
    assert "0.010" in found["ood.photos.auroc"]["note"]


def test_ood_says_how_many_images_are_known_and_how_many_unknown():
    record = made_up_record(config())
    record["test"]["ood"]["photos"] |= {"n": 900, "n_in": 10_000}
    (entry,) = data(record)["sets"]
    for key in ("auroc", "fpr95"):
        assert entry["measured"][f"ood.photos.{key}"]["images"] == "10,000 known and 900 unknown"
    assert entry["measured"]["accuracy"]["images"] == f"{record['test']['n']:,}"


def test_networks_are_in_the_order_of_their_weights():
    large, small = made_up_record(config(model="resnet-20")), made_up_record(config())
    large["cost"]["dense_weights"] = 2_000
    assert data(large, small)["sets"][0]["models"] == ["ResNet-8", "ResNet-20"]


@pytest.mark.parametrize("setting", LABELS)
def test_looks_are_those_of_the_theme(setting):
    style = explorer.style(setting)
    assert (style["label"], style["colour"]) == (LABELS[setting], COLOURS[setting])
    assert bool(style["marker"]) == bool(MARKERS[setting])
    numbers = [float(number) for number in re.findall(r"-?\d+\.\d+", style["marker"])]
    assert all(math.isfinite(number) and abs(number) <= 1 for number in numbers)


def test_setting_that_the_theme_does_not_know_looks_like_its_ratio():
    assert explorer.style("snip:7:8") == explorer.style("snip") | {"label": "snip:7:8"}


def test_script_is_one_assignment_that_no_text_can_break_out_of():
    runs = records_to_frame([made_up_record(config())])
    text = explorer.script(runs.assign(setting="erk:</script>"))
    assert "</script>" not in text
    found = re.fullmatch(r"window\.RANDPRUNE = (\{.*\});\n", text)
    assert json.loads(found[1])["sets"][0]["settings"] == ["erk:</script>"]


def test_book_gets_the_data_of_all_runs_but_those_on_digits(store, tmp_path):
    for record in (made_up_record(config()), made_up_record(tiny())):
        record["provenance"]["started"] = "2026-01-02T03:04:05+00:00"
        store_record(record)
    staging = tmp_path / "staging"
    (staging / "book" / "_static").mkdir(parents=True)
    paths.FIGURES.mkdir(parents=True)
    for name in ("scorecard.csv", "scorecard_parts.csv"):
        table = paths.ROOT / "results" / "figures" / name
        (paths.FIGURES / name).write_bytes(table.read_bytes())
    for name in ("api", "cite", "intro", "provenance"):
        (staging / "book" / f"{name}.md").write_bytes((paths.BOOK / f"{name}.md").read_bytes())
    chapter = tmp_path / "01_depth.ipynb"
    output = {"output_type": "display_data", "data": {"image/png": "aGVsbG8="}, "metadata": {}}
    cell = {"cell_type": "code", "id": "scales-figure", "metadata": {}, "source": ""}
    cell["outputs"] = [output]
    chapter.write_text(json.dumps({"cells": [cell]}))

    build.make_pages(staging, {"01_depth": chapter})

    written = (staging / "book/_static/explorer-data.js").read_text()
    runs = load_runs(dataset="cifar10")
    assert written == explorer.script(runs, all_records("cifar10"))
    assert '"gradient.initial"' in written
    assert (staging / "book/_static/figure-depth.png").read_bytes() == b"hello"
    assert "| `pruning.masks` |" in (staging / "book/api.md").read_text()
    assert "1 run is recorded" in (staging / "book/provenance.md").read_text()


def test_the_control_of_mini_is_a_set_for_each_number_of_images_and_none_of_mini(store):
    configs = grid("control", "mini", seeds=[0]) + grid("depth", "mini", seeds=[0])[:1]
    found = data(*map(made_up_record, configs))
    labels = [entry["label"].partition(":")[0] for entry in found["sets"]]
    assert labels == ["mini", "control of mini", "control of mini"]  # what decides comes first
    assert "10,000 images, 80 epochs" in found["sets"][1]["label"]
    assert "weights for each" in found["sets"][1]["purpose"]
