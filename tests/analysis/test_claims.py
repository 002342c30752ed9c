import functools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from randprune_core.analysis import claims
from randprune_core.analysis.claim_tests import part_of
from randprune_core.analysis.contrasts import size
from randprune_core.analysis.decisions import DECISIONS, UNDECIDABLE, pool
from randprune_core.analysis.gradient_flow import CLAIMED
from randprune_core.analysis.intervals import Estimate
from randprune_core.analysis.parts import COLUMNS, NOTHING, Part, named

MINI = [row for row in DECISIONS if row.profile == "mini"]
MEASURED = range(1, 11)
SMALLNESS = {"resnet-8": 2.0, "resnet-20": 0.7, "resnet-32": 0.0, "resnet-20-8": 1.4}
SMALLNESS["resnet-20-32"] = 0.0
# How many times ERK's loss each way of pruning loses; one constant point more for a criterion.
LOSS = {"dense": 0.0, "erk": 1.0, "snip": 1.0, "grasp": 1.0, "uniform": 2.0, "uniform_plus": 1.8}
LOSS |= {"snip:own": 1.0, "grasp:own": 1.0}
LARGE = ["resnet-32", "resnet-20-32"]


@functools.cache
def world(seeds=3, noise=1.0) -> pd.DataFrame:
    """Made-up runs of `mini` that support every claim; `noise` scales what the seeds change.

    Seeds shift a cell up and down by the same amount, so that no mean depends on `noise`.
    """
    cells = dict.fromkeys(found for row in MINI for found in row.cells())
    rows = []
    for place, key in enumerate(sorted(cells)):
        for seed in range(seeds):
            shift = noise * (seed - (seeds - 1) / 2) * (-1) ** place * (1 + place % 3 / 4)
            rows.append(run(*key, seed, shift))
    return pd.DataFrame(rows)


def run(model, name, level, seed, shift) -> dict:
    """One run; accuracy is 70 % less two points times how small and how sparse the network is."""
    dense = name == "dense"
    lost = 2 * LOSS[name] * SMALLNESS[model] * level
    lost += 0.1 if "snip" in name or "grasp" in name else 0.0
    start = math.sin(37 * size(model, "depth") + 5 * size(model, "width") + 11 * len(name) + level)
    return {
        "run_id": f"{model}/{name}/{level}/{seed}",
        "dataset": "cifar10",
        "variant": "jpeg75",
        "image_size": 16,
        "model": model,
        "setting": name,
        "sparsity": level,
        **dict.fromkeys(("seed_init", "seed_mask", "seed_data"), seed),
        "accuracy": 0.7 - lost / 100 + 0.0002 * shift,
        "ece": (0.05 if dense else 0.04) + 0.0005 * shift,
        "ood.cifar100.auroc": (0.85 if dense else 0.9) + 0.0005 * shift,
        "ood.cifar100.auroc_se": 0.005,
        "pgd.1.accuracy": (0.3 if dense else 0.4) + 0.0005 * shift,
        "pgd.1.n": 10_000,
        "gradient.initial": math.exp(0.1 * start),
        "gradient.rise": 0.8 + 0.02 * shift,
        "gradient.rise_slices": 0.9 + 0.02 * shift,
        "gradient.fall": 0.9 + 0.02 * shift,
        "gradient.to_flat": 2.5 - lost / 10,
        "gradient.flat": 2.0 - lost / 10,
    }


def changed(runs: pd.DataFrame, column: str, by: float, **where) -> pd.DataFrame:
    """The runs with a column raised where others have the given values."""
    mask = np.logical_and.reduce([runs[name].isin(values) for name, values in where.items()])
    return runs.assign(**{column: runs[column] + by * mask})


def turned(family: str):
    """ERK loses more in larger networks: the gap grows."""

    def change(runs):
        sizes = runs.model.map(lambda model: math.log2(size(model, family)))
        return runs.assign(accuracy=runs.accuracy - (0.02 * sizes).where(runs.setting == "erk", 0))

    return change


def large_erk(column: str, by: float):
    return lambda runs: changed(runs, column, by, setting=["erk"], model=LARGE)


AGAINST = {
    1: turned("depth"),
    2: turned("width"),
    3: large_erk("accuracy", -0.01),
    4: lambda runs: changed(runs, "accuracy", 0.1, setting=["uniform"]),
    5: lambda runs: changed(runs, "accuracy", 0.01, setting=["grasp:own"]),
    6: large_erk("ece", 0.05),
    7: large_erk("ood.cifar100.auroc", -0.1),
    8: large_erk("pgd.1.accuracy", -0.2),
    9: lambda runs: runs.assign(**{"gradient.fall": runs["gradient.fall"] - 0.9}),
    10: lambda runs: runs.assign(**{"gradient.initial": runs["gradient.to_flat"]}),
}


def judged(runs: pd.DataFrame, claim: int) -> tuple[Part, ...]:
    return claims.judge(runs, "mini", [claim])


def verdict(runs: pd.DataFrame, claim: int) -> str:
    return claims.verdicts(judged(runs, claim)).verdict[0]


def part(runs: pd.DataFrame, claim: int, begin: str) -> Part:
    (row,) = (row for row in MINI if row.claim == claim and row.part.startswith(begin))
    return part_of(row, runs)


# ---------------------------------------------------------------- nothing, or too few seeds


@pytest.mark.parametrize("runs", [pd.DataFrame(), world()[:0]], ids=["no columns", "no rows"])
def test_empty_grid_leaves_every_claim_undecided_without_an_effect(runs):
    found = claims.verdicts(claims.judge(runs, "mini"))
    assert found.claim.tolist() == list(range(1, 12))
    assert found.verdict.tolist() == ["undecided"] * 10 + ["out of reach"]
    assert found.effect.isna().all() and (found.runs == 0).all()
    assert (found.why.str.len() > 10).all()


@pytest.mark.parametrize("profile", UNDECIDABLE)
def test_profiles_that_are_too_short_are_judged_by_nothing(profile):
    found = claims.judge(world(), profile)
    assert {each.verdict for each in found if each.kind == "measured"} == {"undecided"}
    assert all(UNDECIDABLE[profile][8:] in each.why for each in found if each.kind == "measured")


@pytest.mark.parametrize("seeds", [1, 2])
def test_seeds_below_the_first_look_decide_nothing_but_show_the_effect(seeds):
    for each in claims.judge(world(seeds), "mini"):
        if each.kind == "measured":
            assert each.verdict == "undecided" and each.seeds == 0
            assert math.isfinite(each.estimate.value)
            assert math.isnan(each.estimate.low) == (seeds == 1)
            assert f"only {len(each.runs)} of the" in each.why


@pytest.mark.parametrize(
    "row", [row for row in MINI if row.weights()], ids=lambda row: f"{row.claim} {row.part}"
)
def test_a_cell_of_one_run_never_decides(row):
    """Whatever cell of a part has one seed, the part is undecided."""
    runs = world(noise=0.01)
    for model, name, level in row.cells():
        mine = (runs.model == model) & (runs.setting == name) & (runs.sparsity == level)
        few = runs[~mine | (runs.seed_init == 0)]
        found = part_of(row, few)
        assert found.verdict == "undecided" and math.isnan(found.estimate.low)


def test_dense_alone_decides_nothing():
    found = claims.verdicts(claims.judge(world().query("setting == 'dense'"), "mini"))
    assert set(found.verdict[:10]) == {"undecided"}


# ---------------------------------------------------------------- the verdicts


@pytest.mark.parametrize("claim", MEASURED)
def test_claim_is_supported_where_every_part_is(claim):
    found = judged(world(), claim)
    assert {each.verdict for each in found} <= {"supported", "out of reach"}
    assert claims.verdicts(found).verdict[0] == "supported"
    assert "above" in found[0].why


@pytest.mark.parametrize("claim", MEASURED)
def test_claim_is_contradicted_where_one_part_is(claim):
    row = claims.verdicts(judged(AGAINST[claim](world()), claim)).iloc[0]
    assert row.verdict == "contradicted" and row.high < row.threshold
    assert "below" in row.why


@pytest.mark.parametrize("claim", [1, 2, 3, 5, 6, 7, 8])
def test_more_noise_between_seeds_turns_supported_into_undecided(claim):
    found = judged(world(noise=200), claim)
    assert claims.verdicts(found).verdict[0] == "undecided"
    wide = [each for each in found if each.verdict == "undecided"]
    assert all(each.estimate.low < each.threshold < each.estimate.high for each in wide)


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (["supported", "supported"], "supported"),
        (["supported", "undecided"], "undecided"),
        (["supported", "contradicted", "undecided"], "contradicted"),
        (["supported", "out of reach"], "supported"),
        (["out of reach"], "out of reach"),
        ([], "out of reach"),
    ],
)
def test_verdicts_of_parts_are_put_together(found, verdict):
    assert claims.together(found) == verdict


@pytest.mark.parametrize(
    ("pooled", "own", "verdict"),
    [
        ((0.1, 0.3), (0.05, 0.4), "supported"),
        ((0.1, 0.3), (-0.05, 0.4), "undecided"),
        ((-0.1, 0.3), (0.05, 0.4), "undecided"),
        ((-0.3, -0.1), (-0.4, 0.1), "undecided"),
        ((-0.3, -0.1), (-0.4, -0.1), "contradicted"),
        ((0.1, 0.3), (-0.3, -0.1), "undecided"),
        ((0.1, 0.3), None, "supported"),
        ((0.1, 0.3), (math.nan, math.nan), "undecided"),
    ],
)
def test_both_intervals_must_agree(pooled, own, verdict):
    own = own and Estimate(0.0, *own, 3)
    assert Part(1, "x", estimate=Estimate(0.0, *pooled, 3), own=own).verdict == verdict


def test_what_is_lacking_keeps_a_verdict_back():
    sure = Estimate(1.0, 0.9, 1.1, 3)
    assert Part(1, "x", estimate=sure, own=sure, lacking="a run is").verdict == "undecided"
    assert Part(1, "x", lacking="no run").estimate == NOTHING


def test_parts_are_found_by_name_and_one_that_is_not_there_is_undecided():
    first, second = Part(1, "half", threshold=0.3), Part(1, "tenth")
    assert named([first, second], "tenth", "half") == [second, first]
    (lacking,) = named([first, second], "rises")
    assert lacking.verdict == "undecided" and lacking.estimate == NOTHING


@pytest.mark.parametrize(("below", "expected"), [(0.2, "supported"), (0.4, "contradicted")])
def test_three_tenths_of_a_point_are_the_margin_of_matching_dense(below, expected):
    runs = large_erk("accuracy", -below / 100)(world(noise=0.05))
    assert verdict(runs, 3) == expected


# ---------------------------------------------------------------- looks


def test_between_looks_the_first_one_stands_and_the_second_replaces_it():
    five = AGAINST[3](world(5))
    three = world(5)[world(5).seed_init < 3]
    late = five[five.seed_init >= 3]
    first = part(three, 3, "deepest")
    assert first.seeds == 3 and len(first.runs) == 6
    four = pd.concat([three, late[late.seed_init == 3]])
    assert part(four, 3, "deepest") == first
    second = part(pd.concat([three, late]), 3, "deepest")
    assert second.seeds == 5 and len(second.runs) == 10
    assert second.estimate.value < first.estimate.value


def test_a_part_with_one_look_ignores_later_seeds():
    assert part(world(5), 5, "SNIP mask") == part(world(5)[world(5).seed_init < 3], 5, "SNIP mask")


def test_one_missing_run_keeps_the_second_look_back_in_its_parts_only():
    runs = world(5)
    runs = runs[runs.run_id != "resnet-32/erk/0.5/4"]
    assert part(runs, 1, "sparsity 0.5").seeds == 3
    assert part(runs, 1, "sparsity 0.9").seeds == 5


def test_runs_whose_seeds_differ_are_left_out():
    runs = world()
    odd = runs.assign(seed_mask=runs.seed_mask + 7, run_id=runs.run_id + "odd", accuracy=0.1)
    assert judged(pd.concat([runs, odd]), 1) == judged(runs, 1)


# ---------------------------------------------------------------- by hand, and by others


def pool_of(runs: pd.DataFrame, row) -> dict:
    wanted = {*pool("mini"), *row.cells()}
    grouped = runs.groupby(["model", "setting", "sparsity"])[row.metric]
    return {key: row.scale * group for key, group in grouped if key in wanted}


def test_gap_of_one_network_equals_its_closed_form():
    """Claim 3: ERK minus dense in ResNet-32 from 15 pooled cells of three, 30 degrees."""
    runs = world(noise=7)
    found = part(runs, 3, "deepest")
    (row,) = (row for row in MINI if (row.claim, row.part) == (3, "deepest"))
    groups = pool_of(runs, row)
    assert len(groups) == 15
    erk, dense = groups["resnet-32", "erk", 0.5], groups["resnet-32", "dense", 0.0]
    variance = sum(((x - x.mean()) ** 2).sum() for x in groups.values()) / 30
    reach = stats.t.ppf(0.9875, 30) * math.sqrt(2 * variance / 3)
    value = erk.mean() - dense.mean()
    assert found.estimate == pytest.approx((value, value - reach, value + reach, 3))
    low, high = stats.ttest_ind(erk, dense, equal_var=False).confidence_interval(0.975)
    assert (found.own.low, found.own.high) == pytest.approx((low, high))


def test_fall_of_a_gap_per_doubling_of_the_width_equals_its_closed_form():
    """Widths 8, 16, 32 have logarithms 3, 4, 5: the slope is half of the last gap less the first,
    whatever lies between, and its variance 4 s² / 3 times a quarter."""
    runs = world(noise=7)
    found = part(runs, 2, "sparsity 0.9")
    (row,) = (row for row in MINI if (row.claim, row.part) == (2, "sparsity 0.9"))
    groups = pool_of(runs, row)
    gap = {
        model: groups[model, "dense", 0.0].mean() - groups[model, "erk", 0.9].mean()
        for model in ("resnet-20-8", "resnet-20-32")
    }
    variance = sum(((x - x.mean()) ** 2).sum() for x in groups.values()) / 30
    reach = stats.t.ppf(0.9875, 30) * math.sqrt(4 * variance / 3) / 2
    value = (gap["resnet-20-8"] - gap["resnet-20-32"]) / 2
    assert found.estimate == pytest.approx((value, value - reach, value + reach, 3))


@pytest.mark.parametrize(
    "row", [row for row in MINI if row.weights()], ids=lambda row: f"{row.claim} {row.part}"
)
def test_every_contrast_is_that_of_a_linear_model_with_a_dummy_a_cell(row):
    from statsmodels.api import OLS

    runs = world(noise=7)
    found = part_of(row, runs)
    groups, weights = pool_of(runs, row), row.weights()
    y = np.concatenate(list(groups.values()))
    design = np.repeat(np.eye(len(groups)), [len(group) for group in groups.values()], axis=0)
    oracle = OLS(y, design).fit().t_test([[weights.get(key, 0.0) for key in groups]])
    assert found.estimate.value == pytest.approx(oracle.effect[0])
    assert found.estimate[1:3] == pytest.approx(tuple(oracle.conf_int(alpha=0.025)[0]))


def test_seeds_that_would_decide_are_those_at_which_both_intervals_would():
    runs = large_erk("accuracy", -0.001)(world(noise=5))
    found = part(runs, 3, "deepest")
    assert found.verdict == "undecided" and found.needed
    (row,) = (row for row in MINI if (row.claim, row.part) == (3, "deepest"))
    groups = pool_of(runs, row)
    spread = sum(x.var(ddof=1) for x in groups.values()) / 15
    own = [
        groups["resnet-32", name, level].var(ddof=1)
        for name, level in (("erk", 0.5), ("dense", 0.0))
    ]
    room = found.estimate.value - found.threshold

    def decides(n):
        reach = stats.t.ppf(0.9875, 15 * (n - 1)) * math.sqrt(2 * spread / n)
        freedom = (n - 1) * sum(own) ** 2 / sum(s**2 for s in own)
        return max(reach, stats.t.ppf(0.9875, freedom) * math.sqrt(sum(own) / n)) < abs(room)

    assert decides(found.needed) and not decides(found.needed - 1)
    assert f"{found.needed} seeds would decide" in found.why


# ---------------------------------------------------------------- what is used


def test_order_of_the_runs_does_not_matter_and_they_stay_as_they_were():
    runs = world(noise=30)
    before = runs.copy()
    first = claims.parts(claims.judge(runs, "mini"))
    shuffled = claims.parts(claims.judge(runs.sample(frac=1, random_state=1), "mini"))
    pd.testing.assert_frame_equal(first, shuffled, rtol=1e-12)
    pd.testing.assert_frame_equal(runs, before)


@pytest.mark.parametrize(
    ("column", "value"),
    [("variant", "original"), ("image_size", 32), ("dataset", "digits"), ("epochs", 16)],
)
def test_profiles_copies_and_image_sizes_are_never_mixed(column, value):
    runs = world().assign(epochs=160)
    runs.loc[runs.index[0], column] = value
    with pytest.raises(ValueError, match=f"mix {column}"):
        claims.judge(runs, "mini")


def test_runs_without_a_column_of_the_protocol_have_its_default():
    runs = world().drop(columns="image_size")
    assert claims.judge(runs, "mini") == claims.judge(world(), "mini")


def test_two_runs_of_one_cell_and_seed_are_an_error():
    runs = world()
    with pytest.raises(ValueError, match="repeat a cell and seed"):
        claims.judge(pd.concat([runs, runs[:40].assign(run_id="again")]), "mini")


def test_networks_and_settings_outside_the_table_are_left_out():
    runs = world()
    others = [runs.assign(accuracy=0.1, setting="erk:set"), runs.assign(model="resnet-56")]
    for other in others:
        other["run_id"] += other.setting + other.model
    assert claims.judge(pd.concat([runs, *others]), "mini") == claims.judge(runs, "mini")


@pytest.mark.parametrize(
    ("column", "without"),
    [
        ("ece", [6]),
        ("ood.cifar100.auroc", [7]),
        ("pgd.1.accuracy", [8]),
        ("gradient.initial", [9, 10]),
        ("gradient.flat", [9]),
    ],
)
def test_column_that_is_not_recorded_leaves_its_claims_undecided(column, without):
    found = claims.verdicts(claims.judge(world().drop(columns=column), "mini"))
    assert found.claim[found.verdict == "undecided"].tolist() == without


def test_values_that_are_not_numbers_are_no_runs():
    runs = world()
    runs = runs.assign(ece=runs.ece.where(runs.run_id != "resnet-32/erk/0.9/1"))
    found = part(runs, 6, "sparsity 0.9")
    assert found.verdict == "undecided" and "only 11 of the 12 runs" in found.why


# ---------------------------------------------------------------- beside the intervals


def test_sampling_errors_of_the_images_stand_beside_and_not_inside():
    runs = world()
    wide = runs.assign(**{"ood.cifar100.auroc_se": 0.05})
    first, second = (part(each, 7, "sparsity 0.5") for each in (runs, wide))
    assert first.estimate == second.estimate and second.verdict == "supported"
    assert first.images_error == pytest.approx(0.005 * math.sqrt(2))
    assert second.images_error == pytest.approx(0.05 * math.sqrt(2))
    assert "a standard error of 0.0707 at most from the images" in second.why
    attacked = part(runs, 8, "sparsity 0.5")
    errors = [100 * math.sqrt(p * (1 - p) / 10_000) for p in (0.3, 0.4)]
    assert attacked.images_error == pytest.approx(math.hypot(*errors), rel=1e-3)


def test_adversarial_accuracy_on_the_floor_is_not_compared():
    found = part(world().assign(**{"pgd.1.accuracy": 0.001}), 8, "sparsity 0.9")
    assert found.verdict == "undecided" and "as guessing might" in found.why


# ---------------------------------------------------------------- the gradient norm


def test_a_rise_that_only_single_slices_show_is_neither_supported_nor_contradicted():
    flat = world().assign(**{"gradient.rise": world()["gradient.rise"] - 0.9})
    seen = part(flat, 9, "rises, 0.5")
    assert seen.verdict == "undecided" and "single slices" in seen.why
    slices = {"gradient.rise_slices": flat["gradient.rise_slices"] - 0.9}
    assert part(flat.assign(**slices), 9, "rises, 0.5").verdict == "contradicted"


def test_a_rise_smaller_than_what_counts_as_flat_is_none():
    runs = world().assign(**{"gradient.rise": world()["gradient.rise"] - 0.7})
    found = part(runs.assign(**{"gradient.rise_slices": runs["gradient.rise"]}), 9, "rises, 0.9")
    assert 0 < found.estimate.value < 0.2 and found.verdict == "contradicted"


def test_a_run_that_never_becomes_flat_leaves_the_part_undecided():
    runs = world()
    never = runs.run_id == "resnet-8/erk/0.5/0"
    runs = runs.assign(**{name: runs[name].mask(never) for name in CLAIMED[1:]})
    found = part(runs, 9, "falls, 0.5")
    assert found.verdict == "undecided" and "with a flat phase" in found.why
    assert part(runs, 9, "falls, 0.9").verdict == "supported"


def test_flat_level_must_order_the_ratios_of_one_network_as_accuracy_does():
    runs = world()
    assert part(runs, 9, "orders").estimate.value > 0
    other = runs.assign(**{"gradient.flat": 4 - runs["gradient.flat"]})
    assert part(other, 9, "orders").verdict == "contradicted"


def test_initial_norm_that_explains_half_is_undecided():
    noise = np.random.default_rng(0).normal(scale=0.3, size=len(world()))
    runs = world().assign(**{"gradient.initial": world()["gradient.to_flat"] + noise})
    found = part(runs, 10, "initial")
    assert found.verdict == "undecided" and found.estimate.low < 0.5 < found.estimate.high


# ---------------------------------------------------------------- tables


def test_tables_have_a_row_a_part_and_a_row_a_claim():
    found = claims.judge(world(), "mini")
    parts, verdicts = claims.parts(found), claims.verdicts(found)
    assert parts.columns.tolist() == COLUMNS and len(parts) == len(found)
    assert verdicts.columns.tolist()[:7] == [
        *("claim", "statement", "verdict", "effect", "low", "high", "runs"),
    ]
    assert parts.verdict.tolist() == [each.verdict for each in found]
    assert verdicts.runs[0] == 3 * 3 * 3  # dense, ERK at 0.5 and at 0.9, counted once


def test_order_of_claims_is_kept_and_a_subset_can_be_asked_for():
    found = claims.judge(world(), "mini", [7, 3])
    assert [each.claim for each in found] == [3, 3, 7, 7]


def test_the_paper_has_its_own_rows():
    found = claims.judge(pd.DataFrame(), "paper")
    assert {each.claim for each in found} == set(claims.STATEMENTS)
    assert sum(each.claim == 4 for each in found) == 9


@pytest.mark.parametrize(
    "low, threshold, effect, interval",
    [
        (-0.0011, 0.0, "0.649", "−0.001 to 1.300"),
        (-0.30004, -0.3, "0.64930", "−0.30004 to 1.29960"),
        (-0.01, 0.0, "0.65", "−0.01 to 1.30"),
        (0.0, 0.0, "0.65", "0.00 to 1.30"),
    ],
)
def test_a_limit_is_not_written_as_the_threshold_that_it_misses(low, threshold, effect, interval):
    found = Estimate(0.6493, low, 1.2996, 5)
    part = Part(1, "x", "points", "It is", found, threshold=threshold, seeds=5)
    assert f"It is {effect} points (97.5 % interval {interval})" in part.why
