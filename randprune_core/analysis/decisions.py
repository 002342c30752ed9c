"""What decides each claim, written down before the first run that it judges.

A row of `DECISIONS` is one part of a claim: the networks, the sparsity, the difference that is
taken, the threshold that it is held against, and the numbers of seeds at which a verdict is taken.
`claims` computes what the rows say and nothing else. A positive value speaks for the claim; a part
whose threshold is negative asks for "no worse than this margin" (non-inferiority).

**Looks.** A look takes the seeds 0 to n − 1 of every cell of its part, and counts once all of them
are recorded. Between looks the verdict of the last complete one stands; a later look replaces it,
also where it takes a verdict back. Each is taken at 97.5 %, so that both together err in one
direction in at most 2.5 % of the parts whose true value is the threshold. A part with one look has
the same level.
**Two intervals.** The spread between seeds is pooled over the cells `pool(profile)`, which are the
same for every part, and those of the contrast itself, as far as they have the seeds of the look;
the other interval has the spread of the
contrast's own cells alone (Welch, Satterthwaite). A verdict needs both on the same side of the
threshold. Rank correlations have one interval, over cells.
**A claim** is supported if all its parts are, which needs no correction for their number; it is
contradicted if one part is, which in a claim of k parts errs up to k times as often.
**Images.** Every network is measured on the same test images, and for out-of-distribution detection
on the same foreign ones: a verdict speaks of other seeds, not of other images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..presentation.theme import LABELS
from .cells import MARGINS
from .contrasts import Cell, Decision, cell
from .gradient_flow import TOLERANCE

DATE = "2026-11-25"
"""When the rows were fixed: before the first run of profile `mini`."""
CONFIDENCE = 0.975
"""Of both intervals, at each look."""
TWO_LOOKS, ONE_LOOK = (3, 5), (3,)
"""Numbers of seeds. Parts that need more than dense and ERK have three seeds, hence one look."""
LARGE = {"mini": {"depth": 32, "width": 32}, "paper": {"depth": 56, "width": 24}}
"""The larger networks of claims 3, 6, 7 and 8 have this size at least. Weights for each training
image: 93 and more in `mini`, 14 and more in `paper`."""
SMALL_DEPTH = {"mini": 20, "paper": 32}
"""The small networks of claim 4 have this depth at most, and the standard width."""
UNDECIDABLE = {
    "quick": "profile quick trains for seconds on digits, which says nothing about the claim",
    "cpu": "profile cpu is too short to decide: its networks do not fit their training images",
}
"""Profiles that have no rows, and why."""
OUT_OF_REACH = {
    5: "that SNIP's ratio is better than ERK on ImageNet is cited only, as no run on ImageNet is "
    "recorded",
    11: "the paper's abstract says that it outperforms the dense one [T], the README of its code "
    "that it matches it [R]; both are cited only, as no run on ImageNet is recorded",
}
"""What the claims say of ImageNet, which no profile trains on."""

_DEPTHS = {"mini": ("resnet-8", "resnet-20", "resnet-32")}
_DEPTHS["paper"] = ("resnet-20", "resnet-32", "resnet-44", "resnet-56", "resnet-110")
_WIDTHS = {"mini": ("resnet-20-8", "resnet-20", "resnet-20-32")}
_WIDTHS["paper"] = ("resnet-20-8", "resnet-20", "resnet-20-24", "resnet-20-32")
_LARGE = {"mini": ("resnet-32", "resnet-20-32")}
_LARGE["paper"] = ("resnet-56", "resnet-110", "resnet-20-24", "resnet-20-32")
_SMALL = {"mini": ("resnet-8", "resnet-20"), "paper": ("resnet-20", "resnet-32")}
_RATIO_WIDTHS = {"mini": ("resnet-20", "resnet-20-32"), "paper": _WIDTHS["paper"]}
_CRITERIA = {"mini": (_SMALL["mini"], (0.9,))}  # where criteria and their own masks are run
_CRITERIA["paper"] = (("resnet-20", "resnet-56", "resnet-110"), (0.5, 0.9))
_HIGH = {"mini": (0.9,), "paper": (0.7, 0.8, 0.9)}
_BOTH = (0.5, 0.9)
_BETTER, _WORSE = ("erk", "snip"), ("uniform", "uniform_plus")


def pool(profile: str) -> tuple[Cell, ...]:
    """The cells whose spread between seeds is pooled: dense and ERK in the networks of 1 and 2."""
    networks = dict.fromkeys(_DEPTHS[profile] + _WIDTHS[profile])
    return tuple(
        cell(network, name, sparsity)
        for network in networks
        for name, sparsity in (("dense", 0.0), *(("erk", sparsity) for sparsity in _BOTH))
    )


# ---------------------------------------------------------------- the rows


def _size_and_gap(profile: str) -> list[Decision]:
    """Claims 1, 2 and 3."""
    accuracy = {"profile": profile, "metric": "accuracy", "unit": "points", "scale": 100.0}
    rows = []
    for claim, family, networks in ((1, "depth", _DEPTHS), (2, "width", _WIDTHS)):
        for sparsity in _BOTH:
            rows.append(
                Decision(
                    **accuracy | {"unit": f"points per doubling of the {family}"},
                    claim=claim,
                    part=f"sparsity {sparsity:g}",
                    networks=networks[profile],
                    sparsity=sparsity,
                    first=("dense",),
                    second=("erk",),
                    take=f"fall with {family}",
                )
            )
    largest = {"deepest": _DEPTHS[profile][-1], "widest": _WIDTHS[profile][-1]}
    for part, network in largest.items():
        rows.append(
            Decision(
                **accuracy,
                claim=3,
                part=part,
                networks=(network,),
                sparsity=0.5,
                first=("erk",),
                second=("dense",),
                threshold=-MARGINS["points"],
            )
        )
    return rows


def _ratios(profile: str) -> list[Decision]:
    """Claims 4 and 5."""
    points = {"profile": profile, "metric": "accuracy", "scale": 100.0, "looks": ONE_LOOK}
    rows = []
    for sparsity in _HIGH[profile]:
        for take, networks in (
            ("mean", _SMALL[profile]),
            ("fall with depth", _DEPTHS[profile]),
            ("fall with width", _RATIO_WIDTHS[profile]),
        ):
            family = take.split()[-1]
            rows.append(
                Decision(
                    **points,
                    claim=4,
                    part=f"{'small networks' if take == 'mean' else take}, {sparsity:g}",
                    unit="points" if take == "mean" else f"points per doubling of the {family}",
                    networks=networks,
                    sparsity=sparsity,
                    first=_BETTER,
                    second=_WORSE,
                    take=take,
                )
            )
    networks, sparsities = _CRITERIA[profile]
    for other in ("snip", "grasp", "snip:own", "grasp:own"):
        for sparsity in sparsities:
            rows.append(
                Decision(
                    **points,
                    claim=5,
                    part=f"{LABELS[other]}, {sparsity:g}",
                    unit="points",
                    networks=networks,
                    sparsity=sparsity,
                    first=("erk",),
                    second=(other,),
                    threshold=-MARGINS["points"],
                )
            )
    return rows


def _large_networks(profile: str) -> list[Decision]:
    """Claims 6, 7 and 8; of the calibration error less is better."""
    same = "the foreign images are the same on both sides, and the verdict is for these images"
    floor = "no verdict where no network is above chance by two binomial errors"
    rows = []
    for claim, metric, unit, scale, note in (
        (6, "ece", "ECE", 1.0, ""),
        (7, "ood.cifar100.auroc", "AUROC", 1.0, same),
        (8, "pgd.1.accuracy", "points", 100.0, floor),
    ):
        sides = (("dense",), ("erk",)) if claim == 6 else (("erk",), ("dense",))
        for sparsity in _BOTH:
            rows.append(
                Decision(
                    profile=profile,
                    claim=claim,
                    part=f"sparsity {sparsity:g}",
                    metric=metric,
                    unit=unit,
                    scale=scale,
                    networks=_LARGE[profile],
                    sparsity=sparsity,
                    first=sides[0],
                    second=sides[1],
                    threshold=-MARGINS[unit],
                    note=note,
                )
            )
    return rows


def _gradients(profile: str) -> list[Decision]:
    """Claims 9 and 10: the course of the norm in ERK networks, and rank correlations over cells.

    A rise and a fall must be larger than a flat phase may move: the largest of many noisy values
    lies above their mean by chance.
    """
    rise = (
        "a rise must show in the mean of a whole epoch before the flat phase, against the norm at "
        "initialisation; it is contradicted only if no recorded slice (a tenth of an epoch, later "
        "an epoch) shows it either, and what ends within the first slice cannot be seen; a run "
        "that never becomes flat leaves the part undecided"
    )
    fall = (
        "from the largest mean of a whole epoch before the flat phase to the level of that phase; "
        "a run that never becomes flat leaves the part undecided"
    )
    rows = []
    for part, note in (("rise", rise), ("fall", fall)):
        for sparsity in _BOTH:
            rows.append(
                Decision(
                    profile=profile,
                    claim=9,
                    part=f"{part}s, {sparsity:g}",
                    metric=f"gradient.{part}",
                    unit="doublings",
                    networks=_DEPTHS[profile],
                    sparsity=sparsity,
                    first=("erk",),
                    threshold=round(math.log2(1 + TOLERANCE), 3),
                    note=note,
                )
            )
    return [*rows, *_correlations(profile)]


def _correlations(profile: str) -> list[Decision]:
    networks = tuple(dict.fromkeys(_DEPTHS[profile] + _WIDTHS[profile]))
    compared = tuple(dict.fromkeys(_DEPTHS[profile] + _RATIO_WIDTHS[profile]))
    others = [
        cell(network, name, 0.9) for network in compared for name in _compared(profile, network)
    ]
    erk = [cell(network, "erk", sparsity) for network in networks for sparsity in _BOTH]
    every = tuple(dict.fromkeys([*erk, *others]))
    over = "an interval over cells, by Fisher's z, from means over the seeds; no second one"
    common = {"profile": profile, "looks": ONE_LOOK, "note": over}
    return [
        Decision(
            claim=9,
            part="orders ratios, 0.9",
            metric="gradient.flat",
            unit="of rank correlation",
            networks=compared,
            sparsity=0.9,
            listed=tuple(others),
            take="rank correlation of flat level and accuracy within networks",
            **common,
        ),
        Decision(
            claim=9,
            part="predicts better",
            metric="gradient.to_flat",
            unit="of rank correlation",
            networks=networks,
            listed=every,
            take="rank correlation with the gap to dense, above that of the initial norm",
            **common,
        ),
        Decision(
            claim=10,
            part="initial norm",
            metric="gradient.initial",
            unit="left unexplained",
            networks=networks,
            listed=every,
            take="share of the gap to dense that the initial norm leaves open",
            threshold=0.5,
            **common,
        ),
    ]


def _compared(profile: str, network: str) -> tuple[str, ...]:
    """The redrawn ratios of a network that are held against each other."""
    grasp = ("grasp",) if network in _CRITERIA[profile][0] else ()
    return ("erk", *_WORSE, "snip", *grasp)


def _rows(profiles: Sequence[str]) -> tuple[Decision, ...]:
    made = (_size_and_gap, _ratios, _large_networks, _gradients)
    return tuple(row for profile in profiles for make in made for row in make(profile))


DECISIONS = _rows(tuple(LARGE))
"""The table: every part of every claim that a profile can decide."""
