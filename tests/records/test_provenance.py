"""Where a record comes from: commit, versions, device, and nothing of it in what is measured."""

import json
import os
import subprocess
from pathlib import Path

import pandas as pd

from randprune_core import paths
from randprune_core.records.provenance import code_version


def test_a_record_says_where_it_comes_from(trained):
    provenance = trained.record["provenance"]
    assert set(provenance) == {
        "commit",
        "dirty",
        "versions",
        "device",
        "threads",
        "data",
        "started",
        "seconds",
    }
    assert set(provenance["versions"]) == {"python", "torch", "torchvision", "numpy"}
    assert provenance["seconds"] > 0 and provenance["threads"] == 1
    assert provenance["device"]
    when = pd.Timestamp(provenance["started"])
    assert when.utcoffset() == pd.Timedelta(0)


def test_only_provenance_tells_of_time_host_and_folder(trained):
    measured = json.dumps({k: v for k, v in trained.record.items() if k != "provenance"})
    told = [str(paths.ROOT), str(Path.home()), os.uname().nodename]
    told += [trained.record["provenance"]["started"][:10], trained.record["provenance"]["device"]]
    assert not [word for word in told if word in measured]


def test_code_version_outside_a_checkout_is_none(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert code_version() == {"commit": None, "dirty": None}
    monkeypatch.setenv("PATH", "")
    assert code_version() == {"commit": None, "dirty": None}


def test_code_version_sees_changes_to_code_but_not_to_results(monkeypatch, tmp_path):
    def git(*arguments):
        settings = ("-c", "user.name=n", "-c", "user.email=e@example.org")
        command = ["git", "-C", str(tmp_path), *settings, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    (tmp_path / "results").mkdir()
    for name in ("code.py", "results/record.json"):
        (tmp_path / name).write_text("first")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    clean = {"commit": git("rev-parse", "HEAD"), "dirty": False}
    assert code_version() == clean
    (tmp_path / "results" / "record.json").write_text("another")
    (tmp_path / "untracked").touch()
    assert code_version() == clean
    (tmp_path / "code.py").write_text("another")
    assert code_version() == clean | {"dirty": True}
