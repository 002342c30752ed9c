"""SECURITY.md names a test for each of its lines, and each of these tests exists."""

import ast
import re

import pytest

from randprune_core import paths

TEXT = (paths.ROOT / "SECURITY.md").read_text(encoding="utf-8")
UNTRUSTED = ("Records", "Notes", "Checkpoints", "Data files", "Parameters of papermill")
UNTRUSTED += ("The network", "Other users")


def rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("| ")][1:]


def names_of(file: str) -> set[str]:
    path = paths.ROOT / file
    tree = ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else ast.Module([], [])
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def without_a_test(text: str) -> list[str]:
    """Lines of the table that name no test, or one that does not exist."""
    found = []
    for row in rows(text):
        named = [name.partition("::") for name in re.findall(r"`(tests/[^`]*)`", row)]
        if not named or any(test not in names_of(file) for file, _, test in named):
            found.append(row)
    return found


def test_every_line_has_a_test_that_exists():
    assert len(rows(TEXT)) > 15 and without_a_test(TEXT) == []


@pytest.mark.parametrize("kind", UNTRUSTED)
def test_every_kind_of_input_has_its_line(kind):
    assert [row for row in rows(TEXT) if row.startswith(f"| **{kind}**")]


@pytest.mark.parametrize(
    "named", ["", "`tests/test_security.py::test_nothing`", "`tests/no_file.py::test_nothing`"]
)
def test_a_line_whose_test_is_missing_is_found(named):
    row = f"| **Dust** | wiped | {named} |"
    table = f"| what | done | test |\n|---|---|---|\n{row}\n"
    assert without_a_test(table) == [row]
