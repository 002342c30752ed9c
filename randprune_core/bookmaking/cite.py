"""How to cite the companion and its chapters, from `CITATION.cff` and the year in `_config.yml`."""

from __future__ import annotations

import re

import yaml

from .. import paths
from .repository import Repository


def companion(home: Repository | None) -> str:
    """The BibTeX entry of the companion; it has an address where the repository is published."""
    cff = _read("CITATION.cff")
    entry = {"title": f"{{{cff['title']}}}", **_who_and_when(cff, home)}
    return _bibtex("misc", "randprune", {**entry, "note": f"Version {cff['version']}"})


def chapter(name: str, title: str, home: Repository | None) -> str:
    """The BibTeX entry of one chapter, by the name and title of its notebook."""
    cff = _read("CITATION.cff")
    entry = {"title": f"{{{title}}}", "booktitle": f"{{{cff['title']}}}"}
    entry |= _who_and_when(cff, home)
    if home:
        entry["url"] = home.file(f"notebooks/{name}.ipynb")
    key = re.sub(r"^\d+_|_", "", name)
    return _bibtex("incollection", f"randprune_{key}", entry)


def paper() -> str:
    """The BibTeX entry of the paper, as it stands in `book/references.bib`."""
    text = (paths.BOOK / "references.bib").read_text(encoding="utf-8")
    found = re.search(r"^@\w+\{liu2022unreasonable,.*?^\}", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise LookupError("book/references.bib has no entry liu2022unreasonable")
    return found[0]


def page(home: Repository | None) -> str:
    """The two entries of the page on citing."""
    return (
        f"The paper:\n\n{_fence(paper())}\n\n"
        f"This companion, its code and its records:\n\n{_fence(companion(home))}"
    )


def chapter_box(name: str, title: str, home: Repository | None) -> str:
    """How to cite a chapter, with an entry to copy."""
    return (
        "**Cite this page.** Please cite the paper as well: {ref}`cite`.\n\n"
        f"{_fence(chapter(name, title, home))}"
    )


def _who_and_when(cff: dict, home: Repository | None) -> dict[str, str]:
    author = " and ".join(f"{{{person['name']}}}" for person in cff["authors"])
    found = {"author": author, "year": str(_read("_config.yml")["copyright"])}
    return found | ({"url": home.url} if home else {})


def _read(name: str) -> dict:
    return yaml.safe_load((paths.ROOT / name).read_text(encoding="utf-8"))


def _bibtex(kind: str, key: str, fields: dict[str, str]) -> str:
    width = max(map(len, fields))
    lines = [f"  {name:<{width}} = {{{_tex(name, value)}}}," for name, value in fields.items()]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])


def _tex(name: str, value: str) -> str:
    return value if name == "url" else re.sub(r"([%&#_$])", r"\\\1", value)


def _fence(entry: str) -> str:
    return f"```bibtex\n{entry}\n```"
