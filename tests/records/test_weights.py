"""Networks and masks in files: whole and plain, with their config, and nothing else is taken."""

import json
import os
import re
import struct

import networks
import pytest
import torch
from conftest import tiny
from safetensors.torch import load_file, save_file
from torch import nn

from randprune_core import paths, prune, registry
from randprune_core.config import RunConfig
from randprune_core.metrics.predict import predict_logits
from randprune_core.models import build_model, register, with_normalization
from randprune_core.pruning.masks import apply_masks, random_masks
from randprune_core.pruning.ratios import layer_sparsities
from randprune_core.records import weights
from randprune_core.records.weights import (
    load_masks,
    load_network,
    save_masks,
    save_network,
    saved_config,
)
from randprune_core.sweeps.run import load_or_train
from randprune_core.training.train import fit


def pruned(name: str = "resnet-8", ratio: str = "erk", sparsity: float = 0.9, classes: int = 10):
    model = build_model(name, classes, seed=3)
    masks = random_masks(model, layer_sparsities(ratio, model, sparsity), seed=1)
    apply_masks(model, masks)
    return model, masks


def same(first: dict, second: dict) -> bool:
    return list(first) == list(second) and all(
        first[name].dtype == second[name].dtype and torch.equal(first[name], second[name])
        for name in first
    )


class Tied(nn.Module):
    """Two names for one weight, a buffer, and a weight in bfloat16."""

    def __init__(self, classes: int = 5):
        super().__init__()
        self.embedding = nn.Embedding(classes, 4)
        self.out = nn.Linear(4, classes, bias=False)
        self.out.weight = self.embedding.weight
        self.half = nn.Linear(4, 2).to(torch.bfloat16)
        self.register_buffer("count", torch.tensor(7))
        self.register_buffer("empty", torch.zeros(0, 3))


# --- what comes back -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet-8", "resnet-14-4", "vgg-11"])
@pytest.mark.parametrize("classes", [2, 10])
def test_a_network_comes_back_bit_for_bit_from_its_config(tmp_path, name, classes):
    model, _ = pruned(name, classes=classes)
    config = RunConfig(dataset="digits", model=name, ratio="erk", sparsity=0.9)
    save_network(model, tmp_path / "net", config)
    again = load_network(tmp_path / "net")
    assert same(again.state_dict(), model.state_dict()) and not again.training
    assert saved_config(tmp_path / "net") == config


@pytest.mark.parametrize(
    "make",
    [
        Tied,
        lambda: nn.LSTM(3, 4),
        lambda: nn.Conv3d(1, 2, 3),
        lambda: pruned()[0].to(memory_format=torch.channels_last),
        lambda: nn.DataParallel(nn.Linear(2, 3)),
        lambda: torch.compile(nn.Linear(2, 3), backend="eager"),
    ],
)
def test_any_network_comes_back_into_one_like_it(tmp_path, make):
    model, other = make(), make()
    save_network(model, tmp_path / "net")
    for value in other.state_dict().values():
        value.zero_()
    assert load_network(tmp_path / "net", other) is other
    assert same(dict(other.state_dict()), dict(model.state_dict()))
    assert saved_config(tmp_path / "net") is None
    with pytest.raises(ValueError, match="give the network as model="):
        load_network(tmp_path / "net")


def test_the_names_in_the_file_are_those_of_the_network_itself(tmp_path):
    plain = nn.Linear(2, 3)
    for wrapped in (plain, nn.DataParallel(plain), torch.compile(plain, backend="eager")):
        save_network(wrapped, tmp_path / "net")
        assert sorted(load_file(tmp_path / "net")) == ["bias", "weight"]


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.98])
def test_masks_come_back_with_their_config(tmp_path, sparsity):
    _, masks = pruned(ratio="uniform", sparsity=sparsity)
    config = tiny(sparsity=0.5)
    save_masks(masks, tmp_path / "masks", config)
    again = load_masks(tmp_path / "masks")
    assert same(again, masks)
    assert saved_config(tmp_path / "masks") == config
    save_masks(masks, tmp_path / "plain")
    assert saved_config(tmp_path / "plain") is None


def test_the_same_content_is_the_same_file(tmp_path):
    for number in range(3):
        save_network(pruned()[0], tmp_path / str(number), tiny())
    assert len({(tmp_path / str(number)).read_bytes() for number in range(3)}) == 1


def test_a_registered_network_comes_back_where_its_name_is_known(tmp_path, registering):
    register("small", small)
    model = build_model("small", 10, seed=5)
    save_network(model, tmp_path / "net", tiny(model="small"))
    assert same(load_network(tmp_path / "net").state_dict(), model.state_dict())
    registry.remove("model", "small")
    with pytest.raises(ValueError, match="unknown model 'small'"):
        load_network(tmp_path / "net")
    assert same(load_network(tmp_path / "net", small(10)).state_dict(), model.state_dict())
    assert saved_config(tmp_path / "net").model == "small"


def small(num_classes):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 14 * 14, num_classes))


# --- of a run --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A tiny run: its file, its record and the network of `fit`."""
    from conftest import redirect_store

    with pytest.MonkeyPatch.context() as monkeypatch:
        redirect_store(monkeypatch, tmp_path_factory.mktemp("kept"))
        file = paths.RESULTS / "erk.safetensors"
        record = load_or_train(tiny(), device="cpu", progress=False, save_weights=file)
        run = fit(tiny(), "cpu")
    return file, record, run


def test_a_run_keeps_its_last_network_and_its_record_is_that_of_any_run(kept, trained):
    file, record, run = kept
    assert record["test"] == trained.record["test"] and record["layers"] == trained.record["layers"]
    network = load_network(file)
    assert same(network.state_dict(), dict(run.model.state_dict()))
    assert saved_config(file) == tiny() and list(run.masks) == [n["name"] for n in record["layers"]]
    state = network.state_dict()
    assert all(bool((state[name][~mask] == 0).all()) for name, mask in run.masks.items())
    images, targets = run.dataset.test_images, run.dataset.test_labels
    logits = predict_logits(with_normalization(network, "digits"), images)
    right = (logits.argmax(1) == targets).double().mean().item()
    assert right == pytest.approx(record["test"]["accuracy"])


def test_the_two_lines_of_the_readme_load_it_in_plain_pytorch(kept, tmp_path, monkeypatch):
    text = (paths.ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^.*safetensors\.torch.*$|^model\.load_state_dict\(.*$", text, re.M)
    assert len(lines) == 2
    monkeypatch.chdir(tmp_path)
    (tmp_path / "erk.safetensors").write_bytes(kept[0].read_bytes())
    space = {"model": build_model("resnet-8", 10, seed=9)}
    exec("\n".join(lines), space)
    assert same(space["model"].state_dict(), dict(kept[2].model.state_dict()))


def test_the_readme_trains_keeps_and_evaluates_a_network(store, tmp_path, monkeypatch):
    text = (paths.ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = (b for b in re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S) if "fit(" in b)
    monkeypatch.chdir(tmp_path)
    said = []
    exec(block.replace("epochs=4", "epochs=1"), {"print": said.append})
    (table,) = said
    assert set(table.metric) == {"accuracy", "nll", "ece"} and len(table) == 15
    assert saved_config(tmp_path / "erk.safetensors").ratio == "erk"


def test_a_recorded_run_is_trained_once_more_for_its_network(kept, store, trained, capsys):
    path = paths.record_path("digits", trained.record["run_id"])
    path.parent.mkdir(parents=True)
    path.write_text(trained.text)
    file = store / "deep" / "net"
    record = load_or_train(tiny(), device="cpu", progress=False, save_weights=file)
    assert record["run_id"] == trained.record["run_id"] and path.read_text() == trained.text
    assert file.read_bytes() == kept[0].read_bytes()
    assert "trained once more for its network" in capsys.readouterr().err


def test_where_no_file_can_be_written_nothing_is_trained(store, tmp_path, monkeypatch):
    from randprune_core.training import train as train_module

    monkeypatch.setattr(train_module, "train", None)
    (tmp_path / "file").write_text("")
    for wrong in (tmp_path, tmp_path / "file" / "net"):
        with pytest.raises((ValueError, OSError)) as caught:
            load_or_train(tiny(), device="cpu", save_weights=wrong)
        assert "\n" not in str(caught.value)


# --- what is refused -------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path):
    save_network(pruned()[0], tmp_path / "net", tiny())
    return tmp_path / "net"


def refused(path, load=load_network) -> str:
    with pytest.raises(ValueError) as caught:
        load(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and len(message) < 400
    return message


def test_a_file_with_any_byte_changed_or_cut_is_refused(file, survived):
    whole = file.read_bytes()
    places = [*range(0, 40), *range(40, len(whole), len(whole) // 60), len(whole) - 1]
    for place in places:
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        refused(file)
    for length in (0, 7, 8, 100, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        refused(file)
    file.write_bytes(whole + b"more")
    refused(file)
    survived(len(places) + 7)


def test_foreign_and_hostile_files_are_refused(tmp_path):
    path = tmp_path / "net"
    marker = tmp_path / "marker"

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {marker}",)

    torch.save({"weight": Evil()}, path)
    refused(path)
    assert not marker.exists()
    header = json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}})
    for content in (
        b"",
        b"not a network",
        struct.pack("<Q", 2**60) + b"{}",
        struct.pack("<Q", len(header)) + header.encode(),
        struct.pack("<Q", 100_000) + b'{"a":' * 20_000,
    ):
        path.write_bytes(content)
        refused(path)
    save_file({"weight": torch.zeros(2)}, path)
    assert "was not written by save_network" in refused(path)
    save_file({"weight": torch.zeros(2)}, path, {"randprune": "[1, 2]"})
    refused(path)
    refused(tmp_path / "absent")
    refused(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    assert "no regular file" in refused(tmp_path / "fifo")


@pytest.mark.parametrize("names", [None, [], ["weight", "more"], "weight", [["weight"]], {}])
def test_a_list_of_names_that_does_not_fit_is_refused_though_its_hash_is_right(tmp_path, names):
    tensors = {"weight": torch.zeros(2)}
    about = {"form": weights._FORM, "kind": "network", "config": None, "names": names}
    about["sha256"] = weights._digest(about, tensors)
    save_file(tensors, tmp_path / "net", {weights._KEY: json.dumps(about)})
    assert "it is damaged or was changed" in refused(tmp_path / "net")


def test_a_network_is_no_masks_and_masks_are_no_network(file, tmp_path):
    save_masks(pruned()[1], tmp_path / "masks")
    assert "holds a network, not masks" in refused(file, load_masks)
    assert "holds masks, not a network" in refused(tmp_path / "masks")


@pytest.mark.parametrize("model", ["resnet-2000-70", "resnet-14", "resnet-8-17"])
def test_a_network_of_another_size_than_its_config_is_refused_unbuilt(tmp_path, model):
    save_network(pruned()[0], tmp_path / "net", tiny(model=model))
    assert "does not fit the network" in refused(tmp_path / "net")


def test_a_network_that_does_not_fit_the_given_one_is_refused_and_changes_nothing(file):
    for model in (build_model("resnet-8-8"), build_model("resnet-14"), nn.Linear(2, 3)):
        before = {name: value.clone() for name, value in model.state_dict().items()}
        message = refused(file, lambda path, model=model: load_network(path, model))
        assert "does not fit the network" in message and same(model.state_dict(), before)


def test_what_is_no_mask_or_tensor_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="must be bool"):
        save_masks({"a": torch.zeros(3)}, tmp_path / "masks")

    class Extra(nn.Linear):
        def get_extra_state(self):
            return {"a": 1}

    with pytest.raises(ValueError, match="_extra_state"):
        save_network(Extra(2, 3), tmp_path / "net")
    with pytest.raises(ValueError):
        save_masks({"a": torch.ones(3, dtype=torch.bool).to_sparse()}, tmp_path / "masks")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:.*of the weights stay dense:RuntimeWarning")
@pytest.mark.parametrize("name", networks.NETWORKS)
def test_masks_and_weights_of_any_network_come_back(name, tmp_path):
    model = networks.network(name)
    handle = prune(model, "erk", 0.8)
    save_masks(handle.masks, tmp_path / "masks.safetensors")
    save_network(model, tmp_path / "network.safetensors")
    assert same(load_masks(tmp_path / "masks.safetensors"), handle.masks)
    other = load_network(tmp_path / "network.safetensors", networks.network(name, seed=1))
    inputs, _ = networks.batch(name)
    assert torch.equal(other(inputs), model.eval()(inputs))
    assert prune(other, "erk", 0.8).masks.keys() == handle.masks.keys()
