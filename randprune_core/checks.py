"""What contradicts itself in the record store: `python -m randprune_core check`."""

from collections.abc import Iterator

from . import paths
from .runs import BadRecord, flatten, read_record


def check_records() -> list[str]:
    """What contradicts itself in the store, one line a problem: files, budgets, ranges."""
    problems = []
    for path in sorted(paths.RUNS.glob("*/*.json")):
        try:
            record = read_record(path)
        except BadRecord as error:
            problems.append(str(error))
            continue
        try:
            problems += [f"{path}: {problem}" for problem in _contradictions(record)]
        except (KeyError, TypeError, AttributeError) as error:
            problems.append(f"{path}: a section is not complete ({error!r})")
    return problems


def _contradictions(record: dict) -> Iterator[str]:
    config, layers = record["config"], record["layers"]
    total = sum(layer["total"] for layer in layers)
    kept = sum(layer["kept"] for layer in layers)
    budget = (1 - config["sparsity"]) * total
    if config["granularity"] == "unstructured" and abs(kept - budget) > len(layers):
        yield f"keeps {kept} of {total} weights, but sparsity {config['sparsity']} is {budget:.0f}"
    if kept != record["cost"]["kept_weights"]:
        yield f"layers keep {kept} weights, cost says {record['cost']['kept_weights']}"
    if len(record["history"]["epoch"]) != config["epochs"]:
        yield f"history has {len(record['history']['epoch'])} of {config['epochs']} epochs"
    for name, value in flatten(record["test"]).items():
        fraction = name.endswith(("accuracy", "ece", "auroc", "fpr95", "auroc_energy"))
        if fraction and not 0 <= value <= 1:
            yield f"{name} is {value}, not a fraction in [0, 1]"
    counted = sum(row["count"] for row in record["test"]["bins"])
    if counted != record["test"]["n"]:
        yield f"the calibration bins hold {counted} images, the test set {record['test']['n']}"
