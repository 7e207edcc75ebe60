"""Batch normalisation and activation as one operation, with a gradient that reads each array as rarely as XLA allows.

The backward pass keeps the convolution's output and nothing else of its size: what the activation needs is computed
again. Derived by hand, it is two sums and one fused expression; the automatic gradient keeps and reads several arrays
more (Ioffe and Szegedy 2015, section 3).
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

Activation = Callable[[jax.Array], jax.Array]


def batch_norm_act(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, activation: Activation
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """activation(scale * (x - mean) / sqrt(variance + epsilon) + bias), with the statistics of the batch.

    Args:
      x: (batch, height, width, channels).
      scale, bias: float32 (channels,).
      epsilon: added to the variance.
      activation: elementwise, differentiable.

    Returns:
      The result, in the dtype of `x`, and float32 mean and (biased) variance per channel, which carry no gradient.
    """
    y, mean, variance = _batch_norm_act(x, scale, bias, epsilon, activation)
    return y, lax.stop_gradient(mean), lax.stop_gradient(variance)


def normalize(
    x: jax.Array, mean: jax.Array, variance: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float
) -> jax.Array:
    """scale * (x - mean) / sqrt(variance + epsilon) + bias, in float32 or better."""
    factor = scale * lax.rsqrt(variance + epsilon)
    return _affine(x, factor, bias - mean * factor)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _batch_norm_act(x, scale, bias, epsilon, activation):
    return _forward(x, scale, bias, epsilon, activation)[0]


def _forward(x, scale, bias, epsilon, activation):
    x_float = _float(x)
    mean = x_float.mean(axis=(0, 1, 2))
    variance = jnp.maximum(lax.square(x_float).mean(axis=(0, 1, 2)) - lax.square(mean), 0.0)
    y = activation(normalize(x, mean, variance, scale, bias, epsilon)).astype(x.dtype)
    return (y, mean, variance), (x, mean, variance, scale, bias)


def _backward(epsilon, activation, residuals, cotangents):
    x, mean, variance, scale, bias = residuals
    count = x.size // x.shape[-1]
    deviation = lax.rsqrt(variance + epsilon)
    _, vjp = jax.vjp(activation, normalize(x, mean, variance, scale, bias, epsilon))
    (dy,) = vjp(_float(cotangents[0]))
    dbias = dy.sum(axis=(0, 1, 2))
    dscale = deviation * ((dy * _float(x)).sum(axis=(0, 1, 2)) - mean * dbias)
    slope = scale * deviation
    of_x = -slope * deviation * dscale / count
    dx = dy * _per_channel(slope) + _affine(x, of_x, -mean * of_x - slope * dbias / count)
    return dx.astype(x.dtype), dscale.astype(scale.dtype), dbias.astype(bias.dtype)


_batch_norm_act.defvjp(_forward, _backward)


def _affine(x, factor, offset):
    return _float(x) * _per_channel(factor) + _per_channel(offset)


def _per_channel(values):
    return values.reshape(1, 1, 1, -1)


def _float(x):
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
