"""One archive with all data of the book, which the provenance page offers with its checksum."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pandas as pd

from .. import paths
from ..records.files import LARGEST

NAME = "random-pruning-data.zip"
_PARTS = ("results/figures", "results/benchmarks", "randprune_core/published")
_ABOUT = ("LICENSE", "CITATION.cff")


def pack(runs: pd.DataFrame, staging: Path) -> bytes:
    """A zip of the records of `runs` and of the tables of a staging folder, below one folder.

    Files are in the order of their names and have no time, so that equal data give equal bytes.
    """
    found = [staging / name for name in _ABOUT]
    found += [file for part in _PARTS for file in (staging / part).rglob("*")]
    files = {
        file.relative_to(staging).as_posix(): file.read_bytes() for file in found if file.is_file()
    }
    readme = paths.ROOT / "results" / "README.md"
    if readme.is_file():
        files["results/README.md"] = readme.read_bytes()
    for dataset, run in zip(runs.dataset, runs.run_id, strict=True):
        record = paths.record_path(dataset, run)
        files[f"results/runs/{dataset}/{run}.json"] = paths.read_regular(record, LARGEST)

    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(files.items()):
            entry = zipfile.ZipInfo(f"{NAME.removesuffix('.zip')}/{name}")  # of the year 1980
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return content.getvalue()


def link(archive: bytes, place: str) -> str:
    """The link to the archive at `place` of the book, with its size and checksum, in MyST."""
    count = len(zipfile.ZipFile(io.BytesIO(archive)).namelist())
    checksum = hashlib.sha256(archive).hexdigest()
    return (
        f"{{download}}`{NAME} </{place}>`: {count:,} files, {len(archive) / 1e6:.1f} MB, SHA-256 "
        f"`{checksum}`."
    )
