import math
import subprocess
import sys
from collections import Counter
from datetime import date

import numpy as np
import pytest

from randprune_core.analysis import decisions, gradient_flow
from randprune_core.analysis.cells import MARGINS
from randprune_core.analysis.claims import STATEMENTS
from randprune_core.analysis.contrasts import cell, size
from randprune_core.analysis.decisions import DECISIONS
from randprune_core.config import setting
from randprune_core.sweeps.grids import grid
from randprune_core.sweeps.profiles import PROFILES

MINI = [row for row in DECISIONS if row.profile == "mini"]
T1 = {
    cell(network, name, sparsity)
    for network in ("resnet-8", "resnet-20", "resnet-32", "resnet-20-8", "resnet-20-32")
    for name, sparsity in (("dense", 0.0), ("erk", 0.5), ("erk", 0.9))
}
T2 = {
    cell(network, name, 0.9)
    for network in ("resnet-8", "resnet-20")
    for name in ("uniform", "uniform_plus", "snip", "grasp", "snip:own", "grasp:own")
}
T5 = {
    cell(network, name, 0.9)
    for network in ("resnet-32", "resnet-20-32")
    for name in ("uniform", "uniform_plus", "snip")
}


@pytest.mark.parametrize("profile", decisions.LARGE)
def test_every_claim_has_its_rows_or_is_out_of_reach(profile):
    rows = [row for row in DECISIONS if row.profile == profile]
    assert {row.claim for row in rows} | {11} == set(STATEMENTS)
    assert 11 in decisions.OUT_OF_REACH
    names = Counter((row.claim, row.part) for row in rows)
    assert max(names.values()) == 1


def test_profiles_without_rows_say_why():
    others = set(PROFILES) - set(decisions.LARGE)
    assert others == set(decisions.UNDECIDABLE)


def test_thresholds_are_the_margins_of_the_design():
    for row in DECISIONS:
        if row.claim in (3, 5, 6, 7, 8):
            assert row.threshold == -MARGINS[row.unit]
        elif row.claim in (1, 2, 4):
            assert row.threshold == 0
    rises = [row for row in DECISIONS if row.metric in ("gradient.rise", "gradient.fall")]
    assert {row.threshold for row in rises} == {round(math.log2(1 + gradient_flow.TOLERANCE), 3)}


@pytest.mark.parametrize("claim", [3, 6, 7, 8])
def test_large_networks_are_large_by_the_stated_definition(claim):
    for row in DECISIONS:
        if row.claim == claim:
            large = decisions.LARGE[row.profile]
            for network in row.networks:
                assert any(size(network, family) >= least for family, least in large.items())


def test_small_networks_are_small_by_the_stated_definition():
    for row in DECISIONS:
        if row.claim == 4 and row.take == "mean":
            for network in row.networks:
                assert size(network, "depth") <= decisions.SMALL_DEPTH[row.profile]
                assert size(network, "width") == 16


def test_a_part_has_one_sparsity():
    for row in DECISIONS:
        if not row.listed:
            assert {level for _, _, level in row.cells()} <= {0.0, row.sparsity}


def test_parts_that_rest_on_dense_and_erk_have_two_looks():
    for row in MINI:
        assert row.looks == ((3, 5) if set(row.cells()) <= T1 else (3,))


def test_mini_needs_no_cell_that_its_tiers_lack():
    assert {found for row in MINI for found in row.cells()} == T1 | T2 | T5
    assert set(decisions.pool("mini")) == T1


def test_paper_needs_no_cell_that_its_figures_lack():
    known = set()
    for figure in ("depth", "width", "methods"):
        for config in grid(figure, "paper", variant="original"):
            known.add((config.model, setting(config), config.sparsity))
    needed = {found for row in DECISIONS if row.profile == "paper" for found in row.cells()}
    assert needed <= known


def test_a_fall_is_minus_the_least_squares_slope_of_the_cell_means():
    (row,) = (r for r in MINI if r.claim == 1 and r.sparsity == 0.9)
    means = {found: value for value, found in enumerate(sorted(row.cells()), 3)}
    effect = sum(weight * means[found] ** 1.5 for found, weight in row.weights().items())
    gaps = [
        means[cell(n, "dense")] ** 1.5 - means[cell(n, "erk", 0.9)] ** 1.5 for n in row.networks
    ]
    assert effect == pytest.approx(-np.polyfit(np.log2([8, 20, 32]), gaps, 1)[0])


def test_weights_of_a_difference_add_up_to_zero_and_each_side_to_one():
    for row in DECISIONS:
        weights = list(row.weights().values())
        if row.take == "mean" and row.second:
            assert sum(weights) == pytest.approx(0)
            assert sum(weight for weight in weights if weight > 0) == pytest.approx(1)
        elif row.take.startswith("fall"):
            assert sum(weights) == pytest.approx(0)


def test_the_date_is_a_date():
    assert date.fromisoformat(decisions.DATE)


def test_the_table_is_read_without_torch():
    code = "import sys, randprune_core.analysis.decisions; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
