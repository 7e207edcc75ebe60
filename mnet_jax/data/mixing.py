"""Mixup and CutMix: each image of a batch mixed with the one before it, and so are their labels.

As torchvision's transforms `MixUp` and `CutMix`: a batch draws one share, and one box, for all of its images. Of both,
each batch takes one or the other with equal probability, as torchvision's reference training and timm do.
"""

import jax
import jax.numpy as jnp

Mixed = tuple[jax.Array, jax.Array]


def mix(images: jax.Array, targets: jax.Array, key: jax.Array, mixup_alpha: float, cutmix_alpha: float) -> Mixed:
    """Mixed images and targets; as they are where both alphas are 0.

    Args:
      images: (batch, height, width, channels), float32.
      targets: (batch, classes), float32; each row sums to 1.
      key: a random key.
      mixup_alpha, cutmix_alpha: of the Beta distribution of the share that stays of an image; 0 for none of it.
    """
    choice_key, mixup_key, cutmix_key = jax.random.split(key, 3)
    size = images.shape[1:3]
    kept = None
    if mixup_alpha:
        kept = mixup_shares(mixup_key, mixup_alpha, size)
    if cutmix_alpha:
        of_cutmix = cutmix_shares(cutmix_key, cutmix_alpha, size)
        kept = of_cutmix if kept is None else jnp.where(jax.random.bernoulli(choice_key), of_cutmix, kept)
    if kept is None:
        return images, targets
    share, kept = kept.mean(), kept[jnp.newaxis, :, :, jnp.newaxis]
    mixed = kept * images + (1 - kept) * jnp.roll(images, 1, axis=0)
    return mixed, share * targets + (1 - share) * jnp.roll(targets, 1, axis=0)


def mixup_shares(key: jax.Array, alpha: float, size: tuple[int, int]) -> jax.Array:
    """What stays of each pixel (height, width): the same share of all, from Beta(alpha, alpha) (arXiv:1710.09412)."""
    return jnp.full(size, jax.random.beta(key, alpha, alpha, dtype=jnp.float32))


def cutmix_shares(key: jax.Array, alpha: float, size: tuple[int, int]) -> jax.Array:
    """What stays of each pixel (height, width): 0 in a box, 1 around it (arXiv:1905.04899).

    The box has sqrt(1 - share) of both sides, the share from Beta(alpha, alpha), its middle anywhere; what is outside
    of the image is cut off.
    """
    share_key, *middle_keys = jax.random.split(key, 3)
    half = 0.5 * jnp.sqrt(1 - jax.random.beta(share_key, alpha, alpha, dtype=jnp.float32))

    def is_inside(middle_key: jax.Array, length: int) -> jax.Array:
        middle, reach = jax.random.randint(middle_key, (), 0, length), jnp.floor(half * length).astype(jnp.int32)
        places = jnp.arange(length)
        return (places >= middle - reach) & (places < middle + reach)

    rows, columns = (is_inside(*of_axis) for of_axis in zip(middle_keys, size, strict=True))
    return 1.0 - (rows[:, jnp.newaxis] & columns[jnp.newaxis]).astype(jnp.float32)
