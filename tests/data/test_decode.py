import contextlib
import io
import random
import struct
from unittest import mock

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict
from PIL import Image

from mnet_jax.data import decode


def encoded(array, kind="PNG", mode=None):
    file = io.BytesIO()
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(file, kind)
    return file.getvalue()


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


def test_whole_keeps_every_pixel_of_a_png(picture):
    np.testing.assert_array_equal(decode.whole(encoded(picture), 3), picture)
    np.testing.assert_array_equal(decode.whole(encoded(picture[..., 0]), 1), picture[..., :1])


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grayscale_and_cmyk_jpegs_become_rgb(picture, mode):
    smooth = np.broadcast_to(np.arange(60, dtype=np.uint8)[None, :, None] * 4, (40, 60, 3))
    decoded = decode.whole(encoded(smooth, "JPEG", mode), 3)
    assert decoded.shape == (40, 60, 3)
    assert np.abs(decoded.astype(int) - smooth).mean() < 4


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_of_gray_are_scaled_not_cut_off(channels):
    deep = np.array([[0, 257, 30000], [40000, 65535, 256]], np.uint16)
    expected = np.repeat(np.rint(deep / 257).astype(np.uint8)[..., None], channels, axis=-1)
    np.testing.assert_array_equal(decode.whole(encoded(deep), channels), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_pixels_without_a_known_white_are_bad(dtype):
    with pytest.raises(decode.BadImage, match="black and white are not known"):
        decode.whole(encoded(np.array([[0, 300]], dtype), "TIFF"), 3)


def evaluation_crop(image, size, crop, fraction=0.875, resize="bilinear"):
    data = ConfigDict({"channels": 3, "image_size": size})
    data.update(eval_crop=crop, eval_crop_fraction=fraction, eval_filter=resize)
    return decode.evaluation_crop(encoded(image), data)


@pytest.mark.parametrize("resize", decode.FILTERS)
def test_the_central_crop_leaves_out_a_sixteenth_at_each_edge(resize):
    picture = np.zeros((64, 128, 3), np.uint8)
    picture[4:60, 8:120] = 200
    assert evaluation_crop(picture, 28, "central", resize=resize).min() == 200
    picture[4, :] = 0
    assert evaluation_crop(picture, 28, "central", resize=resize).min() < 200


def test_the_shorter_side_is_resized_and_the_middle_cut_out():
    """A picture of one colour per column: the crop shows which columns are left, and that no side was squeezed."""
    columns = np.linspace(0, 250, 120).astype(np.uint8)
    picture = np.broadcast_to(columns[np.newaxis, :, np.newaxis], (60, 120, 3))
    seen = evaluation_crop(np.ascontiguousarray(picture), 21, "shorter_side", fraction=0.7)
    assert seen.shape == (21, 21, 3)
    left, right = seen[10, 0, 0], seen[10, -1, 0]
    assert left == pytest.approx(250 * (1 / 2 - 21 / 120), abs=4)
    assert right == pytest.approx(250 * (1 / 2 + 21 / 120), abs=4)


def test_tf_bilinear_lies_between_the_four_pixels_around_index_times_scale(picture):
    seen = evaluation_crop(picture, 9, "central", fraction=1.0, resize="tf_bilinear")
    pixels = picture.astype(float)
    for row, column in ((0, 0), (4, 7), (8, 8)):
        y, x = row * 40 / 9, column * 60 / 9
        top, left = int(y), int(x)
        bottom, right = min(top + 1, 39), min(left + 1, 59)
        upper = pixels[top, left] * (1 - (x - left)) + pixels[top, right] * (x - left)
        lower = pixels[bottom, left] * (1 - (x - left)) + pixels[bottom, right] * (x - left)
        np.testing.assert_allclose(seen[row, column], upper * (1 - (y - top)) + lower * (y - top), atol=0.51)


def test_inception_crops_obey_their_bounds():
    rng = random.Random(0)
    boxes = np.array([decode._sample_box(120, 80, rng) for _ in range(2000)])
    left, top, right, bottom = boxes.T
    width, height = right - left, bottom - top
    assert left.min() >= 0
    assert right.max() <= 120
    assert bottom.max() <= 80
    area, ratio = width * height / (120 * 80), width / height
    assert 0.09 < area.min() < 0.15
    assert area.max() > 0.8
    assert 0.7 < ratio.min() < 0.8
    assert 1.25 < ratio.max() < 1.4
    assert len(np.unique(left)) > 60


def test_inception_crop_is_the_named_part_of_the_picture(picture):
    seen = np.zeros((24, 24, 3), np.uint8)  # so large that nothing is decoded at a half
    decode.inception_crop(encoded(picture), random.Random(5), seen)
    box = decode._sample_box(60, 40, random.Random(5))
    left, top, right, bottom = box
    part = picture[top:bottom, left:right].astype(np.float32)
    expected = jax.image.resize(part, (24, 24, 3), "linear", antialias=False)
    np.testing.assert_allclose(seen, expected, atol=1)


def test_a_shape_that_no_crop_fits_is_taken_whole():
    assert decode._sample_box(1000, 1, random.Random(0)) == (0, 0, 1000, 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("progressive", [False, True])
def test_an_inception_crop_of_a_jpeg_is_that_of_its_pixels_though_no_row_below_is_decoded(progressive, channels):
    """Smooth, so that neither the JPEG nor the way in which its colours are enlarged matters."""
    rows, columns = np.linspace(0, 255, 300)[:, None], np.linspace(0, 255, 400)[None]
    smooth = np.stack(np.broadcast_arrays(rows, columns, (rows + columns) / 2), axis=-1).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(smooth).save(file, "JPEG", quality=95, progressive=progressive)
    for seed in range(30):
        crops = [np.zeros((64, 64, channels), np.uint8) for _ in range(2)]
        for picture, crop in zip((file.getvalue(), encoded(smooth)), crops, strict=True):
            decode.inception_crop(picture, random.Random(seed), crop)
        assert np.abs(crops[0].astype(int) - crops[1]).max() <= 8, seed
        assert crops[0].any(), seed


def test_the_top_rows_of_a_jpeg_are_those_of_the_whole():
    noise = np.random.default_rng(0).integers(0, 256, (75, 90, 3), np.uint8)
    for options in ({}, {"subsampling": 0}, {"restart_marker_rows": 1}):
        file = io.BytesIO()
        Image.fromarray(noise).save(file, "JPEG", **options)
        whole = decode._top_rows(file.getvalue(), 3, 75, 1).copy()
        for rows in (1, 16, 33, 74):
            np.testing.assert_array_equal(decode._top_rows(file.getvalue(), 3, rows, 1), whole[:rows])


@pytest.mark.parametrize("kept", [0, 3, 100, 500, -200, -1])
def test_a_jpeg_that_was_cut_off_is_bad_whatever_part_is_wanted(kept):
    noise = np.random.default_rng(0).integers(0, 256, (75, 90, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "JPEG")
    for seed in range(5):
        with pytest.raises(decode.BadImage):
            decode.inception_crop(file.getvalue()[:kept], random.Random(seed), np.zeros((8, 8, 3), np.uint8))


@st.composite
def jpegs(draw, longest=160):
    """(height, width, JPEG of noise) of every kind that Pillow writes in gray and YCbCr."""
    height, width = (draw(st.integers(1, longest)) for _ in range(2))
    noise = np.random.default_rng(draw(st.integers(0, 9))).integers(0, 256, (height, width, 3), np.uint8)
    mode = draw(st.sampled_from(["L", "RGB"]))
    options = {"quality": draw(st.sampled_from([5, 75, 100])), "progressive": draw(st.booleans())}
    if mode == "RGB":
        options["subsampling"] = draw(st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]))
    if restart := draw(st.sampled_from([None, "restart_marker_rows", "restart_marker_blocks"])):
        options[restart] = draw(st.integers(1, 5))
    if draw(st.booleans()):
        options["comment"] = b"\xff\xc0\x00\x11\x08" * draw(st.integers(1, 9))  # as a frame would begin
    file = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(file, "JPEG", **options)
    return height, width, file.getvalue()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(jpegs(), st.sampled_from([1, 3]), st.integers(4, 40), st.integers(0, 2**32))
def test_a_crop_of_any_jpeg_is_that_of_all_its_rows(jpeg, channels, size, seed):
    height, width, picture = jpeg
    assert decode._size(picture) == (width, height)
    crops = [np.zeros((size, size, channels), np.uint8) for _ in range(2)]
    decode.inception_crop(picture, random.Random(seed), crops[0])
    top_rows = decode._top_rows
    with mock.patch.object(decode, "_top_rows", lambda picture, *how: top_rows(picture, how[0], height, how[2])):
        decode.inception_crop(picture, random.Random(seed), crops[1])
    np.testing.assert_array_equal(*crops)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(jpegs())
def test_the_frame_that_gets_another_height_is_that_of_a_baseline_jpeg(jpeg):
    height, width, picture = jpeg
    frame = decode._baseline_frame(picture)
    opened = Image.open(io.BytesIO(picture))
    assert (frame is None) == ("progressive" in opened.info)
    if frame is not None:
        assert picture[frame + 5 : frame + 9] == struct.pack(">HH", height, width)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(jpegs(longest=60), st.data())
def test_whatever_byte_of_a_jpeg_is_damaged_it_is_bad_or_an_image(jpeg, data):
    _, _, picture = jpeg
    damaged = bytearray(picture)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, min(len(picture), 700) - 1))  # tables and headers, then the first of the scan
        damaged[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.none() | st.integers(0, len(picture)))
    channels = data.draw(st.sampled_from([1, 3]))
    evaluated = {"channels": channels, "image_size": 8, "eval_crop": "central", "eval_crop_fraction": 0.875}
    crop = np.zeros((8, 8, channels), np.uint8)
    for look in (
        lambda jpeg: decode.whole(jpeg, channels),
        lambda jpeg: decode.at_least(jpeg, channels, 8),
        lambda jpeg: decode.evaluation_crop(jpeg, ConfigDict(evaluated | {"eval_filter": "bilinear"})),
        lambda jpeg: (decode.inception_crop(jpeg, random.Random(0), crop), crop)[1],
    ):
        with contextlib.suppress(decode.BadImage):
            pixels = look(bytes(damaged[:cut]))
            assert pixels.dtype == np.uint8
            assert pixels.shape[2:] == (channels,)


def test_a_header_that_claims_more_pixels_than_there_can_be_is_bad_before_memory_is_filled(picture):
    jpeg = encoded(picture, "JPEG")
    frame = decode._baseline_frame(jpeg)
    huge = jpeg[: frame + 5] + struct.pack(">HH", 20_000, 20_000) + jpeg[frame + 9 :]
    crop = np.zeros((8, 8, 3), np.uint8)
    for look in (
        lambda: decode.whole(huge, 3),
        lambda: decode.at_least(huge, 3, 8),
        lambda: decode.inception_crop(huge, random.Random(0), crop),
    ):
        with (
            mock.patch.object(decode.simplejpeg, "decode_jpeg", side_effect=AssertionError("decodes 1.2 GB")),
            pytest.raises(decode.BadImage, match="exceeds limit of 178956970 pixels"),
        ):
            look()
