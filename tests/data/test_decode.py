import io

import numpy as np
import pytest
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


def test_the_central_crop_leaves_out_a_sixteenth_at_each_edge():
    picture = np.zeros((64, 128, 3), np.uint8)
    picture[4:60, 8:120] = 200
    assert decode.central_crop(encoded(picture), 3, 28).min() == 200
    picture[5, :] = 0
    assert decode.central_crop(encoded(picture), 3, 28).min() < 200


def test_inception_crops_obey_their_bounds():
    rng = np.random.default_rng(0)
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
    seen = decode.inception_crop(encoded(picture), 3, 16, np.random.default_rng(5))
    box = decode._sample_box(60, 40, np.random.default_rng(5))
    expected = Image.fromarray(picture).crop(box).resize((16, 16), Image.BILINEAR)
    np.testing.assert_allclose(seen.astype(int), np.asarray(expected), atol=1)


def test_a_shape_that_no_crop_fits_is_taken_whole():
    assert decode._sample_box(1000, 1, np.random.default_rng(0)) == (0, 0, 1000, 1)
