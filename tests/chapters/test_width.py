import pandas as pd
import pytest

from randprune_core.analysis.layers import weight_counts
from randprune_core.chapters import width
from randprune_core.chapters.shared.records import Records
from randprune_core.config import RunConfig, run_id
from randprune_core.records.table import records_to_frame

NARROW, USUAL = "resnet-20-8", "resnet-20"


def records(accuracies: dict, spread=(0.0,)) -> Records:
    """Made-up records: accuracy by (model, sparsity), sparsity 0 dense; a number a seed added."""
    configs, rows = [], []
    for (model, sparsity), accuracy in accuracies.items():
        for seed, shift in enumerate(spread):
            ratio = "erk" if sparsity else "dense"
            config = RunConfig(model=model, ratio=ratio, sparsity=sparsity, seed_init=seed)
            configs.append(config)
            row = {"run_id": run_id(config), "model": model, "ratio": ratio}
            kept = round((1 - sparsity) * weight_counts([model])[model])
            row |= {"sparsity": sparsity, "cost.kept_weights": kept}
            rows.append(row | {"accuracy": accuracy + shift})
    return Records("width", "cpu", configs, pd.DataFrame(rows), True)


BOTH = {(NARROW, 0.0): 0.7, (NARROW, 0.8): 0.6, (USUAL, 0.0): 0.8, (USUAL, 0.8): 0.75}


def empty() -> Records:
    full = records(BOTH)
    return Records("width", "cpu", full.configs, records_to_frame([]), True)


def test_nothing_recorded_gives_no_pair():
    assert width.equal_weights(empty().runs).empty


def test_weight_counts_are_those_of_the_paper():
    """Maskable weights of ResNet-20 with 8, 16, 24 and 32 filters."""
    models = [NARROW, USUAL, "resnet-20-24", "resnet-20-32"]
    assert list(weight_counts(models).values()) == [67_992, 270_896, 608_712, 1_081_440]


def test_equal_weights_compares_with_the_narrowest_dense_network_that_is_large_enough():
    """ResNet-20 at 0.8 keeps 54,179 weights, at 0.7 it keeps 81,269: ResNet-20-8 has 67,992."""
    found = records({**BOTH, (USUAL, 0.7): 0.78, ("resnet-20-4", 0.0): 0.5}).runs
    pairs = width.equal_weights(found)
    assert pairs[["model", "sparsity", "kept", "dense_model"]].values.tolist() == [
        [NARROW, 0.8, 13_598, "resnet-20-4"],
        [USUAL, 0.8, 54_179, NARROW],
    ]
    difference = pairs.set_index("model").difference
    assert difference[USUAL] == pytest.approx(5.0)
    assert difference[NARROW] == pytest.approx(10.0)
    assert pairs.low.isna().all()
