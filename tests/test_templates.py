"""Forms for issues and pull requests: GitHub can read them, and what they name exists."""

import re
import shlex

import pytest
import yaml

from randprune_core import __main__, paths
from randprune_core.bookmaking import notebooks

GITHUB = paths.ROOT / ".github"
FORMS = sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml"))
FORMS.remove(GITHUB / "ISSUE_TEMPLATE" / "config.yml")
TEXTS = {file.name: file.read_text() for file in [*FORMS, GITHUB / "pull_request_template.md"]}

KEYS = {"name", "description", "labels", "body"}
ATTRIBUTES = {
    "markdown": {"value"},
    "input": {"label", "description", "placeholder"},
    "textarea": {"label", "description", "placeholder", "render"},
}
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (paths.ROOT / "Makefile").read_text(), re.MULTILINE))


def faults_of(form: dict) -> list[str]:
    """What GitHub would not accept in a form, which it then leaves out without a word."""
    found = [f"key {key}" for key in form.keys() ^ KEYS]
    ids = [part.get("id") for part in form.get("body", []) if part["type"] != "markdown"]
    if not ids or len(set(ids)) < len(ids):
        found.append("ids")
    for part in form.get("body", []):
        attributes = part["attributes"]
        needed = "value" if part["type"] == "markdown" else "label"
        if needed not in attributes or not attributes.keys() <= ATTRIBUTES[part["type"]]:
            found.append(f"attributes of {part.get('id')}")
        if not all(isinstance(text, str) and text for text in attributes.values()):
            found.append(f"texts of {part.get('id')}")
    return found


@pytest.mark.parametrize("file", FORMS, ids=lambda file: file.name)
def test_github_can_read_a_form(file):
    assert faults_of(yaml.safe_load(file.read_text())) == []


@pytest.mark.parametrize(
    "change",
    [
        {"title": "x"},
        {"body": []},
        {"body": [{"type": "input", "id": "a", "attributes": {"value": "x"}}]},
        {"body": [{"type": "input", "id": "a", "attributes": {"label": "x"}}] * 2},
    ],
)
def test_a_form_that_it_cannot_read_is_found(change):
    assert faults_of(yaml.safe_load(FORMS[0].read_text()) | change)


def test_the_three_reasons_to_write_have_a_form_each():
    assert [file.stem for file in FORMS] == ["fault", "number", "question"]
    chooser = yaml.safe_load((GITHUB / "ISSUE_TEMPLATE" / "config.yml").read_text())
    for link in chooser["contact_links"]:
        assert link.keys() == {"name", "url", "about"} and link["url"].startswith("https://")


def commands(text: str) -> list[str]:
    """What stands in backticks or in a placeholder and begins as a command does."""
    quoted = re.findall(r"`([^`]+)`", text) + re.findall(r"placeholder: (.*)", text)
    return [words for words in quoted if words.startswith(("make ", "python -m randprune_core "))]


def is_there(command: str, capsys) -> bool:
    words = shlex.split(command)
    if words[0] == "make":
        named = [word.partition("=")[2] for word in words if word.startswith("NAME=")]
        return words[1] in TARGETS and {*named} <= notebooks.chapters().keys()
    with pytest.raises(SystemExit) as end:
        __main__.main([*words[3:4], *(["--help"] if words[3] != "--version" else [])])
    capsys.readouterr()
    return end.value.code == 0


@pytest.mark.parametrize("name", TEXTS)
def test_commands_files_and_links_that_a_template_names_exist(name, capsys):
    text = TEXTS[name]
    assert [command for command in commands(text) if not is_there(command, capsys)] == []
    files = re.findall(r"`((?:book|results|tests)/[\w./-]+\.\w+|[A-Z]+\.md)`", text)
    files += [link.removeprefix("../blob/HEAD/") for link in re.findall(r"\]\((\S+)\)", text)]
    files = [file for file in files if "RUN_ID" not in file]
    assert [file for file in files if not (paths.ROOT / file).is_file()] == []
    assert commands(text) or files


@pytest.mark.parametrize(
    "command", ["make tests", "make notebook NAME=2", "python -m randprune_core x"]
)
def test_a_command_that_does_not_exist_is_found(command, capsys):
    assert commands(f"run `{command}`") == [command] and not is_there(command, capsys)
