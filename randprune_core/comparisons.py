"""Groups of runs held against each other: what a claim is tested by, before anyone says which.

A comparison takes the runs of some cells (model, ratio, sparsity; the runs of a cell differ in
their seeds only) and gives a `Part`: an estimate with its threshold, verdict and reason.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from . import evidence
from .presentation.words import model_label
from .statistics import Estimate

_COLUMNS = ["model", "ratio", "source", "sparsity", "seed", "id", "value", "error"]
_NAME = re.compile(r"resnet-(\d+)(?:-(\d+))?")
_FIRST_CONV = 16  # filters where a name has no width
_DIGITS = {"ECE": 4, "AUROC": 4}
_NOTHING = Estimate(math.nan, math.nan, math.nan, 0)


@dataclass
class Cell:
    """Runs that differ in their seeds only: values, sampling errors and run ids."""

    values: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)


Cells = dict[tuple[str, float], Cell]
"""By model and sparsity the runs of one ratio."""


@dataclass(frozen=True)
class Part:
    """One comparison of a claim; `lacking` says why it cannot be decided, whatever the estimate.

    `unit` is that of estimate and threshold. `compared` begins the sentence that the effect ends.
    """

    claim: int
    part: str
    unit: str = ""
    compared: str = ""
    estimate: Estimate = _NOTHING
    threshold: float = 0.0
    runs: frozenset[str] = field(default_factory=frozenset)
    lacking: str = ""
    kind: str = "measured"

    @property
    def verdict(self) -> str:
        """`supported`, `contradicted` or `undecided`."""
        if self.lacking:
            return "undecided"
        return evidence.decide(self.estimate.low, self.estimate.high, self.threshold)

    @property
    def why(self) -> str:
        """One sentence: what was compared, and why the verdict is what it is."""
        value, low, high, n = self.estimate
        if math.isnan(value):
            return f"{self.lacking[:1].upper()}{self.lacking[1:]}."
        digits = _DIGITS.get(self.unit, 2)
        unit = "" if self.unit in _DIGITS else self.unit  # named in words before
        text = f"{self.compared} {number(value, digits)} {unit}".rstrip()
        if not math.isnan(low):
            text += f" (95 % interval {number(low, digits)} to {number(high, digits)})"
        if self.lacking:
            return f"{text}, but {self.lacking}."
        if math.isnan(low):
            return f"{text}, but {'one seed' if n == 1 else 'so little'} decides nothing."
        places = {"supported": "lies above", "contradicted": "lies below", "undecided": "contains"}
        bound = number(self.threshold, 3).rstrip("0") if self.threshold else "zero"
        return f"{text}; the interval {places[self.verdict]} {bound}."

    def row(self) -> dict:
        """The part as a row of `claims.parts`."""
        names = ("claim", "part", "verdict", "threshold", "unit", "kind", "why")
        value, low, high, _ = self.estimate
        shown = {name: getattr(self, name) for name in names}
        return shown | {"effect": value, "low": low, "high": high, "runs": len(self.runs)}


def number(value: float, digits: int) -> str:
    """A number with a true minus sign, and none before a zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def levels(sparsities: Iterable[float]) -> str:
    """`sparsity 0.9`, `sparsities 0.7, 0.8 and 0.9`, `9 sparsities from 0.1 to 0.9`."""
    words = [f"{sparsity:g}" for sparsity in sorted(set(sparsities))]
    if len(words) < 2:
        return f"sparsity {''.join(words)}"
    if len(words) > 3:
        return f"{len(words)} sparsities from {words[0]} to {words[-1]}"
    return f"sparsities {', '.join(words[:-1])} and {words[-1]}"


def select(
    runs: pd.DataFrame, column: str, scale: float = 1.0, error: float | pd.Series = 0.0
) -> pd.DataFrame:
    """The runs in which a column is a number, by run id; none where there is no such column.

    Columns `model, ratio, source` (of the mask), `sparsity, seed, id, value, error`; `error` is
    the standard error from the finite test set, one for all runs or one a run. `scale` multiplies
    both.
    """
    if column not in runs or runs.empty:
        return pd.DataFrame(columns=_COLUMNS)
    known = {name: runs[name] for name in ("model", "ratio", "sparsity")}
    known["source"] = runs.mask_source if "mask_source" in runs else "random"
    known |= {"seed": runs.seed_init, "id": runs.run_id}
    table = pd.DataFrame(known).assign(value=scale * runs[column], error=scale * error)
    table = table[np.isfinite(table.value) & np.isfinite(table.error)]
    return table.sort_values("id", ignore_index=True)[_COLUMNS]


def cells(values: pd.DataFrame, ratio: str, source: str = "random") -> Cells:
    """The cells of a ratio in what `select` gives."""
    mine = values[(values.ratio == ratio) & (values.source == source)]
    return collect(mine, ["model", "sparsity"])


def collect(values: pd.DataFrame, by: Sequence[str]) -> dict[tuple, Cell]:
    """What `select` gives as cells, by the values of some columns."""
    found: dict[tuple, Cell] = {}
    columns = [values[name].tolist() for name in (*by, "value", "error", "id")]
    for *key, value, error, name in zip(*columns, strict=True):
        cell = found.setdefault(tuple(key), Cell())
        cell.values.append(value)
        cell.errors.append(error)
        cell.ids.append(name)
    return found


def at(found: Cells, sparsity: float) -> Cells:
    """Those of the cells that have this sparsity."""
    return {key: cell for key, cell in found.items() if math.isclose(key[1], sparsity)}


def several(first: dict, *others: dict, least: int = 1) -> list:
    """Keys that all have, sorted; where `least` or more have several seeds, only those."""
    everywhere = sorted(set(first).intersection(*others))
    more = [key for key in everywhere if min(len(each[key]) for each in (first, *others)) > 1]
    return more if len(more) >= least else everywhere


def sizes(models: Iterable[str], family: str) -> dict[str, int]:
    """The ResNets of a family with their size, smallest first.

    `depth`: all depths of the standard width. `width`: the widths of the depth that has most.
    """
    parsed = {}
    for model in sorted(set(models)):
        if match := _NAME.fullmatch(model):
            parsed[model] = (int(match[1]), int(match[2] or _FIRST_CONV))
    if family == "depth":
        found = {model: depth for model, (depth, width) in parsed.items() if width == _FIRST_CONV}
    else:
        depths = [depth for depth, _ in parsed.values()]
        fixed = max(sorted(set(depths)), key=depths.count, default=0)
        found = {model: width for model, (depth, width) in parsed.items() if depth == fixed}
    return dict(sorted(found.items(), key=lambda item: item[1]))


def difference(part: Part, first: Sequence[Cell], second: Sequence[Cell], compared: str) -> Part:
    """The part with mean over the cells of `first` minus mean over those of `second`, if any."""
    sides = [side for side in (first, second) if side]
    errors = [np.mean([np.mean(cell.errors) for cell in side]) for side in sides]
    groups = [[cell.values for cell in side] for side in (first, second)]
    found = evidence.mean_difference(*groups, sampling=math.hypot(*errors))
    ids = frozenset(name for cell in (*first, *second) for name in cell.ids)
    return replace(part, estimate=found, runs=ids, compared=compared)


def shrinking(part: Part, table: pd.DataFrame, family: str, what: str, none: str) -> Part:
    """The part with how much a value falls per doubling of the size, by regression over all runs.

    `table` has `model, value, ids`, a row a seed. Sizes of one seed are left out where three or
    more have several. `none` says what is lacking where there are no two sizes.
    """
    found = sizes(table.model, family)
    groups = {model: table[table.model == model] for model in found}
    kept = sorted(several(groups, least=3), key=found.get)
    if len(kept) < 2:
        return replace(part, lacking=none)
    shown = pd.concat([groups[model] for model in kept])
    return replace(
        part,
        compared=f"From {model_label(kept[0])} to {model_label(kept[-1])} {what}",
        estimate=evidence.trend(shown.model.map(found), -shown.value),
        runs=frozenset(name for ids in shown.ids for name in ids),
        lacking="" if len(kept) > 2 else "two sizes are no trend",
    )
