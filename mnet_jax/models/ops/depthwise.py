"""Depthwise convolution: sums of shifted products for XLA:CPU, XLA's grouped convolution elsewhere.

On XLA:CPU a grouped convolution runs channel by channel and its weight gradient is expanded into a dense C x C
convolution. Sums of shifted products are elementwise there, so XLA vectorises them along the channels. Which of the
two runs is decided when the program is lowered; tracing needs no backend. `python -m benchmarks.depthwise` times both.
"""

import functools
import itertools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from mnet_jax.models.ops.outline import out_of_line
from mnet_jax.models.ops.padding import Padding, Pair, pads_of

METHODS = ("auto", "shifted", "grouped")

_TERMS = 8  # groups of rows whose products one kernel of the weight gradient adds up; 16 were no faster
_NARROW = 16  # channels below which rows are flattened


def depthwise_conv(
    x: jax.Array,
    kernel: jax.Array,
    strides: Pair = (1, 1),
    padding: Padding = "SAME",
    dilation: Pair = (1, 1),
    method: str = "auto",
) -> jax.Array:
    """Convolves every channel with its own filter.

    Args:
      x: (batch, height, width, channels).
      kernel: (k_h, k_w, 1, channels), of the same dtype as `x`.
      strides: along height and width.
      padding: "SAME" (TensorFlow's: the odd pixel goes to the end), "VALID", or ((top, bottom), (left, right)).
      dilation: distance between the taps of the kernel along height and width.
      method: "shifted" or "grouped" products; "auto" takes the first on the CPU and the second elsewhere.

    Returns:
      (batch, out_height, out_width, channels), in the dtype of `x`.

    Raises:
      ValueError: `kernel` does not have one input channel and as many output channels as `x` has channels, its dtype
        is another, it covers more pixels than the padded input has, or `method` is unknown.
    """
    if kernel.ndim != 4 or kernel.shape[2:] != (1, x.shape[-1]):
        raise ValueError(f"depthwise kernel has shape {kernel.shape}, expected (k_h, k_w, 1, {x.shape[-1]})")
    if kernel.dtype != x.dtype:
        raise ValueError(f"depthwise kernel is {kernel.dtype}, the input {x.dtype}; they must agree")
    if method not in METHODS:
        raise ValueError(f"method {method!r} is none of {', '.join(METHODS)}")
    window = tuple((k - 1) * d + 1 for k, d in zip(kernel.shape[:2], dilation, strict=True))
    padding = pads_of(x.shape[1:3], window, strides, padding)
    padded = tuple(size + sum(pad) for size, pad in zip(x.shape[1:3], padding, strict=True))
    if padded[0] < window[0] or padded[1] < window[1]:
        raise ValueError(f"the kernel covers {window} pixels, more than the padded input has: {padded}")
    if method == "grouped":
        return _grouped(x, kernel, tuple(strides), padding, tuple(dilation))
    return _depthwise(x, kernel, tuple(strides), padding, tuple(dilation), method)


def _grouped(x, kernel, strides, padding, dilation):
    return lax.conv_general_dilated(
        x,
        kernel,
        strides,
        padding,
        rhs_dilation=dilation,
        feature_group_count=x.shape[-1],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _grouped_gradients(x, kernel, dy, **geometry):
    return jax.vjp(functools.partial(_grouped, **geometry), x, kernel)[1](dy)


def _choose(method: str, shifted: Callable, grouped: Callable, *arrays):
    if method == "shifted":
        return shifted(*arrays)
    return lax.platform_dependent(*arrays, cpu=shifted, default=grouped)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4, 5))
def _depthwise(x, kernel, strides, padding, dilation, method):
    geometry = {"strides": strides, "padding": padding, "dilation": dilation}
    return _choose(method, functools.partial(_shifted, **geometry), functools.partial(_grouped, **geometry), x, kernel)


def _depthwise_forward(x, kernel, strides, padding, dilation, method):
    geometry = {"strides": strides, "padding": padding, "dilation": dilation}
    shifted = functools.partial(_shifted, **geometry, outlined=True)
    return _choose(method, shifted, functools.partial(_grouped, **geometry), x, kernel), (x, kernel)


def _depthwise_backward(strides, padding, dilation, method, residuals, dy):
    geometry = {"strides": strides, "padding": padding, "dilation": dilation}
    shifted = functools.partial(_shifted_gradients, **geometry)
    return _choose(method, shifted, functools.partial(_grouped_gradients, **geometry), *residuals, dy)


_depthwise.defvjp(_depthwise_forward, _depthwise_backward)


def _shifted(x, kernel, strides, padding, dilation, outlined=False):
    """`outlined` keeps the sum out of other kernels: in training it has several readers, and each would repeat it."""
    channels = x.shape[-1]
    out_size = tuple(
        (size + sum(pad) - (k - 1) * d - 1) // s + 1
        for size, pad, k, d, s in zip(x.shape[1:3], padding, kernel.shape[:2], dilation, strides, strict=True)
    )
    flat = strides[1] == 1 and channels < _NARROW
    window = kernel.shape[:2]
    weights = jnp.tile(kernel.reshape(*window, channels), out_size[1]) if flat else kernel.reshape(*window, channels)

    def sum_of_taps(x, weights):
        x = _flat(x) if flat else x
        products = (
            _tap(x, (i * dilation[0], j * dilation[1]), out_size, strides, channels)
            * weights[i, j].reshape(*[1] * (x.ndim - 1), -1)
            for i, j in itertools.product(*map(range, window))
        )
        return functools.reduce(jnp.add, products)

    y = (out_of_line(sum_of_taps) if outlined else sum_of_taps)(_pad(x, padding), weights)
    return y.reshape(x.shape[0], *out_size, channels)


def _pad(x, padding):
    return jnp.pad(x, ((0, 0), *padding, (0, 0)))


def _flat(x):
    """One axis for a row, for long loops even where there are few channels.

    Only inside a function that is out of line: what XLA fused with it would take each channel's values by a division.
    """
    return x.reshape(*x.shape[:2], -1)


def _tap(rows, start, size, strides, channels):
    """The pixels of `size` rows and columns, `strides` apart, from `start` on, which may be traced."""
    (top, left), (height, width) = start, size
    height = (height - 1) * strides[0] + 1
    if rows.ndim == 3:
        window = (rows.shape[0], height, width * channels)
        return lax.dynamic_slice(rows, (0, top, left * channels), window)[:, :: strides[0]]
    window = (rows.shape[0], height, (width - 1) * strides[1] + 1, channels)
    return lax.dynamic_slice(rows, (0, top, left, 0), window)[:, :: strides[0], :: strides[1]]


def _shifted_gradients(x, kernel, dy, **geometry):
    return _input_gradient(x, kernel, dy, **geometry), _weight_gradient(x, kernel, dy, **geometry)


def _input_gradient(x, kernel, dy, strides, padding, dilation):
    """The stride-1 convolution of `dy`, spread by the strides, with the flipped kernel."""
    edges = []
    for size, out, k, d, s, (before, _) in zip(
        x.shape[1:3], dy.shape[1:3], kernel.shape[:2], dilation, strides, padding, strict=True
    ):
        reach = (k - 1) * d
        low = reach - before
        edges.append((low, size + reach - low - (out - 1) * s - 1, s - 1))
    dy = lax.pad(dy, jnp.zeros((), dy.dtype), ((0, 0, 0), *edges, (0, 0, 0)))
    return _shifted(dy, kernel[::-1, ::-1], (1, 1), ((0, 0), (0, 0)), dilation, outlined=True)


def _weight_gradient(x, kernel, dy, strides, padding, dilation):
    """Sums of products over images and pixels, in float32 or better: first of `_TERMS` groups of rows, elementwise.

    The taps are turns of one loop: one kernel to compile, whose output is still in a cache when it is summed.
    """
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    (k_h, k_w), (batch, out_height, out_width, channels) = kernel.shape[:2], dy.shape
    group = math.ceil(out_height / _TERMS)
    terms = math.ceil(out_height / group)
    missing = terms * group - out_height
    (top, bottom), columns = padding
    x = _pad(x, ((top, bottom + missing * strides[0]), columns))
    dy = _pad(dy, ((0, missing), (0, 0)))
    size = (group, out_width)

    @out_of_line
    def products(x, dy, i, j):
        if strides[1] == 1:
            x, dy = _flat(x), _flat(dy)
        of_groups = (
            _tap(x, (i * dilation[0] + row * strides[0], j * dilation[1]), size, strides, channels).astype(dtype)
            * lax.slice_in_dim(dy, row, row + group, axis=1).astype(dtype)
            for row in range(0, terms * group, group)
        )
        return functools.reduce(jnp.add, of_groups)

    def of_images(tap):
        return products(x, dy, tap // k_w, tap % k_w).reshape(batch, -1, channels).sum(axis=1)

    return lax.map(of_images, jnp.arange(k_h * k_w)).sum(axis=1).reshape(kernel.shape).astype(kernel.dtype)
