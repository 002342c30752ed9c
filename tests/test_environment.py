"""A variable of the environment with a value that cannot be is named in one line, exit status 2."""

import os
import subprocess
import sys

import pytest

from randprune_core import paths
from randprune_core.__main__ import main

LONG = "/" + "x" * 5_000
CASES = [
    *[(name, "x") for name in paths.NUMBERS],
    ("TQDM_MININTERVAL", "0,5"),
    ("WORLD_SIZE", "2.5"),
    ("RANDPRUNE_DATA", LONG),
    ("RANDPRUNE_DATA", "/" + "y" * 300),
    ("RANDPRUNE_RESULTS", LONG),
]


@pytest.mark.parametrize(("name", "value"), CASES)
def test_a_wrong_value_is_named_with_its_variable(monkeypatch, capsys, name, value):
    monkeypatch.setenv(name, value)
    assert main(["status"]) == 2
    out, error = capsys.readouterr()
    assert out == "" and len(error.splitlines()) == 1 and len(error) < 250
    assert f"{name}=" in error


def test_a_home_that_cannot_be_found_is_named_with_the_variable_that_asks_for_it(
    monkeypatch, capsys
):
    monkeypatch.setenv("RANDPRUNE_DATA", "~nobody-of-this-name/data")
    assert main(["status"]) == 2
    assert "RANDPRUNE_DATA=~nobody-of-this-name/data names no folder" in capsys.readouterr().err
    with pytest.raises(ValueError, match="RANDPRUNE_DATA"):
        paths.data_root()


@pytest.mark.parametrize("name", ["TQDM_MININTERVAL", "RANDPRUNE_RESULTS"])
def test_the_program_itself_names_it(name):
    value = LONG if name == "RANDPRUNE_RESULTS" else "x"
    done = subprocess.run(
        [sys.executable, "-m", "randprune_core", "status"],
        env=os.environ | {name: value, "PYTHONPATH": str(paths.ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert f"{name}=" in done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [("TQDM_MININTERVAL", "0.5"), ("TQDM_NCOLS", "80"), ("TQDM_DISABLE", "1"), ("TQDM_ASCII", "x")],
)
def test_a_value_that_can_be_is_left_alone(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    paths.check_environment()
