import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from mnet_jax.models import layers, registry


def build(**fields):
    return registry.build(ConfigDict({"name": "mobilenet_v1", "num_classes": 7, "dtype": "float32"} | fields))


def feature_maps(model, size):
    """Output shapes of the layers, by name, without any arithmetic."""
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, size, size, 3)))
    _, state = jax.eval_shape(
        lambda v: model.apply(v, jnp.zeros((1, size, size, 3)), capture_intermediates=True), variables
    )
    return {name: value["__call__"][0].shape for name, value in state["intermediates"].items() if name != "__call__"}


@pytest.mark.parametrize(
    ("total_stride", "size", "last"), [(32, 224, 7), (16, 224, 14), (8, 28, 4), (4, 32, 8), (32, 33, 2)]
)
@pytest.mark.parametrize("name", registry.classifiers())
def test_total_stride_sets_the_side_of_the_last_map(name, total_stride, size, last):
    maps = feature_maps(build(name=name, alpha=0.25, total_stride=total_stride), size)
    before_pooling = "block13_pointwise" if name == "mobilenet_v1" else "last"
    assert maps[before_pooling][1:3] == (last, last)
    assert maps["classifier"] == (1, 7)


@pytest.mark.parametrize(
    ("channels", "expected"), [(3, 8), (11.2, 16), (33.6, 32), (39.2, 40), (89.6, 88), (1664, 1664), (24 * 0.35, 8)]
)
def test_make_divisible_as_in_slim(channels, expected):
    assert layers.make_divisible(channels) == expected


def test_v1_truncates_widths_and_keeps_at_least_8():
    maps = feature_maps(build(alpha=0.33), 32)
    assert (maps["stem"][-1], maps["block01_pointwise"][-1]) == (10, 21)
    assert feature_maps(build(alpha=0.01), 32)["block13_pointwise"][-1] == 10
    assert feature_maps(build(alpha=0.001), 32)["block13_pointwise"][-1] == 8


@pytest.mark.parametrize(("alpha", "last"), [(0.35, 1280), (1.0, 1280), (1.4, 1792)])
def test_v2_shrinks_all_but_its_last_convolution(alpha, last):
    maps = feature_maps(build(name="mobilenet_v2", alpha=alpha), 32)
    assert maps["last"][-1] == last


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "mobilenet_v1",
        *(pytest.param(name, marks=pytest.mark.exhaustive) for name in ("mobilenet_v2", "mobilenet_v3_small")),
    ],
)
def test_fast_layers_equal_textbook_ones(name):
    """Same tree, and in float64 the same logits, statistics and gradients; the first two end in float32."""
    networks = [build(name=name, alpha=0.25, total_stride=8, dropout=0.0, layers=layers_) for layers_ in layers.LAYERS]
    x = np.random.default_rng(0).normal(size=(4, 19, 19, 2))
    with jax.enable_x64(True):
        trees = [jax.eval_shape(network.init, jax.random.key(0), x) for network in networks]
        assert trees[0] == trees[1]
        variables = jax.tree.map(np.float64, jax.jit(networks[0].init)(jax.random.key(0), x))

        def outcome(network):
            network = network.clone(dtype=jnp.float64)

            def loss(params, x):
                logits, state = network.apply(
                    {"params": params, "batch_stats": variables["batch_stats"]}, x, train=True, mutable=["batch_stats"]
                )
                return jax.nn.logsumexp(logits * 3.0, axis=-1).sum(), (logits, state)

            train = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(variables["params"], x)
            return train, jax.jit(network.apply)(variables, x)

        for (path, ours), (_, theirs) in zip(*map(jax.tree.leaves_with_path, map(outcome, networks)), strict=True):
            scale = np.abs(theirs).max() + 1e-6
            np.testing.assert_allclose(ours / scale, theirs / scale, atol=1e-6, err_msg=jax.tree_util.keystr(path))


def test_bfloat16_computes_in_bfloat16_with_float32_parameters_and_logits():
    model = build(alpha=0.25, dtype="bfloat16")
    x = jnp.ones((2, 32, 32, 3))
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}
    logits, state = jax.eval_shape(
        lambda v: model.apply(
            v,
            x,
            train=True,
            mutable=["batch_stats", "intermediates"],
            capture_intermediates=True,
            rngs={"dropout": jax.random.key(0)},
        ),
        variables,
    )
    assert logits.dtype == jnp.float32
    assert state["intermediates"]["block01_pointwise"]["__call__"][0].dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(state["batch_stats"])} == {jnp.dtype(jnp.float32)}


def test_batch_norm_has_the_momentum_and_epsilon_it_is_given():
    layer = layers.ConvBN(3, bn_momentum=0.75, bn_epsilon=0.5, activation=None)
    x = jax.random.normal(jax.random.key(0), (4, 5, 5, 2)) + 3
    variables = layer.init(jax.random.key(1), x, train=False)
    convolved = nn.Conv(3, (1, 1), use_bias=False).apply({"params": variables["params"]["conv"]}, x)
    mean, var = convolved.mean((0, 1, 2)), convolved.var((0, 1, 2))
    y, state = layer.apply(variables, x, train=True, mutable=["batch_stats"])
    shaped = (1, 1, 1, 3)
    expected = (convolved - mean.reshape(shaped)) / np.sqrt(var.reshape(shaped) + 0.5)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(state["batch_stats"]["bn"]["mean"], 0.25 * mean, rtol=1e-5)
    np.testing.assert_allclose(state["batch_stats"]["bn"]["var"], 0.75 + 0.25 * var, rtol=1e-4)


def test_v3_follows_slim_where_other_code_does_not():
    large = feature_maps(build(name="mobilenet_v3_large", alpha=0.33), 32)
    assert large["last"][-1] == 320, "alpha times 960, not 6 times the 56 channels before"
    assert large["block09_expand"][-1] == 56, "184 / 80 times the rounded 24 channels, not 184 * alpha"
    assert feature_maps(build(name="mobilenet_v3_small", alpha=0.5), 32)["stem"][-1] == 8
    for alpha, hidden in ((0.5, 1024), (1.25, 1280)):
        model = build(name="mobilenet_v3_small", alpha=alpha)
        params = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))["params"]
        assert params["classifier"]["hidden"]["kernel"].shape[-1] == hidden


def test_minimalistic_has_neither_squeeze_excite_nor_5x5_kernels():
    for name, is_minimalistic in (("mobilenet_v3_large", False), ("mobilenet_v3_large_minimalistic", True)):
        params = jax.eval_shape(build(name=name).init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))["params"]
        kernels = {block["depthwise_conv"]["kernel"].shape[0] for block in params.values() if "depthwise_conv" in block}
        assert any("squeeze_excite" in block for block in params) != is_minimalistic
        assert kernels == ({3} if is_minimalistic else {3, 5})


def test_squeeze_excite_scales_channels_by_a_gate_of_their_averages():
    layer = layers.SqueezeExcite()
    x = jax.random.normal(jax.random.key(0), (2, 3, 3, 16))
    variables = layer.init(jax.random.key(1), x)
    squeeze, excite = (jax.tree.map(np.asarray, variables["params"][name]) for name in ("squeeze", "excite"))
    hidden = np.maximum(np.asarray(x).mean((1, 2)) @ squeeze["kernel"] + squeeze["bias"][np.newaxis], 0)
    gate = np.clip(hidden @ excite["kernel"] + excite["bias"][np.newaxis] + 3, 0, 6) / 6
    np.testing.assert_allclose(layer.apply(variables, x), np.asarray(x) * gate[:, np.newaxis, np.newaxis], rtol=1e-5)
    assert squeeze["kernel"].shape == (16, 8)


def test_v2_ablations_change_what_they_name():
    blocks = feature_maps(build(name="mobilenet_v2", expansion=1), 32)
    assert not [name for name in blocks if "expand" in name]

    x = jax.random.normal(jax.random.key(1), (2, 16, 16, 3))
    fields = {"name": "mobilenet_v2", "alpha": 0.35, "total_stride": 4}
    variables = jax.jit(build(**fields).init)(jax.random.key(0), x)
    bn = variables["params"]["block03_project"]["bn"]
    bn["bias"] = bn["bias"] - 1.0  # below 0, where an activation would cut

    def logits(**options):
        return np.asarray(jax.jit(build(**fields, **options).apply)(variables, x))

    standard = logits()
    for option in ({"residual": False}, {"linear_bottleneck": False}):
        assert np.abs(logits(**option) - standard).max() > 1e-3 * np.abs(standard).max(), option


def test_v1_full_convolutions_take_the_places_of_the_separable_blocks():
    separable, full = feature_maps(build(), 64), feature_maps(build(separable=False), 64)
    for i in range(1, 14):
        assert full[f"block{i:02d}_full"] == separable[f"block{i:02d}_pointwise"]
    assert not [name for name in full if "depthwise" in name]
    shallow = feature_maps(build(shallow=True), 64)
    assert shallow["block08_pointwise"] == separable["block13_pointwise"]


@pytest.mark.parametrize(("activation", "largest"), [("relu", 50.0), ("relu6", 6.0)])
def test_the_activation_is_the_one_asked_for(activation, largest):
    layer = layers.ConvBN(1, activation=activation)
    x = jnp.full((1, 1, 1, 1), 50.0)
    variables = layer.init(jax.random.key(0), x, train=False)
    variables["params"]["conv"]["kernel"] = jnp.ones((1, 1, 1, 1))
    assert float(layer.apply(variables, x, train=False)[0, 0, 0, 0]) == pytest.approx(largest, rel=1e-3)


def test_padding_is_tensorflows_same():
    """A 3x3 stride-2 convolution on an even side pads the end only: a pixel at the start is seen, one before is not."""
    model = layers.ConvBN(1, kernel_size=3, stride=2, activation=None)
    x = jnp.zeros((1, 4, 4, 1)).at[0, 0, 0, 0].set(1.0)
    variables = model.init(jax.random.key(0), x, train=False)
    variables["params"]["conv"]["kernel"] = jnp.arange(9.0).reshape(3, 3, 1, 1) + 1
    y = model.apply(variables, x, train=False)
    assert float(y[0, 0, 0, 0]) == pytest.approx(1.0, rel=1e-3), (
        "the first output must see the pixel through tap (0, 0)"
    )


@pytest.mark.parametrize(
    ("padding", "side", "expected_side", "first_tap"), [
        ("same", 4, 2, (0, 0)), ("same", 5, 3, (1, 1)), ("symmetric", 4, 2, (1, 1)), ("symmetric", 5, 3, (1, 1)),
        ("keras_v1", 4, 2, (0, 0)), ("keras_v1", 5, 2, (0, 0)),
    ]
)  # fmt: skip
def test_padding_rules_of_a_strided_depthwise_convolution(padding, side, expected_side, first_tap):
    """Which tap of the kernel the first output uses on the first pixel."""
    model = layers.ConvBN(None, kernel_size=3, stride=2, activation=None, padding=padding)
    x = jnp.zeros((1, side, side, 1)).at[0, 0, 0, 0].set(1.0)
    variables = model.init(jax.random.key(0), x, train=False)
    kernel = jnp.arange(9.0).reshape(3, 3, 1, 1) + 1
    variables["params"]["depthwise_conv"]["kernel"] = kernel
    y = model.apply(variables, x, train=False)
    assert y.shape == (1, expected_side, expected_side, 1)
    assert float(y[0, 0, 0, 0]) == pytest.approx(float(kernel[*first_tap, 0, 0]), rel=1e-3)


@pytest.mark.parametrize(
    ("side", "stride", "is_convolution"), [(2, 1, False), (4, 2, False), (3, 1, True), (5, 2, True)]
)
def test_a_convolution_onto_a_small_map_is_a_matrix_product(side, stride, is_convolution):
    layer, x = layers.ConvBN(features=8, kernel_size=3, stride=stride), jnp.zeros((2, side, side, 16))
    variables = layer.init(jax.random.key(0), x, train=False)
    program = jax.jit(functools.partial(layer.apply, train=False)).trace(variables, x)
    text = program.lower(lowering_platforms=("cpu",)).as_text()
    assert ("stablehlo.convolution" in text) == is_convolution
