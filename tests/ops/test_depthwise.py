import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from mnet_jax.ops import depthwise
from mnet_jax.ops.depthwise import depthwise_conv


def reference(x, kernel, strides, padding):
    return lax.conv_general_dilated(
        x,
        kernel,
        strides,
        padding,
        feature_group_count=x.shape[-1],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGHEST,
    )


def arrays(shape, k, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape).astype(dtype), rng.normal(size=(k, k, 1, shape[-1])).astype(dtype)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    batch=st.integers(1, 3),
    height=st.integers(5, 9),
    width=st.integers(5, 9),
    channels=st.integers(1, 4),
    k=st.sampled_from([1, 3, 5]),
    strides=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    padding=st.sampled_from(["SAME", "VALID", ((1, 1), (1, 1)), ((0, 2), (1, 0))]),
)
def test_forward_and_gradients_equal_the_grouped_convolution(batch, height, width, channels, k, strides, padding):
    with jax.enable_x64(True):
        x, kernel = arrays((batch, height, width, channels), k)
        ours, vjp = jax.vjp(lambda x, w: depthwise_conv(x, w, strides, padding), x, kernel)
        theirs, reference_vjp = jax.vjp(lambda x, w: reference(x, w, strides, padding), x, kernel)
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)
        dy = np.random.default_rng(1).normal(size=ours.shape)
        for gradient, expected in zip(vjp(dy), reference_vjp(dy), strict=True):
            np.testing.assert_allclose(gradient, expected, rtol=1e-10, atol=1e-10)


def test_the_branch_of_other_platforms_has_the_same_gradients():
    x, kernel = arrays((2, 7, 7, 3), 3, dtype=np.float32)
    dy = np.ones((2, 4, 4, 3), np.float32)
    pads = ((1, 1), (1, 1))
    grouped = depthwise._grouped_backward(x, kernel, dy, (2, 2), pads)
    shifted = depthwise._shifted_backward(x, kernel, dy, (2, 2), pads)
    for ours, theirs in zip(shifted, grouped, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_bfloat16_stays_bfloat16_and_close():
    x, kernel = arrays((2, 8, 8, 4), 3, dtype=np.float32)
    y, vjp = jax.vjp(depthwise_conv, x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16))
    dx, dw = vjp(jnp.ones_like(y))
    assert {y.dtype, dx.dtype, dw.dtype} == {jnp.dtype(jnp.bfloat16)}
    expected, _ = jax.vjp(lambda x, w: reference(x, w, (1, 1), "SAME"), x, kernel)
    np.testing.assert_allclose(y.astype(np.float32), expected, atol=0.15)


def test_works_under_jit_vmap_and_checkpoint():
    x, kernel = arrays((3, 2, 6, 6, 2), 3, dtype=np.float32)
    expected = np.stack([reference(example, kernel, (1, 1), "SAME") for example in x])
    mapped = jax.jit(jax.vmap(jax.checkpoint(lambda x: depthwise_conv(x, kernel))))
    np.testing.assert_allclose(mapped(x), expected, rtol=1e-5, atol=1e-5)


def test_a_kernel_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"expected \(k_h, k_w, 1, 4\)"):
        depthwise_conv(jnp.zeros((1, 5, 5, 4)), jnp.zeros((3, 3, 4, 1)))
