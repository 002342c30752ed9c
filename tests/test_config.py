"""RunConfig: what is refused and how, and the run id."""

import dataclasses
import hashlib
import json
import math

import numpy as np
import pytest

from randprune_core.config import (
    LATER_FIELDS,
    RATIOS,
    RunConfig,
    check_sparsity,
    config_from_dict,
    config_to_dict,
    image_side,
    parse_granularity,
    parse_model_name,
    run_id,
)
from randprune_core.datasets import DATASETS


def refusal(**values) -> str:
    with pytest.raises(ValueError) as caught:
        RunConfig(**values)
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"ratio": "erk", "sparsity": 1.0}, ["sparsity", "1.0", "[0, 1)"]),
        ({"ratio": "erk", "sparsity": 1}, ["sparsity", "1", "[0, 1)"]),
        ({"ratio": "erk", "sparsity": -0.1}, ["sparsity", "-0.1", "[0, 1)"]),
        ({"ratio": "erk", "sparsity": math.nan}, ["sparsity", "nan", "[0, 1)"]),
        ({"ratio": "erk", "sparsity": math.inf}, ["sparsity", "inf", "[0, 1)"]),
        ({"ratio": "erk", "sparsity": "0.9"}, ["sparsity", "'0.9'", "float"]),
        ({"ratio": "erk", "sparsity": None}, ["sparsity", "None", "float"]),
        ({"ratio": "erk", "sparsity": True}, ["sparsity", "True", "float"]),
        ({"ratio": "erkk"}, ["ratio", "'erkk'", *RATIOS]),
        ({"ratio": "ERK"}, ["ratio", "'ERK'", *RATIOS]),
        ({"ratio": ["erk"]}, ["ratio", "['erk']", "str"]),
        ({"dataset": "cifar11"}, ["dataset", "'cifar11'", *DATASETS]),
        ({"variant": "jpeg90"}, ["variant", "'jpeg90'", "original", "jpeg75"]),
        ({"variant": "0123456"}, ["variant", "'0123456'", "8 hex digits"]),
        ({"variant": "ABCDEF01"}, ["variant", "'ABCDEF01'", "8 hex digits"]),
        ({"model": "resnet-21"}, ["'resnet-21'", "6n+2", "20", "32"]),
        ({"model": "resnet-2"}, ["'resnet-2'", "6n+2"]),
        ({"model": "resnet-20-0"}, ["'resnet-20-0'", "filter"]),
        ({"model": "resnet-20-16-2"}, ["'resnet-20-16-2'", "resnet-DEPTH", "vgg-16"]),
        ({"model": "ResNet-20"}, ["'ResNet-20'", "resnet-DEPTH"]),
        ({"model": "vgg-12"}, ["'vgg-12'", "vgg-11", "vgg-19", "wide_resnet50_2"]),
        ({"model": ""}, ["''", "resnet-DEPTH"]),
        ({"granularity": "4:2"}, ["granularity", "'4:2'", "unstructured", "filter", "n:m"]),
        ({"granularity": "0:4"}, ["granularity", "'0:4'", "0 < n < m"]),
        ({"granularity": "block"}, ["granularity", "'block'", "unstructured"]),
        ({"mask_source": "mine"}, ["mask_source", "'mine'", "random", "own"]),
        ({"method": "genetic"}, ["method", "'genetic'", "static"]),
        ({"when": "never"}, ["when", "'never'", "before"]),
        ({"precision": "float16"}, ["precision", "'float16'", "float32", "bfloat16"]),
        ({"epochs": 0}, ["epochs", "0", "at least 1"]),
        ({"epochs": 1.5}, ["epochs", "1.5", "int"]),
        ({"epochs": True}, ["epochs", "True", "int"]),
        ({"train_images": 0}, ["train_images", "0", "at least 1"]),
        ({"batch_size": -1}, ["batch_size", "-1", "at least 1"]),
        ({"lr": 0.0}, ["lr", "0.0", "positive"]),
        ({"lr": -1.0}, ["lr", "-1.0", "positive"]),
        ({"lr": math.nan}, ["lr", "nan", "positive"]),
        ({"lr": math.inf}, ["lr", "inf", "positive"]),
        ({"lr": "0.1"}, ["lr", "'0.1'", "float"]),
        ({"momentum": 1.0}, ["momentum", "1.0", "[0, 1)"]),
        ({"momentum": math.nan}, ["momentum", "nan", "[0, 1)"]),
        ({"weight_decay": -1e-4}, ["weight_decay", "-0.0001", "positive"]),
        ({"weight_decay": math.inf}, ["weight_decay", "inf", "positive"]),
        ({"nesterov": 1}, ["nesterov", "1", "bool"]),
        ({"seed_init": -1}, ["seed_init", "-1", "[0, 2**32)"]),
        ({"seed_mask": 2**32}, ["seed_mask", str(2**32), "[0, 2**32)"]),
        ({"seed_data": 0.5}, ["seed_data", "0.5", "int"]),
        ({"ratio": "dense", "sparsity": 0.5}, ["dense", "0.5", "erk"]),
        ({"ratio": "erk", "mask_source": "own"}, ["own", "'erk'", "snip or grasp"]),
        ({"mask_source": "own"}, ["own", "'dense'", "snip or grasp"]),
        (
            {"ratio": "snip", "sparsity": 0.5, "mask_source": "own", "granularity": "2:4"},
            ["own", "'2:4'", "random"],
        ),
        ({"momentum": 0.0}, ["nesterov", "momentum"]),
    ],
)
def test_a_value_that_is_not_allowed_is_named_in_one_line_with_what_is(values, said):
    message = refusal(**values)
    assert "\n" not in message
    for part in said:
        assert part in message


def test_an_unknown_field_is_refused():
    with pytest.raises(TypeError, match="colour"):
        RunConfig(colour="red")


@pytest.mark.parametrize("value", [1.0, -0.1, math.nan, "x", None, "1.0"])
def test_check_sparsity_names_what_it_refuses(value):
    with pytest.raises(ValueError) as caught:
        check_sparsity(value)
    assert repr(value) in str(caught.value) and "[0, 1)" in str(caught.value)


def test_check_sparsity_takes_the_edges_of_the_range():
    assert check_sparsity(0) == 0.0
    assert check_sparsity(math.nextafter(1, 0)) < 1


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("resnet-8", ("resnet", 8, 16)),
        ("resnet-110", ("resnet", 110, 16)),
        ("resnet-20-8", ("resnet", 20, 8)),
        ("vgg-19", ("vgg", 19, 64)),
        ("resnet50", ("resnet50", 50, 64)),
        ("wide_resnet50_2", ("wide_resnet50_2", 50, 64)),
    ],
)
def test_parse_model_name_reads_depth_and_width(name, parts):
    assert parse_model_name(name) == parts


def test_parse_granularity_gives_the_group_of_n_m_only():
    assert parse_granularity("unstructured") is parse_granularity("filter") is None
    assert parse_granularity("2:4") == (2, 4)
    assert parse_granularity("4:8") == (4, 8)


def test_two_names_of_one_network_are_one_run():
    for name in ("resnet-20-16", "resnet-020"):
        config = RunConfig(model=name)
        assert config.model == "resnet-20"
        assert config == RunConfig() and run_id(config) == run_id(RunConfig())
    assert RunConfig(model="resnet-20-8").model == "resnet-20-8"


def test_whole_numbers_and_numpy_scalars_are_the_same_run_as_floats():
    plain = RunConfig(ratio="erk", sparsity=0.5, lr=1.0, epochs=3)
    for sparsity, lr, epochs in [(np.float64(0.5), 1, np.int64(3)), (np.float32(0.5), 1.0, 3)]:
        config = RunConfig(ratio="erk", sparsity=sparsity, lr=lr, epochs=epochs)
        assert config == plain and run_id(config) == run_id(plain)
        assert type(config.sparsity) is type(config.lr) is float and type(config.epochs) is int
        json.dumps(config_to_dict(config))


def test_the_defaults_are_the_papers_protocol_and_never_change():
    assert config_to_dict(RunConfig()) == {
        "dataset": "cifar10",
        "variant": "original",
        "model": "resnet-20",
        "ratio": "dense",
        "sparsity": 0.0,
        "mask_source": "random",
        "granularity": "unstructured",
        "method": "static",
        "when": "before",
        "epochs": 160,
        "train_images": 45_000,
        "image_size": None,
        "batch_size": 128,
        "lr": 0.1,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 5e-4,
        "precision": "float32",
        "seed_init": 0,
        "seed_mask": 0,
        "seed_data": 0,
    }


def test_run_id_is_pinned():
    assert run_id(RunConfig()) == "44136fa355b3"  # sha256 of {}
    text = '{"dataset":"cifar100","ratio":"erk","sparsity":0.9}'
    expected = hashlib.sha256(text.encode()).hexdigest()[:12]
    assert run_id(RunConfig(sparsity=0.9, dataset="cifar100", ratio="erk")) == expected


def test_images_that_are_left_out_are_those_of_the_data_set():
    digits = RunConfig(dataset="digits", ratio="erk", sparsity=0.9)
    assert digits.train_images == DATASETS["digits"].train_images
    assert RunConfig(dataset="digits", train_images=45_000).train_images == 45_000
    assert RunConfig(dataset="cifar100") == RunConfig(dataset="cifar100", train_images=45_000)
    assert dataclasses.replace(digits, epochs=1).train_images == digits.train_images


def test_a_ratio_needs_a_sparsity_and_dense_needs_none():
    for ratio in set(RATIOS) - {"dense"}:
        for given in ({}, {"sparsity": 0.0}, {"sparsity": 1e-10}):
            message = refusal(ratio=ratio, **given)
            assert f"ratio {ratio} needs a sparsity above 0" in message and "\n" not in message
    assert RunConfig(ratio="dense").sparsity == 0.0


def test_numbers_that_mean_the_same_sparsity_are_the_same_run():
    def of(sparsity):
        return RunConfig(ratio="erk", sparsity=sparsity)

    for kind in (np.float16, np.float32, np.float64, np.longdouble):
        assert of(kind(0.9)) == of(0.9) and type(of(kind(0.9)).sparsity) is float
    steps = np.arange(0.1, 1, 0.1)
    typed = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert list(steps) != typed
    assert [of(step).sparsity for step in steps] == typed
    assert [of(step).sparsity for step in steps.astype(np.float32)] == typed
    assert run_id(of(0.1 + 0.2)) == run_id(of(0.3))
    assert of(0.123456789).sparsity == 0.123456789
    assert RunConfig(lr=np.float32(0.1)) == RunConfig()


def test_the_range_is_that_of_the_rounded_sparsity():
    for almost_one in (math.nextafter(1, 0), 0.99999999999):
        assert "sparsity 1.0 is not in [0, 1)" in refusal(ratio="erk", sparsity=almost_one)
    assert RunConfig(sparsity=-1e-12).sparsity == 0.0
    assert check_sparsity(np.float32(0.9)) == 0.9


def test_run_id_ignores_defaults_that_are_spelt_out_and_their_order():
    defaults = dataclasses.asdict(RunConfig())
    backwards = dict(reversed(defaults.items()))
    assert run_id(RunConfig(**defaults)) == run_id(RunConfig(**backwards)) == "44136fa355b3"


def test_every_field_changes_the_run_id():
    changed = {
        "dataset": "digits",
        "variant": "jpeg75",
        "model": "resnet-32",
        "ratio": "erk",
        "sparsity": 0.5,
        "mask_source": "own",
        "granularity": "filter",
        "method": "set",
        "when": "after",
        "epochs": 80,
        "train_images": 1,
        "image_size": 16,
        "batch_size": 1,
        "lr": 1.0,
        "momentum": 0.5,
        "nesterov": False,
        "weight_decay": 0.0,
        "precision": "bfloat16",
        "seed_init": 1,
        "seed_mask": 1,
        "seed_data": 1,
    }
    assert set(changed) == {f.name for f in dataclasses.fields(RunConfig)} - {"code"}
    base = {"ratio": "snip", "sparsity": 0.9}
    ids = {run_id(RunConfig(**{**base, name: value})) for name, value in changed.items()}
    assert len(ids | {run_id(RunConfig(**base))}) == len(changed) + 1


def test_a_config_survives_the_way_through_json():
    config = RunConfig(model="vgg-16", ratio="snip", sparsity=0.95, seed_mask=7, nesterov=False)
    read = config_from_dict(json.loads(json.dumps(config_to_dict(config))))
    assert read == config and run_id(read) == run_id(config)


def test_config_from_dict_names_missing_and_unknown_fields():
    values = config_to_dict(RunConfig())
    del values["lr"]
    with pytest.raises(ValueError, match="colour, lr"):
        config_from_dict({**values, "colour": "red"})


@pytest.mark.parametrize("size", [0, 7, 12, 33, 64, -1, math.nan, 16.0, True, "16"])
@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_a_size_that_cifar_cannot_be_reduced_to_is_refused(dataset, size):
    message = refusal(dataset=dataset, image_size=size)
    assert f"image_size {size!r}" in message and "8 or 16 or 32" in message
    assert "\n" not in message


@pytest.mark.parametrize(("dataset", "own"), [("digits", 16), ("imagenet", 224)])
def test_digits_and_imagenet_have_one_size_only(dataset, own):
    model = {"model": "resnet50"} if dataset == "imagenet" else {}
    for size in (8, 32, 0, math.nan):
        assert f"give {own} pixels" in refusal(dataset=dataset, image_size=size, **model)
    config = RunConfig(dataset=dataset, image_size=own, **model)
    assert config.image_size is None and config == RunConfig(dataset=dataset, **model)


def test_the_data_sets_own_size_is_the_same_run_as_no_size():
    for size in (32, np.int64(32), None):
        assert run_id(RunConfig(image_size=size)) == "44136fa355b3"
    small = RunConfig(image_size=np.int32(16))
    assert type(small.image_size) is int and image_side(vars(small)) == 16
    text = '{"image_size":16}'
    assert run_id(small) == hashlib.sha256(text.encode()).hexdigest()[:12]


def test_a_config_from_before_a_field_existed_has_its_default():
    values = config_to_dict(RunConfig(ratio="erk", sparsity=0.5))
    for name in LATER_FIELDS:
        older = {key: value for key, value in values.items() if key != name}
        assert config_from_dict(older) == RunConfig(ratio="erk", sparsity=0.5)
    with pytest.raises(ValueError, match="do not match RunConfig: epochs"):
        config_from_dict({key: value for key, value in values.items() if key != "epochs"})


def test_a_config_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RunConfig().epochs = 3
