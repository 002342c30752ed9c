"""The gradient norm during training, and what it says of the final accuracy, as data frames.

Histories are in the records, not in the frame of runs: `grid_records` and `profile_records` read
them, everything else is a pure function of what they return.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from math import nan

import pandas as pd

from ..analysis.cells import CELL
from ..analysis.gradient_flow import (
    FLAT,
    INITIAL,
    TO_FLAT,
    TOLERANCE,
    dip,
    first_stage,
    flow_table,
)
from ..analysis.intervals import Estimate, rank_correlation
from ..presentation.theme import place
from ..records.store import all_records, find_records
from ..sweeps.profiles import in_profile
from .shared.records import Records, as_list

PREDICTORS = {
    INITIAL: "norm at initialisation",
    TO_FLAT: "mean norm up to the flat phase",
    FLAT: "level of the flat phase",
}
"""What may predict the gap to dense, in the order in which training shows it."""
_PLAIN = {"mask_source": "random", "granularity": "unstructured", "method": "static"}
_PLAIN |= {"when": "before"}
TOLERANCES = (0.1, TOLERANCE, 0.2)
"""Tolerances of the rule for the flat phase that the chapter tries; the usual one decides."""
VIEWS = {
    "across": ("across networks, one ratio and sparsity", ("ratio", "sparsity")),
    "within": ("within networks", ("model",)),
    "ratios": ("within networks, one sparsity", ("model", "sparsity")),
    "all": ("all cells", ()),
}
"""What is compared, and what the compared cells have in common."""


def grid_records(records: Records) -> list[dict]:
    """The full records of a figure's grid that are recorded, in the order of the grid."""
    return find_records(records.configs)


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
    lists = {"models": models, "ratios": ratios, "sparsities": sparsities, "seeds": seeds}
    fields = dict(zip(lists, ("model", "ratio", "sparsity", "seed_init"), strict=True))
    wanted = {fields[name]: as_list(name, v) for name, v in lists.items() if v is not None}
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
    order = [config["model"], place(config["ratio"]), config["sparsity"]]
    return record["cost"]["dense_weights"], *order, config["seed_init"], record["run_id"]


def comparable(flows: pd.DataFrame) -> pd.DataFrame:
    """The sparse runs that have all three predictors, and a dense network to be compared with."""
    return flows[flows.gap.notna() & flows[list(PREDICTORS)].notna().all(axis=1)]


def cell_means(flows: pd.DataFrame) -> pd.DataFrame:
    """`comparable` runs as one row a cell, small networks first: means over its `n` seeds.

    The seeds of a cell are no separate evidence for what differs between cells.
    """
    flows = comparable(flows)
    groups = flows.groupby(CELL, sort=False)
    means = groups[[*PREDICTORS, "gap", "weights"]].mean()
    means.insert(0, "n", groups.size())
    return means.reset_index().sort_values("weights", kind="stable", ignore_index=True)


def places(cells: pd.DataFrame, column: str, by: Sequence[str]) -> pd.Series:
    """Place of each cell among those of its group: mean ranks spread over 0 to 1, mean 0.5."""
    part = cells.groupby(list(by), sort=False)[column]
    return (part.rank() - 0.5) / part.transform("size")


def correlations(flows: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation of each predictor with the gap to dense over cells, one row a view.

    Columns `predictor, view, n, value, low, high`. In a view that compares within groups (`VIEWS`)
    ranks are taken in each group, so that nothing that differs between groups is left in them;
    groups of one cell are left out. Intervals are those of `intervals.rank_correlation`, NaN where
    there are too few cells for one; the correlation is too where fewer than three cells are left,
    less one for each group after the first.
    """
    cells, rows = cell_means(flows), []
    for name, (view, (_, by)) in product(PREDICTORS, VIEWS.items()):
        columns, groups = [cells[name], cells.gap], 1
        if by:
            kept = cells[cells.groupby(list(by)).gap.transform("size") > 1]
            columns = [places(kept, column, by) for column in (name, "gap")]
            groups = max(kept.groupby(list(by)).ngroups, 1)
        found = _correlation(*columns, groups)
        rows.append([name, view, found.n, *found[:3]])
    return pd.DataFrame(rows, columns=["predictor", "view", "n", "value", "low", "high"])


def correlation(table: pd.DataFrame, predictor: str, view: str) -> Estimate:
    """One row of `correlations`."""
    row = table[(table.predictor == predictor) & (table["view"] == view)].iloc[0]
    return Estimate(row.value, row.low, row.high, row.n)


def _correlation(x: pd.Series, y: pd.Series, groups: int) -> Estimate:
    found = rank_correlation(x, y, groups=groups)
    return Estimate(nan, nan, nan, found.n) if found.n - groups < 2 else found


def flat_starts(found: Iterable[Mapping]) -> pd.DataFrame:
    """One row a run: the epoch at which its flat phase begins at each tolerance, and its dip.

    Columns `model, ratio, sparsity, seed`, one for each of `TOLERANCES`, `dip` and `lowest` (share
    and epoch of `analysis.gradient_flow.dip`), and the mean norm up to the flat phase.
    """
    found = list(found)
    table = flow_table(found)[[*CELL, "seed", TO_FLAT]]
    for tolerance in TOLERANCES:
        table[tolerance] = flow_table(found, tolerance).start
    histories = [record["history"] for record in found]
    dips = [dip(*h["gradient_norm"].values(), first_stage(h["lr"])) for h in histories]
    return table.assign(dip=[share for share, _ in dips], lowest=[epoch for _, epoch in dips])
