"""A folder in which make runs with a Python and a uv that only note what they are asked for."""

import shutil
import stat
import subprocess
import sys
from pathlib import Path

from randprune_core import paths

# Written to the log as one line an argument; `-m venv` makes a folder with the same program in it.
PYTHON = f"""#!/bin/sh
printf '%s\\n' "$@" >> "$LOG"
case "$*" in
  "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; exit ;;
  *"print(sys.executable)"*) echo "$0"; exit ;;
  *version_info*) exec {sys.executable} "$@" ;;
esac
"""
UV = """#!/bin/sh
printf '%s\\n' uv "$@" >> "$LOG"
"""


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


class Project:
    """What make needs of the repository in a folder `name`, a sibling for each of its words."""

    def __init__(self, place: Path, name: str):
        self.place, self.folder, self.log = place, place / "here" / name, place / "log"
        self.folder.mkdir(parents=True)
        for file in ("Makefile", "requirements.lock"):
            shutil.copy(paths.ROOT / file, self.folder)
        words = {*name.split(), name.split()[0] + "/.venv", *name.split(";"), name.strip("'")}
        self.siblings = [self.folder.parent / word / "precious" for word in words - {"*", name}]
        for sibling in self.siblings:
            sibling.parent.mkdir(parents=True, exist_ok=True)
            sibling.write_text("kept")
        program(place / "bin" / "python3", PYTHON)
        program(place / "bin" / "uv", UV)
        self.log.touch()

    def make(self, *arguments: str, **more: str) -> subprocess.CompletedProcess:
        before = self.outside()
        environment = {"PATH": f"{self.place / 'bin'}:/usr/bin:/bin", "LOG": str(self.log), **more}
        self.log.write_text("")
        done = subprocess.run(
            ["make", *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert self.outside() == before, done
        assert not list(self.place.rglob("made")), done
        return done

    def outside(self) -> list[str]:
        """Every file and folder but those of the project itself."""
        found = self.place.rglob("*")
        return sorted(str(p) for p in found if not p.is_relative_to(self.folder))

    def logged(self) -> list[str]:
        return self.log.read_text().splitlines()
