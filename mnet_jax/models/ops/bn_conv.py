"""Batch normalisation, activation and the next convolution as one operation, for a GPU, whose memory limits a step.

A training step keeps a convolution's raw output. Normalised and activated values are computed again in the backward
pass, inside the kernels that read them. What is summed over a map is summed as one reduction of all that is needed, in
groups of pixels first: XLA:GPU makes one kernel of it and of the arithmetic before it.
"""

import functools

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax

from mnet_jax.models.ops.batch_norm import Activation, normalize
from mnet_jax.models.ops.convolution import Convolution

_MAX_GROUPS, _MIN_PIXELS = 16, 128  # of the pixels of an image, for a sum: how many, of how many each


@struct.dataclass
class Pending:
    """A convolution's raw output, and the batch normalisation and the activation that it awaits.

    Attributes:
      raw: (batch, height, width, channels).
      mean, variance: `moments` of `raw`, which carry no gradient: that of `raw` holds theirs.
      scale, bias: float32 (channels,).
      epsilon: added to the variance.
      activation: elementwise, differentiable.
    """

    raw: jax.Array
    mean: jax.Array
    variance: jax.Array
    scale: jax.Array
    bias: jax.Array
    epsilon: float = struct.field(pytree_node=False)
    activation: Activation = struct.field(pytree_node=False)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.raw.shape


def moments(raw: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and (biased) variance of each channel of (batch, height, width, channels), in float32 or better."""
    raw = _float(lax.stop_gradient(raw))
    total, squares = _sums(raw, lax.square(raw))
    count = raw.size // raw.shape[-1]
    mean = total / count
    return mean, jnp.maximum(squares / count - lax.square(mean), 0.0)


def finish(pending: Pending) -> jax.Array:
    """The normalised and activated map, in the dtype of `pending.raw`."""
    return _bn_conv(pending, None, pending.epsilon, pending.activation, None)


def bn_conv(pending: Pending, kernel: jax.Array, convolution: Convolution) -> jax.Array:
    """The convolution of the normalised and activated map, in the dtype of `pending.raw`, with a kernel of that."""
    return _bn_conv(pending, kernel, pending.epsilon, pending.activation, convolution)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _bn_conv(pending, kernel, epsilon, activation, convolution):
    return _forward(pending, kernel, epsilon, activation, convolution)[0]


def _forward(pending, kernel, epsilon, activation, convolution):
    x = activation(_normalized(pending)).astype(pending.raw.dtype)
    if convolution is None:
        return x, (pending, None, None)
    return convolution(x, kernel), (pending, kernel, x if convolution.keeps_input else None)


def _backward(epsilon, activation, convolution, residuals, dy):
    pending, kernel, x = residuals
    # Tied to the incoming gradient: else XLA keeps the forward pass's normalised map for what is computed from it here.
    dy, pending = lax.optimization_barrier((dy, pending))
    dkernel = None
    if convolution is not None:
        x = activation(_normalized(pending)).astype(pending.raw.dtype) if x is None else x
        dkernel = convolution.kernel_gradient(x, kernel, dy)
    dz = _gradient_of_normalized(pending, kernel, convolution, dy)
    dbias, of_products = _sums(dz, dz * _float(pending.raw))
    deviation = lax.rsqrt(pending.variance + epsilon)
    dscale = deviation * (of_products - pending.mean * dbias)
    gradient = pending.replace(
        mean=jnp.zeros_like(pending.mean),
        variance=jnp.zeros_like(pending.variance),
        scale=dscale.astype(pending.scale.dtype),
        bias=dbias.astype(pending.bias.dtype),
    )
    # Not later: of several devices, XLA's schedule would keep every incoming gradient until the kernels' are summed.
    dkernel, dscale, dbias = lax.optimization_barrier((dkernel, dscale, dbias))
    if convolution is not None and convolution.on_the_fly:
        pending, dy, dscale, dbias = lax.optimization_barrier((pending, dy, dscale, dbias))
        dz = _gradient_of_normalized(pending, kernel, convolution, dy)
    count = pending.raw.size // pending.raw.shape[-1]
    slope = pending.scale * deviation
    of_raw = -slope * deviation * dscale / count
    offset = -pending.mean * of_raw - slope * dbias / count
    draw = dz * _per_channel(slope) + _float(pending.raw) * _per_channel(of_raw) + _per_channel(offset)
    return gradient.replace(raw=draw.astype(pending.raw.dtype)), dkernel


_bn_conv.defvjp(_forward, _backward)


def _normalized(pending):
    return normalize(pending.raw, pending.mean, pending.variance, pending.scale, pending.bias, pending.epsilon)


def _gradient_of_normalized(pending, kernel, convolution, dy):
    dx = dy if convolution is None else convolution.input_gradient(pending.raw, kernel, dy)
    return jax.vjp(pending.activation, _normalized(pending))[1](_float(dx))[0]


def _sums(*terms: jax.Array) -> list[jax.Array]:
    """Of each term over all but the channels.

    A group is of one image, so that devices which share a batch exchange the last sums alone.
    """
    batch, height, width, channels = terms[0].shape
    pixels, groups = height * width, _MAX_GROUPS
    while groups > 1 and (pixels % groups or pixels // groups < _MIN_PIXELS):
        groups //= 2
    terms = [term.reshape(batch * groups, pixels // groups, channels) for term in terms]
    zeros = (jnp.zeros((), terms[0].dtype),) * len(terms)
    of_groups = lax.reduce(tuple(terms), zeros, lambda a, b: tuple(map(jnp.add, a, b)), (1,))
    return [sums.sum(axis=0) for sums in of_groups]


def _per_channel(values):
    return values.reshape(1, 1, 1, -1)


def _float(x):
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
