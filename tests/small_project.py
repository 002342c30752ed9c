"""Cells and notebooks of a small repository, and a whole one with one short chapter."""

import json
import shutil
from pathlib import Path

from randprune_core import paths
from randprune_core.analysis import claims
from randprune_core.bookmaking import notebooks


def code(source: str, *tags: str, outputs=(), **metadata) -> dict:
    if tags:
        metadata["tags"] = list(tags)
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": f"cell-{abs(hash(source)):x}"[:16],
        "metadata": metadata,
        "outputs": list(outputs),
        "source": source.splitlines(keepends=True),
    }


def stream(text: str, name: str = "stdout") -> dict:
    return {"output_type": "stream", "name": name, "text": text.splitlines(keepends=True)}


def notebook(*cells: dict) -> dict:
    return {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


PARAMETERS = code('profile = "auto"\nseeds = [0, 1]', "parameters")


def write(project: Path, name: str, *cells: dict) -> Path:
    path = project / "notebooks" / f"{name}.ipynb"
    path.write_text(json.dumps(notebook(*cells)))
    return path


def printed(path: Path) -> str:
    cells = json.loads(path.read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    return "".join("".join(output.get("text", "")) for output in outputs)


CHAPTER = """\
import matplotlib.pyplot as plt
from randprune_core import paths
from randprune_core.bookmaking import notebooks
figure, axes = plt.subplots(figsize=(1, 1))
print(paths.ROOT.name, paths.data_root().name)
plt.show()"""


def small_copy(folder: Path, chapter: str = CHAPTER) -> None:
    """The repository with one short chapter, without records, and with pages of a line each."""
    left_out = shutil.ignore_patterns("runs", "local", "checkpoints", "failed", "__pycache__")
    for name in ("randprune_core", "results"):
        shutil.copytree(paths.ROOT / name, folder / name, ignore=left_out)
    shutil.copytree(paths.BOOK / "_static", folder / "book" / "_static")
    shutil.copy(paths.BOOK / "references.bib", folder / "book")
    for name in ("Makefile", "pyproject.toml", "_config.yml", "LICENSE", "CITATION.cff"):
        shutil.copy(paths.ROOT / name, folder)
    for name in ("requirements.lock", "constraints.txt", "README.md"):
        shutil.copy(paths.ROOT / name, folder)
    labels = dict.fromkeys(claims.CHAPTERS.values())
    targets = [
        f"({label})=\n## {label}\n"
        for label in [*labels, "chapter-scorecard", "sec-rerun-chapter", "cite"]
    ]
    for name in ("api", "cite", "intro", "provenance"):
        (folder / "book" / f"{name}.md").write_text(f"# {name}\n")
    first = "# First page\n\n% generated scorecard\n\n"
    (folder / "book" / "intro.md").write_text(first + "\n".join(targets))
    toc = "format: jb-book\nroot: book/intro\nchapters:\n  - file: notebooks/01_depth\n"
    (folder / "_toc.yml").write_text(toc)
    base = {"metadata": {}, "cell_type": "code", "execution_count": None, "outputs": []}
    cells = [{"cell_type": "markdown", "id": "title", "metadata": {}, "source": "# Depth"}]
    cells.append(base | {"id": "values", "source": "a = 1", "metadata": {"tags": ["parameters"]}})
    cells.append(base | {"id": "scales-figure", "source": chapter})
    (folder / "notebooks").mkdir()
    whole = {"cells": cells, "metadata": notebooks._METADATA, "nbformat": 4, "nbformat_minor": 5}
    (folder / "notebooks" / "01_depth.ipynb").write_text(json.dumps(whole))
