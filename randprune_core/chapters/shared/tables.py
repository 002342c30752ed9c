"""How a chapter shows what it computed: tables, sentences, named values, figures and their CSV."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from ... import paths
from ...analysis.cells import CELL
from ...presentation import foreign
from ...presentation.words import commit_label, listing, processor_label
from ...records.files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def named(cells: pd.DataFrame, value: str, name: str) -> pd.DataFrame:
    """Cells with one of their columns as `name`, and its limits as `name_low` and `name_high`."""
    names = {value: name, "low": f"{name}_low", "high": f"{name}_high"}
    return cells.rename(columns=names)[[*CELL, *names.values()]]


def accuracy_table(
    source: str, points: pd.DataFrame, differences: pd.DataFrame, value: str = "difference"
) -> pd.DataFrame:
    """What a figure of accuracies draws, and the differences (column `value`): one row a cell.

    `points` is `cells.summarise`. Accuracies are in percent, differences in points; `_low` and
    `_high` are 95 % intervals over seeds, empty for one seed.
    """
    table = points[[*CELL, "n"]].merge(named(points, "mean", "accuracy"), on=CELL)
    table = table.merge(named(differences, value, value), on=CELL, how="left")
    table.insert(0, "source", source)
    return table


def quantity_table(source: str, parts: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Accuracies (column `mean`) and differences of cells below each other, by `quantity`."""
    columns = ["source", "quantity", *CELL, "n", "value", "low", "high"]
    names = {"mean": "value", "difference": "value"}
    tables = [part.rename(columns=names).assign(quantity=name) for name, part in parts.items()]
    table = pd.concat([part for part in tables if len(part)] or tables[:1])
    return table.assign(source=source).reindex(columns=columns)


def show_table(table: pd.DataFrame, name: str, caption: str):
    """A numbered, captioned table for a cell with `mystnb: {markdown_format: myst}`.

    Cells and headings are text (`foreign.table`); the caption is MyST. A table without rows
    becomes a sentence: the book cannot number what is not there. What the caption says of ○, after
    its last semicolon, goes where no cell has one.
    """
    from IPython.display import Markdown

    if table.empty:
        return Markdown(f"This table has no rows yet. {caption}")
    if not table.astype(str).apply(lambda column: column.str.contains("○")).any(axis=None):
        caption = re.sub("; ○[^;.]*", "", caption)
    return Markdown(foreign.table(table, name, caption))


def written(table: pd.DataFrame, columns: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """Columns of a table as text to read: by heading, the column and how a value is written.

    `{"images per second": ("rate", "{:,.0f}")}`; a dash stands for what is missing.
    """
    read = {}
    for heading, (name, form) in columns.items():
        texts = ["–" if pd.isna(value) else form.format(value) for value in table[name]]
        read[heading] = [re.sub(r"(?<!\w)-(?=\d)", "−", text) for text in texts]
    return pd.DataFrame(read)


def show_list(*lines: str):
    """The lines that are not empty as a list."""
    from IPython.display import Markdown

    return Markdown("\n".join(f"- {line}" for line in lines if line))


def glue(values: Mapping[str, object]) -> None:
    """Give other pages of the book named values, as text; printed where myst-nb is absent."""
    try:
        from myst_nb import glue as store
    except ImportError:
        store = None
    for name, value in values.items():
        if store:
            store(name, str(value), display=False)
        else:
            print(f"{name}: {value}")


def save_figure_data(table: pd.DataFrame, name: str, *, default: bool) -> Path:
    """Write the numbers that a figure draws as CSV, print where and their digest.

    Only a chapter with its default parameters writes to `results/figures/`, any other run to its
    own folder under `results/local/` (`paths.rerun_folder`). Equal numbers give equal files on
    every machine.
    """
    text = foreign.csv_text(table, float_format="%.6g")
    path = _save(f"{name}.csv", text, default)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    print(f"{_shown(path)}: {len(table)} rows, digest {digest}")
    return path


def show_figure(
    figure: Figure, name: str, *, default: bool, phone: Figure | None = None, missing: str = ""
):
    """Show a figure, write it as SVG where its numbers are written, print where and its digest.

    `NAME-phone.svg` has its panels below each other, for a narrow page; `phone` is drawn there
    instead. The figure itself stays as it is. In place of one that draws nothing stands a sentence,
    with what is `missing`.
    """
    import matplotlib.pyplot as plt
    from IPython.display import Markdown

    from ...presentation import plots, stacked, vector

    if phone:
        plt.close(phone)
    if plots.is_empty(figure):
        plt.close(figure)
        return Markdown(f"Nothing is recorded for this figure{f': {missing}' * bool(missing)}.")
    about = plots.digest(figure)
    narrow = stacked.fitted(phone) if phone else stacked.stacked(figure)
    _save(f"{name}-phone.svg", vector.svg(narrow, f"{name}-phone", about), default)
    path = _save(f"{name}.svg", vector.svg(stacked.fitted(figure), name, about), default)
    print(f"{_shown(path)}: {about}")
    plt.show()
    return None


def _save(name: str, text: str, default: bool) -> Path:
    """Write a file of a figure, unless it is there already."""
    path = (paths.FIGURES if default else paths.rerun_folder()) / name
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_whole(path, text)
    return path


def _shown(path: Path) -> Path:
    """A path as it is printed, the same wherever the results lie."""
    if path.is_relative_to(paths.RESULTS):
        return Path("results", path.relative_to(paths.RESULTS))
    return path


def provenance(runs: pd.DataFrame) -> pd.DataFrame:
    """Where the shown runs were made: a row for each commit, device, version and copy of the data.

    Everything is read from the records: number of runs, how many of them another commit began,
    their seconds together since the last start of each, and the images that the accuracy is
    measured on. A commit with a plus had uncommitted changes.
    """
    names = ["commit", "dirty", "device", "versions.torch", "data.fingerprint", "seconds"]
    *columns, seconds = [f"provenance.{name}" for name in names]
    known = runs.reindex(columns=[*columns, seconds, "n", "provenance.commits"])
    known[columns] = known[columns].astype(object).fillna("unknown")
    rows = [
        {
            "runs": len(part),
            "commit": commit_label(commit, dirty),
            "begun under another commit": int(part["provenance.commits"].notna().sum()),
            "device": processor_label(device),
            "torch": torch,
            "data": fingerprint[:12],
            "test images": listing(f"{n:,}" for n in sorted(part["n"].unique())),
            "seconds, at least": f"{part[seconds].sum():,.0f}",
        }
        for (commit, dirty, device, torch, fingerprint), part in known.groupby(columns, sort=False)
    ]
    return pd.DataFrame(rows)
