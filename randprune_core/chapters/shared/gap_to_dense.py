"""What the gap to the dense network does with the size of a network, in a table and in sentences.

The sentences of a chapter are computed from its records, so that none outlives them.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ...analysis.cells import gap_change, gap_to_dense
from ...presentation.theme import LABELS
from ...presentation.words import data_label, listing, model_label, plus_minus
from .records import Records


def direction_table(changes: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Changes of the gap by source, as a table to read (see `cells.gap_change`)."""
    rows = []
    for source, frame in changes.items():
        for row in frame.sort_values("sparsity", kind="stable").to_dict("records"):
            ends = [model_label(row[end]).removeprefix("ResNet-") for end in ("first", "last")]
            limits = (row["change"], row["low"], row["high"])
            rows.append(
                {
                    "source": f"{source}, {ends[0]} to {ends[1]}",
                    "sparsity": f"{row['sparsity']:g}",
                    "ratio": LABELS[row["ratio"]],
                    "first gap": plus_minus(row["first_gap"]),
                    "last gap": plus_minus(row["last_gap"]),
                    "change": plus_minus(*limits).replace(" ", "\u00a0"),  # one line in its cell
                }
            )
    return pd.DataFrame(rows)


def gap_finding(records: Records, ratio: str = "erk") -> str:
    """Dense minus `ratio` at the highest sparsity that has two models, and its change.

    Says what is lacking where the records allow no such sentence. What decides is in `verdicts`.
    """
    gaps, changes = gap_to_dense(records.runs), gap_change(records.runs)
    changes = changes[changes.ratio == ratio]
    if changes.empty:
        return (
            f"The records allow no statement on size yet: profile {records.profile} has no two "
            f"models with dense and {LABELS[ratio]} runs at one sparsity."
        )
    last = changes.iloc[-1]
    source = f"profile {records.profile}, {data_label(records.configs[0])}"
    shown = gaps[(gaps.ratio == ratio) & (gaps.sparsity == last.sparsity)]
    alone = (" (one seed)" if last.n > 1 and n == 1 else "" for n in shown.n)
    values = listing(plus_minus(gap) + note for gap, note in zip(shown.gap, alone, strict=True))
    models = listing(model_label(model) for model in shown.model)
    change = plus_minus(last.change, last.low, last.high)
    seeds = "one seed" if last.n == 1 else f"95 % interval over {last.n} seeds"
    return (
        f"At sparsity {last.sparsity:g}, dense minus {LABELS[ratio]} is {values} points of test "
        f"accuracy for {models}: from {model_label(last['first'])} to {model_label(last['last'])} "
        f"it changes by {change} ({seeds}; {source})."
    )


def gains(
    points: pd.DataFrame, ratio: str, sparsity: float, first: str, last: str, start: str = "From"
) -> str:
    """What dense and sparse each gain from one model to another, which is what moves the gap."""
    means = points.set_index(["model", "ratio", "sparsity"])["mean"]
    steps = [
        plus_minus(means[last, which, level] - means[first, which, level], digits=2)
        for which, level in (("dense", 0.0), (ratio, sparsity))
    ]
    dense, sparse = (step if step.startswith("−") else f"+{step}" for step in steps)
    return (
        f"{start} {model_label(first)} to {model_label(last)} the dense network changes by {dense} "
        f"points and {LABELS[ratio]} at sparsity {sparsity:g} by {sparse}."
    )


def gains_of(points: pd.DataFrame, changes: pd.DataFrame, ratio: str = "erk") -> str:
    """`gains` at the highest sparsity of `changes` (`cells.gap_change`); "" without any.

    What they add up to stands at the end, with its interval and the fewest seeds of a cell.
    """
    found = changes[changes.ratio == ratio]
    if found.empty:
        return ""
    last = found.iloc[-1]
    text = gains(points, ratio, last.sparsity, last["first"], last["last"], "Here, from")
    seeds = "one seed" if last.n == 1 else f"{last.n} seeds"
    change = plus_minus(last.change, last.low, last.high)
    return f"{text.removesuffix('.')}: the gap changes by {change} points ({seeds})."


def agreement(ours: pd.DataFrame, published: pd.DataFrame) -> str:
    """In how many ratios and sparsities the gap is smaller in the last model: ours, and theirs.

    Both are `cells.gap_change`; the published ones are counted where ours has the same ratio
    and sparsity.
    """
    if ours.empty:
        return ""
    both = ours.merge(published, on=["ratio", "sparsity"], suffixes=("", "_paper"))
    levels = listing(f"{sparsity:g}" for sparsity in ours.sparsity.unique())
    single = (ours.n == 1).sum()
    alone = f"; one seed in {single} of them" if single else ""
    first, last = ours[["first", "last"]].iloc[0].map(model_label)
    text = (
        f"Here the gap of {last} is smaller than that of {first} in {(ours.change < 0).sum()} of "
        f"{len(ours)} pairs of ratio and sparsity (sparsity {levels}{alone})."
    )
    if both.empty:
        return text
    theirs = both[["first_paper", "last_paper"]].iloc[0].map(model_label)
    same = int(((both.change < 0) == (both.change_paper < 0)).sum())
    return (
        f"{text} In the paper, between {theirs.iloc[0]} and {theirs.iloc[1]}, it is smaller in "
        f"{(both.change_paper < 0).sum()} of the {len(both)} pairs that the paper shows too. The "
        f"two point the same way in {same} of {len(both)}."
    )


def panels(gaps: pd.DataFrame, fixed: float = 0.5, most: int = 2) -> list[float]:
    """Sparsities worth a panel: one that the paper's claim names, and the highest recorded."""
    recorded = sorted(gaps.sparsity.unique()) or [0.8, 0.9]
    return sorted({fixed, *recorded[-most:]})
