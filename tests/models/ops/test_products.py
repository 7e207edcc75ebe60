"""Convolutions that are computed as matrix products."""

import functools

import jax
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jax import lax

from mnet_jax.devices.mesh import make_mesh, sharded_on
from mnet_jax.models.ops.im2col import im2col_conv
from mnet_jax.models.ops.pointwise import pointwise_conv
from tests.convolutions import arrays, assert_same, outcome


def reference(x, kernel, strides=(1, 1), padding="SAME"):
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    height=st.integers(1, 11),
    width=st.integers(1, 11),
    channels=st.integers(1, 9),
    k=st.integers(1, 5),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.sampled_from(["SAME", "VALID", ((1, 1), (1, 1)), ((0, 2), (1, 0))]),
)
def test_im2col_equals_the_convolution(height, width, channels, k, strides, padding):
    assume(padding == "SAME" or min(height, width) >= k)
    with jax.enable_x64(True):
        arguments = arrays((2, height, width, channels), (k, k, channels, 6))
        ours = outcome(functools.partial(im2col_conv, strides=strides, padding=padding), *arguments)
        assert_same(ours, outcome(functools.partial(reference, strides=strides, padding=padding), *arguments))


def test_a_pointwise_convolution_equals_the_convolution():
    with jax.enable_x64(True):
        arguments = arrays((2, 5, 4, 7), (1, 1, 7, 3))
        assert_same(outcome(pointwise_conv, *arguments), outcome(reference, *arguments))


CONVOLUTIONS = {
    "im2col": (functools.partial(im2col_conv, strides=(2, 2), padding="SAME"), (3, 3, 3, 5), (2, 2)),
    "pointwise": (pointwise_conv, (1, 1, 3, 5), (1, 1)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_batch_spread_over_devices_and_a_mapped_one_give_the_same(name):
    convolve, kernel_shape, strides = CONVOLUTIONS[name]
    mesh = make_mesh()
    x, kernel = arrays((2 * mesh.size, 9, 9, 3), kernel_shape, np.float32)
    expected = outcome(functools.partial(reference, strides=strides), x, kernel)
    sharded = jax.device_put(x, sharded_on(mesh))
    assert_same(jax.jit(functools.partial(outcome, convolve))(sharded, kernel), expected, 1e-4)
    mapped = jax.vmap(lambda x: outcome(convolve, x, kernel))(x[np.newaxis])
    assert_same([array[0] for array in mapped], expected, 1e-4)


@pytest.mark.parametrize(("platform", "is_convolution"), [("cpu", False), ("cuda", True)])
def test_only_a_cpu_gets_im2col(platform, is_convolution):
    convolve, kernel_shape, _ = CONVOLUTIONS["im2col"]
    arguments = arrays((2, 8, 8, 3), kernel_shape, np.float32)
    program = jax.jit(convolve).trace(*arguments).lower(lowering_platforms=(platform,)).as_text()
    assert ("stablehlo.convolution" in program) == is_convolution
