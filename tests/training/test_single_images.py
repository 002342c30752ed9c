"""A batch of one image is refused before training where batch norm cannot work, and only there."""

import pytest
import torch
from conftest import files_under, tiny

from randprune_core.models import build_model
from randprune_core.sweeps.run import load_or_train
from randprune_core.training import engine
from randprune_core.training.protocol import check_single_images

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("train_images", "batch_size"), [(201, 50), (201, 100), (3, 1), (1, 50), (101, 50)]
)
@pytest.mark.parametrize("ratio", ["erk", "snip"])
def test_a_single_last_image_is_refused_by_name_before_anything_is_trained(
    store, monkeypatch, train_images, batch_size, ratio
):
    monkeypatch.setattr(engine.Run, "step", lambda *_: pytest.fail("a step was trained"))
    config = tiny(
        model="vgg-11", train_images=train_images, batch_size=batch_size, ratio=ratio, sparsity=0.5
    )
    message = (
        rf"train_images {train_images} and batch_size {batch_size} .*'features\.\d+' of vgg-11"
    )
    with pytest.raises(ValueError, match=message):
        load_or_train(config, device="cpu", progress=False)
    assert [name for name in files_under(store) if name.endswith((".json", ".pt"))] == []


@pytest.mark.parametrize(("train_images", "batch_size"), [(200, 50), (202, 50), (203, 67)])
def test_batches_of_two_and_more_are_left_alone(store, train_images, batch_size):
    engine.Run(tiny(model="vgg-11", train_images=train_images, batch_size=batch_size), CPU)


def test_a_single_image_trains_where_batch_norm_sees_more_than_one_pixel(store):
    run = engine.Run(tiny(train_images=21, batch_size=10), CPU)
    run.start_epoch()
    run.finish_epoch()
    assert len(run.sizes) == 3 and run.sizes[-1] == 1


@pytest.mark.parametrize("side", [16, 20, 31, 32])
@pytest.mark.parametrize("name", ["vgg-11", "vgg-16", "resnet-8", "resnet-20-4"])
def test_it_is_refused_exactly_where_torch_fails(name, side):
    model = build_model(name)
    try:
        build_model(name).train()(torch.zeros(1, 3, side, side))
        fails = False
    except ValueError:
        fails = True
    modes = [module.training for module in model.modules()]
    if fails:
        with pytest.raises(ValueError, match="a batch of 1 image"):
            check_single_images(tiny(), model, [8, 1], side)
    else:
        check_single_images(tiny(), model, [8, 1], side)
    assert [module.training for module in model.modules()] == modes
    check_single_images(tiny(), model, [8, 2], side)
