"""Every operator computes what its primitive does, through onnxruntime, for batches of any size."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mnet_jax.errors import UserError
from mnet_jax.export.program import Network

onnxruntime = pytest.importorskip("onnxruntime", reason="mnet_jax[export] is not installed")
from mnet_jax.export import onnx_file, operators  # noqa: E402

SHAPE = (6, 5, 4)  # height, width, channels
X = np.random.default_rng(0).normal(size=(3, *SHAPE)).astype(np.float32)
KERNEL = np.random.default_rng(1).normal(size=(3, 3, 4, 7)).astype(np.float32)
MATRIX = np.random.default_rng(2).normal(size=(4, 5)).astype(np.float32)

SCALE = np.arange(1.0, 8.0, dtype=np.float32).reshape(1, 1, 1, 7)
DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def conv(x, kernel=KERNEL, **settings):
    settings = {"window_strides": (1, 1), "padding": "SAME", "dimension_numbers": DIMENSIONS} | settings
    return lax.conv_general_dilated(x, kernel, **settings)


def mean(x):
    return x.mean((1, 2))


FUNCTIONS = {
    "sum": lambda x: x.sum((1, 2)) + 1,
    "mean of rows after a convolution": lambda x: conv(x).mean(1).sum(1),
    "largest and smallest": lambda x: x.max((1, 2)) - x.min((1, 3))[:, :4],
    "product": lambda x: jnp.prod(x, axis=1).sum(1),
    "arithmetic": lambda x: mean(x * 2 - 1 / (x**2 + 1) + jnp.abs(x) ** 0.5 - (-x) / 3 + jnp.sign(x)),
    "powers": lambda x: mean(x**3 + jnp.square(x) + jnp.sqrt(x * x + 1) + lax.rsqrt(x * x + 1)),
    "exponentials": lambda x: mean(jnp.exp(x) + jnp.log1p(x * x) + jnp.expm1(x) + jnp.exp2(x)),
    "activations": lambda x: mean(nn.gelu(x, approximate=False) + nn.silu(x) + jnp.tanh(x) + nn.softplus(x)),
    "clipped": lambda x: mean(nn.relu6(x) + nn.hard_swish(x) + nn.leaky_relu(x) + jnp.clip(x, -0.5, 0.7)),
    "nested bounds": lambda x: mean(jnp.minimum(jnp.maximum(x, 0.3), 0.1) + jnp.maximum(jnp.minimum(x, 0.4), 0.0)),
    "a shared bound": lambda x: mean((y := jnp.maximum(x, 0)) + jnp.minimum(y, 0.5)),
    "rounding": lambda x: mean(jnp.floor(x) + jnp.ceil(x) + jnp.round(x)),
    "comparisons": lambda x: mean(jnp.where((x > 0.1) & ~(x >= 1) | (x < -1), x, -x * (x != 0))),
    "finite": lambda x: mean(jnp.where(jnp.isfinite(1 / jnp.where(x > 0, x, 0)), x, 1)),
    "integers": lambda x: mean((x > 0).astype(jnp.int32) * 3).astype(jnp.float32),
    "argmax": lambda x: nn.one_hot(x.mean((1, 2)).argmax(-1), 4) + jnp.argmin(x[:, 0, 0], -1, keepdims=True),
    "softmax": lambda x: nn.softmax(x.mean((1, 2))) + nn.log_softmax(x[:, 0, 0]),
    "flat": lambda x: x.reshape(len(x), -1) @ np.ones((120, 2), np.float32),
    "dense on a map": lambda x: mean(x @ MATRIX),
    "dense of a transposed matrix": lambda x: lax.dot_general(mean(x), MATRIX.T, (((1,), (1,)), ((), ()))),
    "attention": lambda x: mean(jnp.einsum("bhwc,bhvc,bhvd->bhwd", x, x, x)),
    "transposed": lambda x: mean(x.transpose(0, 2, 1, 3)[:, ::-1, 1:4:2]),
    "pieces": lambda x: mean(jnp.concatenate([*jnp.split(x, 2, axis=3), x[..., :1]], axis=-1)),
    "pieces of convolutions": lambda x: mean(jnp.concatenate([conv(x), conv(x, -KERNEL)], axis=3)),
    "channels by number": lambda x: mean(x[..., np.array([2, 0, 0, 3, 1])]) + x[:, 1, 2, 3, None],
    "rows by number": lambda x: x[:, np.array([4, 0])].mean((1, 3)),
    "a window": lambda x: lax.dynamic_slice_in_dim(x, 2, 3, axis=1).mean((1, 2)),
    "tiled": lambda x: mean(jnp.tile(x, (1, 2, 1, 3))),
    "padded": lambda x: mean(jnp.pad(x, ((0, 0), (1, 2), (0, 1), (0, 0)), constant_values=2.0)),
    "a convolution": lambda x: mean(conv(x, window_strides=(2, 1))),
    "a dilated convolution": lambda x: mean(conv(x, rhs_dilation=(2, 2))),
    "a grouped convolution": lambda x: mean(conv(x, KERNEL[:, :, :2, :6], feature_group_count=2)),
    "a convolution with channels first": lambda x: conv(
        x.transpose(0, 3, 1, 2), KERNEL, dimension_numbers=("NCHW", "HWIO", "NCHW")
    ).mean((2, 3)),
    "a convolution, scaled and shifted": lambda x: mean((conv(x) - MATRIX[0, 0]) * SCALE[:, :, :, :7] / 3 + 2),
    "a convolution, shifted along the rows": lambda x: mean(conv(x) + SCALE[:, :, :, :5].reshape(1, 1, 5, 1)),
    "a convolution, shifted along the columns": lambda x: mean(conv(x) - SCALE[:, :, :, :6].reshape(1, 6, 1, 1)),
    "a convolution that two read": lambda x: mean((y := conv(x)) * 2 + y),
    "a dense layer, scaled": lambda x: (mean(x) @ MATRIX) * SCALE[0, 0, :, :5] + 1,
    "pooling": lambda x: mean(nn.max_pool(x, (2, 3), (2, 1), "SAME") + nn.avg_pool(x, (2, 3), (2, 1), "SAME")),
    "pooling without the padding": lambda x: mean(nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)),
    "a gate": lambda x: mean(conv(x) * nn.sigmoid(conv(x).mean((1, 2)))[:, None, None]),
    "a constant": lambda x: jnp.ones((len(x), 3)),
    "other functions": lambda x: mean(jnp.sin(x) + jnp.cos(x) + lax.erf(x) + lax.stop_gradient(x)),
}  # fmt: skip

LAYERS = {
    "BatchNorm": nn.BatchNorm(use_running_average=True),
    "LayerNorm": nn.LayerNorm(),
    "GroupNorm": nn.GroupNorm(num_groups=2),
    "InstanceNorm": nn.InstanceNorm(),
    "RMSNorm": nn.RMSNorm(),
    "WeightNorm": nn.WeightNorm(nn.Dense(3), variable_filter={"kernel"}),
    "DenseGeneral": nn.DenseGeneral((2, 3), axis=(-2, -1)),
    "attention": nn.MultiHeadDotProductAttention(2),
    "PReLU": nn.PReLU(),  # whose variable has no axis
}


def both(function, x=X):
    network = Network(function, x.shape[1:], "float32", "logits")
    model = onnx_file.as_model(network, "test", {})
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for number in (3, 1):  # of any size
        ours = session.run(None, {"images": x[:number]})[0]
        np.testing.assert_allclose(ours, jax.jit(function)(x[:number]), rtol=2e-5, atol=2e-5)
    return model


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_computes_the_same(name):
    both(FUNCTIONS[name])


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_of_flax_computes_the_same(name):
    layer = LAYERS[name]
    variables = jax.jit(layer.init)(jax.random.key(0), X)
    variables = jax.tree.map(lambda leaf: leaf + 0.3, variables)
    both(lambda x: layer.apply(variables, x).reshape(len(x), -1))


def test_batch_normalisation_is_in_the_convolution_and_layouts_change_once():
    def network(x):
        for scale in (2.0, 3.0):
            x = nn.relu6((conv(x, KERNEL[..., :4]) - 1) * np.full((1, 1, 1, 4), scale, np.float32) + 0.5)
        return mean(x)

    nodes = [node.op_type for node in both(network).graph.node]
    assert nodes == ["Transpose", "Conv", "Clip", "Conv", "Clip", "ReduceMean", "Identity"]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: jnp.cumsum(x, 1).mean((1, 2)), r"ONNX: the network itself: the primitive cumsum has no operator"),
        (
            lambda x: conv(x, lhs_dilation=(2, 2), padding=((1, 1), (1, 1))).mean((1, 2)),
            r"conv_general_dilated is a transposed convolution",
        ),
        (lambda x: lax.fori_loop(0, 3, lambda _, y: y * 2, mean(x)), r"the primitive (scan|while) has no operator"),
        (lambda x: x.mean((1, 2))[: x.shape[0] // 2], r"cuts along the batch|depends on the batch"),
        (lambda x: mean(x)[::2], r"cuts along the batch"),
        (lambda x: mean(x) - x.max((0, 1, 2)).reshape(1, 4), r"reduce_max mixes the images of a batch"),
        (lambda x: mean((x > 0).astype(jnp.int32) & 3).astype(jnp.float32), r"and works on the bits of integers"),
        (lambda x: mean(x) * len(x), r"the network itself: it computes with the number of images"),
        (lambda x: mean(x) / np.sqrt(x.shape[0]), r"it computes with the number of images"),
        (lambda x: mean(conv(x.astype(jnp.bfloat16), KERNEL.astype(jnp.bfloat16))), r"types that an operator does not"),
        (lambda x: mean(x) * np.ones((len(x), 1), np.float32), r"a constant has the size of the batch"),
    ],
)
def test_what_has_no_operator_is_named(function, message):
    with pytest.raises(UserError, match=message):
        both(function)


def test_the_layer_is_named():
    class Sorts(nn.Module):
        @nn.compact
        def __call__(self, x):
            return jnp.sort(x.mean((1, 2)))

    class Network_(nn.Module):  # noqa: N801
        @nn.compact
        def __call__(self, x):
            return Sorts(name="ordered")(nn.Dense(3)(x))

    module = Network_()
    variables = jax.jit(module.init)(jax.random.key(0), X)
    with pytest.raises(UserError, match=r"ONNX: Network_/ordered.*: the primitive sort has no operator"):
        both(lambda x: module.apply(variables, x))


def test_an_unknown_primitive_says_so():
    with pytest.raises(operators.Unsupported, match="has no operator"):
        operators.lowering_of("sort")
