"""The boxes of a chapter page: commands, times and origin, all read from records."""

import pandas as pd
import pytest
from conftest import made_up_record, store_record

from randprune_core.bookmaking import boxes, expected_time
from randprune_core.chapters.shared.records import collect_records
from randprune_core.config import RunConfig, run_id
from randprune_core.metrics.cost import network_macs
from randprune_core.records.table import load_runs, records_to_frame
from randprune_core.sweeps import grids
from randprune_core.sweeps.profiles import PROFILES


def notebook(source: str, parameters: str = 'profile = "auto"') -> dict:
    def cell(kind, text, tags=()):
        return {"cell_type": kind, "source": [text], "metadata": {"tags": list(tags)}}

    title = cell("markdown", "(chapter-x)=\n# A title\n\nText.")
    return {"cells": [title, cell("code", parameters, ["parameters"]), cell("code", source)]}


SHOWS_CALIBRATION = notebook('records = common.collect_records(\n    "calibration", seeds=None)')


def cpu_config(**changes) -> RunConfig:
    return RunConfig(**{**PROFILES["cpu"], "model": "resnet-8", **changes})


def cpu_record(seconds: float, macs: int = 1_000, device="a CPU", at_once=None, **changes) -> dict:
    record = made_up_record(cpu_config(**changes))
    more = {"device": device, "seconds": seconds, "started": "2026-01-02T03:04:05+00:00"}
    record["provenance"] |= more | ({"at_once": at_once} if at_once else {})
    record["cost"]["dense_macs"] = macs
    return record


# ---------------------------------------------------------------- expected time


def test_a_recorded_network_takes_the_median_of_its_runs():
    runs = records_to_frame(cpu_record(s, seed_init=i) for i, s in enumerate((100, 110, 500)))
    grid = [cpu_config(ratio="erk", sparsity=0.9, seed_init=seed) for seed in range(4)]
    assert expected_time.expected_seconds(grid, "cpu", runs) == {"a CPU": 440}


def test_another_network_takes_its_share_of_the_arithmetic():
    runs = records_to_frame(
        [cpu_record(100, 1_000), cpu_record(300, 3_000, model="resnet-14", device="other")]
    )
    found = expected_time.expected_seconds([cpu_config(model="resnet-14")], "cpu", runs)
    assert found == pytest.approx({"a CPU": 300, "other": 300})


def test_a_network_without_any_record_takes_its_share_of_the_arithmetic_too():
    seconds = 100 * network_macs("resnet-56") / network_macs("resnet-8")
    runs = records_to_frame([cpu_record(100, network_macs("resnet-8"))])
    found = expected_time.expected_seconds([cpu_config(model="resnet-56")], "cpu", runs)
    assert found == pytest.approx({"a CPU": seconds})
    imagenet = RunConfig(dataset="imagenet", model="resnet50")
    assert expected_time.expected_seconds([imagenet], "cpu", runs) == {}


def test_runs_that_share_a_device_take_their_share_of_its_time():
    runs = records_to_frame([cpu_record(100, at_once=4)])
    assert expected_time.expected_seconds([cpu_config()], "cpu", runs) == {"a CPU": 25}


def test_profile_quick_is_estimated_from_cpu_and_paper_from_itself_alone():
    runs = records_to_frame([cpu_record(1_000)])
    quick = RunConfig(**PROFILES["quick"], model="resnet-8")
    share = quick.train_images * quick.epochs / 4 / (10_000 * 16)
    assert expected_time.expected_seconds([quick], "quick", runs) == {"a CPU": 1_000 * share}
    assert expected_time.expected_seconds([RunConfig(precision="bfloat16")], "paper", runs) == {}
    assert expected_time.expected_seconds([cpu_config()], "cpu", records_to_frame([])) == {}


def test_a_plan_has_a_line_a_run_and_the_time_of_all_that_can_be_estimated():
    runs = records_to_frame([cpu_record(100)])
    other = {"dataset": "imagenet", "model": "resnet50", "train_images": 1_281_167}
    todo = [cpu_config(), cpu_config(**other, ratio="erk", sparsity=0.5, seed_init=3)]
    header, first, second, count, total = expected_time.plan_lines(todo, 4, "cpu", runs)
    assert header.split() == [
        *["run", "network", "setting", "sparsity", "seed", "images", "expected"]
    ]
    assert first.split() == [
        run_id(todo[0]),
        "resnet-8",
        "dense",
        *["0", "0", "10,000"],
        *["about", "1.7", "minutes"],
    ]
    assert second.split() == [
        run_id(todo[1]),
        "resnet50",
        "erk",
        "0.5",
        "3",
        *["1,281,167", "not", "known"],
    ]
    assert count == "2 runs to train, 4 are recorded"
    assert total == "the 1 of a known time: about 1.7 minutes of one core of a CPU"
    assert expected_time.plan_lines(todo[:1], 0, "cpu", runs)[-1].startswith("all of them: about")
    assert expected_time.plan_lines([], 4, "cpu", runs) == ["0 runs to train, 4 are recorded"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (4.04, "4 seconds"),
        (89, "89 seconds"),
        (91, "1.5 minutes"),
        (3_600, "60 minutes"),
        (10_000, "2.8 hours"),
        (3_600 * 71, "71 hours"),
        (86_400 * 1_234, "1,200 days"),
    ],
)
def test_a_duration_has_the_unit_that_fits(seconds, text):
    assert expected_time.duration(seconds) == text


# ---------------------------------------------------------------- boxes


def test_box_has_command_number_of_runs_and_time_of_every_profile(store):
    for model in ("resnet-8", "resnet-14", "resnet-20"):
        store_record(cpu_record(3_600, model=model))
    records = boxes.chapter_records("03_calibration")
    text = boxes.commands(SHOWS_CALIBRATION, "04_x", records, load_runs())
    for profile in PROFILES:
        grid = grids.grid("calibration", profile)
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{profile}`")]
        assert f'`make notebook NAME=04_x ARGS="-p profile {profile}' in row
        assert f"{len(grid):,} runs" in row
        assert ("not known" in row) == (profile == "paper")
    assert "| `cpu`" in text and "one core (a CPU)" in text


def test_box_leaves_out_a_profile_at_which_the_figure_has_no_runs(store):
    shows = notebook('records = common.collect_records("vgg", profile=profile)')
    records = boxes.chapter_records("13_cifar100_and_vgg")
    assert [part.figure for part in records] == ["vgg", "cifar100"]
    text = boxes.commands(shows, "13_x", records, load_runs())
    assert "| `paper`" in text and "| `mini`" not in text


def test_chapter_without_a_profile_has_a_command_and_no_table():
    text = boxes.commands(notebook("1", 'device = "auto"'), "12_x", [], pd.DataFrame())
    assert "`make notebook NAME=12_x`" in text
    assert "| profile |" not in text


def test_chapter_that_collects_nothing_has_a_command_and_no_table():
    assert boxes.chapter_records("07_layerwise_ratios") == []
    text = boxes.commands(notebook("print()"), "01_x", [], pd.DataFrame())
    assert "`make notebook NAME=01_x`" in text
    assert "| profile |" not in text


def test_box_names_what_is_behind_a_page(store, tmp_path):
    for seed in (0, 2):
        store_record(cpu_record(100.4, seed_init=seed, seed_mask=seed, seed_data=seed))
    shown = notebook('r = common.collect_records("calibration", profile="cpu")')
    boxed = boxes.add_boxes(shown, "03_calibration", load_runs(), None, tmp_path)
    text = "".join(boxed["cells"][-1]["source"])
    assert "2 runs of profile" not in text  # auto: nothing like enough is recorded for cpu
    records = collect_records("calibration", profile="cpu", train_missing=False)
    line = boxes.origin("04_x", "cpu", records.runs, None)
    assert "2 runs of profile cpu (seeds 0 and 2; accuracy on 360 test images)" in line
    assert "on a CPU, at least 201 seconds, code at commit `abc`: " in line
    resumed = records.runs.assign(**{"provenance.commits": [2, None]})
    line = boxes.origin("04_x", "cpu", resumed, None)
    assert "code at commit `abc` (an earlier one began 1 of the runs): " in line
    boxes.save_runs(records.runs, None, tmp_path / "runs.csv")
    table = pd.read_csv(tmp_path / "runs.csv")
    assert list(table.record) == [
        f"results/runs/cifar10/{run_id(config)}.json"
        for config in records.configs
        if config.ratio == "dense" and config.model == "resnet-8" and config.seed_init != 1
    ]


def test_citation_of_a_page_has_its_title(tmp_path):
    cells = boxes.add_boxes(notebook("1"), "01_x", pd.DataFrame(), None, tmp_path)["cells"]
    assert "title     = {{A title}}," in "".join(cells[-1]["source"])
