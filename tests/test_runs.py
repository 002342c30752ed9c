"""The record store: what is set aside, what is found again, and that nothing is half written."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pytest
from conftest import files_under, made_up_record, store_record, tiny

from randprune_core import paths, runs, training
from randprune_core.checks import check_records
from randprune_core.config import RunConfig, config_to_dict, run_id
from randprune_core.runs import (
    BadRecord,
    MissingRecord,
    all_records,
    find_record,
    load_or_train,
    load_runs,
    read_record,
    records_to_frame,
    write_record,
)


@pytest.fixture
def no_training(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("this run was to be found, not trained")

    monkeypatch.setattr(training, "train", refuse)


@pytest.fixture
def pretend(monkeypatch):
    """Training takes no time and gives a made-up result; the configs trained are listed."""
    trained = []

    def train(config, device, **options):
        trained.append(config)
        made = made_up_record(config)
        result = {name: made[name] for name in ("layers", "cost", "history", "test")}
        return result | {"data": {"source": "made up", "test": 360}}

    monkeypatch.setattr(training, "train", train)
    return trained


# --- bad records -----------------------------------------------------------------------------

GOOD = tiny()


def edited(**changes) -> str:
    record = made_up_record(GOOD)
    for name, value in changes.items():
        if value is None:
            del record[name]
        else:
            record[name] = value
    return json.dumps(record)


BAD = {
    "truncated": (json.dumps(made_up_record(GOOD))[:-200], "not readable as JSON"),
    "empty": ("", "not readable as JSON"),
    "not text": (b"\xff\xfe\x00", "not readable as JSON"),
    "a list": ("[]", "schema is 'list'"),
    "other schema": (edited(schema=2), "schema is 2, not 1"),
    "no schema": (edited(schema=None), "schema is None"),
    "no test": (edited(test=None), "it has no test"),
    "test is a list": (edited(test=[]), "its test is a list"),
    "config is a number": (edited(config=7), "its config is a int"),
    "unknown field": (
        edited(config={**config_to_dict(GOOD), "colour": "red"}),
        "config is not valid.*colour",
    ),
    "missing field": (
        edited(config={k: v for k, v in config_to_dict(GOOD).items() if k != "lr"}),
        "config is not valid.*lr",
    ),
    "value not allowed": (
        edited(config={**config_to_dict(GOOD), "sparsity": 1.5}),
        r"config is not valid.*\[0, 1\)",
    ),
    "hand-edited config": (
        edited(config={**config_to_dict(GOOD), "epochs": 160}),
        f"{run_id(GOOD)}.*must be the hash of the config, {run_id(tiny(epochs=160))}",
    ),
    "hand-edited id": (edited(run_id="0" * 12), "'000000000000'"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_record_is_named_and_not_used_nor_changed(store, kind):
    content, reason = BAD[kind]
    content = content if isinstance(content, bytes) else content.encode()
    good = store_record(made_up_record(tiny(seed_init=1)))
    path = paths.record_path("digits", run_id(GOOD))
    path.write_bytes(content)
    with pytest.raises(BadRecord, match=reason) as caught:
        read_record(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)
    with pytest.warns(UserWarning, match=f"set aside: {path}: "):
        assert find_record(GOOD) is None
    with pytest.warns(UserWarning, match=f"set aside: {path}: "):
        assert list(load_runs().run_id) == [good.stem]
    (problem,) = check_records()
    assert problem.startswith(f"{caught.value}; restore it, or move it away and run ")
    assert path.read_bytes() == content


def test_a_good_record_under_another_name_is_not_used(store):
    path = store_record(made_up_record(GOOD)).rename(paths.RUNS / "digits" / "abc.json")
    with pytest.raises(BadRecord, match=f"must be the hash of the config, {run_id(GOOD)}"):
        read_record(path)


def test_a_record_that_cannot_be_opened_is_bad(store):
    path = paths.record_path("digits", run_id(GOOD))
    path.mkdir(parents=True)
    with pytest.raises(BadRecord, match="not readable"):
        read_record(path)


def test_training_over_a_bad_file_keeps_it_beside_the_new_record(store, pretend):
    path = paths.record_path("digits", run_id(GOOD))
    path.parent.mkdir(parents=True)
    path.write_text("half a rec")
    with pytest.warns(UserWarning) as caught:
        record = load_or_train(GOOD, device="cpu")
    assert pretend == [GOOD]
    assert any("kept as" in str(warning.message) for warning in caught)
    assert read_record(path) == record
    (aside,) = (p for p in path.parent.iterdir() if p != path)
    assert aside.name.startswith(f"{path.name}.set-aside-") and aside.read_text() == "half a rec"
    assert list(load_runs().run_id) == [run_id(GOOD)]  # what was set aside is no record


# --- writing ---------------------------------------------------------------------------------


def test_a_record_comes_back_as_it_was_written(store):
    record = made_up_record(GOOD)
    path = write_record(record)
    assert path == paths.record_path("digits", run_id(GOOD))
    assert read_record(path) == find_record(GOOD) == record
    assert files_under(store) == [f"runs/digits/{run_id(GOOD)}.json"]


@pytest.mark.parametrize("broken", [float("nan"), object()])
def test_a_record_that_is_no_json_leaves_nothing_behind(store, broken):
    record = made_up_record(GOOD)
    record["test"]["nll"] = broken
    with pytest.raises((ValueError, TypeError)):
        write_record(record)
    assert files_under(store) == []


def test_a_record_appears_under_its_name_only_when_it_is_whole(store, monkeypatch):
    seen = []
    replace = Path.replace

    def spy(self, target):
        seen.append((json.loads(self.read_text()) == record, Path(target).exists()))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", spy)
    record = made_up_record(GOOD)
    path = write_record(record)
    assert seen == [(True, False)] and path.exists()


def test_a_full_disk_leaves_nothing_behind(store, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_record(made_up_record(GOOD))
    assert files_under(store) == []


# --- load_or_train ---------------------------------------------------------------------------


def test_a_missing_run_is_named_when_it_is_not_to_be_trained(store, no_training):
    with pytest.raises(MissingRecord, match=run_id(GOOD)):
        load_or_train(GOOD, train_missing=False)
    assert files_under(store) == []


def test_a_recorded_run_is_not_trained_again(store, pretend, no_training):
    record = made_up_record(GOOD)
    store_record(record)
    for train_missing in (True, False):
        assert load_or_train(GOOD, train_missing=train_missing) == record
    assert load_or_train(tiny(model="resnet-8-16")) == record


def test_a_real_run_leaves_its_record_and_nothing_else(trained):
    assert trained.files == [f"runs/digits/{run_id(trained.config)}.json"]
    assert json.loads(trained.text) == trained.record


def test_a_record_says_where_it_comes_from(trained):
    provenance = trained.record["provenance"]
    assert set(provenance) == {
        "commit",
        "dirty",
        "versions",
        "device",
        "threads",
        "data",
        "started",
        "seconds",
    }
    assert set(provenance["versions"]) == {"python", "torch", "torchvision", "numpy"}
    assert provenance["seconds"] > 0 and provenance["threads"] == 1
    assert provenance["device"]
    when = pd.Timestamp(provenance["started"])
    assert when.utcoffset() == pd.Timedelta(0)


def test_only_provenance_tells_of_time_host_and_folder(trained):
    measured = json.dumps({k: v for k, v in trained.record.items() if k != "provenance"})
    told = [str(paths.ROOT), str(Path.home()), os.uname().nodename]
    told += [trained.record["provenance"]["started"][:10], trained.record["provenance"]["device"]]
    assert not [word for word in told if word in measured]


def test_a_made_up_record_has_the_form_of_a_real_one(trained):
    made = made_up_record(GOOD)
    assert list(made) == list(trained.record)
    assert set(made["layers"][0]) == set(trained.record["layers"][0])
    for section in ("history", "test", "cost"):
        assert set(made[section]) <= set(trained.record[section])
    assert set(made["test"]["bins"][0]) == set(trained.record["test"]["bins"][0])


def test_a_failed_run_leaves_a_note_no_record_and_may_be_retried(store, monkeypatch, pretend):
    succeed = training.train

    def fail(config, device, **options):
        raise training.TrainingFailed("the loss became nan in epoch 1")

    monkeypatch.setattr(training, "train", fail)
    with pytest.raises(training.TrainingFailed):
        load_or_train(GOOD, device="cpu")
    note = json.loads(paths.failed_path(run_id(GOOD)).read_text())
    assert note["config"] == config_to_dict(GOOD) and note["run_id"] == run_id(GOOD)
    assert note["error"] == "the loss became nan in epoch 1"
    assert files_under(store) == [f"failed/{run_id(GOOD)}.json"]
    monkeypatch.setattr(training, "train", succeed)
    load_or_train(GOOD, device="cpu")
    assert files_under(store) == [f"runs/digits/{run_id(GOOD)}.json"]


def test_bad_input_that_shows_only_in_training_leaves_no_file(store):
    config = tiny(ratio="erk_plus", sparsity=0.998)
    with pytest.raises(ValueError, match="erk_plus.*linear.weight"):
        load_or_train(config, device="cpu", progress=False)
    assert files_under(store) == []


# Two of these start at once. Training is replaced by a note in a file, so that no PyTorch is
# loaded; the store and its lock are the real ones.
CHILD = """
    import sys, time, types
    from conftest import made_up_record, tiny

    def train(config, device, **options):
        with open(sys.argv[1], "a") as log:
            log.write("trained\\n")
        time.sleep(1)
        made = made_up_record(config)
        return {k: made[k] for k in ("layers", "cost", "history", "test")} | {"data": {}}

    stub = types.ModuleType("randprune_core.training")
    stub.train, stub.TrainingFailed = train, RuntimeError
    sys.modules[stub.__name__] = stub
    from randprune_core import runs
    runs._versions = dict
    runs._threads, runs.device_name = lambda: 1, lambda *a: "a CPU"
    print("ready", flush=True)
    sys.stdin.readline()
    print(runs.load_or_train(tiny())["run_id"])
"""


def test_two_processes_that_ask_for_one_run_train_it_once(store, tmp_path):
    log = tmp_path / "log"
    search = os.pathsep.join((str(paths.ROOT), str(Path(__file__).parent)))
    children = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(CHILD), str(log)],
            env={**os.environ, "PYTHONPATH": search},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    try:
        assert [child.stdout.readline() for child in children] == ["ready\n"] * 3
        for child in children:
            child.stdin.write("go\n")
            child.stdin.flush()
        answers = [child.communicate(timeout=120)[0].strip() for child in children]
    finally:
        for child in children:
            child.kill()
    assert answers == [run_id(GOOD)] * 3
    assert log.read_text() == "trained\n"
    assert files_under(store) == [f"runs/digits/{run_id(GOOD)}.json"]


def test_a_lock_that_a_killed_process_left_behind_holds_nobody_up(store, pretend):
    lock = paths.lock_path(run_id(GOOD))
    lock.parent.mkdir(parents=True)
    lock.touch()
    load_or_train(GOOD, device="cpu")
    assert pretend == [GOOD]


# --- reading many ----------------------------------------------------------------------------


def stored(*configs, accuracy=0.5) -> list[str]:
    return [store_record(made_up_record(config, accuracy)).stem for config in configs]


def test_an_empty_store_gives_an_empty_frame_with_the_config_columns(store):
    frame = load_runs(dataset="cifar10")
    assert len(frame) == 0 and {"run_id", "model", "sparsity"} <= set(frame.columns)
    assert list(all_records()) == []


def test_load_runs_gives_one_row_a_run_in_the_order_of_the_ids(store):
    ids = stored(tiny(), tiny(seed_mask=1), tiny(ratio="dense", sparsity=0.0))
    assert list(load_runs().run_id) == sorted(ids)


def test_load_runs_filters_by_a_value_a_collection_and_several_fields(store):
    erk, dense, cifar = stored(
        tiny(), tiny(ratio="dense", sparsity=0.0), RunConfig(ratio="erk", sparsity=0.9)
    )
    assert set(load_runs(ratio="erk").run_id) == {erk, cifar}
    assert set(load_runs(ratio=("erk", "dense"), dataset="digits").run_id) == {erk, dense}
    assert set(load_runs(sparsity=[0.9], epochs=range(100, 200)).run_id) == {cifar}
    assert set(load_runs(sparsity=0).run_id) == {dense}
    assert len(load_runs(ratio=())) == 0


@pytest.mark.parametrize("filters", [{"accuracy": 0.5}, {"colour": "red"}, {"run_id": "abc"}])
def test_load_runs_refuses_a_filter_that_is_no_config_field(store, filters):
    with pytest.raises(ValueError, match=f"{next(iter(filters))!r}.*filter by dataset, variant"):
        load_runs(**filters)


def test_test_cost_and_provenance_are_flattened_and_the_bins_left_out(store):
    stored(tiny(), accuracy=0.75)
    row = load_runs().iloc[0]
    assert row["accuracy"] == 0.75 and row["n"] == 360
    assert row["ood.photos.auroc"] == 0.75 and row["ood.photos.auroc_se"] == 0.01
    assert row["fgsm.1.accuracy"] == 0.25 and row["pgd.0.5.accuracy"] == 0.125
    assert row["fgsm.1.n"] == 100
    assert row["cost.kept_weights"] == 100
    assert row["provenance.commit"] == "abc" and row["provenance.data.test"] == 360
    assert not [name for name in row.index if name.startswith("bins")]


def test_a_real_record_has_every_column_that_the_figures_use(trained):
    row = records_to_frame([trained.record]).iloc[0]
    expected = {"nll", "ece", "ood.photos.auroc_energy", "ood.photos.fpr95"}
    expected |= {f"fgsm.{epsilon}.accuracy" for epsilon in (1, 2, 4, 8)}
    expected |= {f"pgd.{epsilon}.accuracy" for epsilon in (0.5, 1, 2, 8)}
    expected |= {f"noise.{sigma}.accuracy" for sigma in ("0.04", "0.08", "0.12")}
    expected |= {"provenance.device", "provenance.seconds", "provenance.versions.torch"}
    assert expected <= set(row.index)
    assert not row[sorted(expected)].isna().any()


def test_records_to_frame_keeps_the_order_given():
    records = [made_up_record(tiny(seed_init=seed)) for seed in (2, 0, 1)]
    assert list(records_to_frame(records).seed_init) == [2, 0, 1]


# --- provenance ------------------------------------------------------------------------------


def test_code_version_outside_a_checkout_is_none(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert runs.code_version() == {"commit": None, "dirty": None}
    monkeypatch.setenv("PATH", "")
    assert runs.code_version() == {"commit": None, "dirty": None}


def test_code_version_sees_changes_to_code_but_not_to_results(monkeypatch, tmp_path):
    def git(*arguments):
        settings = ("-c", "user.name=n", "-c", "user.email=e@example.org")
        command = ["git", "-C", str(tmp_path), *settings, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    (tmp_path / "results").mkdir()
    for name in ("code.py", "results/record.json"):
        (tmp_path / name).write_text("first")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    clean = {"commit": git("rev-parse", "HEAD"), "dirty": False}
    assert runs.code_version() == clean
    (tmp_path / "results" / "record.json").write_text("another")
    (tmp_path / "untracked").touch()
    assert runs.code_version() == clean
    (tmp_path / "code.py").write_text("another")
    assert runs.code_version() == clean | {"dirty": True}
