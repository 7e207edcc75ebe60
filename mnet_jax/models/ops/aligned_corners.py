"""Bilinear interpolation with aligned corners, TensorFlow's `resize_bilinear(align_corners=True)`, as matrix products.

Pixel i of n outputs stands at i * (m - 1) / (n - 1) of m inputs: the first and the last stay where they are, and 33
pixels at stride 16 lie on those of 513 that their kernels are centred on. `jax.image.resize` aligns the edges instead.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def resize_aligned(x_BxHxWxC: jax.Array, height: int, width: int) -> jax.Array:
    """(batch, height, width, channels), in the dtype of `x_BxHxWxC`; exact where an output pixel lies on an input one.

    A side of one pixel takes the first input pixel.
    """
    batch, before, _, channels = x_BxHxWxC.shape
    x = _along_width(x_BxHxWxC, width)
    x = _along_width(x.reshape(batch, 1, before, width * channels), height)
    return x.reshape(batch, height, width, channels)


def _along_width(x_BxHxWxC: jax.Array, width: int) -> jax.Array:
    """A product for each row, whose output XLA:CPU writes where it belongs; that of one product it would transpose."""
    weights = jnp.asarray(_weights(x_BxHxWxC.shape[2], width), x_BxHxWxC.dtype)
    weights = jnp.broadcast_to(weights, (*x_BxHxWxC.shape[:2], *weights.shape))
    return jnp.matmul(weights, x_BxHxWxC, precision=lax.Precision.HIGHEST)


def _weights(before: int, after: int) -> np.ndarray:
    """(after, before): what each output pixel takes of each input pixel; integers decide where it lies."""
    steps = max(after - 1, 1)
    whole, rest = np.divmod(np.arange(after) * (before - 1), steps)
    weights = np.zeros((after, before))
    np.add.at(weights, (np.arange(after), whole), 1 - rest / steps)
    np.add.at(weights, (np.arange(after), np.minimum(whole + 1, before - 1)), rest / steps)
    return weights
