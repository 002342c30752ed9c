"""Bad input by the hundred: one clear line, exit status 2, no traceback, no file out of place."""

import ast
import contextlib
import io
import json
import math
import os
import pickle
import re
import string
import struct
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY, files_under, made_up_record, picture, store_record, tiny, write_parquet
from fault_tools import hostile_pictures
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from randprune_core import paths
from randprune_core.__main__ import main
from randprune_core.bookmaking import build, notebooks
from randprune_core.config import RATIOS, RunConfig, config_from_dict, config_to_dict, run_id
from randprune_core.data.copies import identify
from randprune_core.data.files import DataError
from randprune_core.models import build_model
from randprune_core.pruning.layers import maskable_weights
from randprune_core.pruning.masks import random_masks
from randprune_core.pruning.ratios import SHAPE_RATIOS, kept_counts
from randprune_core.records.failures import all_failures
from randprune_core.records.files import BadRecord
from randprune_core.records.store import all_records, read_record
from randprune_core.records.table import records_to_frame
from randprune_core.sweeps import cores
from randprune_core.sweeps.profiles import PROFILES
from randprune_core.sweeps.run import load_or_train
from randprune_core.training import engine
from randprune_core.training import train as train_module

TRIED = "inputs tried"


def tried(number: int):
    """The same examples every time, kept nowhere."""
    return settings(
        max_examples=number,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture
def counted(record_property):
    """Count inputs for the summary of the test run: call it for each."""
    calls = []
    yield lambda: calls.append(1)
    record_property(TRIED, len(calls))


def assert_one_line(error: object) -> None:
    assert str(error) and "\n" not in str(error)


OUT_OF_PLACE = ("../../escaped", "/escaped", "..", "~/escaped", "a/../../../escaped", "a\0b", "")
ODD_NUMBERS = ("nan", "inf", "-inf", "-0.0", "1e400", "9" * 5_000, "-1", "0", "1_0", "٣", "0x10")
ODD_TEXT = st.one_of(
    st.sampled_from(OUT_OF_PLACE + ODD_NUMBERS + ("a\nb", "\x1b[31m", "💥", "--help", "\udcff")),
    st.text(max_size=12),
)
SPARSITIES = st.one_of(
    st.floats(0, 1, exclude_max=True),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0, 1, -0.0, None, "0.5", "most", True, 1 - 2**-53, 10**400, [0.5]]),
)


# --- ratios and masks ------------------------------------------------------------------------

SIZES = st.one_of(st.integers(1, 64), st.integers(1, 64), st.sampled_from([0, -1, 512]))
SHAPES = st.dictionaries(
    st.text(string.ascii_lowercase, min_size=1, max_size=3),
    st.lists(SIZES, min_size=0, max_size=5).map(tuple) | st.tuples(SIZES, SIZES, SIZES, SIZES),
    max_size=6,
)


@pytest.mark.parametrize("ratio", SHAPE_RATIOS)
def test_a_ratio_meets_the_budget_or_says_in_one_line_why_not(ratio, counted):
    @tried(150)
    @given(SHAPES, SPARSITIES)
    def holds(shapes, sparsity):
        counted()
        try:
            sparsities = SHAPE_RATIOS[ratio](shapes, sparsity)
            kept = kept_counts(shapes, sparsities)
        except ValueError as error:
            assert_one_line(error)
            return
        assert list(kept) == list(shapes)
        budget = (1 - float(sparsity)) * sum(math.prod(shape) for shape in shapes.values())
        assert abs(sum(kept.values()) - budget) <= len(shapes)

    holds()


GRANULARITIES = st.sampled_from(
    ["unstructured", "filter", "2:4", "4:8", "02:4", "٢:٤", "4:2", "1:"]
)


def test_masks_hold_their_counts_or_say_in_one_line_why_not(counted):
    model = build_model("resnet-8-2")
    weights = maskable_weights(model)
    values = st.floats(0, 1, exclude_max=True) | st.just(0.5) | SPARSITIES
    names = st.sampled_from([*weights, "conv9.weight", "../escaped"])
    some = st.dictionaries(names, values, max_size=3)

    @tried(150)
    @given(some, SPARSITIES, st.integers() | st.just(0), GRANULARITIES | ODD_TEXT)
    def holds(changes, everywhere, seed, granularity):
        counted()
        sparsities = dict.fromkeys(weights, everywhere) | changes
        try:
            masks = random_masks(model, sparsities, seed, granularity)
        except ValueError as error:
            assert_one_line(error)
            return
        for name, mask in masks.items():
            assert mask.shape == weights[name].shape and mask.dtype == torch.bool and mask.any()
            if granularity == "unstructured":
                assert mask.sum() == max(1, round((1 - float(sparsities[name])) * mask.numel()))

    holds()


# --- configs ---------------------------------------------------------------------------------

GOOD = {
    "dataset": ("digits", "cifar10", "imagenet"),
    "variant": ("original", "jpeg75", "0123abcd"),
    "model": ("resnet-8", "resnet-020", "vgg-16", "resnet-9998-9999", "resnet-２０"),
    "ratio": RATIOS,
    "sparsity": (0.0, 0.5, 0.9, 0),
    "mask_source": ("random", "own"),
    "granularity": ("unstructured", "filter", "2:4", "002:4", "٢:٤"),
    "method": ("static", "set", "rigl"),
    "when": ("before", "during", "after"),
}
ODD_VALUES = st.one_of(
    ODD_TEXT,
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from([10**400, -(10**400), b"x", [], {}, (1,), 2**32]),
)


def fields():
    made = {}
    for name, default in config_to_dict(RunConfig()).items():
        good = st.sampled_from(GOOD.get(name, (default, 1, 2)))
        made[name] = st.one_of(good, good, good, good, ODD_VALUES)
    return st.fixed_dictionaries({}, optional=made)


def test_a_config_is_valid_and_stays_in_its_folder_or_is_refused_in_one_line(counted):
    @tried(1_000)
    @given(fields())
    def holds(values):
        counted()
        try:
            config = RunConfig(**values)
        except ValueError as error:
            assert_one_line(error)
            return
        read = config_from_dict(json.loads(json.dumps(config_to_dict(config), allow_nan=False)))
        assert read == config and run_id(read) == run_id(config)
        path = paths.record_path(config.dataset, run_id(config))
        assert path.resolve().parent.parent == paths.RUNS
        assert config.granularity.isascii() and config.model.isascii()

    holds()


# --- the command line ------------------------------------------------------------------------


@pytest.fixture
def harmless(store, monkeypatch):
    """Nothing is trained, executed or fetched; all else of a command is real."""
    from torchvision.datasets import cifar

    def no_network(*arguments, **options):
        raise OSError("no network")

    def no_training(config, device="auto", **options):
        raise engine.TrainingFailed("nothing is trained here")

    monkeypatch.setattr(cifar, "download_and_extract_archive", no_network)
    monkeypatch.setattr(train_module, "train", no_training)
    monkeypatch.setattr(cores, "run_on_cores", lambda schedule, workers: iter(()))
    monkeypatch.setattr(build, "execute", lambda *arguments, **options: None)
    monkeypatch.setattr(build, "build_book", lambda: "")
    monkeypatch.setattr(build, "refresh", lambda: None)
    return store


def call(arguments: list[str]) -> tuple[int, str, str]:
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            status = main(arguments)
        except SystemExit as stop:
            status = stop.code
    return status, out.getvalue(), error.getvalue()


def assert_good_manners(arguments: list[str], root: Path, store: Path) -> int:
    """One line for what is wrong, status 2, and no file anywhere but in the results."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        status, out, error = call(arguments)
    assert status in (0, 1, 2), (status, error)
    lines = [line for line in error.splitlines() if not line.startswith("warning: ")]
    assert "Traceback" not in error
    if status == 2:
        assert out == "" and len(lines) == 1 and lines[0].isprintable(), (out, error)
    inside = store.relative_to(root).as_posix()
    assert [name for name in files_under(root) if not name.startswith(f"{inside}/")] == []
    return status


def option_values(name: str):
    default = config_to_dict(RunConfig())[name]
    good = [str(value) for value in GOOD.get(name, (default, 1, 2))]
    return st.tuples(
        st.just("--" + name.replace("_", "-")), st.one_of(*[st.sampled_from(good)] * 3, ODD_TEXT)
    )


def flat(pairs) -> list[str]:
    return [word for pair in pairs for word in pair]


TRAIN = st.lists(
    st.sampled_from([*TINY, "variant", "when", "lr"]).flatmap(option_values), max_size=5
)
TRAIN = TRAIN.map(lambda pairs: ["train", "--device", "cpu", *flat(pairs)])
WORDS = {
    "--models": ("resnet-8", "resnet-20"),
    "--ratios": RATIOS,
    "--sparsities": ("0.5", "0.9"),
    "--seeds": ("0", "3"),
    "--device": ("cpu", "cuda:99"),
    "--workers": ("1", "2"),
    "--time-budget": ("0", "5"),
    "--executor": ("local",),
    "--profile": tuple(PROFILES),
}
SWEEP_OPTION = st.sampled_from(list(WORDS)).flatmap(
    lambda name: st.tuples(st.just(name), st.one_of(*[st.sampled_from(WORDS[name])] * 3, ODD_TEXT))
)
FIGURE = st.one_of(*[st.sampled_from(["depth", "all", "when"])] * 3, ODD_TEXT)
SWEEP = st.tuples(FIGURE, st.lists(SWEEP_OPTION, max_size=4)).map(
    lambda drawn: ["sweep", drawn[0], "--device", "cpu", *flat(drawn[1])]
)
PARAMETER = st.tuples(
    st.just("-p"), st.sampled_from(["profile", "seeds", "models"]) | ODD_TEXT, ODD_TEXT
)
CHAPTER = st.sampled_from(["01_depth", "../../01_depth"]) | ODD_TEXT
NOTEBOOK = st.tuples(CHAPTER, st.lists(PARAMETER, max_size=2)).map(
    lambda drawn: ["notebook", drawn[0], *flat(drawn[1])]
)
OTHER = st.lists(
    ODD_TEXT | st.sampled_from(["check", "status", "train", "book", "--json"]), max_size=3
)


@pytest.mark.parametrize(
    ("commands", "number"), [(TRAIN, 250), (SWEEP, 150), (NOTEBOOK, 150), (OTHER, 50)]
)
def test_whatever_is_typed_is_answered_in_one_line_and_writes_nothing_out_of_place(
    commands, number, harmless, tmp_path, counted
):
    statuses = set()

    @tried(number)
    @given(commands)
    def holds(arguments):
        counted()
        statuses.add(assert_good_manners(arguments, tmp_path, harmless))

    holds()
    assert 2 in statuses and len(statuses) > 1, "the inputs were all alike"


@pytest.mark.parametrize("name", OUT_OF_PLACE)
def test_no_name_leads_out_of_the_results(name, harmless, tmp_path, counted):
    tiny_run = [
        word for key, value in TINY.items() for word in (f"--{key.replace('_', '-')}", str(value))
    ]
    for arguments in (
        ["train", *tiny_run, "--dataset", name],
        ["train", *tiny_run, "--variant", name],
        ["train", *tiny_run, "--model", name],
        ["train", *tiny_run, "--granularity", name],
        ["sweep", name],
        ["sweep", "depth", "--profile", name],
        ["sweep", "depth", "--models", name],
        ["notebook", name],
        ["notebook", "01_depth", "-p", name, "1"],
    ):
        counted()
        assert assert_good_manners(arguments, tmp_path, harmless) == 2, arguments
    assert files_under(tmp_path) == []


def test_parameters_of_a_chapter_reach_it_as_plain_values(counted):
    odd = [
        "2020-01-01",
        "b'x'",
        "{1}",
        "1j",
        "...",
        "!!python/object:os.system x",
        "(1,)",
    ]

    @tried(300)
    @given(st.sampled_from(odd + ["[" * 3_000, "-" * 3_000 + "1", "{1: 2}", ".nan"]) | ODD_TEXT)
    def holds(text):
        counted()
        try:
            value = notebooks.parse_parameters([("name", text)])["name"]
        except ValueError as error:
            assert re.search("repeats itself|has .* characters", str(error)), text
            return
        assert json.loads(json.dumps(value, allow_nan=False)) == value

    holds()


# --- records and checkpoints -----------------------------------------------------------------


def escaping_config(record, name):
    record["config"]["dataset"] = name


def escaping_id(record, name):
    record["run_id"] = name


def escaping_model(record, name):
    record["config"]["model"] = name


@pytest.mark.parametrize("edit", [escaping_config, escaping_id, escaping_model])
def test_no_record_and_no_note_leads_out_of_the_results(edit, store, tmp_path, counted):
    good = store_record(made_up_record(tiny()))
    for name in OUT_OF_PLACE:
        counted()
        record = made_up_record(tiny(seed_init=1))
        edit(record, name)
        for path in (good.with_name("00.json"), paths.failed_path("00")):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(record | {"error": "the loss became nan"}))
        with pytest.warns(UserWarning, match="set aside"):
            assert [record["run_id"] for record in all_records()] == [good.stem]
        with pytest.warns(UserWarning, match="set aside"):
            assert all_failures() == {}
    assert all(name.startswith("results/") for name in files_under(tmp_path))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


def test_a_record_with_anything_in_the_place_of_a_section_is_used_or_named(store, counted):
    path = paths.record_path("digits", run_id(tiny()))
    path.parent.mkdir(parents=True)
    record = made_up_record(tiny())
    places = [(name,) for name in record] + [("config", name) for name in record["config"]]
    places += [("test", name) for name in record["test"]] + [("provenance", "seconds")]

    @tried(400)
    @given(st.sampled_from(places), JSON_VALUES)
    def holds(place, value):
        counted()
        edited = json.loads(json.dumps(record))
        inner = edited
        for name in place[:-1]:
            inner = inner[name]
        inner[place[-1]] = value
        path.write_text(json.dumps(edited))
        try:
            frame = records_to_frame([read_record(path)])
        except BadRecord as error:
            assert_one_line(error)
            assert str(path) in str(error)
            return
        assert list(frame.run_id) == [path.stem]

    holds()


class Payload:
    """Unpickled anywhere, it leaves a file."""

    def __init__(self, path: Path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("form", ["torch", "pickle", "random bytes"])
def test_a_hostile_checkpoint_is_not_executed_and_the_run_starts_from_its_beginning(
    form, store, trained, tmp_path, counted
):
    counted()
    trap = tmp_path / "executed"
    path = paths.checkpoint_path(run_id(trained.config))
    path.parent.mkdir(parents=True)
    state = {"config": config_to_dict(trained.config), "epoch": Payload(trap)}
    if form == "torch":
        torch.save(state, path)
    elif form == "pickle":
        path.write_bytes(pickle.dumps(state))
    else:
        path.write_bytes(np.random.default_rng(0).bytes(1_000))
    with pytest.warns(UserWarning, match="not readable as a checkpoint"):
        record = load_or_train(trained.config, device="cpu", progress=False)
    assert (
        record["test"] == trained.record["test"] and record["history"] == trained.record["history"]
    )
    assert not trap.exists()


# --- data ------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_hostile_torchvision_file_is_not_executed(
    cifar_folder, monkeypatch, tmp_path, protocol, counted
):
    """Not even where someone found a file with the right MD5 sum."""
    from conftest import write_torchvision
    from torchvision.datasets import cifar

    counted()
    monkeypatch.setattr(cifar, "check_integrity", lambda path, md5=None: Path(path).is_file())
    trap = tmp_path / "executed"
    folder = write_torchvision(cifar_folder, cifar_folder.root)
    hostile = pickle.dumps({"data": Payload(trap), "labels": []}, protocol)
    (folder / "data_batch_2").write_bytes(hostile)
    with pytest.raises(DataError, match=r"data_batch_2.*open is not allowed") as caught:
        identify("cifar10", download=False)
    assert_one_line(caught.value)
    assert not trap.exists()


def test_a_batch_as_python_2_wrote_it_is_read(tmp_path):
    """What torchvision's files really look like: byte strings of Python 2, NumPy's old names."""
    from randprune_core.data.torchvision_files import _Unpickler

    pixels = np.arange(2 * 3072, dtype=np.uint32).astype(np.uint8).tobytes()
    text = (
        b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
        b"(K\x01(K\x02M\x00\x0ctcnumpy\ndtype\n(U\x02u1K\x00K\x01tR"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
        + struct.pack("<i", len(pixels))
        + pixels
        + b"tbU\x06labels](K\x03K\x07eu."
    )
    batch = _Unpickler(io.BytesIO(text), encoding="latin1").load()
    assert batch["labels"] == [3, 7] and batch["data"].shape == (2, 3072)
    assert batch["data"].tobytes() == pixels


def test_hostile_pictures_end_in_one_line_and_are_not_unpacked(counted):
    code = """
from fault_tools import hostile_pictures
from randprune_core.data.files import DataError, _decode_pictures
from conftest import picture
import numpy as np
_decode_pictures([picture(np.zeros((32, 32, 3), dtype=np.uint8))], "before")
pictures = hostile_pictures()
print(peak())
for number, encoded in enumerate(pictures):
    try:
        _decode_pictures([encoded], "here")
    except DataError as error:
        print(f"refused {number} {error}")
print(peak())
"""
    out = in_a_process(code).splitlines()
    before, after = int(out[0]), int(out[-1])
    for _ in out[1:-1]:
        counted()
    assert [line.split()[:2] for line in out[1:-1]] == [
        ["refused", str(number)] for number in range(len(hostile_pictures()))
    ]
    assert after - before < 150, f"{after - before} MB"


# Not `ru_maxrss`, which a process inherits from the one that started it.
_LIMITED = """
import re, resource
resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30,) * 2)

def peak():
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1]) // 1024
"""


def in_a_process(code: str) -> str:
    """What the code prints, in a process that gets 6 GB of addresses and no more."""
    search = os.pathsep.join((str(paths.ROOT), str(paths.ROOT / "tests")))
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED + code],
        env=os.environ | {"PYTHONPATH": search},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def hostile_parquet(root: Path) -> int:
    """Fill one data folder after another; how many."""
    draw, number = np.random.default_rng(0), 0

    def folder() -> Path:
        nonlocal number
        number += 1
        for split in ("train", "test"):
            image = picture(np.zeros((32, 32, 3), dtype=np.uint8))
            write_parquet(
                root / str(number) / "cifar10" / f"{split}-0.parquet", [image] * 3, [0] * 3, "label"
            )
        return root / str(number) / "cifar10" / "train-0.parquet"

    whole = folder().read_bytes()
    write_parquet(
        root / "1" / "cifar10" / "train-0.parquet", [b"x"] * 1_000_001, [0] * 1_000_001, "label"
    )
    large = folder()
    write_parquet(large, [b"x" * 2**16] * 2_000, [0] * 2_000, "label")  # 3 kB that unpack to 125 MB
    for size in (0, 1, 4, 12, 100, 10_000):
        folder().write_bytes(draw.bytes(size))
        folder().write_bytes(b"PAR1" + draw.bytes(size) + b"PAR1")
        folder().write_bytes(whole[: size % len(whole)] + b"PAR1")
    for _ in range(40):
        damaged = bytearray(whole)
        end = len(whole) - 8  # the footer, which declares rows, types and places
        damaged[draw.integers(end - struct.unpack("<I", whole[-8:-4])[0], len(whole))] = (
            draw.integers(0, 256)
        )
        folder().write_bytes(bytes(damaged))
    return number


def test_hostile_parquet_files_end_in_one_line_within_memory_limits(tmp_path, counted):
    number = hostile_parquet(tmp_path)
    code = f"""
import os, warnings
from randprune_core.data import copies, files
warnings.simplefilter("ignore")
files.MOST_BYTES = 2**25
for number in range(1, {number + 1}):
    os.environ["RANDPRUNE_DATA"] = os.path.join({str(tmp_path)!r}, str(number))
    try:
        found = copies.identify("cifar10", download=False)
        assert len(found.encoded.images["train"]) == 3
        print("used")
    except files.DataError as error:
        print("refused", error)
print(peak())
"""
    *lines, peak = in_a_process(code).splitlines()
    assert len(lines) == number and int(peak) < 400, f"{peak} MB"
    for _ in lines:
        counted()
    assert "declares 1,000,001 rows" in lines[0] and "holds more than" in lines[1]
    assert sum(line.startswith("refused") for line in lines) >= number // 2


# --- pickles ---------------------------------------------------------------------------------

RUNS_CODE = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
READERS = {"read_pickle", "to_pickle", "full_load", "unsafe_load"}


def loads_code(tree: ast.AST) -> list[str]:
    """Imports and calls that can run what a file holds."""
    found = []
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        found += [name for name in names if name.split(".")[0] in RUNS_CODE]
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        called = ast.unparse(node.func)
        options = {option.arg: ast.unparse(option.value) for option in node.keywords}
        if called.endswith(("torch.load", "np.load", "numpy.load")):
            safe = options.get("weights_only") == "True" if "torch" in called else True
            if not safe or "allow_pickle" in options:
                found.append(called)
        elif node.func.attr in READERS or called == "yaml.load":
            found.append(called)
    return found


def test_nothing_in_the_package_reads_a_pickle():
    sources = [*(paths.ROOT / "randprune_core").rglob("*.py")]
    found = {p.name: loads_code(ast.parse(p.read_text(encoding="utf-8"))) for p in sources}
    # CIFAR's own files are pickles: their reader knows arrays and refuses every other name. A sweep
    # sends registered code to the workers that it starts, and to nobody else.
    assert {name: what for name, what in found.items() if what} == {
        "torchvision_files.py": ["pickle"],
        "registry.py": ["cloudpickle", "cloudpickle"],
    }


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "pd.read_pickle(path)",
        "np.load(path, allow_pickle=True)",
    ],
)
def test_the_search_for_pickles_finds_them(code):
    assert loads_code(ast.parse(code))
    assert not loads_code(ast.parse("torch.load(path, weights_only=True); json.load(file)"))
