"""What CONTRIBUTING.md says is done to a copy of the repository, step by step, and then used."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from randprune_core import paths
from randprune_core.bookmaking import notebooks

pytestmark = pytest.mark.slow

GUIDE = paths.ROOT / "CONTRIBUTING.md"
NOT_COPIED = shutil.ignore_patterns(
    ".git",
    ".venv",
    "_build",
    "runs",
    "figures",
    "local",
    "checkpoints",
    "__pycache__",
    ".*_cache",
    "*.ipynb",
)


TITLES = [
    f"Add {what}"
    for what in (
        *("a ratio", "a model", "a field", "a metric", "a data set", "a chapter", "an executor"),
    )
]


def section(title: str) -> str:
    text = GUIDE.read_text(encoding="utf-8")
    return re.split(rf"^## {title}$", text, flags=re.MULTILINE)[1].partition("\n## ")[0]


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def apply(diff: str, folder: Path) -> None:
    """Change files as a reader does who saves a diff of the page and types `git apply`."""
    done = subprocess.run(
        ["git", "apply", "-"], input=diff, cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{diff.splitlines()[0]}: {done.stderr}"


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """A copy of the repository with every change of the guide, records and chapters left out."""
    folder = tmp_path_factory.mktemp("contributed") / "copy"
    shutil.copytree(paths.ROOT, folder, ignore=NOT_COPIED)
    shutil.copytree(paths.BOOK / "_static", folder / "book" / "_static", dirs_exist_ok=True)
    for title in TITLES:
        diffs = blocks("diff", section(title))
        assert diffs, f"{title} shows no change"
        for diff in diffs:
            apply(diff, folder)
    return folder


def run(clone: Path, *arguments: str) -> str:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("RANDPRUNE")}
    environment = kept | {"PYTHONPATH": str(clone), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=clone, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_new_field_is_recorded_and_older_records_read_as_having_its_default(clone):
    before = next((paths.RUNS / "cifar10").glob("*.json"))
    assert "label_smoothing" not in json.loads(before.read_text())["config"]
    (command,) = blocks("bash", section("Add a field"))
    record = Path(run(clone, *command.split()[1:]).splitlines()[-1])
    assert json.loads(record.read_text())["config"]["label_smoothing"] == 0.1
    reads = (
        "import sys; from pathlib import Path; "
        "from randprune_core.records.store import read_record;"
        "print(read_record(Path(sys.argv[1]))['config']['label_smoothing'])"
    )
    assert run(clone, "-c", reads, str(before)).strip() == "0.0"


def test_a_new_ratio_model_and_metric_are_trained_with_and_recorded(clone):
    (command,) = blocks("bash", section("Add a model"))
    assert command.startswith("python ")
    record = Path(run(clone, *command.split()[1:]).splitlines()[-1])
    assert record.is_relative_to(clone)
    found = json.loads(record.read_text())
    assert (found["config"]["model"], found["config"]["ratio"]) == ("lenet", "last_dense")
    assert found["cost"]["sparsity"] == pytest.approx(0.8, abs=0.001)
    kept = {layer["name"]: layer["kept"] / layer["total"] for layer in found["layers"]}
    assert kept["linear.weight"] == 1
    assert 0 < found["test"]["brier"] < 2
    assert run(clone, "-m", "randprune_core", "check").startswith("0 ")


def test_a_new_chapter_is_executed_keeps_the_rules_and_shows_its_figure(clone):
    (script,) = blocks("python", section("Add a chapter"))
    run(clone, "-c", script)
    run(clone, "-c", "from randprune_core.bookmaking import build; build.refresh(['15_lenet'])")
    written = clone / "notebooks" / "15_lenet.ipynb"
    outputs = [
        out for cell in json.loads(written.read_text())["cells"] for out in cell.get("outputs", ())
    ]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 1
    assert "last_dense" in (clone / "results" / "figures" / "lenet.csv").read_text()
    assert (clone / "results" / "figures" / "lenet-phone.svg").is_file()
    assert "15_lenet" in (clone / "_toc.yml").read_text()
    checks = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/bookmaking/test_notebooks.py"]
    assert " passed" in run(clone, *checks, "-k", "15_lenet")


def test_a_new_data_set_is_trained_on(clone):
    (command,) = blocks("bash", section("Add a data set"))
    record = json.loads(Path(run(clone, *command.split()[1:]).splitlines()[-1]).read_text())
    assert record["config"]["dataset"] == "negatives"
    assert record["provenance"]["data"]["test"] == record["test"]["n"] == 360
    assert "photos" in record["test"]["ood"]
    mean = (
        "from randprune_core import load_dataset; from randprune_core.datasets import DATASETS;"
        "images = load_dataset('negatives').train_images.float() / 255;"
        "print(abs(float(images.mean()) - DATASETS['negatives'].mean[0]) < 0.001)"
    )
    assert run(clone, "-c", mean).strip() == "True"


def test_a_new_executor_sweeps_the_grid_of_a_new_figure(clone):
    (command,) = blocks("bash", section("Add an executor"))
    assert re.match(
        r"\d+ trained, \d+ were recorded before, 0 failed", run(clone, *command.split()[1:])
    )
    (named,) = re.findall(r"known are (.*)", _refused(clone, "--executor", "nowhere"))
    assert "serial" in named


def _refused(clone: Path, *options: str) -> str:
    command = [sys.executable, "-m", "randprune_core", "sweep", "lenet", *options]
    environment = os.environ | {"PYTHONPATH": str(clone)}
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    return done.stderr


def test_a_reader_who_adds_a_ratio_ends_with_green_tests(tmp_path):
    shutil.copytree(paths.ROOT, tmp_path / "copy", ignore=NOT_COPIED)
    for diff in blocks("diff", section("Add a ratio")):
        apply(diff, tmp_path / "copy")
    tests = ["tests/pruning/test_ratios.py", "tests/presentation/test_plots.py"]
    tests += ["tests/presentation/test_words.py", "tests/sweeps/test_grids.py"]
    tests += ["tests/test_config.py", "tests/chapters/test_layerwise_ratios.py"]
    tests += ["tests/chapters/test_pruning_settings.py"]
    found = run(tmp_path / "copy", "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
    assert " passed" in found


def test_commands_of_the_guide_are_targets_of_the_makefile():
    targets = re.findall(r"^([a-z-]+):", (paths.ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"^make ([a-z-]+)", GUIDE.read_text(), re.MULTILINE)) <= set(targets)


# ---------------------------------------------------------------- pre-commit


def hooks() -> dict[str, dict]:
    import yaml

    settings = yaml.safe_load((paths.ROOT / ".pre-commit-config.yaml").read_text())
    return {hook["id"]: hook for entry in settings["repos"] for hook in entry["hooks"]}


def call(hook: dict, *files: Path) -> subprocess.CompletedProcess:
    words = hook["entry"].split()
    assert words[0] == ".venv/bin/python"
    command = [sys.executable, *words[1:], *map(str, files)]
    return subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True)


def test_hooks_find_bad_style_and_pass_good(tmp_path):
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text('"""Text."""\n\nx = 1\n')
    bad.write_text("import os\nx=1\n")
    for name in ("ruff-check", "ruff-format"):
        assert call(hooks()[name], good).returncode == 0
    assert call(hooks()["ruff-check"], bad).returncode != 0


def test_notebook_hook_normalises_and_keeps_outputs(tmp_path):
    stored = notebooks.chapter("14_speed").read_bytes()
    clean, dirty = tmp_path / "clean.ipynb", tmp_path / "dirty.ipynb"
    clean.write_bytes(stored)
    noisy = json.loads(stored)
    noisy["metadata"]["papermill"] = {"start_time": "now"}
    noisy["cells"][1]["metadata"]["execution"] = {"iopub.status.idle": "now"}
    dirty.write_text(json.dumps(noisy))
    hook = hooks()["notebooks"]
    assert re.search(hook["files"], "notebooks/14_speed.ipynb")
    assert call(hook, clean).returncode == 0
    assert call(hook, dirty).returncode == 1
    assert clean.read_bytes() == dirty.read_bytes() == stored
    assert b"image/png" in stored
