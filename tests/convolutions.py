"""What the tests of several convolutions share."""

import jax
import numpy as np


def arrays(shape, kernel_shape, dtype=np.float64):
    rng = np.random.default_rng(0)
    return rng.normal(size=shape).astype(dtype), rng.normal(size=kernel_shape).astype(dtype)


def outcome(convolve, x, kernel):
    """The output, and both gradients for a random gradient of the output."""
    y, vjp = jax.vjp(convolve, x, kernel)
    return y, *vjp(np.random.default_rng(1).normal(size=y.shape).astype(y.dtype))


def assert_same(ours, theirs, tolerance=1e-10):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
