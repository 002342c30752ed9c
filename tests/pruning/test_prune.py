"""`prune` on other people's networks: exact budgets, and zeros that stay through any optimizer."""

import copy
import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import NETWORKS, batch, network
from torch import nn
from torch.nn.utils import clip_grad_norm_

from randprune_core import build_model, gradient_norm, layer_sparsities, prune, random_masks
from randprune_core.pruning.masks import mask_counts
from randprune_core.pruning.ratios import er, erk

ALL = {"types": ("conv", "conv_transpose", "linear", "attention", "embedding", "recurrent")}


def pruned(name, *args, seed=0, **options):
    model = network(name, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return model, prune(model, *args, **ALL, **options)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("ratio", ["erk", "uniform", er])
@pytest.mark.parametrize("sparsity", [0.5, 0.9, 0.977])
def test_budgets_are_exact_over_the_whole_network(name, ratio, sparsity):
    model, handle = pruned(name, ratio, sparsity)
    assert handle.kept == round((1 - sparsity) * handle.total)
    assert all(count >= 1 for count in mask_counts(handle.masks).values())
    gone = {name: ~mask for name, mask in handle.masks.items()}
    assert all((handle.weights[name][gone[name]] == 0).all() for name in gone)
    count = sum(int(part.sum()) for part in gone.values())
    assert count == handle.total - handle.kept
    assert handle.report["kept"].sum() == sum(p.numel() for p in model.parameters()) - count
    inputs, _ = batch(name)
    assert model(inputs).isfinite().all()


@given(
    widths=st.lists(st.integers(1, 9), min_size=2, max_size=8),
    sparsity=st.floats(0, 0.999),
    ratio=st.sampled_from(["erk", "uniform", er]),
)
@settings(max_examples=60, deadline=None)
def test_budgets_are_exact_or_refused_for_any_widths(widths, sparsity, ratio):
    pairs = list(zip(widths, widths[1:], strict=False))
    model = nn.Sequential(*[nn.Linear(a, b) for a, b in pairs])
    total = sum(a * b for a, b in pairs)
    budget = max(1, round((1 - sparsity) * total))
    if budget < len(pairs):
        with pytest.raises(ValueError, match="change one of the two"):
            prune(model, ratio, sparsity)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # classes may be cut off
        handle = prune(model, ratio, sparsity)
    assert handle.kept == budget
    sparsities = layer_of(ratio, model, 1 - budget / total)
    ideal = {n: (1 - s) * handle.weights[n].numel() for n, s in sparsities.items()}
    if min(ideal.values()) >= 1:  # no layer needs a weight of another
        kept = mask_counts(handle.masks)
        assert all(abs(kept[name] - ideal[name]) < 1 + 1e-9 for name in kept)


def layer_of(ratio, model, sparsity):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return layer_sparsities(ratio, model, sparsity)


def test_chosen_layers_keep_a_sparsity_of_their_own_inside_of_the_budget():
    model, handle = pruned("resnet-18", "erk", 0.95, keep={"conv1": 0, "fc": 0.0})
    assert handle.kept == round(0.05 * handle.total)
    assert handle.layer_sparsities["conv1.weight"] == handle.layer_sparsities["fc.weight"] == 0
    rest = {
        n: tuple(w.shape)
        for n, w in handle.weights.items()
        if n not in ("conv1.weight", "fc.weight")
    }
    left = handle.kept - model.conv1.weight.numel() - model.fc.weight.numel()
    total = sum(math.prod(shape) for shape in rest.values())
    for name, expected in erk(rest, 1 - left / total).items():
        assert abs(handle.layer_sparsities[name] - expected) * math.prod(rest[name]) < 1


def test_a_pattern_fixes_several_layers():
    _, handle = pruned("transformer", "uniform", 0.8, keep={"encoder.*.mlp.*": 0.5})
    for name, sparsity in handle.layer_sparsities.items():
        assert (sparsity == 0.5) == (".mlp." in name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": {"fc2": 0}}, r"no layer is called 'fc2': there are 1\.weight, 3\.weight"),
        ({"keep": {"1": 1.0}}, r"layer '1\.weight': sparsity 1\.0 is not in \[0, 1\)"),
        ({"keep": {"1": 0.0}}, "960 are fixed by keep: that leaves -854 for the other 1 layer"),
        ({"sparsity": 0.1, "keep": {"1": 0.5}}, "leaves 474 for the other 1 layer"),
        ({"sparsity": 0.9999}, "keeps 1 of 1,060 weights"),
        ({"sparsity": 1.0}, "sparsity 1.0 is not in"),
        ({"sparsity": "0.9"}, "sparsity '0.9' is not in"),
        ({"ratio": "ekr"}, "unknown ratio 'ekr': known are dense"),
        ({"ratio": "snip"}, "scores weights on data"),
        ({"ratio": lambda shapes, s: {"1.weight": s}}, r"lack layer '3\.weight'"),
        ({"ratio": lambda shapes, s: dict.fromkeys(shapes, 0.0)}, "must give sparsities that meet"),
        ({"exclude": ["1", "3"]}, "no layer to prune"),
        ({"seed": 0.5}, "seed"),
    ],
)
def test_what_cannot_be_right_is_refused_and_nothing_changes(options, message):
    model = network("mlp")
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=message):
        prune(model, **options)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_masks_are_those_of_random_masks_where_the_counts_agree():
    model = build_model("resnet-8")
    handle = prune(model, "erk", 0.9, seed=7)
    masks = random_masks(model, layer_sparsities("erk", model, 0.9), seed=7)
    same = [n for n in masks if int(masks[n].sum()) == int(handle.masks[n].sum())]
    assert len(same) > 5 and all(torch.equal(masks[name], handle.masks[name]) for name in same)


def test_criteria_share_out_the_budget_on_data():
    inputs, targets = batch("u-net", 20)
    _, handle = pruned("u-net", "snip", 0.8, inputs=inputs, targets=targets, keep={"head": 0})
    assert handle.kept == round(0.2 * handle.total)
    assert len(set(handle.layer_sparsities.values())) > 2


OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=1e-2),
    "fused SGD": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, fused=True),
    "Adam": lambda p: torch.optim.Adam(p, 1e-2, amsgrad=True),
    "AdamW": lambda p: torch.optim.AdamW(p, 1e-2, weight_decay=0.1),
    "RMSprop": lambda p: torch.optim.RMSprop(p, 1e-3, momentum=0.9, centered=True),
    "Adafactor": lambda p: torch.optim.Adafactor(p, 1e-2),
    "LBFGS": lambda p: torch.optim.LBFGS(p, 0.1, max_iter=2),
}


def train(model, optimizer, inputs, targets, steps=10, accumulate=1, clip=None, amp=False):
    scaler = torch.amp.GradScaler("cpu", enabled=amp)
    for _ in range(steps):

        def closure():
            optimizer.zero_grad()
            for part in range(accumulate):
                with torch.autocast("cpu", torch.bfloat16, enabled=amp):
                    logits = model(inputs[part::accumulate])
                loss = F.cross_entropy(logits.float(), targets[part::accumulate])
                scaler.scale(loss).backward()
            return loss

        if isinstance(optimizer, torch.optim.LBFGS):
            optimizer.step(closure)
            continue
        closure()
        if clip:
            scaler.unscale_(optimizer)
            clip_grad_norm_(model.parameters(), clip)
        scaler.step(optimizer)
        scaler.update()


def assert_zero(handle, optimizer):
    handle.check()
    for name, weight in handle.weights.items():
        gone = ~handle.masks[name]
        assert not torch.signbit(weight[gone]).any()
        for value in optimizer.state[weight].values():
            if isinstance(value, torch.Tensor) and value.shape == weight.shape:
                assert (value[gone] == 0).all()


LARGE = ("resnet-18", "vgg")
SMALL = tuple(name for name in NETWORKS if name not in LARGE)


@pytest.mark.parametrize(
    ("name", "rule"),
    [("resnet-18", "SGD"), ("vgg", "AdamW"), *[(n, r) for n in SMALL for r in ("SGD", "Adam")]],
)
def test_pruned_weights_and_momentum_stay_zero_on_every_network(name, rule):
    model, handle = pruned(name, "erk", 0.8)
    optimizer = OPTIMIZERS[rule](model.parameters())
    handle.attach(optimizer)
    before = {n: w.detach().clone() for n, w in handle.weights.items()}
    train(model, optimizer, *batch(name))
    assert_zero(handle, optimizer)
    moved = {n: (w != before[n]).sum() for n, w in handle.weights.items()}
    assert all(moved.values())


@pytest.mark.parametrize("rule", OPTIMIZERS)
@pytest.mark.parametrize(
    "way", [{}, {"amp": True}, {"accumulate": 3}, {"clip": 0.1}, {"amp": True, "clip": 0.1}]
)
def test_every_optimizer_in_every_way(rule, way):
    if rule == "LBFGS" and way:
        way = {"accumulate": 2}  # it calls the network itself: no scaler and no clipping
    model, handle = pruned("u-net", "erk", 0.8)
    optimizer = OPTIMIZERS[rule](model.parameters())
    handle.attach(optimizer)
    train(model, optimizer, *batch("u-net"), **way)
    assert_zero(handle, optimizer)


def test_training_is_that_of_a_loop_which_multiplies_by_the_mask():
    inputs, targets = batch("resnet-18")
    model, handle = pruned("resnet-18", "erk", 0.8)
    twin = copy.deepcopy(model)
    rule = OPTIMIZERS["SGD"]
    optimizer, by_hand = rule(model.parameters()), rule(twin.parameters())
    handle.attach(optimizer)
    for _ in range(4):
        train(model, optimizer, inputs, targets, steps=1, clip=0.5)
        by_hand.zero_grad()
        F.cross_entropy(twin(inputs), targets).backward()
        for name, mask in handle.masks.items():
            twin.get_parameter(name).grad *= mask
        clip_grad_norm_(twin.parameters(), 0.5)
        by_hand.step()
    for name, value in twin.named_parameters():
        assert torch.equal(model.get_parameter(name), value)


def test_clipping_and_norms_see_the_sparse_network():
    model, handle = pruned("mlp", "uniform", 0.9)
    optimizer = OPTIMIZERS["Adam"](model.parameters())
    hooks = handle.attach(optimizer)
    inputs, targets = batch("mlp")
    F.cross_entropy(model(inputs), targets).backward()
    norm = gradient_norm(model, None)
    assert norm == pytest.approx(gradient_norm(model, handle.masks), rel=1e-12)
    hooks.remove()
    model.zero_grad()
    F.cross_entropy(model(inputs), targets).backward()
    assert gradient_norm(model, None) > 1.5 * norm
    optimizer.step()
    with pytest.raises(RuntimeError, match="are not zero"):
        handle.check()


@pytest.mark.parametrize("first", ["attach", "wrap"])
def test_a_compiled_and_a_wrapped_network(first):
    model, handle = pruned("separable", "erk", 0.8)
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    if first == "attach":
        handle.attach(optimizer)
    wrapped = torch.compile(nn.DataParallel(model), backend="aot_eager")
    if first == "wrap":
        handle.attach(optimizer)
    train(wrapped, optimizer, *batch("separable"), steps=4)
    assert_zero(handle, optimizer)
    again = network("separable", 0)
    assert prune(torch.compile(again, backend="eager"), "erk", 0.8).masks.keys() == (
        handle.masks.keys()
    )


def _one_of_two(rank: int, folder: str) -> None:
    """A process of a job of two: ten steps in DistributedDataParallel, each on its own images."""
    file = f"file://{folder}/meeting"
    torch.distributed.init_process_group("gloo", init_method=file, rank=rank, world_size=2)
    model, handle = pruned("u-net", "erk", 0.8)
    wrapped = nn.parallel.DistributedDataParallel(model)
    optimizer = OPTIMIZERS["AdamW"](wrapped.parameters())
    handle.attach(optimizer)
    train(wrapped, optimizer, *batch("u-net", seed=rank), clip=1.0)
    assert_zero(handle, optimizer)
    torch.save(model.state_dict(), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_keep_the_same_zeros(tmp_path):
    torch.multiprocessing.spawn(_one_of_two, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_infinite_gradients_and_a_skipped_step_leave_zeros():
    model, handle = pruned("mlp", "uniform", 0.5)
    optimizer = OPTIMIZERS["AdamW"](model.parameters())
    handle.attach(optimizer)
    inputs, targets = batch("mlp")
    train(model, optimizer, inputs * float("inf"), targets, steps=1)  # the loss is NaN
    for name, weight in handle.weights.items():
        assert (weight[~handle.masks[name]] == 0).all()


def test_an_optimizer_of_another_network_and_a_foreign_one_are_refused():
    _, handle = pruned("mlp", "uniform", 0.5)
    with pytest.raises(ValueError, match="has none of the 2 pruned weights"):
        handle.attach(OPTIMIZERS["SGD"](network("mlp").parameters()))
    with pytest.raises(ValueError, match="object is no torch.optim.Optimizer"):
        handle.attach(object())


def test_a_network_that_moves_to_another_type_stays_pruned():
    model, handle = pruned("mlp", "uniform", 0.5)
    model.double()
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    handle.attach(optimizer)
    inputs, targets = batch("mlp")
    train(model, optimizer, inputs.double(), targets, steps=2)
    assert_zero(handle, optimizer)


def test_what_stays_outside_is_said():
    with pytest.warns(RuntimeWarning, match="of the weights stay dense"):
        prune(network("language model"))
    with pytest.warns(RuntimeWarning, match=r"leaves \d of 5 classes without a weight"):
        prune(network("mlp"), "uniform", 0.99)
