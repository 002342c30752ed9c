"""The part of the first page that is made from the records: the scorecard at a glance."""

from __future__ import annotations

import math
import re

import pandas as pd

from .. import paths
from ..analysis import claims
from ..analysis.parts import digits
from ..presentation import foreign
from ..presentation.words import number

_BADGES = {"supported": "success", "contradicted": "danger"}  # what is decided is filled
_BADGES |= {"undecided": "muted-line", "out of reach": "muted-line"}


_LONGER = {
    "doublings": "doublings of the norm",
    "left unexplained": "of the rank variance left unexplained",
}
"""Units that a card, which has no table around it, says in full."""


def scorecard() -> str:
    """Every claim in a few words with verdict and effect, as cards that lead to their chapters.

    MyST Markdown, from `scorecard.csv` and `scorecard_parts.csv` in `results/figures/`, which
    chapter 11 writes. ValueError for a file with anything in the place of a number or a verdict.
    """
    path = paths.FIGURES / "scorecard.csv"
    try:
        parts = pd.read_csv(paths.FIGURES / "scorecard_parts.csv")
        cards = [
            _card(row, claims.settled(parts, row["claim"]))
            for row in pd.read_csv(path).to_dict("records")
        ]
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise ValueError(
            f"{path}: not the scorecard of chapter 11 ({error!r}); run "
            "`python -m randprune_core notebook 11_scorecard`, which writes it again"
        ) from error
    head = "::::{grid} 2 2 3 3\n:gutter: 2\n:class-container: scorecard-glance\n"
    return "\n".join([head, *cards, "::::"])


def _card(row: dict, decided: str) -> str:
    claim, badge = int(row["claim"]), _BADGES[row["verdict"]]
    verdict = foreign.text(row["verdict"])
    label = claims.CHAPTERS[claim]
    runs = "1 run" if row["runs"] == 1 else f"{int(row['runs']):,}\u00a0runs"
    words = claims.TITLES[claim]
    return "\n".join(
        [
            ":::{grid-item-card}",
            f":link: {label}\n:link-type: ref\n:link-alt: Claim {claim}, {words}: {verdict}",
            f"\n{claim}\\. {words[0].upper()}{words[1:]}\n",
            f"{{bdg-{badge}}}`{verdict}` {runs}\n",
            _effect(row),
            *([f"{foreign.text(decided)}\n"] if decided else []),
            ":::",
        ]
    )


_HALF = 60  # half of the width of a bar, pixels


def _effect(row: dict) -> str:
    """The effect, the larger the more it speaks for the claim, in words and as a bar; or why none.

    In brackets stands the part of the claim that it is from.
    """
    effect, low, high, threshold = (
        float(row[name]) for name in ("effect", "low", "high", "threshold")
    )
    if not math.isfinite(effect):
        return "cited, not tested\n" if row["verdict"] == "out of reach" else "no effect yet\n"
    unit = foreign.text(_LONGER.get(row["unit"], row["unit"]))
    part = re.sub(r" (?=\d)", "\u00a0", foreign.text(row["part"]))  # "sparsity 0.5" on one line
    sign = "+" if effect > 0 else ""
    words = f"{sign}{number(effect, digits(row['unit']))} {unit} ({part})"
    if not math.isfinite(low) or not math.isfinite(high):
        return f"{words} ○\n"
    return f"{words}\n\n```{{raw}} html\n{_bar(effect, low, high, threshold)}\n```\n"


def _bar(effect: float, low: float, high: float, threshold: float) -> str:
    """An effect with its interval against its threshold, the upright line in the middle."""
    reach = max(abs(value - threshold) for value in (effect, low, high)) or 1.0

    def place(value: float) -> str:
        return f"{_HALF + (_HALF - 6) * (value - threshold) / reach:.1f}"

    drawn = f'<line class="threshold" x1="{_HALF}" x2="{_HALF}" y1="1" y2="13"/>'
    drawn += f'<line x1="{place(low)}" x2="{place(high)}" y1="7" y2="7"/>'
    side = "for" if effect > threshold else "against"
    size = f'viewBox="0 0 {2 * _HALF} 14" width="{2 * _HALF}" height="14"'
    return (
        f'<svg class="effect" role="img" aria-label="the effect speaks {side} the claim" {size}>'
        f'{drawn}<circle cx="{place(effect)}" cy="7" r="4"/></svg>'
    )
