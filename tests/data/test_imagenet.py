"""ImageNet's folder: what is wrong with it is named, its pictures follow their seeds."""

import shutil
from pathlib import Path

import pytest
import torch
from conftest import files_under

from randprune_core import __main__
from randprune_core.data import imagenet
from randprune_core.data.files import DataError
from randprune_core.data.imagenet import (
    Folder,
    Pictures,
    augmented,
    batches,
    load_folder,
    plain,
)


def test_a_missing_folder_is_one_line_that_says_where_it_looked(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RANDPRUNE_DATA", str(tmp_path))
    assert __main__.main(["train", "--dataset", "imagenet"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "RANDPRUNE_DATA" in error
    for part in ("train", "val"):
        assert str(tmp_path / "imagenet" / part) in error
    assert files_under(tmp_path) == []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda root: shutil.rmtree(root / "val"), "val, each with a folder of pictures"),
        (lambda root: shutil.rmtree(root / "val" / "class1"), "only one of them has class1"),
        (
            lambda root: [p.unlink() for p in (root / "val/class2").iterdir()],
            "at least one picture",
        ),
        (
            lambda root: (
                [p.rename(root / "val" / p.name) for p in (root / "val").glob("*/*")]
                and [p.rmdir() for p in (root / "val").glob("class*")]
            ),
            "val needs one folder for each class",
        ),
    ],
    ids=["no val", "a class missing", "an empty class", "no class folders"],
)
def test_a_folder_that_cannot_be_used_says_what_is_wrong(folder, spoil, said):
    spoil(folder)
    with pytest.raises(DataError, match=said):
        Folder(folder, 32)


@pytest.mark.parametrize("decoders", [False, True], ids=["in this process", "in another"])
@pytest.mark.parametrize("content", [b"", b"no picture", "half"])
def test_a_damaged_picture_is_named_in_one_line(folder, monkeypatch, content, decoders):
    path = folder / "train" / "class1" / "3.JPEG"
    path.write_bytes(path.read_bytes()[:400] if content == "half" else content)
    if decoders:
        monkeypatch.setattr(imagenet, "_IN_THIS_PROCESS", 0)
    found = Folder(folder, 32)
    with pytest.raises(DataError) as error:
        list(batches(Pictures(found.train, plain(32)), [[0, 1], list(range(2, 48))]))
    assert str(error.value).startswith(f"imagenet: {path} is damaged")
    assert "\n" not in str(error.value)


def test_the_variant_follows_names_and_sizes_and_only_the_right_counts_are_the_original(
    folder, monkeypatch
):
    first = Folder(folder, 32)
    assert (first.num_classes, len(first.train), len(first.val)) == (3, 48, 18)
    assert first.variant == first.fingerprint[:8]
    (folder / "val" / "class0" / "0.JPEG").write_bytes(b"longer" * 1_000)
    assert Folder(folder, 32).variant != first.variant
    monkeypatch.setattr(imagenet, "ILSVRC_2012", {"classes": 3, "train": 48, "val": 18})
    assert Folder(folder, 32).variant == "original"


@pytest.mark.parametrize(("model", "side"), [("resnet-20", 32), ("wide_resnet50_2", 224)])
def test_networks_see_images_of_their_size(folder, model, side):
    found = load_folder(model)
    assert found.test_images.shape == (18, 3, side, side)
    assert found.test_images.dtype == torch.uint8
    assert torch.equal(found.test_labels, torch.arange(3).repeat(6))  # any part has all classes
    assert [Path(path).parent.name[-1] for path, _ in found.val] == ["0", "1", "2"] * 6
    assert len({path for path, _ in found.val}) == 18


def test_augmentation_follows_the_seeds_alone_and_leaves_the_global_generator(folder, monkeypatch):
    found = Folder(folder, 32)
    seeds = torch.arange(48)
    pictures = Pictures(found.train, augmented(32), seeds)
    before = torch.get_rng_state()
    images, labels = next(batches(pictures, [[5, 20, 40]]))
    assert torch.equal(torch.get_rng_state(), before)
    assert images.shape == (3, 3, 32, 32) and labels.tolist() == [0, 1, 2]
    torch.manual_seed(9)
    monkeypatch.setattr(imagenet, "_IN_THIS_PROCESS", 0)  # decoded elsewhere, in another order
    repeated = torch.cat([batch for batch, _ in batches(pictures, [[40], [20], [5]])])
    assert torch.equal(repeated.flip(0), images)
    other = Pictures(found.train, augmented(32), seeds + 1)
    assert not torch.equal(next(batches(other, [[5, 20, 40]]))[0], images)
