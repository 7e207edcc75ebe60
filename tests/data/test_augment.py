import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from mnet_jax.data.augment import augment, standardize


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (64, 8, 8, 3), np.uint8)


@pytest.fixture
def data(tiny):
    tiny.data.update(mean=(0.0,), std=(1.0,), crop="none", flip=False, crop_padding=2)
    return tiny.data


def test_standardize_normalises_each_channel(images, data):
    data.update(mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 1.0))
    expected = (images / 255.0 - [0.1, 0.2, 0.3]) / [0.5, 0.25, 1.0]
    np.testing.assert_allclose(standardize(images, data, 8), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [5, 4, 12])
def test_resizing_is_bilinear_with_antialiasing_as_pillows(images, data, size):
    resized = standardize(images[:1], data, size)
    for channel in range(3):
        pillow = Image.fromarray(images[0, :, :, channel].astype(np.float32)).resize((size, size), Image.BILINEAR)
        np.testing.assert_allclose(resized[0, :, :, channel] * 255, np.asarray(pillow), atol=0.01)


def test_half_of_the_images_are_flipped_and_no_other_change_is_made(images, data):
    data.flip = True
    out = np.asarray(augment(images, jax.random.key(3), data, 8)) * 255
    kept = np.isclose(out, images, atol=0.01).all((1, 2, 3))
    flipped = np.isclose(out, images[:, :, ::-1], atol=0.01).all((1, 2, 3))
    assert np.all(kept | flipped)
    assert 16 <= flipped.sum() <= 48


def test_every_shift_within_the_padding_occurs_and_black_comes_in(data):
    data.crop = "shift"
    image = np.zeros((1, 8, 8, 1), np.uint8)
    image[0, 3, 4] = 255
    out = np.asarray(augment(np.repeat(image, 512, 0), jax.random.key(0), data, 8))[..., 0]
    places = {tuple(np.argwhere(one)[0]) for one in out}
    assert places == {(3 + i, 4 + j) for i in range(-2, 3) for j in range(-2, 3)}
    assert out.sum() == pytest.approx(512)


def test_an_image_is_augmented_by_the_key_alone(images, data):
    data.update(crop="shift", flip=True)
    jitted = jax.jit(lambda x, key: augment(x, key, data, 6))
    first, again = jitted(images, jax.random.key(1)), jitted(jnp.asarray(images), jax.random.key(1))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, jitted(images, jax.random.key(2)))
