import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from mnet_jax.data.augment import augment, standardize
from mnet_jax.devices.mesh import make_mesh, sharded_on


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


ALL_ON = {"crop": "shift", "flip": True, "augment": "trivialaugment", "random_erasing": 0.5}


def test_what_was_drawn_before_there_were_more_augmentations_is_drawn_still():
    """Of the keys that a key is split into, the first two are those of a split in two."""
    key = jax.random.PRNGKey(3)
    for count in (3, 4):
        np.testing.assert_array_equal(jax.random.split(key, count)[:2], jax.random.split(key))


def test_an_image_does_not_depend_on_the_others_of_its_batch(images, data):
    data.update(ALL_ON)
    jitted = jax.jit(lambda x: augment(x, jax.random.key(1), data, 6))
    together, others = np.asarray(jitted(images)), np.concatenate([images[:16], images[16:][::-1]])
    np.testing.assert_array_equal(jitted(others)[:16], together[:16])
    data.update(augment="none", random_erasing=0.0)
    plain = augment(images, jax.random.key(1), data, 6)
    assert 0.7 < (together != plain).any((1, 2, 3)).mean() <= 1, "most images go through an operation or lose a part"


@pytest.mark.skipif(jax.device_count() < 8, reason="needs JAX_NUM_CPU_DEVICES=8")
def test_8_devices_augment_as_one_does_each_its_own_images(images, data):
    data.update(ALL_ON)
    jitted = jax.jit(lambda x: augment(x, jax.random.key(1), data, 6))
    sharded = jax.device_put(images, sharded_on(make_mesh()))
    on_8 = jitted.lower(sharded).compile()
    assert len(on_8(sharded).sharding.device_set) == 8
    np.testing.assert_array_equal(on_8(sharded), jitted(images))
    words = set(on_8.as_text().replace("(", " ").split())
    assert not {"all-gather", "all-reduce", "all-to-all", "collective-permute"} & words
