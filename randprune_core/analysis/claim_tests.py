"""How a row of the table of decisions becomes a `Part`: which runs enter, and what they give.

A look takes the seeds 0 to n − 1 of every cell, so that no part rests on more runs of one cell than
of another, and a run that comes later changes nothing before the next look.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from ..config import SEEDS
from ..datasets import DATASETS
from ..presentation.theme import LABELS
from ..presentation.words import listing, model_label
from . import gradient_claims
from .cells import Cells, chance_limit
from .contrasts import Cell, Decision
from .decisions import CONFIDENCE, pool
from .intervals import contrast, decide
from .parts import Part

CLASSES = DATASETS["cifar10"].classes
"""Of CIFAR-10, which the claims are about."""
MOST_SEEDS = 100
"""Up to so many seeds a cell is said how many would decide."""
METRICS = {
    "accuracy": "accuracy",
    "ece": "calibration error",
    "ood.cifar100.auroc": "out-of-distribution AUROC",
    "pgd.1.accuracy": "accuracy under PGD at 1/255",
}
"""Metrics of the contrasts in words."""
_COLUMNS = ["id", "model", "setting", "sparsity", "seed"]


def part_of(row: Decision, runs: pd.DataFrame) -> Part:
    """What the runs of one profile say of one row of the table."""
    part = Part(row.claim, row.part, row.unit, threshold=row.threshold)
    table = sample(runs, row)
    look = complete_look(table, row)
    seen = table[table.seed < (look or row.looks[0])]
    part = replace(part, runs=frozenset(seen.id[_among(seen, row.cells())]), seeds=look)
    if not look:
        first = row.looks[0]
        wanted = f"of the {first * len(row.cells())} runs of the look at {first} seeds"
        flat = row.metric.startswith("gradient.") and row.metric != "gradient.initial"
        gives = "are recorded with a flat phase" if flat else "are recorded"
        counted = f"only {len(part.runs)} {wanted} {gives}"
        part = replace(part, lacking=counted if len(part.runs) else f"none {wanted} is recorded")
    if row.listed:
        return gradient_claims.correlate(part, row, seen, runs)
    if set(row.cells()) - set(cells(seen)):
        return part
    part = measure(part, row, seen)
    if row.metric == "gradient.rise":
        part = _with_slices(part, row, seen, runs)
    return _with_images(part, row, seen, runs)


def sample(runs: pd.DataFrame, row: Decision) -> pd.DataFrame:
    """The runs of the cells of a row and of the pool in which its metric is a number.

    Columns `id, model, setting, sparsity, seed, value`, by run id. A run counts if its three seeds
    are one number. Raises ValueError for two runs of one cell and seed.
    """
    if row.metric not in runs or runs.empty:
        return pd.DataFrame(columns=[*_COLUMNS, "value"])
    table = runs.rename(columns={"run_id": "id", "seed_init": "seed"})[_COLUMNS]
    value = row.scale * runs[row.metric].astype(float)
    if row.listed:  # of the dense networks a rank correlation takes the accuracy only
        value = value.where(runs.setting != "dense", runs.accuracy)
    table = table.assign(value=value)
    same = pd.Series(True, index=runs.index)
    for name in SEEDS:
        same &= runs[name] == runs.seed_init if name in runs else True
    wanted = row.cells() if row.listed else (*row.cells(), *pool(row.profile))
    table = table[same & np.isfinite(table.value) & _among(table, wanted)]
    twice = table[table.duplicated(_COLUMNS[1:])]
    if len(twice):
        raise ValueError(f"runs {', '.join(twice.id)} repeat a cell and seed: give one of each")
    return table.sort_values("id", ignore_index=True)


def cells(table: pd.DataFrame) -> dict[Cell, list[float]]:
    """What `sample` gives, by cell."""
    groups = table.groupby(["model", "setting", "sparsity"], sort=False).value
    return {cell: list(values) for cell, values in groups}


def complete_look(table: pd.DataFrame, row: Decision) -> int:
    """The last look for which every cell of the row has all seeds; 0 for none."""
    mine = table[_among(table, row.cells())]
    found = 0
    for look in row.looks:
        if (mine.seed < look).sum() == look * len(row.cells()):
            found = look
    return found


def measure(part: Part, row: Decision, seen: pd.DataFrame) -> Part:
    """The part with its contrast, both intervals, and how many seeds would decide."""
    found, weights = cells(seen), row.weights()
    fewest = part.seeds or min(len(found[key]) for key in weights)
    pooled = {key: group for key, group in found.items() if len(group) >= fewest}
    table = Cells(found, pooled)
    part = replace(
        part,
        compared=compared(row),
        estimate=table.contrast(weights, CONFIDENCE),
        own=table.own_spread(weights, CONFIDENCE),
    )
    if part.seeds and part.verdict == "undecided":
        part = replace(part, needed=seeds_needed(table, row, part.seeds))
    return part


def seeds_needed(table: Cells, row: Decision, seeds: int) -> int | None:
    """How many seeds a cell decide, if effect and spread stay what they are; None over 100.

    The least n at which both intervals, with n runs in each cell of the pool and of the contrast,
    lie on one side of the threshold.
    """
    weights = row.weights()
    own = table.own_spread(weights)
    if math.isnan(own.low):
        return None
    variance = {key: np.var(table.values[key], ddof=1) for key in weights}
    for n in range(seeds + 1, MOST_SEEDS + 1):
        # Groups of n values with the mean and the variance of those recorded.
        pattern = np.linspace(-1, 1, n)
        pattern /= pattern.std(ddof=1)
        made = [np.mean(table.values[k]) + math.sqrt(v) * pattern for k, v in variance.items()]
        spread = table.spread._replace(freedom=len(table.pool) * (n - 1))
        found = [contrast(made, list(weights.values()), s, CONFIDENCE) for s in (spread, None)]
        words = {decide(each.low, each.high, row.threshold) for each in found}
        if len(words) == 1 and "undecided" not in words:
            return n
    return None


def compared(row: Decision) -> str:
    """The beginning of the sentence that the effect ends."""
    if row.metric.startswith("gradient."):
        what = {
            "gradient.rise": "from its start to its highest epoch the gradient norm changes by",
            "gradient.fall": "from its highest epoch to the flat phase the gradient norm falls by",
        }[row.metric]
        return f"{_place(row)} with {_names(row.first)} at sparsity {row.sparsity:g} {what}"
    sides = " minus ".join(_names(side) for side in (row.first, row.second))
    what = f"{sides} in {METRICS[row.metric]} at sparsity {row.sparsity:g}"
    if row.take == "mean":
        return f"{_place(row)} {what} is"
    ends = [model_label(row.networks[place]) for place in (0, -1)]
    return f"From {ends[0]} to {ends[1]} {what} falls by"


def _place(row: Decision) -> str:
    over = "In" if len(row.networks) == 1 else "Over"
    return f"{over} {listing(model_label(network) for network in row.networks)}"


def _names(side: Sequence[str]) -> str:
    names = listing(LABELS[name] for name in side)
    return names if len(side) == 1 else f"the mean of {names}"


def _with_slices(part: Part, row: Decision, seen: pd.DataFrame, runs: pd.DataFrame) -> Part:
    """A rise is not contradicted by the means of epochs where a single slice shows one."""
    if part.verdict != "contradicted" or "gradient.rise_slices" not in runs:
        return part
    finer = runs.set_index("run_id")["gradient.rise_slices"]
    other = measure(replace(part), row, seen.assign(value=seen.id.map(finer).astype(float)))
    if other.verdict == "contradicted":
        return part
    lacking = "single slices of an epoch do show a rise, which epochs are too long to show"
    return replace(part, lacking=lacking)


def _with_images(part: Part, row: Decision, seen: pd.DataFrame, runs: pd.DataFrame) -> Part:
    """The error from the finite test set beside a part of claims 7 and 8, and the floor of 8.

    It is an upper limit: the errors of two networks on the same images are taken as independent,
    and those of different networks as equal.
    """
    by_id, mine = runs.set_index("run_id"), seen[_among(seen, row.cells())]
    if row.metric == "ood.cifar100.auroc" and f"{row.metric}_se" in runs:
        errors = mine.id.map(by_id[f"{row.metric}_se"]).astype(float)
    elif row.metric == "pgd.1.accuracy" and "pgd.1.n" in runs:
        images = mine.id.map(by_id["pgd.1.n"]).astype(float)
        errors = np.sqrt(mine.value * (100 - mine.value) / images)
        floor = chance_limit(images.min(), CLASSES)
        if max(np.mean(group) for group in cells(mine).values()) <= floor:
            lacking = f"no network keeps more than {floor:.1f} % of its images, as guessing might"
            part = replace(part, lacking=lacking)
    else:
        return part
    means = errors.groupby([mine.model, mine.setting]).mean().unstack()
    return replace(part, images_error=float(np.hypot(*(means[name] for name in means)).mean()))


def _among(table: pd.DataFrame, wanted: Collection[Cell]) -> pd.Series:
    wanted = set(wanted)
    keys = zip(table.model, table.setting, table.sparsity, strict=True)
    return pd.Series([key in wanted for key in keys], index=table.index, dtype=bool)
