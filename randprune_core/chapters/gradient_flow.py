"""The gradient norm during training, and what it says of the final accuracy, as data frames.

Histories are in the records, not in the frame of runs: `grid_records` and `profile_records` read
them, everything else is a pure function of what they return.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan

import pandas as pd

from ..analysis.gradient_flow import FLAT, INITIAL, TO_FLAT
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
_CORRELATIONS = ["predictor", "n", "all", "all_low", "all_high"]
_CORRELATIONS += ["n_within", "within", "within_low", "within_high"]


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


def within_networks(flows: pd.DataFrame, column: str) -> pd.Series:
    """Place of each run among those of its network: mean ranks spread over 0 to 1, mean 0.5."""
    part = flows.groupby("model", sort=False)[column]
    return (part.rank() - 0.5) / part.transform("size")


def correlations(flows: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation of each predictor with the gap to dense, over all runs and within networks.

    Columns `predictor`; `n`, `all`, `all_low`, `all_high` over all runs; `n_within`, `within`,
    `within_low`, `within_high` of the ranks within each network, which have no differences between
    networks left in them. Networks with one run are left out of the latter. Intervals are those of
    `intervals.rank_correlation`, NaN where there are too few runs for one; the correlation is too
    where fewer than three runs are left, less one for each network after the first.
    """
    flows = comparable(flows)
    compared = flows[flows.groupby("model").model.transform("size") > 1]
    rows = []
    for name in PREDICTORS:
        whole = _correlation(flows[name], flows.gap, 1)
        ranks = [within_networks(compared, column) for column in (name, "gap")]
        part = _correlation(*ranks, max(compared.model.nunique(), 1))
        rows.append([name, whole.n, *whole[:3], part.n, *part[:3]])
    return pd.DataFrame(rows, columns=_CORRELATIONS)


def _correlation(x: pd.Series, y: pd.Series, groups: int) -> Estimate:
    found = rank_correlation(x, y, groups=groups)
    return Estimate(nan, nan, nan, found.n) if found.n - groups < 2 else found
