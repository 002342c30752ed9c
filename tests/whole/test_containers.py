"""Binder, the devcontainer and the Dockerfile: their commands are run here, without a container."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml
from fake_set_up import Project, program

from randprune_core import paths

BINDER = paths.ROOT / "binder"
DEVCONTAINER = json.loads((paths.ROOT / ".devcontainer" / "devcontainer.json").read_text())


def instructions(text: str) -> list[tuple[str, str]]:
    """The lines of a Dockerfile as (instruction, what it is given)."""
    plain = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", plain).splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line]


DOCKERFILE = instructions((paths.ROOT / "Dockerfile").read_text())
USER = dict(DOCKERFILE)["USER"]
"""The last one, whom the container runs as."""


def given(instruction: str) -> list[str]:
    return [rest for name, rest in DOCKERFILE if name == instruction]


# --- they agree with each other ----------------------------------------------------------------


def test_all_take_the_python_of_the_tests():
    files = (paths.ROOT / ".github" / "workflows").glob("*.yml")
    jobs = [job for file in files for job in yaml.safe_load(file.read_text())["jobs"].values()]
    steps = [step for job in jobs for step in job["steps"]]
    tested = {step["with"]["python-version"] for step in steps if "setup-python" in str(step)}
    assert len(tested) == 1
    assert (BINDER / "runtime.txt").read_text() == f"python-{tested.pop()}\n"
    version = (BINDER / "runtime.txt").read_text().strip().replace("-", ":")
    images = given("FROM")
    assert images[0].startswith(f"{version}-") and images[1:] == [images[0].split(" AS ")[1]]


def test_the_image_has_the_programs_that_ci_installs():
    ci = (paths.ROOT / ".ci" / "run").read_text()
    wanted = {word for words in re.findall(r"missing\+=\((.*?)\)", ci) for word in words.split()}
    installed = re.search(r"apt-get install (.*?)&&", given("RUN")[0])[1].split()
    assert wanted - {"python3-venv"} == {word for word in installed if not word.startswith("-")}


def test_nobody_works_as_root():
    assert USER == DEVCONTAINER["remoteUser"] != "root"
    assert any(f"useradd --create-home --uid 1000 {USER}" in step for step in given("RUN"))
    made = [name for name, _ in DOCKERFILE].index("USER")
    assert made < [name for name, _ in DOCKERFILE].index("COPY")
    assert all(copied.startswith(f"--chown={USER} ") for copied in given("COPY"))


def test_the_devcontainer_builds_the_machine_of_the_dockerfile():
    folder = paths.ROOT / ".devcontainer"
    build = DEVCONTAINER["build"]
    assert (folder / build["dockerfile"]).resolve() == paths.ROOT / "Dockerfile"
    assert (folder / build["context"]).resolve() == paths.ROOT
    assert given("FROM")[0].endswith(f" AS {build['target']}")
    assert DEVCONTAINER["forwardPorts"] == [int(port) for port in given("EXPOSE")[0].split()]


def test_what_git_ignores_stays_out_of_an_image():
    def entries(name: str) -> list[str]:
        lines = (paths.ROOT / name).read_text().splitlines()
        return [line.rstrip("/") for line in lines if line and not line.startswith("#")]

    anywhere = [line if "/" in line else f"**/{line}" for line in entries(".gitignore")]
    assert sorted(entries(".dockerignore")) == sorted(anywhere)


def test_commands_of_the_readme_publish_ports_of_the_image_on_this_machine_only():
    readme = (paths.ROOT / "README.md").read_text()
    published = re.findall(r"docker run .*?-p (\S+)", readme)
    assert [one.split(":")[0] for one in published] == ["127.0.0.1"] * 2
    assert {one.split(":")[2] for one in published} == set(given("EXPOSE")[0].split())


# --- every command, with programs that only note what they are asked for ------------------------


def test_steps_of_the_machine(tmp_path):
    """`rm` is one of the programs that only note: nothing of this machine is removed."""
    for name in ("apt-get", "useradd", "rm", "mkdir"):
        program(tmp_path / "bin" / name, f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/log\n')
    (tmp_path / "etc" / "chromium.d").mkdir(parents=True)
    for step in [step for step in given("RUN") if not step.startswith("make ")]:
        command = step.replace("/etc/", f"{tmp_path}/etc/")
        done = subprocess.run(
            ["/bin/sh", "-c", command], env={"PATH": str(tmp_path / "bin")}, capture_output=True
        )
        assert done.returncode == 0, done.stderr
    noted = (tmp_path / "log").read_text().splitlines()
    assert [line.split()[0] for line in noted] == ["apt-get", "apt-get", "rm", "useradd", "mkdir"]
    assert noted[-1] == f"mkdir {given('WORKDIR')[0]}"
    # As Debian's launcher of chromium reads it.
    read = f'CHROMIUM_FLAGS=--before; . "{tmp_path}/etc/chromium.d/"*; echo $CHROMIUM_FLAGS'
    assert subprocess.check_output(["sh", "-c", read], text=True) == "--before --no-sandbox\n"


MAKE = [step for step in given("RUN") if step.startswith("make ")]


@pytest.mark.parametrize("command", [*MAKE, DEVCONTAINER["postCreateCommand"]])
def test_every_package_is_asked_for_by_its_hash(tmp_path, command):
    project = Project(tmp_path, "plain")
    shutil.copy(paths.ROOT / "requirements-lab.lock", project.folder)
    assert command.split()[0] == "make"
    done = project.make(*command.split()[1:])
    assert done.returncode == 0, done.stderr
    logged = project.logged()
    asked = [logged[place - 1 : place + 2] for place, word in enumerate(logged) if word == "-r"]
    locks = ["requirements.lock"] + ["requirements-lab.lock"] * (command in MAKE)
    assert asked == [["--require-hashes", "-r", lock] for lock in locks]


# --- for real ----------------------------------------------------------------------------------


@pytest.fixture
def clone(tmp_path) -> Path:
    """The tracked files in a fresh folder, as COPY and Binder have them."""
    listed = subprocess.check_output(["git", "ls-files", "-z"], cwd=paths.ROOT, text=True)
    for name in filter(None, listed.split("\0")):
        target = tmp_path / "clone" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(paths.ROOT / name, target)
    return tmp_path / "clone"


CACHE = {name: os.environ[name] for name in ("XDG_CACHE_HOME",) if name in os.environ}
"""Where uv has what it once fetched: other tests are given a cache of their own."""


def surroundings(**more) -> dict[str, str]:
    """The environment of somebody who has set nothing, and of whom Jupyter knows nothing."""
    left_out = ("PYTHONPATH", "VIRTUAL_ENV", "RANDPRUNE_", "JUPYTER", "MPL", "XDG_")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(left_out)}
    return kept | CACHE | {name: str(value) for name, value in more.items()}


# The user's own uv, but for the compiling, which takes longer than all the rest. Where it cannot
# install, pip is not to begin a download of 6 GB.
UV = """\
#!/bin/sh
for word; do shift; [ "$word" = --compile-bytecode ] || set -- "$@" "$word"; done
exec {} "$@"
"""


@pytest.mark.slow
def test_the_image_is_set_up_and_its_jupyterlab_answers_whoever_has_the_token(clone, tmp_path):
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert uv, "requirements.lock brings uv"
    program(tmp_path / "bin" / "uv", UV.format(uv))
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    around = surroundings(PATH=path, PIP_NO_INDEX=1, PYTHON=sys._base_executable)
    for command in [*MAKE, DEVCONTAINER["postCreateCommand"]]:
        done = subprocess.run(
            command, shell=True, cwd=clone, env=around, capture_output=True, text=True
        )
        if done.returncode and "error sending request" in done.stderr:
            pytest.skip("no index of packages answers")
        assert done.returncode == 0, done.stderr
    assert re.search(r"^jupyterlab==", (clone / "requirements-lab.txt").read_text(), re.MULTILINE)

    settings = {"allow_root": True, "port": free_port(), "port_retries": 0}
    (tmp_path / "jupyter").mkdir()
    (tmp_path / "jupyter" / "jupyter_server_config.json").write_text(
        json.dumps({"ServerApp": settings})
    )
    around |= {"JUPYTER_CONFIG_DIR": str(tmp_path / "jupyter"), "HOME": str(tmp_path)}
    around |= {"JUPYTER_RUNTIME_DIR": str(tmp_path / "running")}
    start = json.loads(given("CMD")[0].replace("0.0.0.0", "127.0.0.1"))
    said = tmp_path / "said"
    with said.open("w") as output:
        server = subprocess.Popen(
            start, cwd=clone, env=around, stderr=output, start_new_session=True
        )
    try:
        address, token = wait_for(said)
        assert answer(f"{address}api/contents")[0] == 403
        status, listed = answer(f"{address}api/contents?token={token}")
        names = {entry["name"] for entry in json.loads(listed)["content"]}
        assert status == 200 and len(names & {name for name in os.listdir(clone / "notebooks")}) > 9
        status, page = answer(f"{address}lab?token={token}")
        assert status == 200 and b"JupyterLab" in page
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=60)
        shutil.rmtree(clone / ".venv")  # 6 GB


def wait_for(said: Path) -> tuple[str, str]:
    """The address and the token that JupyterLab prints, once it answers there."""
    for _ in range(600):
        if found := re.search(r"(http://127\S+/)lab\?token=(\w+)", said.read_text()):
            with contextlib.suppress(urllib.error.URLError):
                answer(f"{found[1]}api")
                return found.groups()
        time.sleep(0.1)
    raise AssertionError(said.read_text())


def answer(address: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(address, timeout=20) as answered:
            return answered.status, answered.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def binder(clone, tmp_path):
    """Runs a command as repo2docker does, in an environment that has the packages of this one."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    own = [tmp_path / "venv" / "bin" / "pip", "uninstall", "--quiet", "--yes", "setuptools"]
    subprocess.run(own, check=True)  # it would hide the one of the lock
    site = next((tmp_path / "venv" / "lib").glob("python3*/site-packages"))
    (site / "packages.pth").write_text(sysconfig.get_path("purelib"))
    path = f"{tmp_path / 'venv' / 'bin'}:{os.environ['PATH']}"
    around = surroundings(PATH=path, PIP_NO_INDEX=1, HOME=tmp_path)

    def run(*command: str) -> subprocess.CompletedProcess:
        return subprocess.run(command, cwd=clone, env=around, capture_output=True, text=True)

    return run


# What repo2docker's Python build does with the folder binder/, in the root of the repository.
INSTALL = ("pip", "install", "--no-cache-dir", "-r", "binder/requirements.txt")


@pytest.mark.slow
def test_binder_has_the_packages_of_the_lock_and_the_code_of_the_repository(binder, clone):
    done = binder(*INSTALL)
    assert done.returncode == 0, done.stderr
    done = binder("./binder/postBuild")
    assert done.returncode == 0, done.stdout + done.stderr
    where = "import randprune_core; print(randprune_core.__file__)"
    done = binder("sh", "-c", f"cd / && python -c '{where}'")
    assert done.stdout == f"{clone / 'randprune_core' / '__init__.py'}\n", done.stderr
    with (clone / "binder" / "requirements.txt").open("a") as file:
        file.write("-e .\n")  # pip asks for a hash of all, so that this cannot be told of one
    done = binder(*INSTALL)
    assert done.returncode != 0 and "hash" in done.stderr
