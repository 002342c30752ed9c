"""The package installed, not cloned: used from any folder, in an environment of its own."""

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from conftest import files_under

from randprune_core import __version__, paths

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The `bin` folder of an environment with the package, which sees the libraries of this one.

    Built from a copy, since a build leaves files beside the sources; no index is asked.
    """
    import shutil

    folder = tmp_path_factory.mktemp("installed")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (folder / name).write_bytes((paths.ROOT / name).read_bytes())
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(paths.PACKAGE, folder / paths.PACKAGE.name, ignore=ignored)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.check_output([python, "-c", ask], text=True).strip())
    install = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-index"]
    libraries = sysconfig.get_path("purelib")
    subprocess.run(
        [*install, "--no-deps", "--no-build-isolation", folder],
        env=environment() | {"PYTHONPATH": libraries},  # setuptools, for the build
        check=True,
    )
    (site / "libraries.pth").write_text(libraries)
    return python.parent


def environment() -> dict[str, str]:
    """The environment of a user who has no clone and has set nothing."""
    own = ("PYTHONPATH", "RANDPRUNE_RESULTS", "RANDPRUNE_DATA")
    return {name: value for name, value in os.environ.items() if name not in own}


def run(command: list, folder: Path, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        command, cwd=folder, env=environment() | variables, capture_output=True, text=True
    )


TRAIN = "train --dataset digits --model resnet-8 --ratio erk --sparsity 0.9 --epochs 1"
TRAIN = [*TRAIN.split(), "--batch-size", "200", "--device", "cpu"]


def test_records_lie_in_the_working_directory_or_where_the_variable_says(installed, tmp_path):
    site = next(installed.parent.glob("lib/python*/site-packages"))
    before = [name for name in files_under(site) if "__pycache__" not in name]
    elsewhere = tmp_path / "elsewhere"
    for variables, folder in (({}, "results"), ({"RANDPRUNE_RESULTS": str(elsewhere)}, elsewhere)):
        done = run([installed / "randprune", *TRAIN], tmp_path, **variables)
        assert done.returncode == 0, done.stderr
        record = Path(done.stdout.splitlines()[-1])
        assert record.is_file() and record.parent == tmp_path / folder / "runs" / "digits"
    assert [name for name in files_under(site) if "__pycache__" not in name] == before


def test_a_sweep_from_a_script_and_from_the_command_line_keeps_its_records_together(
    installed, tmp_path
):
    script = tmp_path / "study.py"
    script.write_text(
        "import os\n"
        "from randprune_core import RunConfig, load_runs, sweep\n"
        "os.mkdir('other'); os.chdir('other')\n"
        "run = dict(dataset='digits', model='resnet-8', ratio='erk', epochs=1, batch_size=200)\n"
        "report = sweep([RunConfig(sparsity=s, **run) for s in (0.5, 0.9)], device='cpu')\n"
        "print(report.trained, len(load_runs(model='resnet-8-16', ratio='erk')))\n"
    )
    done = run([installed / "python", script], tmp_path)
    assert (done.returncode, done.stdout) == (0, "2 2\n"), done.stderr
    assert len(files_under(tmp_path / "results" / "runs")) == 2
    assert files_under(tmp_path / "other") == []


def test_the_papers_numbers_and_the_types_come_with_the_package(installed, tmp_path):
    code = (
        "import randprune_core; from randprune_core import paths\n"
        "from randprune_core.analysis import published\n"
        "print(len(published.figure1()), (paths.PACKAGE / 'py.typed').is_file(), paths.RESULTS)"
    )
    done = run([installed / "python", "-c", code], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"185 True {tmp_path / 'results'}\n"


@pytest.mark.parametrize("command", [["book"], ["notebook", "01_depth"], ["compare", "a", "b"]])
def test_what_needs_the_repository_says_so_in_one_line(installed, tmp_path, command):
    done = run([installed / "randprune", *command], tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(rf".*{command[0]} needs the repository .*\n", done.stderr)
    assert files_under(tmp_path) == []


def test_the_version_is_that_of_the_package(installed, tmp_path):
    done = run([installed / "randprune", "--version"], tmp_path)
    assert (done.returncode, done.stdout) == (0, f"randprune_core {__version__}\n")
    code = "from importlib.metadata import version; print(version('randprune-core'))"
    assert run([installed / "python", "-c", code], tmp_path).stdout == f"{__version__}\n"


RECIPES = re.findall(
    r"^```python\n(.*?)^```", (paths.BOOK / "study.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
)
BOOK_TOOLS = ("jupyter_book", "sphinx", "papermill", "nbclient", "nbformat", "IPython", "ipykernel")
"""What makes the book, and what nobody needs who imports the core."""


@pytest.mark.parametrize("number", range(len(RECIPES)))
def test_recipes_of_the_book_run_without_its_tools_in_another_folder(installed, tmp_path, number):
    import numpy as np
    from PIL import Image

    for name in BOOK_TOOLS:
        (tmp_path / "hidden" / name).mkdir(parents=True)
        (tmp_path / "hidden" / name / "__init__.py").write_text("raise ImportError(__name__)")
    draw = np.random.default_rng(0)
    for kind in ("cats", "dogs"):
        (tmp_path / "my_images" / kind).mkdir(parents=True)
        for place in range(6):
            picture = Image.fromarray(draw.integers(0, 256, (70, 60, 3), dtype=np.uint8))
            picture.save(tmp_path / "my_images" / kind / f"{place}.png")
    (tmp_path / "recipe.py").write_text(RECIPES[number])
    one_thread = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path / "hidden")}
    done = run([installed / "python", "recipe.py"], tmp_path, **one_thread)
    assert done.returncode == 0, done.stderr
    if "sweep(" in RECIPES[number]:
        assert "trained=8" in done.stdout and (tmp_path / "square_root.svg").is_file()


def test_the_page_has_its_four_recipes():
    titles = re.findall(r"^## (.+)$", (paths.BOOK / "study.md").read_text("utf-8"), re.MULTILINE)
    assert len(RECIPES) == len(titles) == 5
