"""The provenance page of the book: where, when and with what the recorded runs were made.

Everything is read from the records, nothing from the machine that builds the page.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ..config import RunConfig, setting
from ..presentation import foreign
from ..presentation.words import listing, model_label
from .explorer import protocols
from .repository import Repository

_UNKNOWN = "not recorded"
_CODE = "Code, and how many of its runs another commit began. A plus marks uncommitted changes."
_REFUSED = "Files that are no records of their runs. They are in no figure."
_FAILED = "Runs that failed when they were last tried. They have no record and are in no figure."


def page(
    runs: pd.DataFrame,
    failures: Mapping[str, tuple[RunConfig, str]] | None = None,
    home: Repository | None = None,
    refused: Mapping[str, str] | None = None,
) -> str:
    """The page in MyST Markdown, for runs of `load_runs` and failures of `all_failures`.

    `refused` are the files that are left out, with the reason (`store.refused`).
    Commits are links where the book is published, that is where `home` names its repository.
    """
    failed = []
    if failures:
        failed.append(foreign.table(_failed(failures), "tab-provenance-failed", _FAILED))
    if refused:
        table = pd.DataFrame(list(refused.items()), columns=["file", "why"])
        failed.append(foreign.table(table, "tab-provenance-refused", _REFUSED))
    if runs.empty:
        return "\n\n".join(["No run is recorded.", *failed])
    if "cost.dense_weights" in runs:  # smaller networks first
        runs = runs.sort_values("cost.dense_weights", kind="stable")
    days = _days(runs)
    when = f"on {days[0]}" if len(days) == 1 else f"from {days[0]} to {days[-1]}"
    count = "1 run is" if len(runs) == 1 else f"{len(runs):,} runs are"
    summary = f"{count} recorded, started {foreign.text(when)} (UTC)."
    tables = (
        ("profiles", _profiles(runs), "Runs of each profile, and how long they took together."),
        ("seconds", _seconds(runs), "Seconds of one run, median and range."),
        ("machines", _machines(runs), "Machines and versions."),
        ("commits", _commits(runs, home), _CODE),
        ("data", _data(runs), "Data, by the first digits of its fingerprint."),
    )
    made = [foreign.table(table, f"tab-provenance-{name}", words) for name, table, words in tables]
    return "\n\n".join([summary, *made, *failed])


def _column(runs: pd.DataFrame, name: str) -> pd.Series:
    """A provenance column as text; records that lack it say so."""
    if (name := f"provenance.{name}") not in runs:
        return pd.Series(_UNKNOWN, runs.index)
    return runs[name].astype(object).where(runs[name].notna(), _UNKNOWN).astype(str)


def _days(runs: pd.DataFrame) -> list[str]:
    """The days on which runs started, in order; never empty."""
    known = {text[:10] for text in _column(runs, "started") if text != _UNKNOWN}
    return sorted(known) or [_UNKNOWN]


def _hours(seconds: pd.Series) -> str:
    return f"{seconds.sum() / 3600:,.1f}"


def _profiles(runs: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for label, part in protocols(runs):
        rows.append(
            {
                "profile": label,
                "runs": len(part),
                "networks": listing(model_label(name) for name in part.model.unique()),
                "seeds": listing(sorted(part.seed_init.unique())),
                "hours, at least": _hours(part["provenance.seconds"]),
                "started": " to ".join(dict.fromkeys((_days(part)[0], _days(part)[-1]))),
            }
        )
    return pd.DataFrame(rows)


def _seconds(runs: pd.DataFrame) -> pd.DataFrame:
    """Seconds depend on the device and on how many runs shared it, so that these stay apart."""
    rows = []
    for label, same in protocols(runs):
        profile = label.partition(":")[0]
        if profile.startswith("control"):
            profile += f", {same.train_images.iloc[0]:,} images"
        keys = [same.model, _column(same, "device"), _column(same, "at_once")]
        for (model, device, at_once), part in same.groupby(keys, sort=False):
            seconds = part["provenance.seconds"]
            rows.append(
                {
                    "profile": profile,
                    "network": model_label(model),
                    "device": device,
                    "runs at once": at_once.removesuffix(".0"),
                    "runs": len(part),
                    "median": f"{seconds.median():,.0f}",
                    "range": f"{seconds.min():,.0f} to {seconds.max():,.0f}",
                }
            )
    return pd.DataFrame(rows)


def _machines(runs: pd.DataFrame) -> pd.DataFrame:
    names = {"device": "device", "threads": "threads", "Python": "versions.python"}
    names |= {name: f"versions.{name}" for name in ("torch", "torchvision", "numpy")}
    keys = [_column(runs, name).rename(title) for title, name in names.items()]
    rows = []
    for key, part in runs.groupby(keys, sort=False):
        hours = _hours(part["provenance.seconds"])
        about = {"runs": len(part), "hours, at least": hours}
        rows.append(dict(zip(names, key, strict=True)) | about)
    return pd.DataFrame(rows)


def _failed(failures: Mapping[str, tuple[RunConfig, str]]) -> pd.DataFrame:
    rows = [
        {
            "run": name,
            "data set": config.dataset,
            "network": model_label(config.model),
            "setting": setting(config),
            "sparsity": f"{config.sparsity:g}",
            "seed": config.seed_init,
            "reason": error,
        }
        for name, (config, error) in failures.items()
    ]
    return pd.DataFrame(rows)


def _commits(runs: pd.DataFrame, home: Repository | None) -> pd.DataFrame:
    rows = []
    keys = [_column(runs, "commit"), _column(runs, "dirty")]
    for (commit, dirty), part in runs.sort_values("provenance.started").groupby(keys, sort=False):
        started = part["provenance.started"].str[:16].str.replace("T", " ")
        mark = "+" if dirty == "True" else ""
        span = {"first run": started.min(), "last run": started.max()}
        name = (commit[:12] if commit != _UNKNOWN else commit) + mark
        if home and commit != _UNKNOWN:
            name = foreign.Markup(foreign.link(name, home.commit(commit)))
        moved = int((_column(part, "commits") != _UNKNOWN).sum())
        rows.append(
            {"commit": name, "runs": len(part), "begun under another commit": moved, **span}
        )
    return pd.DataFrame(rows)


def _thousands(count: str) -> str:
    return f"{int(float(count)):,}" if count != _UNKNOWN else count


def _data(runs: pd.DataFrame) -> pd.DataFrame:
    names = {"read from": "source", "fingerprint": "fingerprint"}
    names |= {"training": "train", "validation": "validation", "test": "test"}
    keys = [_column(runs, f"data.{name}").rename(title) for title, name in names.items()]
    rows = []
    for key, part in runs.groupby([runs.dataset, runs.variant, *keys], sort=False):
        dataset, variant, source, fingerprint, *images = key
        rows.append(
            {
                "data set": dataset,
                "copy": variant,
                "read from": source,
                "fingerprint": fingerprint[:12],
                "training / validation / test images": " / ".join(map(_thousands, images)),
                "runs": len(part),
            }
        )
    return pd.DataFrame(rows)
