"""Random erasing (Zhong et al., 2017, arXiv:1708.04896), as torchvision's `RandomErasing` draws it by default."""

import jax
import jax.numpy as jnp

_AREA = (0.02, 0.33)  # shares of the image
_ASPECT_RATIO = (0.3, 3.3)  # height over width
_ATTEMPTS = 10


def erase(images: jax.Array, key: jax.Array, probability: float) -> jax.Array:
    """Images in which a rectangle was set to 0, the mean of what is normalised, or was not.

    The first of ten rectangles that is smaller than the image in both directions is taken; where none is, nothing is
    erased.

    Args:
      images: (batch, height, width, channels), normalised.
      key: a random key; what an image draws depends on it and on the image's place in the batch.
      probability: that an image loses a rectangle.
    """
    count, height, width, _ = images.shape
    is_erased = jax.random.bernoulli(jax.random.fold_in(key, 0), probability, (count,))
    tops, lefts, heights, widths = rectangles(jax.random.fold_in(key, 1), count, height, width)

    def inside(first: jax.Array, length: jax.Array, size: int) -> jax.Array:
        places = jnp.arange(size)[jnp.newaxis]
        return (places >= first[:, jnp.newaxis]) & (places < (first + length)[:, jnp.newaxis])

    rows = inside(tops, heights, height) & is_erased[:, jnp.newaxis]
    columns = inside(lefts, widths, width)
    return jnp.where(rows[:, :, jnp.newaxis, jnp.newaxis] & columns[:, jnp.newaxis, :, jnp.newaxis], 0, images)


def rectangles(key: jax.Array, count: int, height: int, width: int) -> tuple[jax.Array, ...]:
    """Top, left, height and width of one rectangle for each of `count` images, int32 (count,); no pixels if none fits.

    Args:
      key: a random key.
      count: of the images.
      height, width: of the images, in pixels.
    """
    area_key, ratio_key, top_key, left_key = jax.random.split(key, 4)
    shape = (count, _ATTEMPTS)
    areas = height * width * jax.random.uniform(area_key, shape, minval=_AREA[0], maxval=_AREA[1])
    low, high = jnp.log(jnp.asarray(_ASPECT_RATIO, jnp.float32))
    ratios = jnp.exp(jax.random.uniform(ratio_key, shape, minval=low, maxval=high))
    heights, widths = (jnp.round(jnp.sqrt(area)).astype(jnp.int32) for area in (areas * ratios, areas / ratios))
    fits = (heights < height) & (widths < width)
    first = jnp.argmax(fits, axis=1, keepdims=True)
    heights, widths = (
        jnp.where(fits.any(axis=1), jnp.take_along_axis(lengths, first, axis=1)[:, 0], 0)
        for lengths in (heights, widths)
    )
    tops = jax.random.randint(top_key, (count,), 0, height - heights + 1)
    lefts = jax.random.randint(left_key, (count,), 0, width - widths + 1)
    return tops, lefts, heights, widths
