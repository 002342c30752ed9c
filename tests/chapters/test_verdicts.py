"""Chapters, landing page and scorecard show the same parts, which `claims` alone makes."""

import json
import math
import re

import pandas as pd
import pytest
from conftest import made_up_record, store_record

from randprune_core import paths
from randprune_core.analysis import claim_runs, claims
from randprune_core.analysis.decisions import DATE, DECISIONS
from randprune_core.analysis.intervals import Estimate
from randprune_core.analysis.parts import Part
from randprune_core.bookmaking import intro, notebooks
from randprune_core.chapters import gradient_flow
from randprune_core.chapters.shared import verdicts
from randprune_core.chapters.shared.records import Records
from randprune_core.chapters.shared.tables import save_figure_data
from randprune_core.config import run_id
from randprune_core.sweeps import coverage, grids

CHAPTERS = {
    "01_depth": (1, 3),
    "02_width": (2,),
    "03_calibration": (6,),
    "04_ood": (7,),
    "05_robustness": (8,),
    "06_gradient_flow": (9, 10),
    "08_methods": (4, 5),
}
FINDINGS = {
    "01_depth": ("Deeper networks lose less", 1, ("sparsity 0.5", "sparsity 0.9"), "supported"),
    "02_width": (
        "At 90 % sparsity, wider networks lose less",
        2,
        ("sparsity 0.9",),
        "supported",
    ),
    "03_calibration": ("Calibration is no worse", 6, ("sparsity 0.5", "sparsity 0.9"), "supported"),
    "05_robustness": (
        "Pruning 90 % makes large networks easier to attack",
        8,
        ("sparsity 0.9",),
        "contradicted",
    ),
    "06_gradient_flow": (
        "With ERK the gradient norm does not rise first",
        9,
        ("rises, 0.5", "rises, 0.9"),
        "contradicted",
    ),
}
"""Titles that tell a finding, and the verdict on the parts of a claim that they rest on."""


def records_of(profile="mini", figure="depth", variant="jpeg75") -> Records:
    configs = grids.grid(figure, profile, variant=variant)
    return Records(figure, profile, configs, pd.DataFrame({"run_id": []}), True)


@pytest.fixture
def recorded(store):
    """Three seeds of everything that decides in `mini`: sparse networks lose a point in eight."""
    for place, config in enumerate(claim_runs.configs("mini", "jpeg75")):
        if config.seed_init > 2:
            continue
        lost = config.sparsity / len(config.model) + 0.001 * (place % 3)
        record = made_up_record(config, 0.7 - lost)
        record["history"]["lr"] = [0.1] * 80 + [0.01] * 80
        norms = [1.0, 2.0, 1.5] + [1.0 + lost] * 157
        epochs = [float(epoch) for epoch in range(1, 161)]
        record["history"]["gradient_norm"] = {"epoch": epochs, "norm": norms}
        ood = record["test"]["ood"]["photos"]
        record["test"]["ood"] = {"cifar100": ood | {"auroc": 0.7 + 0.1 * lost}}
        record["test"]["pgd"] = {"1": {"accuracy": 0.3 - lost / 9, "n": 10_000}}
        store_record(record)


def test_a_profile_without_a_table_needs_no_runs(store):
    assert claim_runs.configs("cpu", "jpeg75") == claim_runs.configs("quick", "original") == []
    found = verdicts.of(records_of("cpu"), 1, 2)
    assert [each.verdict for each in found] == ["undecided"] * 2
    assert "too short to decide" in found[0].why


def test_runs_that_decide_are_those_of_the_table_with_all_their_seeds():
    configs = claim_runs.configs("mini", "jpeg75")
    assert len(configs) == 15 * 5 + 12 * 3 + 6 * 3  # T1 and T4, T2, the ratios of T5
    assert {config.image_size for config in configs} == {16}
    assert len(claim_runs.configs("mini", "jpeg75", (1,))) == 15 * 5  # the pool beside its own
    assert {config.mask_source for config in configs} == {"random", "own"}


def test_the_control_moves_no_verdict_and_no_predictor(recorded):
    records = records_of("mini", "gradient_flow")
    before = verdicts.of(records), gradient_flow.profile_records(records)
    for config in grids.grid("control", "mini", variant="jpeg75"):
        store_record(made_up_record(config, 0.9 - config.sparsity))
    assert (verdicts.of(records), gradient_flow.profile_records(records)) == before


def test_every_chapter_shows_the_parts_of_the_scorecard(recorded):
    whole = verdicts.of(records_of("mini", "calibration"))
    by_claim = {claim: tuple(p for p in whole if p.claim == claim) for claim in range(1, 12)}
    for name, mine in CHAPTERS.items():
        figure = name.partition("_")[2]
        shown = verdicts.of(records_of("mini", figure), *mine)
        assert shown == tuple(p for claim in sorted(mine) for p in by_claim[claim])
    assert {each.verdict for each in whole} >= {"supported", "undecided", "out of reach"}


def test_landing_page_shows_the_verdicts_of_the_same_parts(recorded, monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "FIGURES", tmp_path)
    found = verdicts.of(records_of())
    table = claims.verdicts(found)
    save_figure_data(table, "scorecard", default=True)
    save_figure_data(claims.parts(found), "scorecard_parts", default=True)
    cards = re.findall(r"link-alt: Claim (\d+), .*: ([a-z ]+)\n", intro.scorecard())
    assert [(int(claim), verdict) for claim, verdict in cards] == [
        (claim, claims.together(p.verdict for p in found if p.claim == claim))
        for claim in range(1, 12)
    ]


def test_chapters_ask_for_their_claims_and_for_no_other_verdict():
    for name, mine in CHAPTERS.items():
        cells = json.loads((paths.NOTEBOOKS / f"{name}.ipynb").read_text())["cells"]
        source = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        (asked,) = re.findall(r"verdicts\.of\(records, ([\d, ]+)\)", source)
        assert tuple(int(claim) for claim in asked.split(", ")) == mine
        assert "verdicts.brief(parts" in source


@pytest.mark.parametrize("name", FINDINGS)
def test_a_title_tells_what_is_decided(name):
    title, claim, parts, verdict = FINDINGS[name]
    first = notebooks.read_notebook(notebooks.chapter(name))["cells"][0]
    assert f"# {title}" in "".join(first["source"]).splitlines()
    found = pd.read_csv(paths.FIGURES / "scorecard_parts.csv")
    found = found[(found.claim == claim) & found.part.isin(parts)]
    assert found.verdict.to_list() == [verdict] * len(parts)


@pytest.mark.parametrize("profile", ["mini", "paper"])
def test_a_chapter_depends_on_every_run_that_its_verdicts_read(profile):
    """Else a batch of records would change a verdict and leave its chapter as it was."""
    variant = coverage.recorded_variant(profile)
    for name, mine in CHAPTERS.items():
        read = notebooks.records_read(name)
        configs = claim_runs.configs(profile, variant, mine)
        seeds = {seed for seed in range(5) if profile == "mini" or seed < 3}
        needed = {run_id(config) for config in configs if config.seed_init in seeds}
        assert read is None or needed <= read


def test_nothing_else_decides():
    """Only `parts` holds an interval against a threshold; chapters take what it says."""
    callers = [
        path.name
        for path in (paths.ROOT / "randprune_core").rglob("*.py")
        if re.search(r"\bdecide\(", path.read_text(encoding="utf-8"))
    ]
    assert sorted(callers) == ["claim_tests.py", "intervals.py", "parts.py"]


def test_a_claim_has_the_verdict_of_its_parts():
    sure = Estimate(1.0, 0.9, 1.1, 3)
    parts = [
        Part(1, "sparsity 0.5", "points", lacking="no runs"),
        Part(1, "sparsity 0.9", "points", estimate=sure, own=sure),
        Part(5, "ERK", "points", estimate=sure, own=sure),
        Part(5, "ImageNet", kind="cited", lacking="cited"),
    ]
    assert verdicts.verdict(parts, 1) == "undecided" and verdicts.verdict(parts, 5) == "supported"
    lead, _, head, _, *rows = verdicts.brief(parts).splitlines()
    assert "a larger effect speaks more for the claim" in lead
    names, *rows = [[cell.strip(" ") for cell in row.split("|")[1:-1]] for row in (head, *rows)]
    assert names == ["claim", "verdict", "effect", "97.5 % interval", "supported if", "runs"]
    assert lead.endswith("; 1 part cannot be told yet.")
    assert [row[:2] for row in rows] == [
        ["1, sparsity 0.9", "supported"],
        ["5, ERK", "supported"],
    ]
    assert rows[0][2:4] == ["1.00\u00a0points", "0.90\u00a0to\u00a01.10"]
    assert verdicts.brief([Part(4, "", lacking="this profile decides nothing")]) == ""
    wide = Estimate(1.0, -0.5, 2.5, 3)
    held = Part(3, "widest", "points", threshold=-0.3, estimate=sure, own=wide)
    shown = verdicts.brief([held])
    assert (
        held.verdict == "undecided"
        and "A second interval stands where it keeps a verdict back." in shown
    )
    assert "0.90\u00a0to\u00a01.10; and −0.50\u00a0to\u00a02.50" in shown


def test_table_shows_both_intervals_and_what_would_decide():
    estimate, own = Estimate(0.25, -0.1, 0.6, 3), Estimate(0.25, -0.5, 1.0, 3)
    part = Part(3, "deepest", "points", "x", estimate, own, -0.3, frozenset("abcdef"), 3, 7)
    table = verdicts.table([part, Part(6, "", "ECE", lacking="none", threshold=-0.005)])
    first, second = table.to_dict("records")
    assert first["effect"] == "0.25\u00a0points" and first["supported if"] == "above\u00a0−0.3"
    assert first["97.5 % intervals"] == "−0.10 to 0.60; −0.50 to 1.00".replace(
        " to ", "\u00a0to\u00a0"
    )
    assert first["runs"] == "6, 3 seeds" and first["verdict"] == "undecided (7 seeds would decide)"
    assert second["effect"] == second["97.5 % intervals"] == "–"
    assert (second["runs"], second["verdict"]) == ("0", "undecided")
    assert second["supported if"] == "above\u00a0−0.005" and second["claim"] == "6"


def test_the_table_of_decisions_is_shown_whole_with_its_date():
    shown = verdicts.show_decisions("cpu").data
    assert DATE in shown and "profile mini" in shown
    for profile in ("mini", "paper"):
        rows = [row for row in DECISIONS if row.profile == profile]
        assert len(verdicts.decision_table(profile)) == len(rows)
    assert "- Claim 7 (sparsity 0.5) and 7 (sparsity 0.9): the foreign images are the same" in shown
    assert "ERK − dense: mean" in shown and "dense − ERK: fall with depth, per doubling" in shown


def test_the_table_of_decisions_names_no_column_of_the_records():
    assert {row.metric for row in DECISIONS} == set(verdicts.METRICS)
    shown = verdicts.show_decisions("mini").data
    assert not [name for name in verdicts.METRICS if "." in name and name in shown]


def test_nan_is_never_drawn_as_a_number():
    row = Part(1, "x").row()
    assert math.isnan(row["effect"]) and math.isnan(row["own_low"]) and math.isnan(row["needed"])
