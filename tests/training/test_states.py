"""A checkpoint is checked before it is believed: what does not fit is kept, and nothing goes on."""

import io
import random
import time
import zipfile

import pytest
import torch
from conftest import files_under, tiny
from odd import entries

from randprune_core import paths
from randprune_core.config import run_id
from randprune_core.records import provenance
from randprune_core.records import store as store_module
from randprune_core.records.files import CannotWrite
from randprune_core.sweeps.run import load_or_train
from randprune_core.training import checkpoints, states
from randprune_core.training.engine import Run
from randprune_core.training.loop import OutOfTime
from randprune_core.training.train import train

CONFIG = tiny(epochs=3, train_images=100)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    """The checkpoint of `CONFIG` after its second epoch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "CHECKPOINTS", tmp_path_factory.mktemp("whole"))
        for _ in range(2):
            with pytest.raises(OutOfTime):
                train(CONFIG, "cpu", deadline=0.0)
        return paths.checkpoint_path(run_id(CONFIG)).read_bytes()


@pytest.fixture
def path(store, monkeypatch):
    """Where the checkpoint of `CONFIG` goes; a new run takes no time to begin."""
    monkeypatch.setattr(Run, "note_initial_gradient_norm", lambda run: None)
    paths.CHECKPOINTS.mkdir(parents=True)
    return paths.checkpoint_path(run_id(CONFIG))


def state_of(content: bytes) -> dict:
    return torch.load(io.BytesIO(content), weights_only=True)


def put(state: dict, place: tuple, value: object) -> None:
    for name in place[:-1]:
        state = state[name]
    state[place[-1]] = value(state[place[-1]]) if callable(value) else value


def nan(tensor):
    return torch.full_like(tensor, float("nan"))


def other_places(mask):
    return mask.flip(0)


FIRST = "conv1.weight"
CHANGES = {
    "config": ("config", lambda old: old | {"lr": 0.2}),
    "config without a field": ("config", lambda old: {"lr": 0.1}),
    "config a text": ("config", "erk"),
    "fingerprint": ("fingerprint", "f" * 64),
    "fingerprint missing": ("fingerprint", None),
    "epoch zero": ("epoch", 0),
    "epoch below": ("epoch", -1),
    "epoch before": ("epoch", 1),
    "epoch after": ("epoch", 3),
    "epoch too late": ("epoch", 4),
    "epoch a float": ("epoch", 2.0),
    "epoch a bool": ("epoch", True),
    "epoch a text": ("epoch", "2"),
    "epoch a tensor": ("epoch", torch.tensor(2)),
    "history empty": ("history", {}),
    "history a list": ("history", []),
    "history short": ("history", "train_loss", [1.0]),
    "history long": ("history", "lr", lambda old: [*old, 0.1]),
    "history nan": ("history", "train_loss", [1.0, float("nan")]),
    "history inf": ("history", "validation_loss", [1.0, float("inf")]),
    "history texts": ("history", "validation_loss", ["a", "b"]),
    "history of other epochs": ("history", "epoch", [2, 3]),
    "history of another rate": ("history", "lr", lambda old: [0.2, *old[1:]]),
    "accuracy over one": ("history", "train_accuracy", [0.5, 1.5]),
    "loss below zero": ("history", "train_loss", [-1.0, 1.0]),
    "norms short": ("history", "gradient_norm", "norm", [1.0]),
    "norms nan": ("history", "gradient_norm", "norm", lambda old: [float("nan")] * len(old)),
    "norms elsewhere": ("history", "gradient_norm", "epoch", lambda old: [n + 1 for n in old]),
    "no initial norm": ("history", "gradient_norm_at_init", None),
    "another column": ("history", "colour", [1.0, 2.0]),
    "best epoch": ("best", "epoch", 3),
    "best epoch a text": ("best", "epoch", "1"),
    "best accuracy": ("best", "validation_accuracy", 0.999),
    "best without weights": ("best", "weights", {}),
    "best of nan": ("best", "weights", FIRST, nan),
    "best of another shape": ("best", "weights", FIRST, lambda old: old[:1]),
    "best missing": ("best", None),
    "weights missing": ("model", {}),
    "weights of another shape": ("model", FIRST, lambda old: old[:, :1]),
    "weights of another type": ("model", FIRST, lambda old: old.double()),
    "weights nan": ("model", FIRST, nan),
    "weights where none is": ("model", FIRST, torch.ones_like),
    "weights no tensor": ("model", FIRST, [1.0]),
    "variance below zero": ("model", "bn1.running_var", lambda old: -old - 1),
    "momentum short": ("optimizer", "momentum", lambda old: old[:-1]),
    "momentum of another shape": ("optimizer", "momentum", lambda old: [old[0][:1], *old[1:]]),
    "momentum nan": ("optimizer", "momentum", lambda old: [nan(old[0]), *old[1:]]),
    "momentum missing": ("optimizer", {}),
    "masks missing": ("masks", {}),
    "masks of another type": ("masks", FIRST, lambda old: old.float()),
    "masks of another shape": ("masks", FIRST, lambda old: old[:1]),
    "masks of other places": ("masks", FIRST, other_places),
    "masks that keep all": ("masks", FIRST, torch.ones_like),
    "masks that keep none": ("masks", FIRST, torch.zeros_like),
    "masks of another layer": ("masks", lambda old: {f"x{n}": m for n, m in old.items()}),
    "code a text": ("code", "main"),
    "code of another form": ("code", [{"commit": "<b>", "dirty": None}]),
    "code of a number": ("code", [{"commit": 7, "dirty": None}]),
    "another part": ("colour", "red"),
}


def assert_set_aside(path, kept: bytes | None = None) -> None:
    """A run begins anew with one warning, and then without a word."""
    with pytest.warns(UserWarning, match="kept as") as caught:
        run = checkpoints.begin(CONFIG, CPU)
    (warning,) = caught
    assert len(str(warning.message).splitlines()) == 1 and str(path) in str(warning.message)
    assert run.epoch == 0 and run.history["epoch"] == [] and not path.exists()
    (aside,) = path.parent.glob(f"{path.name}.set-aside-*")
    assert kept is None or aside.read_bytes() == kept
    assert checkpoints.begin(CONFIG, CPU).epoch == 0
    if aside.is_dir() and not aside.is_symlink():
        (aside / "inner.json").unlink()
        aside.rmdir()
    else:
        aside.unlink()


def test_what_was_saved_is_believed(path, whole):
    path.write_bytes(whole)
    run = checkpoints.begin(CONFIG, CPU)
    assert run.epoch == 2 and run.earlier == [provenance.code_version()]


@pytest.mark.parametrize("kind", CHANGES)
def test_a_state_that_does_not_fit_is_kept_and_the_run_begins_anew(path, whole, kind, survived):
    state = state_of(whole)
    *place, value = CHANGES[kind]
    if place == ["colour"] or place == ["code"]:
        state[place[0]] = value
    else:
        put(state, tuple(place), value)
    torch.save(state, path)
    assert_set_aside(path, path.read_bytes())
    survived()


@pytest.mark.parametrize("part", ["config", "fingerprint", "epoch", "history", "best", "masks"])
def test_a_state_without_a_part_is_kept_and_the_run_begins_anew(path, whole, part, survived):
    state = state_of(whole)
    del state[part]
    torch.save(state, path)
    assert_set_aside(path)
    survived()


@pytest.mark.parametrize("kind", entries())
def test_whatever_lies_under_the_name_of_a_checkpoint_is_moved_away(path, kind, survived):
    entries()[kind](path)
    assert_set_aside(path)
    survived()


def packed(content: bytes) -> bytes:
    target = io.BytesIO()
    deflated = zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(io.BytesIO(content)) as old, deflated as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    return target.getvalue()


def test_other_content_is_moved_away(path, whole, survived):
    number = io.BytesIO()
    torch.save(7, number)
    others = [b"", b"PK", b"x" * 10_000, packed(whole), number.getvalue(), whole[1:]]
    others += [whole[: len(whole) * part // 10] for part in range(1, 10)]
    for content in others:
        path.write_bytes(content)
        assert_set_aside(path, content)
        survived()


def test_no_bit_flip_of_a_checkpoint_changes_what_goes_on(path, whole, survived):
    draw, expected = random.Random(0), state_of(whole)
    believed = 0
    for _ in range(150):
        place = draw.randrange(8 * len(whole))
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            state = checkpoints._read(path, Run(CONFIG, CPU))
        except checkpoints._Unfit:
            survived()
            continue
        believed += 1  # between the parts of the archive
        assert state["history"] == expected["history"] and state["epoch"] == expected["epoch"]
        for part in ("model", "masks"):
            assert all(torch.equal(state[part][n], expected[part][n]) for n in expected[part])
        survived()
    assert believed < 75


def test_a_checkpoint_of_another_user_is_not_read(path, whole, monkeypatch):
    path.write_bytes(whole)
    monkeypatch.setattr(checkpoints.os, "geteuid", lambda: 12_345)
    with pytest.warns(UserWarning, match="belongs to another user; kept as"):
        assert checkpoints.begin(CONFIG, CPU).epoch == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"ratio": "dense", "sparsity": 0.0},
        {"ratio": "snip"},
        {"ratio": "snip", "mask_source": "own"},
        {"granularity": "filter", "sparsity": 0.5},
        {"method": "set"},
        {"method": "rigl"},
        {"when": "during"},
        {"when": "after"},
        {"momentum": 0.0, "nesterov": False},
    ],
)
@pytest.mark.filterwarnings("ignore:.*top_k|.*empt")
def test_every_epoch_of_every_kind_of_run_is_believed(unmeasured, changes):
    config = tiny(**({"epochs": 4, "train_images": 100} | changes))
    for epoch in range(1, 4):
        with pytest.raises(OutOfTime, match=f"after epoch {epoch} of 4"):
            train(config, "cpu", deadline=0.0)
    assert train(config, "cpu", deadline=0.0).epoch == 4


def test_a_checkpoint_is_removed_only_after_the_record_is_on_disk(store, monkeypatch):
    def full(record):
        raise CannotWrite("cannot write: no room")

    config = tiny(train_images=100, epochs=1)
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "write_record", full)
        with pytest.raises(CannotWrite):
            load_or_train(config, device="cpu", progress=False)
    assert files_under(store) == [f"checkpoints/{run_id(config)}.pt"]
    monkeypatch.setattr(Run, "start_epoch", None)  # nothing is trained once more
    load_or_train(config, device="cpu", progress=False)
    assert files_under(store) == [f"runs/digits/{run_id(config)}.json"]


def test_a_run_that_goes_on_with_other_code_names_both(store, monkeypatch):
    code = [{"commit": letter * 40, "dirty": False} for letter in "ab"]
    config = tiny(train_images=100, epochs=3)
    for part in (code[0], code[0], code[1]):
        for module in (provenance, checkpoints):
            monkeypatch.setattr(module, "code_version", lambda part=part: part)
        late = None if part is code[1] else time.time()
        try:
            record = load_or_train(config, device="cpu", progress=False, deadline=late)
        except OutOfTime:
            continue
    assert record["provenance"]["commit"] == "b" * 40
    assert record["provenance"]["commits"] == code
    assert store_reads(config) == record


def store_reads(config) -> dict:
    return store_module.read_record(paths.record_path(config.dataset, run_id(config)))


def test_a_run_that_goes_on_with_the_same_code_names_it_once(store):
    config = tiny(train_images=100)
    with pytest.raises(OutOfTime):
        load_or_train(config, device="cpu", progress=False, deadline=0.0)
    assert "commits" not in load_or_train(config, device="cpu", progress=False)["provenance"]


def test_a_state_that_fits_has_no_problem(whole):
    run = Run(CONFIG, CPU)
    assert states.problem(state_of(whole), run) == ""
    assert states.problem(7, run) != ""
