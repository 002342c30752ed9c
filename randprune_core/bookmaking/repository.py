"""The public repository of the book, from the one setting that names it.

`repository.url` in `_config.yml` is empty in a copy that is not published. Once it is set, the
book shows launch buttons, badges, links to records and an address in its citations; all of them
are made here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import yaml

from .. import paths

LAUNCH_BRANCH = "launch"
"""The branch with the chapters that begin with an installation, which Colab opens."""
_ADDRESS = re.compile(
    r"https://github\.com/(?P<owner>[\w.-]+)/(?P<name>[\w.-]+?)(?:\.git)?/?", re.ASCII
)
_BRANCH = re.compile(r"\w[\w./-]*", re.ASCII)


@dataclass(frozen=True)
class Repository:
    """A repository on GitHub: `owner`, `name`, and the `branch` that the book is made from."""

    owner: str
    name: str
    branch: str = "main"

    @property
    def url(self) -> str:
        """The address of the repository, without a slash at its end."""
        return f"https://github.com/{self.owner}/{self.name}"

    @property
    def site(self) -> str:
        """The address at which GitHub shows the book that its workflow builds."""
        home = f"{self.owner.lower()}.github.io"
        return f"https://{home}/" if self.name.lower() == home else f"https://{home}/{self.name}/"

    def file(self, path: str) -> str:
        """The address of the page of a file."""
        return f"{self.url}/blob/{self.branch}/{quote(path)}"

    def folder(self, path: str) -> str:
        """The address of the page of a folder."""
        return f"{self.url}/tree/{self.branch}/{quote(path)}"

    def commit(self, commit: str) -> str:
        """The address of the page of a commit."""
        return f"{self.url}/commit/{quote(commit, safe='')}"

    def binder(self, notebook: str) -> str:
        """The address that starts a notebook on Binder, which installs what `binder/` lists."""
        where = f"{self.owner}/{self.name}/{self.branch}"
        return f"https://mybinder.org/v2/gh/{where}?urlpath=lab/tree/{quote(notebook)}"

    def colab(self, notebook: str) -> str:
        """The address that opens the launch copy of a notebook on Colab."""
        where = f"{self.owner}/{self.name}/blob/{LAUNCH_BRANCH}"
        return f"https://colab.research.google.com/github/{where}/{quote(notebook)}"


def repository(config: Path | None = None) -> Repository | None:
    """The repository that `_config.yml` names, None where `repository.url` is empty or absent.

    Raises ValueError for an address that is not that of a repository on GitHub, and for a branch
    whose name could be anything but a name in an address, in a shell or in Python.
    """
    config = config or paths.ROOT / "_config.yml"
    setting = (yaml.safe_load(config.read_text(encoding="utf-8")) or {}).get("repository") or {}
    if not (url := setting.get("url")):
        return None
    if not (found := _ADDRESS.fullmatch(str(url))):
        raise ValueError(
            f"repository.url in _config.yml is {url!r}: give https://github.com/OWNER/NAME, or "
            "leave it empty"
        )
    branch = setting.get("branch") or "main"
    if not isinstance(branch, str) or not _BRANCH.fullmatch(branch):
        raise ValueError(
            f"repository.branch in _config.yml is {branch!r}: a name has letters, digits, dots, "
            "slashes, dashes and underscores"
        )
    return Repository(found["owner"], found["name"], branch)


def badges(home: Repository | None, notebook: str | None = None) -> str:
    """Links to Binder, Colab and the source in one line of MyST, "" without a repository.

    For a notebook by its path; None stands for the whole book.
    """
    if home is None:
        return ""
    links = {"GitHub": home.file(notebook) if notebook else home.url}
    if notebook:
        links |= {"Binder": home.binder(notebook), "Colab": home.colab(notebook)}
    return " ".join(f"{{bdg-link-primary}}`{name} <{url}>`" for name, url in links.items())


def show_repository(config: Path, home: Repository) -> None:
    """Add to the `_config.yml` of a staging folder the theme's buttons and the book's address."""
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    buttons = ("use_repository_button", "use_issues_button", "use_edit_page_button")
    settings["html"] |= dict.fromkeys(buttons, True) | {"baseurl": home.site}
    settings["repository"] = {"url": home.url, "branch": home.branch, "path_to_book": ""}
    paths.write_whole(config, yaml.safe_dump(settings, sort_keys=False).encode())


_INSTALL = """\
# Where the core is not installed (Colab), fetch the code and the records and install it, once.
import importlib.util
import subprocess
import sys
from pathlib import Path

if importlib.util.find_spec("randprune_core") is None:
    folder = Path("{name}").resolve()
    if not folder.exists():
        clone = ["git", "clone", "--depth", "1", "--branch", "{branch}", "{url}"]
        subprocess.run([*clone, str(folder)], check=True)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--editable"]
    subprocess.run([*install, str(folder)], check=True)
    sys.path.insert(0, str(folder))
"""


def launch_copy(notebook: dict, home: Repository) -> dict:
    """A notebook with a first cell that installs the core where it is missing."""
    source = _INSTALL.format(name=home.name, branch=home.branch, url=home.url)
    cell = {
        "cell_type": "code",
        "execution_count": None,
        "id": "install",
        "metadata": {},
        "outputs": [],
        "source": source.splitlines(keepends=True),
    }
    return notebook | {"cells": [cell, *notebook["cells"]]}
