"""The paper's eleven claims, and what records say of them: supported, contradicted or undecided.

`parts(runs)` tests each claim in its parts (see `claim_tests`), `verdicts(runs)` joins the parts:
a claim is supported if all its measured parts are, contradicted if one of them is, else undecided.
Every effect is oriented so that a positive value speaks for the claim. Pure functions of one
DataFrame, whose runs are of one profile and one copy of the data.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import replace

import pandas as pd

from .claim_tests import TESTS
from .comparisons import Part

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
CITED = {
    5: "that SNIP's ratio is better than ERK on ImageNet is cited only, as no run on ImageNet is "
    "recorded",
    11: "the paper's abstract says that it outperforms the dense one [T], the README of its code "
    "that it matches it [R]; both are cited only, as no run on ImageNet is recorded",
}
"""What is said of ImageNet, which no record can test."""
PART_COLUMNS = ["claim", "part", "verdict", "effect", "low", "high", "runs"]
PART_COLUMNS += ["threshold", "unit", "kind", "why"]
COLUMNS = ["claim", "statement", *PART_COLUMNS[2:], "part"]
_PROTOCOL = ("dataset", "variant", "epochs", "train_images", "batch_size", "precision")
_STATIC = {"granularity": "unstructured", "method": "static", "when": "before"}


def verdicts(runs: pd.DataFrame, only: Collection[int] = tuple(STATEMENTS)) -> pd.DataFrame:
    """One row a claim: what the records say of it.

    Columns `claim` (1 to 11), `statement`, `verdict`; `effect`, `low`, `high` and `threshold` (in
    `unit`) of the part that decides, which is named in `part` and put in words in `why`; `runs`,
    the number of runs behind all its parts; `kind`, `measured` or `cited`. The deciding part is
    the one of that verdict whose estimate is lowest against its threshold, in half-widths. `only`
    names the claims to test. `runs` is as for `parts`, and so are the errors.
    """
    rows, tested = [], _test(runs, only)
    for claim in sorted(only):
        mine = [part for part in tested if part.claim == claim]
        measured = [part for part in mine if part.kind == "measured"] or mine
        verdict = together(part.verdict for part in measured)
        deciding = min((part for part in measured if part.verdict == verdict), key=_standing)
        count = len(frozenset().union(*(part.runs for part in mine)))
        rows.append(deciding.row() | {"statement": STATEMENTS[claim], "runs": count})
    return pd.DataFrame(rows)[COLUMNS]


def parts(runs: pd.DataFrame, only: Collection[int] = tuple(STATEMENTS)) -> pd.DataFrame:
    """One row a comparison, one or more a claim; columns as in `verdicts`.

    `runs` is as `table.load_runs` gives it, of one profile and variant, in any order; claims 9 and
    10 also need the columns `gradient_claims.GRADIENT`. What is absent is undecided, and `why` says
    what it is. Networks pruned otherwise than in the paper (filters, SET, after training, ...) are
    left out. `only` names the claims to test. Raises ValueError where the runs are of several
    profiles or copies of the data.
    """
    return pd.DataFrame([part.row() for part in _test(runs, only)])[PART_COLUMNS]


def together(found: Iterable[str]) -> str:
    """The verdict on a claim from those on its parts."""
    found = set(found)
    if "contradicted" in found:
        return "contradicted"
    return "supported" if found == {"supported"} else "undecided"


def _test(runs: pd.DataFrame, only: Collection[int]) -> list[Part]:
    for name in _PROTOCOL:
        if name in runs and runs[name].nunique(dropna=False) > 1:
            found = " and ".join(sorted(str(value) for value in runs[name].unique()))
            raise ValueError(f"the runs mix {name} {found}: give those of one profile and variant")
    for name, value in _STATIC.items():
        runs = runs[runs[name] == value] if name in runs else runs
    tests = [test for claims, test in TESTS.items() if not set(only).isdisjoint(claims)]
    found = [part for test in tests for part in test(runs)]
    if "dataset" in runs and (runs.dataset == "digits").any():
        reason = "a run on digits says nothing about the claim"
        found = [part if part.lacking else replace(part, lacking=reason) for part in found]
    found += [Part(claim, "ImageNet", kind="cited", lacking=why) for claim, why in CITED.items()]
    return sorted((part for part in found if part.claim in only), key=lambda part: part.claim)


def _standing(part: Part) -> float:
    """How far the estimate lies above the threshold, in half-widths; what has none comes last."""
    value, low, high, _ = part.estimate
    if math.isnan(value):
        return math.inf
    return (value - part.threshold) / (high - low) * 2 if high > low else 1e9 + value
