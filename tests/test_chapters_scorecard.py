import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import made_up_record, store_record

from randprune_core import claims, paths
from randprune_core.chapters import scorecard
from randprune_core.chapters.common import Records
from randprune_core.config import RunConfig
from randprune_core.gradient_claims import GRADIENT
from randprune_core.presentation import plots
from randprune_core.records.table import records_to_frame
from randprune_core.sweeps import grids
from randprune_core.sweeps import sweep as sweep_module

CURVE = {"epoch": [1.0, 2.0, 3.0, 4.0], "norm": [1.0, 2.0, 1.5, 1.5]}


def part(claim=1, verdict="supported", effect=1.0, reach=0.5, **changes) -> dict:
    row = {"claim": claim, "part": "a part", "verdict": verdict, "effect": effect}
    row |= {"low": effect - reach, "high": effect + reach, "runs": 6, "threshold": 0.0}
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


def store_run(config: RunConfig) -> None:
    record = made_up_record(config)
    record["history"]["lr"] = [0.1] * config.epochs
    record["history"]["gradient_norm"] = CURVE
    record["cost"]["dense_weights"] = 1_000
    store_record(record)


# ---------------------------------------------------------------- what is collected


def test_empty_store_gives_undecided_claims_and_no_error(store):
    records, runs = scorecard.collect(profile="paper", train_missing=False)
    found = claims.verdicts(runs)
    assert runs.empty and set(found.verdict) == {"undecided"}
    assert "support none, contradict none and leave 11 undecided" in scorecard.summary(
        found, records
    )
    assert "no seed" in scorecard.summary(found, records)


def test_grid_is_that_of_all_figures_without_repetition(store):
    records, _ = scorecard.collect(profile="paper", train_missing=False)
    models = {config.model for config in records.configs}
    assert {"resnet-20", "resnet-110", "resnet-20-32"} <= models
    assert len(set(records.configs)) == len(records.configs)
    assert {config.variant for config in records.configs} == {"original"}


def test_parameters_limit_the_grid_and_are_no_default(store, monkeypatch):
    monkeypatch.setattr(sweep_module, "collect", lambda configs, **how: records_to_frame([]))
    lists = {"models": "resnet-8", "ratios": ["dense", "erk"], "sparsities": 0.9, "seeds": [0]}
    records, _ = scorecard.collect(profile="cpu", train_missing=False, **lists)
    assert [config.ratio for config in records.configs] == ["dense", "erk"]
    assert not records.default
    assert scorecard.collect()[0].default


def test_own_masks_and_other_ratios_are_used_where_they_are_recorded(store):
    grid = grids.grid("depth", "quick", models=["resnet-8"], ratios=["dense", "erk"])
    own = replace(grid[1], ratio="snip", mask_source="own")
    other = replace(grid[1], ratio="grasp")
    elsewhere = replace(grid[1], seed_mask=7)
    for config in (*grid, own, other, elsewhere):
        store_run(config)
    runs = scorecard.all_runs(grid, ("dense", "erk", "snip", "grasp"))
    assert len(runs) == len(grid) + 2
    assert set(runs.loc[runs.mask_source == "own", "ratio"]) == {"snip"}
    assert len(scorecard.all_runs(grid, ("dense", "erk"))) == len(grid)


def test_gradient_norms_of_the_histories_become_columns(store):
    config = grids.grid("depth", "quick")[0]
    store_run(config)
    runs = scorecard.all_runs([config], ())
    assert runs[list(GRADIENT)].notna().all(axis=None)
    assert runs["gradient.flat"][0] == 1.5 and runs["gradient.initial"][0] == 1.0


# ---------------------------------------------------------------- words


def test_summary_counts_the_verdicts():
    found = verdicts_of(
        part(1), part(2), part(3, "contradicted"), part(11, "undecided", kind="cited")
    )
    assert scorecard.summary(found, RECORDS) == (
        "Of the paper's 4 claims the records of this book support 2, contradict 1 and leave 1 "
        "undecided, 1 of these because it is only cited (profile cpu, CIFAR-10, copy jpeg75, no "
        "seed a cell)."
    )


def test_table_shows_intervals_units_and_what_is_only_cited():
    table = scorecard.table(
        verdicts_of(
            part(1),
            part(6, "undecided", -0.01, math.nan, unit="ECE", threshold=-0.005),
            part(2, "undecided", math.nan),
            part(11, "undecided", math.nan, kind="cited"),
        )
    )
    assert table.effect.tolist() == ["1.00 [0.50, 1.50] points", "−0.0100 ECE", "–", "–"]
    assert table.threshold.tolist() == ["0", "−0.005", "–", "–"]
    assert table.verdict.tolist() == ["supported", "undecided", "undecided", "cited only"]


def test_paragraphs_name_claim_verdict_runs_chapter_and_every_reason():
    parts = table_of(part(1, why="One."), part(1, why="Two."), part(2, why="Three.", runs=0))
    text = scorecard.paragraphs(verdicts_of(part(1), part(2, runs=0)), parts).data
    first, second = text.split("\n\n")
    assert first == ("**1. A statement: supported**, from 6 runs ({ref}`chapter-depth`). One. Two.")
    assert second == "**2. A statement: supported** ({ref}`chapter-width`). Three."


def test_a_claim_that_is_only_cited_is_called_so_in_its_paragraph():
    row = part(11, "undecided", math.nan, kind="cited", runs=0)
    text = scorecard.paragraphs(verdicts_of(row), table_of(row)).data
    assert text == "**11. A statement: cited only**. A reason."


def test_that_one_seed_decides_nothing_is_said_once():
    reasons = [f"{name} is 1.00 points, but one seed decides nothing." for name in "AB"]
    parts = table_of(*(part(1, why=reason) for reason in [*reasons, "No runs."]))
    text = scorecard.paragraphs(verdicts_of(part(1)), parts).data
    assert text.endswith(
        "A is 1.00 points (one seed). B is 1.00 points (one seed). No runs. One seed decides "
        "nothing."
    )
    alone = scorecard.paragraphs(verdicts_of(part(1)), table_of(part(1, why=reasons[0]))).data
    assert alone.endswith(reasons[0])


def test_the_unit_of_an_effect_is_written_in_full():
    row = part(10, effect=0.36, reach=0.1, unit="of the rank variance")
    effect = scorecard.table(verdicts_of(row)).effect[0]
    assert effect == "0.36 [0.26, 0.46] of the rank variance"


def test_every_claim_has_a_chapter_and_a_title():
    assert set(scorecard.TITLES) == set(claims.STATEMENTS) == {*scorecard.CHAPTERS, 11}


def test_rules_state_the_margins():
    assert "0.3 points" in scorecard.rules() and "0.005 of AUROC" in scorecard.rules()


# ---------------------------------------------------------------- the picture


def test_picture_writes_each_verdict_as_a_word_and_of_each_claim():
    rows = [
        part(1),
        part(1, "undecided", -1.0, 2.0),
        part(3, "contradicted", -2.0),
        part(6, "undecided", math.nan),
        part(9, "supported", 0.5, 0.1),
        part(11, "undecided", math.nan, kind="cited"),
    ]
    shown = texts(scorecard.draw(table_of(*rows)))
    assert shown == [
        *("1  gap shrinks with depth", "undecided", "supported", "undecided"),
        *("3  large networks match dense", "contradicted", "contradicted"),
        *("6  calibration no worse", "undecided", "no runs"),
        *("9  gradient norm and accuracy", "supported", "supported"),
        *("11  Wide ResNet-50-2, ImageNet", "cited only"),
    ]


def test_picture_draws_calibration_times_a_hundred_and_one_seed_without_a_line():
    rows = (
        part(6, effect=0.02, reach=0.01, unit="ECE", threshold=-0.005),
        part(8, "undecided", -2.0, math.nan, threshold=-0.3),
        part(10),
    )
    figure = scorecard.draw(table_of(*rows))
    drawn = [list(line.get_xdata()) for line in figure.axes[0].lines]
    assert [-0.5, -0.5] in drawn and [2.0] in drawn and [-2.0] in drawn
    assert [pytest.approx(1.0), pytest.approx(3.0)] in drawn
    assert not any(np.isnan(line).any() for line in drawn)


def test_picture_of_an_empty_grid_names_all_claims():
    figure = scorecard.draw(claims.parts(pd.DataFrame()))
    shown = texts(figure)
    assert sum(text == "undecided" for text in shown) == 10
    assert plots.digest(figure).startswith("2 panels")


def test_picture_that_draws_another_effect_has_another_digest():
    first, second = (
        plots.digest(scorecard.draw(table_of(part(1, effect=effect), part(9))))
        for effect in (1.0, 1.1)
    )
    assert first != second


def test_verdicts_are_told_apart_without_colour():
    assert len({marker for _, marker in scorecard.STYLES.values()}) == 3


# ---------------------------------------------------------------- the committed verdicts


def test_committed_verdicts_follow_from_the_committed_records():
    _, runs = scorecard.collect(train_missing=False)
    for name, found in (
        ("scorecard", claims.verdicts(runs)),
        ("scorecard_parts", claims.parts(runs)),
    ):
        stored = pd.read_csv(paths.FIGURES / f"{name}.csv").drop(columns=["profile", "variant"])
        assert stored.columns.tolist() == found.columns.tolist()
        for column in stored:
            if found[column].dtype.kind == "f":
                np.testing.assert_allclose(stored[column], found[column], rtol=1e-5, atol=1e-9)
            else:
                assert stored[column].fillna("").tolist() == found[column].tolist()
