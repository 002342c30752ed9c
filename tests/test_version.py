"""One version, in `randprune_core/VERSION`, named alike everywhere; no run depends on it."""

import datetime
import re

import yaml

from randprune_core import __version__, paths
from randprune_core.bookmaking import notebooks
from randprune_core.records.provenance import code_version, environment

CITATION = yaml.safe_load((paths.ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def test_the_citation_and_the_changelog_name_the_version():
    changelog = (paths.BOOK / "changelog.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## (\d+\.\d+\.\d+)$", changelog, re.MULTILINE)
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    assert CITATION["version"] == versions[0] == __version__
    assert versions == sorted(set(versions), key=lambda one: [*map(int, one.split("."))])[::-1]


def test_the_day_of_the_release_is_one_in_both():
    if day := CITATION.get("date-released"):
        assert isinstance(day, datetime.date)
        changelog = (paths.BOOK / "changelog.md").read_text(encoding="utf-8")
        section = changelog.partition(f"## {__version__}\n")[2].partition("\n## ")[0]
        assert f"Released on {day}." in section


def test_no_chapter_and_no_record_depends_on_the_version():
    assert paths.PACKAGE / "VERSION" not in notebooks.code_of()
    naming = [file for file in paths.PACKAGE.rglob("*.py") if "__version__" in file.read_text()]
    others = {"torch.__version__", "numpy.__version__", "ray.__version__"}
    own = {
        file.name
        for file in naming
        if {*re.findall(r"(?:\w+\.)?__version__", file.read_text())} - others
    }
    assert own == {"__init__.py", "__main__.py"}
    assert code_version().keys() == {"commit", "dirty"}
    assert environment("cpu")["versions"].keys() == {"python", "torch", "torchvision", "numpy"}
