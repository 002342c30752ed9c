"""Records as rows: filters, columns, order; the index gives the same rows, always."""

import os
import re

import numpy as np
import pandas as pd
import pytest
from conftest import made_up_record, store_record, tiny

from randprune_core import paths
from randprune_core.config import RunConfig
from randprune_core.records import table
from randprune_core.records.store import all_records
from randprune_core.records.table import load_runs, records_to_frame


def stored(*configs, accuracy=0.5) -> list[str]:
    return [store_record(made_up_record(config, accuracy)).stem for config in configs]


def test_an_empty_store_gives_an_empty_frame_with_the_config_columns(store):
    frame = load_runs(dataset="cifar10")
    assert len(frame) == 0 and {"run_id", "model", "sparsity"} <= set(frame.columns)
    assert list(all_records()) == []


def test_load_runs_gives_one_row_a_run_in_the_order_of_the_ids(store):
    ids = stored(tiny(), tiny(seed_mask=1), tiny(ratio="dense", sparsity=0.0))
    assert list(load_runs().run_id) == sorted(ids)


def test_load_runs_filters_by_a_value_a_collection_and_several_fields(store):
    erk, dense, cifar = stored(
        tiny(), tiny(ratio="dense", sparsity=0.0), RunConfig(ratio="erk", sparsity=0.9)
    )
    assert set(load_runs(ratio="erk").run_id) == {erk, cifar}
    assert set(load_runs(ratio=("erk", "dense"), dataset="digits").run_id) == {erk, dense}
    assert set(load_runs(sparsity=[0.9], epochs=range(100, 200)).run_id) == {cifar}
    assert set(load_runs(sparsity=0).run_id) == {dense}
    assert len(load_runs(ratio=())) == 0


@pytest.mark.parametrize("filters", [{"accuracy": 0.5}, {"colour": "red"}, {"run_id": "abc"}])
def test_load_runs_refuses_a_filter_that_is_no_config_field(store, filters):
    with pytest.raises(ValueError, match=f"{next(iter(filters))!r}.*filter by dataset, variant"):
        load_runs(**filters)


def test_load_runs_finds_a_value_in_any_spelling_that_a_config_takes(store):
    (name,) = stored(RunConfig(model="resnet-20", ratio="erk", sparsity=0.3))
    for filters in (
        {"model": "resnet-20-16"},
        {"model": ["resnet-20-16", "resnet-32"]},
        {"sparsity": 0.1 + 0.2},
        {"sparsity": np.float32(0.3)},
        {"sparsity": np.arange(0.1, 0.5, 0.1)},
        {"lr": np.float32(0.1)},
        {"epochs": np.int64(160)},
        {"image_size": 32},
    ):
        assert list(load_runs(**filters).run_id) == [name], filters


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ({"ratio": "ERK"}, "ratio 'ERK' is not known: choose from dense, uniform"),
        ({"ratio": ("erk", "ERK")}, "ratio 'ERK' is not known"),
        ({"model": "ResNet-20"}, "unknown model 'ResNet-20': known are"),
        ({"dataset": "cifar"}, "dataset 'cifar' is not known"),
        ({"sparsity": 90}, "sparsity 90.0 is not in"),
        ({"sparsity": "0.9"}, "sparsity '0.9' is not of type float"),
        ({"epochs": "160"}, "epochs '160' is not of type int"),
        ({"image_size": 17}, "image_size 17 is not known: filter by 8, 16, 32, 224 or None"),
    ],
)
def test_load_runs_refuses_a_value_that_no_run_can_have(store, filters, said):
    with pytest.raises(ValueError, match=re.escape(said)) as refused:
        load_runs(**filters)
    assert "\n" not in str(refused.value)


def test_test_cost_and_provenance_are_flattened_and_the_bins_left_out(store):
    stored(tiny(), accuracy=0.75)
    row = load_runs().iloc[0]
    assert row["accuracy"] == 0.75 and row["n"] == 360
    assert row["ood.photos.auroc"] == 0.75 and row["ood.photos.auroc_se"] == 0.01
    assert row["fgsm.1.accuracy"] == 0.25 and row["pgd.0.5.accuracy"] == 0.125
    assert row["fgsm.1.n"] == 100
    assert row["cost.kept_weights"] == 100
    assert row["provenance.commit"] == "abc" and row["provenance.data.test"] == 360
    assert not [name for name in row.index if name.startswith("bins")]


def test_a_real_record_has_every_column_that_the_figures_use(trained):
    row = records_to_frame([trained.record]).iloc[0]
    expected = {"nll", "ece", "ood.photos.auroc_energy", "ood.photos.fpr95"}
    expected |= {f"fgsm.{epsilon}.accuracy" for epsilon in (1, 2, 4, 8)}
    expected |= {f"pgd.{epsilon}.accuracy" for epsilon in (0.5, 1, 2, 8)}
    expected |= {f"noise.{sigma}.accuracy" for sigma in ("0.04", "0.08", "0.12")}
    expected |= {"provenance.device", "provenance.seconds", "provenance.versions.torch"}
    assert expected <= set(row.index)
    assert not row[sorted(expected)].isna().any()


def test_records_to_frame_keeps_the_order_given():
    records = [made_up_record(tiny(seed_init=seed)) for seed in (2, 0, 1)]
    assert list(records_to_frame(records).seed_init) == [2, 0, 1]


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
