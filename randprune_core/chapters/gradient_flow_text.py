"""What is said of the gradient norm: tables to read, and sentences computed from the records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan

import pandas as pd

from ..analysis.cells import CELL
from ..analysis.gradient_flow import FLAT, INITIAL, TO_FLAT, TOLERANCE
from ..analysis.intervals import mean_interval
from ..presentation.theme import LABELS
from ..presentation.words import data_label, model_label, number, plus_minus
from .gradient_flow import PREDICTORS, TOLERANCES, VIEWS, comparable
from .shared.records import Records


def rule(tolerance: float = TOLERANCE) -> str:
    """The rule of `flat_phase.find_flat_phase` in words."""
    return (
        "The *first stage* ends where the learning rate is first divided by 10. The "
        "*flat level* is the median norm over its second half. The *flat phase* begins at the "
        "earliest tenth of an epoch from which on the moving median of the norm (a sixteenth of "
        "the stage to either side, at the start only as far as the curve has begun) stays within "
        f"{100 * tolerance:g} % of the flat level until the stage ends. If that is later than "
        "half of the stage, the curve has no flat phase."
    )


def curves_title(records: Records, sparsity: float | None) -> str:
    """What stands above the curves: the source, and the one sparsity that is drawn."""
    if sparsity is None:
        return records.source()
    return f"{records.source()}\nSparsity {sparsity:g}, and dense"


def predictors_title(records: Records, flows: pd.DataFrame) -> str:
    """What stands above the predictors: the source, and how many runs are drawn."""
    config = records.configs[0]
    return (
        f"Profile {records.profile}: {data_label(config)}, {config.train_images:,} images, "
        f"{config.epochs} epochs\n{len(comparable(flows))} sparse runs"
    )


def saw_tooth(records: Records, found: Sequence[Mapping]) -> str:
    """Why and how far the last tenth of an epoch stands above the others; "" where it need not."""
    config = records.configs[0]
    if not (last := config.train_images % config.batch_size) or not found:
        return ""
    ratios = []
    for record in found:
        curve = pd.DataFrame(record["history"]["gradient_norm"])
        fine = curve[curve.epoch.diff().fillna(curve.epoch) < 0.5]
        ends = (fine.epoch % 1).round(6).isin([0.0, 1.0])
        ratios.append(fine.norm[ends].mean() / fine.norm[~ends].mean())
    change = 100 * (pd.Series(ratios).median() - 1)
    side = "above" if change >= 0 else "below"
    return (
        f"Each epoch ends with a batch of {last} images instead of {config.batch_size}. A gradient "
        "of fewer images is noisier, and noise makes it longer: in the median run the last tenth "
        f"of the first epochs lies {abs(change):.0f} % {side} the other tenths. That makes the "
        "saw-tooth of the curves, which is no property of a ratio."
    )


def norm_rows(flows: pd.DataFrame) -> pd.DataFrame:
    """The runs of each cell as a table to read: norms, flat phase, gap, with t intervals."""
    digits = {INITIAL: 2, "start": 1, TO_FLAT: 2, FLAT: 2, "gap": 1}
    names = ["initial norm", "flat from epoch", "mean norm until then", "flat level", "gap"]
    rows = []
    for (model, ratio, sparsity), part in flows.groupby(CELL, sort=False):
        row = {"network": model_label(model), "ratio": LABELS[ratio], "sparsity": f"{sparsity:g}"}
        for name, (column, places) in zip(names, digits.items(), strict=True):
            row[name] = _cell(part[column].dropna().tolist(), places)
        rows.append(row)
    return pd.DataFrame(rows)


def _cell(values: list[float], digits: int) -> str:
    return plus_minus(*mean_interval(values)[:3], digits=digits) if values else "–"


def correlation_rows(table: pd.DataFrame) -> pd.DataFrame:
    """`correlations` to read, a column a view: `−0.80 (−0.91 to −0.59), 33 cells`."""
    rows = {name: {"predictor": label} for name, label in PREDICTORS.items()}
    for row in table.to_dict("records"):
        text = f"{number(row['value'], 2)} ({_interval(row['low'], row['high'])}), {row['n']} cells"
        text = "–" if isnan(row["value"]) else text
        rows[row["predictor"]][VIEWS[row["view"]][0]] = text
    return pd.DataFrame(list(rows.values()))


def _interval(low: float, high: float) -> str:
    return "no interval" if isnan(low) else f"{number(low, 2)} to {number(high, 2)}"


def flat_rows(starts: pd.DataFrame) -> pd.DataFrame:
    """`flat_starts` to read, one row a cell: means over its runs, a dash where none is flat."""
    rows = []
    for (model, ratio, sparsity), part in starts.groupby(CELL, sort=False):
        row = {"network": model_label(model), "ratio": LABELS[ratio], "sparsity": f"{sparsity:g}"}
        for tolerance in TOLERANCES:
            row[f"flat from, {100 * tolerance:g} %"] = _cell(part[tolerance].dropna().tolist(), 1)
        row["lowest, below the level"] = f"{number(100 * part.dip.mean(), 0)} %"
        rows.append(row | {"at epoch": _cell(part.lowest.tolist(), 1)})
    return pd.DataFrame(rows)
