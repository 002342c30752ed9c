"""The part of the first page that is made from the records: the scorecard at a glance."""

from __future__ import annotations

import pandas as pd

from .. import paths
from ..analysis import claims
from ..presentation import foreign

_BADGES = {"supported": "success", "contradicted": "danger", "undecided": "muted"}
_BADGES["out of reach"] = "muted"


def scorecard() -> str:
    """Every claim in a few words with its verdict, as cards that lead to their chapters.

    MyST Markdown, from `results/figures/scorecard.csv`, which chapter 14 writes. Of its cells only
    numbers and known verdicts are used; ValueError for a file with anything else in their place.
    """
    path = paths.FIGURES / "scorecard.csv"
    try:
        cards = [_card(row) for row in pd.read_csv(path).to_dict("records")]
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise ValueError(
            f"{path}: not the scorecard of chapter 14 ({error!r}); run "
            "`python -m randprune_core notebook 14_scorecard`, which writes it again"
        ) from error
    head = "::::{grid} 2 2 3 3\n:gutter: 2\n:class-container: scorecard-glance\n"
    return "\n".join([head, *cards, "::::"])


def _card(row: dict) -> str:
    claim, badge = int(row["claim"]), _BADGES[row["verdict"]]
    verdict = foreign.text(row["verdict"])
    label = claims.CHAPTERS.get(claim, "chapter-scorecard")
    runs = "1 run" if row["runs"] == 1 else f"{int(row['runs']):,} runs"
    words = claims.TITLES[claim]
    return "\n".join(
        [
            ":::{grid-item-card}",
            f":link: {label}\n:link-type: ref\n:link-alt: Claim {claim}, {words}: {verdict}",
            f"\n{claim}\\. {words[0].upper()}{words[1:]}\n",
            f"{{bdg-{badge}}}`{verdict}` {runs}\n:::",
        ]
    )
