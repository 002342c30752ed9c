"""What is around a command: its results folder, its streams, its parameters, other processes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import files_under, made_up_record, store_record, tiny

from randprune_core import paths
from randprune_core.bookmaking import checks, notebooks
from randprune_core.bookmaking.notebooks import parse_parameters
from randprune_core.config import RunConfig, run_id
from randprune_core.records.locks import holder, lock, try_lock

COMMAND = [sys.executable, "-m", "randprune_core"]


def run(*arguments: str, variables: dict | None = None, **options) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in (os.environ | (variables or {})).items() if v is not None}
    options = {"capture_output": True, "text": True, "timeout": 60, "cwd": paths.ROOT} | options
    return subprocess.run([*COMMAND, *arguments], env=environment, check=False, **options)


# --- the results folder ----------------------------------------------------------------------


def test_the_variable_may_name_the_home_folder(tmp_path):
    code = "from randprune_core import paths as p; print(p.RUNS)"
    environment = os.environ | {"RANDPRUNE_RESULTS": "~/x", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == str(tmp_path.resolve() / "x" / "runs"), done.stderr


CANNOT_BE = {
    "a long name": "/" + "x" * 300,
    "a long path": "/xxxxxxxx" * 1_000,
    "nobody's home": "~nobody-of-this-name/x",
    "below a file": "/dev/null/x",
}


@pytest.mark.parametrize("variable", ["RANDPRUNE_RESULTS", "RANDPRUNE_DATA"])
@pytest.mark.parametrize("kind", CANNOT_BE)
def test_a_folder_that_cannot_be_is_one_line_that_names_the_variable(
    tmp_path, variable, kind, survived
):
    variables = {"RANDPRUNE_RESULTS": str(tmp_path), variable: CANNOT_BE[kind]}
    done = run("status", variables=variables)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert len(done.stderr.splitlines()) == 1 and variable in done.stderr
    assert len(done.stderr) < 300
    survived()


def test_links_that_go_in_circles_are_one_line(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    done = run("status", variables={"RANDPRUNE_RESULTS": str(tmp_path / "loop")})
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "RANDPRUNE_RESULTS" in done.stderr


def test_a_results_folder_behind_a_link_is_checked_like_any_other(tmp_path, monkeypatch):
    real = tmp_path / "elsewhere"
    real.mkdir()
    root = tmp_path / "root"
    root.mkdir()
    (root / "results").symlink_to(real)
    monkeypatch.setattr(paths, "ROOT", root)
    for given in (None, str(real), str(root / "results")):
        monkeypatch.delenv("RANDPRUNE_RESULTS", raising=False)
        if given:
            monkeypatch.setenv("RANDPRUNE_RESULTS", given)
        assert paths._results() == root / "results"  # which `check` compares with
    monkeypatch.setenv("RANDPRUNE_RESULTS", str(tmp_path))
    assert paths._results() == tmp_path.resolve()


def test_what_a_chapter_depends_on_is_the_same_behind_a_link(store, tmp_path):
    store_record(made_up_record(RunConfig(ratio="erk", sparsity=0.9)))
    before = notebooks.surroundings()
    moved = store.rename(tmp_path / "moved")
    store.symlink_to(moved)
    assert notebooks.surroundings() == before
    (store / "runs").rename(tmp_path / "runs")
    (store / "runs").symlink_to(tmp_path / "runs")
    assert notebooks.surroundings() == before
    (store / "runs" / "cifar10" / "loop").symlink_to(store)
    assert notebooks.surroundings() == before
    assert checks.check_records() == []


# --- waiting ---------------------------------------------------------------------------------


def test_the_holder_of_a_lock_is_known_by_its_number(store):
    name = run_id(tiny())
    assert holder(name) == "another process"
    with lock(name):
        assert holder(name).startswith(f"process {os.getpid()} on ")
        assert try_lock(name) is None


def test_train_says_for_whom_it_waits(store):
    config = tiny(epochs=1, train_images=50)
    options = {"epochs": 1, "train-images": 50, "dataset": "digits", "model": "resnet-8"}
    options |= {"ratio": "erk", "sparsity": 0.9, "batch-size": 50}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    with lock(run_id(config)):
        process = subprocess.Popen(
            [*COMMAND, "train", *words, "--precision", "float32"],
            cwd=paths.ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = process.stderr.readline()
        assert f"waiting for process {os.getpid()} on " in line and run_id(config) in line
        store_record(made_up_record(config))  # so that nothing has to be trained
        time.sleep(0.1)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 0 and error == "" and "test accuracy" in out
    assert files_under(store) == [f"runs/digits/{run_id(config)}.json"]


# --- parameters ------------------------------------------------------------------------------

BOMBS = {
    "laughs": "[&a [1, 1], &b [*a, *a], &c [*b, *b], [*c, *c]]",
    "many laughs": "{a: &a [x, x, x], b: &b [*a, *a, *a], c: [*b, *b, *b]}",
    "circle": "&a [*a]",
    "merge": "{a: &a {b: 1}, c: {<<: *a}}",
    "long": "[" + "1," * 100_000 + "1]",
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_value_that_repeats_itself_is_refused(kind, survived):
    with pytest.raises(ValueError, match="parameter models") as raised:
        parse_parameters([("models", BOMBS[kind])])
    assert len(str(raised.value)) < 200
    survived()


@pytest.mark.parametrize("text", ["*a", "&a", "a & b", "[" * 5_000, "9" * 5_000, "a*b&c"])
def test_other_odd_values_are_texts(text, survived):
    value = parse_parameters([("models", text)])["models"]
    assert value == text or value is None
    survived()


@pytest.mark.parametrize("name", ["weight_decay", "sparsity", "momentum"])
def test_minus_zero_is_zero_in_a_config(name):
    others = {"nesterov": False}
    plus, minus = (RunConfig(**{name: zero}, **others) for zero in (0.0, -0.0))
    assert run_id(plus) == run_id(minus) and str(getattr(minus, name)) == "0.0"


# --- streams ---------------------------------------------------------------------------------

STREAMS = ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full", "| true", "2>&1 | true"]


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize(
    ("arguments", "status"), [("check", 1), ("train --sparsity 2", 2), ("status --json", 0)]
)
def test_closed_streams_change_no_exit_status(store, stream, arguments, status, survived):
    bad = paths.RUNS / "digits" / "0123456789ab.json"
    bad.parent.mkdir(parents=True)
    bad.write_text("{")
    command = f"{' '.join(COMMAND)} {arguments} {stream}"
    done = subprocess.run(
        ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"],
        cwd=Path(paths.ROOT),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    wanted = {status, 141} if "|" in stream else {status}
    assert done.returncode in wanted and "Traceback" not in done.stderr + done.stdout
    assert "Exception ignored" not in done.stderr
    survived()


@pytest.mark.parametrize("arguments", [("status",), ("train", "--model", "rés-ñ\u2028")])
def test_ascii_streams_take_every_letter(store, arguments, survived):
    variables = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    done = run(*arguments, variables=variables)
    assert done.returncode in (0, 2) and "Traceback" not in done.stderr
    survived()
