"""What the page on figures links to and names is there, and its numbers are those of the code."""

import importlib
import re

import pytest

from randprune_core import paths
from randprune_core.presentation import stacked, theme

PAGE = paths.ROOT / "randprune_core/presentation/README.md"
TEXT = PAGE.read_text(encoding="utf-8")
ROWS = re.findall(r"^\| \[(\w+)\.py\]\(\1\.py\) \| (.+) \|$", TEXT, re.MULTILINE)


def test_every_link_leads_to_a_file():
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert sum(link.endswith(".svg") for link in links) >= 3
    assert [link for link in links if not (PAGE.parent / link).is_file()] == []


def test_every_module_of_the_wing_has_its_row():
    modules = {path.stem for path in PAGE.parent.glob("*.py")} - {"__init__"}
    assert {module for module, _ in ROWS} == modules


@pytest.mark.parametrize(("module", "cell"), ROWS)
def test_every_function_in_the_table_is_there(module, cell):
    names = re.findall(r"`(\w+)`", cell)
    found = importlib.import_module(f"randprune_core.presentation.{module}")
    assert names and [name for name in names if not hasattr(found, name)] == []


def test_the_numbers_are_those_of_the_code():
    assert f"{theme.WIDTH:g} inches wide" in TEXT and f"in {stacked.WIDTH:g} inches" in TEXT
    assert f"letters of {stacked.LEAST} points" in TEXT and theme.FONT.split()[0] in TEXT
