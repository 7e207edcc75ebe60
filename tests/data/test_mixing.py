import jax
import numpy as np
import pytest

from mnet_jax.data.mixing import cutmix_shares, mix, mixup_shares

KEYS = jax.random.split(jax.random.key(0), 4000)


@pytest.fixture
def batch():
    images = np.random.default_rng(0).normal(size=(5, 6, 8, 3)).astype(np.float32)
    return images, np.eye(5, dtype=np.float32)


def mixed(batch, mixup, cutmix, keys):
    return map(np.asarray, jax.jit(jax.vmap(lambda key: mix(*batch, key, mixup, cutmix)))(keys))


def test_mixup_is_a_line_between_an_image_and_the_one_before(batch):
    for images, targets in zip(*mixed(batch, 0.4, 0.0, KEYS[:8]), strict=True):
        share = targets[0, 0]
        expected = share * batch[0] + (1 - share) * np.roll(batch[0], 1, 0)
        np.testing.assert_allclose(images, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(targets, share * np.eye(5) + (1 - share) * np.roll(np.eye(5), 1, 0), atol=1e-6)


def test_cutmix_takes_a_box_of_the_one_before_and_its_share_of_the_label(batch):
    boxes = 0
    for images, targets in zip(*mixed(batch, 0.0, 1.0, KEYS[:16]), strict=True):
        other = np.roll(batch[0], 1, 0)
        taken = (images == other).all(-1)
        assert np.array_equal(images, np.where(taken[..., np.newaxis], other, batch[0]))
        assert (taken == taken[0]).all(), "one box for the batch"
        rows, columns = taken[0].any(1).sum(), taken[0].any(0).sum()
        assert taken[0].sum() == rows * columns
        np.testing.assert_allclose(np.diag(targets), 1 - rows * columns / 48, atol=1e-6)
        np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)
        boxes += rows > 0
    assert boxes > 8


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_the_share_of_mixup_is_that_of_a_beta_distribution(alpha):
    shares = np.asarray(jax.jit(jax.vmap(lambda key: mixup_shares(key, alpha, (1, 1))))(KEYS))
    assert shares.mean() == pytest.approx(0.5, abs=0.03)
    assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.07), "the variance of Beta(alpha, alpha)"


def test_the_box_of_cutmix_follows_its_definition():
    """torchvision's `CutMix.make_params`, for many shares and middles, in NumPy."""
    height, width = 20, 30
    ours = np.asarray(jax.jit(jax.vmap(lambda key: cutmix_shares(key, 1.0, (height, width))))(KEYS))
    rng = np.random.default_rng(0)
    share = rng.beta(1, 1, 4000)
    areas = 1
    for size in (height, width):
        middle, reach = rng.integers(0, size, 4000), (0.5 * np.sqrt(1 - share) * size).astype(int)
        areas = areas * (np.minimum(middle + reach, size) - np.maximum(middle - reach, 0))
    quantiles = [0.1, 0.25, 0.5, 0.75, 0.9]
    cut = (1 - ours).sum((1, 2))
    np.testing.assert_allclose(np.quantile(cut, quantiles), np.quantile(areas, quantiles), rtol=0.12, atol=4)
    where = (1 - ours).mean(0)
    np.testing.assert_allclose(where, where[::-1, ::-1], atol=0.05)
    assert where[10, 15] > 1.3 * where[0, 0]


def test_of_both_a_batch_takes_either(batch):
    (images, _), (of_mixup, _), (of_cutmix, _) = (
        mixed(batch, *alphas, KEYS[:400]) for alphas in ((1, 1), (1, 0), (0, 1))
    )
    is_mixup, is_cutmix = ((images == other).all((1, 2, 3, 4)) for other in (of_mixup, of_cutmix))
    assert (is_mixup | is_cutmix).all()
    assert is_mixup.mean() == pytest.approx(0.5, abs=0.1)


def test_without_alphas_a_batch_is_the_same_array(batch):
    assert mix(*batch, KEYS[0], 0.0, 0.0) == batch
