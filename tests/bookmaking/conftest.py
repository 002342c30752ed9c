"""A small repository in a temporary folder."""

import pytest

from randprune_core import paths


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty repository in a temporary folder, to which `paths` points."""
    folders = {
        "ROOT": "",
        "NOTEBOOKS": "notebooks",
        "BOOK": "book",
        "BUILD": "_build",
        "RESULTS": "results",
        "RUNS": "results/runs",
        "FAILED": "results/failed",
        "FIGURES": "results/figures",
        "PAPER": "randprune_core/published",
        "LOCAL": "results/local",
        "CHECKPOINTS": "results/checkpoints",
        "BENCHMARKS": "results/benchmarks",
        "COMMITTED_BENCHMARKS": "results/benchmarks",
    }
    for name, folder in folders.items():
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        monkeypatch.setattr(paths, name, tmp_path / folder)
    monkeypatch.setattr(paths, "STORED_OUTPUTS", tmp_path / "notebooks" / "outputs.json")
    for name in ("RANDPRUNE_DATA", "RANDPRUNE_RESULTS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "constraints.txt").write_text("numpy==1\n")
    return tmp_path
