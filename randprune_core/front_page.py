"""The part of the first page that is made from the records: the scorecard at a glance."""

from __future__ import annotations

import pandas as pd

from . import paths
from .reference import constant

_SCORECARD = "chapters.scorecard"
_BADGES = {"supported": "success", "contradicted": "danger", "undecided": "muted"}
_BADGES["out of reach"] = "muted"


def scorecard() -> str:
    """Every claim in a few words with its verdict, as cards that lead to their chapters.

    MyST Markdown, from `results/figures/scorecard.csv`, which chapter 14 writes.
    """
    verdicts = pd.read_csv(paths.FIGURES / "scorecard.csv")
    cards = [_card(row) for row in verdicts.to_dict("records")]
    head = "::::{grid} 2 2 3 3\n:gutter: 2\n:class-container: scorecard-glance\n"
    return "\n".join([head, *cards, "::::"])


def _card(row: dict) -> str:
    claim, verdict = int(row["claim"]), row["verdict"]
    label = constant(_SCORECARD, "CHAPTERS").get(claim, "chapter-scorecard")
    runs = "1 run" if row["runs"] == 1 else f"{int(row['runs']):,} runs"
    words = constant(_SCORECARD, "TITLES")[claim]
    return "\n".join(
        [
            ":::{grid-item-card}",
            f":link: {label}\n:link-type: ref\n:link-alt: Claim {claim}, {words}: {verdict}",
            f"\n{claim}\\. {words[0].upper()}{words[1:]}\n",
            f"{{bdg-{_BADGES[verdict]}}}`{verdict}` {runs}\n:::",
        ]
    )
