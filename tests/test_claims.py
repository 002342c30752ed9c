import functools
import math

import numpy as np
import pandas as pd
import pytest

from randprune_core import claims
from randprune_core.comparisons import levels, sizes
from randprune_core.gradient_claims import GRADIENT

DEPTHS = ("resnet-20", "resnet-32", "resnet-44", "resnet-56", "resnet-110")
WIDTHS = ("resnet-20-8", "resnet-20", "resnet-20-24", "resnet-20-32")
LEVELS = (0.5, 0.7, 0.9)
MEASURED = range(1, 11)
SMALLNESS = dict(zip(DEPTHS, (2.0, 1.3, 0.9, 0.5, 0.0), strict=True))
SMALLNESS |= dict(zip(WIDTHS, (4.0, 2.0, 0.8, 0.0), strict=True))
# How many times ERK's loss each way of pruning loses; one constant point more for a criterion.
LOSS = {"erk": 1.0, "snip": 1.0, "grasp": 1.0, "uniform": 2.0, "uniform_plus": 1.8}
ARMS = [("dense", "random"), *((ratio, "random") for ratio in LOSS), ("snip", "own")]
ARMS.append(("grasp", "own"))


@functools.cache
def world(seeds=3, noise=1.0) -> pd.DataFrame:
    """Made-up runs that support every claim; `noise` scales what the seeds change.

    Seeds shift a cell up and down by the same amount, so that no mean depends on `noise`.
    """
    rows = []
    for model in dict.fromkeys(DEPTHS + WIDTHS):
        for place, (ratio, source) in enumerate(ARMS):
            for level in (0.0,) if ratio == "dense" else LEVELS:
                for seed in range(seeds):
                    shift = noise * (seed - (seeds - 1) / 2) * (-1) ** place
                    rows.append(run(model, ratio, source, level, seed, shift))
    return pd.DataFrame(rows)


def run(model, ratio, source, level, seed, shift) -> dict:
    """One run; accuracy is 93 % less two points times how small and how sparse the network is."""
    dense = ratio == "dense"
    lost = 0.0 if dense else 2 * LOSS[ratio] * SMALLNESS[model] * level
    lost += 0.0 if dense or ratio == "erk" or "uniform" in ratio else 0.1
    accuracy = 0.93 - lost / 100 + 0.0002 * shift
    start = math.sin(37 * SMALLNESS[model] + 11 * level + len(ratio))  # tells nothing
    return {
        "run_id": f"{model}/{ratio}/{source}/{level}/{seed}",
        "dataset": "cifar10",
        "variant": "jpeg75",
        "epochs": 160,
        "model": model,
        "ratio": ratio,
        "mask_source": source,
        "sparsity": level,
        "seed_init": seed,
        "accuracy": accuracy,
        "ece": (0.05 if dense else 0.04) + 0.0005 * shift,
        "ood.cifar100.auroc": (0.85 if dense else 0.9) + 0.0005 * shift,
        "ood.cifar100.auroc_se": 0.005,
        "pgd.1.accuracy": (0.3 if dense else 0.4) + 0.0005 * shift,
        "pgd.1.n": 10_000,
        "gradient.initial": math.exp(0.1 * start),
        "gradient.peak": 4.0 * math.exp(0.15 * shift),
        "gradient.to_flat": 2.5 - lost / 10,
        "gradient.flat": 2.0 - lost / 10,
    }


def changed(runs: pd.DataFrame, column: str, by: float, **where) -> pd.DataFrame:
    """The runs with a column raised where others have the given values."""
    mask = np.logical_and.reduce([runs[name].isin(values) for name, values in where.items()])
    return runs.assign(**{column: runs[column] + by * mask})


def large_erk_worse(column: str, by: float):
    return lambda runs: changed(
        runs, column, by, ratio=["erk"], model=["resnet-110", "resnet-20-32"]
    )


def small_better(models):
    """ERK loses more in larger networks: the gap grows."""

    def change(runs):
        sparse = (runs.ratio == "erk") & runs.model.isin(models)
        rise = 0.06 * runs.model.map(SMALLNESS) * runs.sparsity
        return runs.assign(accuracy=runs.accuracy + rise.where(sparse, 0))

    return change


AGAINST = {
    1: small_better(DEPTHS),
    2: small_better(WIDTHS),
    3: large_erk_worse("accuracy", -0.01),
    4: lambda runs: changed(runs, "accuracy", 0.1, ratio=["uniform"]),
    5: lambda runs: changed(runs, "accuracy", 0.01, ratio=["grasp"], mask_source=["own"]),
    6: large_erk_worse("ece", 0.05),
    7: large_erk_worse("ood.cifar100.auroc", -0.1),
    8: large_erk_worse("pgd.1.accuracy", -0.2),
    9: lambda runs: runs.rename(
        columns={"gradient.initial": "gradient.to_flat", "gradient.to_flat": "gradient.initial"}
    ),
    10: lambda runs: runs.assign(**{"gradient.initial": runs["gradient.to_flat"]}),
}


def related(runs: pd.DataFrame) -> pd.DataFrame:
    """The initial norm leaves about half of the rank variance open."""
    noise = np.random.default_rng(0).normal(scale=0.25, size=len(runs))
    return runs.assign(**{"gradient.initial": runs["gradient.to_flat"] + noise}).query(
        "model in ['resnet-20', 'resnet-32', 'resnet-110']"
    )


@functools.cache
def verdicts_of_world(**options) -> pd.DataFrame:
    return claims.verdicts(world(**options)).set_index("claim")


def verdict(runs: pd.DataFrame, claim: int) -> str:
    return claims.verdicts(runs, [claim]).verdict[0]


def part(runs: pd.DataFrame, claim: int, begin: str) -> pd.Series:
    found = claims.parts(runs, [claim])
    found = found[found.part.str.startswith(begin)]
    assert len(found) == 1
    return found.iloc[0]


# ---------------------------------------------------------------- nothing, or one seed


@pytest.mark.parametrize("runs", [pd.DataFrame(), world()[:0]], ids=["no columns", "no rows"])
def test_empty_grid_leaves_every_claim_undecided_without_an_effect(runs):
    found = claims.verdicts(runs)
    assert found.claim.tolist() == list(range(1, 12))
    assert set(found.verdict) == {"undecided"} and found.effect.isna().all()
    assert (found.runs == 0).all() and (found.why.str.len() > 10).all()


def test_one_seed_leaves_every_claim_undecided_but_shows_the_effect():
    found = claims.verdicts(world(seeds=1))
    assert set(found.verdict) == {"undecided"}
    measured = found[found.kind == "measured"]
    assert measured.effect.notna().all() and measured.low.isna().all()
    assert measured.why.str.contains("one seed decides nothing").all()


def test_dense_alone_decides_nothing():
    assert set(claims.verdicts(world().query("ratio == 'dense'")).verdict) == {"undecided"}


def test_columns_are_those_of_the_design():
    assert claims.verdicts(world()).columns.tolist()[:7] == [
        *("claim", "statement", "verdict", "effect", "low", "high", "runs"),
    ]


# ---------------------------------------------------------------- the three verdicts


@pytest.mark.parametrize("claim", MEASURED)
def test_claim_is_supported_where_every_part_is(claim):
    row = verdicts_of_world().loc[claim]
    assert row.verdict == "supported" and row.low > row.threshold
    assert "lies above" in row.why


@pytest.mark.parametrize("claim", MEASURED)
def test_claim_is_contradicted_where_one_part_is(claim):
    runs = AGAINST[claim](world())
    row = claims.verdicts(runs, [claim]).iloc[0]
    assert row.verdict == "contradicted" and row.high < row.threshold
    assert "lies below" in row.why


@pytest.mark.parametrize("claim", [claim for claim in MEASURED if claim != 10])
def test_more_noise_between_seeds_turns_supported_into_undecided(claim):
    before, after = (verdicts_of_world(**noise).loc[claim] for noise in ({}, {"noise": 200}))
    assert (before.verdict, after.verdict) == ("supported", "undecided")
    assert after.low < after.threshold < after.high
    assert "contains" in after.why


def test_initial_norm_that_explains_half_is_undecided():
    row = part(related(world()), 10, "initial")
    assert row.verdict == "undecided" and row.low < 0.5 < row.high


def test_claims_that_are_only_cited_stay_undecided_and_do_not_hold_back_the_measured_half():
    found = verdicts_of_world()
    assert found.verdict[11] == "undecided" and found.kind[11] == "cited"
    assert "cited only" in found.why[11]
    cited = part(world(), 5, "ImageNet")
    assert (cited.verdict, cited.kind) == ("undecided", "cited")
    assert found.verdict[5] == "supported"


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (["supported", "supported"], "supported"),
        (["supported", "undecided"], "undecided"),
        (["supported", "contradicted", "undecided"], "contradicted"),
        (["undecided"], "undecided"),
        ([], "undecided"),
    ],
)
def test_verdicts_of_parts_are_put_together(found, verdict):
    assert claims.together(found) == verdict


@pytest.mark.parametrize(("below", "expected"), [(0.2, "supported"), (0.4, "contradicted")])
def test_three_tenths_of_a_point_are_the_margin_of_matching_dense(below, expected):
    runs = large_erk_worse("accuracy", -below / 100)(world(noise=0.1))
    assert verdict(runs, 3) == expected


# ---------------------------------------------------------------- what is used, and how


def test_order_of_the_runs_does_not_matter():
    runs = world(noise=30)
    shuffled = runs.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(claims.parts(runs), claims.parts(shuffled), rtol=1e-12)


def test_runs_are_left_as_they_were():
    runs = world()
    before = runs.copy()
    claims.verdicts(runs)
    pd.testing.assert_frame_equal(runs, before)


@pytest.mark.parametrize(
    ("column", "value"), [("variant", "original"), ("epochs", 16), ("dataset", "digits")]
)
def test_profiles_and_copies_of_the_data_are_never_mixed(column, value):
    runs = world().copy()
    runs.loc[runs.index[0], column] = value
    with pytest.raises(ValueError, match=f"mix {column}"):
        claims.verdicts(runs)


def test_runs_on_digits_decide_nothing():
    found = claims.verdicts(world().assign(dataset="digits"))
    assert set(found.verdict) == {"undecided"} and found.effect.notna().sum() == 10
    assert found.why.str.contains("digits").sum() == 10


def test_networks_pruned_otherwise_are_left_out():
    runs = world().assign(granularity="unstructured", method="static", when="before")
    others = [runs.assign(accuracy=0.1, **{name: "other"}) for name in ("granularity", "method")]
    for other in others:
        other["run_id"] += "other"
    found = claims.verdicts(pd.concat([runs, *others]))
    pd.testing.assert_frame_equal(found.set_index("claim"), verdicts_of_world())


def test_values_that_are_not_numbers_are_left_out():
    runs = world()
    bad = runs.sample(frac=0.5, random_state=0).assign(accuracy=math.nan, ece=math.inf, seed_init=9)
    bad["ood.cifar100.auroc_se"] = math.nan
    bad["pgd.1.accuracy"] = math.nan
    bad[list(GRADIENT)] = math.nan
    bad["run_id"] += "bad"
    found = claims.verdicts(pd.concat([runs, bad])).set_index("claim")
    pd.testing.assert_frame_equal(found, verdicts_of_world())


@pytest.mark.parametrize(
    ("column", "claims_without"),
    [
        ("ece", [6]),
        ("ood.cifar100.auroc", [7]),
        ("ood.cifar100.auroc_se", [7]),
        ("pgd.1.accuracy", [8]),
        ("pgd.1.n", [8]),
        ("gradient.initial", [9, 10]),
        ("gradient.flat", [9]),
    ],
)
def test_column_that_is_not_recorded_leaves_its_claims_undecided(column, claims_without):
    found = claims.verdicts(world().drop(columns=column), range(6, 11))
    undecided = found[(found.verdict == "undecided") & (found.kind == "measured")]
    assert undecided.claim.tolist() == claims_without
    assert undecided.effect.isna().all()


def test_missing_sparsity_is_named():
    row = part(world().query("sparsity != 0.5"), 1, "sparsity 0.5")
    assert row.verdict == "undecided" and "sparsity 0.5" in row.why and math.isnan(row.effect)
    assert part(world().query("sparsity != 0.5"), 1, "sparsity 0.9").verdict == "supported"


def test_two_sizes_are_no_trend():
    row = part(world().query("model in ['resnet-20', 'resnet-110']"), 1, "sparsity 0.9")
    assert row.verdict == "undecided" and row.low > 0 and "two sizes" in row.why


def test_size_of_one_seed_is_left_out_of_a_trend_of_others():
    runs = world()
    extra = runs[(runs.model == "resnet-110") & (runs.seed_init > 0)].index
    row = part(runs.drop(extra), 1, "sparsity 0.9")
    assert row.verdict == "supported" and "ResNet-20 to ResNet-56 " in row.why


def test_gap_per_doubling_is_a_slope_over_paired_seeds():
    runs = world(noise=5)
    row = part(runs, 2, "sparsity 0.9")
    wide = runs[runs.model.isin(WIDTHS) & runs.sparsity.isin([0.0, 0.9])]
    table = wide[wide.ratio.isin(["dense", "erk"])].pivot(
        index=["model", "seed_init"], columns="ratio", values="accuracy"
    )
    x = np.log2([sizes(WIDTHS, "width")[model] for model, _ in table.index])
    slope = np.polyfit(x, 100 * (table.dense - table.erk), 1)[0]
    assert row.effect == pytest.approx(-slope)
    assert row.runs == 24


def test_small_networks_do_not_speak_for_larger_ones():
    runs = world().query("model in ['resnet-20', 'resnet-32', 'resnet-20-8']")
    found = claims.parts(runs, [3, 6, 7, 8])
    assert set(found.verdict) == {"undecided"} and len(found) == 8
    assert found.why.str.contains("the claim is about larger networks").all()


def test_network_that_is_deepest_and_widest_is_counted_once():
    runs = world().query("model in ['resnet-20', 'resnet-20-8']").replace("resnet-20", "resnet-56")
    runs = runs.replace("resnet-20-8", "resnet-56-8")
    more = runs[runs.model == "resnet-56"].assign(model="resnet-8")
    more["run_id"] = "8" + more.run_id
    found = claims.parts(pd.concat([runs, more]), [6])
    assert found.part.tolist() == ["deepest, ResNet-56"]


def test_sampling_error_of_the_images_alone_can_leave_a_claim_undecided():
    runs = world()
    few = runs.assign(**{"ood.cifar100.auroc_se": 0.05})
    assert (verdict(runs, 7), verdict(few, 7)) == ("supported", "undecided")
    less = runs.assign(**{"pgd.1.n": 50})
    assert (verdict(runs, 8), verdict(less, 8)) == ("supported", "undecided")


def test_adversarial_accuracy_on_the_floor_is_not_compared():
    row = part(world().assign(**{"pgd.1.accuracy": 0.001}), 8, "deepest")
    assert row.verdict == "undecided" and "guessing might keep" in row.why


def test_order_of_ratios_needs_a_small_network():
    row = part(world().query("model in ['resnet-56', 'resnet-110']"), 4, "ERK over Uniform+")
    assert row.verdict == "undecided" and "up to depth 32" in row.why


def test_own_masks_and_ratios_of_a_criterion_are_told_apart():
    runs = world()
    own = changed(runs, "accuracy", 0.01, ratio=["snip"], mask_source=["own"])
    assert part(own, 5, "ERK and SNIP mask").verdict == "contradicted"
    assert part(own, 5, "ERK and SNIP ratio").verdict == "supported"


def test_flat_level_must_order_the_ratios_of_one_network_as_accuracy_does():
    runs = world()
    turned = runs.assign(**{"gradient.flat": 4 - runs["gradient.flat"]})
    assert part(runs, 9, "orders").effect > 0
    assert part(turned, 9, "orders").verdict == "contradicted"


def test_runs_behind_a_claim_are_counted_once():
    assert (
        verdicts_of_world().runs[1] == len(DEPTHS) * 3 * 3
    )  # dense, ERK at 0.5 and at 0.9; three seeds


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([0.9, 0.9], "sparsity 0.9"),
        ([0.9, 0.8], "sparsities 0.8 and 0.9"),
        ([0.1, 0.2, 0.3, 0.4], "4 sparsities from 0.1 to 0.4"),
    ],
)
def test_sparsities_in_words(given, words):
    assert levels(given) == words


def test_sizes_of_a_family():
    names = (*DEPTHS, *WIDTHS, "vgg-16", "resnet50")
    assert sizes(names, "depth") == dict(zip(DEPTHS, (20, 32, 44, 56, 110), strict=True))
    assert sizes(names, "width") == dict(zip(WIDTHS, (8, 16, 24, 32), strict=True))
    assert sizes([], "width") == {}


def test_the_course_of_the_norm_is_not_judged_by_two_networks():
    runs = world()
    assert part(runs, 9, "rises").verdict == "supported"
    flow = runs[runs["gradient.peak"].notna()]
    two = flow[flow.model.isin(sorted(flow.model.unique())[:2])]
    row = part(two, 9, "rises")
    assert row.verdict == "undecided" and "3 networks with several seeds, not 2" in row.why
