"""The paper's eleven claims, and what records say of them.

`judge(runs, profile)` makes one `Part` for each row of the table of `decisions`; nothing else in
the project computes a verdict. `parts` and `verdicts` are tables of these objects: a claim is
supported if all its measured parts are, contradicted if one of them is, else undecided, and out of
reach where it has no part that can be measured. Every effect is oriented so that a positive value
speaks for the claim. Pure functions of one DataFrame, whose runs are of one profile and one copy of
the data.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence

import pandas as pd

from .claim_tests import part_of
from .decisions import DECISIONS, LARGE, OUT_OF_REACH, UNDECIDABLE
from .parts import COLUMNS as PART_COLUMNS
from .parts import Part

STATEMENTS = {
    1: "The gap between dense and ERK shrinks with depth, at sparsity 0.5 and at 0.9",
    2: "The gap between dense and ERK shrinks with width, at sparsity 0.5 and at 0.9",
    3: "A deep or wide enough network matches dense up to sparsity 0.5",
    4: "The ratio matters in small networks from sparsity 0.7 on, and less as they grow",
    5: "On CIFAR-10 random pruning with ERK is as good as SNIP and GraSP",
    6: "In larger networks the calibration error is no worse than that of dense",
    7: "In larger networks out-of-distribution detection is no worse than that of dense",
    8: "In larger networks adversarial accuracy is no worse than that of dense",
    9: "The gradient norm rises, falls and stays flat, and its course says more than its start",
    10: "The gradient norm at the start alone does not explain accuracy",
    11: "A randomly pruned Wide ResNet-50-2 reaches the dense one on ImageNet",
}
CHAPTERS = {
    1: "chapter-depth",
    2: "chapter-width",
    3: "chapter-depth",
    4: "chapter-methods",
    5: "chapter-methods",
    6: "chapter-calibration",
    7: "chapter-ood",
    8: "chapter-robustness",
    9: "chapter-gradient-flow",
    10: "chapter-gradient-flow",
    11: "chapter-imagenet",
}
"""Label of the chapter that shows what a claim is about."""
TITLES = {
    1: "gap shrinks with depth",
    2: "gap shrinks with width",
    3: "large networks match dense",
    4: "ratio matters less with size",
    5: "ERK as good as SNIP, GraSP",
    6: "calibration no worse",
    7: "out-of-distribution no worse",
    8: "adversarial no worse",
    9: "gradient norm and accuracy",
    10: "initial norm explains little",
    11: "Wide ResNet-50-2, ImageNet",
}
"""A claim in the few words that fit on a card or above its rows in a picture."""
COLUMNS = ["claim", "statement", *PART_COLUMNS[2:], "part"]
_PROTOCOL = ("dataset", "variant", "image_size", "epochs", "train_images", "batch_size")
_PROTOCOL += ("precision",)


def judge(
    runs: pd.DataFrame, profile: str, only: Collection[int] = tuple(STATEMENTS)
) -> tuple[Part, ...]:
    """Every part of the claims `only`, in the order of the table.

    `runs` is as `table.load_runs` gives it, of one profile and variant, in any order; claims 9 and
    10 also need the columns `gradient_flow.CLAIMED`. What is absent is undecided, and the part
    says what it is. Raises ValueError where the runs are of several profiles or copies of the data,
    or one cell and seed has two.
    """
    for name in _PROTOCOL:
        if name in runs and runs[name].nunique(dropna=False) > 1:
            found = " and ".join(sorted(str(value) for value in runs[name].unique()))
            raise ValueError(f"the runs mix {name} {found}: give those of one profile and variant")
    rows = [row for row in DECISIONS if row.profile == profile and row.claim in only]
    found = [part_of(row, runs) for row in rows]
    if profile not in LARGE:
        why = UNDECIDABLE.get(profile, f"profile {profile} has no table of decisions")
        found = [Part(claim, "", lacking=why) for claim in STATEMENTS if claim != 11]
    found += [
        Part(claim, "ImageNet", kind="cited", lacking=why) for claim, why in OUT_OF_REACH.items()
    ]
    return tuple(sorted((p for p in found if p.claim in only), key=lambda part: part.claim))


def parts(found: Sequence[Part]) -> pd.DataFrame:
    """The parts as a table, a row each, with the columns `PART_COLUMNS`."""
    return pd.DataFrame([part.row() for part in found], columns=PART_COLUMNS)


def verdicts(found: Sequence[Part]) -> pd.DataFrame:
    """One row a claim: its verdict, and the numbers of the part that decides.

    Columns `claim` (1 to 11), `statement`, `verdict`, `runs` (how many all its parts rest on), the
    other columns of `parts` from the deciding part, and its name in `part`. The deciding part is
    the one of that verdict whose estimate is lowest against its threshold, in half-widths.
    """
    rows = []
    for claim in dict.fromkeys(part.claim for part in found):
        mine = [part for part in found if part.claim == claim]
        verdict = together(part.verdict for part in mine)
        measured = [part for part in mine if part.kind == "measured"] or mine
        deciding = min((part for part in measured if part.verdict == verdict), key=_standing)
        count = len(frozenset().union(*(part.runs for part in mine)))
        rows.append(deciding.row() | {"statement": STATEMENTS[claim], "runs": count})
    return pd.DataFrame(rows, columns=COLUMNS)


def together(found: Iterable[str]) -> str:
    """The verdict on a claim from those of its parts; one out of reach holds nothing back."""
    words = set(found) - {"out of reach"}
    if not words:
        return "out of reach"
    if "contradicted" in words:
        return "contradicted"
    return "supported" if words == {"supported"} else "undecided"


def settled(found: pd.DataFrame, claim: int) -> str:
    """The parts of an undecided claim that are decided, each with its verdict; "" for others.

    `found` is as `parts` gives it.
    """
    mine = found[found.claim == claim]
    if together(mine.verdict) != "undecided":
        return ""
    decided = mine[mine.verdict.isin(("supported", "contradicted"))]
    return "; ".join(f"{row.part}: {row.verdict}" for row in decided.itertuples())


def _standing(part: Part) -> float:
    """How far the estimate lies above the threshold, in half-widths; what has none comes last."""
    value, low, high, _ = part.estimate
    if math.isnan(value):
        return math.inf
    return (value - part.threshold) / (high - low) * 2 if high > low else 1e9 + value
