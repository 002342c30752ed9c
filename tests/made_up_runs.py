"""Made-up runs and curves that several test files use."""

import numpy as np
import pandas as pd

from randprune_core.chapters.common import Records
from randprune_core.config import RunConfig, run_id

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
