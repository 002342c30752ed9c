"""What the book adds to every chapter page: how to run it again, what it rests on, how to cite it.

The boxes are Markdown cells of the staged copies. The committed notebooks do not hold them, since
they depend on all records and on the setting `repository.url`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import pandas as pd

from .. import paths
from ..chapters.shared.records import Records, collect_records
from ..config import RunConfig, config_to_dict, run_id
from ..presentation import foreign
from ..presentation.words import listing
from ..sweeps import grids
from ..sweeps.profiles import PROFILES
from . import cite, expected_time
from .page_layout import PARAMETERS, lay_out, text
from .repository import Repository, badges

_REDRAW = "`make notebook NAME={name}`"
_FEW = 4  # commits that are named one by one


def add_boxes(
    notebook: dict, name: str, runs: pd.DataFrame, home: Repository | None, folder: Path
) -> dict:
    """A chapter as its page shows it, with launch buttons at its top and a footer at its end.

    `runs` are all records as `load_runs` gives them, `home` the repository if it is published.
    The runs of the page are written to `folder` as CSV. The description of the page, which stands
    in the metadata of the title cell, goes where Sphinx looks for it.
    """
    records = chapter_records(name)
    footer = []
    if len(shown := recorded(records)):
        save_runs(shown, home, folder / runs_file(name))
        footer.append(origin(name, records[0].profile, shown, home))
    footer.append(commands(notebook, name, records, runs))
    found = re.search(r"^\([\w-]+\)=\s*\n# (.+)$", text(notebook["cells"][0]), re.MULTILINE)
    footer.append(cite.chapter_box(name, found[1] if found else name, home))
    about = notebook["cells"][0]["metadata"]
    described = {key: value for key, value in about.items() if key == "description"}
    page = lay_out(notebook, badges(home, f"notebooks/{name}.ipynb"), footer, name)
    return page | {"metadata": page.get("metadata", {}) | described}


def chapter_records(name: str) -> list[Records]:
    """The records that a chapter shows with its default parameters, one part a figure.

    The figures are those of `grids.CHAPTERS`; all parts are of the profile of the first.
    """
    parts: list[Records] = []
    for figure in grids.CHAPTERS.get(name, ()):
        profile = parts[0].profile if parts else "auto"
        parts.append(collect_records(figure, profile=profile, train_missing=False))
    return parts


def recorded(records: Sequence[Records]) -> pd.DataFrame:
    """The runs of all parts in one frame, each once."""
    frames = [part.runs for part in records if len(part.runs)]
    if not frames:
        return pd.DataFrame()
    return pd.concat(frames, ignore_index=True).drop_duplicates("run_id", ignore_index=True)


# ---------------------------------------------------------------- run it again


def commands(notebook: dict, name: str, records: Sequence[Records], runs: pd.DataFrame) -> str:
    """A command and an expected time for each profile."""
    lines = [
        "**Run this page again.** In the root folder of the repository ({ref}`sec-rerun-chapter`). "
        f"From the committed records, none of which is trained again: {_REDRAW.format(name=name)}"
    ]
    if has_parameter(notebook, "profile") and any(grid_of(records, name) for name in PROFILES):
        lines += ["", "| profile | command | training from nothing |", "|---|---|---|"]
        for profile in PROFILES:
            if not grid_of(records, profile):
                continue
            command = f'make notebook NAME={name} ARGS="{arguments(profile)}"'
            time = time_of(records, profile, runs)
            lines.append(f"| `{profile}` | `{command}` | {time} |")
        lines += [
            "",
            "A run that is recorded is not trained again, and a sweep that is stopped goes on. "
            "Times are estimates from the seconds in the records ({ref}`provenance`): the median "
            "of the runs of a network, divided by how many shared a GPU; for a network that has "
            "none, by its multiply-accumulates. Runs that had to share a core took longer, so that "
            "their sum can be larger.",
        ]
    return "\n".join(lines)


def has_parameter(notebook: dict, name: str) -> bool:
    """Whether the cell tagged `parameters` assigns a name."""
    for cell in notebook["cells"]:
        if PARAMETERS in cell["metadata"].get("tags", ()):
            return bool(re.search(rf"^{name} *=", text(cell), re.MULTILINE))
    return False


def arguments(profile: str) -> str:
    """The parameters that train a chapter at a profile."""
    train = "" if profile == "quick" else " -p train_missing True"
    return f"-p profile {profile}{train}" + (" -p device cuda" if profile == "paper" else "")


def time_of(records: Sequence[Records], profile: str, runs: pd.DataFrame) -> str:
    """How long a profile takes on each device that trained it, or why that is not known."""
    configs = grid_of(records, profile)
    seconds = expected_time.expected_seconds(configs, profile, runs)
    count = "1 run" if len(configs) == 1 else f"{len(configs):,} runs"
    if not seconds:
        return f"{count}; not known, because no run like these is recorded"
    parts = [
        f"about {expected_time.duration(busy)} of {_unit(runs, device)}"
        for device, busy in seconds.items()
    ]
    return f"{count}; {', or '.join(parts)}"


def _unit(runs: pd.DataFrame, device: str) -> str:
    """Whose time it is: one core of a processor; runs on a GPU note how many shared it."""
    part = runs[runs["provenance.device"] == device]
    at_once = part["provenance.at_once"] if "provenance.at_once" in part else pd.Series(dtype=float)
    name = foreign.text(device)
    return name if at_once.notna().any() else f"one core ({name})"


def grid_of(records: Sequence[Records], profile: str) -> list[RunConfig]:
    """The runs of a chapter's figures at a profile, each once."""
    variant = records[0].variant if records and profile == records[0].profile else "original"
    figures = [part.figure for part in records if profile in grids.GRIDS[part.figure]]
    return list({k: v for figure in figures for k, v in _grid(figure, profile, variant)}.values())


@lru_cache(maxsize=64)  # the scorecard asks for the grids of other chapters again
def _grid(figure: str, profile: str, variant: str) -> list[tuple[str, RunConfig]]:
    return [(run_id(c), c) for c in grids.grid(figure, profile, variant=variant)]


# ---------------------------------------------------------------- what it rests on


def origin(name: str, profile: str, runs: pd.DataFrame, home: Repository | None) -> str:
    """One paragraph: runs, seeds, test images, devices, seconds and commits, read from records."""
    images = listing(f"{int(n):,}" for n in sorted(runs["n"].unique()))
    devices = listing(map(foreign.text, sorted(runs["provenance.device"].dropna().unique())))
    seeds = sorted(int(seed) for seed in runs.seed_init.unique())
    count = "1 run" if len(runs) == 1 else f"{len(runs):,} runs"
    where = "{ref}`in the records <provenance>`"
    if home:
        where = f"[in the records]({home.folder(f'results/runs/{runs.dataset.iloc[0]}')})"
    return (
        f"**Behind this page.** In the grid of its figures {count} of profile {profile} "
        f"({'seed' if len(seeds) == 1 else 'seeds'} {listing(seeds)}; accuracy on "
        f"{images} test images) on {devices}, at least {runs['provenance.seconds'].sum():,.0f} "
        f"seconds, code at {_commits(runs, home)}: {where}, or one row a run in "
        f"{{download}}`{runs_file(name)} </results/runs/{runs_file(name)}>`. The table above has "
        "these and all others that the page reads."
    )


def _commits(runs: pd.DataFrame, home: Repository | None) -> str:
    commits = runs.sort_values("provenance.started")["provenance.commit"].dropna().unique()
    if len(commits) > _FEW:
        return f"{len(commits)} commits ({{numref}}`tab-provenance-commits`)"
    words = [foreign.code(commit[:7]) for commit in commits]
    if home:
        words = [f"[{word}]({home.commit(c)})" for word, c in zip(words, commits, strict=True)]
    if not words:
        return "an unknown commit"
    resumed = runs.get("provenance.commits", pd.Series(dtype=float)).count()
    before = f" (an earlier one began {resumed} of the runs)" if resumed else ""
    return f"{'commit' if len(words) == 1 else 'commits'} {listing(words)}{before}"


def runs_file(name: str) -> str:
    """The name of the CSV with one row for each run of a chapter."""
    return f"{name}_runs.csv"


def save_runs(runs: pd.DataFrame, home: Repository | None, target: Path) -> None:
    """Write the runs of a chapter as CSV: where the record is, its config, result, origin."""
    place = "results/runs/" + runs.dataset + "/" + runs.run_id + ".json"
    columns = {"record": place if home is None else place.map(home.file)}
    columns |= {name: runs[name] for name in config_to_dict(RunConfig())}
    columns |= {name: runs[name] for name in ("accuracy", "ece", "n")}
    for key in ("commit", "device", "started", "seconds"):
        columns[key] = runs[f"provenance.{key}"]
    paths.write_whole(target, foreign.csv_text(pd.DataFrame(columns)).encode())
