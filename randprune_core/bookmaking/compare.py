"""Two re-runs of a chapter side by side: their parameters, and the numbers in which they differ."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from .. import paths
from . import notebooks

_DRAWN = re.compile(r"^\S*?(\w+\.csv): \d+ rows, digest [0-9a-f]{12}$", re.MULTILINE)
_KEYS = ("source", "quantity", "kind", "level", "benchmark", "case", "device", "claim", "part")
_KEYS += ("model", "ratio", "setting", "granularity", "sparsity", "seed", "seed_init", "epoch")
_KEYS += ("lower", "upper", "position", "layer", "precision", "train_images")
"""Columns of the figures' CSV that say what a row is about; the others hold its numbers."""


def compare(first: str, second: str) -> str:
    """What two re-runs draw from different numbers, a table for each figure that both draw.

    Each is the name of a folder under `results/local/`, such as `01_depth/profile=quick`, the path
    of one, or the name of a chapter, for its stored outputs. Ends of intervals are left out. Raises
    `ValueError` where one is not there, and where they have no figure in common.
    """
    runs = {"A": _notebook(first), "B": _notebook(second)}
    drawn = [_figures(notebook) for notebook in runs.values()]
    if not (both := [name for name in drawn[0] if name in drawn[1]]):
        raise ValueError(
            f"{first} and {second} draw no figure in common: name re-runs of a chapter"
        )
    lines = [f"{name}: {_described(notebook)}" for name, notebook in runs.items()]
    for name in both:
        table = _side_by_side(*(figures[name] for figures in drawn))
        table["difference"] = table.B - table.A
        shown = table[table.A.ne(table.B)].reset_index()
        lines += ["", f"{name}: {len(shown)} of {len(table)} numbers differ"]
        if len(shown):
            empty = shown.columns[shown.isna().all()].difference(["A", "B"])
            alone = ["row"] if not shown["row"].any() else []
            shown = shown.drop(columns=[*empty, *alone])
            lines.append(shown.to_string(index=False, na_rep="", float_format="{:.6g}".format))
    return "\n".join(lines)


def _notebook(name: str) -> Path:
    """The notebook of a re-run."""
    if name in notebooks.chapters():
        return notebooks.chapter(name)
    for folder in (paths.LOCAL / name, Path(name)):
        if found := sorted(folder.glob("*.ipynb")) if folder.is_dir() else ():
            return found[0]
    known = sorted(
        p.parent.relative_to(paths.LOCAL).as_posix() for p in paths.LOCAL.glob("*/*/*.ipynb")
    )
    raise ValueError(
        f"no re-run {name!r}: there are {', '.join(known) or 'none'}; `notebook` makes one, and "
        "the name of a chapter stands for its stored outputs"
    )


def _described(notebook: Path) -> str:
    given = notebooks.read_notebook(notebook)["metadata"].get("randprune", {}).get("parameters", {})
    shown = ", ".join(f"{name}={value!r}" for name, value in given.items())
    return f"{notebook.stem}, {shown or 'default parameters'}"


def _figures(notebook: Path) -> dict[str, Path]:
    """The CSV of each figure that a notebook drew; with default parameters that of the book."""
    cells = notebooks.read_notebook(notebook)["cells"]
    texts = ["".join(o.get("text", ())) for cell in cells for o in cell.get("outputs", ())]
    found = {}
    for name in _DRAWN.findall("\n".join(texts)):
        own = notebook.parent / name
        found[name] = own if own.is_file() else paths.FIGURES / name
    return {name: path for name, path in found.items() if path.is_file()}


def _side_by_side(first: Path, second: Path) -> pd.DataFrame:
    """The numbers of two CSV of one figure, columns A and B, by what they are about."""
    tables = [pd.read_csv(path) for path in (first, second)]
    if all("source" in table for table in tables):  # own runs are of one source, whatever profile
        common = set(tables[0].source) & set(tables[1].source)
        tables = [t.assign(source=t.source.where(t.source.isin(common), "own")) for t in tables]
    both = pd.concat(map(_numbers, tables), axis="columns", keys=["A", "B"])
    return both.dropna(how="all")


def _numbers(table: pd.DataFrame) -> pd.Series:
    """The numbers of a table by the key columns of their row and their own column."""
    keys = [name for name in _KEYS if name in table]
    table["row"] = table.groupby(keys, dropna=False).cumcount()  # of those with the same key
    keys.append("row")
    numbers = table.drop(columns=keys).select_dtypes("number")
    ends = [name for name in numbers if re.search(r"(\b|_)(low|high|se)$", name)]
    long = table[keys].join(numbers.drop(columns=ends))
    long = long.melt(keys, var_name="number", value_name="")  # a CSV may have a column `value`
    return long.set_index([*keys, "number"])[""]
