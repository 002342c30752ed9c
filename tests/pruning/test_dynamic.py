"""Dynamic sparse training and late pruning: the rules alone, and inside of the engine."""

import time

import pytest
import torch
from conftest import files_under, tiny
from rehearsal import Rehearsal, finish

from randprune_core import paths
from randprune_core.config import RunConfig, pruning_epoch, run_id, setting
from randprune_core.pruning import dynamic
from randprune_core.pruning.dynamic import drop_smallest, dropped_fraction, grow_highest
from randprune_core.pruning.layers import maskable_weights
from randprune_core.pruning.masks import mask_counts
from randprune_core.seeds import generator
from randprune_core.sweeps import gpu
from randprune_core.training.backward import dense_gradients
from randprune_core.training.engine import Run
from randprune_core.training.loop import OutOfTime
from randprune_core.training.measure import kept_weights
from randprune_core.training.protocol import draw_masks
from randprune_core.training.train import train

CPU = torch.device("cpu")
SETTINGS = [{"method": "set"}, {"method": "rigl"}, {"when": "during"}, {"when": "after"}]
NAMES = ["set", "rigl", "during", "after"]
each_setting = pytest.mark.parametrize("changes", SETTINGS, ids=NAMES)


def equal(first: dict, second: dict) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first | second)


def copies(tensors: dict) -> dict:
    return {name: value.detach().clone() for name, value in tensors.items()}


# --- the rules, one layer at a time ----------------------------------------------------------

WEIGHT = torch.tensor([[3.0, -0.1, 0.0], [0.0, -2.0, 0.1]])
MASK = torch.tensor([[True, True, False], [False, True, True]])


@pytest.mark.parametrize(
    ("count", "left"),
    [
        (0, [0, 1, 4, 5]),
        (1, [0, 4, 5]),  # of equal magnitudes the earlier one goes
        (2, [0, 4]),
        (4, []),
    ],
)
def test_the_smallest_kept_weights_are_dropped(count, left):
    before = MASK.clone()
    assert drop_smallest(WEIGHT, MASK, count).flatten().nonzero().flatten().tolist() == left
    assert torch.equal(MASK, before)


def test_a_kept_weight_of_zero_goes_before_any_other():
    weight, mask = torch.tensor([1.0, 0.0, 2.0]), torch.tensor([True, True, True])
    assert drop_smallest(weight, mask, 1).tolist() == [True, False, True]


@pytest.mark.parametrize(("count", "grown"), [(0, []), (1, [3]), (2, [2, 3])])
def test_the_highest_scores_among_free_places_are_grown(count, grown):
    score = torch.tensor([[9.0, 9.0, 0.5], [0.7, 9.0, 9.0]])
    added = grow_highest(score, MASK, count) & ~MASK
    assert added.flatten().nonzero().flatten().tolist() == grown


@pytest.mark.parametrize("count", [-1, 5])
def test_more_than_there_are_is_refused(count):
    with pytest.raises(ValueError, match=f"count {count} is not between 0 and the 4 kept"):
        drop_smallest(WEIGHT, MASK, count)
    with pytest.raises(ValueError, match="the 2 free places"):
        grow_highest(WEIGHT, MASK, count)


def test_rigl_grows_where_the_gradient_is_largest_even_what_was_just_dropped():
    gradient = torch.tensor([[0.0, -8.0, 1.0], [-5.0, 0.0, 0.0]])
    moved = dynamic.move_by_rigl(WEIGHT, MASK, gradient, 2, None)
    assert moved.tolist() == [[True, True, False], [True, True, False]]


def test_set_draws_every_free_place_equally_often_and_repeats_itself():
    weight, mask = torch.arange(1.0, 9.0), torch.arange(8) < 4
    counts = torch.zeros(8)
    for seed in range(600):
        moved = dynamic.move_by_set(weight, mask, None, 2, torch.Generator().manual_seed(seed))
        assert moved.sum() == 4 and moved[2:4].all()
        counts += moved
    free = counts[[0, 1, 4, 5, 6, 7]]  # 2 of 6 places: 200 of 600 each, standard deviation 11.5
    assert free.min() > 150 and free.max() < 250
    first, second = (
        dynamic.move_by_set(weight, mask, None, 2, generator(0, "set", 1, "a")) for _ in range(2)
    )
    assert torch.equal(first, second)


@pytest.mark.parametrize("rule", dynamic.RULES.values(), ids=dynamic.RULES)
@pytest.mark.parametrize("kept", [1, 40, 72])
def test_the_number_of_kept_weights_stays_and_what_stays_is_the_largest(rule, kept):
    draw = generator(0, kept)
    weight, gradient = torch.randn(2, 8, 3, 3, generator=draw)
    mask = (torch.randperm(72, generator=draw) < kept).view(8, 3, 3)
    count = kept // 3
    moved = rule(weight, mask, gradient, count, draw)
    assert moved.sum() == kept and moved.dtype == torch.bool and moved.shape == mask.shape
    largest = weight.abs()[mask].sort(descending=True).values[: kept - count]
    assert moved[mask & (weight.abs() >= largest[-1])].all()


# --- the schedule ----------------------------------------------------------------------------


def test_the_dropped_fraction_follows_the_cosine_and_ends_at_three_quarters():
    config = tiny(method="rigl", epochs=16)
    fractions = [dropped_fraction(config, epoch) for epoch in range(16)]
    assert fractions[0] == 0.0 and fractions[12:] == [0.0] * 4
    assert fractions[6] == pytest.approx(0.15)  # the middle of the cosine
    assert all(a > b > 0 for a, b in zip(fractions[1:11], fractions[2:12], strict=True))
    assert not any(dropped_fraction(tiny(epochs=16), epoch) for epoch in range(16))


@pytest.mark.parametrize("every", [2, 3])
def test_updates_come_every_few_epochs(monkeypatch, every):
    monkeypatch.setattr(dynamic, "UPDATE_EVERY", every)
    config = tiny(method="set", epochs=12)
    updates = [epoch for epoch in range(12) if dropped_fraction(config, epoch)]
    assert updates == list(range(every, 9, every))


@pytest.mark.parametrize(
    ("when", "epochs", "expected"),
    [("before", 4, 0), ("during", 2, 1), ("during", 16, 4), ("after", 16, 12), ("after", 5, 4)],
)
def test_the_epoch_of_pruning_is_a_share_of_all_epochs(when, epochs, expected):
    assert pruning_epoch(tiny(when=when, epochs=epochs)) == expected


# --- what a config may be --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"ratio": "dense", "method": "set"}, "method 'set' needs a sparse network"),
        ({"ratio": "dense", "when": "after"}, "when 'after' needs a sparse network"),
        ({"method": "rigl", "when": "during"}, "method 'rigl' needs when 'before', not 'during'"),
        ({"method": "set", "granularity": "2:4"}, "needs granularity 'unstructured', not '2:4'"),
        ({"ratio": "snip", "method": "set", "mask_source": "own"}, "needs mask_source 'random'"),
        ({"ratio": "snip", "when": "after", "mask_source": "own"}, "needs mask_source 'random'"),
        ({"when": "during", "epochs": 1}, "epochs 1: give at least 2"),
        ({"when": "after", "epochs": 3}, "epochs 3: give at least 4"),
    ],
)
def test_a_combination_without_sense_is_refused_in_one_line(values, said):
    with pytest.raises(ValueError) as caught:
        RunConfig(**{"ratio": "erk", "sparsity": 0.0, **values})
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_every_setting_is_a_run_of_its_own_and_static_runs_keep_their_ids():
    assert run_id(tiny()) == run_id(tiny(method="static", when="before"))
    ids = {run_id(tiny(epochs=4, **changes)) for changes in [{}, *SETTINGS]}
    assert len(ids) == 5
    assert [setting(tiny(epochs=4, **c)) for c in SETTINGS] == [f"erk:{name}" for name in NAMES]
    assert tiny(when="after", epochs=4, granularity="filter").granularity == "filter"


# --- in the engine ---------------------------------------------------------------------------


@each_setting
def test_every_epoch_has_its_masks_and_kept_counts_and_pruned_weights_without_momentum(
    store, changes
):
    config = tiny(epochs=4, **changes)
    run = Run(config, CPU)
    drawn = run.drawn
    wanted, total = mask_counts(drawn), {n: m.numel() for n, m in drawn.items()}
    seen = []
    while run.epoch < 4:
        run.start_epoch()
        dense = run.epoch < pruning_epoch(config)
        assert mask_counts(run.masks) == (total if dense else wanted)
        for name, weight in maskable_weights(run.model).items():
            pruned = ~run.masks[name]
            assert torch.count_nonzero(weight[pruned]) == 0
            assert torch.count_nonzero(run.optimizer.state[weight]["momentum_buffer"][pruned]) == 0
            assert torch.count_nonzero(weight[~pruned]) == weight[~pruned].numel()
        run.finish_epoch()
        seen.append(copies(run.masks))
    moved = [not equal(a, b) for a, b in zip(seen, seen[1:], strict=False)]
    # Of four epochs, updates of dynamic masks fall before the second and the third.
    expected = {"set": [1, 1, 0], "rigl": [1, 1, 0], "during": [1, 0, 0], "after": [0, 0, 1]}
    assert moved == [bool(value) for value in expected[setting(config).partition(":")[2]]]
    if config.when != "before":
        assert equal(run.masks, drawn)
    assert kept_weights(run) == wanted


def test_late_pruning_is_dense_training_up_to_the_mask_that_is_drawn_before_training(store):
    late, dense = (
        Run(tiny(epochs=4, when="during"), CPU),
        Run(tiny(epochs=4, ratio="dense", sparsity=0.0), CPU),
    )
    for run in (late, dense):
        run.note_initial_gradient_norm()
        run.start_epoch()
        run.finish_epoch()
    assert late.history == dense.history
    assert equal(late.model.state_dict(), dense.model.state_dict())
    early = Run(tiny(epochs=4), CPU)
    late.start_epoch()
    late.finish_epoch()
    assert equal(late.masks, early.masks)
    assert equal(late.masks, draw_masks(early.config, dense.model, dense.dataset))


@pytest.mark.parametrize("when", ["during", "after"])
def test_the_best_epoch_is_one_of_the_pruned_network(unmeasured, when):
    config = tiny(epochs=4, when=when)
    run = train(config, "cpu")
    assert run.best["epoch"] > pruning_epoch(config)
    best = run.history["validation_accuracy"][run.best["epoch"] - 1]
    assert run.best["validation_accuracy"] == best


def test_an_update_gives_new_places_neither_weight_nor_momentum_and_leaves_the_rest(store):
    run = Run(tiny(epochs=4, method="rigl"), CPU)
    run.start_epoch()
    run.finish_epoch()
    before, masks = copies(maskable_weights(run.model)), copies(run.masks)
    buffers = copies(dict(run.model.named_buffers()))
    run._renew_masks()
    assert equal(buffers, dict(run.model.named_buffers()))
    changed = 0
    for name, weight in maskable_weights(run.model).items():
        assert weight.grad is None
        momentum = run.optimizer.state[weight]["momentum_buffer"]
        stayed, new = masks[name] & run.masks[name], run.masks[name] & ~masks[name]
        assert torch.equal(weight[stayed], before[name][stayed])
        assert torch.count_nonzero(momentum[stayed]) > 0
        assert torch.count_nonzero(weight[new]) == torch.count_nonzero(momentum[new]) == 0
        changed += int(new.sum())
    assert changed > 0


def test_the_dense_gradient_reaches_pruned_weights_and_is_that_of_the_coming_epoch(store):
    run = Run(tiny(), CPU)
    found = dense_gradients(run.model, run.batches.coming(0, 4))
    name = "stage2.0.conv1.weight"
    assert torch.count_nonzero(found[name][~run.masks[name]]) > 0
    later = dense_gradients(run.model, run.batches.coming(1, 4))
    assert not torch.equal(later[name], found[name])


@pytest.mark.parametrize(
    ("method", "seed", "same"),
    [("set", "seed_mask", False), ("set", "seed_data", True), ("rigl", "seed_mask", True)],
)
def test_the_mask_seed_decides_where_set_grows_and_nothing_else_does(method, seed, same):
    draw = generator(0, "tensors")
    weights, found = ({name: torch.randn(40, 5, generator=draw) for name in "ab"} for _ in "wg")
    masks = {name: torch.rand(40, 5, generator=draw) < 0.4 for name in "ab"}
    first, second = (
        dynamic.moved_masks(tiny(epochs=4, method=method, **{seed: n}), 1, weights, masks, found)
        for n in (0, 1)
    )
    assert equal(first, second) is same
    assert mask_counts(first) == mask_counts(masks)
    dropped = {name: int((masks[name] & ~first[name]).sum()) for name in masks}
    assert all(0 < dropped[n] <= 0.3 * mask_counts(masks)[n] for n in masks)


# --- stopped, side by side, captured ---------------------------------------------------------


@each_setting
def test_a_run_that_is_stopped_after_every_epoch_ends_bit_for_bit_the_same(unmeasured, changes):
    config = tiny(epochs=4, **changes)
    whole = train(config, "cpu")
    for stopped_after in (1, 2, 3):
        with pytest.raises(OutOfTime, match=f"after epoch {stopped_after} of 4"):
            train(config, "cpu", deadline=time.time())
    resumed = train(config, "cpu")
    assert resumed.history == whole.history
    assert equal(resumed.model.state_dict(), whole.model.state_dict())
    assert equal(resumed.masks, whole.masks)
    assert resumed.best["epoch"] == whole.best["epoch"]
    assert equal(resumed.best["weights"], whole.best["weights"])
    assert not paths.checkpoint_path(run_id(config)).exists()


def test_side_by_side_equals_alone(unmeasured, monkeypatch, store):
    monkeypatch.setattr(gpu, "measure", lambda run: run)
    configs = [tiny(epochs=4, train_images=100, **changes) for changes in SETTINGS]
    together = gpu.side_by_side(configs, "cpu", slots=4)
    outcomes = {outcome.config: outcome.result for outcome in together}
    for config in configs:
        alone = train(config, "cpu")
        assert outcomes[config].history == alone.history
        assert equal(outcomes[config].masks, alone.masks)
        assert equal(outcomes[config].model.state_dict(), alone.model.state_dict())
    assert files_under(store) == []


def test_a_record_counts_the_weights_of_the_final_masks(store):
    result = train(tiny(epochs=4, train_images=100, when="after"), "cpu")
    kept = sum(layer["kept"] for layer in result["layers"])
    assert kept == result["cost"]["kept_weights"]
    assert kept / sum(layer["total"] for layer in result["layers"]) == pytest.approx(0.1, abs=1e-3)


@each_setting
def test_captured_steps_follow_masks_that_change(monkeypatch, store, changes):
    config = tiny(epochs=4, train_images=110, **changes)
    called = finish(Run(config, CPU))
    captured = Rehearsal(monkeypatch).run(config)
    held = [tensor.data_ptr() for tensor in (*captured._keep, *captured._pruned)]
    finish(captured)
    assert captured.history == called.history
    assert equal(captured.model.state_dict(), called.model.state_dict())
    assert held == [tensor.data_ptr() for tensor in (*captured._keep, *captured._pruned)]
