"""Paths: where data is looked for, and that the store can be moved."""

import os
import subprocess
import sys
from pathlib import Path

from randprune_core import paths


def test_data_root_is_the_users_cache_when_the_variable_is_unset_or_empty(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    monkeypatch.delenv("RANDPRUNE_DATA", raising=False)
    assert paths.data_root() == Path("/somewhere/randprune")
    monkeypatch.setenv("RANDPRUNE_DATA", "")
    assert paths.data_root() == Path("/somewhere/randprune")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert paths.data_root() == Path.home() / ".cache" / "randprune"


def test_data_root_is_absolute_and_knows_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("RANDPRUNE_DATA", "~/pictures")
    assert paths.data_root() == Path.home().resolve() / "pictures"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RANDPRUNE_DATA", "here")
    assert paths.data_root() == tmp_path.resolve() / "here"


def test_root_is_the_folder_that_holds_the_package():
    assert (paths.ROOT / "randprune_core" / "paths.py").samefile(paths.__file__)


def test_a_variable_moves_the_whole_results_folder(tmp_path):
    code = "from randprune_core import paths as p; print(p.RUNS, p.record_path('digits', 'abc'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "RANDPRUNE_RESULTS": str(tmp_path)},
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    runs = tmp_path.resolve() / "runs"
    assert done.stdout.split() == [str(runs), str(runs / "digits" / "abc.json")]


def test_the_store_fixture_keeps_tests_out_of_the_projects_results(store):
    for path in (
        paths.record_path("digits", "abc"),
        paths.failed_path("abc"),
        paths.checkpoint_path("abc"),
        paths.lock_path("abc"),
    ):
        assert path.is_relative_to(store)
        assert "abc" in path.name


def test_committed_benchmarks_are_read_wherever_results_go_until_there_are_own_ones(tmp_path):
    code = (
        "from randprune_core.analysis.benchmarks import benchmark, machines\n"
        "for name in ('training_speed', 'scaling', 'granularity'):\n"
        "    print(name, len(benchmark(name)), len(machines(name)))"
    )

    def shown(results: Path) -> list[str]:
        environment = os.environ | {"RANDPRUNE_RESULTS": str(results)}
        options = {"env": environment, "cwd": paths.ROOT, "capture_output": True, "text": True}
        return subprocess.run([sys.executable, "-c", code], **options).stdout.splitlines()

    committed = shown(paths.ROOT / "results")
    assert len(committed) == 3 and not any(" 0" in line for line in committed)
    assert shown(tmp_path) == committed
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "scaling.csv").write_text(
        "grows,model,device,processor\ndepth,resnet-8,cpu,a-processor\n"
    )
    assert shown(tmp_path) == [committed[0], "scaling 1 0", committed[2]]


def test_what_the_paper_published_is_read_wherever_results_go(tmp_path):
    code = (
        "from randprune_core import paths as p; from randprune_core.analysis import published\n"
        "print(len(published.figure1()), p.PAPER.parent.samefile(p.PACKAGE), p.RUNS)"
    )
    environment = os.environ | {"RANDPRUNE_RESULTS": str(tmp_path), "PYTHONPATH": str(paths.ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    rows, own, runs = done.stdout.split()
    assert int(rows) > 0 and own == "True", done.stderr
    assert runs == str(tmp_path.resolve() / "runs")
