"""The engine's own parts: devices, memory layout, and a step that can be captured and replayed."""

import os
import platform
from pathlib import Path

import pytest
import torch
from conftest import tiny

from randprune_core import devices
from randprune_core.devices import keep_freed_memory, pick_device
from randprune_core.models import build_model
from randprune_core.training import engine
from randprune_core.training.engine import Run

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "tpu", "", "CPU"])
def test_pick_device_names_what_it_refuses(name):
    with pytest.raises(ValueError, match=f"device {name!r} is not known.*cuda"):
        pick_device(name)


def test_pick_device_refuses_cuda_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == pick_device("cpu") == CPU
    with pytest.raises(ValueError, match="no CUDA device is available"):
        pick_device("cuda")


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("resnet-8", torch.channels_last),
        ("resnet-8-8", torch.contiguous_format),
        ("resnet-8-4", torch.contiguous_format),
        ("vgg-11", torch.channels_last),
    ],
)
def test_narrow_strided_shortcuts_are_kept_from_channels_last_on_a_cpu(model, expected):
    network = build_model(model)
    assert devices.memory_format(network, CPU) == expected
    assert devices.memory_format(network, torch.device("cuda")) == torch.channels_last


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")
def test_memory_that_is_freed_stays_with_the_process():
    keep_freed_memory()
    block = torch.ones(2**24)  # 64 MiB, which glibc hands back at once if nobody tells it
    held = resident_bytes()
    del block
    assert resident_bytes() > held - 2**20


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


# --- the way of a GPU, rehearsed on a CPU ----------------------------------------------------


class Rehearsal:
    """Stands in for CUDA streams and graphs: a replay calls the step that was captured."""

    def __init__(self, monkeypatch):
        self.replays = 0
        rehearsal = self

        class Stream:
            def record_event(self):
                return self

            def query(self):
                return True

            def __enter__(self):
                return self

            def __exit__(self, *error):
                return None

        class Graph:
            def pool(self):
                return "pool"

            def replay(self):
                rehearsal.replays += 1
                self.step()

        class capture:
            """Keeps what is called in its block, which like on a GPU computes nothing."""

            def __init__(self, graph, pool, stream):
                self.graph = graph

            def __enter__(self):
                def remember(run, size):
                    self.graph.step = lambda: real(run, size)

                real = Run.step
                self.patch = pytest.MonkeyPatch()
                self.patch.setattr(Run, "step", remember)

            def __exit__(self, *error):
                self.patch.undo()

        monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
        monkeypatch.setattr(torch.cuda, "graph", capture)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
        monkeypatch.setattr(engine, "_rate", lambda config, device: torch.tensor(config.lr))
        self.stream = Stream()

    def run(self, config) -> Run:
        run = Run(config, CPU)
        run._stream = self.stream
        return run


def finish(run: Run) -> Run:
    while run.epoch < run.config.epochs:
        run.start_epoch()
        run.finish_epoch()
    return run


@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_captured_steps_train_as_called_ones_and_the_warm_up_leaves_no_trace(
    monkeypatch, store, momentum
):
    config = tiny(train_images=110, momentum=momentum, nesterov=momentum > 0)  # a last batch of 10
    called = finish(Run(config, CPU))
    rehearsal = Rehearsal(monkeypatch)
    captured = finish(rehearsal.run(config))
    assert rehearsal.replays == config.epochs * 3
    assert captured.history == called.history
    assert captured.history["lr"] == pytest.approx([0.1, 0.01])
    for name, value in called.model.state_dict().items():
        assert torch.equal(value, captured.model.state_dict()[name]), name


def test_a_captured_run_goes_on_from_the_state_of_a_called_one(monkeypatch, store):
    config = tiny(train_images=110)
    called = Run(config, CPU)
    called.start_epoch()
    called.finish_epoch()
    state = {key: value for key, value in called.state().items()}
    state = torch.load(_written(state, store), weights_only=True)
    whole = finish(called)
    resumed = Rehearsal(monkeypatch).run(config)
    resumed.load_state(state)
    resumed._stream = Rehearsal(monkeypatch).stream
    assert finish(resumed).history == whole.history


def _written(state: dict, folder):
    folder.mkdir(exist_ok=True)
    torch.save(state, folder / "state.pt")
    return folder / "state.pt"


def test_every_run_of_a_process_shares_one_copy_of_the_data(store):
    first, second = Run(tiny(), CPU), Run(tiny(seed_init=1), CPU)
    assert first.dataset is second.dataset
    assert first.batches.images.data_ptr() == second.batches.images.data_ptr()
    other = Run(tiny(train_images=150), CPU)
    assert other.dataset is first.dataset and len(other.batches.images) == 150
