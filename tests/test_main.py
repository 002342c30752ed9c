"""The command line: one line for bad input, the record's path for good, and no heavy imports."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import TINY, files_under, made_up_record, picture, store_record, tiny, write_parquet

from randprune_core import paths
from randprune_core.__main__ import main
from randprune_core.config import RATIOS, run_id
from randprune_core.datasets import DATASETS
from randprune_core.precision import native_precision
from randprune_core.sweeps.grids import GRIDS, figures_at, grid
from randprune_core.sweeps.plan import in_order
from randprune_core.sweeps.profiles import PROFILES
from randprune_core.sweeps.sweep import EXECUTORS
from randprune_core.training import train as train_module


@pytest.fixture
def call(capsys, store):
    """Run one command in this process: (exit status, standard output, standard error)."""

    def call(*arguments):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def no_training(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("nothing was to be trained")

    monkeypatch.setattr(train_module, "train", refuse)


def options(**changes) -> list[str]:
    """A tiny run as options of `train`."""
    values = {**TINY, "precision": "float32", "device": "cpu"} | changes
    pairs = [(f"--{name.replace('_', '-')}", str(value)) for name, value in values.items()]
    return [part for pair in pairs for part in pair]


def one_line(error: str) -> str:
    assert error.endswith("\n") and error.count("\n") == 1, error
    assert "Traceback" not in error
    return error


# --- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sparsity": "1.0"}, ["sparsity", "1.0", "[0, 1)"]),
        ({"sparsity": "-0.1"}, ["sparsity", "-0.1", "[0, 1)"]),
        ({"sparsity": "nan"}, ["sparsity", "nan", "[0, 1)"]),
        ({"sparsity": "most"}, ["sparsity", "'most'", "float"]),
        ({"ratio": "erkk"}, ["'erkk'", "erk", "uniform_plus", "grasp"]),
        ({"model": "resnet-21"}, ["'resnet-21'", "6n+2"]),
        ({"model": "lenet"}, ["'lenet'", "resnet-DEPTH", "vgg-16"]),
        ({"dataset": "mnist"}, ["'mnist'", "digits", "cifar10"]),
        ({"dataset": "imagenet"}, ["imagenet was not found", "train", "val", "RANDPRUNE_DATA"]),
        ({"ratio": "dense"}, ["dense", "0.9"]),
        ({"granularity": "4:2"}, ["'4:2'", "n:m"]),
        ({"granularity": "2:4"}, ["'2:4'", "0.5"]),  # erk asks for other sparsities
        ({"mask_source": "own"}, ["own", "snip or grasp"]),
        ({"epochs": "0"}, ["epochs", "0", "at least 1"]),
        ({"epochs": "1.5"}, ["epochs", "'1.5'", "int"]),
        ({"train_images": "5000"}, ["5000", "digits", "1294"]),
        ({"lr": "nan"}, ["lr", "nan"]),
        ({"precision": "float16"}, ["'float16'", "bfloat16"]),
        ({"variant": "jpeg90"}, ["'jpeg90'", "jpeg75"]),
        ({"variant": "jpeg75"}, ["'original'", "'jpeg75'", "RANDPRUNE_DATA"]),
        ({"device": "gpu"}, ["'gpu'", "auto, cpu or cuda"]),
        ({"colour": "red"}, ["--colour"]),
        ({"ratio": "erk_plus", "sparsity": 0.998}, ["erk_plus", "linear.weight", "0.998"]),
    ],
)
def test_bad_input_to_train_is_one_line_and_status_2_and_writes_nothing(call, store, changes, said):
    code, out, error = call("train", *options(**changes))
    assert (code, out) == (2, "")
    for part in said:
        assert part in one_line(error)
    assert files_under(store) == []


@pytest.mark.parametrize("variant", ["auto", "original"])
@pytest.mark.parametrize("folder", ["empty", "not there"])
def test_missing_data_is_one_line_and_writes_nothing(
    call, store, tmp_path, monkeypatch, variant, folder
):
    from torchvision.datasets import cifar

    def no_network(*arguments, **options):
        raise OSError("no network")

    monkeypatch.setattr(cifar, "download_and_extract_archive", no_network)
    root = tmp_path / folder
    if folder == "empty":
        root.mkdir()
    monkeypatch.setenv("RANDPRUNE_DATA", str(root))
    code, out, error = call("train", *options(dataset="cifar10", variant=variant))
    assert (code, out) == (2, "")
    assert str(root) in one_line(error) and "RANDPRUNE_DATA" in error
    assert files_under(tmp_path) == []


@pytest.mark.parametrize("size", ["0", "7", "12", "33", "64", "-1", "nan", "16.0"])
def test_a_size_that_images_cannot_have_is_one_line_and_writes_nothing(
    call, store, cifar_folder, size
):
    code, out, error = call("train", *options(dataset="cifar10", image_size=size))
    assert (code, out) == (2, "")
    assert size in one_line(error) and "image" in error
    assert files_under(store) == []


@pytest.mark.parametrize("dataset", ["digits", "imagenet"])
def test_a_size_for_data_that_has_one_is_one_line_and_writes_nothing(call, store, dataset):
    model = {"model": "resnet50"} if dataset == "imagenet" else {}
    code, out, error = call("train", *options(dataset=dataset, image_size="8", **model))
    assert (code, out) == (2, "")
    assert f"image_size 8 is not known for {dataset}" in one_line(error)
    assert files_under(store) == []


@pytest.mark.filterwarnings("ignore:cifar10 in .* is no known copy")
def test_a_copy_with_pictures_of_another_size_is_one_line_and_writes_nothing(
    call, store, cifar_folder
):
    images = [picture(np.zeros((16, 16, 3), np.uint8))] * 200
    write_parquet(cifar_folder.path["cifar10", "train"], images, [0] * 200, "label")
    wanted = options(dataset="cifar10", image_size="16", variant="auto")
    code, out, error = call("train", *wanted)
    assert (code, out) == (2, "")
    last = error.splitlines()[-1]  # before it stands the warning that this copy is not known
    assert last.endswith("image 0 is damaged (its size is (16, 16), not (32, 32))")
    assert files_under(store) == []


@pytest.mark.parametrize("variant", ["auto", "jpeg75"])
def test_a_truncated_parquet_file_is_one_line_and_writes_nothing(
    call, store, cifar_folder, variant
):
    path = cifar_folder.path["cifar10", "train"]
    path.write_bytes(path.read_bytes()[:-100])
    before = files_under(cifar_folder.root)
    code, out, error = call("train", *options(dataset="cifar10", variant=variant))
    assert (code, out) == (2, "")
    assert str(path) in one_line(error)
    assert files_under(store) == [] and files_under(cifar_folder.root) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["depht"], ["'depht'", *GRIDS]),
        (["depth", "--profile", "fast"], ["'fast'", *PROFILES]),
        (["depth", "--profile", "auto"], ["'auto'", *PROFILES]),
        (["depth", "--ratios", "erk", "erkk"], ["'erkk'", "erk_plus"]),
        (["depth", "--models", "resnet-21"], ["'resnet-21'", "6n+2"]),
        (["depth", "--sparsities", "0.5", "1.0"], ["1.0", "[0, 1)"]),
        (["depth", "--ratios", "dense", "--sparsities", "nan"], ["nan", "[0, 1)"]),
        (["depth", "--sparsities", "high"], ["'high'"]),
        (["depth", "--seeds", "-1"], ["-1", "[0, 2**32)"]),
        (["depth", "--executor", "slurm"], ["'slurm'", "local"]),
        (["depth", "--workers", "0"], ["workers 0"]),
        (["depth", "--device", "gpu"], ["'gpu'"]),
        ([], ["figure"]),
    ],
)
def test_bad_input_to_sweep_is_one_line_and_status_2_and_writes_nothing(
    call, store, arguments, said
):
    code, out, error = call("sweep", *arguments)
    assert (code, out) == (2, "")
    for part in said:
        assert part in one_line(error)
    assert files_under(store) == []


@pytest.mark.parametrize("arguments", [[], ["fly"], ["status", "--yaml"], ["notebook"]])
def test_an_unknown_command_or_option_is_one_line_that_points_to_the_help(call, arguments):
    code, out, error = call(*arguments)
    assert (code, out) == (2, "")
    assert "--help" in one_line(error)


def test_a_real_process_ends_with_status_2_and_one_line(store):
    command = [sys.executable, "-m", "randprune_core", "train", "--sparsity", "1.0"]
    done = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "1.0" in one_line(done.stderr)
    assert files_under(store) == []


# --- help ------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["sweep", "--help"]])
def test_help_loads_nothing_heavy(arguments):
    code = f"""
import sys
from randprune_core.__main__ import main
try:
    main({arguments!r})
except SystemExit as stop:
    assert stop.code == 0
heavy = {{"torch", "numpy", "pandas", "sklearn", "matplotlib", "pyarrow", "tqdm"}}
print("loaded:", *sorted(heavy & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=True
    )
    assert done.stderr == "loaded:\n"
    assert "usage" in done.stdout


def test_the_help_of_train_names_every_field_of_a_config(call):
    code, out, _ = call("train", "--help")
    assert code == 0
    for name in ("--sparsity", "--mask-source", "--seed-data", "--no-nesterov", "--train-images"):
        assert name in out


def test_the_help_of_sweep_lists_figures_and_choices(call):
    code, out, _ = call("sweep", "--help")
    assert code == 0
    words = out.replace(",", " ").replace(";", " ").split()
    for name in (*GRIDS, "all", *PROFILES, *RATIOS, *EXECUTORS, "auto", "cpu", "cuda"):
        assert name in words, name


def test_the_version_is_that_of_the_package(call):
    from randprune_core import __version__

    assert call("--version") == (0, f"randprune_core {__version__}\n", "")


def test_what_needs_the_repository_says_so_in_one_line_elsewhere(call, monkeypatch, store):
    monkeypatch.setattr(paths, "IN_REPOSITORY", False)
    for command in (["book"], ["book", "--refresh"], ["notebook", "01_depth", "-p", "seeds", "0"]):
        code, out, error = call(*command)
        assert (code, out) == (2, "") and f"{command[0]} needs the repository" in one_line(error)
    assert files_under(store) == []


def test_an_unknown_name_in_the_package_is_an_attribute_error():
    import randprune_core

    with pytest.raises(AttributeError, match="no attribute 'colour'"):
        _ = randprune_core.colour
    assert set(randprune_core.__all__) <= set(dir(randprune_core))
    for name in randprune_core.__all__:
        assert getattr(randprune_core, name) is not None


# --- train -----------------------------------------------------------------------------------


def test_train_prints_the_path_of_its_record_and_then_answers_from_it(call, store, monkeypatch):
    arguments = options(epochs=1, train_images=50, seed_mask=7)
    code, out, error = call("train", *arguments)
    path = paths.record_path("digits", run_id(tiny(epochs=1, train_images=50, seed_mask=7)))
    assert (code, error) == (0, "")
    assert out.splitlines()[-1] == str(path)
    record = json.loads(path.read_text())
    assert f"{100 * record['test']['accuracy']:.2f} %" in out and "n = 360" in out
    monkeypatch.setattr(train_module, "train", None)
    assert call("train", *arguments) == (0, out, "")
    assert files_under(store) == [str(path.relative_to(store))]


def test_a_recorded_run_is_answered_without_loading_torch(store):
    store_record(made_up_record(tiny(precision=native_precision("cpu"))))
    values = {name: value for name, value in TINY.items() if name != "precision"}
    pairs = [(f"--{name.replace('_', '-')}", str(value)) for name, value in values.items()]
    arguments = ["train", *(part for pair in pairs for part in pair), "--device", "cpu"]
    code = (
        "import sys; from randprune_core.__main__ import main; "
        f"status = main({arguments!r}); sys.exit(3 if 'torch' in sys.modules else status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "test accuracy 50.00 %" in done.stdout


def test_options_that_are_left_out_follow_the_data_set_and_the_processor(call, no_training):
    config = tiny(train_images=DATASETS["digits"].train_images)
    for precision in ("float32", "bfloat16"):
        store_record(made_up_record(tiny(train_images=1_294, precision=precision)))
    left_out = {"train_images", "precision"}
    values = {name: value for name, value in TINY.items() if name not in left_out}
    pairs = [(f"--{name.replace('_', '-')}", value) for name, value in values.items()]
    code, out, _ = call("train", *(part for pair in pairs for part in pair), "--device", "cpu")
    assert code == 0
    expected = tiny(train_images=config.train_images, precision=native_precision("cpu"))
    assert out.splitlines()[-1] == str(paths.record_path("digits", run_id(expected)))


def test_a_run_that_diverges_ends_with_status_1_and_a_note(call, store):
    code, out, error = call("train", *options(lr=1e30, epochs=1, train_images=50))
    assert (code, out) == (1, "")
    assert "the loss became" in one_line(error)
    name = run_id(tiny(lr=1e30, epochs=1, train_images=50))
    assert files_under(store) == [f"failed/{name}.json"]


def test_a_run_that_is_stopped_says_how_to_go_on(call, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(train_module, "train", interrupted)
    code, out, error = call("train", *options())
    assert (code, out) == (130, "")
    assert "goes on" in one_line(error)


# --- sweep, status, check --------------------------------------------------------------------


def test_sweep_finds_what_is_recorded_and_reports_the_rest(call, no_training):
    configs = grid("width", "quick")
    for config in configs[1:]:
        store_record(made_up_record(config))
    code, out, error = call("sweep", "width", "--profile", "quick", "--time-budget", "0")
    assert (code, out, error) == (
        0,
        "0 trained, 8 were recorded before, 0 failed, 1 not finished\n",
        "",
    )
    store_record(made_up_record(configs[0]))
    assert call("sweep", "width", "--device", "cpu")[1].startswith("0 trained, 9 were")


def test_sweep_all_trains_shared_runs_once(call, no_training):
    figures = figures_at("quick")
    distinct = {run_id(config) for figure in figures for config in grid(figure, "quick")}
    out = call("sweep", "all", "--time-budget", "0")[1]
    assert f"{len(distinct)} not finished" in out


def test_a_dry_run_prints_the_plan_and_trains_nothing(call, store, no_training):
    configs = grid("width", "quick")
    record = made_up_record(configs[0])
    record["cost"]["dense_macs"] = 10**6
    store_record(record)
    before = files_under(store)
    code, out, error = call("sweep", "width", "--profile", "quick", "--dry-run")
    assert (code, error) == (0, "")
    header, *rows, count, total = out.splitlines()
    assert [row.split()[0] for row in rows] == [run_id(config) for config in in_order(configs[1:])]
    assert total.startswith("all of them: about ")
    assert count == "8 runs to train, 1 are recorded"
    assert files_under(store) == before


def test_sweep_ends_with_status_1_when_a_run_failed(call, monkeypatch):
    from randprune_core.sweeps import sweep as sweep_module

    report = sweep_module.SweepReport(trained=2, failed={"abc": "the loss became nan"})
    monkeypatch.setattr(sweep_module, "sweep", lambda *arguments, **options: report)
    code, out, error = call("sweep", "depth")
    assert code == 1 and out.startswith("2 trained, 0 were recorded before, 1 failed")
    assert one_line(error) == "failed abc: the loss became nan\n"


def test_status_json_has_a_row_for_every_figure_and_profile(call):
    store_record(made_up_record(grid("depth", "quick")[0]))
    code, out, error = call("status", "--json")
    assert (code, error) == (0, "")
    rows = json.loads(out)
    assert {(row["figure"], row["profile"]) for row in rows} == {
        (figure, profile) for figure, grids in GRIDS.items() for profile in grids
    }
    assert all(row["recorded"] + row["missing"] == row["total"] for row in rows)
    (depth,) = (r for r in rows if (r["figure"], r["profile"]) == ("depth", "quick"))
    assert (depth["recorded"], depth["missing"]) == (1, 20)


def test_status_without_json_is_a_table(call):
    code, out, _ = call("status")
    assert code == 0 and len(out.splitlines()) == 1 + sum(map(len, GRIDS.values()))


def test_check_names_every_problem_and_ends_with_status_1(call, store):
    good = made_up_record(tiny())
    store_record(good)
    assert call("check") == (0, "0 problems\n", "")
    (store / "runs" / "digits" / "abc.json").write_text("{")
    bad = made_up_record(tiny(seed_init=1))
    bad["cost"]["kept_weights"] = 3
    path = store_record(bad)
    code, out, error = call("check")
    assert (code, out) == (1, "2 problems\n")
    assert "abc.json" in error and str(path) in error and len(error.splitlines()) == 2


def test_a_bad_record_is_a_warning_of_one_line(store):
    path = store_record(made_up_record(grid("width", "quick")[0]))
    path.write_text("{")
    command = [sys.executable, "-m", "randprune_core", "status", "--json"]
    done = subprocess.run(
        command, cwd=paths.ROOT, env=os.environ, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)
    assert one_line(done.stderr).startswith(f"warning: set aside: {path}: not readable")


def test_a_reader_that_has_seen_enough_is_no_error(store):
    reads, writes = os.pipe()
    os.close(reads)
    command = [sys.executable, "-m", "randprune_core", "status"]
    done = subprocess.run(command, stdout=writes, stderr=subprocess.PIPE, text=True)
    os.close(writes)
    assert (done.returncode, done.stderr) == (141, "")
