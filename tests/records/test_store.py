"""The record store: what is set aside, what is found again, and that nothing is half written."""

import json
import os
from pathlib import Path

import pytest
from conftest import files_under, made_up_record, store_record, tiny

from randprune_core import paths
from randprune_core.bookmaking.checks import check_records
from randprune_core.config import config_from_dict, config_to_dict, run_id
from randprune_core.records.files import BadRecord
from randprune_core.records.store import find_record, read_record, write_record
from randprune_core.records.table import load_runs

GOOD = tiny()


def edited(**changes) -> str:
    record = made_up_record(GOOD)
    for name, value in changes.items():
        if value is None:
            del record[name]
        else:
            record[name] = value
    return json.dumps(record)


BAD = {
    "truncated": (json.dumps(made_up_record(GOOD))[:-200], "not readable as JSON"),
    "empty": ("", "not readable as JSON"),
    "not text": (b"\xff\xfe\x00", "not readable as JSON"),
    "a list": ("[]", "schema is 'list'"),
    "other schema": (edited(schema=2), "schema is 2, not 1"),
    "no schema": (edited(schema=None), "schema is None"),
    "no test": (edited(test=None), "it has no test"),
    "test is a list": (edited(test=[]), "its test is a list"),
    "config is a number": (edited(config=7), "its config is a int"),
    "unknown field": (
        edited(config={**config_to_dict(GOOD), "colour": "red"}),
        "config is not valid.*colour",
    ),
    "missing field": (
        edited(config={k: v for k, v in config_to_dict(GOOD).items() if k != "lr"}),
        "config is not valid.*lr",
    ),
    "value not allowed": (
        edited(config={**config_to_dict(GOOD), "sparsity": 1.5}),
        r"config is not valid.*\[0, 1\)",
    ),
    "hand-edited config": (
        edited(config={**config_to_dict(GOOD), "epochs": 160}),
        f"{run_id(GOOD)}.*must be the hash of the config, {run_id(tiny(epochs=160))}",
    ),
    "hand-edited id": (edited(run_id="0" * 12), "'000000000000'"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_record_is_named_and_not_used_nor_changed(store, kind):
    content, reason = BAD[kind]
    content = content if isinstance(content, bytes) else content.encode()
    good = store_record(made_up_record(tiny(seed_init=1)))
    path = paths.record_path("digits", run_id(GOOD))
    path.write_bytes(content)
    with pytest.raises(BadRecord, match=reason) as caught:
        read_record(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)
    with pytest.warns(UserWarning, match=f"set aside: {path}: "):
        assert find_record(GOOD) is None
    with pytest.warns(UserWarning, match=f"set aside: {path}: "):
        assert list(load_runs().run_id) == [good.stem]
    (problem,) = check_records()
    assert problem.startswith(f"{caught.value}; restore it, or move it away and run ")
    assert path.read_bytes() == content


def test_a_good_record_under_another_name_is_not_used(store):
    path = store_record(made_up_record(GOOD)).rename(paths.RUNS / "digits" / "abc.json")
    with pytest.raises(BadRecord, match=f"must be the hash of the config, {run_id(GOOD)}"):
        read_record(path)


def test_a_record_that_cannot_be_opened_is_bad(store):
    path = paths.record_path("digits", run_id(GOOD))
    path.mkdir(parents=True)
    with pytest.raises(BadRecord, match="not readable"):
        read_record(path)


def test_a_record_comes_back_as_it_was_written(store):
    record = made_up_record(GOOD)
    path = write_record(record)
    assert path == paths.record_path("digits", run_id(GOOD))
    assert read_record(path) == find_record(GOOD) == record
    assert files_under(store) == [f"runs/digits/{run_id(GOOD)}.json"]


@pytest.mark.parametrize("broken", [float("nan"), object()])
def test_a_record_that_is_no_json_leaves_nothing_behind(store, broken):
    record = made_up_record(GOOD)
    record["test"]["nll"] = broken
    with pytest.raises((ValueError, TypeError)):
        write_record(record)
    assert files_under(store) == []


def test_a_record_appears_under_its_name_only_when_it_is_whole(store, monkeypatch):
    seen = []
    replace = Path.replace

    def spy(self, target):
        seen.append((json.loads(self.read_text()) == record, Path(target).exists()))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", spy)
    record = made_up_record(GOOD)
    path = write_record(record)
    assert seen == [(True, False)] and path.exists()


def test_a_full_disk_leaves_nothing_behind(store, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_record(made_up_record(GOOD))
    assert files_under(store) == []


def test_a_made_up_record_has_the_form_of_a_real_one(trained):
    made = made_up_record(GOOD)
    assert list(made) == list(trained.record)
    assert set(made["layers"][0]) == set(trained.record["layers"][0])
    for section in ("history", "test", "cost"):
        assert set(made[section]) <= set(trained.record[section])
    assert set(made["test"]["bins"][0]) == set(trained.record["test"]["bins"][0])


def test_every_record_of_the_project_keeps_its_id():
    committed = list((paths.ROOT / "results" / "runs").glob("cifar*/*.json"))
    assert committed
    for path in committed:
        assert run_id(config_from_dict(json.loads(path.read_text())["config"])) == path.stem


def test_a_record_belongs_to_its_reader(store):
    path = write_record(made_up_record(GOOD))
    first, kept = read_record(path), read_record(path)
    first["test"]["accuracy"], first["config"]["model"] = 7.0, "another"
    first["history"]["lr"].clear()
    assert read_record(path) == kept != first


def test_a_file_is_read_anew_though_size_and_time_stay_what_they_were(store):
    path = write_record(made_up_record(GOOD))
    good, times = path.read_bytes(), (os.stat(path).st_atime_ns, os.stat(path).st_mtime_ns)
    assert read_record(path) and read_record(path)
    with open(path, "r+b") as file:
        file.write(b"[")
    os.utime(path, ns=times)
    with pytest.raises(BadRecord, match="not readable as JSON"):
        read_record(path)
    path.write_bytes(good.replace(b'"schema":1', b'"schema":3'))
    with pytest.raises(BadRecord, match="schema is 3"):
        read_record(path)


def test_a_record_is_checked_for_the_store_that_it_lies_in(store, monkeypatch):
    path = write_record(made_up_record(GOOD))
    assert read_record(path)
    other = path.rename(path.parent / "000000000000.json")
    with pytest.raises(BadRecord, match="hash of the config"):
        read_record(other)
    elsewhere = store / "runs" / "cifar10" / path.name
    elsewhere.parent.mkdir()
    other.rename(elsewhere)
    monkeypatch.setattr(paths, "RUNS", store / "other")
    assert read_record(elsewhere)
    monkeypatch.setattr(paths, "RUNS", store / "runs")
    with pytest.raises(BadRecord, match="belongs into that folder"):
        read_record(elsewhere)
