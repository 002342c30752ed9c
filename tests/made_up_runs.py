"""Made-up runs and curves that several test files use."""

import numpy as np
import pandas as pd
from conftest import made_up_record, store_record

from randprune_core.chapters.shared.records import Records
from randprune_core.config import RunConfig, run_id
from randprune_core.config import setting as setting_of
from randprune_core.sweeps import grids

EPOCHS = [*(tenth / 10 for tenth in range(1, 51)), *range(6, 17)]
"""As a record of 16 epochs has them: tenths of the first five epochs, then whole epochs."""


def curve(shape, noise=0.0, seed=0) -> list[float]:
    """`shape` of the middle of each recorded part of training, times 1 plus normal noise."""
    ends = np.array(EPOCHS)
    middles = (ends + np.concatenate([[0], ends[:-1]])) / 2
    draw = np.random.default_rng(seed).standard_normal(len(ends))
    return (np.vectorize(shape)(middles) * (1 + noise * draw)).tolist()


def falls_then_flat(epoch: float) -> float:
    return 1 + 3 * max(0, 1 - epoch)


def rises_falls_flat(epoch: float) -> float:
    return float(np.interp(epoch, [0, 1, 2], [0.5, 3, 1]))


def records(gaps: dict[str, float], spread=(0.0,), ratios=("erk",), sparsity=0.9) -> Records:
    """Made-up records of profile `cpu`: dense at 80 %, and `gaps` in points below it by model.

    `spread` is added to the accuracies of the dense runs, one number a seed.
    """
    configs, rows = [], []
    for model, lost in gaps.items():
        for ratio in ("dense", *ratios):
            level = sparsity if ratio != "dense" else 0.0
            for seed, shift in enumerate(spread):
                config = RunConfig(
                    variant="jpeg75", model=model, ratio=ratio, sparsity=level, seed_init=seed
                )
                configs.append(config)
                accuracy = 0.8 + shift if ratio == "dense" else 0.8 - lost / 100 - shift
                row = {"run_id": run_id(config), "model": model, "ratio": ratio}
                rows.append(row | {"sparsity": level, "accuracy": accuracy})
    return Records("depth", "cpu", configs, pd.DataFrame(rows), True)


FIELDS = {
    "snip:own": {"ratio": "snip", "mask_source": "own"},
    "grasp:own": {"ratio": "grasp", "mask_source": "own"},
    "uniform:filter": {"ratio": "uniform", "granularity": "filter"},
    "uniform:2:4": {"ratio": "uniform", "granularity": "2:4"},
    "uniform:4:8": {"ratio": "uniform", "granularity": "4:8"},
}
CPU = {"variant": "jpeg75", "epochs": 16, "train_images": 10_000}


def runs_of_settings(
    accuracies: dict[tuple[str, str], float], seeds=(0.0,), sparsity=0.5, profile="cpu"
) -> Records:
    """Made-up runs by (model, setting), in percent; `seeds` is added, one number a seed.

    None is a cell of the grid that is not recorded.
    """
    configs, rows = [], []
    for (model, name), accuracy in accuracies.items():
        level = 0.0 if name == "dense" else sparsity
        for seed, shift in enumerate(seeds):
            fields = FIELDS.get(name, {"ratio": name})
            config = RunConfig(**CPU, model=model, sparsity=level, seed_init=seed, **fields)
            assert setting_of(config) == name
            configs.append(config)
            if accuracy is not None:
                row = {"run_id": run_id(config), "model": model, "ratio": config.ratio}
                row |= {"setting": name, "sparsity": level, "accuracy": (accuracy + shift) / 100}
                rows.append(row)
    columns = ["run_id", "model", "ratio", "sparsity", "accuracy"]
    return Records("x", profile, configs, pd.DataFrame(rows) if rows else _empty(columns), True)


def _empty(columns) -> pd.DataFrame:
    return pd.DataFrame(columns=columns)


def small(erk=70.0, snip=69.0, own=68.5, **options) -> Records:
    cells = {("resnet-8", "dense"): 75.0, ("resnet-8", "erk"): erk, ("resnet-8", "snip"): snip}
    return runs_of_settings(cells | {("resnet-8", "snip:own"): own}, **options)


SMALL = {
    "profile": "cpu",
    "models": ["resnet-8", "resnet-14"],
    "ratios": ["dense", "erk"],
    "sparsities": [0.9],
    "train_missing": False,
}


def record_all(leave_out=(), seeds=(0,), accuracy=0.5, **parameters):
    grid = {key: SMALL[key] for key in ("models", "ratios", "sparsities")} | parameters
    for config in grids.grid("depth", "cpu", seeds=seeds, variant="jpeg75", **grid):
        if (config.model, config.ratio) not in leave_out:
            store_record(made_up_record(config, accuracy))
