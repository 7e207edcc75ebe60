import json
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

from mnet_jax.cost.layers import as_dict, count
from mnet_jax.errors import UserError
from mnet_jax.models import registry


def test_the_papers_headline_network():
    model = registry.build(ConfigDict({"name": "mobilenet_v1", "alpha": 1.0, "num_classes": 1000, "dtype": "float32"}))
    counted = count(model, (224, 224, 3))
    assert (counted.mult_adds, counted.params) == (568_740_352, 4_231_976)


@pytest.mark.parametrize(
    ("name", "alpha", "num_classes", "mult_adds", "params"),
    [
        ("mobilenet_v2", 1.4, 1001, 582_197_616, None),
        ("mobilenet_v3_large", 0.75, 1001, 154_561_904, None),  # TF-slim's README prints 155 M
        ("mobilenet_v3_large", 1.0, 1001, 216_591_040, 5_484_313),
        ("mobilenet_v3_small", 1.0, 1001, 56_511_424, 2_543_881),
    ],
)
def test_anchors_beyond_the_published_table(name, alpha, num_classes, mult_adds, params):
    config = ConfigDict({"name": name, "alpha": alpha, "num_classes": num_classes, "dtype": "float32"})
    counted = count(registry.build(config), (224, 224, 3))
    assert counted.mult_adds == (mult_adds or counted.mult_adds)
    assert counted.params == (params or counted.params)


@pytest.mark.parametrize(
    ("name", "alpha", "variables"),
    [("mobilenet_v1", 1.0, 4_253_864), ("mobilenet_v2", 1.0, 3_538_984), ("mobilenet_v2", 1.4, 6_156_712)],
)
def test_all_variables_as_keras_counts_them(name, alpha, variables):
    """The trainable parameters and, for each scale and bias of batch normalisation, a running statistic."""
    config = ConfigDict({"name": name, "alpha": alpha, "num_classes": 1000, "dtype": "float32"})
    counted = count(registry.build(config), (224, 224, 3))
    assert counted.params + counted.by_kind()["batch_norm"].params == variables


def test_odd_sides_are_rounded_up_by_each_stride():
    """97 pixels give maps of 49, 25, 13, 7 and 4; a 1x1 convolution counts side * side * in * out."""
    config = ConfigDict({"name": "mobilenet_v1", "alpha": 0.5, "num_classes": 21, "dtype": "float32"})
    layers = {layer.name: layer for layer in count(registry.build(config), (97, 97, 3)).layers}
    assert layers["stem/conv"].mult_adds == 49 * 49 * 9 * 3 * 16
    assert layers["block13_pointwise/conv"].mult_adds == 4 * 4 * 512 * 512
    assert layers["classifier/logits"].mult_adds == 512 * 21


def test_convolutions_of_every_kind():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x_BxHxWxC):
            x = nn.Conv(8, (3, 3), strides=2, feature_group_count=2, name="grouped")(x_BxHxWxC)
            x = nn.Conv(6, (3, 3), kernel_dilation=2, name="dilated")(x)
            x = nn.ConvTranspose(5, (2, 2), strides=(2, 2), name="transposed")(x)
            x = x.mean((1, 2))
            x = nn.Dense(7, name="dense")(x)
            return nn.DenseGeneral((2, 3), name="general")(x)

    counted = count(Net(), (10, 8, 4))
    expected = {
        "grouped": 5 * 4 * 9 * 2 * 8,
        "dilated": 5 * 4 * 9 * 8 * 6,
        "transposed": 5 * 4 * 4 * 6 * 5,
        "dense": 5 * 7,
        "general": 7 * 6,
    }
    assert [layer.kind for layer in counted.layers] == [
        "conv_3x3", "conv_3x3", "conv_transpose_2x2", "dense", "dense"
    ]  # fmt: skip
    assert {layer.name: layer.mult_adds for layer in counted.layers} == expected
    assert counted.mult_adds == sum(expected.values())


def test_a_layer_that_is_called_twice_adds_its_parameters_once():
    class Twice(nn.Module):
        @nn.compact
        def __call__(self, x):
            dense = nn.Dense(4)
            return dense(dense(x))

    counted = count(Twice(), (4,))
    assert (counted.mult_adds, counted.params) == (2 * 16, 20)


def test_convolutions_of_one_and_three_axes():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(6, (5,), strides=3, name="one")(x.reshape(x.shape[0], -1, x.shape[-1]))
            return nn.Conv(3, (2, 3, 2), name="three")(x.reshape(x.shape[0], 2, 2, 4, 6))

    counted = count(Net(), (6, 8, 4))
    assert {layer.kind: layer.mult_adds for layer in counted.layers} == {
        "conv_5": 16 * 5 * 4 * 6,
        "conv_2x3x2": 16 * 12 * 6 * 3,
    }


def test_a_local_convolution_uses_every_weight_once():
    counted = count(nn.ConvLocal(6, (3, 3), use_bias=False), (5, 4, 2))
    assert (counted.mult_adds, counted.weights) == (5 * 4 * 9 * 2 * 6, 5 * 4 * 9 * 2 * 6)


def test_products_of_any_module_are_counted_where_they_stand():
    class Attention(nn.Module):
        @nn.compact
        def __call__(self, x_BxTxC):
            weights = self.param("weights", nn.initializers.ones, (6, 5))
            scores_BxTxT = jnp.einsum("btc,bsc->bts", x_BxTxC, x_BxTxC)
            return jnp.dot(nn.softmax(scores_BxTxT) @ x_BxTxC, weights)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.MultiHeadDotProductAttention(2, name="theirs")(x)
            return Attention(name="mine")(x)

    layers = {layer.name: layer for layer in count(Net(), (4, 6)).layers}
    assert layers["mine"].mult_adds == 4 * 4 * 6 + 4 * 4 * 6 + 4 * 6 * 5
    assert layers["theirs"].mult_adds == 2 * 4 * 4 * 6, "scores and their use, without the projections"
    assert layers["theirs/query"].mult_adds == 4 * 6 * 6
    assert (layers["mine"].kind, layers["mine"].params, layers["theirs/query"].kind) == ("Attention", 30, "dense")


def test_lifted_layers_count_as_often_as_they_run():
    class Body(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(4, name="dense")(x), None

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            lifted = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}}
            x, _ = nn.scan(Body, length=3, **lifted)(name="scanned")(x)
            x = nn.remat(nn.Dense)(4, name="remat")(x)
            return nn.vmap(nn.Dense, in_axes=None, axis_size=5, **lifted)(4, name="vmapped")(x)

    counted = count(Net(), (4,))
    assert {layer.name: layer.mult_adds for layer in counted.layers} == {
        "scanned/dense": 3 * 16,
        "remat": 16,
        "vmapped": 5 * 16,
    }
    assert counted.params == (3 + 1 + 5) * 20


def test_methods_other_than_call_are_counted():
    class Net(nn.Module):
        def setup(self):
            self.embed = nn.Embed(7, 4)

        def __call__(self, x):
            return self.embed.attend(self.embed(x.astype(int)))

    counted = count(Net(), (3,))
    assert (counted.mult_adds, counted.params) == (3 * 4 * 7, 28)


class Summed(nn.Module):
    @nn.compact
    def __call__(self, x):
        return (x[..., jnp.newaxis] * self.param("w", nn.initializers.ones, (1, x.shape[-1], 3))).sum(-2)


class Shifted(nn.Module):
    """A depthwise convolution over time, tap by tap."""

    @nn.compact
    def __call__(self, x):
        taps = self.param("w", nn.initializers.ones, (2, 1, x.shape[-1]))
        return x[:, 1:] * taps[0][jnp.newaxis] + x[:, :-1] * taps[1][jnp.newaxis]


class OneVector(nn.Module):
    @nn.compact
    def __call__(self, x):
        return jnp.mean(x * self.param("w", nn.initializers.ones, (1, x.shape[-1])), axis=-1)


class Accumulated(nn.Module):
    """The taps of `Shifted` in a loop."""

    @nn.compact
    def __call__(self, x):
        taps = self.param("w", nn.initializers.ones, (2, 1, 1, x.shape[-1]))

        def add_tap(total, tap):
            weight, start = tap
            return total + jax.lax.dynamic_slice_in_dim(x, start, x.shape[1] - 1, 1) * weight, None

        return jax.lax.scan(add_tap, jnp.zeros_like(x[:, 1:]), (taps, jnp.arange(2)))[0]


class HalfSeen(nn.Module):
    @nn.compact
    def __call__(self, x):
        return Summed(name="inner")(x @ self.param("w", nn.initializers.ones, (x.shape[-1], 2)))


class Fourier(nn.Module):
    @nn.compact
    def __call__(self, x):
        return jnp.fft.rfft(x)


class Loop(nn.Module):
    @nn.compact
    def __call__(self, x):
        w = self.param("w", nn.initializers.ones, (x.shape[-1],) * 2)
        return jax.lax.while_loop(lambda x: x.sum() < 100, lambda x: x @ w, x)


class Callback(nn.Module):
    @nn.compact
    def __call__(self, x):
        return jax.pure_callback(lambda x: x @ x.T, jax.ShapeDtypeStruct((1, 1), x.dtype), x)


@pytest.mark.parametrize(
    ("layer", "shape", "reason"),
    [
        (Summed, (5,), "added up by elementwise operations"),
        (Shifted, (6, 5), "added up by elementwise operations"),
        (Accumulated, (6, 5), "added up by elementwise operations"),
        (OneVector, (5,), "added up by elementwise operations"),
        (HalfSeen, (5,), r"/inner \(Summed\).* added up"),
        (Fourier, (8,), "fft hides its arithmetic"),
        (Loop, (4,), "number of turns that is not known"),
        (Callback, (4,), "pure_callback hides its arithmetic"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_arithmetic_that_cannot_be_seen_is_warned_of_by_name(layer, shape, reason):
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return layer(name="mine")(x)

    with pytest.warns(UserWarning, match=f"mine.*{reason}"):
        count(Net(), shape)


def test_elementwise_use_of_parameters_is_no_reason_to_warn():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            scale, bias = (self.param(name, nn.initializers.ones, (1, 1, 1, 6)) for name in ("scale", "bias"))
            x = nn.PReLU()(nn.Embed(9, 6)(x[..., 0].astype(int))) * scale + bias
            for norm in (nn.BatchNorm(use_running_average=True), nn.LayerNorm(), nn.GroupNorm(3), nn.RMSNorm()):
                x = norm(x)
            return (x * nn.sigmoid(x.mean((1, 2), keepdims=True)) * scale).mean((1, 2))

    counted = count(Net(), (4, 4, 1))
    assert counted.mult_adds == 0


def test_activations_are_the_outputs_of_layers_with_mult_adds():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(3, (1, 1), dtype=jnp.bfloat16, name="conv")(x)
            x = nn.BatchNorm(use_running_average=True)(x)
            return nn.Dense(7, name="dense")(x.reshape(x.shape[0], -1).astype(jnp.float32))

    counted = count(Net(), (4, 5, 2))
    assert counted.activation_bytes == 4 * 5 * 3 * 2 + 7 * 4
    assert counted.largest_activation().name == "conv"
    assert (counted.params, counted.weights) == (2 * 3 + 3 + 6 + 60 * 7 + 7, 2 * 3 + 60 * 7)


def test_shares_of_the_kinds_of_layers():
    """V1 paper, Table 2 (which prints 1.19% for the Mult-Adds of the 3x3 convolution: two digits swapped)."""
    model = registry.build(ConfigDict({"name": "mobilenet_v1", "num_classes": 1000, "dtype": "float32"}))
    counted = count(model, (224, 224, 3))
    shares = {
        kind: (round(100 * part.mult_adds / counted.mult_adds, 2), round(100 * part.weights / counted.weights, 2))
        for kind, part in counted.by_kind().items()
        if part.mult_adds
    }
    assert shares == {
        "conv_1x1": (94.86, 74.59),
        "depthwise_conv_3x3": (3.06, 1.06),
        "conv_3x3": (1.91, 0.02),
        "dense": (0.18, 24.33),
    }


def test_the_command_prints_a_table_for_people(command):
    done = command("mnet_jax.cost", "--config", "configs/width.py:imagenet")
    assert done.returncode == 0, done.stderr
    assert re.search(r"conv_1x1 +539,492,352 +94\.86%", done.stdout)
    assert "stem/conv" in done.stdout
    assert "activations of one example" in done.stdout


def test_the_command_prints_one_json_object(command):
    done = command("mnet_jax.cost", "--config", "configs/width.py:imagenet", "--config.model.alpha=0.5", "--json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert (printed["mult_adds"], printed["params"]) == (149_497_088, 1_331_592)
    assert set(printed["layers"][0]) == {"name", "kind", "input_shape", "output_shape", "mult_adds", "params"}
    assert sum(layer["mult_adds"] for layer in printed["layers"]) == printed["mult_adds"]


def test_counting_runs_no_arithmetic():
    class Exploding(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(10**9)(x)  # 4 TB of weights, were they made

    assert count(Exploding(), (1000,)).mult_adds == 10**12


@pytest.mark.parametrize("name", registry.BUILT_IN)
def test_fast_and_textbook_layers_cost_the_same(name):
    fast, textbook = (
        registry.MODELS[name](num_classes=10, alpha=0.25, layers=layers) for layers in ("fast", "textbook")
    )
    assert as_dict(count(fast, (32, 32, 3))) == as_dict(count(textbook, (32, 32, 3)))


@pytest.mark.parametrize("shape", [(224, 224), (1, 224, 224, 3)])
def test_a_shape_that_is_no_images_is_refused(shape):
    with pytest.raises(UserError, match=r"input_shape=\(.*\): must be \(height, width, channels\) of one image"):
        count(registry.MODELS["mobilenet_v1"](num_classes=10), shape)


class Trained(nn.Module):
    """All that is different in training: batch statistics, dropout, noise of a stream of its own, a counter."""

    @nn.compact
    def __call__(self, x, train):
        x = nn.BatchNorm(use_running_average=not train)(nn.Conv(8, (3, 3))(x))
        x = nn.Dropout(0.5, deterministic=not train)(x)
        if train:
            x += jax.random.normal(self.make_rng("noise"), x.shape)
        calls = self.variable("counters", "calls", lambda: jnp.zeros((), jnp.int32))
        calls.value += 1
        return nn.Dense(5)(x.mean((1, 2)))


def test_a_network_costs_in_training_mode_what_it_costs_in_evaluation():
    counted = count(Trained(), (8, 8, 3), train=True)
    assert counted == count(Trained(), (8, 8, 3), train=False)
    assert counted.mult_adds == 8 * 8 * 9 * 3 * 8 + 8 * 5
    for name in registry.BUILT_IN:
        network = registry.build(ConfigDict({"name": name, "alpha": 0.25, "num_classes": 10, "dtype": "float32"}))
        train, evaluation = (count(network, (32, 32, 3), train=mode) for mode in (True, False))
        assert (train.mult_adds, train.params) == (evaluation.mult_adds, evaluation.params), name


def test_integers_are_examples_too():
    class Reader(nn.Module):
        @nn.compact
        def __call__(self, tokens):
            return nn.Dense(7)(nn.Embed(100, 16)(tokens))

    counted = count(Reader(), (12,), dtype=jnp.int32)
    assert counted.mult_adds == 12 * 16 * 7, "an embedding looks up"
    assert counted.params == 100 * 16 + 16 * 7 + 7
