"""Images and masks on the device: one geometry for both, and labels that are never mixed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnet_jax.data.augment import standardize
from mnet_jax.data.masks import VOID
from mnet_jax.data.pairs import augment_pairs
from mnet_jax.devices.mesh import make_mesh, sharded_on

COLOURS = np.array([0, 60, 120, 255], np.uint8)  # that paint labels 0, 1, 2, 3


@pytest.fixture
def data(tiny):
    tiny.data.update(name="scenes", mean=(0.0,), std=(1.0,), flip=True, crop="none", min_scale=0.5, max_scale=2.0)
    return tiny.data


def patches(count, side=32, size=8):
    """Masks of squares with labels 0 ... 3 and void, (count, side, side)."""
    labels = np.random.default_rng(0).choice([0, 1, 2, 3, VOID], (count, side // size, side // size)).astype(np.uint8)
    return np.kron(labels, np.ones((1, size, size), np.uint8))


def drawn(images, labels, data, input_size=24, seed=0):
    images, labels = augment_pairs(images, labels, jax.random.key(seed), data, input_size)
    return np.asarray(images), np.asarray(labels)


def painted(labels):
    """The labels as gray images (count, side, side, 1)."""
    return COLOURS[labels][..., np.newaxis]


@pytest.mark.parametrize("input_size", [16, 32, 41])
def test_a_mask_goes_where_its_image_goes(data, input_size):
    data.update(min_scale=1.5, max_scale=2.5)
    labels = np.where(patches(32) == VOID, 0, patches(32)).astype(np.uint8)
    images, found = drawn(painted(labels), labels, data, input_size)
    assert images.shape == (32, input_size, input_size, 1)
    assert images.dtype == np.float32
    assert (found.shape, found.dtype) == ((32, input_size, input_size), np.int32)
    inner = np.ones_like(found, bool)  # pixels whose neighbours have their label: there, interpolating changes nothing
    for axis in (1, 2):
        for shift in (-1, 1):
            inner &= np.roll(found, shift, axis) == found
    inner[:, [0, -1]] = inner[:, :, [0, -1]] = False
    inner &= found != VOID
    assert inner.mean() > 0.3
    wrong = np.abs(images[..., 0] * 255 - COLOURS[np.where(inner, found, 0)])[inner] > 40
    assert wrong.mean() < 0.02, "those that neighbours two pixels away come into"


def test_at_scale_1_nothing_is_changed_but_the_values(data):
    data.update(min_scale=1.0, max_scale=1.0, flip=False, mean=(0.3,), std=(0.2,))
    labels = patches(4)
    labels[:, -1, -1] = 0
    images = np.random.default_rng(1).integers(0, 256, (4, 32, 32, 3), np.uint8)
    out, found = drawn(images, labels, data, 32)
    np.testing.assert_allclose(out, standardize(images, data, 32), atol=1e-5)
    np.testing.assert_array_equal(found, labels)


@pytest.mark.parametrize("input_size", [16, 24, 48])
def test_images_are_resized_as_those_of_evaluation(data, input_size):
    data.update(min_scale=1.0, max_scale=1.0, flip=False)
    images, labels = (
        np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), np.uint8),
        np.zeros((2, 32, 32), np.uint8),
    )
    out, _ = drawn(images, labels, data, input_size)
    np.testing.assert_allclose(out, standardize(images, data, input_size), atol=1e-5)


def test_labels_are_those_that_were_there_or_void(data):
    labels = np.where(patches(64) == 2, 3, patches(64)).astype(np.uint8)
    _, found = drawn(painted(np.where(labels == VOID, 0, labels)), labels, data)
    assert set(np.unique(found)) == {0, 1, 3, VOID}
    for before, after in zip(labels, found, strict=True):
        assert set(np.unique(after)) <= {*np.unique(before).tolist(), VOID}


def test_outside_of_a_small_image_are_the_mean_and_void(data):
    data.update(min_scale=0.5, max_scale=0.5, mean=(0.25,), std=(0.5,))
    images, labels = np.full((16, 32, 32, 1), 255, np.uint8), np.ones((16, 32, 32), np.uint8)
    out, found = drawn(images, labels, data, 32)
    np.testing.assert_array_equal((found == 1).sum((1, 2)), 16 * 16)
    assert set(np.unique(found)) == {1, VOID}
    np.testing.assert_allclose(out[..., 0], np.where(found == 1, (1 - 0.25) / 0.5, 0), atol=1e-5)
    corners = {tuple(np.argwhere(label == 1)[0]) for label in found}
    assert len(corners) > 8, "small images lie anywhere"


def test_every_scale_occurs_and_half_are_flipped(data):
    labels = np.zeros((256, 32, 32), np.uint8)
    labels[:, :, 16:] = 1
    _, found = drawn(painted(labels), labels, data, 32)
    widths = (found != VOID).any(1).sum(1)
    assert widths.min() < 20
    assert (widths == 32).mean() > 0.5
    both = ((found == 0).any((1, 2))) & ((found == 1).any((1, 2)))
    middle = [np.argwhere(one == 0)[:, 1].mean() > np.argwhere(one == 1)[:, 1].mean() for one in found[both]]
    assert 0.4 < np.mean(middle) < 0.6
    data.flip = False
    _, found = drawn(painted(labels), labels, data, 32)
    both = ((found == 0).any((1, 2))) & ((found == 1).any((1, 2)))
    assert not any(np.argwhere(one == 0)[:, 1].mean() > np.argwhere(one == 1)[:, 1].mean() for one in found[both])


def test_what_is_padded_is_not_cut_out(data):
    """An image of a quarter of the side: at scale 2 a part of it fills a quarter of the result, never none of it."""
    data.update(min_scale=2.0, max_scale=2.0)
    labels = np.full((64, 32, 32), VOID, np.uint8)
    labels[:, :16, :8] = 1
    _, found = drawn(np.zeros((64, 32, 32, 1), np.uint8), labels, data, 32)
    np.testing.assert_array_equal((found == 1).sum((1, 2)), 32 * 16)


def test_a_pair_depends_on_the_key_and_its_place_alone(data):
    labels = patches(8)
    images = np.random.default_rng(1).integers(0, 256, (8, 32, 32, 3), np.uint8)
    jitted = jax.jit(lambda *pair: augment_pairs(*pair, data, 24))
    first, again = (jitted(jnp.asarray(images), jnp.asarray(labels), jax.random.key(1)) for _ in range(2))
    other = jitted(images, labels, jax.random.key(2))
    for one, same, different in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(one, same)
        assert not np.array_equal(one, different)
    changed_images, changed_labels = images.copy(), labels.copy()
    changed_images[1:], changed_labels[1:] = 0, 3
    alone = jitted(changed_images, changed_labels, jax.random.key(1))
    for one, same in zip(first, alone, strict=True):
        np.testing.assert_array_equal(one[0], same[0])


@pytest.mark.skipif(jax.device_count() < 8, reason="needs JAX_NUM_CPU_DEVICES=8")
def test_devices_need_nothing_of_each_other(data):
    labels, images = patches(16), np.zeros((16, 32, 32, 1), np.uint8)
    jitted = jax.jit(lambda images, labels: augment_pairs(images, labels, jax.random.key(1), data, 24))
    sharded = jax.device_put((images, labels), sharded_on(make_mesh()))
    compiled = jitted.lower(*sharded).compile()
    for one, same in zip(compiled(*sharded), jitted(images, labels), strict=True):
        np.testing.assert_array_equal(one, same)
    words = set(compiled.as_text().replace("(", " ").split())
    assert not {"all-gather", "all-reduce", "all-to-all", "collective-permute"} & words
