"""Sweeps: what is refused, what is found, what is trained, and what failed."""

import json
import os
import subprocess
import sys

import pytest
from conftest import files_under, made_up_record, store_record, tiny

from randprune_core import paths
from randprune_core.config import run_id
from randprune_core.sweeps import cores
from randprune_core.sweeps import sweep as sweep_module
from randprune_core.sweeps.sweep import collect, missing, sweep


def record(*configs) -> None:
    for config in configs:
        store_record(made_up_record(config))


@pytest.fixture
def no_pool(monkeypatch):
    """Nothing may start a worker."""
    monkeypatch.setattr(cores, "ProcessPoolExecutor", None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"executor": "slurm"}, "executor 'slurm'.*local"),
        ({"workers": 0}, "workers 0 is too small"),
        ({"device": "gpu"}, "device 'gpu' is not known"),
    ],
)
def test_a_sweep_refuses_what_it_cannot_do_before_it_starts(store, no_pool, options, said):
    with pytest.raises(ValueError, match=said):
        sweep([tiny()], **options)
    assert files_under(store) == []


def test_collect_trains_what_is_missing_on_digits_and_names_what_failed(store, monkeypatch):
    configs = [tiny(seed_init=seed) for seed in range(3)]
    record(configs[1])
    asked = []

    def pretend(configs, device, progress):
        asked.append(missing(configs))
        record(asked[-1][0])
        return sweep_module.SweepReport(failed={run_id(asked[-1][1]): "the loss became nan"})

    monkeypatch.setattr(sweep_module, "sweep", pretend)
    with pytest.warns(UserWarning, match=f"{run_id(configs[2])} failed.*became nan"):
        frame = collect(configs)
    assert asked == [[configs[0], configs[2]]]
    assert list(frame.run_id) == [run_id(configs[0]), run_id(configs[1])]
    assert len(collect(configs, train_missing=False)) == 2
    assert len(asked) == 1


STUDY = (
    "from randprune_core import RunConfig, sweep\n"
    "tiny = dict(dataset='digits', model='resnet-8', epochs=1, train_images=50, batch_size=50)\n"
    "report = sweep([RunConfig(seed_init=s, **tiny) for s in (0, 1)], device='cpu', workers=2)\n"
    "print(report.trained, report.failed)\n"
)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["script", "guarded", "stdin", "notebook"])
def test_a_sweep_works_wherever_python_takes_its_code_from(store, tmp_path, form):
    lines = "".join(f"    {line}\n" for line in STUDY.splitlines())
    guarded = f"if __name__ == '__main__':\n{lines}"
    (tmp_path / "study.py").write_text(guarded if form == "guarded" else STUDY)
    cell = f"from IPython import start_ipython; start_ipython(['-c', {STUDY!r}, '--quiet'])"
    command = {"stdin": ["-"], "notebook": ["-c", cell]}
    done = subprocess.run(
        [sys.executable, *command.get(form, ["study.py"])],
        input=STUDY if form == "stdin" else "",
        cwd=tmp_path,
        env=os.environ
        | {"PYTHONPATH": f"{paths.ROOT}{os.pathsep}{tmp_path}", "IPYTHONDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "2 {}\n"), done.stderr
    assert len(files_under(store / "runs")) == 2


def test_a_sweep_on_cores_leaves_torch_to_its_workers(store):
    code = (
        "import sys; from conftest import tiny; from randprune_core.sweeps import cores, sweep; "
        "cores.run_on_cores = lambda schedule, workers: [(schedule.next(), 'trained', '')]; "
        "print(sweep.sweep([tiny()], device='cpu').trained, 'torch' in sys.modules)"
    )
    search = os.pathsep.join((str(paths.ROOT), str(paths.ROOT / "tests")))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": search},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "1 False\n", done.stderr


def test_a_sweep_over_recorded_runs_starts_nothing(store, no_pool):
    configs = [tiny(seed_init=seed) for seed in range(3)]
    record(*configs)
    assert sweep(iter(configs)) == sweep_module.SweepReport(found=3)
    assert sweep([]) == sweep_module.SweepReport()


def test_a_sweep_without_time_starts_no_run(store):
    record(tiny())
    report = sweep([tiny(), tiny(seed_init=1), tiny(seed_init=2)], time_budget=0, progress=False)
    assert report == sweep_module.SweepReport(found=1, unfinished=2)
    assert missing([tiny(seed_init=1)])


def test_a_sweep_of_two_workers_equals_single_runs_and_survives_failures(store, trained, capfd):
    before = dict(os.environ)
    good = [trained.config, tiny(seed_mask=1, epochs=1, train_images=50)]
    diverging = tiny(lr=1e30, epochs=1, train_images=50)
    infeasible = tiny(ratio="erk_plus", sparsity=0.998)
    found = tiny(seed_init=9)
    record(found)
    configs = [infeasible, diverging, found, *good]
    report = sweep(configs, workers=2, device="cpu")
    assert (report.trained, report.found, report.unfinished) == (2, 1, 0)
    assert set(report.failed) == {run_id(diverging), run_id(infeasible)}
    assert "the loss became" in report.failed[run_id(diverging)]
    assert "erk_plus" in report.failed[run_id(infeasible)]
    assert missing(configs) == [infeasible, diverging]
    assert json.loads(paths.failed_path(run_id(diverging)).read_text())["error"]
    assert dict(os.environ) == before
    stored = json.loads(paths.record_path("digits", run_id(trained.config)).read_text())
    for section in ("config", "layers", "cost", "history", "test"):
        assert stored[section] == trained.record[section], section
    lines = capfd.readouterr().err.splitlines()  # no terminal: one line a run
    assert len([line for line in lines if " trained " in line]) == 2
    assert len([line for line in lines if " failed " in line]) == 2
