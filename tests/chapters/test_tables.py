import hashlib
import sys

import matplotlib
import pandas as pd
import pytest
from conftest import files_under
from made_up_runs import SMALL, record_all
from matplotlib import pyplot as plt

from randprune_core import paths
from randprune_core.chapters.shared import tables
from randprune_core.chapters.shared.records import collect_records
from randprune_core.presentation import plots


def test_table_is_a_myst_table_with_caption_and_name():
    shown = tables.show_table(pd.DataFrame({"a": ["1.0"]}), "tab-x", "A caption.").data
    assert shown.startswith(":::{table} A caption.\n:name: tab-x\n\n| a ")
    assert "1.0" in shown and shown.endswith(":::")
    empty = tables.show_table(pd.DataFrame(columns=["a"]), "tab-x", "A caption.").data
    assert ":::" not in empty and "A caption." in empty


def test_figure_data_goes_to_figures_by_default_and_to_local_otherwise(store, capsys):
    table = pd.DataFrame({"model": ["resnet-8"], "gap": [1 / 3]})
    tables.save_figure_data(table, "depth", default=True)
    tables.save_figure_data(table, "depth", default=False)
    assert files_under(store) == ["figures/depth.csv", "local/depth.csv"]
    text = (paths.FIGURES / "depth.csv").read_text()
    assert text == "model,gap\nresnet-8,0.333333\n"
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    assert capsys.readouterr().out.splitlines() == [
        f"results/figures/depth.csv: 1 rows, digest {digest}",
        f"results/local/depth.csv: 1 rows, digest {digest}",
    ]


def test_a_re_run_has_its_figure_data_in_its_own_folder(store, monkeypatch, capsys):
    folder = paths.LOCAL / "01_depth" / "seeds=0"
    monkeypatch.setenv("RANDPRUNE_RERUN", str(folder))
    tables.save_figure_data(pd.DataFrame({"gap": [1.0]}), "depth", default=False)
    tables.save_figure_data(pd.DataFrame({"gap": [2.0]}), "depth", default=True)
    assert files_under(store) == ["figures/depth.csv", "local/01_depth/seeds=0/depth.csv"]
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("results/local/01_depth/seeds=0/depth.csv: 1 rows, digest ")


def test_figure_data_that_did_not_change_is_not_written_again(store):
    table = pd.DataFrame({"gap": [1.0]})
    path = tables.save_figure_data(table, "depth", default=True)
    before = path.stat().st_mtime_ns
    assert tables.save_figure_data(table, "depth", default=True).stat().st_mtime_ns == before
    tables.save_figure_data(table + 1, "depth", default=True)
    assert path.read_text() == "gap\n2\n"


@pytest.fixture
def figure(monkeypatch):
    """A figure with a line; what `plt.show` is called for is counted in `shown`."""
    matplotlib.use("Agg")
    made, axis = plt.subplots()
    axis.plot([1, 2])
    made.shown = []
    monkeypatch.setattr(plt, "show", lambda: made.shown.append(plt.get_fignums()))
    return made


def test_a_figure_is_shown_and_saved_twice_with_what_it_draws(store, capsys, figure):
    size = tuple(figure.get_size_inches())
    assert tables.show_figure(figure, "gap", default=True) is None
    about = plots.digest(figure)
    assert capsys.readouterr().out == f"results/figures/gap.svg: {about}\n"
    saved = {path.name: path.read_text() for path in (store / "figures").iterdir()}
    assert sorted(saved) == ["gap-phone.svg", "gap.svg"]
    assert all(f"<desc>{about}</desc>" in text for text in saved.values())
    assert figure.shown == [[figure.number]] and tuple(figure.get_size_inches()) == size
    tables.show_figure(figure, "gap", default=True)
    assert saved == {path.name: path.read_text() for path in (store / "figures").iterdir()}


def test_a_figure_of_a_rerun_is_saved_where_its_numbers_are(store, capsys, figure, monkeypatch):
    monkeypatch.setenv("RANDPRUNE_RERUN", str(store / "local" / "01_depth" / "seeds=0"))
    tables.show_figure(figure, "gap", default=False)
    assert capsys.readouterr().out.startswith("results/local/01_depth/seeds=0/gap.svg: 1 panel, ")
    assert not (store / "figures").exists()


def test_a_figure_of_its_own_for_a_phone_is_saved_and_not_shown(store, figure):
    phone, axis = plt.subplots(figsize=(3.4, 9))
    axis.plot([1, 2])
    tables.show_figure(figure, "gap", default=True, phone=phone)
    assert 'height="648pt"' in (store / "figures" / "gap-phone.svg").read_text()
    assert figure.shown == [[figure.number]]


def test_in_place_of_an_empty_figure_stands_what_is_missing(store, capsys, figure):
    figure.axes[0].lines[0].remove()
    said = tables.show_figure(figure, "gap", default=True, missing="ERK 0.5").data
    assert said == "Nothing is recorded for this figure: ERK 0.5."
    assert figure.shown == [] and plt.get_fignums() == []
    assert capsys.readouterr().out == "" and not (store / "figures").exists()


def test_provenance_is_grouped_by_where_the_runs_were_made(store):
    base = {"provenance.commit": "a" * 40, "provenance.dirty": False}
    base |= {"provenance.device": "Intel(R) Xeon(R) Processor"}
    base |= {"provenance.versions.torch": "2", "provenance.data.fingerprint": "f" * 64}
    base |= {"provenance.seconds": 600.0, "n": 10_000}
    resumed = base | {"provenance.commits": 2}
    runs = pd.DataFrame([base, resumed, base | {"provenance.dirty": True}])
    table = tables.provenance(runs)
    assert table.runs.tolist() == [2, 1]
    assert table["commit"].tolist() == ["a" * 12, "a" * 12 + "+"]
    assert table["begun under another commit"].tolist() == [1, 0]
    assert table["device"].tolist() == ["Intel Xeon"] * 2
    assert table["seconds, at least"].tolist() == ["1,200", "600"]
    assert table["test images"].tolist() == ["10,000", "10,000"]
    assert tables.provenance(runs[:0]).empty


def test_provenance_of_a_record_that_lacks_some_of_it_says_unknown(store):
    record_all()
    records = collect_records("depth", **SMALL)
    (row,) = tables.provenance(records.runs).to_dict("records")
    assert row["runs"] == 4 and row["torch"] == "unknown" and row["seconds, at least"] == "6"


def test_glue_stores_text_where_myst_nb_is_there_and_prints_where_it_is_not(monkeypatch, capsys):
    stored = {}

    def glue(name, value, display):
        stored[name] = value
        assert display is False

    monkeypatch.setitem(sys.modules, "myst_nb", type(sys)("myst_nb"))
    sys.modules["myst_nb"].glue = glue
    tables.glue({"depth-recorded": 21})
    assert stored == {"depth-recorded": "21"}
    monkeypatch.setitem(sys.modules, "myst_nb", None)
    tables.glue({"depth-recorded": 21})
    assert capsys.readouterr().out == "depth-recorded: 21\n"


def test_a_caption_speaks_of_one_seed_only_where_a_cell_has_one():
    caption = "Values. ± is half of an interval; ○ one seed. The end."
    for cell, said in (("1.0 ○", True), ("1.0 ± 0.1", False)):
        shown = tables.show_table(pd.DataFrame({"a": [cell]}), "tab-x", caption).data
        assert ("one seed" in shown) == said and "an interval" in shown and "The end." in shown
