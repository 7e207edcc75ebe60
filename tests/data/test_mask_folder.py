"""A folder of images with masks of one's own, and VOC's: what is read of them, and what is refused by name."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from mnet_jax.data import cache, checks, decode, mask_folder, masks, sources, stream
from mnet_jax.data.facts import facts
from mnet_jax.data.masks import VOID
from mnet_jax.devices.mesh import make_mesh
from mnet_jax.errors import UserError

PALETTE = np.random.default_rng(0).integers(0, 256, (256, 3), np.uint8).tobytes()


def labels_of(number, shape=(10, 14), classes=3):
    """A mask of three classes with void in a corner."""
    found = np.random.default_rng(number).integers(0, classes, shape).astype(np.uint8)
    found[0, 0] = VOID
    return found


def as_palette(labels):
    image = Image.fromarray(labels).convert("P")
    image.putdata(labels.ravel())
    image.putpalette(PALETTE)
    return image


def save(folder, name, number, labels=None, places=("images", "masks"), ending="jpg"):
    labels = labels_of(number) if labels is None else labels
    for place in places:
        (folder / place / name).parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (*labels.shape, 3), np.uint8)
    Image.fromarray(pixels).save(folder / places[0] / f"{name}.{ending}")
    as_palette(labels).save(folder / places[1] / f"{name}.png")


@pytest.fixture
def roads(tmp_path):
    """Twenty images with masks of 3 classes."""
    root = tmp_path / "roads"
    for i in range(20):
        save(root, f"{i}", i)
    (root / "classes.txt").write_text("ground\nroad\ncar\n")
    return root


@pytest.fixture
def of(own, roads):
    def make(name="mask_folder", **fields):
        return own(name, **{"source_dir": str(roads), "crop": "none", "image_size": 16} | fields)

    return make


def held(data, split):
    """The mask of each image of a split, by the image's path."""
    source = sources.open_split(data, split)
    examples = [source[i] for i in range(len(source))]
    return {os.fsdecode(example["file_name"]): masks.decoded(example["label"]) for example in examples}


def test_images_and_masks_are_read_as_pairs(of, roads, capsys):
    data = of()
    (roads / "images" / ".DS_Store").touch()
    (roads / "images" / "notes.txt").write_text("x")
    found = facts(data)
    assert (found.class_names, found.num_classes, found.has_masks) == (("ground", "road", "car"), 3, True)
    assert (found.image_size, found.largest_side, found.channels) == (None, 14, 3)
    cache.check(data)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("data set")]
    assert line == (
        "data set roads: 3 classes (ground, road, car), 16 train, 2 validation, 2 test images; left out: "
        "1 hidden file, 1 file that is no image"
    )
    pairs = held(data, "train") | held(data, "validation") | held(data, "test")
    assert set(pairs) == {f"images/{i}.jpg" for i in range(20)}
    for i in range(20):
        np.testing.assert_array_equal(pairs[f"images/{i}.jpg"], labels_of(i))


def test_the_copy_is_enough(of, roads):
    data = of()
    found = facts(data)
    sources.prepare(data)
    os.rename(roads, roads.with_name("gone"))
    data.fingerprint = found.fingerprint
    assert facts(data) == found
    assert len(held(data, "train")) == 16


def test_a_batch_has_small_images_at_the_top_left(of):
    data = of(mean=(0.5, 0.25, 1.0))
    config = of("", model={"num_classes": 3}, data=data)
    pairs = held(data, "test")
    batch = next(iter(stream.open_stream(config, "test", make_mesh()).evaluation_batches(8)))
    images, labels = np.asarray(batch["image"]), np.asarray(batch["label"])
    assert (images.shape, labels.shape, labels.dtype) == ((8, 16, 16, 3), (8, 16, 16), np.uint8)
    for image, label, mask in zip(images, labels, pairs.values(), strict=False):
        np.testing.assert_array_equal(label[:10, :14], mask)
        assert (label[10:] == VOID).all()
        assert (label[:, 14:] == VOID).all()
        assert (image[10:] == [128, 64, 255]).all()
        assert len(np.unique(image[:10, :14])) > 100
    assert np.asarray(batch["mask"]).sum() == 2


def test_splits_are_folders_where_there_are_some(own, tmp_path):
    root = tmp_path / "set"
    for i, split in enumerate(("train", "train", "val", "test")):
        save(root, f"{split}/{i}", i)
    save(root, "more", 9)
    (root / "classes.txt").write_text("a\nb\nc\n")
    data = own("mask_folder", source_dir=str(root), crop="none")
    assert list(held(data, "train")) == ["images/train/0.jpg", "images/train/1.jpg"]
    assert list(held(data, "validation")) == ["images/val/2.jpg"]
    assert list(held(data, "test")) == ["images/test/3.jpg"]
    assert checks.summary(data).endswith("left out: 1 image outside the splits")


def test_splits_are_lists_where_there_are_some(of, roads):
    (roads / "train.txt").write_text("0\n1\n2\n3\n4\n5\n6\n7\n8 \r\n9\n")
    (roads / "test.txt").write_text("10\n11\n")
    data = of()
    assert set(held(data, "test")) == {"images/10.jpg", "images/11.jpg"}
    assert {split: info.num_examples for split, info in sources.prepare(data).info.splits.items()} == {
        "train": 9,
        "validation": 1,
        "test": 2,
    }


def test_what_can_change_a_result_gives_another_copy(of, roads):
    found = [facts(of()).fingerprint, facts(of(split_seed=1)).fingerprint, facts(of(test_fraction=0.3)).fingerprint]
    found.append(facts(of(classes="FILE", class_names=("ground", "road", "van"))).fingerprint)
    found.append(facts(of(exif_orientation=False)).fingerprint)
    changed = labels_of(3)
    changed[5, 5] = (changed[5, 5] + 1) % 3
    as_palette(changed).save(roads / "masks" / "3.png")
    mask_folder.forget()
    found.append(facts(of()).fingerprint)
    os.rename(roads / "images" / "4.jpg", roads / "images" / "x.jpg")
    os.rename(roads / "masks" / "4.png", roads / "masks" / "x.png")
    found.append(facts(of()).fingerprint)
    assert len(set(found)) == len(found)


@pytest.fixture
def voc(own, tmp_path):
    root = tmp_path / "VOC2012"
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for i in range(14):
        save(root, f"2007_{i:06d}", i, labels_of(i, classes=21), ("JPEGImages", "SegmentationClass"))
    (lists / "train.txt").write_text("".join(f"2007_{i:06d}\n" for i in range(10)))
    (lists / "val.txt").write_text("2007_000010\n2007_000011\n")
    return own("voc", source_dir=str(root), crop="none", image_size=513)


def test_vocs_layout_is_read_by_its_lists(voc):
    found = facts(voc)
    assert (found.num_classes, found.class_names[0], found.class_names[20]) == (21, "background", "tvmonitor")
    splits = {split: held(voc, split) for split in ("train", "validation", "test")}
    assert {split: len(pairs) for split, pairs in splits.items()} == {"train": 9, "validation": 1, "test": 2}
    np.testing.assert_array_equal(splits["test"]["JPEGImages/2007_000010.jpg"], labels_of(10, classes=21))


def test_voc_without_its_lists_is_refused(voc):
    os.remove(f"{voc.source_dir}/ImageSets/Segmentation/val.txt")
    with pytest.raises(UserError, match=r"data set voc: .*VOC2012/ImageSets/Segmentation/val\.txt is missing"):
        facts(voc)


def test_images_that_are_too_large_name_the_size_that_fits(of):
    with pytest.raises(
        UserError, match=r"image_size=12: data set mask_folder has images of up to 14 .*--config\.data\.image_size=14$"
    ):
        facts(of(image_size=12))
    assert facts(of(image_size=14)).largest_side == 14


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("mode", ["P", "L"])
def test_labels_are_the_numbers_in_the_file_whatever_its_bits(bits, mode):
    """Pillow scales gray values of few bits so that the largest is white."""
    labels = np.random.default_rng(0).integers(0, 2**bits, (6, 7)).astype(np.uint8)
    file = io.BytesIO()
    if mode == "P":
        as_palette(labels).save(file, "PNG", bits=bits)
    else:
        file = io.BytesIO(gray_png(labels, bits))
    np.testing.assert_array_equal(masks.indices(file.getvalue()), labels)


def gray_png(labels, bits):
    """A PNG of gray with so many bits, which Pillow does not write."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = [np.unpackbits(row[:, np.newaxis], axis=1)[:, -bits:].ravel() for row in labels]
    packed = b"".join(b"\0" + np.packbits(row).tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", labels.shape[1], labels.shape[0], bits, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(packed)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def other_size(root):
    as_palette(labels_of(0, (9, 14))).save(root / "masks" / "7.png")


def interpolated(root):
    as_palette(labels_of(0) * 100).save(root / "masks" / "7.png")


def of_colours(root):
    as_palette(labels_of(0)).convert("RGB").save(root / "masks" / "7.png")


def of_16_bits(root):
    Image.fromarray(labels_of(0).astype(np.uint16)).save(root / "masks" / "7.png")


def as_jpeg(root):
    Image.fromarray(labels_of(0)).save(root / "masks" / "7.png", "JPEG")


def void(root):
    Image.fromarray(np.full((10, 14), VOID, np.uint8)).save(root / "masks" / "7.png")


def binary(root):
    for path in (root / "masks").iterdir():
        Image.fromarray(np.where(labels_of(0) == 1, np.uint8(255), np.uint8(0))).save(path)


def damaged(root):
    (root / "masks" / "7.png").write_bytes((root / "masks" / "8.png").read_bytes()[:200])


def turned(root):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(root / "images" / "7.jpg").save(root / "images" / "7.jpg", exif=exif)


def listed(text, split="train"):
    def make(root):
        (root / "train.txt").write_text("0\n1\n2\n3\n")
        (root / f"{split}.txt").write_text(text)

    return make


BAD = {
    "another size": (other_size, r"masks/7\.png: 14 x 9 pixels, and its image .*/7\.jpg has 14 x 10: a mask must"),
    "interpolated": (
        interpolated,
        r"masks/7\.png: \d+ pixels with labels that are no class, such as \d+ \(known: 0 to 2, and 255 for void\)",
    ),
    "colours": (of_colours, r"masks/7\.png is an image of colours \(RGB\), not of labels: give each pixel the number"),
    "16 bits": (of_16_bits, r"masks/7\.png is a PNG of 16 bits: save the labels as 8-bit gray"),
    "JPEG": (as_jpeg, r"masks/7\.png is a JPEG, which may change labels: save masks as PNG"),
    "void": (void, r"masks/7\.png: every pixel is void \(255\)"),
    "binary": (binary, r"all masks of .*roads to train on have one class and void: where objects are 255, save them"),
    "damaged": (damaged, r"masks/7\.png cannot be read as a PNG"),
    "turned": (turned, r"7\.png: 14 x 10 pixels, .*7\.jpg has 10 x 14 once EXIF's.*exif_orientation=False leaves"),
    "no mask": (lambda root: os.remove(root / "masks" / "7.png"), r"images/7\.jpg: .*roads/masks has no '7'"),
    "no image": (lambda root: os.remove(root / "images" / "7.jpg"), r"masks/7\.png: there is no image images/7\.\*"),
    "two images": (
        lambda root: Image.new("RGB", (14, 10)).save(root / "images" / "7.png"),
        r"images/7\.(jpg|png) and .*images/7\.(png|jpg): which one is it",
    ),
    "a list of a missing file": (listed("0\n1\n77\n"), r"train\.txt, line 3: .*roads/images has no '77'"),
    "an empty list": (listed("", "test"), r"test\.txt, line 1: it names no image"),
    "a name in two lists": (listed("5\n2\n", "val"), r"val\.txt, line 2: '2' stands in .*train\.txt, line 3, too"),
    "two lists": (
        lambda root: [listed("5\n", name)(root) for name in ("val", "valid")],
        r"val\.txt and .*valid\.txt: which one is for validation",
    ),
    "no list to train on": (
        lambda root: (root / "test.txt").write_text("5\n"),
        r"test\.txt has no train\.txt beside it",
    ),
    "lists and folders": (
        lambda root: [listed("5\n")(root), save(root, "train/1", 1)],
        r"train\.txt and .*images/train: are the splits lists or folders",
    ),
    "no masks": (lambda root: os.rename(root / "masks", root / "labels"), r"roads has no folder masks \(an image is"),
    "no classes": (lambda root: os.remove(root / "classes.txt"), r"roads has no classes\.txt with the names"),
    "too many classes": (
        lambda root: (root / "classes.txt").write_text("".join(f"{i}\n" for i in range(256))),
        r"classes\.txt: 256 classes; a mask of 8 bits has room for 255",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_folder_of_masks_that_is_wrong_is_refused_before_anything_is_prepared(of, roads, tmp_path, case):
    make, message = BAD[case]
    make(roads)
    for ask in (facts, checks.check):
        with pytest.raises(UserError, match=message) as error:
            ask(of())
        assert "\n" not in str(error.value)
    assert not (tmp_path / "prepared").exists()


def test_a_photo_and_its_mask_may_both_be_turned(of, roads):
    turned(roads)
    as_palette(np.rot90(labels_of(7), -1)).save(roads / "masks" / "7.png")
    data = of()
    source = sources.open_split(data, "train+validation+test")
    (example,) = [source[i] for i in range(20) if source[i]["file_name"] == b"images/7.jpg"]
    assert decode.whole(example["image"], 3).shape == (14, 10, 3)
    np.testing.assert_array_equal(masks.decoded(example["label"]), np.rot90(labels_of(7), -1))
