"""papermill and nbval as their users know them, without make and without settings of ours."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import papermill
import pytest

from randprune_core import paths
from randprune_core.bookmaking import notebooks

pytestmark = pytest.mark.slow

CHAPTER = "14_speed"  # the quickest: it reads benchmarks and trains nothing


def plain(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run a module in a folder with nothing in the environment that make would have set."""
    ours = ("RANDPRUNE", "OMP_", "TQDM", "MPL", "PYTEST", "PYTHONPATH", "PYDEVD")
    environment = {name: v for name, v in os.environ.items() if not name.startswith(ours)}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("name", notebooks.chapters())
def test_papermill_lists_each_parameter_with_its_type_and_a_description(name):
    found = papermill.inspect_notebook(str(notebooks.chapter(name)))
    assert found.keys() == notebooks.default_parameters(notebooks.chapter(name)).keys()
    for parameter in found.values():
        assert parameter["inferred_type_name"] in ("str", "list", "bool")
        assert len(parameter["help"]) > 10


@pytest.mark.parametrize("folder", ["", "notebooks"])
def test_plain_papermill_runs_a_chapter_from_anywhere_in_the_repository(tmp_path, folder):
    start = paths.ROOT / folder
    source = os.path.relpath(notebooks.chapter(CHAPTER), start)
    output = tmp_path / "out.ipynb"
    done = plain(start, "papermill", source, str(output), "-p", "device", "cpu")
    assert done.returncode == 0, done.stderr[-2_000:]
    cells = json.loads(output.read_text())["cells"]
    (injected,) = [c for c in cells if "injected-parameters" in c["metadata"].get("tags", ())]
    assert 'device = "cpu"' in "".join(injected["source"])
    outputs = [result for cell in cells for result in cell.get("outputs", ())]
    assert any("image/png" in result.get("data", {}) for result in outputs)
    assert not [result for result in outputs if result.get("name") == "stderr"]


@pytest.mark.parametrize(
    ("chapter", "given", "form"),
    [
        ("01_depth", ("-p", "train_missing", "false"), "write True, False or None"),
        ("02_width", ("-p", "models", "[resnet-8,resnet-14]"), "-y 'models: [...]'"),
        ("05_robustness", ("-p", "seeds", "[0, 1]"), "-y 'seeds: [...]'"),
        ("14_speed", ("-p", "device", "none"), "auto, cpu or cuda"),
    ],
)
def test_what_plain_papermill_reads_as_a_string_is_refused(tmp_path, chapter, given, form):
    source = os.path.relpath(notebooks.chapter(chapter), paths.ROOT)
    done = plain(paths.ROOT, "papermill", source, str(tmp_path / "out.ipynb"), *given)
    assert done.returncode
    said = done.stderr.strip().splitlines()[-1]
    assert said.startswith("ValueError: ") and given[1] in said and form in said


def test_plain_nbval_passes_a_chapter(tmp_path):
    chapter = str(notebooks.chapter(CHAPTER).relative_to(paths.ROOT))
    done = plain(paths.ROOT, "pytest", "-q", "-p", "no:cacheprovider", "--nbval", chapter)
    assert done.returncode == 0, done.stdout[-2_000:]


@pytest.mark.parametrize(("printed", "passes"), [("object()", True), ("1 + 1", False)])
def test_plain_nbval_knows_what_may_differ_and_finds_what_may_not(tmp_path, printed, passes):
    shutil.copytree(
        paths.NOTEBOOKS, tmp_path / "notebooks", ignore=shutil.ignore_patterns("*.ipynb")
    )
    (tmp_path / "tests").mkdir()
    shutil.copy(paths.ROOT / "tests" / "nbval_sanitize.cfg", tmp_path / "tests")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    stored = {"output_type": "stream", "name": "stdout", "text": ["<object object at 0x7f01>\n"]}
    cell = {
        "cell_type": "code",
        "execution_count": 1,
        "id": "a",
        "metadata": {},
        "outputs": [stored],
        "source": [f"print({printed})"],
    }
    notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "notebooks" / "01_a.ipynb").write_text(json.dumps(notebook))
    done = plain(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", "--nbval", "notebooks")
    assert (done.returncode == 0) == passes, done.stdout[-2_000:]
