"""Chapter 12's two trials: nothing measured, a compiler that pays or not, pairs of precisions."""

import json

import pandas as pd
import pytest

from randprune_core import paths
from randprune_core.chapters import speed, speed_trials
from randprune_core.chapters.shared import benchmarks


def compiled(rate: float, epochs: float = float("nan")) -> pd.DataFrame:
    rows = {"case": ["eager", "compiled"], "device": "cpu", "model": "resnet-20", "threads": 1}
    rows |= {"first_epoch_seconds": [2.0, 42.0], "images_per_second": [100.0, rate]}
    rows |= {"ratio_to_eager": [1.0, rate / 100], "epochs_to_win_back": [float("nan"), epochs]}
    return pd.DataFrame(rows)


def trained(accuracies: dict[str, list[float]], arithmetic: str = "native") -> pd.DataFrame:
    rows = [
        {
            "model": "resnet-8",
            "ratio": "erk",
            "sparsity": 0.9,
            "seed": seed,
            "precision": precision,
            "arithmetic": arithmetic if precision == "bfloat16" else "native",
            "device": "cpu",
            "accuracy": accuracy,
        }
        for precision, values in accuracies.items()
        for seed, accuracy in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_nothing_measured_is_said(store):
    empty = benchmarks.benchmark("compiled"), benchmarks.benchmark("precision")
    assert speed_trials.compiled_table(empty[0]).empty
    assert speed_trials.precision_table(empty[1]).empty
    assert "not measured yet" in speed_trials.compiled_sentence(empty[0])
    assert "not measured yet" in speed_trials.precision_sentence(empty[1])
    assert speed.memory_sentence() == ""


def test_a_compiler_that_pays_is_said_to_win_its_seconds_back():
    text = speed_trials.compiled_sentence(compiled(125, 20.0))
    assert "1.25 times as many images a second, after 40 seconds" in text
    assert "which 20 epochs of 10,000 images win back" in text
    text = speed_trials.compiled_sentence(compiled(90))
    assert "0.90 times" in text and "win back" not in text


@pytest.mark.parametrize(
    ("bfloat16", "verb"),
    [
        ([0.60, 0.62, 0.61], "contains"),
        ([0.50, 0.51, 0.52], "is below"),
        ([0.70, 0.71, 0.72], "is above"),
    ],
)
def test_pairs_of_seeds_are_compared_and_zero_is_placed(bfloat16, verb):
    table = trained({"float32": [0.60, 0.61, 0.62], "bfloat16": bfloat16})
    assert f"which {verb} zero" in speed_trials.precision_sentence(table)
    (row,) = speed_trials.precision_table(table).to_dict("records")
    assert row["seeds"] == 3 and row["float32"].startswith("61.0 ±")


def test_a_seed_in_one_precision_only_is_no_pair_and_one_pair_is_one_seed():
    table = trained({"float32": [0.60, 0.61], "bfloat16": [0.59]}, "emulated")
    text = speed_trials.precision_sentence(table)
    assert "−1.00 points (one seed)" in text and "emulated" in text
    (row,) = speed_trials.precision_table(table).to_dict("records")
    assert (row["seeds"], row["difference"]) == (1, "−1.0")


def test_the_memory_of_the_largest_network_is_named(store):
    paths.BENCHMARKS.mkdir(parents=True)
    facts = {"largest": "resnet-110", "batch": 128, "precision": "float32", "peak_mib": 1234}
    (paths.BENCHMARKS / "machines.json").write_text(json.dumps({"scaling": {"cpu": facts}}))
    text = "ResNet-110 on the CPU in float32, at batch 128, holds at most 1,234 MiB."
    assert text in speed.memory_sentence()
    assert speed.memory_sentence("cuda") == ""
