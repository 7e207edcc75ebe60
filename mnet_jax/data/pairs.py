"""What happens to images and their masks on the device, inside the trial's jitted step: one scale, crop and flip for
both. Images are interpolated, labels never: each pixel of a mask takes the label of the pixel in which it lies."""

import jax
import jax.numpy as jnp

from mnet_jax.data.augment import standardize
from mnet_jax.data.masks import VOID


def augment_pairs(
    images: jax.Array, labels: jax.Array, key: jax.Array, data, input_size: int
) -> tuple[jax.Array, jax.Array]:
    """Images at a random scale, of which a random part is cut out, with the same part of their masks.

    At scale 1 the side of the stream's images becomes `input_size`. The part has that size and is drawn among all that
    lie within what is labelled of the scaled image, down to its last row and column that is not void; where that is
    smaller, it lies at a random place in the part. Around the image are the mean colour and void (DeepLab, Chen et al.,
    2017, arXiv:1706.05587, section 4.1: scales of 0.5 to 2, crops, flips).

    Args:
      images: (batch, side, side, channels), uint8.
      labels: (batch, side, side), uint8: a class per pixel, or 255 for void.
      key: a random key; what an image draws depends on it and on the image's place in the batch.
      data: `config.data`: `min_scale`, `max_scale`, `flip`, `mean` and `std` (of pixels in [0, 1]).
      input_size: side of the results, in pixels.

    Returns:
      Images (batch, input_size, input_size, channels), float32, normalised; labels (batch, input_size, input_size),
      int32.
    """
    batch, side = labels.shape[:2]
    scale_key, place_key, flip_key = jax.random.split(key, 3)
    scales = jax.random.uniform(scale_key, (batch, 1), minval=data.min_scale, maxval=data.max_scale)
    shares = jax.random.uniform(place_key, (batch, 2))
    is_flipped = jax.random.bernoulli(flip_key, shape=(batch, 1)) & data.flip

    step = side / (input_size * scales)  # pixels of the stream for one of the result, (batch, 1)
    first = shares * (_extents(labels) - input_size * step)  # the part's upper left corner, y and x, (batch, 2)
    centres = jnp.arange(input_size, dtype=jnp.float32)[jnp.newaxis] + 0.5
    ys = first[:, :1] + centres * step
    xs = first[:, 1:] + jnp.where(is_flipped, input_size - centres, centres) * step

    x_BxHxWxC = standardize(images, data, side)
    rows, columns = _weights(ys, step, side), _weights(xs, step, side)
    precision = jax.lax.Precision.HIGHEST
    x_BxHxWxC = jnp.einsum("bis,bswc->biwc", rows, x_BxHxWxC, precision=precision)
    x_BxHxWxC = jnp.einsum("bjs,bisc->bijc", columns, x_BxHxWxC, precision=precision)
    return x_BxHxWxC, jax.vmap(_nearest)(labels, ys, xs)


def _extents(labels: jax.Array) -> jax.Array:
    """Up to which row and column labels go that are not void, in pixels: (batch, 2), float32."""
    is_labelled = labels != VOID
    places = jnp.arange(1, labels.shape[1] + 1)[jnp.newaxis]
    ends = [jnp.max(jnp.where(is_labelled.any(axis), places, 0), 1) for axis in (2, 1)]
    return jnp.stack(ends, 1).astype(jnp.float32)


def _weights(positions: jax.Array, step: jax.Array, side: int) -> jax.Array:
    """How much each pixel along a side counts at each position: bilinear, with antialiasing, as `jax.image.resize`.

    Args:
      positions: (batch, size), in pixels from the image's edge.
      step: (batch, 1), between two of them.
      side: of the image.

    Returns:
      (batch, size, side); a row adds up to 1, or to 0 outside the image.
    """
    centres = (jnp.arange(side, dtype=jnp.float32) + 0.5)[jnp.newaxis, jnp.newaxis]
    distances = jnp.abs(positions[:, :, jnp.newaxis] - centres) / jnp.maximum(step, 1)[:, :, jnp.newaxis]
    weights = jnp.maximum(0, 1 - distances)
    weights /= jnp.maximum(weights.sum(2, keepdims=True), jnp.finfo(jnp.float32).tiny)
    return jnp.where(_is_inside(positions, side)[:, :, jnp.newaxis], weights, 0)


def _nearest(label: jax.Array, ys: jax.Array, xs: jax.Array) -> jax.Array:
    """The labels (side, side) in which positions (size,) along both sides lie, or void: (size, size), int32."""
    side = label.shape[0]
    rows, columns = (jnp.clip(jnp.floor(positions), 0, side - 1).astype(jnp.int32) for positions in (ys, xs))
    is_inside = _is_inside(ys, side)[:, jnp.newaxis] & _is_inside(xs, side)[jnp.newaxis]
    return jnp.where(is_inside, label[rows[:, jnp.newaxis], columns[jnp.newaxis]].astype(jnp.int32), VOID)


def _is_inside(positions: jax.Array, side: int) -> jax.Array:
    return (positions >= 0) & (positions < side)
