"""How fast a training step could be on a device whose memory is the limit.

Bound (a): convolutions are library calls and everything elementwise is fused. With X elements going into a convolution
and Y coming out, the forward pass moves X + 4Y (convolution X + Y, statistics Y, normalise and activate 2Y), the
backward pass 2X + 7Y (sums 2Y, gradient of the normalisation 3Y, two gradients of the convolution X + Y each).
Weights and optimizer state are left out: they are small beside a batch.
"""

import math
import time

import jax
import jax.numpy as jnp

from mnet_jax.cost.layers import count


def bytes_per_image(model, input_size: int, bytes_per_element: int = 2) -> int:
    """What bound (a) moves for one image of a training step."""
    layers = count(model, (input_size, input_size, 3)).layers
    elements = 0
    for layer in layers:
        if "conv" in layer.kind:
            elements += 3 * math.prod(layer.input_shape) + 11 * math.prod(layer.output_shape)
    return elements * bytes_per_element


def copy_bandwidth(gibibytes: float = 2.0, repeats: int = 20) -> float:
    """Bytes per second, read plus written, of an elementwise operation on the default device."""
    x = jnp.zeros(int(gibibytes * 2**30) // 4, jnp.float32)
    step = jax.jit(lambda x: x + 1.0, donate_argnums=0)
    x = step(x).block_until_ready()
    start = time.perf_counter()
    for _ in range(repeats):
        x = step(x)
    x.block_until_ready()
    return 2 * x.nbytes * repeats / (time.perf_counter() - start)
