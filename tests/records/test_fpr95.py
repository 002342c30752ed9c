"""FPR@95 in both conventions among the columns of a run."""

import numpy as np
import pytest
from conftest import made_up_record, tiny
from sklearn import metrics as sklearn_metrics

from randprune_core.metrics.ood import fpr_at_95_tpr, roc_curve
from randprune_core.records.table import records_to_frame


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [100, 900, 260])
def test_both_conventions_equal_scikit_learn(seed, count):
    draw = np.random.default_rng(seed)
    inside, outside = draw.normal(1, 1, 400), draw.normal(0, 1, count)
    record = made_up_record(tiny())
    record["test"]["ood"]["photos"] |= {
        "fpr95": fpr_at_95_tpr(inside, outside),
        "roc": roc_curve(inside, outside),
    }
    (row,) = records_to_frame([record]).to_dict("records")
    known = [1] * len(inside) + [0] * len(outside)
    scores = np.concatenate([inside, outside])
    # Known images positive, then the OoD images with the score turned round.
    for column, positive, score in (
        ("ood.photos.fpr95", known, scores),
        ("ood.photos.fpr95_ood_positive", 1 - np.array(known), -scores),
    ):
        fpr, tpr, _ = sklearn_metrics.roc_curve(positive, score, drop_intermediate=False)
        assert row[column] == pytest.approx(fpr[tpr >= 0.95 - 1e-12].min(), abs=2e-6)


def test_a_record_without_a_curve_has_one_convention_only():
    row = records_to_frame([made_up_record(tiny())])
    assert "ood.photos.fpr95" in row and "ood.photos.fpr95_ood_positive" not in row
