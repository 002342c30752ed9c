import math
import re

import numpy as np
import pandas as pd
import pytest

from randprune_core import paths
from randprune_core.analysis import claim_runs, claims
from randprune_core.chapters import scorecard
from randprune_core.chapters.shared import verdicts
from randprune_core.chapters.shared.records import Records
from randprune_core.config import RunConfig
from randprune_core.presentation import plots
from randprune_core.records.table import records_to_frame
from randprune_core.sweeps import sweep as sweep_module


def part(claim=1, verdict="supported", effect=1.0, reach=0.5, **changes) -> dict:
    row = {"claim": claim, "part": "a part", "verdict": verdict, "effect": effect}
    row |= {"low": effect - reach, "high": effect + reach, "runs": 6, "threshold": 0.0}
    row |= dict.fromkeys(("own_low", "own_high", "seeds", "needed", "images_error"), math.nan)
    return row | {"unit": "points", "kind": "measured", "why": "A reason.", **changes}


def table_of(*rows) -> pd.DataFrame:
    return pd.DataFrame(rows)[claims.PART_COLUMNS]


def verdicts_of(*rows) -> pd.DataFrame:
    return table_of(*rows).assign(statement="A statement")


RECORDS = Records(
    "scorecard", "cpu", [RunConfig(variant="jpeg75")], pd.DataFrame({"run_id": []}), True
)


def texts(figure) -> list[str]:
    return [text.get_text() for axis in figure.axes for text in axis.texts]


# ---------------------------------------------------------------- what is collected


def test_empty_store_gives_undecided_claims_and_no_error(store):
    records = scorecard.collect(profile="paper", train_missing=False)
    found = claims.verdicts(verdicts.of(records))
    assert records.runs.empty and set(found.verdict) == {"undecided", "out of reach"}
    assert found.verdict.value_counts().to_dict() == {"undecided": 10, "out of reach": 1}


def test_grid_is_that_of_all_figures_without_repetition(store):
    records = scorecard.collect(profile="paper", train_missing=False)
    models = {config.model for config in records.configs}
    assert {"resnet-20", "resnet-110", "resnet-20-32"} <= models
    assert len(set(records.configs)) == len(records.configs)
    assert {config.variant for config in records.configs} == {"original"}


def test_parameters_limit_the_grid_and_are_no_default(store, monkeypatch):
    monkeypatch.setattr(sweep_module, "collect", lambda configs, **how: records_to_frame([]))
    lists = {"models": "resnet-8", "ratios": ["dense", "erk"], "sparsities": 0.9, "seeds": [0]}
    records = scorecard.collect(profile="cpu", train_missing=False, **lists)
    assert [config.ratio for config in records.configs] == ["dense", "erk"]
    assert not records.default
    assert scorecard.collect().default


@pytest.mark.parametrize("profile", ["mini", "paper"])
def test_what_decides_is_among_the_grids(store, profile):
    """So that the page of the scorecard counts and fingerprints what its verdicts rest on."""
    records = scorecard.collect(profile=profile, train_missing=False)
    grid = set(records.configs)
    seeds = {config.seed_init for config in grid}
    wanted = claim_runs.configs(profile, records.variant)
    assert {config for config in wanted if config.seed_init in seeds} <= grid


# ---------------------------------------------------------------- words


def test_table_shows_intervals_units_and_what_is_only_cited():
    table = scorecard.table(
        verdicts_of(
            part(1),
            part(6, "undecided", -0.01, math.nan, unit="ECE", threshold=-0.005),
            part(2, "undecided", math.nan),
            part(11, "out of reach", math.nan, kind="cited"),
        )
    )
    assert table.effect.tolist() == ["1.00 [0.50, 1.50] points", "−0.0100 ECE", "–", "–"]
    assert table.threshold.tolist() == ["0", "−0.005", "–", "–"]
    assert table.verdict.tolist() == ["supported", "undecided", "undecided", "out of reach"]


def test_the_unit_of_an_effect_is_written_in_full():
    row = part(10, effect=0.36, reach=0.1, unit="left unexplained")
    effect = scorecard.table(verdicts_of(row)).effect[0]
    assert effect == "0.36 [0.26, 0.46] left unexplained"


@pytest.mark.parametrize(
    ("own_high", "effect"),
    [(0.9, "0.50 [−0.50, 1.50] points"), (-0.001, "0.500 [−0.500, 1.500] points")],
)
def test_an_effect_has_the_digits_that_both_its_intervals_ask_for(own_high, effect):
    row = part(1, effect=0.5, reach=1.0, own_low=-0.8, own_high=own_high)
    assert scorecard.table(verdicts_of(row)).effect[0] == effect


def test_every_claim_has_a_chapter_and_a_title():
    assert set(claims.TITLES) == set(claims.STATEMENTS) == set(claims.CHAPTERS)


def test_an_effect_is_drawn_in_units_of_its_margin():
    rows = [
        part(3, threshold=-0.3),
        part(1, unit="points per doubling of the depth"),
        part(6, unit="ECE", threshold=-0.005),
        part(9, unit="doublings", threshold=0.202),
        part(9, unit="of rank correlation"),
        part(10, unit="left unexplained", threshold=0.5),
    ]
    found = [scorecard.margin(row) for _, row in table_of(*rows).iterrows()]
    assert found == [0.3, 0.3, 0.005, 0.202, 0.1, 0.5]


# ---------------------------------------------------------------- the picture


ROWS = [
    part(1),
    part(1, "undecided", -1.0, 2.0, part="another"),
    part(3, "contradicted", -2.0),
    part(6, "undecided", math.nan),
    part(9, "supported", 0.5, 0.1, unit="doublings", threshold=0.2),
    part(9, "undecided", math.nan, part="a part to come"),
    part(11, "out of reach", math.nan, kind="cited"),
]


def test_picture_writes_the_verdict_of_each_claim_and_the_name_of_each_part():
    assert texts(scorecard.draw(table_of(*ROWS))) == [
        *("1  gap shrinks with depth", "undecided", "a part", "another"),
        *("3  large networks match dense", "contradicted", "a part"),
        *("6  calibration no worse", "undecided", "no effect is recorded yet"),
        *("9  gradient norm and accuracy", "undecided", "a part"),
        *("a part to come", "no effect is recorded yet"),
        *("11  Wide ResNet-50-2, ImageNet", "out of reach"),
    ]


def test_picture_for_a_phone_draws_and_says_the_same():
    wide, phone = (scorecard.draw(table_of(*ROWS), phone=narrow) for narrow in (False, True))
    assert texts(phone) == texts(wide)
    across = [
        sorted(list(line.get_xdata()) for axis in figure.axes for line in axis.lines)
        for figure in (wide, phone)
    ]
    assert across[0] == across[1]
    assert phone.get_figwidth() < wide.get_figwidth()


def test_picture_draws_margins_and_one_seed_without_a_line():
    rows = (
        part(6, effect=0.02, reach=0.01, unit="ECE", threshold=-0.005),
        part(8, "undecided", -2.1, math.nan, threshold=-0.3),
    )
    figure = scorecard.draw(table_of(*rows))
    drawn = [list(line.get_xdata()) for line in figure.axes[0].lines]
    expected = [[-1, -1], [2, 6], [4], [-1, -1], [-7]]  # threshold, interval, effect; no interval
    assert drawn[:5] == [pytest.approx(line) for line in expected]
    assert not any(np.isnan(line).any() for line in drawn)


def test_names_of_parts_stand_in_a_column_where_nothing_is_drawn():
    rows = (part(1, reach=5.0), part(8, effect=-90.0, reach=9.0, threshold=-0.3))
    for phone in (False, True):
        figure = scorecard.draw(table_of(*rows), phone=phone)
        figure.draw_without_rendering()
        (axis,) = figure.axes
        names = [text for text in axis.texts if text.get_text() == "a part"]
        ends = [name.get_window_extent().x1 for name in names]
        drawn = [
            x for line in axis.lines for x in axis.transData.transform(line.get_xydata())[:, 0]
        ]
        drawn += [axis.transData.transform((tick, 0))[0] for tick in axis.get_xticks()]
        assert len(names) == 2 and max(ends) < min(drawn)


def test_picture_of_an_empty_grid_names_all_claims():
    figure = scorecard.draw(claims.parts(claims.judge(pd.DataFrame(), "mini")))
    shown = texts(figure)
    assert sum(text == "undecided" for text in shown) == 10
    assert sum(text == "no effect is recorded yet" for text in shown) == 10


def test_picture_that_draws_another_effect_has_another_digest():
    first, second = (
        plots.digest(scorecard.draw(table_of(part(1, effect=effect), part(9))))
        for effect in (1.0, 1.1)
    )
    assert first != second


def test_verdicts_are_told_apart_without_colour():
    assert len({marker for _, marker in scorecard.STYLES.values()}) == 4


# ---------------------------------------------------------------- the committed verdicts


def test_committed_verdicts_follow_from_the_committed_records():
    judged = verdicts.of(scorecard.collect(train_missing=False))
    for name, found in (
        ("scorecard", claims.verdicts(judged)),
        ("scorecard_parts", claims.parts(judged)),
    ):
        stored = pd.read_csv(paths.FIGURES / f"{name}.csv").drop(columns=["profile", "variant"])
        assert stored.columns.tolist() == found.columns.tolist()
        for column in stored:
            if found[column].dtype.kind == "f":
                np.testing.assert_allclose(stored[column], found[column], rtol=1e-5, atol=1e-9)
            else:
                assert stored[column].fillna("").tolist() == found[column].tolist()


def test_readme_names_the_verdicts_that_stand():
    text = (paths.ROOT / "README.md").read_text(encoding="utf-8")
    found = {}
    for line in text.split("## What it finds")[1].split("\n## ")[0].splitlines():
        if bold := re.match(r"- \*\*(.*?)\*\*", line):
            found[bold[1]] = {int(number) for number in re.findall(r"\(claim (\d+)\)", line)}
    whole = pd.read_csv(paths.ROOT / "results/figures/scorecard.csv")
    parts = pd.read_csv(paths.ROOT / "results/figures/scorecard_parts.csv")
    undecided = set(whole.claim[whole.verdict == "undecided"])
    at_90 = parts[(parts.part == "sparsity 0.9") & (parts.verdict == "supported")]
    assert found == {
        "supported": set(whole.claim[whole.verdict == "supported"]),
        "contradicted": set(whole.claim[whole.verdict == "contradicted"]),
        "supported at 90 %": set(at_90.claim) & undecided,
    }
