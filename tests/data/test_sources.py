import gzip
import io
import multiprocessing
import os
import pathlib
import shutil
import struct
import tarfile

import numpy as np
import pytest
from PIL import Image

from mnet_jax import presets
from mnet_jax.data import checks, decode, sources
from mnet_jax.data.facts import facts
from mnet_jax.errors import UserError


def data_of(preset, data_dir, **fields):
    config = presets.get(preset)
    config.data.update(data_dir=str(data_dir), **fields)
    return config.data


def write_idx(path, array):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


def examples(data, split):
    source = sources.open_split(data, split)
    return [(decode.whole(e["image"], data.channels), int(e["label"])) for e in source.__getitems__(range(len(source)))]


def test_mnist5k_is_balanced_disjoint_and_real(tiny):
    splits = {split: examples(tiny.data, split) for split in ("train", "validation", "test")}
    counts = {split: np.bincount([label for _, label in found]).tolist() for split, found in splits.items()}
    assert counts == {"train": [350] * 10, "validation": [50] * 10, "test": [100] * 10}
    seen = [image.tobytes() for found in splits.values() for image, _ in found]
    assert len(set(seen)) == 5000
    assert splits["train"][0][0].shape == (28, 28, 1)


def test_fashion_mnist_keeps_every_pixel_and_label(tmp_path):
    rng = np.random.default_rng(0)
    raw = {}
    for split, prefix, count in (("train", "train", 30), ("test", "t10k", 20)):
        raw[split] = rng.integers(0, 256, (count, 28, 28)), np.arange(count) % 10
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte.gz", raw[split][0])
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte.gz", raw[split][1])
    data = data_of("fashion_mnist", tmp_path / "tfds", source_dir=str(tmp_path))
    for split, (images, labels) in raw.items():
        found = {image.tobytes(): label for image, label in examples(data, split)}
        expected = {image.astype(np.uint8).tobytes(): label for image, label in zip(images, labels, strict=True)}
        assert found == expected


def test_cifar10_turns_planes_into_pixels(tmp_path):
    rng = np.random.default_rng(0)
    images, expected = rng.integers(0, 256, (6, 3, 32, 32), np.uint8), {}
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as tar:
        names = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
        for label, (name, image) in enumerate(zip(names, images, strict=True)):
            record = bytes([label]) + image.tobytes()
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(record)
            tar.addfile(member, io.BytesIO(record))
            expected[label] = image.transpose(1, 2, 0)
    data = data_of("cifar10", tmp_path / "tfds", source_dir=str(tmp_path))
    found = {label: image for image, label in examples(data, "train") + examples(data, "test")}
    assert len(examples(data, "test")) == 1
    for label, image in expected.items():
        np.testing.assert_array_equal(found[label], image)


def test_imagenet_folders_keep_the_jpegs_as_they_are(tmp_path):
    rng = np.random.default_rng(0)
    files = {}
    for split in ("train", "val"):
        for label, wnid in enumerate(("n02", "n10", "n33")):
            folder = tmp_path / "raw" / split / wnid
            folder.mkdir(parents=True)
            for i in range(2):
                path = folder / f"{wnid}_{i}.JPEG"
                Image.fromarray(rng.integers(0, 256, (20 + i, 30, 3), np.uint8)).save(path, "JPEG")
                files[path.read_bytes()] = (split, label)
    data = data_of("imagenet", tmp_path / "tfds", source_dir=str(tmp_path / "raw"))
    for split, folder in (("train", "train"), ("validation", "val")):
        source = sources.open_split(data, split)
        found = {e["image"]: (folder, int(e["label"])) for e in source.__getitems__(range(len(source)))}
        assert found == {jpeg: place for jpeg, place in files.items() if place[0] == folder}
    shutil.rmtree(tmp_path / "raw" / "train")
    data = data_of("imagenet", tmp_path / "tfds", source_dir=str(tmp_path / "raw"), name="imagenet_validation")
    source = sources.open_split(data, "validation")
    found = {e["image"]: ("val", int(e["label"])) for e in source.__getitems__(range(len(source)))}
    assert found == {jpeg: place for jpeg, place in files.items() if place[0] == "val"}, "an evaluation needs val alone"


@pytest.fixture
def imagenet(tmp_path):
    """Three classes of one JPEG in train/ and in val/, whose names are numbers as ImageNetV2's are."""
    for split in ("train", "val"):
        for name in ("0", "2", "10"):
            folder = tmp_path / "raw" / split / name
            folder.mkdir(parents=True)
            Image.new("RGB", (8, 8), (int(name), 0, 0)).save(folder / "1.JPEG")
    return data_of("imagenet", tmp_path / "tfds", source_dir=str(tmp_path / "raw"))


def labels_of(data, split):
    source = sources.open_split(data, split)
    return {os.fsdecode(e["file_name"]): e["label"] for e in source.__getitems__(range(len(source)))}


def test_imagenet_folders_of_digits_are_labelled_by_number_and_hidden_ones_not_at_all(imagenet, tmp_path):
    for place in ("val/.ipynb_checkpoints", "train/.cache"):
        shutil.copytree(tmp_path / "raw" / "train" / "0", tmp_path / "raw" / place)
    for place in ("train", "train/0", "val/10"):
        (tmp_path / "raw" / place / ".DS_Store").write_bytes(b"Bud1")
    assert facts(imagenet).class_names == ("0", "2", "10")
    for split in ("train", "validation"):
        assert labels_of(imagenet, split) == {"0/1.JPEG": 0, "2/1.JPEG": 1, "10/1.JPEG": 2}


def test_an_orientation_is_ignored_where_published_figures_ignore_it(imagenet, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "raw" / "val" / "2" / "1.JPEG"
    Image.new("RGB", (16, 8)).save(path, exif=exif)
    source = sources.open_split(imagenet, "validation")
    found = [e["image"] for e in source.__getitems__(range(3)) if e["label"] == 1]
    assert found == [path.read_bytes()]
    assert decode.whole(found[0], 3).shape == (8, 16, 3)


@pytest.mark.parametrize(("split", "other"), [("train", "val"), ("val", "train")])
def test_a_class_that_one_split_of_imagenet_lacks_shifts_no_label(imagenet, tmp_path, split, other):
    shutil.rmtree(tmp_path / "raw" / split / "2")
    for ask in (facts, sources.prepare):
        with pytest.raises(UserError, match=rf"raw/{split} lacks class '2' of \S+raw/{other}"):
            ask(imagenet)
    assert not (tmp_path / "tfds").exists()


def test_a_class_of_imagenet_without_images_is_named(imagenet, tmp_path):
    (tmp_path / "raw" / "val" / "2" / "1.JPEG").rename(tmp_path / "raw" / "val" / "2" / ".1.JPEG")
    with pytest.raises(UserError, match=r"lacks images in \S+raw/val/2"):
        sources.prepare(imagenet)


@pytest.mark.parametrize(
    ("preset", "names"),
    [
        ("fashion_mnist", ["train-images-idx3-ubyte.gz", "dataset-fashion-mnist"]),
        ("cifar10", ["cifar-10-binary.tar.gz", "https://www.cs.toronto.edu"]),
        ("imagenet", ["train/", "val/", "image-net.org"]),
    ],
)
def test_missing_files_are_named_with_their_origin_and_folder(tmp_path, preset, names):
    data = data_of(preset, tmp_path / "tfds", source_dir=str(tmp_path))
    with pytest.raises(UserError) as error:
        sources.prepare(data)
    for name in [*names, str(tmp_path), "config.data.source_dir"]:
        assert name in str(error.value)


def test_a_data_set_of_tfds_that_needs_tensorflow_says_so(tmp_path):
    with pytest.raises(UserError, match="pip install"):
        sources.prepare(data_of("mnist5k", tmp_path, tfds_name="mnist"))
    with pytest.raises(UserError, match="no such data set"):
        sources.prepare(data_of("mnist5k", tmp_path, tfds_name="no_such_data_set"))


@pytest.mark.parametrize("split", ["trian", "train[:0]", "train[3500:]"])
def test_a_split_without_images_is_refused(tiny, split):
    tiny.data.validation_split = split
    with pytest.raises(UserError, match="validation_split") as error:
        checks.check(tiny.data)
    assert "train (3500)" in str(error.value)


def _prepare(data_dir, queue):
    queue.put(sources.prepare(data_of("mnist5k", data_dir)).info.splits["train"].num_examples)


@pytest.mark.slow
def test_two_processes_prepare_once_and_leftovers_of_a_crash_go(tmp_path):
    leftover = tmp_path / "mnist5k" / "incomplete.ABC_1.0.0"
    leftover.mkdir(parents=True)
    (leftover / "half").write_text("x")
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=_prepare, args=(tmp_path, queue)) for _ in range(2)]
    for process in processes:
        process.start()
    assert [queue.get(timeout=120) for _ in processes] == [3500, 3500]
    for process in processes:
        process.join()
    left = [path.name for path in pathlib.Path(tmp_path, "mnist5k").iterdir() if not path.name.startswith(".")]
    assert left == ["1.0.0"]
