import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from mnet_jax.devices.mesh import make_mesh, replicated_on, sharded_on
from mnet_jax.models.ops.depthwise import METHODS, depthwise_conv
from tests.convolutions import arrays, assert_same, outcome


def reference(x, kernel, strides=(1, 1), padding="SAME", dilation=(1, 1)):
    return lax.conv_general_dilated(
        x,
        kernel,
        strides,
        padding,
        rhs_dilation=dilation,
        feature_group_count=x.shape[-1],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGHEST,
    )


def depthwise_arrays(shape, k, dtype=np.float64):
    return arrays(shape, (k, k, 1, shape[-1]), dtype)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    batch=st.integers(1, 3),
    height=st.integers(9, 19),
    width=st.integers(9, 12),
    channels=st.sampled_from([1, 3, 15, 16, 17]),
    k=st.sampled_from([1, 2, 3, 5]),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.sampled_from(["SAME", "VALID", ((1, 1), (1, 1)), ((0, 2), (1, 0))]),
    dilation=st.sampled_from([(1, 1), (1, 1), (2, 1), (1, 2)]),
)
def test_forward_and_gradients_equal_the_grouped_convolution(
    batch, height, width, channels, k, strides, padding, dilation
):
    geometry = {"strides": strides, "padding": padding, "dilation": dilation}
    with jax.enable_x64(True):
        x, kernel = depthwise_arrays((batch, height, width, channels), k)
        ours = outcome(functools.partial(depthwise_conv, **geometry), x, kernel)
        assert_same(ours, outcome(functools.partial(reference, **geometry), x, kernel))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_the_same(method):
    x, kernel = depthwise_arrays((2, 7, 7, 3), 3, dtype=np.float32)
    convolve = functools.partial(depthwise_conv, strides=(2, 2), padding=((1, 1), (1, 1)), method=method)
    expected = functools.partial(reference, strides=(2, 2), padding=((1, 1), (1, 1)))
    assert_same(outcome(convolve, x, kernel), outcome(expected, x, kernel), 1e-5)


@pytest.mark.parametrize(("platform", "is_grouped"), [("cpu", False), ("cuda", True), ("tpu", True)])
def test_each_platform_gets_its_own_program(platform, is_grouped):
    x, kernel = depthwise_arrays((2, 8, 8, 4), 3, dtype=np.float32)
    gradients = jax.jit(functools.partial(outcome, depthwise_conv))
    program = gradients.trace(x, kernel).lower(lowering_platforms=(platform,)).as_text()
    assert ("stablehlo.convolution" in program) == is_grouped


def test_bfloat16_stays_bfloat16_and_sums_weights_in_float32():
    x, kernel = depthwise_arrays((2, 33, 33, 4), 3, dtype=np.float32)
    x, kernel = jnp.asarray(x, jnp.bfloat16), jnp.asarray(kernel, jnp.bfloat16)
    ours = outcome(depthwise_conv, x, kernel)
    assert {array.dtype for array in ours} == {jnp.dtype(jnp.bfloat16)}
    expected = outcome(reference, x.astype(np.float32), kernel.astype(np.float32))
    for a, b in zip(ours, expected, strict=True):
        error = np.abs(a.astype(np.float32) - b).max() / np.abs(b).max()
        assert error < 0.02, "bfloat16 has 8 bits; sums of 2178 products in it would be off by more"


def test_works_under_jit_vmap_and_checkpoint():
    x, kernel = depthwise_arrays((3, 2, 6, 6, 2), 3, dtype=np.float32)
    expected = [outcome(reference, example, kernel) for example in x]

    def gradients(x):
        return outcome(jax.checkpoint(depthwise_conv), x, kernel)

    ours = jax.jit(jax.vmap(gradients))(x)
    for i, example in enumerate(expected):
        assert_same([array[i] for array in ours], example, 1e-4)


def test_a_batch_spread_over_devices_gives_the_same():
    mesh = make_mesh()
    x, kernel = depthwise_arrays((2 * mesh.size, 9, 9, 5), 3, dtype=np.float32)
    sharded = jax.device_put(x, sharded_on(mesh))
    ours = jax.jit(functools.partial(outcome, depthwise_conv))(sharded, jax.device_put(kernel, replicated_on(mesh)))
    assert len(ours[0].sharding.device_set) == mesh.size
    assert_same(ours, outcome(reference, x, kernel), 1e-4)


@pytest.mark.parametrize(
    ("kernel", "method", "message"),
    [
        (np.zeros((3, 3, 4, 1), np.float32), "auto", r"expected \(k_h, k_w, 1, 4\)"),
        (np.zeros((3, 3, 1, 4), np.float16), "auto", "kernel is float16, the input float32"),
        (
            np.zeros((6, 3, 1, 4), np.float32),
            "auto",
            r"covers \(6, 3\) pixels, more than the padded input has: \(5, 5\)",
        ),
        (np.zeros((3, 3, 1, 4), np.float32), "fast", "'fast' is none of auto, shifted, grouped"),
    ],
)
def test_wrong_arguments_are_refused(kernel, method, message):
    with pytest.raises(ValueError, match=message):
        depthwise_conv(jnp.zeros((1, 5, 5, 4)), jnp.asarray(kernel), padding="VALID", method=method)
