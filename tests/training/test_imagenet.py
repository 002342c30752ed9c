"""ImageNet: the folder and its pictures, Table 1's recipe, and a run in one process."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import files_under
from two_processes import small

from randprune_core import __main__, datasets, maskable_weights, models, paths
from randprune_core.bookmaking import checks
from randprune_core.config import RunConfig, run_id
from randprune_core.data.imagenet import (
    Folder,
    Pictures,
    augmented,
    batches,
    load_folder,
    plain,
)
from randprune_core.pruning import masks
from randprune_core.pruning.ratios import layer_sparsities
from randprune_core.records.store import read_record
from randprune_core.seeds import generator
from randprune_core.sweeps.run import load_or_train
from randprune_core.training import protocol
from randprune_core.training.engine import TrainingFailed
from randprune_core.training.imagenet import ImageNetRun
from randprune_core.training.train import train

CPU = torch.device("cpu")


def chosen(*options: str) -> RunConfig:
    """The config of these options of `train --dataset imagenet`."""
    words = ["train", "--dataset", "imagenet", "--precision", "float32", *options]
    parsed = vars(__main__._parser().parse_args(words))
    values = {name: parsed[name] for name in parsed if name in RunConfig.__dataclass_fields__}
    return __main__._config(values, "cpu")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train_images": 40}, "trains on all 48 images"),
        ({"variant": "00000000"}, "variant '[0-9a-f]{8}', but '00000000' was asked for"),
        ({"batch_size": 64}, "batch_size 64 is more than the 48 images"),
        ({"method": "rigl"}, "method 'rigl' is not implemented for imagenet"),
        ({"when": "after", "epochs": 4}, "when 'after' is not implemented for imagenet"),
    ],
)
def test_a_run_that_cannot_be_is_refused_before_it_trains(folder, store, changes, said):
    with pytest.raises(ValueError, match=said):
        train(small(**changes), "cpu")
    assert files_under(store) == []


@pytest.mark.parametrize(
    ("ratio", "epochs", "falls"), [("dense", 90, (30, 60, 80)), ("erk", 100, (30, 60, 90))]
)
def test_the_rate_warms_up_for_five_epochs_and_falls_where_table_1_says(ratio, epochs, falls):
    sparsity = 0.0 if ratio == "dense" else 0.9
    common = protocol.imagenet_recipe(ratio)
    assert common["epochs"] == epochs
    config = RunConfig(dataset="imagenet", ratio=ratio, sparsity=sparsity, **common)
    rates = [protocol.learning_rate(config, epoch) for epoch in range(epochs)]
    assert rates[:5] == pytest.approx([0.08, 0.16, 0.24, 0.32, 0.4])
    changes = [epoch for epoch in range(5, epochs) if rates[epoch] != rates[epoch - 1]]
    assert tuple(changes) == falls
    assert [rates[epoch] for epoch in falls] == pytest.approx([0.04, 0.004, 0.0004])


def test_options_left_out_follow_the_recipe_and_given_ones_stay(folder):
    sparse = chosen("--ratio", "snip", "--sparsity", "0.9", "--batch-size", "16")
    wanted = {"model": "wide_resnet50_2", "epochs": 100, "lr": 0.4, "weight_decay": 1e-4}
    wanted |= {"batch_size": 16, "train_images": 48, "variant": Folder(folder, 32).variant}
    assert {name: getattr(sparse, name) for name in wanted} == wanted
    dense = chosen("--model", "resnet50", "--lr", "0.1")
    assert (dense.epochs, dense.lr, dense.batch_size) == (90, 0.1, 768)


@pytest.fixture
def unmeasured(monkeypatch, store):
    from randprune_core.training import imagenet

    monkeypatch.setattr(imagenet, "measure", lambda run: {"run": run, "data": {}})


def test_an_epoch_equals_a_plain_loop(folder, unmeasured):
    config = small(epochs=1)
    run = train(config, "cpu")["run"]
    found = load_folder("resnet-8")
    model = models.build_model("resnet-8-4", 3, 0)
    drawn = masks.random_masks(model, layer_sparsities("erk", model, 0.5), 0)
    masks.apply_masks(model, drawn)
    assert masks.mask_counts(run.masks) == masks.mask_counts(drawn)
    rate = {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
    optimizer = torch.optim.SGD(model.parameters(), **rate)
    draw = generator(0, "augmentation", 0)
    seeds = torch.randint(2**62, (48,), generator=draw)
    pictures = Pictures(found.train, augmented(32), seeds)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in datasets.DATASETS["imagenet"].normalization)
    losses = []
    for batch in protocol.epoch_order(config, 0).split(16):
        images, labels = (
            torch.stack(list(map(torch.as_tensor, part)))
            for part in zip(*(pictures[place] for place in batch.tolist()), strict=True)
        )
        loss = F.cross_entropy(model((images / 255 - mean) / std), labels, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        for name, weight in maskable_weights(model).items():
            weight.grad *= drawn[name]
        optimizer.step()
        losses.append(loss.item())
    assert run.history["train_loss"] == pytest.approx([np.mean(losses)], rel=1e-4)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(run.model.state_dict()[name], value, rtol=1e-3, atol=1e-4)


def test_snip_looks_at_the_first_batch_of_the_data_order(folder, store):
    config = small(ratio="snip", sparsity=0.8)
    run = ImageNetRun(config, CPU)
    found = load_folder("resnet-8")
    places = protocol.epoch_order(config, 0)[:16].tolist()
    images, labels = next(batches(Pictures(found.train, plain(32)), [places]))
    inputs = models.Normalization("imagenet")(images)
    model = models.build_model("resnet-8-4", 3, 0)
    wanted = layer_sparsities("snip", model, 0.8, inputs=inputs, targets=labels, chunk_size=64)
    for name, mask in masks.random_masks(model, wanted, 0).items():
        assert torch.equal(run.masks[name], mask)
    assert masks.mask_counts(run.masks) != masks.mask_counts(
        ImageNetRun(small(sparsity=0.8), CPU).masks
    )


def test_a_run_stores_a_whole_record_and_is_found_again(folder, store, capsys):
    config = small()
    words = ["train", "--dataset", "imagenet", "--model", "resnet-8-4", "--ratio", "erk"]
    words += ["--sparsity", "0.5", "--epochs", "2", "--batch-size", "16", "--lr", "0.05"]
    words += ["--weight-decay", "5e-4", "--precision", "float32", "--device", "cpu"]
    assert __main__.main(words) == 0
    path = paths.record_path("imagenet", run_id(config))
    assert capsys.readouterr().out.splitlines()[-1] == str(path)
    record = read_record(path)
    history = record["history"]
    assert history["train_loss"][1] < history["train_loss"][0]
    assert len(history["validation_accuracy"]) == 2 and history["label_smoothing"] == 0.1
    assert history["gradient_norm"]["epoch"] == pytest.approx(np.arange(1, 7) / 3, abs=1e-6)
    facts = {"classes": 3, "image_size": 32, "train": 48, "validation": 0, "test": 18}
    assert {name: record["provenance"]["data"][name] for name in facts} == facts
    assert record["provenance"]["processes"] == 1
    assert (record["test"]["n"], record["test"]["ood"]) == (18, {})
    assert "best_validation" not in record["test"]  # nothing may be selected on these images
    assert checks.check_records() == []
    assert load_or_train(config, device="cpu") == record
    assert [name for name in files_under(store) if name.startswith("checkpoints")] == []


def test_a_run_that_was_stopped_goes_on_to_the_same_result(folder, unmeasured, monkeypatch):
    config = small(epochs=3)
    whole = train(config, "cpu")["run"]
    real, seen = ImageNetRun.start_epoch, []

    def stop_at_the_third(run, *rest):
        seen.append(run.epoch)
        if seen == [0, 1, 2]:
            raise KeyboardInterrupt
        real(run, *rest)

    monkeypatch.setattr(ImageNetRun, "start_epoch", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        train(config, "cpu")
    resumed = train(config, "cpu")["run"]
    assert seen == [0, 1, 2, 2]
    assert resumed.history == whole.history
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value)
    masks.assert_masked(resumed.model, resumed.masks)
    assert not paths.checkpoint_path(run_id(config)).exists()


def test_a_loss_that_is_not_finite_fails_the_run(folder, unmeasured):
    with pytest.raises(TrainingFailed, match="the loss became"):
        train(small(lr=1e30), "cpu")
