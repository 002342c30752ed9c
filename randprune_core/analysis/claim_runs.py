"""Which runs the verdicts rest on, which ones intervals share, and those that are recorded."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..config import RunConfig, run_id
from ..records.store import find_records
from ..records.table import records_to_frame
from ..sweeps.grids import JUDGED, grid, runs_of
from ..sweeps.profiles import PROFILES
from . import decisions
from .contrasts import Cell
from .decisions import DECISIONS
from .gradient_flow import CLAIMED, flow_table


def configs(profile: str, variant: str, claims: Sequence[int] | None = None) -> list[RunConfig]:
    """Every run that the verdicts of a profile rest on, or those of some claims.

    None for a profile that has no table of decisions.
    """
    rows = [row for row in DECISIONS if row.profile == profile]
    rows = [row for row in rows if claims is None or row.claim in claims]
    most: dict[Cell, int] = {}
    for row in rows:
        for cell in (*row.cells(), *decisions.pool(profile)):
            most[cell] = max(most.get(cell, 0), max(row.looks))
    found = []
    for (model, name, sparsity), seeds in most.items():
        ratio, _, own = name.partition(":")
        settings = [{"ratio": ratio, "mask_source": own or "random"}]
        common = PROFILES[profile] | {"variant": variant}
        found += runs_of([model], settings, [sparsity], range(seeds), common)
    return found


def recorded_runs(profile: str, variant: str, claims: Sequence[int] | None = None) -> pd.DataFrame:
    """The recorded ones of `configs`, as in `table.load_runs`, with the columns `CLAIMED`."""
    records = find_records(configs(profile, variant, claims))
    flows = flow_table(records)[["run_id", *CLAIMED]]
    return records_to_frame(records).merge(flows, on="run_id", how="left")


def pool(profile: str, variant: str) -> list[RunConfig]:
    """The runs whose spread between seeds every interval of a profile takes, whatever the page.

    They are those that every verdict pools, which claims 1 and 2 rest on; in a profile that has no
    table of decisions, the dense and ERK networks of the same figures.
    """
    found = configs(profile, variant, (1, 2)) or [
        config
        for figure in JUDGED
        for config in grid(figure, profile, ratios=("dense", "erk"), variant=variant)
    ]
    return list({run_id(config): config for config in found}.values())


def pool_runs(profile: str, variant: str, dataset: str) -> pd.DataFrame | None:
    """The recorded ones of `pool`, as in `table.load_runs`.

    None where `dataset` is not that of the profile: runs on other data have their own spread.
    """
    if dataset != PROFILES[profile]["dataset"]:
        return None
    return records_to_frame(find_records(pool(profile, variant)))


def pool_among(runs: pd.DataFrame, profile: str) -> pd.DataFrame:
    """Those of the runs of a profile that are of its `pool`."""
    ids = {run_id(c) for variant in runs.variant.unique() for c in pool(profile, variant)}
    return runs[runs.run_id.isin(ids)]


def together(*frames: pd.DataFrame | None) -> pd.DataFrame:
    """The runs of several frames in one, each once; the first frame where none has any."""
    found = [frame for frame in frames if frame is not None and len(frame)] or list(frames[:1])
    return pd.concat(found, ignore_index=True).drop_duplicates("run_id", ignore_index=True)
