"""Which runs belong to which profile."""

import pytest
import torch

from randprune_core.config import RunConfig, config_to_dict, run_id
from randprune_core.data.loading import Dataset
from randprune_core.sweeps.grids import grid
from randprune_core.sweeps.profiles import CONTROL, PROFILES, in_control, in_profile
from randprune_core.training.protocol import learning_rate


def test_in_profile_looks_at_the_schedule_and_not_at_the_variant():
    for profile in PROFILES:
        config = grid("depth", profile, variant="jpeg75")[0]
        others = set(PROFILES) - {profile}
        assert in_profile(config, profile) and in_profile(config_to_dict(config), profile)
        assert not any(in_profile(config, other) for other in others)
    assert not in_profile(RunConfig(precision="bfloat16", epochs=16), "paper")
    assert not in_profile(RunConfig(), "paper")  # float32
    assert in_profile(RunConfig(precision="bfloat16", lr=0.05), "paper")


def test_a_run_of_the_control_is_in_no_profile(store):
    configs = grid("control", "mini", variant="jpeg75")
    assert len({run_id(config) for config in configs}) == 24
    for config in configs:
        assert in_control(config) and in_control(config_to_dict(config))
        assert not any(in_profile(config, profile) for profile in PROFILES)
    for profile in PROFILES:
        assert not any(map(in_control, grid("depth", profile)))


def test_the_control_keeps_image_steps_and_the_falls_of_the_learning_rate():
    usual = grid("depth", "mini")[0]
    rates = [learning_rate(usual, epoch) for epoch in range(usual.epochs)]
    for amount in CONTROL:
        config = RunConfig(**config_to_dict(usual) | amount)
        assert config.train_images * config.epochs == usual.train_images * usual.epochs
        own = [learning_rate(config, epoch) for epoch in range(config.epochs)]
        for share in (0, 0.49, 0.5, 0.74, 0.75, 0.99):
            assert own[int(share * len(own))] == pytest.approx(rates[int(share * len(rates))])


def test_fewer_images_of_the_control_are_the_first_of_more():
    labels, none = torch.zeros(50_000), torch.empty(0)  # as many as CIFAR-10 has
    dataset = Dataset("cifar10", "original", "", "", 10, none, labels, none, none)
    for images in (2_500, 5_000, 10_000):
        training, validation = dataset.split(images)
        assert (training.start, training.stop) == (0, images)
        assert validation.stop == 50_000 and validation.stop - validation.start == images // 9
