"""Where a record comes from: commit, versions, device, and nothing of it in what is measured."""

import json
import os
import subprocess
from pathlib import Path

import pandas as pd
import pytest

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
    started, device = (trained.record["provenance"][name] for name in ("started", "device"))
    secret = [str(paths.ROOT), str(Path.home()), os.uname().nodename, started[:10], device]
    assert not [word for word in secret if word in measured]


def test_code_version_outside_a_checkout_is_none(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    assert code_version() == {"commit": None, "dirty": None}
    monkeypatch.setenv("PATH", "")
    assert code_version() == {"commit": None, "dirty": None}


def git_in(folder: Path, *arguments: str) -> str:
    """One git command, with nothing of the caller's environment or configuration."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
    nothing = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    settings = ("-c", "user.name=n", "-c", "user.email=e@example.org")
    settings += ("-c", "protocol.file.allow=always")
    command = ["git", "-C", str(folder), *settings, *arguments]
    done = subprocess.run(command, env=kept | nothing, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def checkout(folder: Path, text: str = "first") -> str:
    """A repository with one commit; its name."""
    folder.mkdir(parents=True, exist_ok=True)
    git_in(folder, "init", "-q")
    (folder / "code.py").write_text(text)
    git_in(folder, "add", ".")
    git_in(folder, "commit", "-q", "-m", text)
    return git_in(folder, "rev-parse", "HEAD")


UNKNOWN = {"commit": None, "dirty": None}


@pytest.mark.parametrize("below", ["copy", "a/b/copy", "ignored/copy"])
def test_a_copy_inside_another_repository_has_no_commit(monkeypatch, tmp_path, below):
    checkout(tmp_path / "other")
    (tmp_path / "other" / ".gitignore").write_text("ignored/")
    copy = tmp_path / "other" / below
    copy.mkdir(parents=True)
    monkeypatch.setattr(paths, "ROOT", copy)
    assert code_version() == UNKNOWN
    git_in(tmp_path / "other", "add", ".")  # nor has one that the other repository tracks
    assert code_version() == UNKNOWN


@pytest.mark.parametrize(
    "names",
    [
        ("GIT_DIR",),
        ("GIT_DIR", "GIT_WORK_TREE"),
        ("GIT_DIR", "GIT_INDEX_FILE"),
        ("GIT_COMMON_DIR",),
    ],
)
@pytest.mark.parametrize("own", [True, False])
def test_exported_variables_of_git_name_no_other_repository(monkeypatch, tmp_path, names, own):
    checkout(tmp_path / "other", "other")
    project = tmp_path / "project"
    project.mkdir()
    expected = {"commit": checkout(project), "dirty": False} if own else UNKNOWN
    values = {
        "GIT_DIR": tmp_path / "other" / ".git",
        "GIT_WORK_TREE": project,
        "GIT_INDEX_FILE": tmp_path / "other" / ".git" / "index",
        "GIT_COMMON_DIR": tmp_path / "other" / ".git",
    }
    for name in names:
        monkeypatch.setenv(name, str(values[name]))
    monkeypatch.setattr(paths, "ROOT", project)
    assert code_version() == expected


def test_a_worktree_and_a_submodule_have_their_own_commit(monkeypatch, tmp_path):
    first = checkout(tmp_path / "project")
    git_in(tmp_path / "project", "worktree", "add", "-q", "-b", "b", str(tmp_path / "tree"))
    (tmp_path / "tree" / "code.py").write_text("second")
    git_in(tmp_path / "tree", "commit", "-q", "-am", "second")
    second = git_in(tmp_path / "tree", "rev-parse", "HEAD")
    checkout(tmp_path / "outer", "outer")
    git_in(tmp_path / "outer", "submodule", "add", "-q", str(tmp_path / "project"), "inner")
    places = {"project": first, "tree": second, "outer/inner": first}
    assert first != second
    for folder, commit in places.items():
        monkeypatch.setattr(paths, "ROOT", tmp_path / folder)
        assert code_version() == {"commit": commit, "dirty": False}, folder
        (tmp_path / folder / "code.py").write_text("changed")
        assert code_version() == {"commit": commit, "dirty": True}, folder


def test_a_folder_reached_by_a_link_is_the_same_checkout(monkeypatch, tmp_path):
    commit = checkout(tmp_path / "project")
    (tmp_path / "link").symlink_to(tmp_path / "project")
    monkeypatch.setattr(paths, "ROOT", tmp_path / "link")
    assert code_version()["commit"] == commit


def test_a_checkout_of_a_foreign_owner_is_unknown_and_says_why(monkeypatch, tmp_path):
    checkout(tmp_path / "project")
    try:
        for path in [tmp_path / "project", *(tmp_path / "project").rglob("*")]:
            os.chown(path, 12345, 12345)
    except PermissionError:  # only root may give files away: a git that says so stands in
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "git").write_text(
            "#!/bin/sh\necho 'fatal: detected dubious ownership in repository' >&2\nexit 128\n"
        )
        (folder / "git").chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.setenv("HOME", str(tmp_path))  # no setting that allows every folder
    monkeypatch.setattr(paths, "ROOT", tmp_path / "project")
    with pytest.warns(UserWarning, match="belongs to another user.*safe.directory"):
        assert code_version() == UNKNOWN


def test_a_checkout_without_a_commit_is_unknown(monkeypatch, tmp_path):
    git_in(tmp_path, "init", "-q")
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    assert code_version() == UNKNOWN


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
