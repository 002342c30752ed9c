"""What a record says of the trained network."""

import pytest

from randprune_core.data import loading
from randprune_core.models import build_model
from randprune_core.pruning.layers import maskable_weights


@pytest.fixture(scope="module")
def digits():
    return loading.load_dataset("digits")


def test_a_record_says_what_was_kept_and_on_how_many_images_it_was_measured(trained):
    record = trained.record
    counts = {layer["name"]: (layer["kept"], layer["total"]) for layer in record["layers"]}
    names = list(maskable_weights(build_model("resnet-8")))
    assert list(counts) == names
    kept, total = (sum(column) for column in zip(*counts.values(), strict=True))
    assert total == record["cost"]["dense_weights"] and kept == record["cost"]["kept_weights"]
    assert abs(kept - 0.1 * total) <= len(names)
    test = record["test"]
    assert test["n"] == 360 == sum(row["count"] for row in test["bins"])
    assert set(test["fgsm"]) == {"1", "2", "4", "8"}
    assert set(test["pgd"]) == {"0.5", "1", "2", "8"}
    assert set(test["noise"]) == {"0.04", "0.08", "0.12"}
    attacks = [*test["fgsm"].values(), *test["pgd"].values(), *test["noise"].values()]
    assert {entry["n"] for entry in attacks} == {100}
    assert test["ood"]["photos"]["n"] == 400
    assert 1 <= test["best_validation"]["epoch"] <= 2
    assert record["provenance"]["data"] == {
        "source": "scikit-learn",
        "variant": "original",
        "fingerprint": loading.load_dataset("digits").fingerprint,
        "train": 200,
        "validation": 22,
        "test": 360,
        "ood": {"photos": 400},
    }
