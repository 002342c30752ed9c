"""Which runs the verdicts rest on, and those of them that are recorded."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..config import RunConfig
from ..records.store import find_records
from ..records.table import records_to_frame
from ..sweeps.grids import runs_of
from ..sweeps.profiles import PROFILES
from .contrasts import Cell
from .decisions import DECISIONS, pool
from .gradient_flow import CLAIMED, flow_table


def configs(profile: str, variant: str, claims: Sequence[int] | None = None) -> list[RunConfig]:
    """Every run that the verdicts of a profile rest on, or those of some claims.

    None for a profile that has no table of decisions.
    """
    rows = [row for row in DECISIONS if row.profile == profile]
    rows = [row for row in rows if claims is None or row.claim in claims]
    most: dict[Cell, int] = {}
    for row in rows:
        for cell in (*row.cells(), *pool(profile)):
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
