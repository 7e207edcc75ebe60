"""Depthwise convolution: one formulation for XLA:CPU, XLA's grouped convolution elsewhere.

On XLA:CPU a grouped convolution runs channel by channel and its weight gradient is expanded into a dense C x C
convolution. There the forward pass and the input gradient are sums of k * k shifted products, and the weight gradient
is a loop over output rows. The branch is chosen when the program is lowered, so tracing needs no backend.
"""

import functools
import itertools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
from jax import lax

_DIMENSION_NUMBERS = ("NHWC", "HWIO", "NHWC")

Padding = str | tuple[tuple[int, int], tuple[int, int]]


def depthwise_conv(x: jax.Array, kernel: jax.Array, strides: tuple[int, int] = (1, 1), padding: Padding = "SAME"):
    """Convolves every channel with its own filter.

    Args:
      x: (batch, height, width, channels).
      kernel: (k_h, k_w, 1, channels), of the same dtype as `x`.
      strides: along height and width.
      padding: "SAME" (TensorFlow's: the odd pixel goes to the end), "VALID", or ((top, bottom), (left, right)).

    Returns:
      (batch, out_height, out_width, channels), in the dtype of `x`.

    Raises:
      ValueError: `kernel` does not have one input channel and as many output channels as `x` has channels.
    """
    if kernel.ndim != 4 or kernel.shape[2:] != (1, x.shape[-1]):
        raise ValueError(f"depthwise kernel has shape {kernel.shape}, expected (k_h, k_w, 1, {x.shape[-1]})")
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding)
    return _depthwise(x, kernel, tuple(strides), tuple(tuple(pair) for pair in padding))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _depthwise(x, kernel, strides, padding):
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(_shifted_forward, strides=strides, padding=padding),
        default=functools.partial(_grouped_forward, strides=strides, padding=padding),
    )


def _forward(x, kernel, strides, padding):
    return _depthwise(x, kernel, strides, padding), (x, kernel)


def _backward(strides, padding, residuals, dy):
    return lax.platform_dependent(
        *residuals,
        dy,
        cpu=functools.partial(_shifted_backward, strides=strides, padding=padding),
        default=functools.partial(_grouped_backward, strides=strides, padding=padding),
    )


_depthwise.defvjp(_forward, _backward)


def _grouped_forward(x, kernel, strides, padding):
    return lax.conv_general_dilated(
        x, kernel, strides, padding, feature_group_count=x.shape[-1], dimension_numbers=_DIMENSION_NUMBERS
    )


def _grouped_backward(x, kernel, dy, strides, padding):
    forward: Callable = functools.partial(_grouped_forward, strides=strides, padding=padding)
    return jax.vjp(forward, x, kernel)[1](dy)


def _shifted_forward(x, kernel, strides, padding):
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    out_size = [(size - k) // s + 1 for size, k, s in zip(x.shape[1:3], kernel.shape[:2], strides, strict=True)]
    return _sum_of_taps(x, kernel, out_size, strides)


def _shifted_backward(x, kernel, dy, strides, padding):
    return _shifted_input_gradient(x, kernel, dy, strides, padding), _row_loop_weight_gradient(
        x, kernel, dy, strides, padding
    )


def _shifted_input_gradient(x, kernel, dy, strides, padding):
    """The stride-1 convolution of `dy`, spread by the strides, with the flipped kernel."""
    edges = []
    for size, out, k, s, (before, _) in zip(
        x.shape[1:3], dy.shape[1:3], kernel.shape[:2], strides, padding, strict=True
    ):
        spread = (out - 1) * s + 1
        low = k - 1 - before
        edges.append((low, size + k - 1 - low - spread, s - 1))
    dy = lax.pad(dy, jnp.zeros((), dy.dtype), ((0, 0, 0), *edges, (0, 0, 0)))
    return _sum_of_taps(dy, kernel[::-1, ::-1], x.shape[1:3], (1, 1))


def _row_loop_weight_gradient(x, kernel, dy, strides, padding):
    """Accumulates the k * k products of one output row after another, in float32 or better."""
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    k_h, k_w = kernel.shape[:2]
    _, out_height, out_width, channels = dy.shape

    def add_row(row, total):
        dy_BxWxC = lax.dynamic_index_in_dim(dy, row, 1, keepdims=False).astype(dtype)
        x_rows = lax.dynamic_slice_in_dim(x, row * strides[0], k_h, 1).astype(dtype)
        products = [
            jnp.sum(_every(x_rows[:, i], j, out_width, strides[1]) * dy_BxWxC, axis=0)
            for i, j in itertools.product(range(k_h), range(k_w))
        ]
        return total + jnp.stack(products)

    total = jnp.zeros((k_h * k_w, out_width, channels), dtype)
    total = lax.fori_loop(0, out_height, add_row, total)
    return total.sum(axis=1).reshape(kernel.shape).astype(kernel.dtype)


def _sum_of_taps(x, kernel, out_size, strides):
    k_h, k_w = kernel.shape[:2]
    weights = (kernel[i, j].reshape(1, 1, 1, -1) for i, j in itertools.product(range(k_h), range(k_w)))
    taps = _taps(x, (k_h, k_w), out_size, strides)
    return functools.reduce(jnp.add, (tap * w for tap, w in zip(taps, weights, strict=True)))


def _taps(x, window, out_size, strides) -> Iterator[jax.Array]:
    for i, j in itertools.product(*map(range, window)):
        rows = lax.slice_in_dim(x, i, i + (out_size[0] - 1) * strides[0] + 1, strides[0], axis=1)
        yield lax.slice_in_dim(rows, j, j + (out_size[1] - 1) * strides[1] + 1, strides[1], axis=2)


def _every(row, start, count, stride):
    """`count` columns of a (batch, width, channels) row, `stride` apart."""
    return lax.slice_in_dim(row, start, start + (count - 1) * stride + 1, stride, axis=1)
