import jax
import numpy as np
import pytest

from mnet_jax.models.ops.aligned_corners import resize_aligned


def test_a_case_by_hand():
    """Corners stay; between them, thirds along the width and halves along the height."""
    x = np.array([[0.0, 3.0], [6.0, 12.0]], np.float32).reshape(1, 2, 2, 1)
    expected = [[0, 1, 2, 3], [3, 4.5, 6, 7.5], [6, 8, 10, 12]]
    np.testing.assert_allclose(resize_aligned(x, 3, 4)[0, :, :, 0], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("before", "after"), [((5, 3), (17, 33)), ((4, 6), (9, 7)), ((9, 5), (4, 1)), ((1, 1), (3, 2))]
)
def test_it_is_the_formula_in_every_pixel(before, after):
    with jax.enable_x64(True):
        x = np.random.default_rng(0).normal(size=(2, *before, 3))
        ours = resize_aligned(x, *after)
    expected = np.empty((2, *after, 3))
    for row, column in np.ndindex(*after):
        y, x_ = (i * (m - 1) / max(n - 1, 1) for i, m, n in zip((row, column), before, after, strict=True))
        expected[:, row, column] = sum(
            x[:, i, j] * (1 - abs(y - i)) * (1 - abs(x_ - j))
            for i, j in np.ndindex(*before)
            if abs(y - i) < 1 and abs(x_ - j) < 1
        )
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12)


def test_pixels_of_the_map_are_not_touched_at_33_to_513():
    x = np.random.default_rng(0).normal(size=(1, 33, 33, 2)).astype(np.float32)
    large = np.asarray(resize_aligned(x, 513, 513))
    np.testing.assert_array_equal(large[:, ::16, ::16], x)
