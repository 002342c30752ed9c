"""The gradient norm during training, and what it says of the final accuracy, as data frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from math import nan

import pandas as pd

from ..analysis.cells import CELL
from ..analysis.gradient_flow import FLAT, INITIAL, TO_FLAT
from ..analysis.intervals import Estimate, rank_correlation
from ..presentation.theme import place
from ..records.store import all_records
from ..sweeps.profiles import in_profile
from .shared.records import Records, as_list

PREDICTORS = {
    INITIAL: "norm at initialisation",
    TO_FLAT: "mean norm up to the flat phase",
    FLAT: "level of the flat phase",
}
"""What may predict the gap to dense, in the order in which training shows it."""
_PLAIN = {"granularity": "unstructured", "method": "static", "when": "before"}
VIEWS = {
    "across": ("across networks, one ratio and sparsity", ("ratio", "sparsity")),
    "within": ("within networks", ("model",)),
    "ratios": ("within networks, one sparsity", ("model", "sparsity")),
}
"""What is compared, and what the compared cells have in common."""


def profile_records(records: Records, **lists: object) -> list[dict]:
    """Every record of the profile and copy of the data, whatever figure it was trained for.

    Networks whose masks are unstructured, made before training and static, whether drawn at random
    or chosen by a criterion, and the dense ones; small networks first. `models`, `ratios`,
    `sparsities` and `seeds` keep what they name, None keeps all; dense networks stay whatever
    `ratios` and `sparsities` name.
    """
    names = {"models": "model", "ratios": "ratio", "sparsities": "sparsity", "seeds": "seed_init"}
    wanted = {names[name]: as_list(name, v) for name, v in lists.items() if v is not None}
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


def over_dense(curves: pd.DataFrame) -> pd.DataFrame:
    """The smoothed norm of each sparse run of `run_curves` over that of its dense twin, as `share`.

    The twin is the dense run of the same network and seed; a run without one is left out.
    """
    dense, twin = curves.ratio == "dense", ["model", "seed", "epoch"]
    pairs = curves[~dense].merge(curves[dense][[*twin, "smooth"]], on=twin, suffixes=("", "_dense"))
    return pairs.assign(share=pairs.smooth / pairs.smooth_dense)


def cell_means(flows: pd.DataFrame) -> pd.DataFrame:
    """The sparse cells, small networks first: means of predictors and gap over their `n` seeds.

    Only runs that have all three predictors and a dense network to be compared with. The seeds of a
    cell are no separate evidence for what differs between cells.
    """
    known = flows.gap.notna() & flows[list(PREDICTORS)].notna().all(axis=1)
    groups = flows[known].groupby(CELL, sort=False)
    means = groups[[*PREDICTORS, "gap", "weights"]].mean()
    means.insert(0, "n", groups.size())
    return means.reset_index().sort_values("weights", kind="stable", ignore_index=True)


def places(cells: pd.DataFrame, column: str, by: Sequence[str]) -> pd.Series:
    """Place of each cell among those of its group: mean ranks spread over 0 to 1, mean 0.5."""
    part = cells.groupby(list(by), sort=False)[column]
    return (part.rank() - 0.5) / part.transform("size")


def correlations(flows: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation of each predictor with the gap to dense over cells, one row a view.

    Columns `predictor, view, n, value, low, high`. Ranks are taken within the groups of a view
    (`VIEWS`), so that nothing that differs between groups is left in them; groups of one cell are
    left out. Intervals are those of `intervals.rank_correlation`, NaN where there are too few cells
    for one; the correlation is too where fewer than three cells are left, less one for each group
    after the first.
    """
    cells, rows = cell_means(flows), []
    for name, (view, (_, by)) in product(PREDICTORS, VIEWS.items()):
        kept = cells[cells.groupby(list(by)).gap.transform("size") > 1]
        groups = max(kept.groupby(list(by)).ngroups, 1)
        found = rank_correlation(*(places(kept, x, by) for x in (name, "gap")), groups=groups)
        if found.n - groups < 2:
            found = Estimate(nan, nan, nan, found.n)
        rows.append([name, view, found.n, *found[:3]])
    return pd.DataFrame(rows, columns=["predictor", "view", "n", "value", "low", "high"])
