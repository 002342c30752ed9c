"""A user without a home folder: none named, none that can be made or written, no such user.

What needs no home folder works, and what needs one names the variable to set.
"""

import os
import subprocess
import sys

import pytest
from conftest import files_under, outputs_of, redirect_store
from fault_tools import bound_by_permissions

from randprune_core import paths
from randprune_core.bookmaking import notebooks
from randprune_core.data import loading
from randprune_core.sweeps.coverage import variant_at_hand

# A Python that starts as it does for a user whom the system does not list.
_UNLISTED = """
import pwd
def _unknown(who):
    raise KeyError(f"getpwuid(): uid not found: {who}")
pwd.getpwuid = pwd.getpwnam = _unknown
"""
NOWHERE = "/proc/no-home"  # where nobody can make a folder, root neither
HOMES = {
    "none": {},
    "one that cannot be": {"HOME": NOWHERE},
    "one that is a file": {},
    "read-only": {},
}
TRAIN = "train --dataset digits --model resnet-8 --ratio erk --sparsity 0.9 --epochs 1"
TRAIN = [*TRAIN.split(), "--train-images", "100"]


def bare(folder, **variables) -> dict:
    """An environment of a few names only, in which nobody has an entry in the list of users."""
    (folder / "site").mkdir(exist_ok=True)
    (folder / "site" / "sitecustomize.py").write_text(_UNLISTED)
    path = os.pathsep.join((str(folder / "site"), str(paths.ROOT)))
    own = {"PATH": os.environ["PATH"], "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return own | {"RANDPRUNE_RESULTS": str(folder / "results")} | variables


def run(folder, *arguments: str, prefix=(), **variables) -> subprocess.CompletedProcess:
    command = [*prefix, sys.executable, "-m", "randprune_core", *arguments]
    options = {"cwd": paths.ROOT, "capture_output": True, "text": True, "timeout": 500}
    if not prefix:
        options["preexec_fn"] = bound_by_permissions
    return subprocess.run(command, env=bare(folder, **variables), **options)


def home(kind: str, folder) -> dict:
    if kind == "one that is a file":
        (folder / "file").write_text("")
        return {"HOME": str(folder / "file")}
    if kind == "read-only":
        (folder / "home").mkdir(mode=0o555, exist_ok=True)
        return {"HOME": str(folder / "home")}
    return HOMES[kind]


@pytest.mark.parametrize("kind", HOMES)
def test_status_and_check_need_no_home(tmp_path, kind):
    for command in ("status", "check"):
        done = run(tmp_path, command, **home(kind, tmp_path))
        assert (done.returncode, done.stderr) == (0, ""), command


@pytest.mark.parametrize("variable", ["RANDPRUNE_DATA", "RANDPRUNE_RESULTS"])
@pytest.mark.parametrize("value", ["~", "~/data"])
def test_a_home_that_nobody_has_is_named_with_its_variable(tmp_path, variable, value):
    done = run(tmp_path, "status", **{variable: value})
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert f"{variable}={value} names no folder" in done.stderr


def test_data_that_has_no_place_is_asked_for_by_the_variable(tmp_path):
    done = run(tmp_path, "train", "--epochs", "1")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "set RANDPRUNE_DATA to a folder" in done.stderr


@pytest.fixture
def homeless(monkeypatch):
    def unknown(*_):
        raise KeyError("uid not found")

    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR", "RANDPRUNE_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)


def test_no_data_are_at_hand_without_a_home(homeless):
    with pytest.raises(paths.NoHome, match="RANDPRUNE_DATA"):
        paths.data_root()
    assert variant_at_hand("cifar10") is None
    loading._load.cache_clear()
    assert len(loading.load_dataset("digits").train_images)
    assert loading.load_ood_images("digits").keys() == {"photos"}


@pytest.mark.parametrize("place", [None, NOWHERE])
def test_a_kernel_keeps_nothing_at_home(homeless, monkeypatch, tmp_path, place):
    if place:
        monkeypatch.setenv("HOME", place)
    redirect_store(monkeypatch, tmp_path / "results")
    found = notebooks._kernel_environment(tmp_path)
    names = ("IPYTHONDIR", "MPLCONFIGDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")
    for name in (*names, "JUPYTER_RUNTIME_DIR"):
        assert found[name].startswith(str(tmp_path)), name
    assert "RANDPRUNE_DATA" not in found


def test_fonts_stay_where_matplotlib_keeps_them(homeless, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    redirect_store(monkeypatch, tmp_path / "results")
    assert "MPLCONFIGDIR" not in notebooks._kernel_environment(tmp_path)


def everything(folder, prefix=(), **variables):
    """Train, sweep, list and execute a chapter that draws; nothing is said of a home."""
    done = run(folder, *TRAIN, prefix=prefix, **variables)
    assert done.returncode == 0 and "test accuracy" in done.stdout, done.stderr
    sweep = ["sweep", "depth", "--profile", "quick", "--models", "resnet-8", "--ratios", "dense"]
    done = run(folder, *sweep, prefix=prefix, **variables)
    assert done.returncode == 0, done.stderr
    for command in ("status", "check"):
        done = run(folder, command, prefix=prefix, **variables)
        assert (done.returncode, done.stderr) == (0, ""), command
    done = run(folder, "notebook", "14_speed", prefix=prefix, **variables)
    assert (done.returncode, done.stderr) == (0, "")
    (made,) = (folder / "results" / "local" / "14_speed").glob("*/*.ipynb")
    outputs = outputs_of(made)
    assert any("image/png" in out.get("data", {}) for out in outputs)
    assert not [out for out in outputs if out.get("name") == "stderr"]


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["none", "read-only"])
def test_everything_works_without_a_home_and_with_results_elsewhere(tmp_path, kind):
    variables = home(kind, tmp_path)
    if kind == "read-only":
        probe = subprocess.run(["touch", tmp_path / "home/x"], preexec_fn=bound_by_permissions)
        assert probe.returncode, "the folder can be written"
    everything(tmp_path, **variables)
    assert kind != "read-only" or files_under(tmp_path / "home") == []


@pytest.mark.faults
def test_everything_works_for_a_user_whom_the_system_does_not_list(tmp_path):
    user = "54321"
    prefix = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"]
    prefix += ["--inh-caps", "+dac_override", "--ambient-caps", "+dac_override"]  # to read Python
    try:
        able = subprocess.run([*prefix, sys.executable, "-c", ""], capture_output=True)
    except FileNotFoundError:
        pytest.skip("setpriv is not installed")
    if able.returncode:
        pytest.skip("only root may become another user")
    everything(tmp_path, prefix, HOME=NOWHERE, PYTHONDONTWRITEBYTECODE="1")
