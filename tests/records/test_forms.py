"""What a record, a note and a benchmark may hold is checked on reading; `check` names the rest."""

import json
from pathlib import Path

import hostile
import pytest
from conftest import made_up_record, store_record, tiny

from randprune_core import paths
from randprune_core.analysis import benchmarks
from randprune_core.bookmaking import checks
from randprune_core.config import run_id
from randprune_core.records import failures, forms
from randprune_core.records import store as store_module
from randprune_core.records.files import BadRecord

CORPUS = hostile.texts(Path("marker"), Path("secret"), Path("pages/book"))
# A text that every dialect of everything shows as it is may be a name: only its sinks mind it.
PRINTABLE = "+1+formula plain words, (R) @ 2/255: 3"


def assert_one_line(error: object) -> None:
    assert len(f"{error}".splitlines()) == 1, error


def read(record: dict) -> dict:
    path = paths.record_path("digits", run_id(tiny()))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))
    return store_module.read_record(path)


def test_a_record_with_every_text_that_it_may_have_is_good(store):
    record = hostile.full_record(tiny())
    assert read(record) == record and checks.check_records() == []


def test_committed_records_are_good():
    committed = sorted((paths.ROOT / "results" / "runs").glob("cifar*/*.json"))
    assert committed and all(store_module.read_record(path) for path in committed)


def test_a_hostile_text_in_any_place_of_a_record_is_refused_and_named(store, monkeypatch):
    record = hostile.full_record(tiny())
    path = paths.record_path("digits", record["run_id"])
    for place in hostile.places(record):
        for text in CORPUS:
            changed = json.dumps(hostile.changed(record, place, text)).encode()
            monkeypatch.setattr(store_module, "read_content", lambda _, found=changed: found)
            try:
                store_module.read_record(path)
            except BadRecord as error:
                assert_one_line(error)
                continue
            # Only a name of a machine or of a data source may be such words.
            assert place[0] == "provenance" and text.isprintable(), (place, text)
            assert not set(text) & set("<>{}[]$\\`|") and len(text) <= forms.LONGEST["text"]
            assert type(place[-1]) is str, (place, text)


@pytest.mark.parametrize(
    "text",
    ["{{ 7 * 7 }}", "<b>", "a\nb", "a\x00b", "a\u202eb", "`a`", "[a](b)", "$a$", "a|b", "a" * 201],
)
def test_a_device_is_a_short_printable_line_without_markup(store, text):
    record = hostile.full_record(tiny())
    record["provenance"]["device"] = text
    with pytest.raises(BadRecord, match=r"digits/\w+\.json: its provenance\.device"):
        read(record)
    (problem,) = checks.check_records()
    assert "its provenance.device" in problem and "restore it, or move it away" in problem
    record["provenance"]["device"] = PRINTABLE
    assert read(record)["provenance"]["device"] == PRINTABLE


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("provenance", "commit"), "main"),
        (("provenance", "commit"), 7),
        (("provenance", "dirty"), "yes"),
        (("provenance", "device"), None),
        (("provenance", "threads"), "two"),
        (("provenance", "threads"), -1),
        (("provenance", "at_once"), 1.5),
        (("provenance", "started"), "yesterday"),
        (("provenance", "seconds"), -1),
        (("provenance", "seconds"), True),
        (("provenance", "versions"), "3.11"),
        (("provenance", "versions", "torch"), 2),
        (("provenance", "versions", "torch"), "2 {{x}}"),
        (("provenance", "data"), []),
        (("provenance", "data", "fingerprint"), "none"),
        (("layers", 0, "name"), "a b"),
        (("layers", 0), "conv1.weight"),
        (("cost", "kept_weights"), "many"),
        (("history", "lr"), ["low"]),
        (("test", "bins", 0, "count"), "many"),
        (("test", "accuracy"), None),
        (("test", "ood", "photos", "auroc"), float("1e999")),
    ],
)
def test_a_value_of_another_type_is_named_with_its_place(store, place, value):
    record = hostile.changed(hostile.full_record(tiny()), place, value)
    with pytest.raises(BadRecord, match="json: ") as raised:
        read(json.loads(json.dumps(record).replace("Infinity", "1e999")))
    assert_one_line(raised.value)
    assert any(str(name) in str(raised.value) for name in place)


# --- notes -----------------------------------------------------------------------------------


def note(store, **changes) -> Path:
    failures.note_failure(tiny(), RuntimeError("the loss became nan in epoch 1"))
    path = paths.failed_path(run_id(tiny()))
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return path


def test_a_hostile_text_in_any_place_of_a_note_is_refused_and_named(store):
    path = note(store)
    good = json.loads(path.read_text())
    for place in hostile.places(good):
        for text in CORPUS:
            path.write_text(json.dumps(hostile.changed(good, place, text)))
            try:
                _, error = failures.read_failure(path)
            except BadRecord as error:
                assert_one_line(error)
                assert str(path) in str(error)
                continue
            assert place == ("error",) and error.isprintable()
            assert not set(error) & set("<>{}[]$\\`|") and len(error) <= forms.LONGEST["error"]


def test_check_names_a_hostile_note(store):
    path = note(store, error="{{ 7 * 7 }}")
    (problem,) = checks.check_records()
    assert problem.startswith(f"{path}: its error is '{{{{ 7 * 7 }}}}', which holds {{ }}")
    with pytest.warns(UserWarning, match="set aside"):
        assert failures.all_failures() == {}


def test_the_note_of_any_error_can_be_read_again(store):
    for text in (*CORPUS, ""):
        failures.note_failure(tiny(), RuntimeError(text))
        ((_, error),) = failures.all_failures().values()
        assert error == forms.as_text(text)


# --- benchmarks ------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["{{ 7 * 7 }}", "<b>", "=1+1", "a b"])
def test_a_benchmark_holds_names_and_numbers(store, text):
    paths.BENCHMARKS.mkdir(parents=True)
    header = "model,case,device,precision\n"
    for name in ("scaling", "granularity"):
        (paths.BENCHMARKS / f"{name}.csv").write_text(f"{header}resnet-20,dense,cpu,{text}\n")
        with pytest.raises(ValueError, match=f"{name}.csv: a cell is"):
            benchmarks.benchmark(name)


def test_the_facts_of_a_machine_are_short_printable_lines(store):
    paths.BENCHMARKS.mkdir(parents=True)
    facts = {"scaling": {"cpu": {"device": "<script>", "cores": 2}}}
    (paths.BENCHMARKS / "machines.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=r"machines\.json: its scaling\.cpu\.device"):
        benchmarks.machines("scaling")


def test_store_record_writes_a_made_up_record(store):
    assert store_module.read_record(store_record(made_up_record(tiny())))
