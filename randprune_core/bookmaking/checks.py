"""What contradicts itself in the results, and how to mend it: `python -m randprune_core check`.

Records are compared with their own configs and numbers, the stored outputs of the chapters with
what they were made from, and each figure's CSV and SVG with the digest that its chapter printed.
"""

import csv
import hashlib
import re
from collections.abc import Iterator
from math import isclose
from pathlib import Path

from .. import paths
from ..config import run_id
from ..presentation import foreign
from ..records.failures import read_failure
from ..records.files import BadRecord, listed
from ..records.store import flatten, read_record, record_files
from . import drawings, notebooks

_PRINTED = re.compile(r"^results/figures/(\w+\.csv): \d+ rows, digest ([0-9a-f]{12})$", re.M)
_REFRESH = "run `python -m randprune_core book --refresh`"


def check() -> list[str]:
    """All problems, one line each with what to run against it; empty where there is none.

    Chapters and figures belong to the records in the repository: with `$RANDPRUNE_RESULTS` set to
    another folder, only its records are looked at.
    """
    problems = check_records()
    if paths.RESULTS == paths.ROOT / "results":
        problems += check_notebooks() + check_figures()
    return problems


def check_records() -> list[str]:
    """What contradicts itself in the store, one line a problem: files, budgets, ranges."""
    problems = []
    for path in record_files():
        try:
            record = read_record(path)
            found = [f"{path}: {problem}" for problem in _contradictions(record)]
        except BadRecord as error:
            found = [str(error)]
        except (KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
            found = [f"{path}: a section is not complete ({error!r})"]
        problems += [f"{problem}; {_train_again(path)}" for problem in found]
    for path in listed(paths.FAILED, "*.json"):
        try:
            read_failure(path)
        except BadRecord as error:
            problems.append(f"{error}; delete it")
    return problems


def _contradictions(record: dict) -> Iterator[str]:
    config, layers, test = record["config"], record["layers"], record["test"]
    total = sum(layer["total"] for layer in layers)
    kept = sum(layer["kept"] for layer in layers)
    budget = (1 - config["sparsity"]) * total
    if config["granularity"] == "unstructured" and abs(kept - budget) > len(layers):
        yield f"keeps {kept} of {total} weights, but sparsity {config['sparsity']} is {budget:.0f}"
    if kept != record["cost"]["kept_weights"]:
        yield f"layers keep {kept} weights, cost says {record['cost']['kept_weights']}"
    if len(record["history"]["epoch"]) != config["epochs"]:
        yield f"history has {len(record['history']['epoch'])} of {config['epochs']} epochs"
    for name, value in flatten(test).items():
        fraction = name.endswith(("accuracy", "ece", "auroc", "fpr95", "auroc_energy"))
        if fraction and not 0 <= value <= 1:
            yield f"{name} is {value}, not a fraction in [0, 1]"
    yield from _against_bins(test)


def _against_bins(test: dict) -> Iterator[str]:
    """Accuracy and ECE are means over the calibration bins: an edited number does not fit."""
    bins = [row for row in test["bins"] if row["count"]]
    counted = sum(row["count"] for row in bins)
    if counted != test["n"]:
        yield f"the calibration bins hold {counted} images, the test set {test['n']}"
        return
    accuracy = sum(row["count"] * row["accuracy"] for row in bins) / counted
    ece = sum(row["count"] * abs(row["accuracy"] - row["confidence"]) for row in bins) / counted
    for name, expected in (("accuracy", accuracy), ("ece", ece)):
        if not isclose(test[name], expected, abs_tol=1e-5):
            yield f"{name} is {test[name]}, but its calibration bins give {expected:.6f}"


def _train_again(path: Path) -> str:
    """What to do about a record that is no good: the sweep that trains its run, where one does."""
    from ..sweeps.grids import dataset_of, figures_at, grid
    from ..sweeps.profiles import PROFILES

    command = "the sweep that made it"
    for profile, settings in PROFILES.items():
        for variant in {settings.get("variant"), "jpeg75", "original"} - {None}:
            for figure in figures_at(profile):
                if dataset_of(figure, profile) != path.parent.name:
                    continue
                if path.stem in map(run_id, grid(figure, profile, variant=variant)):
                    command = f"`python -m randprune_core sweep {figure} --profile {profile}`"
    return f"restore it, or move it away and run {command}"


def check_notebooks() -> list[str]:
    """Chapters whose stored outputs were made from other cells, code or records than there are."""
    problems = []
    stored = notebooks.stored_fingerprints()
    for name, source in notebooks.chapters().items():
        try:
            key = notebooks.fingerprint(source, {}, notebooks.surroundings(name))
        except (ValueError, LookupError, TypeError) as error:
            problems.append(f"{source}: not readable as a notebook ({error!r}); restore it")
            continue
        if stored.get(name) != key:
            why = "were made from other cells, code or records than there are now"
            problems.append(f"{source}: its stored outputs {why}; {_REFRESH}")
    return problems


def check_figures() -> list[str]:
    """Files in `results/figures/` that are not what the stored outputs of a chapter say of them.

    Of a figure that differs between machines the SVG need only be there. Any CSV below `results/`
    with a cell that a spreadsheet would take for a formula is named too.
    """
    problems, named = [], set()
    for chapter, source in notebooks.chapters().items():
        remedy = f"run `python -m randprune_core notebook {chapter}`, which writes it again"
        for name, digest in _PRINTED.findall(_printed(source)):
            named.add(name)
            path = paths.FIGURES / name
            if not path.is_file():
                problems.append(f"{path}: missing, though {source.name} names it; {remedy}")
            elif hashlib.sha256(paths.content(path)).hexdigest()[:12] != digest:
                problems.append(f"{path}: not the numbers that {source.name} drew; {remedy}")
        for drawing in _drawings(source):
            named |= {f"{drawing.name}{ending}.svg" for ending in drawings.KINDS}
            if problem := drawings.problem(paths.FIGURES, drawing):
                problems.append(f"{problem}; {remedy}")
    for path in sorted([*paths.FIGURES.glob("*.csv"), *paths.FIGURES.glob("*.svg")]):
        if path.name not in named:
            problems.append(f"{path}: no chapter's stored outputs name it; {_REFRESH} or delete it")
    benchmarks = {paths.COMMITTED_BENCHMARKS, paths.BENCHMARKS}
    for folder in (paths.FIGURES, paths.PAPER, *sorted(benchmarks)):
        for path in sorted(folder.glob("*.csv")):
            try:
                with path.open(encoding="utf-8", newline="") as file:
                    found = foreign.formulas(file.read())
            except (ValueError, csv.Error) as error:
                problems.append(f"{path}: not readable as CSV ({error}); restore it")
                continue
            if found:
                problems.append(
                    f"{path}: a spreadsheet takes its cell {found[0]!r} for a formula; restore it"
                )
    return problems


def _drawings(source: Path) -> list[drawings.Drawing]:
    """The figures among the stored outputs of a notebook; none for no notebook."""
    try:
        return list(drawings.drawn(notebooks.read_notebook(source)))
    except (ValueError, LookupError, TypeError, AttributeError):
        return []


def _printed(source: Path) -> str:
    """What the stored outputs of a notebook hold as plain text; empty for no notebook."""
    try:
        cells = notebooks.read_notebook(source)["cells"]
        outputs = [output for cell in cells for output in cell.get("outputs", ())]
        return "\n".join("".join(output.get("text", "")) for output in outputs)
    except (ValueError, LookupError, TypeError, AttributeError):
        return ""
