"""The provenance page: from the records alone, one row for what is really the same."""

import pytest
from conftest import made_up_record, tiny

from randprune_core.bookmaking import provenance
from randprune_core.records.table import records_to_frame
from randprune_core.sweeps.grids import grid


def run(seed=0, config=None, **changed):
    record = made_up_record(config or tiny(seed_init=seed, seed_mask=seed, seed_data=seed))
    record["provenance"] |= {"started": "2026-01-02T03:04:05+00:00", "seconds": 3600.0} | changed
    return record


def page(*records) -> str:
    return provenance.page(records_to_frame(records))


def rows(text: str, name: str) -> list[list[str]]:
    block = text.partition(f":name: tab-provenance-{name}")[2].partition(":::")[0]
    lines = [line for line in block.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_without_records_it_says_so():
    assert page() == "No run is recorded."


def test_equal_machines_are_one_row_and_others_another():
    text = page(run(0), run(1), run(2, device="a GPU", at_once=4))
    machines = rows(text, "machines")
    assert [(row[0], row[-2], row[-1]) for row in machines] == [
        ("a CPU", "2", "2.0"),
        ("a GPU", "1", "1.0"),
    ]
    assert [row[3:5] for row in rows(text, "seconds")] == [["not recorded", "2"], ["4", "1"]]


def test_seconds_of_runs_that_shared_a_device_stand_apart():
    text = page(run(0, at_once=1), run(1, at_once=2, seconds=9000.0))
    assert [(row[3], row[5]) for row in rows(text, "seconds")] == [("1", "3,600"), ("2", "9,000")]


def test_runs_of_the_control_stand_apart_by_their_images():
    configs = grid("control", "mini", models=["resnet-8"], ratios=["dense"], seeds=[0])
    found = rows(page(*(run(config=config) for config in configs)), "seconds")
    names = {f"control of mini, {images} images" for images in ("2,500", "10,000")}
    assert {row[0] for row in found} == names


def test_uncommitted_changes_are_marked_and_commits_are_in_the_order_of_time():
    later = "2026-02-02T00:00:00+00:00"
    text = page(run(0, commit="b" * 40, dirty=True, started=later), run(1, dirty=False))
    assert [row[0] for row in rows(text, "commits")] == ["abc", "b" * 12 + "+"]
    assert "from 2026-01-02 to 2026-02-02" in text


def test_runs_that_another_commit_began_are_counted():
    parts = [{"commit": "a" * 40, "dirty": False}, {"commit": "b" * 40, "dirty": False}]
    text = page(run(0), run(1, commit="b" * 40), run(2, commit="b" * 40, commits=parts))
    assert [row[1:3] for row in rows(text, "commits")] == [["1", "0"], ["2", "1"]]


@pytest.mark.parametrize("missing", ["device", "commit", "data"])
def test_what_a_record_lacks_is_called_not_recorded(missing):
    record = run()
    del record["provenance"][missing]
    assert "not recorded" in page(record)


def test_failed_runs_are_listed_with_their_reason():
    failures = {"0123456789ab": (tiny(), "the loss became nan | in epoch 2")}
    for runs in (records_to_frame([]), records_to_frame([run()])):
        text = provenance.page(runs, failures)
        (row,) = rows(text, "failed")
        assert row[0] == "0123456789ab" and row[-1] == "the loss became nan &#124; in epoch 2"
    assert "failed" not in page(run())


def test_files_that_are_left_out_are_named_with_the_reason():
    refused = {"cifar10/0123.json": "its test.nll is 'a|b', not a number"}
    text = provenance.page(records_to_frame([run()]), refused=refused)
    ((file, why),) = rows(text, "refused")
    assert "cifar10/0123.json" in file and "not a number" in why
    assert "tab-provenance-refused" in provenance.page(records_to_frame([]), refused=refused)


def test_a_record_that_does_not_say_when_it_began_is_on_the_page():
    bare = run(1)
    del bare["provenance"]["started"]
    assert "2 runs are recorded, started on 2026-01-02" in page(run(), bare)
