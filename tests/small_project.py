"""Cells and notebooks of a small repository."""

import json
from pathlib import Path


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
