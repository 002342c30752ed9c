"""Data: damaged and missing sources first, then what a batch of images looks like."""

import hashlib
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import files_under, picture, write_parquet

from randprune_core import paths
from randprune_core.data import files, loading, torchvision_files
from randprune_core.data.augment import augment
from randprune_core.data.files import DataError, available_variant
from randprune_core.data.loading import Dataset, downsample, load_dataset, load_ood_images
from randprune_core.datasets import DATASETS, padding


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """torchvision's downloads fail as they do without a network; some tests replace that."""
    from torchvision.datasets import CIFAR10

    def no_network(self):
        raise OSError("<urlopen error no route to host>")

    monkeypatch.setattr(CIFAR10, "download", no_network)  # CIFAR100 inherits it
    yield
    loading._load.cache_clear()
    loading._test_images.cache_clear()


@pytest.fixture
def known_copy(cifar_folder, monkeypatch):
    """The made-up folder as a copy that is known by the name of jpeg75."""
    for name in ("cifar10", "cifar100"):
        prints = tuple(fingerprint(cifar_folder, name, split) for split in ("train", "test"))
        monkeypatch.setitem(files.KNOWN_COPIES, name, {"jpeg75": prints})
    return cifar_folder


def fingerprint(made, name, split) -> str:
    labels = np.asarray(made.labels[name, split], dtype="<i8").tobytes()
    return hashlib.sha256(b"".join(made.encoded[name, split]) + labels).hexdigest()


def refusal(name="cifar10", **options) -> str:
    with pytest.raises(DataError) as caught:
        load_dataset(name, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- nothing there, or the wrong thing -------------------------------------------------------


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_missing_data_says_where_it_looked_and_what_to_do(tmp_path, monkeypatch, name):
    for folder in ("empty", "not there"):
        root = tmp_path / folder
        monkeypatch.setenv("RANDPRUNE_DATA", str(root))
        if folder == "empty":
            root.mkdir()
        message = refusal(name)
        assert str(root) in message and "RANDPRUNE_DATA" in message
        assert f"{name}/**/train-*.parquet" in message
        with pytest.raises(DataError, match="was not found"):
            available_variant(name, download=False)
        assert files_under(tmp_path) == []


@pytest.mark.parametrize("name", ["imagenet", "mnist"])
def test_an_unknown_data_set_is_named_with_the_known_ones(name):
    with pytest.raises(DataError, match=f"'{name}'.*digits, cifar10, cifar100"):
        load_dataset(name)


def test_a_data_error_is_a_value_error():
    assert issubclass(DataError, ValueError)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("left", [0.0, 0.5, 0.999])
def test_a_truncated_parquet_file_is_named(cifar_folder, split, left):
    path = cifar_folder.path["cifar10", split]
    content = path.read_bytes()
    path.write_bytes(content[: int(left * len(content))])
    message = refusal()
    assert str(path) in message and "fetch it again" in message


@pytest.mark.parametrize(("there", "lacking"), [("train", "test"), ("test", "train")])
def test_a_missing_split_is_named(cifar_folder, there, lacking):
    cifar_folder.path["cifar10", lacking].unlink()
    message = refusal()
    assert f"a {there} file but no {lacking}-*.parquet" in message


def test_a_parquet_file_with_other_columns_is_named(cifar_folder):
    path = cifar_folder.path["cifar10", "train"]
    write_parquet(path, cifar_folder.encoded["cifar10", "train"], [0] * 200, "fine_label")
    message = refusal()
    assert str(path) in message and "img and label" in message


def test_a_parquet_file_whose_pictures_are_no_structs_is_named(cifar_folder):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = cifar_folder.path["cifar10", "test"]
    pq.write_table(pa.table({"img": [b"x", b"y"], "label": [0, 1]}), path)
    assert str(path) in refusal()
    pq.write_table(pa.table({"img": [{"bytes": b"x"}], "label": ["cat"]}), path)
    assert str(path) in refusal()


def test_a_picture_without_bytes_is_refused(cifar_folder):
    path = cifar_folder.path["cifar10", "test"]
    write_parquet(path, [*cifar_folder.encoded["cifar10", "test"][:-1], None], [0] * 50, "label")
    message = refusal()
    assert str(path) in message and "no bytes" in message


def rewritten(made, images=None, labels=None) -> None:
    key = ("cifar10", "train")
    made.encoded[key] = made.encoded[key] if images is None else images
    made.labels[key] = made.labels[key] if labels is None else labels
    write_parquet(made.path[key], made.encoded[key], made.labels[key], "label")


@pytest.mark.filterwarnings("ignore:cifar10 in .* is no known copy")
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_damaged_picture_is_named_by_its_position(cifar_folder, form):
    images = cifar_folder.encoded["cifar10", "train"]
    whole = picture(cifar_folder.pixels["cifar10", "train"][7], form)
    rewritten(cifar_folder, images=[*images[:7], whole[: len(whole) // 2], *images[8:]])
    assert "cifar10 train: image 7 is damaged" in refusal()


@pytest.mark.filterwarnings("ignore:cifar10 in .* is no known copy")
@pytest.mark.parametrize("encoded", [b"", b"not a picture", b"GIF89a" + b"\0" * 20])
def test_bytes_that_are_no_png_or_jpeg_are_refused(cifar_folder, encoded):
    images = cifar_folder.encoded["cifar10", "train"]
    rewritten(cifar_folder, images=[encoded, *images[1:]])
    assert "cifar10 train: image 0 is damaged" in refusal()


@pytest.mark.filterwarnings("ignore:cifar10 in .* is no known copy")
def test_a_picture_of_another_size_is_refused(cifar_folder):
    images = cifar_folder.encoded["cifar10", "train"]
    small = picture(np.zeros((16, 32, 3), np.uint8))
    rewritten(cifar_folder, images=[*images[:-1], small])
    assert "image 199 is damaged (its size is (32, 16), not (32, 32))" in refusal()


@pytest.mark.filterwarnings("ignore:cifar10 in .* is no known copy")
@pytest.mark.parametrize("label", [10, -1])
def test_a_label_outside_the_classes_is_refused(cifar_folder, label):
    labels = cifar_folder.labels["cifar10", "train"].copy()
    labels[3] = label
    rewritten(cifar_folder, labels=labels)
    message = refusal()
    assert "cifar10 train" in message and "[0, 10)" in message


@pytest.mark.filterwarnings("ignore:cifar10 in .* is no known copy")
def test_a_split_without_images_is_refused(cifar_folder):
    rewritten(cifar_folder, images=[], labels=[])
    assert "cifar10 train" in refusal()


@pytest.mark.parametrize("damaged", ["train", "test"])
def test_a_known_copy_with_one_damaged_file_is_refused(known_copy, damaged):
    key = ("cifar10", damaged)
    labels = known_copy.labels[key].copy()
    labels[0] = 5
    write_parquet(known_copy.path[key], known_copy.encoded[key], labels, "label")
    message = refusal()
    assert f"its {damaged} file is damaged" in message and "'jpeg75'" in message


def test_another_copy_than_the_one_asked_for_is_refused(known_copy):
    message = refusal(variant="original")
    assert "'jpeg75'" in message and "'original'" in message and str(known_copy.root) in message


# --- what is read ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_parquet_files_are_read_pixel_for_pixel(known_copy, name):
    dataset = load_dataset(name, "jpeg75")
    assert (dataset.name, dataset.source, dataset.variant) == (name, "parquet", "jpeg75")
    assert dataset.num_classes == DATASETS[name].classes
    for split in ("train", "test"):
        images = getattr(dataset, f"{split}_images")
        assert images.dtype == torch.uint8
        assert images.is_contiguous(memory_format=torch.channels_last)
        expected = known_copy.pixels[name, split].transpose(0, 3, 1, 2)
        assert np.array_equal(images.numpy(), expected)
        labels = getattr(dataset, f"{split}_labels")
        assert labels.dtype == torch.int64
        assert labels.tolist() == known_copy.labels[name, split].tolist()


def test_a_split_may_come_in_several_files(known_copy):
    key = ("cifar10", "train")
    images, labels = known_copy.encoded[key], known_copy.labels[key]
    known_copy.path[key].unlink()
    for part, place in enumerate((slice(0, 120), slice(120, 200))):
        path = known_copy.path[key].with_name(f"train-0000{part}-of-00002.parquet")
        write_parquet(path, images[place], labels[place], "label")
    assert load_dataset("cifar10").variant == "jpeg75"


def test_the_fingerprint_is_over_the_encoded_bytes_and_not_over_pixels(cifar_folder):
    with pytest.warns(UserWarning, match="no known copy"):
        first = load_dataset("cifar10")
    loading._load.cache_clear()
    prints = [fingerprint(cifar_folder, "cifar10", split) for split in ("train", "test")]
    assert first.fingerprint == hashlib.sha256("".join(prints).encode()).hexdigest()
    images = list(cifar_folder.encoded["cifar10", "train"])
    images[0] += b"trailing bytes change no pixel"
    rewritten(cifar_folder, images=images)
    with pytest.warns(UserWarning, match="no known copy"):
        second = load_dataset("cifar10")
    assert torch.equal(first.train_images, second.train_images)
    assert first.fingerprint != second.fingerprint and first.variant != second.variant


def test_an_unknown_copy_is_used_with_a_warning_and_named_by_its_fingerprint(cifar_folder):
    with pytest.warns(UserWarning, match="no known copy") as caught:
        dataset = load_dataset("cifar10")
    assert dataset.variant == dataset.fingerprint[:8] and len(dataset.fingerprint) == 64
    assert dataset.variant in str(caught[0].message) and str(cifar_folder.root) in str(
        caught[0].message
    )
    with pytest.warns(UserWarning, match="no known copy"):
        assert available_variant("cifar10") == dataset.variant


def test_available_variant_decodes_nothing(known_copy, monkeypatch):
    monkeypatch.setattr(files, "_decode_pictures", None)
    assert available_variant("cifar10") == available_variant("cifar100") == "jpeg75"
    assert available_variant("digits") == "original"


def test_files_that_were_identified_are_not_read_again_until_they_change(known_copy, monkeypatch):
    identify = files.identify
    monkeypatch.setattr(files, "identify", None)
    with pytest.raises(TypeError):  # nothing is remembered yet
        available_variant("cifar10")
    monkeypatch.setattr(files, "identify", identify)
    assert available_variant("cifar10") == "jpeg75"
    monkeypatch.setattr(files, "identify", None)
    assert available_variant("cifar10") == "jpeg75"
    known_copy.path["cifar10", "test"].touch()
    with pytest.raises(TypeError):
        available_variant("cifar10")


@pytest.mark.parametrize("content", ["", "[1, 2]", "{"])
def test_a_damaged_memory_of_identified_files_is_made_anew(known_copy, content):
    paths.identified_path().write_text(content)
    assert available_variant("cifar10") == "jpeg75"
    assert "jpeg75" in paths.identified_path().read_text()


def test_files_are_identified_where_the_memory_cannot_be_written(known_copy, monkeypatch, tmp_path):
    (tmp_path / "a file").touch()
    monkeypatch.setattr(paths, "identified_path", lambda: tmp_path / "a file" / "data.json")
    assert available_variant("cifar10") == "jpeg75"


def test_a_second_load_answers_from_memory(known_copy):
    first = load_dataset("cifar10")
    shutil.rmtree(known_copy.root)
    assert load_dataset("cifar10") is first


# --- torchvision -----------------------------------------------------------------------------


def write_torchvision(made, root: Path) -> Path:
    """CIFAR-10 in torchvision's pickled batches, with the pixels of the made-up folder."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)

    def rows(split, place):
        pixels = made.pixels["cifar10", split][place].transpose(0, 3, 1, 2)
        labels = made.labels["cifar10", split][place].tolist()
        return {"data": pixels.reshape(len(pixels), -1), "labels": labels}

    for number in range(5):
        batch = rows("train", slice(40 * number, 40 * (number + 1)))
        (folder / f"data_batch_{number + 1}").write_bytes(pickle.dumps(batch))
    (folder / "test_batch").write_bytes(pickle.dumps(rows("test", slice(None))))
    meta = {"label_names": [str(number) for number in range(10)]}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta))
    return folder


@pytest.fixture
def trusting(monkeypatch):
    """torchvision checks that its files are there, but not their MD5 sums."""
    from torchvision.datasets import cifar

    monkeypatch.setattr(cifar, "check_integrity", lambda path, md5=None: Path(path).is_file())


def same_pixels(dataset, made) -> bool:
    expected = made.pixels["cifar10", "train"].transpose(0, 3, 1, 2)
    return np.array_equal(dataset.train_images.numpy(), expected)


def test_torchvisions_files_are_the_original_and_come_before_parquet(cifar_folder, trusting):
    write_torchvision(cifar_folder, cifar_folder.root)
    dataset = load_dataset("cifar10")
    assert (dataset.source, dataset.variant) == ("torchvision", "original")
    assert same_pixels(dataset, cifar_folder)
    assert dataset.test_labels.tolist() == cifar_folder.labels["cifar10", "test"].tolist()
    assert available_variant("cifar10") == "original"


@pytest.mark.parametrize("damage", ["wrong sum", "missing", "truncated"])
def test_damaged_torchvision_files_are_refused(cifar_folder, damage, request):
    folder = write_torchvision(cifar_folder, cifar_folder.root)
    if damage != "wrong sum":  # which is what made-up files have without `trusting`
        request.getfixturevalue("trusting")
        batch = folder / "data_batch_3"
        batch.write_bytes(batch.read_bytes()[:1_000])
        if damage == "missing":
            batch.unlink()
    message = refusal()
    assert str(folder) in message and "damaged or incomplete" in message


def test_a_download_arrives_whole_and_is_used_from_then_on(
    cifar_folder, trusting, tmp_path, monkeypatch
):
    from torchvision.datasets import cifar

    root = tmp_path / "cache" / "randprune"
    monkeypatch.setenv("RANDPRUNE_DATA", str(root))
    calls = []

    def fetch(url, folder, *, filename, md5):
        calls.append(folder)
        write_torchvision(cifar_folder, Path(folder))

    monkeypatch.setattr(cifar, "download_and_extract_archive", fetch)
    dataset = load_dataset("cifar10")
    assert (dataset.source, dataset.variant) == ("torchvision", "original")
    assert same_pixels(dataset, cifar_folder)
    assert {path.split("/")[0] for path in files_under(root)} == {"cifar-10-batches-py"}
    assert [path.name for path in root.iterdir()] == ["cifar-10-batches-py"]
    assert str(root) not in calls
    loading._load.cache_clear()
    monkeypatch.setattr(cifar, "download_and_extract_archive", None)
    assert same_pixels(load_dataset("cifar10"), cifar_folder)


@pytest.mark.parametrize("error", [OSError("connection reset"), None])
def test_a_download_that_breaks_off_leaves_nothing_behind(
    cifar_folder, tmp_path, monkeypatch, error
):
    from torchvision.datasets import cifar

    root = tmp_path / "cache"
    root.mkdir()
    monkeypatch.setenv("RANDPRUNE_DATA", str(root))

    def fetch(url, scratch, *, filename, md5):
        folder = Path(scratch) / "cifar-10-batches-py"
        folder.mkdir()
        (folder / "data_batch_1").write_bytes(b"half a fi")
        if error:
            raise error  # else the sums are found to be wrong

    monkeypatch.setattr(cifar, "download_and_extract_archive", fetch)
    message = refusal()
    assert "could not be downloaded" in message and str(root) in message
    assert list(root.iterdir()) == []


def test_the_first_of_two_downloads_wins(cifar_folder, tmp_path):
    root = tmp_path / "cache"
    first = write_torchvision(cifar_folder, tmp_path / "first")
    (first / "first").touch()
    second = write_torchvision(cifar_folder, tmp_path / "second")
    torchvision_files._move_in(first, root)
    torchvision_files._move_in(second, root)
    assert [path.name for path in root.iterdir()] == ["cifar-10-batches-py"]
    assert (root / "cifar-10-batches-py" / "first").exists()


# --- splits ----------------------------------------------------------------------------------


def dataset_of(total: int) -> Dataset:
    nothing = torch.zeros(total)
    return Dataset("cifar10", "original", "", "", 10, nothing, nothing, nothing, nothing)


@pytest.mark.parametrize(
    ("total", "train_images", "validation"),
    [
        (50_000, 45_000, 5_000),
        (50_000, 10_000, 1_111),
        (50_000, 44_999, 4_999),
        (50_000, 9, 1),
        (50_000, 1, 1),
        (1_437, 1_294, 143),
        (1_437, 1_000, 111),
    ],
)
def test_validation_is_the_end_of_the_file_in_the_proportion_9_to_1(
    total, train_images, validation
):
    train, held_out = dataset_of(total).split(train_images)
    assert (train.start, train.stop) == (0, train_images)
    assert (held_out.start, held_out.stop) == (total - validation, total)
    assert train.stop <= held_out.start


@pytest.mark.parametrize("train_images", [45_001, 50_000, 0, -1])
def test_more_training_images_than_the_file_leaves_are_refused(train_images):
    with pytest.raises(DataError, match=rf"train_images {train_images}: .*45000.*give 1 to 45000"):
        dataset_of(50_000).split(train_images)


# --- digits and the out-of-distribution sets -------------------------------------------------


def test_digits_are_scikit_learns_doubled_in_size():
    from sklearn.datasets import load_digits

    dataset = load_dataset("digits", "original")
    assert dataset.train_images.shape == (1_437, 3, 16, 16)
    assert dataset.test_images.shape == (360, 3, 16, 16)
    assert dataset.num_classes == 10 and dataset.source == "scikit-learn"
    raw = load_digits()
    images = torch.cat([dataset.train_images, dataset.test_images])
    assert torch.equal(images[:, 0], images[:, 1]) and torch.equal(images[:, 0], images[:, 2])
    for row in (0, 1):
        for column in (0, 1):
            corner = images[:, 0, row::2, column::2].double().numpy()
            assert np.abs(corner * 16 / 255 - raw.images).max() < 0.04
    labels = torch.cat([dataset.train_labels, dataset.test_labels])
    assert labels.tolist() == raw.target.tolist()


def test_photo_patches_are_400_distinct_pictures_of_the_size_of_digits():
    (name, patches), *others = load_ood_images("digits").items()
    assert (name, others) == ("photos", [])
    assert patches.shape == (400, 3, 16, 16) and patches.dtype == torch.uint8
    assert len(patches.flatten(1).unique(dim=0)) == 400


def test_cifar_sets_are_each_others_ood_set(known_copy):
    for name, other in (("cifar10", "cifar100"), ("cifar100", "cifar10")):
        images = load_ood_images(name)
        assert list(images) == [other]
        assert torch.equal(images[other], load_dataset(other).test_images)


def test_of_an_ood_set_the_training_images_are_not_decoded(known_copy, monkeypatch):
    decoded = []
    read = loading._read_split
    monkeypatch.setattr(
        loading,
        "_read_split",
        lambda name, encoded, split, side: (
            decoded.append(split) or read(name, encoded, split, side)
        ),
    )
    load_ood_images("cifar10")
    assert decoded == ["test"]


def test_a_missing_ood_set_is_named(known_copy):
    shutil.rmtree(known_copy.root / "cifar100")
    with pytest.raises(DataError, match="cifar100 was not found"):
        load_ood_images("cifar10")


# --- smaller images ----------------------------------------------------------------------------


@pytest.mark.parametrize("side", [8, 16, 32])
def test_a_smaller_image_is_the_mean_of_its_blocks_rounded_half_up(side):
    images, factor = noise(5, 32), 32 // side
    small = downsample(images, side)
    assert small.shape == (5, 3, side, side) and small.dtype == torch.uint8
    assert small.is_contiguous(memory_format=torch.channels_last)
    means = torch.nn.functional.avg_pool2d(images.double(), factor)
    assert torch.equal(small, (means + 0.5).floor().to(torch.uint8))


def test_a_half_is_rounded_up_and_white_stays_white():
    block = torch.tensor([[0, 0], [1, 1]], dtype=torch.uint8).expand(1, 3, 2, 2)
    assert downsample(block, 1).flatten().tolist() == [1, 1, 1]
    assert downsample(torch.full((1, 3, 32, 32), 255, dtype=torch.uint8), 8).unique().item() == 255


def test_a_side_that_does_not_divide_has_no_blocks():
    with pytest.raises(ValueError, match="32 pixels a side have no blocks for 12"):
        downsample(noise(1, 32), 12)


@pytest.mark.parametrize("side", [8, 16])
def test_training_test_and_ood_images_are_reduced_alike(known_copy, side):
    whole, small = load_dataset("cifar10"), load_dataset("cifar10", image_size=side)
    for part in ("train_images", "test_images"):
        assert torch.equal(getattr(small, part), downsample(getattr(whole, part), side))
    ood, out = load_ood_images("cifar10", side), load_ood_images("cifar10")
    assert torch.equal(ood["cifar100"], downsample(out["cifar100"], side))
    assert small.fingerprint == whole.fingerprint
    assert torch.equal(small.train_labels, whole.train_labels)
    assert load_dataset("cifar10", image_size=32) is whole


@pytest.mark.parametrize("size", [0, 7, 12, 33, 64, -1, float("nan")])
def test_a_size_that_data_cannot_have_is_a_data_error(known_copy, size):
    assert f"image_size {size!r}" in refusal(image_size=size)
    with pytest.raises(DataError, match="image_size"):
        load_ood_images("cifar10", size)
    with pytest.raises(DataError, match="give 16 pixels"):
        load_dataset("digits", image_size=8)


def test_the_padding_shrinks_with_the_images():
    assert [padding("cifar10", side) for side in (None, 32, 16, 8)] == [4, 4, 2, 1]
    assert padding("digits") == padding("digits", 16) == 2


# --- augmentation ----------------------------------------------------------------------------


def noise(count: int, side: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)
    return images.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("side", "padding"), [(32, 4), (16, 2), (8, 0)])
def test_augment_equals_pad_then_crop_then_flip_image_by_image(side, padding):
    images = noise(6, side)
    generator = torch.Generator().manual_seed(1)
    index = torch.randint(0, 6, (40,), generator=generator)
    offsets = torch.randint(0, 2 * padding + 1, (40, 2), generator=generator)
    offsets[:2] = torch.tensor([[0, 2 * padding], [2 * padding, 0]])  # the far corners as well
    mirrored = torch.rand(40, generator=generator) < 0.5
    assert mirrored.any() and not mirrored.all()
    batch = augment(images, index, offsets, mirrored, padding)
    assert batch.shape == (40, 3, side, side) and batch.dtype == torch.uint8
    assert batch.is_contiguous(memory_format=torch.channels_last)
    padded = F.pad(images.float(), (padding,) * 4, mode="reflect") if padding else images.float()
    for row in range(40):
        top, left = offsets[row].tolist()
        crop = padded[index[row], :, top : top + side, left : left + side]
        crop = crop.flip(-1) if mirrored[row] else crop
        assert torch.equal(batch[row].float(), crop)


def test_augment_in_the_middle_without_a_flip_gives_the_image_itself():
    images = noise(5, 16)
    middle, unmirrored = torch.full((5, 2), 2), torch.zeros(5, dtype=torch.bool)
    batch = augment(images, torch.arange(5), middle, unmirrored, 2)
    assert torch.equal(batch, images)


def test_a_data_set_moves_to_a_device_with_all_its_tensors():
    moved = load_dataset("digits").to("meta")
    assert {moved.train_images.device.type, moved.test_labels.device.type} == {"meta"}
    assert moved.fingerprint == load_dataset("digits").fingerprint


# --- the copy at hand ------------------------------------------------------------------------


def test_the_real_copy_is_recognised(real_data):
    dataset = load_dataset("cifar10", available_variant("cifar10"))
    assert dataset.train_images.shape == (50_000, 3, 32, 32)
    assert dataset.train_labels.bincount().tolist() == [5_000] * 10
    assert dataset.test_labels.bincount().tolist() == [1_000] * 10
    assert (dataset.source, dataset.variant) in {("parquet", "jpeg75"), ("torchvision", "original")}


def test_the_real_ood_images_are_recognised(real_data):
    assert available_variant("cifar100", download=False) in {"jpeg75", "original"}
    images = load_ood_images("cifar10")["cifar100"]
    assert len(images) >= 900 and images.shape[1:] == (3, 32, 32)
