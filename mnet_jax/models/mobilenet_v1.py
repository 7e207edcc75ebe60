"""MobileNet V1 (Howard et al., 2017, arXiv:1704.04861), Table 1, and its ablations (Tables 4 and 5)."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mnet_jax.models.layers import Classifier, conv_bn, limit_strides

STEM_FEATURES, STEM_STRIDE = 32, 2

BLOCKS = (  # (features, stride); the paper prints stride 2 for the last one, its 7x7 output says 1
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *[(512, 1)] * 5,
    (1024, 2),
    (1024, 1),
)

SHALLOW_BLOCKS = (*BLOCKS[:6], *BLOCKS[11:])  # without the five of 14x14x512 (section 4.1)


class MobileNetV1(nn.Module):
    """Maps images (batch, height, width, channels) to float32 logits (batch, num_classes).

    Attributes:
      num_classes: size of the output.
      alpha: width multiplier, positive; a layer has max(int(features * alpha), 8) channels, as in TF-slim.
      total_stride: input side over side of the last map; the last strides that are too many become 1.
      activation: "relu6" (TF-slim, Keras) or "relu" (the paper).
      separable: False makes each block one full 3x3 convolution (Table 4).
      shallow: True leaves out the five blocks of 14x14x512 (Table 5).
      last_features: of one more 1x1 convolution before the pooling (timm's mobilenetv1_100h); 0 for none.
      padding: see `layers.pads`.
      dropout: rate before the dense layer.
      bn_momentum, bn_epsilon: of the running statistics and of the variance.
      bn_group: see `layers.ConvBN`.
      layers, memory: "fast" or "textbook"; "bytes" or "least"; see `layers.formulation`.
      platform: of the devices that will run a training step; not an option of the config.
      dtype: of the computation; parameters and statistics are float32.
    """

    num_classes: int
    alpha: float = 1.0
    total_stride: int = 32
    activation: str = "relu6"
    separable: bool = True
    shallow: bool = False
    last_features: int = 0
    padding: str = "same"
    dropout: float = 0.001
    bn_momentum: float = 0.9997
    bn_epsilon: float = 1e-3
    bn_group: int = 0
    layers: str = "fast"
    memory: str = "bytes"
    platform: str = "cpu"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x_BxHxWxC: jax.Array, train: bool = False) -> jax.Array:
        layer = conv_bn(self, self.activation)
        blocks = SHALLOW_BLOCKS if self.shallow else BLOCKS
        steps = [(stride, 1) for stride in limit_strides(strides_of(blocks), self.total_stride)]
        x = features(layer, x_BxHxWxC, train, self.alpha, steps, blocks, self.separable)
        if self.last_features:
            x = layer(self.last_features, name="last")(x, train)
        return Classifier(self.num_classes, self.dropout, dtype=self.dtype, name="classifier")(x, train)


def strides_of(blocks: Sequence[tuple[int, int]] = BLOCKS) -> tuple[int, ...]:
    """Of the stem and of each block."""
    return (STEM_STRIDE, *(stride for _, stride in blocks))


def features(layer, x_BxHxWxC, train, alpha, steps, blocks=BLOCKS, separable=True):
    """The last map, what `layer` returns; to be called inside the network's `__call__`.

    Args:
      layer: from `conv_bn`.
      x_BxHxWxC: images.
      train: as the network has it.
      alpha: as the network has it.
      steps: (stride, dilation) of the stem and of each block.
      blocks: such as `BLOCKS`; the strides there are not used.
      separable: as the network has it.
    """

    def width(channels: int) -> int:
        return max(int(channels * alpha), 8)

    (stem_stride, _), *steps = steps
    x = layer(width(STEM_FEATURES), 3, stem_stride, name="stem")(x_BxHxWxC, train)
    for i, ((channels, _), (stride, dilation)) in enumerate(zip(blocks, steps, strict=True), start=1):
        if separable:
            x = layer(None, 3, stride, dilation, name=f"block{i:02d}_depthwise")(x, train)
            x = layer(width(channels), name=f"block{i:02d}_pointwise")(x, train)
        else:
            x = layer(width(channels), 3, stride, dilation, name=f"block{i:02d}_full")(x, train)
    return x
