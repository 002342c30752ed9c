"""The gradient norm during training, and what it says of the final accuracy, as data frames.

Histories are in the records, not in the frame of runs: `grid_records` and `profile_records` read
them, everything else is a pure function of what they return.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isnan, log2, nan

import pandas as pd

from ..evidence import rank_correlation
from ..presentation.theme import LABELS
from ..records.store import all_records, find_record
from ..statistics import CELL, Estimate, mean_interval
from ..sweeps.grids import in_profile
from .common import Records, as_list
from .flat_phase import (
    TOLERANCE,
    find_flat_phase,
    first_stage,
    highest_epoch,
    highest_slice,
    mean_until,
    peak_until,
)

INITIAL, PEAK = "gradient.initial", "gradient.peak"
TO_FLAT, FLAT = "gradient.to_flat", "gradient.flat"
COURSE = ("gradient.rise", "gradient.rise_slices", "gradient.fall")
"""What claim 9 says of the course of the norm, in doublings (`gradient_claims.GRADIENT`)."""
PREDICTORS = {
    INITIAL: "norm at initialisation",
    TO_FLAT: "mean norm up to the flat phase",
    FLAT: "level of the flat phase",
}
"""What may predict the gap to dense, in the order in which training shows it."""
PAPER_SPARSITY = 0.5
"""The sparsity of the upper half of the paper's Figure 6."""

_PLAIN = {"mask_source": "random", "granularity": "unstructured", "method": "static"}
_PLAIN |= {"when": "before"}
_FLOWS = ["run_id", *CELL, "seed", "accuracy", "gap", "weights"]
_FLOWS += [INITIAL, "start", PEAK, TO_FLAT, FLAT, *COURSE]
_CURVES = [*CELL, "epoch", "n", "norm", "low", "high"]
_CORRELATIONS = ["predictor", "n", "all", "all_low", "all_high"]
_CORRELATIONS += ["n_within", "within", "within_low", "within_high"]


def grid_records(records: Records) -> list[dict]:
    """The full records of a figure's grid that are recorded, in the order of the grid."""
    found = (find_record(config) for config in records.configs)
    return [record for record in found if record is not None]


def profile_records(
    records: Records,
    *,
    models: Sequence[str] | None = None,
    ratios: Sequence[str] | None = None,
    sparsities: Sequence[float] | None = None,
    seeds: Sequence[int] | None = None,
) -> list[dict]:
    """Every record of the profile and copy of the data, whatever figure it was trained for.

    Networks whose random masks are unstructured, drawn before training and static, and the dense
    ones; small networks first. A list that is given keeps only what it names, None keeps all; dense
    networks stay whatever `ratios` and `sparsities` name.
    """
    wanted = {"model": models, "ratio": ratios, "sparsity": sparsities, "seed_init": seeds}
    wanted = {name: as_list(name, value) for name, value in wanted.items() if value is not None}
    found = []
    for record in all_records(records.configs[0].dataset):
        config = record["config"]
        keep = set(wanted) - ({"ratio", "sparsity"} if config["ratio"] == "dense" else set())
        if (
            in_profile(config, records.profile)
            and config["variant"] == records.variant
            and all(config[name] == value for name, value in _PLAIN.items())
            and all(config[name] in wanted[name] for name in keep)
        ):
            found.append(record)
    return sorted(found, key=_place)


def _place(record: Mapping) -> tuple:
    config = record["config"]
    order = [config["model"], list(LABELS).index(config["ratio"]), config["sparsity"]]
    return record["cost"]["dense_weights"], *order, config["seed_init"], record["run_id"]


def flow_table(found: Iterable[Mapping], tolerance: float = TOLERANCE) -> pd.DataFrame:
    """One row a run: its gradient norms in a few numbers, and its gap to the dense network.

    Columns `run_id, model, ratio, sparsity, seed`; `accuracy` in percent; `gap`, the mean accuracy
    of the dense runs of the model minus it, in points (NaN for a dense run, and where no dense one
    is among `found`); `weights` of the dense network; `gradient.initial`; `start`, the epoch that
    the flat phase begins at; `gradient.peak`, the highest norm up to there; `gradient.to_flat`, the
    mean norm up to there, which is the initial norm where the curve is flat at once; and
    `gradient.flat`, its level; and in doublings `gradient.rise`, from the initial norm to the
    largest mean of an epoch before the flat phase, `gradient.rise_slices`, to the largest slice,
    and `gradient.fall`, from that mean to the flat level. All after `start` and `start` itself are
    NaN where there is no flat phase.
    """
    rows = []
    for record in found:
        config, history = record["config"], record["history"]
        row = {"run_id": record["run_id"], **{name: config[name] for name in CELL}}
        row |= {"seed": config["seed_init"], "accuracy": 100 * record["test"]["accuracy"]}
        row |= {"weights": record["cost"]["dense_weights"]}
        rows.append(row | _flow(history, tolerance))
    flows = pd.DataFrame(rows, columns=_FLOWS)
    dense = flows[flows.ratio == "dense"].groupby("model").accuracy.mean()
    gap = flows.model.map(dense).astype(float) - flows.accuracy
    return flows.assign(gap=gap.where(flows.ratio != "dense"))


def _flow(history: Mapping, tolerance: float) -> dict[str, float]:
    initial, curve = history["gradient_norm_at_init"], history["gradient_norm"].values()
    row = {INITIAL: initial} | dict.fromkeys(("start", PEAK, TO_FLAT, FLAT, *COURSE), nan)
    stage = first_stage(history["lr"])
    if (phase := find_flat_phase(*curve, stage, tolerance)) is None:
        return row
    before, until = mean_until(*curve, phase.start), (*curve, stage, phase.start)
    row |= {"start": phase.start, FLAT: phase.level, PEAK: peak_until(*until)}
    row |= {TO_FLAT: initial if isnan(before) else before}
    epoch, part = highest_epoch(*until), highest_slice(*until)
    course = (epoch / initial, part / initial, epoch / phase.level)
    if min(course) > 0:
        row |= {name: log2(share) for name, share in zip(COURSE, course, strict=True)}
    return row


def mean_curves(found: Iterable[Mapping]) -> pd.DataFrame:
    """Gradient norm against epoch for each cell: mean over seeds with its Student-t interval.

    Columns `model, ratio, sparsity, epoch, n, norm, low, high`. Epoch 0 is initialisation; any
    other value is the mean over the part of training that ends at its epoch.
    """
    norms: dict[tuple, list[float]] = {}
    for record in found:
        cell = tuple(record["config"][name] for name in CELL)
        history = record["history"]
        norms.setdefault((*cell, 0.0), []).append(history["gradient_norm_at_init"])
        curve = history["gradient_norm"]
        for epoch, norm in zip(curve["epoch"], curve["norm"], strict=True):
            norms.setdefault((*cell, epoch), []).append(norm)
    rows = []
    for key, values in norms.items():
        mean = mean_interval(values)
        rows.append([*key, mean.n, mean.value, mean.low, mean.high])
    return pd.DataFrame(rows, columns=_CURVES)


def rate_steps(found: Sequence[Mapping]) -> list[int]:
    """After which epochs the learning rate of any of the runs falls."""
    steps = set()
    for record in found:
        rates = record["history"]["lr"]
        steps |= {epoch for epoch in range(1, len(rates)) if rates[epoch] < rates[epoch - 1]}
    return sorted(steps)


def shown_sparsity(flows: pd.DataFrame) -> float | None:
    """The one sparsity to draw: where most cells are recorded, then nearest to the paper's 50 %."""
    levels = flows[flows.ratio != "dense"].drop_duplicates(CELL).groupby("sparsity").size()
    if levels.empty:
        return None
    return min(levels.index, key=lambda level: (-levels[level], abs(level - PAPER_SPARSITY), level))


def comparable(flows: pd.DataFrame) -> pd.DataFrame:
    """The sparse runs that have all three predictors, and a dense network to be compared with."""
    return flows[flows.gap.notna() & flows[list(PREDICTORS)].notna().all(axis=1)]


def within_networks(flows: pd.DataFrame, column: str) -> pd.Series:
    """Place of each run among those of its network: mean ranks spread over 0 to 1, mean 0.5."""
    part = flows.groupby("model", sort=False)[column]
    return (part.rank() - 0.5) / part.transform("size")


def correlations(flows: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation of each predictor with the gap to dense, over all runs and within networks.

    Columns `predictor`; `n`, `all`, `all_low`, `all_high` over all runs; `n_within`, `within`,
    `within_low`, `within_high` of the ranks within each network, which have no differences between
    networks left in them. Networks with one run are left out of the latter. Intervals are those of
    `evidence.rank_correlation`, NaN where there are too few runs for one; the correlation is too
    where fewer than three runs are left, less one for each network after the first.
    """
    flows = comparable(flows)
    several = flows[flows.groupby("model").model.transform("size") > 1]
    rows = []
    for name in PREDICTORS:
        whole = _correlation(flows[name], flows.gap, 1)
        ranks = [within_networks(several, column) for column in (name, "gap")]
        part = _correlation(*ranks, max(several.model.nunique(), 1))
        rows.append([name, whole.n, *whole[:3], part.n, *part[:3]])
    return pd.DataFrame(rows, columns=_CORRELATIONS)


def _correlation(x: pd.Series, y: pd.Series, groups: int) -> Estimate:
    found = rank_correlation(x, y, groups=groups)
    return Estimate(nan, nan, nan, found.n) if found.n - groups < 2 else found
