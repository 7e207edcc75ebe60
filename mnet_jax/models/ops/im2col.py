"""Convolution as one matrix product of an image's patches (im2col), for XLA:CPU; elsewhere it is XLA's convolution.

Three colours are too few for XLA:CPU's convolutions to vectorise along. Onto two pixels a side or fewer, forward and
both gradients of a 3x3 convolution take them 4 to 36 times as long (64 images, 128 to 512 channels, jax 0.10.2, one
core of an AMD EPYC).
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax

from mnet_jax.models.ops.padding import Padding, Pair, pads_of
from mnet_jax.models.ops.pointwise import matmul, matmul_weight_gradient


def im2col_conv(x: jax.Array, kernel: jax.Array, strides: Pair, padding: Padding) -> jax.Array:
    """As `lax.conv_general_dilated` in NHWC, HWIO.

    Args:
      x: (batch, height, width, channels).
      kernel: (k_h, k_w, channels, features), of the same dtype as `x`.
      strides: along height and width.
      padding: "SAME", "VALID", or ((top, bottom), (left, right)).

    Returns:
      (batch, out_height, out_width, features), in the dtype of `x`.
    """
    return _im2col_conv(x, kernel, tuple(strides), pads_of(x.shape[1:3], kernel.shape[:2], strides, padding))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _im2col_conv(x, kernel, strides, padding):
    by_im2col = functools.partial(_product, strides=strides, padding=padding)
    return lax.platform_dependent(x, kernel, cpu=by_im2col, default=_convolution(strides, padding))


def _convolution(strides, padding):
    return functools.partial(
        lax.conv_general_dilated,
        window_strides=strides,
        padding=padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _forward(x, kernel, strides, padding):
    return _im2col_conv(x, kernel, strides, padding), (x, kernel)


def _backward(strides, padding, residuals, dy):
    def gradients(x, kernel, dy):
        return jax.vjp(_convolution(strides, padding), x, kernel)[1](dy)

    def gradients_by_im2col(x, kernel, dy):
        patches = functools.partial(_im2col, window=kernel.shape[:2], strides=strides, padding=padding)
        columns, transposed = jax.vjp(patches, x)
        (dx,) = transposed(matmul(dy, kernel.reshape(-1, kernel.shape[-1]).T))
        return dx, matmul_weight_gradient(columns, dy).reshape(kernel.shape)

    return lax.platform_dependent(*residuals, dy, cpu=gradients_by_im2col, default=gradients)


_im2col_conv.defvjp(_forward, _backward)


def _product(x, kernel, strides, padding):
    return matmul(_im2col(x, kernel.shape[:2], strides, padding), kernel.reshape(-1, kernel.shape[-1]))


def _im2col(x, window, strides, padding):
    """(batch, out_height, out_width, k_h * k_w * channels): what each output pixel sees.

    A row of a patch lies in memory as one piece; columns are grouped by the stride so that a slice can take it.
    """
    (k_h, k_w), (s_h, s_w), (batch, height, width, channels) = window, strides, x.shape
    (top, bottom), (left, right) = padding
    out_height = (height + top + bottom - k_h) // s_h + 1
    out_width = (width + left + right - k_w) // s_w + 1
    groups = math.ceil(k_w / s_w)
    right = (out_width - 1 + groups) * s_w - width - left
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (top, bottom, 0), (left, right, 0), (0, 0, 0)))
    x = x.reshape(batch, x.shape[1], -1, s_w * channels)
    pieces = [
        lax.slice(
            x,
            (0, i, group, 0),
            (batch, i + (out_height - 1) * s_h + 1, group + out_width, min(s_w, k_w - group * s_w) * channels),
            (1, s_h, 1, 1),
        )
        for i in range(k_h)
        for group in range(groups)
    ]
    return jnp.concatenate(pieces, axis=-1)
