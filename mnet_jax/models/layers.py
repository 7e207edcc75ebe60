"""Layers that the MobileNets share.

Parameters are float32 and named as textbook Flax names them (`kernel`, `bias`, `scale`); `dtype` is the dtype of the
computation. Initialisation, epsilon and padding follow TF-slim.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from mnet_jax.models.ops.batch_norm import batch_norm_act, normalize
from mnet_jax.models.ops.bn_conv import Pending, bn_conv, finish, moments
from mnet_jax.models.ops.convolution import MEMORY, Convolution
from mnet_jax.models.ops.depthwise import depthwise_conv
from mnet_jax.models.ops.im2col import im2col_conv
from mnet_jax.models.ops.in_groups import in_groups
from mnet_jax.models.ops.padding import pads_of
from mnet_jax.models.ops.pointwise import pointwise_conv

Dtype = Any

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": nn.relu,
    "relu6": nn.relu6,
    "hard_swish": nn.hard_swish,
}

LAYERS = ("fast", "textbook")

PADDINGS = ("same", "symmetric", "keras_v1")

_FEW_CHANNELS = 4  # colours: a convolution of so few input channels is one matrix product (im2col)
_SMALL_MAP = 2  # pixels of a side: so is one onto so small a map

DEPTHWISE = "depthwise_conv"  # name of every depthwise kernel's module: the optimizer spares these from weight decay

kernel_init = nn.initializers.truncated_normal(0.09)  # slim's arg scopes of V1 and V2


def formulation(layers: str, memory: str, platform: str, bn_group: int) -> str:
    """Which arithmetic computes a training step; the function is the same.

    Args:
      layers: one of `LAYERS`, of the config.
      memory: one of `MEMORY`, of the config.
      platform: of the devices that will run the step, as JAX names it.
      bn_group: of the config; groups are known to "fast" alone.

    Returns:
      "textbook": XLA's convolutions and `nn.BatchNorm`. On a TPU, whose XLA fuses the two: "fast" would take up to 1.04
        times the cycles (V2 1.0 at 224, compiled for a v5e, by libtpu's estimate).
      "fast": on a CPU, whose XLA computes a depthwise convolution channel by channel, sums of shifted products.
      One of `MEMORY`: on a GPU, where memory traffic limits a step, batch normalisation and activation as part of the
        next convolution; see `ops.bn_conv`.
    """
    if layers == "textbook" or bn_group:
        return layers
    return {"gpu": memory, "tpu": "textbook"}.get(platform, "fast")


def make_divisible(channels: float, divisor: int = 8) -> int:
    """Rounds to a multiple of `divisor`, at least one of them, never below 90% of `channels` (slim, V2 and V3)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def limit_strides(strides: Sequence[int], total_stride: int) -> tuple[int, ...]:
    """Turns into 1 every stride that would take the product past `total_stride`."""
    limited, product = [], 1
    for stride in strides:
        stride = stride if product * stride <= total_stride else 1
        product *= stride
        limited.append(stride)
    return tuple(limited)


def dilate_strides(strides: Sequence[int], output_stride: int) -> tuple[tuple[int, int], ...]:
    """(stride, dilation) of each layer, where the strides that take the product past `output_stride` are not taken.

    The layers after such a stride are dilated by it, so that their kernels see the pixels that they would see behind it
    (Chen et al., 2017, arXiv:1706.05587, section 3.1; TF-slim's `output_stride`).
    """
    steps, product, dilation = [], 1, 1
    for stride in strides:
        if product * stride <= output_stride:
            product *= stride
            steps.append((stride, dilation))
        else:
            steps.append((1, dilation))
            dilation *= stride
    return tuple(steps)


def pads(
    padding: str, kernel_size: int, stride: int, depthwise: bool, dilation: int = 1
) -> str | tuple[tuple[int, int], ...]:
    """What a padding rule gives one convolution, as `lax` takes it.

    All three agree at stride 1, the only one at which kernels are dilated. At stride 2, for a 3x3 kernel:
      "same": TensorFlow's SAME; (0, 1) on an even side, (1, 1) on an odd one.
      "symmetric": (1, 1) on every side, as PyTorch's models have it.
      "keras_v1": (0, 1) on every side of a depthwise convolution, else "same"; Keras's MobileNet has it. It differs
        from "same" on odd sides only, where its output is a pixel smaller.
    """
    if padding == "symmetric":
        return ((kernel_size // 2 * dilation,) * 2,) * 2
    if padding == "keras_v1" and depthwise and stride > 1:
        total = kernel_size - stride
        return ((total // 2, total - total // 2),) * 2
    return "SAME"


class ConvBN(nn.Module):
    """Convolution without bias, batch normalisation, activation.

    Attributes:
      features: output channels; None convolves each channel on its own (depthwise).
      kernel_size: side of the square kernel.
      stride: along both sides.
      dilation: distance between the taps of the kernel along both sides.
      activation: a key of `ACTIVATIONS`, or None for a linear layer.
      padding: one of `PADDINGS`; see `pads`.
      bn_momentum: decay of the running statistics.
      bn_epsilon: added to the variance.
      bn_group: consecutive images that are normalised together, in training; 0 for the whole batch.
      layers: what `formulation` returns. With one of `MEMORY` a training step takes and returns `Pending` maps.
      dtype: of the computation; parameters and statistics are float32.
      kernel_init: of the kernel.
    """

    features: int | None
    kernel_size: int = 1
    stride: int = 1
    dilation: int = 1
    activation: str | None = "relu6"
    padding: str = "same"
    bn_momentum: float = 0.99
    bn_epsilon: float = 1e-3
    bn_group: int = 0
    layers: str = "fast"
    dtype: Dtype = jnp.float32
    kernel_init: nn.initializers.Initializer = kernel_init

    @nn.compact
    def __call__(self, x_BxHxWxC: jax.Array | Pending, train: bool) -> jax.Array | Pending:
        depthwise = self.features is None
        features = x_BxHxWxC.shape[-1] if depthwise else self.features
        x = nn.Conv(
            features,
            (self.kernel_size, self.kernel_size),
            self.stride,
            padding=pads(self.padding, self.kernel_size, self.stride, depthwise, self.dilation),
            kernel_dilation=self.dilation,
            feature_group_count=features if depthwise else 1,
            use_bias=False,
            kernel_init=self.kernel_init,
            dtype=self.dtype,
            conv_general_dilated=self._convolution(x_BxHxWxC),
            name=DEPTHWISE if depthwise else "conv",
        )(x_BxHxWxC.raw if isinstance(x_BxHxWxC, Pending) else x_BxHxWxC)
        settings = {
            "use_running_average": not train,
            "momentum": self.bn_momentum,
            "epsilon": self.bn_epsilon,
            "dtype": self.dtype,
            "name": "bn",
        }
        if self.layers == "textbook":
            return _activation(self.activation)(nn.BatchNorm(**settings)(x))
        deferred = train and self.layers in MEMORY
        return _BatchNorm(activation=self.activation, group=self.bn_group, deferred=deferred, **settings)(x)

    def _convolution(self, x: jax.Array | Pending) -> Callable:
        """What `nn.Conv` takes in place of `lax.conv_general_dilated`."""
        _, height, width, channels = x.shape
        if self.layers == "textbook":
            return lax.conv_general_dilated
        if isinstance(x, Pending):
            return _convolution_of(x, self.layers)
        if self.features is None:
            return _as_convolution(functools.partial(depthwise_conv, dilation=(self.dilation,) * 2))
        if self.kernel_size == 1 and self.stride == 1:
            return _as_convolution(lambda x, kernel, *_: pointwise_conv(x, kernel))
        is_small = channels <= _FEW_CHANNELS or min(height, width) <= _SMALL_MAP * self.stride
        if is_small and self.dilation == 1:
            return _as_convolution(im2col_conv)
        return lax.conv_general_dilated


class _BatchNorm(nn.BatchNorm):
    """`nn.BatchNorm` and an activation in one; same parameters, same statistics; to `mnet_jax.cost` the same layer."""

    activation: str | None = None
    group: int = 0
    deferred: bool = False

    @nn.compact
    def __call__(self, x_BxHxWxC: jax.Array) -> jax.Array | Pending:
        shape = x_BxHxWxC.shape[-1:]
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
        variance = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)
        scale = self.param("scale", self.scale_init, shape, self.param_dtype)
        bias = self.param("bias", self.bias_init, shape, self.param_dtype)
        activation = _activation(self.activation)
        if self.use_running_average:
            y = normalize(x_BxHxWxC, mean.value, variance.value, scale, bias, self.epsilon)
            return activation(y).astype(x_BxHxWxC.dtype)
        if self.deferred:
            of_batch = moments(x_BxHxWxC)
            y = Pending(x_BxHxWxC, *of_batch, scale, bias, self.epsilon, activation)
        else:
            y, *of_batch = in_groups(batch_norm_act, self.group)(x_BxHxWxC, scale, bias, self.epsilon, activation)
        if not self.is_initializing():
            for running, new in zip((mean, variance), of_batch, strict=True):
                running.value = self.momentum * running.value + (1 - self.momentum) * new.astype(jnp.float32)
        return y


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate in [0, 1] that two dense layers compute from the averages of all channels (V3).

    The gate is relu6(x + 3) / 6, as in the paper, Keras and PyTorch; TF-slim multiplies by the literal 0.16667.
    """

    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x_BxHxWxC: jax.Array) -> jax.Array:
        x_BxHxWxC = finished(x_BxHxWxC)
        channels = x_BxHxWxC.shape[-1]
        dense = functools.partial(nn.Dense, kernel_init=kernel_init, dtype=self.dtype)
        x_BxC = average(x_BxHxWxC, self.dtype)
        x_BxC = nn.relu(dense(make_divisible(channels / 4), name="squeeze")(x_BxC))
        gate_BxC = nn.hard_sigmoid(dense(channels, name="excite")(x_BxC))
        return x_BxHxWxC * gate_BxC[:, jnp.newaxis, jnp.newaxis]


def stochastic_depth(rate: float, block: int, num_blocks: int, train: bool, name: str) -> nn.Dropout:
    """Leaves out, of each image by itself, what a residual block adds, and scales it up where it stays.

    Huang et al., 2016 (arXiv:1603.09382); rates rise from block to block as in torchvision's EfficientNet and in timm.

    Args:
      rate: of one block more than the last.
      block: from 0.
      num_blocks: of the network, with those that add nothing.
      train: False leaves nothing out.
      name: of the layer, which has no variables.
    """
    return nn.Dropout(rate * block / num_blocks, broadcast_dims=(1, 2, 3), deterministic=not train, name=name)


class Classifier(nn.Module):
    """Global average pooling, a hidden layer where one is asked for, dropout, and the dense layer; logits are float32.

    Attributes:
      num_classes: size of the output.
      dropout: rate before the last layer.
      hidden_features: of a dense layer between pooling and dropout (V3); 0 for none.
      hidden_activation: of that layer, a key of `ACTIVATIONS`.
      dtype: of the computation.
    """

    num_classes: int
    dropout: float
    hidden_features: int = 0
    hidden_activation: str = "hard_swish"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x_BxHxWxC: jax.Array, train: bool) -> jax.Array:
        dense = functools.partial(nn.Dense, kernel_init=kernel_init, dtype=self.dtype)
        x_BxC = average(finished(x_BxHxWxC), self.dtype)
        if self.hidden_features:
            x_BxC = ACTIVATIONS[self.hidden_activation](dense(self.hidden_features, name="hidden")(x_BxC))
        x_BxC = nn.Dropout(self.dropout, deterministic=not train)(x_BxC)
        return dense(self.num_classes, name="logits")(x_BxC).astype(jnp.float32)


def finished(x: jax.Array | Pending) -> jax.Array:
    """What `ConvBN` returned, as an array; for all but another `ConvBN`."""
    return finish(x) if isinstance(x, Pending) else x


def _convolution_of(pending: Pending, layers: str) -> Callable:
    """What `nn.Conv` takes in place of `lax.conv_general_dilated`, where its input is `pending.raw`."""

    def conv(raw, kernel, strides, padding, *, feature_group_count, rhs_dilation, **options):
        window, strides, dilation = kernel.shape[:2], tuple(strides), tuple(rhs_dilation)
        depthwise = feature_group_count > 1
        if not depthwise and (window, strides) != ((1, 1), (1, 1)):
            return lax.conv_general_dilated(finish(pending), kernel, strides, padding, rhs_dilation=dilation, **options)
        covered = tuple((k - 1) * d + 1 for k, d in zip(window, dilation, strict=True))
        padding = pads_of(raw.shape[1:3], covered, strides, padding)
        return bn_conv(pending, kernel, Convolution.choose(window, strides, padding, depthwise, layers, dilation))

    return conv


def average(x_BxHxWxC: jax.Array, dtype: Dtype) -> jax.Array:
    """(batch, channels): the mean over all pixels, summed in float32 or better."""
    return jnp.mean(x_BxHxWxC, axis=(1, 2), dtype=jnp.promote_types(x_BxHxWxC.dtype, jnp.float32)).astype(dtype)


def _activation(name: str | None) -> Callable[[jax.Array], jax.Array]:
    return (lambda x: x) if name is None else ACTIVATIONS[name]


def _as_convolution(op: Callable) -> Callable:
    """What `nn.Conv` takes in place of `lax.conv_general_dilated`."""
    return lambda x, kernel, strides, padding, **_: op(x, kernel, strides, padding)


def conv_bn(config, activation: str) -> Callable[..., ConvBN]:
    """`ConvBN` with the settings that every layer of a model shares, and its usual activation."""
    return functools.partial(
        ConvBN,
        activation=activation,
        padding=config.padding,
        bn_momentum=config.bn_momentum,
        bn_epsilon=config.bn_epsilon,
        bn_group=config.bn_group,
        layers=formulation(config.layers, config.memory, config.platform, config.bn_group),
        dtype=config.dtype,
    )
