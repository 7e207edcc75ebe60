"""DeepLabv3: its size, its geometry, and that every formulation is the same function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from mnet_jax.cost.layers import count
from mnet_jax.errors import UserError
from mnet_jax.models.deeplab import DeepLabMobileNetV1, DeepLabMobileNetV2
from mnet_jax.models.mobilenet_v1 import MobileNetV1
from mnet_jax.models.mobilenet_v2 import MobileNetV2
from mnet_jax.models.ops.convolution import MEMORY
from tests.models.test_formulation import assert_close, loss_and_gradients

NETWORKS = (DeepLabMobileNetV1, DeepLabMobileNetV2)
OUTPUT_STRIDES = (32, 16, 8)
BELOW = {DeepLabMobileNetV1: (MobileNetV1, "block13_pointwise"), DeepLabMobileNetV2: (MobileNetV2, "block17_project")}


def shapes(network, channels=3):
    """{path: shape} of all variables."""
    x = jnp.zeros((1, 33, 33, channels))
    variables = jax.eval_shape(network.init, jax.random.key(0), x)
    return {path: leaf.shape for path, leaf in traverse_util.flatten_dict(variables).items()}


def variables_of(network):
    """Random ones, in double precision, that keep the size of what passes through."""
    rng = np.random.default_rng(0)

    def draw(path, shape):
        if path[-1] == "kernel":
            return rng.normal(0, (2 / np.prod(shape[:3])) ** 0.5, shape)
        return rng.normal(0, 0.1, shape) if path[-1] in ("bias", "mean") else rng.uniform(0.5, 1.5, shape)

    return traverse_util.unflatten_dict({path: draw(path, shape) for path, shape in shapes(network).items()})


def maps_of(network, variables, x, names, train=False):
    """What some layers return."""

    @jax.jit
    def apply(variables, x):
        rngs = {"dropout": jax.random.key(1)}
        _, state = network.apply(variables, x, train, capture_intermediates=True, mutable=True, rngs=rngs)
        return [state["intermediates"][name]["__call__"][0] for name in names]

    return [np.asarray(found) for found in apply(variables, x)]


@pytest.mark.parametrize(
    ("cls", "aspp", "params"),
    [
        (DeepLabMobileNetV1, True, 11_145_301),
        (DeepLabMobileNetV2, True, 4_523_541),
        (DeepLabMobileNetV2, False, 2_113_557),
    ],
)
def test_it_has_the_published_parameters(cls, aspp, params):
    """11.15, 4.52 and 2.11 million in Table 7 of the V2 paper."""
    assert count(cls(num_classes=21, aspp=aspp, layers="textbook"), (65, 65, 3)).params == params


@pytest.mark.parametrize("cls", NETWORKS)
@pytest.mark.parametrize("aspp", [False, True])
def test_an_output_stride_changes_no_variable(cls, aspp):
    first, *others = (shapes(cls(num_classes=5, alpha=0.25, aspp=aspp, output_stride=s)) for s in OUTPUT_STRIDES)
    assert all(other == first for other in others)


@pytest.mark.parametrize("alpha", [0.25, 1.0])
@pytest.mark.parametrize("cls", NETWORKS)
def test_weights_of_the_classification_network_fit(cls, alpha):
    """All of them but the classifier's, and V2's last convolution's."""
    below, _ = BELOW[cls]
    theirs = {
        path: shape
        for path, shape in shapes(below(num_classes=7, alpha=alpha)).items()
        if path[1] not in ("last", "classifier")
    }
    ours = shapes(cls(num_classes=5, alpha=alpha, aspp=True))
    assert theirs.items() <= ours.items()
    head = {path[1] for path in ours.keys() - theirs.keys()}
    assert head == {"image_pooling", "aspp0", "aspp1", "aspp2", "aspp3", "projection", "logits"}


@pytest.mark.parametrize("output_stride", [4, 64, 12, 16.5, None])
def test_another_output_stride_is_named(output_stride):
    with pytest.raises(UserError, match=f"output_stride={output_stride}: must be one of 8, 16, 32"):
        DeepLabMobileNetV2(num_classes=2, output_stride=output_stride)


@pytest.mark.parametrize("cls", NETWORKS)
@pytest.mark.parametrize(("output_stride", "side"), [(32, 2), (16, 3), (8, 5)])
def test_each_pixel_has_single_logits_whatever_the_stride(cls, output_stride, side):
    network = cls(num_classes=5, alpha=0.25, output_stride=output_stride, aspp=True, dtype=jnp.bfloat16)
    x = jnp.zeros((2, 33, 40, 3))

    def apply(x):
        variables = network.init(jax.random.key(0), x)
        return network.apply(variables, x, capture_intermediates=True, mutable="intermediates")

    logits, state = jax.eval_shape(apply, x)
    assert (logits.shape, logits.dtype) == ((2, 33, 40, 5), jnp.float32)
    maps = {name: value["__call__"][0] for name, value in state["intermediates"].items() if name != "__call__"}
    assert maps["projection"].shape == (2, side, -(-40 // output_stride), 256)
    assert maps["projection"].dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("cls", "padding", "size", "first"),
    [
        (DeepLabMobileNetV1, "same", 33, 0),
        (DeepLabMobileNetV1, "same", 64, 1),
        (DeepLabMobileNetV1, "symmetric", 48, 0),
        (DeepLabMobileNetV1, "keras_v1", 65, 1),
        (DeepLabMobileNetV2, "same", 33, 0),
        (DeepLabMobileNetV2, "symmetric", 48, 0),
    ],
)
def test_dilation_is_the_stride_at_more_pixels(cls, padding, size, first):
    """At half the output stride every second pixel is the same, the borders', too.

    Which ones, the padding of the stride decides: a kernel that is padded on both sides is centred on the first pixel,
    one that is padded at the end on the second.
    """
    with jax.enable_x64(True):
        network = cls(num_classes=2, alpha=0.25, padding=padding, layers="textbook", dtype=jnp.float64)
        variables = variables_of(network)
        x = np.random.default_rng(1).normal(size=(1, size, size, 3))
        at_32, at_16, at_8 = (
            maps_of(network.clone(output_stride=stride), variables, x, [BELOW[cls][1]])[0] for stride in OUTPUT_STRIDES
        )
    assert [last.shape[1] for last in (at_16, at_8)] == [-(-(size - first) // stride) for stride in (16, 8)]
    for coarse, fine in ((at_32, at_16), (at_16, at_8)):
        assert coarse.std() > 1e-3
        tolerance = 1e-12 * np.abs(coarse).max()
        np.testing.assert_allclose(fine[:, first::2, first::2], coarse, rtol=0, atol=tolerance)


def test_the_head_by_hand():
    """Branches in slim's order: the image's average, the pixel, and its surroundings at 6, 12 and 18."""
    with jax.enable_x64(True):
        network = DeepLabMobileNetV2(num_classes=4, alpha=0.25, aspp=True, dtype=jnp.float64, layers="textbook")
        variables = variables_of(network)
        x = np.random.default_rng(1).normal(size=(2, 65, 49, 3))
        last, logits, large = maps_of(network, variables, x, ["block17_project", "logits", "upsampling"])
        params, statistics = variables["params"], variables["batch_stats"]

        def layer(name, x, rate=1):
            y = jax.lax.conv_general_dilated(
                x,
                params[name]["conv"]["kernel"],
                (1, 1),
                [(rate, rate)] * 2 if name in ("aspp1", "aspp2", "aspp3") else [(0, 0)] * 2,
                rhs_dilation=(rate, rate),
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
            bn = params[name]["bn"] | statistics[name]["bn"]
            scale, bias, mean, var = (bn[key].reshape(1, 1, 1, -1) for key in ("scale", "bias", "mean", "var"))
            return np.maximum((y - mean) / np.sqrt(var + 1e-5) * scale + bias, 0)

        assert last.shape == (2, 5, 4, 80)
        pooled = layer("image_pooling", last.mean((1, 2), keepdims=True))
        around = [layer(f"aspp{i}", last, rate) for i, rate in enumerate((6, 12, 18), start=1)]
        branches = [np.broadcast_to(pooled, (2, 5, 4, 256)), layer("aspp0", last), *around]
        projected = layer("projection", np.concatenate(branches, -1))
        kernel, bias = params["logits"]["kernel"][0, 0], params["logits"]["bias"]
        expected = projected @ kernel + bias.reshape(1, 1, 1, -1)
    np.testing.assert_allclose(logits, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    np.testing.assert_allclose(large[:, ::16, ::16], expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_a_tenth_of_the_features_is_dropped_in_training_alone():
    network = DeepLabMobileNetV2(num_classes=4, alpha=0.1, layers="textbook")
    variables = jax.tree.map(np.float32, variables_of(network))
    x = np.random.default_rng(0).normal(size=(4, 33, 33, 3)).astype(np.float32)
    before, after = maps_of(network, variables, x, ["projection", "Dropout_0"])
    np.testing.assert_array_equal(before, after)
    before, after = maps_of(network, variables, x, ["projection", "Dropout_0"], train=True)
    is_lost = (after == 0) & (before > 0)
    assert is_lost.sum() / (before > 0).sum() == pytest.approx(0.1, abs=0.02)
    kept = (before > 0) & ~is_lost
    np.testing.assert_allclose(after[kept], before[kept] / 0.9, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("platform", "memory"), [("cpu", "bytes"), *(("gpu", memory) for memory in MEMORY)])
@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (DeepLabMobileNetV1, {"output_stride": 16, "padding": "symmetric"}),
        (DeepLabMobileNetV2, {"output_stride": 8, "aspp": True}),
    ],
)
def test_every_formulation_is_the_textbooks_network(cls, options, platform, memory):
    with jax.enable_x64(True):
        theirs = cls(num_classes=3, alpha=0.2, dropout=0.0, layers="textbook", dtype=jnp.float64, **options)
        ours = theirs.clone(layers="fast", memory=memory, platform=platform)
        assert shapes(ours) == shapes(theirs)
        variables = variables_of(theirs)
        x = np.random.default_rng(1).normal(size=(4, 33, 40, 3))
        (loss, statistics), gradients = loss_and_gradients(theirs, variables, x)
        (our_loss, our_statistics), our_gradients = loss_and_gradients(ours, variables, x)
    assert float(our_loss) == pytest.approx(float(loss), rel=1e-5)  # logits are single
    assert_close(our_gradients, gradients, 1e-9)
    assert_close(our_statistics, statistics, 1e-6)  # single
