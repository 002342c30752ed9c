"""What is said of the gradient norm: tables to read, and sentences computed from the records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan

import pandas as pd

from ..analysis.cells import CELL
from ..analysis.gradient_flow import FLAT, INITIAL, PEAK, TO_FLAT, TOLERANCE
from ..analysis.intervals import mean_interval
from ..presentation.theme import LABELS
from ..presentation.words import data_label, listing, model_label, number, plus_minus
from .gradient_flow import PREDICTORS, TOLERANCES, VIEWS, comparable
from .shared.gradient_curves import PAPER_SPARSITY
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


def drawn(records: Records, flows: pd.DataFrame, sparsity: float | None) -> str:
    """Which sparsity is drawn, the paper's beside it, and how much of it is recorded."""
    if sparsity is None:
        return f"Profile {records.profile} has no sparse run of this figure on record yet."
    cells = flows[flows.sparsity == sparsity].drop_duplicates(CELL)
    models: dict[str, list[str]] = {}  # the ratios that share their networks in one part
    for ratio, part in cells.groupby("ratio", sort=False):
        names = listing(model_label(model) for model in part.model)
        models.setdefault(names, []).append(LABELS[ratio])
    parts = [f"{listing(ratios)} for {names}" for names, ratios in models.items()]
    text = f"The records are drawn at sparsity {sparsity:g}: {'; '.join(parts)}."
    if sparsity == PAPER_SPARSITY:
        return f"{text} That is the sparsity of the paper's figure."
    return f"{text} The paper's figure is at {PAPER_SPARSITY:g}."


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


def shapes(records: Records, flows: pd.DataFrame, tolerance: float = TOLERANCE) -> str:
    """How many sparse curves of the grid rise first, fall from where they begin, and are flat."""
    sparse = flows[flows.ratio != "dense"]
    if sparse.empty:
        return f"Profile {records.profile} has no sparse run of this figure on record yet."
    flat = sparse[sparse.start.notna()]
    rises = flat[PEAK] > (1 + tolerance) * flat[INITIAL]
    top = flat[[PEAK, INITIAL]].max(axis=1)
    falls = top > (1 + tolerance) * flat[FLAT]
    text = (
        f"Of the {len(sparse)} sparse {'run' if len(sparse) == 1 else 'runs'} of this figure that "
        f"{'is' if len(sparse) == 1 else 'are'} recorded, {len(flat)} "
        f"{'has' if len(flat) == 1 else 'have'} a flat phase by the rule"
    )
    if flat.empty:
        return f"{text}."
    first, last = flat.start.min(), flat.start.max()
    when = f"at epoch {first:g}" if first == last else f"between epochs {first:g} and {last:g}"
    counts = [number or "none" for number in (rises.sum(), falls.sum(), (rises & falls).sum())]
    return (
        f"{text}, which begins {when}. Before it, {counts[0]} of them first rise by more than "
        f"{tolerance:.0%} above the norm at initialisation, and {counts[1]} fall by more than "
        f"that to the flat level; {counts[2]} do both.".replace("%", " %")
    )


def order(flows: pd.DataFrame) -> str:
    """Whether of ERK and SNIP ratio the one with the higher flat level is the more accurate."""
    cells = flows.groupby(CELL, sort=False)
    means = cells[["accuracy", FLAT]].mean().assign(n=cells.size()).reset_index()
    left, right = (means[means.ratio == ratio] for ratio in ("erk", "snip"))
    both = left.merge(right, on=["model", "sparsity"], suffixes=("", "_snip")).dropna()
    if both.empty:
        return "No network has both ERK and SNIP ratio at one sparsity, with flat phases."
    higher = both[FLAT] > both[f"{FLAT}_snip"]
    same = (higher == (both.accuracy > both.accuracy_snip)).sum()
    single = int((both[["n", "n_snip"]].min(axis=1) == 1).sum())
    which = "each" if single == len(both) else single
    alone = f" In {which} of them one side is one seed, which decides nothing." * bool(single)
    pairs = "pair" if len(both) == 1 else "pairs"
    return (
        f"Of ERK and SNIP ratio, the one with the higher flat level is the more accurate in {same} "
        f"of {len(both)} {pairs} of network and sparsity.{alone}"
    )
