"""Chapter 12's two trials: nothing measured, a compiler that pays or not, pairs of precisions."""

import pandas as pd
import pytest

from randprune_core.chapters import speed_trials
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


def test_nothing_measured_gives_empty_tables(store):
    empty = benchmarks.benchmark("compiled"), benchmarks.benchmark("precision")
    assert speed_trials.compiled_table(empty[0]).empty
    assert speed_trials.precision_table(empty[1]).empty


@pytest.mark.parametrize(
    ("bfloat16", "below", "above"),
    [
        ([0.60, 0.62, 0.61], False, False),
        ([0.50, 0.51, 0.52], True, False),
        ([0.70, 0.71, 0.72], False, True),
    ],
)
def test_pairs_of_seeds_are_compared(bfloat16, below, above):
    table = trained({"float32": [0.60, 0.61, 0.62], "bfloat16": bfloat16})
    ((_, _, change),) = speed_trials.precision_cells(table)
    assert (change.high < 0, change.low > 0) == (below, above)
    (row,) = speed_trials.precision_table(table).to_dict("records")
    assert row["seeds"] == 3 and row["float32"].startswith("61.0\u00a0±")


def test_a_seed_in_one_precision_only_is_no_pair_and_one_pair_is_one_seed():
    table = trained({"float32": [0.60, 0.61], "bfloat16": [0.59]}, "emulated")
    ((_, _, change),) = speed_trials.precision_cells(table)
    assert change.n == 1 and change.value == pytest.approx(-1)
    (row,) = speed_trials.precision_table(table).to_dict("records")
    assert (row["seeds"], row["difference"]) == (1, "−1.0\u00a0○")
