"""1x1 convolution as a matrix product, with gradients that XLA:CPU computes without a transposed copy of an activation.

Left to itself, JAX asks for the transpose of the weight gradient, and XLA:CPU then stores the incoming gradient
transposed. Written out as below, both operands are read as they lie in memory.
"""

import jax
from jax import lax


@jax.custom_vjp
def matmul(x: jax.Array, weights: jax.Array) -> jax.Array:
    """(..., c) times (c, d): (..., d), in the dtype of the arguments, which must agree."""
    return _contract(x, weights, over=0)


def matmul_weight_gradient(x: jax.Array, dy: jax.Array) -> jax.Array:
    """The gradient of `weights`, (c, d), where `x` is (..., c) and `dy` (..., d)."""
    return lax.dot_general(_rows(x), _rows(dy), (((0,), (0,)), ((), ())))


def _forward(x, weights):
    return matmul(x, weights), (x, weights)


def _backward(residuals, dy):
    x, weights = residuals
    return _contract(dy, weights, over=1), matmul_weight_gradient(x, dy)


matmul.defvjp(_forward, _backward)


def _contract(x, weights, over):
    y = lax.dot_general(_rows(x), weights, (((1,), (over,)), ((), ())))
    return y.reshape(*x.shape[:-1], -1)


def _rows(x):
    return x.reshape(-1, x.shape[-1])


def pointwise_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """(batch, height, width, c) with a kernel (1, 1, c, d): (batch, height, width, d)."""
    return matmul(x, kernel[0, 0])
