"""One odd entry of the store stops nothing: it is named, left out, and all else is read."""

import hashlib
import json
import os
import random
import warnings

import jsonschema
import pandas as pd
import pytest
from conftest import made_up_record, store_record, tiny
from hostile import full_record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd import contents, entries, leaves, put, without

from randprune_core import paths
from randprune_core.bookmaking import checks
from randprune_core.config import run_id
from randprune_core.records import failures, schema, table, validation
from randprune_core.records.files import BadRecord
from randprune_core.records.forms import record_problem
from randprune_core.records.store import all_records, find_record, read_record, write_record
from randprune_core.records.table import load_runs

ODD = tiny()
KINDS = {
    **{
        name: lambda path, found=found: path.write_bytes(found)
        for name, found in contents(ODD).items()
    },
    **entries(),
}


def named(work):
    """What a call gives, and the texts of its warnings, each of which is one line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = work()
    texts = [str(warning.message) for warning in caught]
    assert all(len(text.splitlines()) == 1 and text.isprintable() for text in texts)
    return result, texts


@pytest.fixture(params=[table.SMALLEST_STORE, 1], ids=["read", "indexed"])
def path(request, store, monkeypatch):
    """Where the odd record goes, in a store of two good ones; read with and without an index."""
    monkeypatch.setattr(table, "SMALLEST_STORE", request.param)
    for seed in (1, 2):
        store_record(made_up_record(tiny(seed_init=seed)))
    return paths.record_path("digits", run_id(ODD))


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_lies_under_the_name_of_a_record_is_left_out_and_named(path, kind, survived):
    KINDS[kind](path)
    for _ in range(2):  # the second time there is an index
        frame, texts = named(load_runs)
        assert len(frame) == 2 and sum(f"set aside: {path}: " in text for text in texts) == 1
    found, texts = named(lambda: find_record(ODD))
    assert found is None and len(texts) == 1 and str(path) in texts[0]
    (problem,) = checks.check_records()
    assert problem.startswith(f"{path}: ") and "restore it, or move it away" in problem
    survived()


@pytest.mark.parametrize("kind", entries())
def test_a_record_that_is_trained_replaces_what_is_no_record_and_keeps_it(store, kind):
    path = paths.record_path("digits", run_id(ODD))
    path.parent.mkdir(parents=True)
    entries()[kind](path)
    record = made_up_record(ODD)
    _, texts = named(lambda: write_record(record))
    assert "kept as" in texts[0] and read_record(path) == record
    assert len(list(path.parent.iterdir())) == 2


@pytest.mark.parametrize("kind", entries())
def test_whatever_lies_under_the_name_of_a_note_is_left_out_and_named(store, kind, survived):
    path = paths.failed_path(run_id(ODD))
    path.parent.mkdir(parents=True)
    entries()[kind](path)
    found, texts = named(failures.all_failures)
    assert found == {} and len(texts) == 1 and str(path) in texts[0]
    assert checks.check_records()[0].startswith(f"{path}: ")
    if "device" not in kind:
        named(lambda: failures.note_failure(ODD, RuntimeError("nan")))
        assert run_id(ODD) in failures.all_failures()
    survived()


def test_the_folders_of_data_sets_may_be_anything(store, survived):
    good = store_record(made_up_record(ODD))
    (paths.RUNS / "a.json").write_text("{}")
    (paths.RUNS / "nowhere").symlink_to("nowhere")
    (paths.RUNS / "loop").symlink_to("loop")
    os.mkfifo(paths.RUNS / "fifo")
    (paths.RUNS / "\udcff").mkdir()
    assert list(load_runs().run_id) == [good.stem] and checks.check_records() == []
    survived(5)


def test_a_record_in_the_folder_of_another_data_set_is_no_second_row(store):
    good = store_record(made_up_record(ODD))
    other = paths.RUNS / "cifar10" / good.name
    other.parent.mkdir()
    other.write_text(good.read_text())
    frame, texts = named(load_runs)
    assert list(frame.run_id) == [good.stem] and str(other) in texts[0]


def test_a_symlink_to_a_record_is_a_record(store, tmp_path):
    good = store_record(made_up_record(ODD))
    good.symlink_to(good.rename(tmp_path / "moved"))
    assert find_record(ODD) == made_up_record(ODD) and len(load_runs()) == 1


def test_the_kernel_of_the_book_notes_what_is_left_out_instead_of_warning(
    path, tmp_path, monkeypatch
):
    log = tmp_path / "left out"
    monkeypatch.setenv("RANDPRUNE_LEFT_OUT", str(log))
    path.write_text("{")
    frame, texts = named(load_runs)
    assert len(frame) == 2 and texts == []
    assert log.read_text().startswith(f"set aside: {path}: not readable as JSON")


# --- one schema, and the functions that are made of it ---------------------------------------

ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-10, 10)
    | st.sampled_from([2**63, -(2**64), 10**400])
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["main", "conv1.weight", "<b>", "a" * 201, "\ud800", "2026-01-02T03:04"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=3) | st.sampled_from(["n", "2:4", "auroc"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
RECORD = full_record(ODD)
PLACES = list(leaves(RECORD))


@pytest.fixture(scope="module")
def library() -> jsonschema.Draft202012Validator:
    """The library's own validator, with the two types that are narrower here."""
    formats = jsonschema.FormatChecker(formats=())
    formats.checks("plain")(lambda text: not isinstance(text, str) or validation.is_plain(text))
    types = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "number": lambda _, value: validation.is_number(value),
            "integer": lambda _, value: type(value) is int and validation.is_number(value),
        }
    )
    kind = jsonschema.validators.extend(jsonschema.Draft202012Validator, type_checker=types)
    kind.check_schema(schema.RECORD)
    return kind(schema.RECORD, format_checker=formats)


def test_every_part_that_is_missing_gets_the_verdict_of_the_library(library, survived):
    for place in PLACES:
        edited = without(RECORD, place)
        problem = validation.first_problem(validation.compiled(schema.RECORD), edited)
        assert (problem == "") == library.is_valid(edited), (place, problem)
    survived(len(PLACES))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(PLACES), ANY)
def test_any_value_in_any_place_gets_the_verdict_of_the_library(library, place, value):
    edited = put(RECORD, place, value)
    problem = validation.first_problem(validation.compiled(schema.RECORD), edited)
    assert (problem == "") == library.is_valid(edited), problem
    assert len(problem.splitlines()) <= 1 and len(problem) < 500


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(PLACES), ANY)
def test_any_value_in_any_place_is_refused_in_one_line_or_makes_a_row(
    tmp_path_factory, place, value
):
    folder = tmp_path_factory.getbasetemp() / "odd"
    folder.mkdir(exist_ok=True)
    path = folder / f"{run_id(ODD)}.json"
    path.write_text(json.dumps(put(RECORD, place, value)))
    try:
        record = read_record(path)
    except BadRecord as error:
        assert len(str(error).splitlines()) == 1 and str(error).startswith(f"{path}: ")
        return
    frame = table.records_to_frame([record, made_up_record(tiny(seed_init=1))])
    assert frame.accuracy.dtype == "float64" and frame["n"].dtype == "int64"


def test_every_committed_record_is_good_for_the_library_too(library):
    committed = sorted((paths.ROOT / "results" / "runs").glob("cifar*/*.json"))[:5]
    for path in committed:
        record = json.loads(path.read_text())
        assert record_problem(record) == "" and library.is_valid(record)


# --- the index -------------------------------------------------------------------------------


@pytest.fixture
def indexed(store, monkeypatch):
    """The rows of a store without an index, the path of its index, and its content."""
    monkeypatch.setattr(table, "SMALLEST_STORE", 1)
    for seed in range(3):
        record = full_record(tiny(seed_mask=seed))
        record["provenance"]["odd"] = [1.5, "text", None][seed]  # a column of mixed types
        store_record(record)
    frame = table.records_to_frame(all_records())
    pd.testing.assert_frame_equal(load_runs(), frame)
    return frame, paths.index_path(), paths.index_path().read_bytes()


def test_no_bit_flip_of_the_index_changes_a_row(indexed, survived):
    frame, index, content = indexed
    draw = random.Random(0)
    for _ in range(150):
        place = draw.randrange(8 * len(content))
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        index.write_bytes(flipped)
        pd.testing.assert_frame_equal(load_runs(), frame)
        assert index.read_bytes() == content  # made again
        survived()


def other_indexes(content: bytes, folder) -> dict[str, bytes]:
    digest, _, body = content.partition(b"\n")
    parquet = folder / "other.parquet"
    pd.DataFrame({"run_id": ["x"], "accuracy": [0.99]}).to_parquet(parquet)
    edited = body.replace(b'"accuracy":0.5', b'"accuracy":0.9')
    assert edited != body
    return {
        "empty": b"",
        "no body": digest,
        "no digest": body,
        "other rows": digest + b"\n" + edited,
        "other rows with their own digest": hashlib.sha256(edited).hexdigest().encode()
        + b"\n"
        + edited,
        "an object": digest + b"\n{}",
        "deep": digest + b"\n" + b"[" * 100_000,
        "Parquet": parquet.read_bytes(),
        "twice": content * 2,
        **{f"cut at {part}": content[: len(content) * part // 10] for part in range(1, 10)},
    }


def test_an_index_that_is_not_the_one_that_was_written_is_made_again(indexed, tmp_path, survived):
    frame, index, content = indexed
    for other in other_indexes(content, tmp_path).values():
        index.write_bytes(other)
        pd.testing.assert_frame_equal(load_runs(), frame)
        assert index.read_bytes() == content
        survived()


@pytest.mark.parametrize("kind", entries())
def test_whatever_lies_under_the_name_of_the_index_changes_no_row(indexed, kind, survived):
    frame, index, _ = indexed
    index.unlink()
    entries()[kind](index)
    pd.testing.assert_frame_equal(load_runs(), frame)
    survived()


def test_an_index_with_odd_columns_gives_the_same_types_as_the_records(indexed):
    frame, *_ = indexed
    for _ in range(2):
        pd.testing.assert_frame_equal(load_runs(), frame)
    (paths.RUNS / "digits" / f"{run_id(tiny(seed_mask=1))}.json").unlink()
    pd.testing.assert_frame_equal(load_runs(), table.records_to_frame(all_records()))
