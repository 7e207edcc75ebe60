"""The orientation that EXIF states, from bytes to the pixels of batches."""

import io
import random

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from mnet_jax.data import cache, decode, image_folder, orientation, sources, stream
from mnet_jax.data.facts import facts
from mnet_jax.devices.mesh import make_mesh

ALL = range(1, 9)


def exif_of(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def encoded(pixels, kind, value, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, exif=exif_of(value), **options)
    return file.getvalue()


def smooth(height, width):
    """No two corners are alike, and JPEG keeps it."""
    rows, columns = np.linspace(0, 250, height)[:, None], np.linspace(0, 250, width)[None]
    return np.stack(np.broadcast_arrays(rows, columns, (rows + columns) / 2), axis=-1).astype(np.uint8)


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (37, 58, 3), np.uint8)


@pytest.mark.parametrize("value", ALL)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_it_is_read_and_turned_as_pillow_does(picture, kind, value):
    raw = encoded(picture, kind, value)
    assert orientation.stated(raw) == value
    found = decode.whole(raw, 3, turn=True)
    np.testing.assert_array_equal(found, np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(raw)))))
    assert found.shape[1::-1] == orientation.size(value, 58, 37)
    np.testing.assert_array_equal(decode.whole(raw, 3), orientation.upright(found, {6: 8, 8: 6}.get(value, value)))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_what_is_damaged_or_makes_no_sense_states_nothing(picture):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", exif=exif_of(6))
    whole = file.getvalue()
    block = whole.index(b"Exif\0\0") + 6
    entry = whole.index(b"\x01\x12\x00\x03", block)
    damaged = [
        whole[:block] + b"XX" + whole[block + 2 :],  # neither II nor MM
        whole[: block + 4] + b"\xff\xff\xff\xff" + whole[block + 8 :],  # the directory is outside
        whole[: entry + 2] + b"\x00\x02" + whole[entry + 4 :],  # text instead of a number
        whole[: block + 8] + b"\x00\x00" + whole[block + 10 :],  # no entries
        encoded(picture, "JPEG", 0),
        encoded(picture, "JPEG", 99),
        b"",
        b"no image",
        whole[:block],
    ]
    assert [orientation.stated(raw) for raw in damaged] == [1] * len(damaged)
    for raw in damaged[:6]:
        np.testing.assert_array_equal(decode.whole(raw, 3, turn=True), decode.whole(raw, 3))


@pytest.mark.parametrize("value", ALL)
def test_a_part_of_the_upright_image_is_found_in_the_encoded_one(picture, value):
    upright = orientation.upright(picture, value)
    for box in ((0, 0, 5, 9), (3, 2, 20, 37), (30, 5, 37, 6)):
        left, top, right, bottom = box
        x, y, x_end, y_end = orientation.as_encoded(value, box, 58, 37)
        part = orientation.upright(picture[y:y_end, x:x_end], value)
        np.testing.assert_array_equal(part, upright[top:bottom, left:right])


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("value", ALL)
def test_an_inception_crop_is_the_named_part_of_the_upright_image_though_few_rows_are_decoded(value, progressive):
    """Bit for bit, at every scale at which a JPEG is decoded."""
    noise = cv2.resize(np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8), (403, 301))
    raw = encoded(noise, "JPEG", value, progressive=progressive)
    width, height = ImageOps.exif_transpose(Image.open(io.BytesIO(raw))).size
    factors = set()
    for seed, size in ((seed, size) for seed in range(10) for size in (12, 50, 120)):
        left, top, right, bottom = decode._sample_box(width, height, random.Random(seed))
        factor = decode._factor(min(right - left, bottom - top), size)
        factors.add(factor)
        upright = orientation.upright(decode._top_rows(raw, 3, 301, factor).copy(), value)
        left, top, right, bottom = (round(edge / factor) for edge in (left, top, right, bottom))
        part = np.ascontiguousarray(upright[top:bottom, left:right])
        found = np.zeros((size, size, 3), np.uint8)
        decode.inception_crop(raw, random.Random(seed), found, turn=True)
        np.testing.assert_array_equal(found, cv2.resize(part, (size, size), interpolation=cv2.INTER_LINEAR))
    assert factors == {1, 2, 4, 8}


@pytest.mark.parametrize(
    ("name", "tfds_name", "value", "honoured", "due"),
    [
        ("image_folder", None, None, True, False),
        ("image_folder", None, False, False, False),
        ("imagenet", None, None, False, False),
        ("imagenet", None, True, True, True),
        ("flowers.py:Flowers", None, None, False, False),
        ("flowers.py:Flowers", None, True, True, True),
        ("image_folder", "imagenet2012", None, False, False),
        ("image_folder", "imagenet2012", True, True, True),
    ],
)
def test_it_is_honoured_by_default_in_folders_of_ones_own_alone(own, name, tfds_name, value, honoured, due):
    data = own(name, tfds_name=tfds_name, exif_orientation=value)
    assert (orientation.is_honoured(data), orientation.is_due(data)) == (honoured, due)


@pytest.fixture
def folders(tmp_path):
    """Writes the same pictures thrice: "stated" has them with every orientation, "upright" as a viewer shows those, and
    "bare" as "stated", but without EXIF."""

    def write(kind, shape):
        for split in ("train", "val", "test"):
            for label, name in enumerate(("ant", "bee")):
                for value in ALL:
                    pixels = smooth(*shape) // (label + 1)
                    raw = encoded(pixels, kind, value, quality=95)
                    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(raw)))
                    bare = Image.open(io.BytesIO(raw)).convert("RGB")
                    for place, file in (("stated", raw), ("upright", upright), ("bare", bare)):
                        path = tmp_path / place / split / name / f"{value}.JPEG"
                        path.parent.mkdir(parents=True, exist_ok=True)
                        if place == "stated":
                            path.write_bytes(file)
                        else:
                            file.info.clear()
                            file.save(path, "PNG")
        return tmp_path

    return write


def pixels(data):
    """Of two training steps and of an evaluation, as the stream yields them."""
    cache.check(data, ("train_split", "validation_split"))
    kind = stream.HostStream if data.crop == "inception" else stream.ResidentStream
    training, evaluation = (
        kind(cache.open_split(data, split), data, 2, make_mesh()) for split in ("train", "validation")
    )
    found = [*training.training_batches(8, 0, 2), *evaluation.evaluation_batches(8)]
    return np.concatenate([np.asarray(batch["image"]) for batch in found]).astype(int)


CASES = {  # crop, shape, and by how much JPEG may change a pixel
    "PNG, cropped": ("PNG", "inception", (40, 64), 0),
    "JPEG, cropped": ("JPEG", "inception", (40, 64), 8),
    "PNG, as it is": ("PNG", "none", (16, 16), 0),
    "JPEG, as it is": ("JPEG", "none", (16, 16), 0),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["imagenet", "image_folder"])
def test_a_stream_yields_upright_images_where_the_option_says_so_and_no_others(folders, own, tmp_path, name, case):
    kind, crop, shape, error = CASES[case]
    folders(kind, shape)

    def stream_of(place, value):
        fields = {"source_dir": str(tmp_path / place), "data_dir": str(tmp_path / f"of {place}")}
        return pixels(own(name, crop=crop, exif_orientation=value, **fields))

    honoured, ignored = stream_of("stated", True), stream_of("stated", False)
    assert np.abs(honoured - stream_of("upright", None)).max() <= error
    assert np.abs(ignored - stream_of("bare", None)).max() <= error
    assert np.abs(honoured - ignored).max() > 100
    np.testing.assert_array_equal(stream_of("stated", None), honoured if name == "image_folder" else ignored)


def test_a_cache_of_turned_images_is_another(folders, own, tmp_path):
    root = folders("JPEG", (40, 64))
    data = own("imagenet", source_dir=str(root / "stated"), cache_side=20)
    ignored, place = pixels(data), cache.folder(data)
    data.exif_orientation = True
    honoured, turned = pixels(data), cache.folder(data)
    assert (place.name.startswith("side20-q90-turned"), turned.name.startswith("side20-q90-turned-")) == (False, True)
    assert place.parent == turned.parent, "one prepared copy serves both"
    upright = pixels(own("imagenet", source_dir=str(root / "upright"), data_dir=str(tmp_path / "b"), cache_side=20))
    assert np.abs(honoured - upright).max() <= 12
    assert np.abs(honoured - ignored).max() > 100
    data.exif_orientation = False
    np.testing.assert_array_equal(pixels(data), ignored)


def test_a_folder_has_a_prepared_copy_for_each_policy(folders, own):
    root = folders("PNG", (40, 64))
    default, honoured, ignored = (
        own("image_folder", source_dir=str(root / "stated"), exif_orientation=value) for value in (None, True, False)
    )
    assert facts(default) == facts(honoured)
    assert facts(ignored).fingerprint != facts(default).fingerprint
    assert sources.prepare(ignored).data_dir != sources.prepare(default).data_dir
    for data in (default, ignored):
        data.fingerprint = facts(data).fingerprint
    image_folder.forget()
    upright, as_it_is = (sources.open_split(data, "train") for data in (default, ignored))
    shapes = [{decode.whole(source[i]["image"], 3).shape for i in range(len(source))} for source in (upright, as_it_is)]
    assert shapes == [{(40, 64, 3), (64, 40, 3)}, {(40, 64, 3)}]
