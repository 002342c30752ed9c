import numpy as np
import pandas as pd
from made_up_runs import records

from randprune_core.analysis.cells import gap_change
from randprune_core.chapters.shared import gap_to_dense


def test_direction_table_has_a_row_for_each_source_ratio_and_sparsity():
    changes = gap_change(records({"resnet-8": 9.0, "resnet-20": 7.0}, ratios=("erk", "snip")).runs)
    table = gap_to_dense.direction_table({"records": changes, "paper": changes[:1]})
    assert [name.split(",")[0] for name in table.source] == ["records", "records", "paper"]
    assert table.ratio.tolist() == ["ERK", "SNIP ratio", "ERK"]
    assert table.source[0] == "records, 8 to 20"
    assert (table["first gap"][0], table["last gap"][0]) == ("9.0", "7.0")
    assert table.change[0] == "−2.0" and "the gap" not in table
    assert gap_to_dense.direction_table({"records": changes[:0]}).empty


def test_panels_are_the_claims_sparsity_and_the_highest_recorded():
    assert gap_to_dense.panels(pd.DataFrame({"sparsity": [0.9, 0.8, 0.7]})) == [0.5, 0.8, 0.9]
    assert gap_to_dense.panels(pd.DataFrame({"sparsity": np.arange(1, 10) / 10})) == [0.5, 0.8, 0.9]
    assert gap_to_dense.panels(pd.DataFrame({"sparsity": []})) == [0.5, 0.8, 0.9]
