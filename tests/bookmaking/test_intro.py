"""The scorecard of the first page: verdict, effect and its bar, from the file of chapter 11."""

import re

import pandas as pd
import pytest

from randprune_core import paths
from randprune_core.analysis.intervals import VERDICTS
from randprune_core.bookmaking import intro

ROW = {"claim": 1, "verdict": "undecided", "runs": 9, "threshold": 0.0}
ROW |= {"effect": 0.55, "low": None, "high": None, "unit": "points per doubling of the depth"}
ROW |= {"part": "sparsity 0.5"}


@pytest.fixture
def card(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "FIGURES", tmp_path)

    def made(others=(), **changes) -> str:
        row = ROW | changes
        parts = [row, *({"claim": row["claim"]} | other for other in others)]
        pd.DataFrame([row]).to_csv(tmp_path / "scorecard.csv", index=False)
        pd.DataFrame(parts).to_csv(tmp_path / "scorecard_parts.csv", index=False)
        return intro.scorecard()

    return made


def test_one_seed_has_its_mark_and_no_bar(card):
    text = card()
    assert (
        "+0.55 points per doubling of the depth (sparsity\u00a00.5) ○" in text
        and "<svg" not in text
    )


def test_an_interval_is_a_bar_about_the_threshold_in_the_middle(card):
    text = card(effect=-0.01, low=-0.03, high=0.01, threshold=-0.005, unit="ECE", claim=6)
    assert "−0.0100 ECE" in text and "○" not in text
    assert 'class="threshold" x1="60" x2="60"' in text
    assert 'x1="6.0" x2="92.4"' in text and 'cx="49.2"' in text


@pytest.mark.parametrize(
    ("verdict", "words"),
    [("undecided", "no effect yet"), ("out of reach", "cited, not tested")],
)
def test_a_tile_without_an_effect_says_so(card, verdict, words):
    text = card(effect=None, verdict=verdict)
    assert "○" not in text and "<svg" not in text
    assert re.search(rf"`{verdict}` 9\u00a0runs\n\n{words}\n\n:::", text)


@pytest.mark.parametrize("verdict", VERDICTS)
def test_the_badge_of_a_decided_claim_is_filled_and_any_other_outlined(card, verdict):
    (badge,) = re.findall(r"\{bdg-([\w-]+)\}", card(verdict=verdict))
    assert badge.endswith("-line") == (verdict not in ("supported", "contradicted"))


def test_a_decided_part_stands_on_the_card_of_an_undecided_claim_only(card):
    others = [{"part": "sparsity 0.9", "verdict": "supported"}]
    assert "\n\nsparsity 0.9: supported\n" in card(others)
    assert "sparsity 0.9" not in card(others, verdict="contradicted")
    assert "sparsity 0.9" not in card([{"part": "sparsity 0.9", "verdict": "undecided"}])


def test_the_card_of_imagenet_leads_to_its_chapter(card):
    assert ":link: chapter-imagenet\n" in card(claim=11, verdict="out of reach", effect=None)


@pytest.mark.parametrize("changes", [{"verdict": "<b>"}, {"effect": "many"}, {"claim": 99}])
def test_a_file_with_anything_else_is_refused(card, changes):
    with pytest.raises(ValueError, match="not the scorecard of chapter 11"):
        card(**changes)
