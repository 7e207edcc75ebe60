import jax
import numpy as np
import pytest

from mnet_jax.data.erasing import erase, rectangles


def test_a_share_of_the_images_loses_one_rectangle():
    images = np.full((512, 16, 16, 3), 7.0, np.float32)
    out = np.asarray(jax.jit(lambda x: erase(x, jax.random.key(0), 0.25))(images))
    erased = (out == 0).all(-1)
    assert np.array_equal((out == 0).any(-1), erased), "all channels of a pixel go together"
    assert erased.any((1, 2)).mean() == pytest.approx(0.25, abs=0.08)
    for mask in erased[erased.any((1, 2))]:
        rows, columns = mask.any(1), mask.any(0)
        assert mask.sum() == rows.sum() * columns.sum()
        assert (np.diff(np.flatnonzero(rows)) == 1).all()
        assert (np.diff(np.flatnonzero(columns)) == 1).all()


def test_nothing_else_is_touched_and_all_may_be():
    images = np.random.default_rng(0).normal(size=(64, 12, 12, 1)).astype(np.float32)
    jitted = jax.jit(lambda x, probability: erase(x, jax.random.key(1), probability))
    out = np.asarray(jitted(images, 1.0))
    np.testing.assert_array_equal(out[out != 0], images[out != 0])
    assert (out == 0).any((1, 2, 3)).all()
    np.testing.assert_array_equal(jitted(images, 0.0), images)


def test_rectangles_are_those_of_torchvisions_definition():
    """Their shares of the area, sides and places, against the same law in NumPy."""
    count, height, width = 20_000, 40, 30
    tops, lefts, heights, widths = map(np.asarray, rectangles(jax.random.key(0), count, height, width))
    rng = np.random.default_rng(0)
    area = height * width * rng.uniform(0.02, 0.33, (count, 10))
    ratio = np.exp(rng.uniform(np.log(0.3), np.log(3.3), (count, 10)))
    h, w = np.round(np.sqrt(area * ratio)), np.round(np.sqrt(area / ratio))
    first = np.argmax((h < height) & (w < width), axis=1)
    h, w = h[np.arange(count), first], w[np.arange(count), first]
    for ours, theirs in ((heights, h), (widths, w), (heights * widths, h * w)):
        np.testing.assert_allclose(np.quantile(ours, [0.1, 0.5, 0.9]), np.quantile(theirs, [0.1, 0.5, 0.9]), rtol=0.04)
    for start, length, size in ((tops, heights, height), (lefts, widths, width)):
        assert start.min() == 0
        assert (start + length).max() == size
        assert (start / (size - length)).mean() == pytest.approx(0.5, abs=0.01)


def test_an_image_in_which_no_rectangle_fits_stays():
    *_, heights, widths = rectangles(jax.random.key(0), 64, 1, 1)
    assert not (heights * widths).any()


def test_what_an_image_draws_depends_on_its_place_and_not_on_the_batch():
    few, many = (rectangles(jax.random.key(2), count, 20, 20) for count in (4, 64))
    for ours, theirs in zip(few, many, strict=True):
        np.testing.assert_array_equal(ours, theirs[:4])
