import numpy as np
import pandas as pd
from made_up_runs import records

from randprune_core.analysis.cells import gap_change, summarise
from randprune_core.chapters.shared import gap_to_dense
from randprune_core.chapters.shared.records import Records


def test_finding_without_records_or_with_one_model_says_what_is_lacking():
    one = records({"resnet-8": 9.0})
    none = Records("depth", "cpu", one.configs, one.runs[:0], True)
    for case in (one, none):
        assert "allow no statement" in gap_to_dense.gap_finding(case)


def test_finding_with_one_seed_has_no_interval():
    text = gap_to_dense.gap_finding(records({"resnet-8": 9.0, "resnet-14": 8.0, "resnet-20": 7.0}))
    assert text == (
        "At sparsity 0.9, dense minus ERK is 9.0, 8.0 and 7.0 points of test accuracy for "
        "ResNet-8, ResNet-14 and ResNet-20: from ResNet-8 to ResNet-20 it changes by −2.0 (one "
        "seed; profile cpu, CIFAR-10, copy jpeg75)."
    )


def test_finding_with_seeds_has_the_interval_of_the_change():
    spread = (-0.002, 0.0, 0.002)
    text = gap_to_dense.gap_finding(records({"resnet-8": 9.0, "resnet-20": 5.0}, spread))
    assert "it changes by −4.0 ± 0.5 (95 % interval over 3 seeds; profile cpu" in text


def test_finding_takes_the_highest_sparsity_that_two_models_have():
    low = records({"resnet-8": 4.0, "resnet-20": 3.0}, sparsity=0.8)
    high = records({"resnet-8": 9.0}, sparsity=0.9)
    both = pd.concat([low.runs, high.runs[1:]])
    text = gap_to_dense.gap_finding(Records("depth", "cpu", low.configs, both, True))
    assert text.startswith("At sparsity 0.8, dense minus ERK is 4.0 and 3.0 points")


def test_direction_table_has_a_row_for_each_source_ratio_and_sparsity():
    changes = gap_change(records({"resnet-8": 9.0, "resnet-20": 7.0}, ratios=("erk", "snip")).runs)
    table = gap_to_dense.direction_table({"records": changes, "paper": changes[:1]})
    assert [name.split(",")[0] for name in table.source] == ["records", "records", "paper"]
    assert table.ratio.tolist() == ["ERK", "SNIP ratio", "ERK"]
    assert table.source[0] == "records, 8 to 20"
    assert (table["first gap"][0], table["last gap"][0]) == ("9.0", "7.0")
    assert table.change[0] == "−2.0" and "the gap" not in table
    assert gap_to_dense.direction_table({"records": changes[:0]}).empty


def test_gains_are_signed_and_add_up_to_the_change_of_the_gap():
    found = records({"resnet-8": 9.0, "resnet-20": 7.0})
    points = summarise(found.runs)
    text = gap_to_dense.gains_of(points, gap_change(found.runs))
    assert text == (
        "Here, from ResNet-8 to ResNet-20 the dense network changes by +0.00 points and ERK at "
        "sparsity 0.9 by +2.00: the gap changes by −2.0 points (one seed)."
    )
    assert gap_to_dense.gains_of(points, gap_change(found.runs[:0])) == ""


def test_agreement_counts_pairs_and_compares_signs():
    changes = gap_change(records({"resnet-8": 9.0, "resnet-20": 7.0}, ratios=("erk", "snip")).runs)
    published = changes.assign(change=[-1.0, 1.0], first="resnet-20", last="resnet-110")
    text = gap_to_dense.agreement(changes, published)
    assert "smaller than that of ResNet-8 in 2 of 2 pairs" in text
    assert "(sparsity 0.9; one seed in 2 of them)" in text
    assert "between ResNet-20 and ResNet-110, it is smaller in 1 of the 2 pairs" in text
    assert text.endswith("point the same way in 1 of 2.")
    assert "paper" not in gap_to_dense.agreement(changes, published.assign(sparsity=0.1))
    assert gap_to_dense.agreement(changes[:0], published) == ""


def test_panels_are_the_claims_sparsity_and_the_highest_recorded():
    assert gap_to_dense.panels(pd.DataFrame({"sparsity": [0.9, 0.8, 0.7]})) == [0.5, 0.8, 0.9]
    assert gap_to_dense.panels(pd.DataFrame({"sparsity": np.arange(1, 10) / 10})) == [0.5, 0.8, 0.9]
    assert gap_to_dense.panels(pd.DataFrame({"sparsity": []})) == [0.5, 0.8, 0.9]
