"""Out-of-distribution metrics against scikit-learn, DeLong by pairs and values by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from randprune_core.metrics.ood import (
    auroc_standard_error,
    average_precision,
    energy,
    fpr_at_95_tpr,
    max_softmax,
    ood_auroc,
    roc_curve,
    score_histogram,
)

# Few distinct values, so that most draws hold ties within and across the sides.
tied_scores = st.lists(st.integers(-3, 3).map(float), min_size=2, max_size=30)


class TestScores:
    def test_perfect_reversed_and_tied_scores(self):
        assert ood_auroc([2.0, 3.0], [0.0, 1.0]) == 1.0
        assert ood_auroc([0.0, 1.0], [2.0, 3.0]) == 0.0
        assert ood_auroc([1.0, 1.0], [1.0, 1.0, 1.0]) == 0.5

    @given(tied_scores, tied_scores)
    @settings(max_examples=100, deadline=None)
    def test_auroc_equals_scikit_learn_with_ties(self, inside, outside):
        labels = [1] * len(inside) + [0] * len(outside)
        expected = sklearn_metrics.roc_auc_score(labels, inside + outside)
        assert ood_auroc(inside, outside) == pytest.approx(expected, abs=1e-12)
        assert ood_auroc(torch.tensor(inside), np.array(outside)) == ood_auroc(inside, outside)

    @given(tied_scores, tied_scores)
    @settings(max_examples=100, deadline=None)
    def test_average_precision_equals_scikit_learn_with_either_side_positive(self, inside, outside):
        labels = np.array([1] * len(inside) + [0] * len(outside))
        scores = np.array(inside + outside)
        known = sklearn_metrics.average_precision_score(labels, scores)
        assert average_precision(inside, outside) == pytest.approx(known, abs=1e-12)
        other = sklearn_metrics.average_precision_score(1 - labels, -scores)
        turned = average_precision([-s for s in outside], [-s for s in inside])
        assert turned == pytest.approx(other, abs=1e-12)

    @given(tied_scores, tied_scores)
    @settings(max_examples=100, deadline=None)
    def test_standard_error_equals_delong_by_pairs(self, inside, outside):
        i, o = np.array(inside)[:, None], np.array(outside)[None, :]
        wins = (i > o) + 0.5 * (i == o)
        variance = wins.mean(1).var(ddof=1) / len(inside) + wins.mean(0).var(ddof=1) / len(outside)
        assert auroc_standard_error(inside, outside) == pytest.approx(variance**0.5, abs=1e-12)

    def test_standard_error_equals_the_spread_over_redrawn_samples(self):
        rng = np.random.default_rng(0)
        draws = [(rng.normal(1, 1, 200), rng.normal(0, 1.5, 100)) for _ in range(1500)]
        spread = np.std([ood_auroc(*draw) for draw in draws])
        estimate = np.mean([auroc_standard_error(*draw) for draw in draws[:200]])
        assert estimate == pytest.approx(spread, rel=0.08)

    def test_fpr_by_hand(self):
        inside = np.arange(1.0, 21.0)  # 19 of 20 kept: the threshold is 2
        assert fpr_at_95_tpr(inside, [0.0, 1.0, 1.9, 2.0, 30.0]) == 0.4
        assert fpr_at_95_tpr([1.0], [0.0, 2.0]) == 0.5
        assert fpr_at_95_tpr([1.0, 1.0], [1.0, 1.0]) == 1.0

    @given(tied_scores, tied_scores)
    @settings(max_examples=100, deadline=None)
    def test_fpr_equals_scikit_learn_at_the_first_threshold_that_keeps_95(self, inside, outside):
        labels = [1] * len(inside) + [0] * len(outside)
        fpr, tpr, _ = sklearn_metrics.roc_curve(labels, inside + outside, drop_intermediate=False)
        kept = np.rint(tpr * len(inside)).astype(int) * 100 >= 95 * len(inside)
        assert fpr_at_95_tpr(inside, outside) == pytest.approx(fpr[kept][0])

    @pytest.mark.parametrize("bad", [[], [float("nan"), 1.0], [[1.0, 2.0]]])
    @pytest.mark.parametrize("metric", [ood_auroc, auroc_standard_error, fpr_at_95_tpr])
    def test_bad_scores_are_refused_on_either_side(self, metric, bad):
        with pytest.raises(ValueError, match="in-distribution"):
            metric(bad, [1.0, 2.0])
        with pytest.raises(ValueError, match="out-distribution"):
            metric([1.0, 2.0], bad)

    def test_standard_error_of_one_score_is_refused(self):
        with pytest.raises(ValueError, match="at least 2"):
            auroc_standard_error([1.0], [0.0, 2.0])

    def test_score_definitions_and_no_overflow(self):
        logits = torch.tensor([[math.log(3.0), 0.0], [1000.0, 0.0]])
        assert max_softmax(logits).tolist() == pytest.approx([0.75, 1.0])
        assert energy(logits).tolist() == pytest.approx([math.log(4.0), 1000.0])

    def test_confident_scores_do_not_tie(self):
        scores = max_softmax(torch.tensor([[20.0, 0.0], [25.0, 0.0]]))
        assert scores[0] < scores[1] < 1


class TestRocCurve:
    @given(tied_scores, tied_scores)
    @settings(max_examples=50, deadline=None)
    def test_each_point_lies_on_scikit_learns_curve_ties_joined_by_lines(self, inside, outside):
        curve = roc_curve(inside, outside, points=11)
        labels = [1] * len(inside) + [0] * len(outside)
        fpr, tpr, _ = sklearn_metrics.roc_curve(labels, inside + outside, drop_intermediate=False)
        for rate, found in zip(curve["fpr"], curve["tpr"], strict=True):
            there = np.isclose(fpr, rate, atol=1e-9)  # on a vertical part: its upper end
            expected = tpr[there].max() if there.any() else np.interp(rate, fpr, tpr)
            assert found == pytest.approx(expected, abs=2e-6)

    @given(tied_scores, tied_scores)
    @settings(max_examples=50, deadline=None)
    def test_area_under_the_curve_is_the_auroc(self, inside, outside):
        curve = roc_curve(inside, outside, points=5_001)
        area = np.trapezoid(curve["tpr"], curve["fpr"])
        assert area == pytest.approx(ood_auroc(inside, outside), abs=2e-4)

    def test_without_ties_between_the_sides_no_bit_changes(self):
        draw = np.random.default_rng(0)
        for n in (9, 100, 333):
            inside, outside = draw.normal(1, 1, 50), draw.normal(0, 1, n)
            falling = np.append(np.sort(outside)[::-1], -np.inf)
            grid = np.linspace(0, 1, 101)
            steps = [(inside > falling[int(np.floor(rate * n + 1e-9))]).sum() / 50 for rate in grid]
            assert roc_curve(inside, outside)["tpr"] == np.round(steps, 6).tolist()

    def test_it_runs_from_zero_to_one_and_separated_scores_reach_one_at_once(self):
        curve = roc_curve([3.0, 2.0], [1.0, 0.0])
        assert len(curve["fpr"]) == len(curve["tpr"]) == 101
        assert (curve["fpr"][0], curve["fpr"][-1]) == (0, 1)
        assert set(curve["tpr"]) == {1.0}
        assert roc_curve([0.0], [1.0])["tpr"] == [0.0] * 100 + [1.0]

    def test_histogram_counts_both_sides_and_the_ends(self):
        found = score_histogram([0.0, 0.5, 1.0], [0.49], n_bins=2)
        assert found == {"lower": [0.0, 0.5], "in": [1, 2], "out": [1, 0]}

    @pytest.mark.parametrize("function", [roc_curve, score_histogram])
    def test_no_scores_are_refused(self, function):
        with pytest.raises(ValueError, match="out-distribution scores"):
            function([0.5], [])
