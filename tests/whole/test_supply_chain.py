"""What others made and we run: actions by commit, packages by hash, a browser where one is due."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from browsers import installed_browser
from fake_set_up import Project, program

from randprune_core import __version__, paths

WORKFLOWS = sorted((paths.ROOT / ".github" / "workflows").glob("*.yml"))
MAY_WRITE = {"deploy": {"pages", "id-token"}, "launch": {"contents"}, "release": {"contents"}}
LOCKS = {"requirements.txt": "requirements.lock"}
LOCKS["requirements-cluster.txt"] = "requirements-cluster.lock"
LOCKS["requirements-lab.txt"] = "requirements-lab.lock"


# --- actions -----------------------------------------------------------------------------------


def unpinned(workflow: str) -> list[str]:
    """Actions of a workflow that are not named by a full commit with its version behind it."""
    used = re.findall(r"^\s*(?:- )?uses:\s*(.*)$", workflow, re.MULTILINE)
    pinned = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    return [action for action in used if not pinned.fullmatch(action)]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_every_action_is_pinned_by_its_commit(file):
    text = file.read_text(encoding="utf-8")
    assert "uses:" in text and unpinned(text) == []
    versions = re.findall(r"(\S+)@(\w{40}) # (\S+)", text)
    assert len({action for action, *_ in versions}) == len(set(versions)), "one version an action"


@pytest.mark.parametrize(
    "action",
    ["actions/checkout@v4", "actions/checkout@3d3c42e", "actions/checkout", f"a/b@{'0' * 40}"],
)
def test_an_action_named_by_a_tag_or_without_its_version_is_found(action):
    assert unpinned(f"steps:\n  - uses: {action}\n") == [action]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_a_job_may_do_what_it_needs_and_no_more(file):
    workflow = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        granted = job.get("permissions", {})
        assert {key for key, kind in granted.items() if kind == "write"} == MAY_WRITE.get(
            name, set()
        )
        if name in MAY_WRITE:  # a pull request runs code of strangers
            assert job["if"] == "github.event_name == 'push'"
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


def steps_of_release(job: str) -> list[dict]:
    text = (paths.ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["jobs"][job]["steps"]


@pytest.mark.parametrize(("tag", "status"), [(f"v{__version__}", 0), ("v9.9.9", 1), ("", 1)])
def test_a_tag_that_is_not_the_version_releases_nothing(tag, status):
    (check,) = [one["run"] for one in steps_of_release("build") if "VERSION" in one.get("run", "")]
    done = subprocess.run(
        ["bash", "-ec", check], cwd=paths.ROOT, env=os.environ | {"GITHUB_REF_NAME": tag}
    )
    assert done.returncode == status


def test_a_release_has_the_files_that_the_build_left_and_their_checksums(tmp_path):
    (kept,) = [one["with"] for one in steps_of_release("build") if one.get("with", {}).get("path")]
    assert kept["path"].splitlines() == [
        f"_build/staging/results/*.{kind}" for kind in ("zip", "pdf")
    ]
    program(tmp_path / "bin" / "gh", f'#!/bin/sh\nprintf "%s\\n" "$@" > "{tmp_path}/log"\n')
    (tmp_path / "files").mkdir()
    for name in ("data.zip", "a summary.pdf"):
        (tmp_path / "files" / name).write_text(name)
    around = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "GITHUB_REF_NAME": "v1.0.0"}
    publish = steps_of_release("release")[-1]["run"]
    subprocess.run(["bash", "-ec", publish], cwd=tmp_path / "files", env=around, check=True)
    noted = (tmp_path / "log").read_text().splitlines()
    assert noted[:3] == ["release", "create", "v1.0.0"]
    assert sorted(noted[noted.index("--") + 1 :]) == ["SHA256SUMS", "a summary.pdf", "data.zip"]
    checked = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    assert subprocess.run(checked, cwd=tmp_path / "files", stdout=subprocess.PIPE).returncode == 0


# --- packages ----------------------------------------------------------------------------------


def entries(text: str) -> dict[str, list[str]]:
    """Hashes by requirement (name, version, marker) of a lock."""
    found: dict[str, list[str]] = {}
    for line in re.sub(r" *\\\n\s*", " ", text).splitlines():
        if line and not line.startswith("#"):
            requirement, *hashes = re.split(r"\s+--hash=", line)
            found[requirement.strip()] = hashes
    return found


@pytest.mark.parametrize(("wanted", "lock"), LOCKS.items())
def test_a_lock_has_hashes_for_all_that_is_wanted_in_the_versions_of_constraints(wanted, lock):
    locked = entries((paths.ROOT / lock).read_text())
    constraints = entries((paths.ROOT / "constraints.txt").read_text())
    pins = {pin.lower() for pin in entries((paths.ROOT / wanted).read_text())}
    assert pins and pins <= set(locked)
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+( ; .+)?", requirement) for requirement in locked)
    for hashes in locked.values():
        assert hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes)
    if wanted == "requirements.txt":
        assert set(locked) == set(constraints)
    else:  # what both need is the same in both
        versions = {requirement.partition(" ;")[0] for requirement in constraints}
        others = {one for one in set(locked) - pins if "os_name == 'nt'" not in one}
        assert {one.partition(" ;")[0] for one in others} <= versions


def test_no_file_of_packages_names_where_they_come_from():
    for file in ("requirements.txt", "constraints.txt", *LOCKS, *LOCKS.values()):
        for line in (paths.ROOT / file).read_text().splitlines():
            assert "://" not in line and "--index" not in line and "--find-links" not in line


def test_set_up_asks_for_the_hashes_of_every_package(tmp_path):
    project = Project(tmp_path, "plain")
    shutil.copy(paths.ROOT / "requirements-cluster.lock", project.folder)
    for target, lock in (
        ("setup", "requirements.lock"),
        ("test-faults", LOCKS["requirements-cluster.txt"]),
    ):
        assert project.make(target).returncode == 0
        logged = project.logged()
        place = logged.index(lock)
        assert logged[place - 2 : place + 1] == ["--require-hashes", "-r", lock]
        assert logged.count("-r") == 1, "nothing is installed from a file without hashes"


WHEEL = """\
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w") as wheel:
    info = "tiny-1.0.dist-info"
    wheel.writestr("tiny.py", "x = 1")
    wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1.0\\n")
    kind = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any"
    wheel.writestr(f"{info}/WHEEL", kind)
    wheel.writestr(f"{info}/RECORD", "")
"""


@pytest.mark.slow
@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_a_package_with_another_hash_is_not_installed(tmp_path, installer):
    from hashlib import sha256

    project, wheels = tmp_path / "project", tmp_path / "wheels"
    for folder in (project, wheels, tmp_path / "bin"):
        folder.mkdir()
    shutil.copy(paths.ROOT / "Makefile", project)
    wheel = wheels / "tiny-1.0-py3-none-any.whl"
    subprocess.run([sys.executable, "-c", WHEEL, wheel], check=True)
    right = sha256(wheel.read_bytes()).hexdigest()
    if installer == "uv":
        (tmp_path / "bin" / "uv").symlink_to(Path(sys.executable).parent / "uv")
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "HOME": str(tmp_path)}
    environment |= {"PIP_FIND_LINKS": str(wheels), "PIP_NO_INDEX": "1", "UV_NO_INDEX": "1"}
    environment |= {"PYTHON": sys._base_executable}
    for digest in ("0" * 64, right):
        lock = f"tiny==1.0 \\\n    --hash=sha256:{digest}\n"
        (project / "requirements.lock").write_text(lock)
        done = subprocess.run(
            ["make", "setup"], cwd=project, env=environment, capture_output=True, text=True
        )
        there = any(project.glob(".venv/lib/*/site-packages/tiny.py"))
        assert there == (digest == right), done.stderr
        assert done.returncode != 0  # there is no project to install here
        assert ("hash" in done.stderr.lower()) == (digest != right), done.stderr


# --- the browser -------------------------------------------------------------------------------

TARGETS = ["setup", "lint", "test", "book", "test-faults", "test-notebooks"]


@pytest.fixture
def ci(tmp_path):
    """Runs a copy of `.ci/run` with programs that only note what they are asked for."""
    programs, log = tmp_path / "bin", tmp_path / "log"
    programs.mkdir()
    log.touch()
    (tmp_path / "project" / ".ci").mkdir(parents=True)
    shutil.copy(paths.ROOT / ".ci" / "run", tmp_path / "project" / ".ci")
    for name in ("bash", "env", "dirname", "id"):
        (programs / name).symlink_to(shutil.which(name))
    for name in ("make", "git", "python3", "sudo", "timeout"):
        text = f'#!/bin/bash\necho {name} "$@" >> "{log}"\n[ {name} != timeout ]\n'
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)

    def run(*browsers: str, **variables: str):
        for name in browsers:
            (programs / name).symlink_to("/bin/true")
        done = subprocess.run(
            [programs / "bash", ".ci/run"],
            cwd=tmp_path / "project",
            env={"PATH": str(programs), **variables},
            capture_output=True,
            text=True,
        )
        lines = log.read_text().splitlines()
        return done, [line.removeprefix("make ") for line in lines if line.startswith("make ")]

    return run


def test_ci_fails_before_anything_else_where_a_browser_is_expected_and_missing(ci):
    done, made = ci()
    assert done.returncode == 1 and made == []
    assert "no browser" in done.stderr and "RANDPRUNE_BROWSER=none" in done.stderr


@pytest.mark.parametrize("name", ["chromium", "chromium-browser", "google-chrome"])
def test_ci_goes_on_with_a_browser(ci, name):
    done, made = ci(name)
    assert (done.returncode, made) == (0, TARGETS), done.stderr


def test_ci_goes_on_where_no_browser_is_expected(ci):
    done, made = ci(RANDPRUNE_BROWSER="none")
    assert (done.returncode, made) == (0, TARGETS), done.stderr


@pytest.mark.parametrize(
    ("expected", "outcome"),
    [("expected", pytest.fail.Exception), ("none", pytest.skip.Exception)],
)
def test_a_test_without_its_browser_fails_where_one_is_expected(monkeypatch, expected, outcome):
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.setenv("RANDPRUNE_BROWSER", expected)
    with pytest.raises(outcome, match="no browser"):
        installed_browser()
