"""The reference page: every public name with the signature and docstring that it really has."""

import inspect
import re
from dataclasses import is_dataclass

import pytest

import randprune_core
from randprune_core import paths
from randprune_core.bookmaking import api


@pytest.fixture(scope="module")
def page() -> str:
    return api.page()


@pytest.mark.parametrize("name", randprune_core.__all__)
def test_public_name_stands_on_the_page_with_its_docstring(page, name):
    ((kind, body),) = re.findall(rf"::::\{{py:(\w+)\}} {name}\b(.*?)\n::::", page, re.DOTALL)
    value = getattr(randprune_core, name)
    if kind == "data":
        assert f":value: {value!r}" in body
        return
    assert inspect.cleandoc(value.__doc__) in body
    if kind == "function" or is_dataclass(value):
        signature = body.partition("\n\n")[0]
        for parameter in inspect.signature(value).parameters:
            assert re.search(rf"\b{parameter}\b", signature)


def test_every_module_is_listed_with_what_it_holds(page):
    listed = dict(re.findall(r"^\| `([\w.]+)` \| (.+) \|$", page, re.MULTILINE))
    package = paths.ROOT / "randprune_core"
    modules = {path.relative_to(package).with_suffix("") for path in package.rglob("[!_]*.py")}
    wings = {".".join(path.parts) for path in modules if path.parts[0] != "chapters"}
    assert set(listed) == wings
    assert all(text.endswith(".") for text in listed.values())


def test_name_that_is_not_defined_is_an_error():
    with pytest.raises(LookupError, match=r"randprune_core\.nothing is not defined in models\.py"):
        api._entry(api._tree("models"), "models", "nothing")
