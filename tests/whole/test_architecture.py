"""The order of the wings: what may import what. `lint-imports` holds most of it as contracts."""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from randprune_core import paths
from randprune_core.sweeps.grids import CHAPTERS

PACKAGE = paths.ROOT / "randprune_core"
WINGS = ("presentation", "pruning", "data", "metrics", "records", "training", "sweeps")
WINGS += ("analysis", "chapters", "bookmaking")
"""From the lowest to the highest; below them the modules of the ground, above them `__main__`."""
GROUND = {"arguments", "config", "datasets", "devices", "models", "paths", "precision"}
GROUND |= {"registry", "scratch", "seeds", "terminal"}


def modules(package: Path = PACKAGE) -> dict[str, Path]:
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache  # copies of the package differ in one file
def import_statements(code: str) -> list[ast.ImportFrom]:
    """The relative imports of a module, inside functions too."""
    nodes = ast.walk(ast.parse(code))
    return [node for node in nodes if isinstance(node, ast.ImportFrom) and node.level]


def imports(package: Path = PACKAGE) -> Iterator[tuple[str, str, str]]:
    """Every import of a module by another one, inside functions too: importer, imported, name."""
    known = modules(package)
    for importer, path in known.items():
        own = importer.split(".") if importer else []
        folder = own if path.name == "__init__.py" else own[:-1]
        for node in import_statements(path.read_text(encoding="utf-8")):
            base = [*folder[: len(folder) - node.level + 1], *(node.module or "").split(".")]
            base = ".".join(part for part in base if part)
            for alias in node.names:
                full = f"{base}.{alias.name}".strip(".")
                yield (importer, full, "") if full in known else (importer, base, alias.name)


def rank(module: str) -> int:
    """Height of a module: ground 0, then the wings, then the command line."""
    wing = module.partition(".")[0]
    return 0 if wing in {"", *GROUND} else (*WINGS, "__main__").index(wing) + 1


def upwards(package: Path = PACKAGE) -> list[tuple[str, str]]:
    """Imports of a higher wing by a lower one; the package itself imports nothing but lazily."""
    return sorted({(a, b) for a, b, _ in imports(package) if b and rank(a) < rank(b)})


def circles(package: Path = PACKAGE) -> list[frozenset[str]]:
    """Groups of modules of which each reaches each other one through imports."""
    reached: dict[str, set[str]] = {name: set() for name in modules(package)}
    for importer, imported, _ in imports(package):
        reached[importer].add(imported)
    for middle in reached:
        for start in reached:
            if middle in reached[start]:
                reached[start] |= reached[middle]
    within = {a: frozenset(b for b in reached[a] if a in reached.get(b, ())) for a in reached}
    return sorted(set(within.values()) - {frozenset()}, key=sorted)


def chapter_of(module: str, topics: list[str]) -> str | None:
    """The topic of the notebook that a module of `chapters` belongs to, None for a shared one."""
    name = module.removeprefix("chapters.")
    mine = [topic for topic in topics if name == topic or name.startswith(f"{topic}_")]
    return max(mine, key=len, default=None)


def across_chapters(package: Path = PACKAGE) -> list[tuple[str, str]]:
    """Imports of a module of one chapter by one of another, or of it by what both share."""
    topics = [name[3:] for name in CHAPTERS]
    found = set()
    for importer, imported, _ in imports(package):
        if importer.startswith("chapters.") and imported.startswith("chapters."):
            owner = chapter_of(imported, topics)
            if owner and owner != chapter_of(importer, topics):
                found.add((importer, imported))
    return sorted(found)


def crossing_names(package: Path = PACKAGE) -> list[tuple[str, str]]:
    """Names with an underscore that a module takes from another one, as `importer`, `x._name`."""
    found = set()
    for importer, imported, name in imports(package):
        last = imported.rpartition(".")[2]
        if (name or last).startswith("_") and not (name or last).startswith("__"):
            found.add((importer, f"{imported}.{name}".strip(".")))
    for importer, path in modules(package).items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        taken = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.level
            for alias in node.names
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                private = node.attr.startswith("_") and not node.attr.startswith("__")
                if private and node.value.id in taken:
                    found.add((importer, f"{node.value.id}.{node.attr}"))
    return sorted(found)


# --- the package as it is ----------------------------------------------------------------------


def test_no_wing_imports_from_one_above_it():
    assert upwards() == []


def test_no_module_reaches_itself():
    assert circles() == []


def test_no_chapter_imports_another_one():
    assert across_chapters() == []


def test_each_module_of_a_chapter_begins_with_the_topic_of_its_notebook():
    topics = [name[3:] for name in CHAPTERS]
    names = [name for name in modules() if name.startswith("chapters.") and name.count(".") == 1]
    alone = [name for name in names if name != "chapters.shared" and not chapter_of(name, topics)]
    assert alone == []
    settings = tomllib.loads((paths.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = {each["id"]: each for each in settings["tool"]["importlinter"]["contracts"]}
    listed = {name.removeprefix("randprune_core.") for name in contracts["chapters"]["modules"]}
    assert listed == set(names) - {"chapters.shared"}


def test_no_name_with_an_underscore_crosses_a_module():
    assert crossing_names() == []


def test_a_wing_holds_its_purpose_and_loads_nothing():
    for wing in (*WINGS, "chapters/shared"):
        body = ast.parse((PACKAGE / wing / "__init__.py").read_text(encoding="utf-8")).body
        assert [type(node) for node in body] == [ast.Expr], wing


@pytest.mark.parametrize(
    "module",
    [
        "config",
        "precision",
        "records.store",
        "records.table",
        "sweeps.grids",
        "sweeps.coverage",
        "sweeps.run",
        "sweeps.sweep",
        "sweeps.cores",
        "sweeps.cluster",
        "presentation.theme",
        "presentation.words",
        "analysis.cells",
        "analysis.claims",
        "analysis.published",
    ],
)
def test_what_looks_a_run_up_loads_no_torch(module):
    code = f"import sys, randprune_core.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT).returncode == 0


def test_a_run_is_trained_and_measured_without_pandas():
    code = (
        "import sys; from conftest import tiny; from randprune_core.training.train import train; "
        "train(tiny(epochs=1, train_images=50), 'cpu'); sys.exit('pandas' in sys.modules)"
    )
    search = os.pathsep.join((str(paths.ROOT), str(paths.ROOT / "tests")))
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": search})
    assert done.returncode == 0


# --- each rule can fail ------------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path) -> Path:
    """A repository with a copy of the package and its contracts."""
    shutil.copytree(PACKAGE, tmp_path / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(paths.ROOT / "pyproject.toml", tmp_path)
    return tmp_path


OFFENCES = {
    "wings": ("pruning/masks.py", "from ..training.engine import Run", upwards),
    "core": ("metrics/cost.py", "from ..chapters.shared.records import Records", upwards),
    "circles": ("records/files.py", "from .store import read_record", circles),
    "chapters": ("chapters/width.py", "from .speed import speed_figure", across_chapters),
}
"""By contract: a module, what it must not import, and the function here that sees it."""


@pytest.mark.parametrize("contract", OFFENCES)
@pytest.mark.parametrize("where", ["at the top", "in a function"])
def test_each_contract_can_fail(copy, contract, where):
    module, line, seen = OFFENCES[contract]
    found = seen(copy / PACKAGE.name)
    path = copy / PACKAGE.name / module
    code = f"{line}\n" if where == "at the top" else f"def late():\n    {line}\n"
    path.write_text(path.read_text(encoding="utf-8") + code, encoding="utf-8")
    assert seen(copy / PACKAGE.name) != found
    assert broken(copy) >= {contract}


def test_the_contracts_hold_in_an_untouched_copy(copy):
    assert broken(copy) == set()


def broken(repository: Path) -> set[str]:
    """The contracts that import-linter finds broken, by their id."""
    lint = "from importlinter.cli import lint_imports_command as lint; lint()"
    command = [sys.executable, "-c", lint, "--no-cache", "--no-logo"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True)
    assert "Contracts:" in done.stdout, done.stdout + done.stderr
    settings = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    found = {each["id"] for each in contracts if f"{each['name']} BROKEN" in done.stdout}
    assert bool(found) == bool(done.returncode)
    return found


def test_a_private_name_from_elsewhere_is_seen(copy):
    path = copy / PACKAGE.name / "records" / "table.py"
    code = "from .store import _wrong_type\n\nstore._wrong_type({})\n"
    path.write_text(path.read_text(encoding="utf-8") + code, encoding="utf-8")
    taken = {("records.table", "records.store._wrong_type"), ("records.table", "store._wrong_type")}
    assert set(crossing_names(copy / PACKAGE.name)) == taken
