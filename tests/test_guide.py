"""The changes that CONTRIBUTING.md shows apply as they stand, one after the other."""

import re
import shutil
import subprocess

from randprune_core import paths

GUIDE = paths.ROOT / "CONTRIBUTING.md"


def test_every_diff_of_the_guide_is_taken_by_git_apply_as_typed(tmp_path):
    diffs = re.findall(r"^```diff\n(.*?)^```$", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len(diffs) >= 6
    for name in {name for diff in diffs for name in re.findall(r"^--- a/(.+)$", diff, re.M)}:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(paths.ROOT / name, tmp_path / name)
    for diff in diffs:
        done = subprocess.run(
            ["git", "apply", "-"], input=diff, cwd=tmp_path, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, ""), diff
