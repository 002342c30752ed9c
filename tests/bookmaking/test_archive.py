"""The archive of all data: whole, with equal bytes for equal data."""

import io
import os
import zipfile

from conftest import made_up_record, store_record, tiny

from randprune_core.bookmaking import archive
from randprune_core.records.table import load_runs


def staged(folder, **tables):
    for name, text in tables.items():
        path = folder / "results" / "figures" / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_archive_of_no_runs_is_one_of_tables(store, tmp_path):
    packed = archive.pack(load_runs(), staged(tmp_path / "staging", depth="a\n1\n"))
    names = zipfile.ZipFile(io.BytesIO(packed)).namelist()
    assert [name.partition("/")[2] for name in names] == [
        "results/README.md",
        "results/figures/depth.csv",
    ]


def test_archive_depends_on_the_data_alone(store, tmp_path):
    paths = [store_record(made_up_record(tiny(seed_init=seed, seed_mask=seed))) for seed in (0, 1)]
    staging = staged(tmp_path / "staging", depth="a\n1\n", width="b\n")
    first = archive.pack(load_runs(), staging)
    with zipfile.ZipFile(io.BytesIO(first)) as content:
        found = {name.partition("/")[2]: content.read(name) for name in content.namelist()}
    for path in paths:
        assert found[f"results/runs/digits/{path.name}"] == path.read_bytes()
        os.utime(path, (1e9, 1e9))
        path.chmod(0o600)
    again = staged(tmp_path / "other", width="b\n", depth="a\n1\n")
    assert archive.pack(load_runs().iloc[::-1], again) == first
    assert archive.pack(load_runs(), staged(again, width="c\n")) != first
