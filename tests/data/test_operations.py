"""Each operation against its definition; `tests/parity` compares them with torchvision's."""

import functools

import jax
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from mnet_jax.data.operations import OPERATIONS, apply

jitted = jax.jit(apply)


@pytest.fixture(params=[3, 1], ids=["RGB", "gray"])
def image(request):
    """Smooth but for some noise, without pure black and white."""
    y, x = np.mgrid[:24, :24]
    waves = np.sin(y / 5)[..., np.newaxis] * np.cos(x / 7)[..., np.newaxis] * [60, 40, 80][: request.param]
    return (120 + waves + np.random.default_rng(0).normal(0, 9, waves.shape)).clip(20, 230).astype(np.uint8)


def after(image, name, magnitude=0.0):
    return np.asarray(jitted(image[np.newaxis], np.array([OPERATIONS.index(name)]), np.float32([magnitude])))[0]


def by_pillow(operation, image):
    pixels = np.asarray(operation(Image.fromarray(image if image.shape[-1] == 3 else image[..., 0])))
    return pixels.reshape(image.shape)


@pytest.mark.parametrize("name", OPERATIONS[:-2])
def test_an_operation_of_no_strength_changes_nothing(image, name):
    magnitude = {"posterize": 8.0, "solarize": 256.0}.get(name, 0.0)
    np.testing.assert_array_equal(after(image, name, magnitude), image)


@pytest.mark.parametrize(("magnitude", "pixels"), [(3.0, 3), (3.9, 3), (-5.0, -5), (-5.9, -5)])
@pytest.mark.parametrize(("name", "axis"), [("translate_x", 1), ("translate_y", 0)])
def test_a_translation_moves_by_whole_pixels_and_black_comes_in(image, name, axis, magnitude, pixels):
    moved = np.roll(image, pixels, axis)
    came_in = slice(0, pixels) if pixels > 0 else slice(pixels, None)
    moved[(slice(None), came_in) if axis else came_in] = 0
    np.testing.assert_array_equal(after(image, name, magnitude), moved)


@pytest.mark.parametrize("turns", [1, -1, 2])
def test_a_rotation_turns_counterclockwise_around_the_middle(image, turns):
    np.testing.assert_array_equal(after(image, "rotate", 90.0 * turns), np.rot90(image, turns))


@pytest.mark.parametrize("slope", [1.0, -1.0])
@pytest.mark.parametrize("name", ["shear_x", "shear_y"])
def test_a_shear_moves_each_line_by_its_distance_from_the_corner(image, name, slope):
    """By half a pixel more than a whole number at slope 1: each pixel is the mean of two neighbours."""
    lines = image.astype(float) if name == "shear_x" else image.swapaxes(0, 1).astype(float)
    for i, line in enumerate(lines):
        padded = np.pad(line, ((30, 30), (0, 0)))
        first = 30 + int(slope * (i + 0.5) - 0.5)
        lines[i] = (padded[first : first + 24] + padded[first + 1 : first + 25]) / 2
    expected = np.round(lines if name == "shear_x" else lines.swapaxes(0, 1))
    np.testing.assert_array_equal(after(image, name, slope), expected)


@pytest.mark.parametrize("magnitude", [0.6, -0.9])
@pytest.mark.parametrize(
    ("name", "enhancer"),
    [
        ("brightness", ImageEnhance.Brightness),
        ("color", ImageEnhance.Color),
        ("contrast", ImageEnhance.Contrast),
        ("sharpness", ImageEnhance.Sharpness),
    ],
)
def test_a_blend_is_pillows_to_its_rounding(image, name, enhancer, magnitude):
    expected = by_pillow(lambda pillow: enhancer(pillow).enhance(1 + magnitude), image).astype(int)
    ours = after(image, name, magnitude)
    assert np.abs(ours - expected).max() <= 2
    assert (np.abs(ours - expected) > 1).mean() < 0.01
    assert (name == "color" and image.shape[-1] == 1) == np.array_equal(ours, image)


@pytest.mark.parametrize(
    ("name", "magnitude", "operation"),
    [
        *[("posterize", bits, functools.partial(ImageOps.posterize, bits=bits)) for bits in (2, 5, 8)],
        *[("solarize", level, functools.partial(ImageOps.solarize, threshold=level)) for level in (0, 110, 255)],
        ("equalize", 0, ImageOps.equalize),
    ],
)
def test_a_table_is_pillows(image, name, magnitude, operation):
    np.testing.assert_array_equal(after(image, name, magnitude), by_pillow(operation, image))


def test_autocontrast_stretches_each_channel_to_all_levels(image):
    low, high = image.min((0, 1)).astype(int), image.max((0, 1)).astype(int)
    np.testing.assert_array_equal(after(image, "autocontrast"), (image - low) * 255 // (high - low))


@pytest.mark.parametrize("name", ["autocontrast", "equalize", "contrast", "sharpness"])
def test_an_image_of_one_level_stays(name):
    flat = np.full((8, 8, 3), 77, np.uint8)
    np.testing.assert_array_equal(after(flat, name, 0.5), flat)


def test_each_image_has_its_own_operation(image):
    magnitudes = np.float32([0, 0.3, -0.2, 4, -3, 30, 0.5, 0.5, -0.5, 0.9, 3, 99, 0, 0])
    together = jitted(np.repeat(image[np.newaxis], 14, 0), np.arange(14), magnitudes)
    for one, name, magnitude in zip(np.asarray(together), OPERATIONS, magnitudes, strict=True):
        np.testing.assert_array_equal(one, after(image, name, magnitude), err_msg=name)
