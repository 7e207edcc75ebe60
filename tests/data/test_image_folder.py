"""A folder of one's own images: what is an image and of which class and split, through to pixels of batches."""

import io
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from mnet_jax.data import cache, checks, decode, image_folder, sources, split_folders, stream
from mnet_jax.data.facts import facts
from mnet_jax.devices.mesh import make_mesh
from mnet_jax.errors import UserError


@pytest.fixture
def flowers(tmp_path, fill):
    """One folder of 3 classes x 20 JPEGs, and much else that such folders have."""
    root = tmp_path / "flowers"
    for name in ("tulip", "10", "9"):
        fill(root / name, 20)
    tulip = root / "tulip"
    (tulip / "nested").mkdir()
    os.replace(tulip / "0.jpg", tulip / "nested" / "0.jpg")
    pixels = np.arange(20 * 24 * 3, dtype=np.uint8).reshape(20, 24, 3)
    Image.fromarray(pixels).save(tulip / "1.jpg", "PNG")
    os.replace(tulip / "1.jpg", tulip / "png.JPG")
    Image.fromarray(pixels).save(tulip / "2.WEBP", lossless=True)
    (tulip / "2.jpg").unlink()
    Image.fromarray(pixels).save(tulip / "3.bmp")
    (tulip / "3.jpg").unlink()
    deep = np.full((20, 24), 514, np.uint16)
    Image.fromarray(deep).save(tulip / "16.png")
    (tulip / "16.jpg").unlink()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tulip / "turned.png", exif=exif)
    (tulip / "4.jpg").unlink()
    (root / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (tulip / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (tulip / "notes.txt").write_text("tulips")
    (root / "9" / "empty.jpg").touch()
    (root / "9" / "page.jpg").write_text("<html>not found</html>")
    Image.new("L", (4, 4)).save(root / "9" / "moving.gif")
    (root / ".ipynb_checkpoints").mkdir()
    shutil.copy(root / "9" / "1.jpg", root / ".ipynb_checkpoints")
    (tulip / "circle").symlink_to(root)
    (root / "again").symlink_to(root)
    (root / "10" / "gone.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(root / "10" / "pipe.jpg")
    return root


def members(data):
    """The names of the files of each split, and the label of each file."""
    splits, labels = {}, {}
    for split in sources.prepare(data).info.splits:
        source = sources.open_split(data, split)
        examples = source.__getitems__(range(len(source)))
        splits[split] = {os.fsdecode(example["file_name"]) for example in examples}
        labels |= {os.fsdecode(example["file_name"]): example["label"] for example in examples}
    return splits, labels


def pixels_of(data, name):
    for split in sources.prepare(data).info.splits:
        source = sources.open_split(data, split)
        for example in source.__getitems__(range(len(source))):
            if os.fsdecode(example["file_name"]) == name:
                return decode.whole(example["image"], data.channels)
    raise AssertionError(f"{name} is in no split")


def test_one_folder_of_classes_is_read_as_its_owner_means_it(flowers, own, capsys):
    data = own("image_folder", source_dir=str(flowers))
    found = facts(data)
    assert found.class_names == ("9", "10", "tulip")
    assert (found.num_classes, found.image_size, found.channels) == (3, None, 3)
    cache.check(data)
    cache.check(data)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("data set")]
    assert lines == [
        "data set flowers: 3 classes (9, 10, tulip), 48 train, 6 validation, 6 test images; left out: 2 hidden files, "
        "1 hidden folder, 4 files that are no images, 2 circular or repeated links, 1 broken link, 1 GIF image"
    ]
    splits, labels = members(data)
    assert {split: len(names) for split, names in splits.items()} == {"train": 48, "validation": 6, "test": 6}
    assert len(labels) == 60, "each image is in one split"
    assert labels == {name: found.class_names.index(name.split("/")[0]) for name in labels}
    assert {"tulip/nested/0.jpg", "tulip/png.JPG", "tulip/2.WEBP", "tulip/3.bmp", "tulip/16.png"} < set(labels)


def test_pixels_are_what_a_viewer_shows(flowers, own):
    data = own("image_folder", source_dir=str(flowers))
    original = np.arange(20 * 24 * 3, dtype=np.uint8).reshape(20, 24, 3)
    for name in ("png.JPG", "2.WEBP", "3.bmp"):
        np.testing.assert_array_equal(pixels_of(data, f"tulip/{name}"), original, err_msg=name)
    np.testing.assert_array_equal(pixels_of(data, "tulip/turned.png"), np.rot90(original, -1))
    assert set(pixels_of(data, "tulip/16.png").flat) == {2}
    assert (flowers / "9" / "3.jpg").read_bytes() in {
        example["image"]
        for split in ("train", "validation", "test")
        for example in sources.open_split(data, split).__getitems__(range(len(sources.open_split(data, split))))
    }, "a JPEG is kept byte for byte"


def test_batches_hold_every_test_image_once(flowers, own):
    data = own("image_folder", source_dir=str(flowers), channels=3)
    config = own("", model={"num_classes": 3}, data=data)
    seen = {}
    for batch in stream.open_stream(config, "test", make_mesh()).evaluation_batches(8):
        for image, label, mask in zip(*(np.asarray(batch[key]) for key in ("image", "label", "mask")), strict=True):
            if mask:
                seen[image.tobytes()] = label
    source = sources.open_split(data, "test")
    expected = {
        decode.evaluation_crop(example["image"], data).tobytes(): example["label"]
        for example in source.__getitems__(range(len(source)))
    }
    assert seen == expected
    batch = next(iter(stream.open_stream(config, "train", make_mesh()).training_batches(8, 0, 1)))
    assert batch["image"].shape == (8, 16, 16, 3)


@pytest.mark.parametrize("validation", ["val", "validation"])
def test_splits_that_are_there_are_taken_as_they_are(tmp_path, fill, own, validation):
    for split, count in (("train", 5), (validation, 2), ("test", 3)):
        for name in ("a", "b"):
            fill(tmp_path / "set" / split / name, count)
    (tmp_path / "set" / "extras").mkdir()
    data = own("image_folder", source_dir=str(tmp_path / "set"))
    splits, labels = members(data)
    assert {split: len(names) for split, names in splits.items()} == {"train": 10, "validation": 4, "test": 6}
    assert splits["test"] == {f"test/{name}/{i}.jpg" for name in "ab" for i in range(3)}
    assert labels["test/b/0.jpg"] == labels["train/b/0.jpg"] == 1
    assert checks.summary(data).endswith("left out: 1 folder beside the splits")


def test_a_missing_test_split_is_cut_from_the_training_images(tmp_path, fill, own):
    for split, count in (("train", 10), ("val", 3)):
        for name in ("a", "b"):
            fill(tmp_path / "set" / split / name, count)
    data = own("image_folder", source_dir=str(tmp_path / "set"), test_fraction=0.2)
    splits, _ = members(data)
    assert {split: len(names) for split, names in splits.items()} == {"train": 16, "validation": 6, "test": 4}
    assert all(name.startswith("train/") for name in splits["test"])


def cut(counts, **fields):
    """How many images of each class go where."""
    fractions = {"test": fields.get("test", 0.1), "validation": fields.get("validation", 0.1)}
    training = [(f"{label}/{i}", label) for label, count in enumerate(counts) for i in range(count)]
    found = split_folders.cut(training, fields.get("seed", 0), {k: v for k, v in fractions.items() if v})
    return {
        split: np.bincount([label for _, label in part], minlength=len(counts)).tolist()
        for split, part in found.items()
    }


def test_each_class_gives_its_share_and_keeps_an_image_to_train_on():
    assert cut([1, 2, 3, 4, 20, 25]) == {
        "train": [1, 1, 1, 2, 16, 19],
        "test": [0, 1, 1, 1, 2, 3],
        "validation": [0, 0, 1, 1, 2, 3],
    }
    assert cut([3, 3], test=0.5, validation=0.45) == {"train": [1, 1], "test": [2, 2]}
    assert cut([10], test=0) == {"train": [9], "validation": [1]}
    assert cut([1]) == {"train": [1]}


def test_the_seed_decides_which_images_and_another_image_moves_none_of_the_others(tmp_path, fill, own):
    for name in ("a", "b"):
        fill(tmp_path / "set" / name, 20)
    data = own("image_folder", source_dir=str(tmp_path / "set"))
    first, _ = members(data)
    data.split_seed = 1
    assert members(data)[0]["test"] != first["test"]
    data.split_seed = 0
    assert members(data)[0] == first
    shutil.copy(tmp_path / "set" / "a" / "0.jpg", tmp_path / "set" / "a" / "more.jpg")
    more, _ = members(data)
    assert sum(map(len, more.values())) == 41
    assert len(more["test"] ^ first["test"]) <= 2


def test_one_split_alone_can_be_cut_by_slices(tmp_path, fill, own):
    fill(tmp_path / "set" / "a", 10)
    data = own("image_folder", source_dir=str(tmp_path / "set"), validation_fraction=0.0, test_fraction=0.0)
    data.update(train_split="train[:60%]", validation_split="train[60%:80%]", test_split="train[80%:]")
    checks.check(data)
    assert [len(sources.open_split(data, data[f"{name}_split"])) for name in ("train", "validation", "test")] == [
        6,
        2,
        2,
    ]


def test_a_split_that_there_will_not_be_is_refused_before_anything_is_prepared(tmp_path, fill, own):
    fill(tmp_path / "set" / "a", 10)
    data = own("image_folder", source_dir=str(tmp_path / "set"), test_fraction=0.0)
    with pytest.raises(
        UserError, match=r"test_split='test': no images.*train \(9\).*add test/, or set --config.data.test_f"
    ):
        checks.check(data)
    data.update(test_fraction=0.1, validation_fraction=0.0)
    with pytest.raises(
        UserError, match=r"validation_split='validation': no images.*validation_fraction above 0.*validation_split= "
    ):
        checks.check(data)
    assert not (tmp_path / "prepared").exists()
    data.validation_split = ""
    checks.check(data)
    assert set(sources.prepare(data).info.splits) == {"train", "test"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root, fill: None, r"source_dir='.*set': there is no such folder"),
        (lambda root, fill: root.mkdir(), r"set has no class folders \(train/<class>/\*, or <class>/\*\)"),
        (lambda root, fill: fill(root, 3), r"set has no class folders"),
        (
            lambda root, fill: [fill(root / "a", 3), (root / "b").mkdir(), (root / "b" / "x.txt").touch()],
            r"no images for class 'b' in .*set",
        ),
        (
            lambda root, fill: (
                [fill(root / f"{s}/a", 3) for s in ("train", "val", "test")] + [(root / "test" / "a2").mkdir()]
            ),
            r"train lacks class 'a2' of .*test",
        ),
        (
            lambda root, fill: [fill(root / "train" / name, 3) for name in "ab"] + [fill(root / "val" / "b", 3)],
            r"val lacks class 'a' of .*train",
        ),
        (
            lambda root, fill: [fill(root / split / "a", 3) for split in ("train", "val", "validation")],
            r"val and .*validation: which one",
        ),
        (
            lambda root, fill: [fill(root / split / "a", 3) for split in ("val", "test")],
            r"set has test, val and no train/<class>/\*",
        ),
    ],
    ids=[
        "missing",
        "empty",
        "no classes",
        "empty class",
        "class of test",
        "class of train",
        "two validations",
        "no train",
    ],
)
def test_a_folder_that_is_none_is_refused_by_name(tmp_path, fill, own, make, message):
    make(tmp_path / "set", fill)
    data = own("image_folder", source_dir=str(tmp_path / "set"))
    for ask in (facts, sources.prepare, checks.check):
        with pytest.raises(UserError, match=message):
            ask(data)
    assert not (tmp_path / "prepared").exists()


def test_no_folder_and_no_training_images_are_refused(tmp_path, fill, own):
    with pytest.raises(UserError, match=r"set --config\.data\.source_dir=DIR"):
        facts(own("image_folder"))
    fill(tmp_path / "set" / "a", 3)
    with pytest.raises(UserError, match=r"validation_fraction=0.5 and config.data.test_fraction=0.5 leave nothing"):
        facts(own("image_folder", source_dir=str(tmp_path / "set"), validation_fraction=0.5, test_fraction=0.5))


def test_prepared_copies_do_not_become_a_class(tmp_path, fill, own):
    folder = fill(tmp_path / "set" / "a", 3).parent
    data = own("image_folder", source_dir=str(folder), data_dir=str(folder / "prepared"))
    with pytest.raises(
        UserError, match=r"data_dir='.*set/prepared' is inside config.data.source_dir='.*set', where each"
    ):
        facts(data)
    fill(folder / "train" / "a", 3)
    checks.check(data)


def test_a_class_may_be_called_train(tmp_path, fill, own):
    for name in ("bus", "train"):
        fill(tmp_path / "set" / name, 3)
    assert facts(own("image_folder", source_dir=str(tmp_path / "set"))).class_names == ("bus", "train")


@pytest.mark.parametrize("names", [("Training", "Testing"), ("images", "Valid")])
def test_splits_by_another_name_are_not_taken_for_classes(tmp_path, fill, own, names):
    for split in names:
        for name in ("a", "b"):
            fill(tmp_path / "set" / split / name, 3)
    with pytest.raises(
        UserError, match=r"(Testing, Training|Valid) in .*set have folders in them, .* call them train, val and test"
    ):
        facts(own("image_folder", source_dir=str(tmp_path / "set")))


def test_every_pixel_of_an_uncompressed_image_counts(tmp_path, own):
    (tmp_path / "set" / "a").mkdir(parents=True)
    found = set()
    for middle in (0, 255):
        pixels = np.zeros((64, 64, 3), np.uint8)
        pixels[32] = middle
        Image.fromarray(pixels).save(tmp_path / "set" / "a" / "0.bmp")
        image_folder.forget()
        found.add(facts(own("image_folder", source_dir=str(tmp_path / "set"))).fingerprint)
    assert len(found) == 2


def test_squares_of_one_size_need_no_crop_and_others_do(tmp_path, fill, own):
    fill(tmp_path / "set" / "a", 4, (16, 16))
    fill(tmp_path / "set" / "b", 4, (16, 16))
    data = own("image_folder", source_dir=str(tmp_path / "set"), crop="none")
    assert (facts(data).image_size, facts(data).channels) == (16, 1)
    for shape, message in (
        ((18, 18), r"differ in size \(a/0.jpg has 16 pixels a side, b/0.jpg 18\)"),
        ((16, 18), r"b/0.jpg is no square \(18 x 16 pixels\)"),
    ):
        fill(tmp_path / "set" / "b", 4, shape)
        os.utime(tmp_path / "set" / "b", ns=(0, hash(shape) % 10**9))
        for crop in ("none", "shift"):
            data.crop = crop
            with pytest.raises(UserError, match=message + r".*crop='" + crop + r"' needs squares.*crop=inception"):
                checks.check(data)
        assert not (tmp_path / "prepared").exists()
        data.crop = "inception"
        assert facts(data).image_size is None
        assert facts(data).channels == 1


def test_one_coloured_image_makes_a_data_set_coloured(tmp_path, fill, own):
    fill(tmp_path / "set" / "a", 3, (16, 16))
    fill(tmp_path / "set" / "b", 3, (16, 16, 3))
    assert facts(own("image_folder", source_dir=str(tmp_path / "set"))).channels == 3


def test_names_that_are_no_utf8_are_kept(tmp_path, fill, own):
    folder = fill(tmp_path / "set" / "a", 4)
    name = os.fsdecode(b"caf\xe9.jpg")
    shutil.copy(folder / "0.jpg", folder / name)
    assert f"a/{name}" in members(own("image_folder", source_dir=str(tmp_path / "set")))[1]


def test_damaged_images_are_left_out_of_both_kinds_of_stream(tmp_path, fill, own, caplog):
    folder = fill(tmp_path / "set" / "a", 12, (16, 16, 3))
    for i in (3, 4):
        (folder / f"{i}.jpg").write_bytes((folder / f"{i}.jpg").read_bytes()[:-40])
    data = own("image_folder", source_dir=str(tmp_path / "set"), crop="none", max_bad_images=2)
    data.update(validation_fraction=0.0, test_fraction=0.0)
    source = sources.open_split(data, "train")
    opened = [kind(source, data, 1, make_mesh()) for kind in (stream.ResidentStream, stream.HostStream)]
    batches = [list(one.training_batches(8, 0, 6)) + list(one.evaluation_batches(8)) for one in opened]
    for resident, host in zip(*batches, strict=True):
        assert resident.keys() == host.keys()
        kept = np.asarray(resident.get("mask", np.ones(8))) > 0
        for key in resident:
            np.testing.assert_array_equal(np.asarray(resident[key])[kept], np.asarray(host[key])[kept])
    assert sum(float(batch["mask"].sum()) for batch in batches[0] if "mask" in batch) == 10
    assert opened[0].num_decoded == 10
    for name in ("a/3.jpg", "a/4.jpg"):
        assert name in caplog.text
    data.max_bad_images = 1
    with pytest.raises(UserError, match=r"more than config.data.max_bad_images=1 damaged images: a/\d.jpg"):
        stream.ResidentStream(source, data, 1, make_mesh())


def test_a_cache_is_filled_from_a_folder(flowers, own):
    data = own("image_folder", source_dir=str(flowers), cache_side=8)
    cache.check(data)
    found = cache.open_split(data, "train")
    assert len(found) == 48
    assert min(Image.open(io.BytesIO(found[0]["image"])).size) == 8


def test_an_image_that_cannot_be_read_leaves_no_half_prepared_copy(tmp_path, fill, own, monkeypatch):
    folder = fill(tmp_path / "set" / "a", 10)
    data = own("image_folder", source_dir=str(tmp_path / "set"))
    read = image_folder.ImageFolder._read

    def without_one(self, member):
        (folder / "3.jpg").unlink(missing_ok=True)
        return read(self, member)

    monkeypatch.setattr(image_folder.ImageFolder, "_read", without_one)
    with pytest.raises(UserError) as error:
        sources.prepare(data)
    assert str(error.value) == f"cannot read {folder}/3.jpg: No such file or directory"
    monkeypatch.undo()
    assert len(sources.open_split(data, "train")) == 7
    assert not list((tmp_path / "prepared").rglob("*incomplete*"))
