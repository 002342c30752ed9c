"""What is said of the gradient norm: tables to read, and sentences computed from the records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan

import pandas as pd

from ..analysis.cells import CELL
from ..analysis.gradient_flow import FLAT, INITIAL, PEAK, TO_FLAT, TOLERANCE, flow_table
from ..analysis.intervals import mean_interval
from ..presentation.theme import LABELS
from ..presentation.words import data_label, listing, model_label, plus_minus
from .gradient_flow import PREDICTORS, comparable, correlations
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
    """`correlations` as a table to read: `−0.80 (−0.91 to −0.59), 33 runs`, a dash for none."""
    rows = []
    for row in table.to_dict("records"):
        out = {"predictor": PREDICTORS[row["predictor"]]}
        for name, count, title in (
            ("all", "n", "over all runs"),
            ("within", "n_within", "within networks"),
        ):
            value, *limits = [row[f"{name}{end}"] for end in ("", "_low", "_high")]
            known = f"{_signed(value)} ({_interval(*limits)})"
            out[title] = f"{'–' if isnan(value) else known}, {row[count]} runs"
        rows.append(out)
    return pd.DataFrame(rows)


def _signed(value: float) -> str:
    return plus_minus(value, digits=2)


def _interval(low: float, high: float) -> str:
    return "no interval" if isnan(low) else f"{_signed(low)} to {_signed(high)}"


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


def sensitivity(found: Sequence[Mapping], low: float = 0.1, high: float = 0.2) -> str:
    """What another tolerance does to the rule: flat curves and where they begin, in the median."""
    parts = []
    for tolerance in (low, TOLERANCE, high):
        flows = comparable(flow_table(found, tolerance))
        if flows.empty:
            return ""
        epoch = f"{flows.start.median():.1f}"
        parts.append(f"at epoch {epoch} with {100 * tolerance:g} % ({len(flows)} runs)")
    return (
        "The tolerance is a choice. Of all sparse runs of the profile that have a flat phase, it "
        f"begins in the median {listing(parts)}."
    )


def finding(records: Records, flows: pd.DataFrame) -> str:
    """The three rank correlations with the gap in words, over all runs and within networks."""
    used = comparable(flows)
    left_out = (flows.ratio != "dense").sum() - len(used)
    where = f"profile {records.profile}, {data_label(records.configs[0])}"
    table = correlations(flows).set_index("predictor")
    if table["all"].isna().all():
        return (
            f"{len(used)} sparse runs with a flat phase and a dense network are recorded "
            f"({where}): too few, or too much alike, for a rank correlation."
        )
    without = f"; {left_out} more lack a flat phase or a dense network" if left_out else ""
    sentences = [
        f"Over {len(used)} sparse runs ({where}{without}) the rank correlation with the gap to "
        f"dense is {_values(table, 'all')} (in brackets 95 % intervals)."
    ]
    if table.within.notna().any():
        sentences.append(f"Within networks it is {_values(table, 'within')}.")
    sentences.append(
        "Where an interval holds zero, or there is none, not even the sign is decided."
    )
    if used.groupby(CELL).size().max() == 1:
        sentences.append("With one seed a cell, none of this is decided.")
    return " ".join(sentences)


def _values(table: pd.DataFrame, column: str) -> str:
    known = table[table[column].notna()]
    return listing(
        f"{_signed(row[column])} ({_interval(row[f'{column}_low'], row[f'{column}_high'])}) "
        f"for the {PREDICTORS[name]}"
        for name, row in known.iterrows()
    )
