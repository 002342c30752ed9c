"""`check` finds nothing in good records and names file and fault of every contradiction."""

import pytest
from conftest import made_up_record, store_record, tiny

from randprune_core.checks import check_records


def test_check_records_finds_nothing_in_good_records(store, trained):
    store_record(trained.record)
    store_record(made_up_record(tiny(seed_init=1)))
    store_record(made_up_record(tiny(ratio="dense", sparsity=0.0)))
    assert check_records() == []


def wrong_budget(record):
    record["layers"][0]["kept"] += 50
    record["cost"]["kept_weights"] += 50


def wrong_cost(record):
    record["cost"]["kept_weights"] += 1


def wrong_epochs(record):
    record["history"]["epoch"] = record["history"]["epoch"][:-1]


def wrong_fraction(record):
    record["test"]["fgsm"]["1"]["accuracy"] = 25.0


def wrong_bins(record):
    record["test"]["bins"][0]["count"] -= 1


def no_bins(record):
    del record["test"]["bins"]


def no_layers(record):
    record["layers"] = None


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (wrong_budget, "keeps 150 of 1000 weights, but sparsity 0.9 is 100"),
        (wrong_cost, "layers keep 100 weights, cost says 101"),
        (wrong_epochs, "history has 1 of 2 epochs"),
        (wrong_fraction, "fgsm.1.accuracy is 25.0, not a fraction"),
        (wrong_bins, "the calibration bins hold 359 images, the test set 360"),
        (no_bins, "not complete"),
        (no_layers, "not complete"),
    ],
)
def test_check_records_names_the_file_and_the_contradiction(store, edit, problem):
    record = made_up_record(tiny())
    edit(record)
    path = store_record(record)
    (found,) = check_records()
    assert found.startswith(f"{path}: ") and problem in found and "\n" not in found
