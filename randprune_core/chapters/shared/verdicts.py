"""What the claims say, as every chapter shows it: the parts of `claims` for its profile and data.

A chapter takes them here, whatever its own grid is, so that it cannot show another verdict than
the scorecard.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

import pandas as pd

from ...analysis.claim_runs import recorded_runs
from ...analysis.claims import STATEMENTS, judge, together
from ...analysis.contrasts import Decision
from ...analysis.decisions import DATE, DECISIONS
from ...analysis.intervals import Estimate
from ...analysis.parts import NOTHING, Part
from ...presentation import foreign
from ...presentation.theme import LABELS
from ...presentation.words import listing, model_label, number
from .records import Records
from .tables import show_table


def of(records: Records, *claims: int) -> tuple[Part, ...]:
    """The parts of some claims, of all without any, for profile and data of a chapter's records."""
    claims = claims or tuple(STATEMENTS)
    runs = recorded_runs(records.profile, records.variant, claims)
    return judge(runs, records.profile, claims)


METRICS = {
    "accuracy": "accuracy",
    "ece": "calibration error (ECE)",
    "ood.cifar100.auroc": "AUROC against CIFAR-100",
    "pgd.1.accuracy": "accuracy under PGD at 1/255",
    "gradient.rise": "rise of the gradient norm",
    "gradient.fall": "fall of the gradient norm",
    "gradient.flat": "gradient norm in the flat phase",
    "gradient.to_flat": "mean gradient norm up to the flat phase",
    "gradient.initial": "gradient norm at the start",
}
"""The columns of the runs that decide, in words."""


def table(parts: Sequence[Part]) -> pd.DataFrame:
    """The parts to read: effect, both intervals, threshold, runs with their look, and verdict."""
    rows = []
    for part in parts:
        both = dict.fromkeys(
            _interval(part, found) for found in (part.estimate, part.own or NOTHING)
        )
        look = f", {part.seeds} seeds" if part.seeds else ""
        would = f" ({part.needed} seeds would decide)" if part.needed else ""
        rows.append(
            {
                "claim": _name(part),
                "effect": _effect(part),
                "97.5 % intervals": "; ".join(found for found in both if found != "–") or "–",
                "supported if": _bound(part),
                "runs": f"{len(part.runs)}{look}",
                "verdict": f"{part.verdict}{would}",
            }
        )
    return pd.DataFrame(rows)


def _name(part: Part) -> str:
    return f"{part.claim}, {part.part}" if part.part else str(part.claim)


def _effect(part: Part) -> str:
    value = part.estimate.value
    return "–" if isnan(value) else f"{number(value, part.digits)}\u00a0{part.unit}"


def _bound(part: Part) -> str:
    return f"above\u00a0{number(part.threshold)}" if part.unit else "–"


def _interval(part: Part, found: Estimate) -> str:
    if isnan(found.low):
        return "–"
    return f"{number(found.low, part.digits)} to {number(found.high, part.digits)}".replace(
        " ", "\u00a0"
    )


def _held_back(part: Part) -> bool:
    """Whether the second interval alone keeps a verdict back."""
    first, second = part.estimate, part.own or NOTHING
    decides = first.low > part.threshold or first.high < part.threshold
    return decides and part.verdict == "undecided" and not isnan(second.low)


def _intervals(part: Part) -> str:
    """The first interval, and the second where that alone keeps a verdict back."""
    shown = [part.estimate, part.own] if _held_back(part) else [part.estimate]
    return "; and ".join(_interval(part, found) for found in shown)


def verdict(parts: Sequence[Part], claim: int) -> str:
    """What the parts of a claim say together."""
    return together(part.verdict for part in parts if part.claim == claim)


def brief(parts: Sequence[Part], of: str = "") -> str:
    """The measured parts as a small Markdown table below a line that says what it is.

    `of` is a sentence that says what the effects are of. A part that has no effect yet is counted
    in that line and has no row; "" where none has one. A phone shows the first five columns
    (book.css).
    """
    parts = [part for part in parts if part.kind == "measured" and part.unit]
    measured = [part for part in parts if not isnan(part.estimate.value)]
    if not measured:
        return ""
    rows = [
        {
            "claim": _name(part),
            "verdict": part.verdict,
            "effect": _effect(part),
            "97.5 % interval": _intervals(part),
            "supported if": _bound(part),
            "runs": len(part.runs),
        }
        for part in measured
    ]
    lead = "What decides; a larger effect speaks more for the claim"
    if lacking := len(parts) - len(measured):
        lead += f"; {lacking} part{'s' * (lacking > 1)} cannot be told yet"
    lead = f"{lead}. {of}".rstrip()
    if any(map(_held_back, measured)):
        lead += " A second interval stands where it keeps a verdict back."
    return f"{lead}\n\n{foreign.rows(pd.DataFrame(rows))}"


def show(name: str, parts: Sequence[Part]):
    """The table `tab-NAME-verdict` of parts, opened with a click."""
    shown = show_table(
        table(parts),
        f"tab-{name}-verdict",
        "What decides, as it was fixed beforehand: the effect, which speaks the more for the claim"
        " the larger it is, with two 97.5 % intervals, the first from the spread pooled over many "
        "cells, the second from that of its own (one, over cells, for a rank correlation). A "
        "verdict needs both on one side of the threshold. A look is where all networks of a part "
        "have 3 seeds, or 5: the seeds of the look stand beside the runs, and beside the verdict "
        "how many would decide if effect and spread stay what they are. Where no number stands "
        "beside an undecided part, a hundred would not, or more seeds would not help: the interval "
        "of a rank correlation is over cells.",
    )
    return folded("Every part of every claim, with both intervals", shown.data)


def decision_table(profile: str) -> pd.DataFrame:
    """The rows of the table of decisions for a profile, to read."""
    rows = [
        {
            "claim": f"{row.claim}, {row.part}",
            "what is compared": f"{METRICS[row.metric]}, {_taken(row)}",
            "networks": ", ".join(_unbroken(network) for network in row.networks),
            "sparsity": "0.5, 0.9" if row.sparsity is None else f"{row.sparsity:g}",
            "threshold": number(row.threshold),
            "seeds": ", ".join(str(look) for look in row.looks),
        }
        for row in DECISIONS
        if row.profile == profile
    ]
    return pd.DataFrame(rows)


def _unbroken(network: str) -> str:
    """The name of a network with hyphens at which no line ends."""
    return model_label(network).replace("-", "\u2011")


def _taken(row: Decision) -> str:
    if row.listed:
        return row.take
    sides = [listing(LABELS[name] for name in side) for side in (row.first, row.second) if side]
    how = "mean" if row.take == "mean" else f"{row.take}, per doubling"
    return f"{' − '.join(sides)}: {how}"


def show_decisions(profile: str):
    """The table `tab-scorecard-decisions` with its date, of `mini` where the profile has none.

    Below it stands what the notes of the rows say. All of it opens with a click.
    """
    profile = profile if any(row.profile == profile for row in DECISIONS) else "mini"
    shown = show_table(
        decision_table(profile),
        "tab-scorecard-decisions",
        f"What decides in profile {profile}, as it was fixed on {DATE}, before the first run of "
        "profile mini: every part of every claim but for the two on ImageNet, at 97.5 % for each "
        "look, which is at so many seeds of each network.",
    )
    notes: dict[str, list[str]] = {}
    for row in (row for row in DECISIONS if row.profile == profile and row.note):
        notes.setdefault(row.note, []).append(f"{row.claim} ({row.part})")
    lines = [f"- Claim {listing(parts)}: {note}." for note, parts in notes.items()]
    return folded(f"The table of decisions, fixed on {DATE}", shown.data, "", *lines)


def folded(title: str, *lines: str):
    """Markdown that opens with a click on its title."""
    from IPython.display import Markdown

    return Markdown(
        "\n".join([f"::::{{admonition}} {title}", ":class: dropdown", "", *lines, "::::"])
    )
