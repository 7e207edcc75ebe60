"""What happens to the images of a batch on the device, inside the trial's jitted step, in this order: shift, flip,
operations of a policy, resize to the trial's own input size, normalise, erase."""

import jax
import jax.numpy as jnp
from jax import lax

from mnet_jax.data.erasing import erase
from mnet_jax.data.policies import auto_augment


def augment(images: jax.Array, key: jax.Array, data, input_size: int) -> jax.Array:
    """Randomly changed images, ready for the network.

    Args:
      images: (batch, height, width, channels), uint8.
      key: a random key; each image draws by itself, and what it draws depends on the key and its place in the batch.
      data: `config.data`: `crop`, `crop_padding` (pixels), `flip`, `augment` and what it needs, `mean` and `std` (of
        pixels in [0, 1]), `random_erasing`.
      input_size: side of the result, in pixels.

    Returns:
      (batch, input_size, input_size, channels), float32.
    """
    crop_key, flip_key, policy_key, erasing_key = jax.random.split(key, 4)
    if data.crop == "shift" and data.crop_padding:
        images = pad_and_crop(images, crop_key, data.crop_padding)
    if data.flip:
        is_flipped = jax.random.bernoulli(flip_key, shape=(images.shape[0], 1, 1, 1))
        images = jnp.where(is_flipped, images[:, :, ::-1], images)
    if data.augment != "none":
        images = auto_augment(images, policy_key, data)
    images = standardize(images, data, input_size)
    return erase(images, erasing_key, data.random_erasing) if data.random_erasing else images


def standardize(images: jax.Array, data, input_size: int) -> jax.Array:
    """uint8 images resized with antialiasing to `input_size`, normalised to float32; what evaluation feeds."""
    x = images.astype(jnp.float32) / 255.0
    batch, height, width, channels = x.shape
    if (height, width) != (input_size, input_size):
        x = jax.image.resize(x, (batch, input_size, input_size, channels), "bilinear", antialias=True)
    mean, std = (jnp.asarray(value, jnp.float32).reshape(1, 1, 1, -1) for value in (data.mean, data.std))
    return (x - mean) / std


def pad_and_crop(images: jax.Array, key: jax.Array, padding: int) -> jax.Array:
    """Pads with black and cuts the original size out at a random place, each image at its own.

    Args:
      images: (batch, height, width, channels).
      key: a random key.
      padding: pixels on every side.

    Returns:
      The shape and dtype of `images`.
    """
    batch, *size = images.shape
    padded = jnp.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    starts = jax.random.randint(key, (batch, 2), 0, 2 * padding + 1)
    return jax.vmap(lambda image, start: lax.dynamic_slice(image, (start[0], start[1], 0), size))(padded, starts)
