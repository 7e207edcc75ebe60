"""The convolution that follows batch normalisation, and how a GPU computes it and its gradients."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
from jax import lax

from mnet_jax.models.ops.depthwise import depthwise_conv
from mnet_jax.models.ops.padding import Pair

MEMORY = ("bytes", "least")


@dataclasses.dataclass(frozen=True)
class Convolution:
    """Of (batch, height, width, channels) with a kernel: depthwise, (k_h, k_w, 1, channels), or 1x1 at stride 1.

    Attributes:
      strides: along height and width.
      padding: ((top, bottom), (left, right)).
      depthwise: one filter a channel, else a matrix product.
      shifted: the forward pass is a sum of shifted products, and not XLA's grouped convolution.
      on_the_fly: the input gradient is such a sum, computed in each kernel that reads it and not stored.
      keeps_input: the normalised input is stored for the kernel's gradient, and not computed again.
      dilation: distance between the taps along height and width; (1, 1) where the convolution is `shifted`.
    """

    strides: Pair
    padding: tuple[Pair, Pair]
    depthwise: bool
    shifted: bool
    on_the_fly: bool
    keeps_input: bool
    dilation: Pair = (1, 1)

    @classmethod
    def choose(
        cls,
        window: Pair,
        strides: Pair,
        padding: tuple[Pair, Pair],
        depthwise: bool,
        memory: str,
        dilation: Pair = (1, 1),
    ):
        """How a GPU moves the fewest bytes, by what XLA compiles for an H100 (`python -m benchmarks.deviceless`).

        At stride 2 a sum of shifted products fuses with the normalisation before it, so that no padded copy of the
        larger map is made, and the input gradient, spread by the stride, is never stored. At stride 1 XLA would store
        those sums in float32: cuDNN's convolution moves less. Of a 5x5 kernel it was not tried.

        Args:
          window: of the kernel.
          strides, padding, depthwise: of the convolution.
          memory: one of `MEMORY`. "bytes" keeps normalised inputs, which for the gradient of the kernel is a read less
            than computing them again, but at stride 2, where they are four times the output; "least" keeps none.
          dilation: of the kernel.
        """
        by_shifts = depthwise and strides != (1, 1) and dilation == (1, 1) and max(window) <= 3
        keeps_input = memory == "bytes" and strides == (1, 1)
        return cls(strides, padding, depthwise, by_shifts, by_shifts, keeps_input, dilation)

    def __call__(self, x: jax.Array, kernel: jax.Array) -> jax.Array:
        if not self.depthwise:
            return lax.dot_general(x, kernel[0, 0], (((3,), (0,)), ((), ())))
        if self.shifted:
            return _shifted(x, kernel, self.strides, [(*pad, 0) for pad in self.padding])
        return self._grouped(x, kernel)

    def input_gradient(self, x: jax.Array, kernel: jax.Array, dy: jax.Array) -> jax.Array:
        """Of what has the shape of `x`, whose values do not matter."""
        if not self.depthwise:
            return lax.dot_general(dy, kernel[0, 0], (((3,), (1,)), ((), ())))
        if not self.on_the_fly:
            return jax.vjp(lambda x: self._grouped(x, kernel), x)[1](dy)[0]
        edges = [
            (k - 1 - before, size + before - (out - 1) * stride - 1, stride - 1)
            for size, out, k, stride, (before, _) in zip(
                x.shape[1:3], dy.shape[1:3], kernel.shape[:2], self.strides, self.padding, strict=True
            )
        ]
        return _shifted(dy, kernel[::-1, ::-1], (1, 1), edges)

    def kernel_gradient(self, x: jax.Array, kernel: jax.Array, dy: jax.Array) -> jax.Array:
        """Of what has the shape of `kernel`, whose values do not matter."""
        if not self.depthwise:
            over = (0, 1, 2)
            return lax.dot_general(x, dy, ((over, over), ((), ())))[jnp.newaxis, jnp.newaxis]
        return jax.vjp(lambda kernel: self._grouped(x, kernel), kernel)[1](dy)[0]

    def _grouped(self, x, kernel):
        return depthwise_conv(x, kernel, self.strides, self.padding, self.dilation, method="grouped")


def _shifted(x, kernel, strides, edges):
    """The sum over taps, in float32 or better; `edges` of height and width as `lax.pad` takes them."""
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *edges, (0, 0, 0)))
    batch, height, width, channels = x.shape
    k_h, k_w = kernel.shape[:2]
    ends = (height - k_h) // strides[0] * strides[0] + 1, (width - k_w) // strides[1] * strides[1] + 1
    products = (
        lax.slice(x, (0, i, j, 0), (batch, i + ends[0], j + ends[1], channels), (1, *strides, 1)).astype(dtype)
        * kernel[i, j].astype(dtype).reshape(1, 1, 1, -1)
        for i, j in itertools.product(range(k_h), range(k_w))
    )
    return functools.reduce(jnp.add, products).astype(x.dtype)
