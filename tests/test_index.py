"""The index of a large record store: the rows are those of the records, always."""

import os

import pandas as pd
import pytest
from conftest import made_up_record, store_record, tiny

from randprune_core import paths
from randprune_core.records import table
from randprune_core.records.store import all_records
from randprune_core.records.table import load_runs, records_to_frame


@pytest.fixture
def indexed(store, monkeypatch):
    """A store of three records with an index, and the names of the files that are parsed."""
    monkeypatch.setattr(table, "SMALLEST_STORE", 1)
    stored = [store_record(made_up_record(tiny(seed_mask=seed))) for seed in range(3)]
    load_runs()
    parsed, read_record = [], table.read_record

    def noted(path):
        parsed.append(path.name)
        return read_record(path)

    monkeypatch.setattr(table, "read_record", noted)
    return sorted(stored), parsed


def without_index() -> pd.DataFrame:
    return records_to_frame(all_records())


def test_what_did_not_change_is_not_parsed_again_and_gives_the_same_rows(indexed):
    _, parsed = indexed
    frame = load_runs()
    assert parsed == []
    pd.testing.assert_frame_equal(frame, without_index())


def test_a_new_and_a_touched_record_are_read_and_a_removed_one_is_gone(indexed):
    (first, second, third), parsed = indexed
    new = store_record(made_up_record(tiny(seed_mask=3), accuracy=0.75))
    second.write_text(second.read_text().replace('"nll": 1.25', '"nll": 1.5'))  # the same length
    os.utime(second, ns=(0, second.stat().st_mtime_ns + 1))
    third.unlink()
    frame = load_runs()
    assert sorted(parsed) == sorted([new.name, second.name])
    assert list(frame.run_id) == sorted([first.stem, second.stem, new.stem])
    assert frame.set_index("run_id").nll[second.stem] == 1.5
    assert frame.set_index("run_id").accuracy[new.stem] == 0.75


def test_a_bad_record_is_named_every_time_and_never_a_row(indexed):
    (first, *others), _ = indexed
    first.write_text("{")
    for _ in range(2):
        with pytest.warns(UserWarning, match=f"set aside: .*{first.name}"):
            assert list(load_runs().run_id) == [path.stem for path in others]


@pytest.mark.parametrize("content", [b"", b"PAR1 nonsense PAR1"])
def test_a_damaged_index_is_made_again(indexed, content):
    stored, parsed = indexed
    paths.index_path().write_bytes(content)
    assert len(load_runs()) == 3 and len(parsed) == 3
    parsed.clear()
    assert len(load_runs()) == 3 and parsed == []


def test_rows_of_other_code_do_not_hold(indexed, monkeypatch):
    _, parsed = indexed
    monkeypatch.setattr(table, "_CODE", "older")
    assert len(load_runs()) == 3 and len(parsed) == 3


def test_a_store_that_takes_no_index_is_read_without_one(indexed, monkeypatch):
    stored, parsed = indexed
    paths.index_path().unlink()
    paths.LOCAL.rmdir()
    paths.LOCAL.write_text("a file in the place of the folder")
    for _ in range(2):
        assert len(load_runs()) == 3
    assert len(parsed) == 6


def test_a_small_store_has_no_index(store):
    store_record(made_up_record(tiny()))
    assert len(load_runs()) == 1 and not paths.index_path().exists()


def test_what_only_other_runs_measured_is_no_column_of_those_asked_for(store):
    store_record(made_up_record(tiny()))
    bare = made_up_record(tiny(seed_mask=1))
    del bare["test"]["fgsm"]
    store_record(bare)
    assert "fgsm.1.accuracy" in load_runs(seed_mask=0)
    assert "fgsm.1.accuracy" not in load_runs(seed_mask=1)
