"""Batch normalisation, activation and the next convolution as one operation: the textbook's function and gradients."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from mnet_jax.models.ops.bn_conv import Pending, bn_conv, finish, moments
from mnet_jax.models.ops.convolution import MEMORY, Convolution
from mnet_jax.models.ops.padding import pads_of

EPSILON = 1e-3
ACTIVATIONS = (nn.relu, nn.relu6, nn.hard_swish, lambda x: x)


def arrays(shape, kernel_shape, dtype=np.float64):
    rng = np.random.default_rng(0)
    raw = rng.normal(size=shape) * rng.uniform(0.5, 2, shape[-1]) + rng.normal(size=shape[-1])
    others = rng.uniform(0.5, 2, shape[-1]), rng.normal(size=shape[-1])
    return tuple(a.astype(dtype) for a in (raw, *others, rng.normal(size=kernel_shape)))


def textbook(raw, scale, bias, kernel, activation, strides, padding, depthwise, dilation=(1, 1)):
    mean, variance = raw.mean((0, 1, 2)), raw.var((0, 1, 2))
    scale, bias, mean, variance = (a.reshape(1, 1, 1, -1) for a in (scale, bias, mean, variance))
    x = activation(scale * (raw - mean) / jnp.sqrt(variance + EPSILON) + bias)
    if kernel is None:
        return x
    groups = raw.shape[-1] if depthwise else 1
    return lax.conv_general_dilated(
        x,
        kernel,
        strides,
        padding,
        rhs_dilation=dilation,
        feature_group_count=groups,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def pending(raw, scale, bias, activation):
    return Pending(raw, *moments(raw), scale, bias, EPSILON, activation)


def compare(ours, theirs, arguments):
    outputs, gradients = [], []
    for function in (ours, theirs):
        y, vjp = jax.vjp(jax.jit(function), *arguments)
        outputs.append(y)
        gradients.append(vjp(np.random.default_rng(1).normal(size=y.shape).astype(y.dtype)))
    for a, b in ((outputs[0], outputs[1]), *zip(*gradients, strict=True)):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * (1 + np.abs(b).max()))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    batch=st.integers(1, 3),
    size=st.tuples(st.integers(4, 9), st.integers(4, 9)),
    channels=st.integers(2, 4),
    side=st.sampled_from([3, 5]),
    strides=st.sampled_from([(1, 1), (2, 2)]),
    padding=st.sampled_from(["SAME", "VALID", "symmetric", "keras"]),
    activation=st.sampled_from(ACTIVATIONS),
    memory=st.sampled_from(MEMORY),
)
def test_a_depthwise_one_equals_the_textbook(batch, size, channels, side, strides, padding, activation, memory):
    size = tuple(max(side, pixels) for pixels in size)
    pads = {"symmetric": ((side // 2,) * 2,) * 2, "keras": ((side // 2 - 1, side // 2),) * 2}.get(padding, padding)
    pads = pads_of(size, (side, side), strides, pads)
    convolution = Convolution.choose((side, side), strides, pads, True, memory)
    with jax.enable_x64(True):
        arguments = arrays((batch, *size, channels), (side, side, 1, channels))
        compare(
            lambda raw, scale, bias, kernel: bn_conv(pending(raw, scale, bias, activation), kernel, convolution),
            lambda *a: textbook(*a, activation, strides, pads, True),
            arguments,
        )


@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize("strides", [(1, 1), (2, 2)])
def test_a_dilated_depthwise_one_equals_the_textbook(memory, strides):
    size, dilation = (9, 8), (2, 3)
    pads = pads_of(size, (5, 7), strides, "SAME")
    convolution = Convolution.choose((3, 3), strides, pads, True, memory, dilation)
    with jax.enable_x64(True):
        compare(
            lambda raw, scale, bias, kernel: bn_conv(pending(raw, scale, bias, nn.relu6), kernel, convolution),
            lambda *a: textbook(*a, nn.relu6, strides, pads, True, dilation),
            arrays((2, *size, 3), (3, 3, 1, 3)),
        )


@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_product_equals_the_textbook(activation, memory):
    convolution = Convolution.choose((1, 1), (1, 1), ((0, 0), (0, 0)), False, memory)
    with jax.enable_x64(True):
        compare(
            lambda raw, scale, bias, kernel: bn_conv(pending(raw, scale, bias, activation), kernel, convolution),
            lambda *a: textbook(*a, activation, (1, 1), "VALID", False),
            arrays((2, 5, 3, 4), (1, 1, 4, 6)),
        )


@pytest.mark.parametrize("shape", [(1, 1, 1, 2), (2, 8, 4, 3), (8, 16, 16, 2), (3, 7, 5, 1)])
def test_nothing_after_it_equals_the_textbook(shape):
    """Of one pixel, of one group of pixels, of several, of a number of pixels that is no multiple of any."""
    with jax.enable_x64(True):
        compare(
            lambda raw, scale, bias: finish(pending(raw, scale, bias, nn.relu6)),
            lambda raw, scale, bias: textbook(raw, scale, bias, None, nn.relu6, None, None, None),
            arrays(shape, ())[:3],
        )


def test_its_dtype_is_that_of_the_map_and_sums_are_single():
    raw, scale, bias, kernel = arrays((8, 16, 16, 4), (3, 3, 1, 4), np.float32)
    raw, kernel = jnp.bfloat16(raw + 100), jnp.bfloat16(kernel)
    now = pending(raw, scale, bias, nn.relu6)
    np.testing.assert_allclose(now.mean, np.float64(raw).mean((0, 1, 2)), rtol=1e-6)
    for memory in MEMORY:
        for strides in ((1, 1), (2, 2)):
            pads = pads_of((16, 16), (3, 3), strides, "SAME")
            convolution = Convolution.choose((3, 3), strides, pads, True, memory)
            y, vjp = jax.vjp(lambda now, kernel, conv=convolution: bn_conv(now, kernel, conv), now, kernel)
            assert y.dtype == jnp.bfloat16
            gradient, dkernel = vjp(y)
            assert gradient.raw.dtype == dkernel.dtype == jnp.bfloat16
            assert gradient.scale.dtype == gradient.bias.dtype == jnp.float32
            np.testing.assert_array_equal([gradient.mean, gradient.variance], 0)


@pytest.mark.parametrize("strides", [(1, 1), (2, 2)])
def test_of_several_replicates_each_is_its_own(strides):
    convolution = Convolution.choose((3, 3), strides, pads_of((6, 6), (3, 3), strides, "SAME"), True, "least")

    def gradients(raw, scale, bias, kernel):
        return jax.grad(lambda *a: bn_conv(pending(*a[:3], nn.relu6), a[3], convolution).sum(), (0, 1, 2, 3))(
            raw, scale, bias, kernel
        )

    arguments = arrays((2, 6, 6, 3), (3, 3, 1, 3))
    with jax.enable_x64(True):
        stacked = [np.stack([a, 2 * a]) for a in arguments]
        for together, one, other in zip(
            jax.vmap(gradients)(*stacked),
            gradients(*arguments),
            gradients(*[2 * a for a in arguments]),
            strict=True,
        ):
            np.testing.assert_allclose(together, np.stack([one, other]), rtol=1e-9, atol=1e-9)


def test_what_a_training_step_keeps():
    """ "least": raw maps alone; "bytes": the normalised ones, too, but for a depthwise convolution at stride 2."""
    kept = {
        (memory, depthwise, strides): Convolution.choose((3, 3), strides, ((1, 1),) * 2, depthwise, memory).keeps_input
        for memory in MEMORY
        for depthwise, strides in ((True, (1, 1)), (True, (2, 2)), (False, (1, 1)))
    }
    assert [key for key, keeps in kept.items() if keeps] == [("bytes", True, (1, 1)), ("bytes", False, (1, 1))]
