"""The engine's own parts: devices, memory layout, and a step that can be captured and replayed."""

import pytest
import torch
from conftest import tiny
from rehearsal import Rehearsal, finish

from randprune_core.training.engine import Run

CPU = torch.device("cpu")


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


def test_a_device_gets_a_few_steps_at_a_time_and_the_next_ones_when_it_is_asked(monkeypatch, store):
    rehearsal = Rehearsal(monkeypatch, patience=2)
    run = rehearsal.run(tiny(train_images=200, batch_size=10, epochs=1))
    run._ahead = 3
    run.start_epoch()
    assert (rehearsal.replays, rehearsal.waiting) == (3, 3)
    asked = 0
    while not run.is_done():
        asked += 1
    assert rehearsal.replays == 20 and rehearsal.longest == 3 and asked > 20
    run.finish_epoch()
    assert finish(Run(run.config, CPU)).history == run.history


def test_whoever_waits_hands_over_the_whole_epoch(monkeypatch, store):
    rehearsal = Rehearsal(monkeypatch, patience=2)
    run = rehearsal.run(tiny(train_images=200, batch_size=10))
    run._ahead = 3
    run.start_epoch()
    run.wait()
    assert rehearsal.replays == 20 and rehearsal.waiting == 0 and run.is_done()


def test_masks_lie_in_memory_as_the_gradients_that_they_multiply(store):
    run = Run(tiny(), CPU)
    for kept, weight in zip(run._keep, run._pruned, strict=True):
        assert kept.stride() == weight.stride()
    strides = {kept.stride() == kept.contiguous().stride() for kept in run._keep}
    assert strides == {True, False} or run.memory_format == torch.contiguous_format


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
