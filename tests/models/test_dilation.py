"""Strides that become dilation, and the layer that is dilated."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnet_jax.models import mobilenet_v1, mobilenet_v2
from mnet_jax.models.layers import ConvBN, dilate_strides, finished, limit_strides

FORMULATIONS = ("fast", "bytes", "least")


@pytest.mark.parametrize(
    ("output_stride", "tail"),
    [
        (32, [(2, 1), (1, 1)]),
        (16, [(1, 1), (1, 2)]),
        (8, [(1, 2), (1, 4)]),
    ],
)
def test_a_stride_that_is_not_taken_dilates_the_layers_after_it(output_stride, tail):
    """The layer whose stride it is sees what it would see with it: it has the dilation of those before it."""
    strides = mobilenet_v1.strides_of()
    steps = dilate_strides(strides, output_stride)
    assert list(steps[-2:]) == tail
    assert tuple(stride for stride, _ in steps) == limit_strides(strides, output_stride)
    assert {dilation for _, dilation in steps[7:12]} == {2 if output_stride == 8 else 1}


def test_v2_at_8_has_slims_rates():
    steps = dilate_strides(mobilenet_v2.strides_of(mobilenet_v2.blocks_of(1.0)), 8)
    assert [dilation for _, dilation in steps] == [1] * 8 + [2] * 7 + [4] * 3


@pytest.mark.parametrize(("padding", "size"), [("same", (9, 8)), ("symmetric", (2, 2))])
@pytest.mark.parametrize("features", [None, 5])
@pytest.mark.parametrize("layers", FORMULATIONS)
def test_a_dilated_layer_is_the_textbooks_in_every_formulation(layers, features, padding, size):
    """Also behind another one, whose map a step on a GPU leaves pending, and where the kernel is wider than the map."""

    def outcome(layers, x):
        first, second = (
            ConvBN(6, bn_epsilon=1e-2, dtype=jnp.float64, layers=layers),
            ConvBN(features, 3, dilation=3, padding=padding, dtype=jnp.float64, layers=layers),
        )
        maps = (x, jnp.zeros((*x.shape[:3], 6)))
        variables = [
            jax.tree.map(np.float64, jax.jit(functools.partial(layer.init, train=False))(jax.random.key(0), given))
            for layer, given in zip((first, second), maps, strict=True)
        ]

        def y(params, x):
            for layer, own, given in zip((first, second), params, variables, strict=True):
                x, _ = layer.apply({**given, "params": own}, x, train=True, mutable="batch_stats")
            return finished(x)

        weights = np.random.default_rng(1).normal(size=(*x.shape[:3], features or 6))
        loss = jax.jit(jax.value_and_grad(lambda *arguments: (y(*arguments) * weights).sum(), argnums=(0, 1)))
        return loss([v["params"] for v in variables], x)

    with jax.enable_x64(True):
        x = np.random.default_rng(0).normal(size=(3, *size, 4))
        ours, theirs = (outcome(name, x) for name in (layers, "textbook"))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9), ours, theirs)
