"""Glossary and terminology have the words that the figures use, and lead to the source tags."""

import re

import pytest

from randprune_core import config, paths
from randprune_core.analysis.claims import together
from randprune_core.presentation.theme import LABELS
from randprune_core.pruning.dynamic import RULES


def page(name: str) -> str:
    return (paths.BOOK / f"{name}.md").read_text(encoding="utf-8")


def entries() -> dict[str, str]:
    """The definition of each term of the glossary; an entry may have several terms."""
    found = {}
    for box in re.findall(r"```{glossary}\n(.*?)\n```", page("glossary"), re.DOTALL):
        for entry in box.split("\n\n"):
            *terms, definition = entry.splitlines()
            assert definition.startswith("  "), entry
            found |= dict.fromkeys(terms, definition.strip())
    return found


def test_every_ratio_and_rule_of_the_figures_is_in_the_glossary():
    names = [*config.RATIOS[1:], *(f"erk:{rule}" for rule in RULES)]
    labels = {LABELS[name].removesuffix(" ratio") for name in names}
    assert len(labels) >= 8
    assert labels <= set(entries())


def test_glossary_names_every_verdict():
    found = {
        together([word]) for word in ("supported", "contradicted", "undecided", "out of reach")
    }
    assert len(found) == 4
    assert [word for word in found if word not in entries()["verdict"]] == []


@pytest.mark.parametrize("name", ["glossary", "terminology"])
def test_first_source_tag_of_a_page_is_a_link_to_the_sources(name):
    text = page(name)
    if tag := re.search(r"\[[TSRD]\]", text):
        around = text[tag.start() - len("{ref}`") : tag.end() + len(" <sec-sources>`")]
        assert around == f"{{ref}}`{tag[0]} <sec-sources>`"
    else:
        assert name == "glossary"
