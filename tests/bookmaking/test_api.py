"""The reference page: every public name once, and every module with what it holds."""

import inspect
import re

import randprune_core
from randprune_core import paths
from randprune_core.bookmaking import api


def kind_of(value: object) -> str:
    if inspect.isclass(value):
        return "exception" if issubclass(value, Exception) else "class"
    return "function" if inspect.isfunction(value) else "data"


def test_every_public_name_stands_on_the_page_once_with_its_kind():
    page = (paths.BOOK / "api.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\.\. auto(\w+):: randprune_core\.(?:\w+\.)*(\w+)$", page, re.MULTILINE)
    public = [(kind_of(getattr(randprune_core, name)), name) for name in randprune_core.__all__]
    assert sorted(shown) == sorted(public)


def test_names_stand_below_the_module_that_the_package_takes_them_from():
    page = (paths.BOOK / "api.md").read_text(encoding="utf-8")
    parts = re.findall(
        r"^In `randprune_core\.([\w.]+)`:\n\n```\{eval-rst\}\n(.*?)```", page, re.M | re.S
    )
    shown = re.compile(r"^\.\. auto\w+:: .*?(\w+)$", re.MULTILINE)
    found = {module: tuple(shown.findall(text)) for module, text in parts}
    assert found == randprune_core.PUBLIC


def test_every_module_is_listed_with_what_it_holds():
    listed = dict(re.findall(r"^\| `([\w.]+)` \| (.+) \|$", api.modules(), re.MULTILINE))
    package = paths.ROOT / "randprune_core"
    modules = {path.relative_to(package).with_suffix("") for path in package.rglob("[!_]*.py")}
    wings = {".".join(path.parts) for path in modules if path.parts[0] != "chapters"}
    assert set(listed) == wings
    assert all(text.endswith(".") for text in listed.values())
