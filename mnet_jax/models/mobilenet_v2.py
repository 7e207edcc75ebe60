"""MobileNet V2 (Sandler et al., 2018, arXiv:1801.04381), Table 2, and its ablations (Figure 6)."""

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mnet_jax.models.layers import Classifier, conv_bn, finished, limit_strides, make_divisible, stochastic_depth

STEM_FEATURES, STEM_STRIDE = 32, 2
LAST_FEATURES = 1280

Block = tuple[int, int, int]  # (expansion, channels, stride)

STAGES = (  # (expansion t, features c, repeats n, stride s of the first repeat)
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class MobileNetV2(nn.Module):
    """Maps images (batch, height, width, channels) to float32 logits (batch, num_classes).

    Attributes:
      num_classes: size of the output.
      alpha: width multiplier, positive; channels are rounded by `make_divisible`. The last convolution keeps its
        1280 channels below alpha 1 (section 4).
      total_stride: input side over side of the last map; the last strides that are too many become 1.
      activation: "relu6" (the paper) or "relu".
      residual: False leaves out the additions (Figure 6b, "no residual").
      linear_bottleneck: False puts the activation behind the projections, too (Figure 6a, "relu6 in bottleneck").
      expansion: t of all blocks; None for the table's. With 1 no block expands.
      depth_multiplier: of the repeats n of all stages but the first and the last, rounded up (timm's 110d and 120d).
      scale_ends: False keeps the stem's 32 and the last convolution's 1280 channels at any alpha (the same two).
      padding: see `layers.pads`.
      dropout: rate before the dense layer.
      drop_path: see `layers.stochastic_depth`; of blocks with an addition.
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
    residual: bool = True
    linear_bottleneck: bool = True
    expansion: int | None = None
    depth_multiplier: float = 1.0
    scale_ends: bool = True
    padding: str = "same"
    dropout: float = 0.2
    drop_path: float = 0.0
    bn_momentum: float = 0.997
    bn_epsilon: float = 1e-3
    bn_group: int = 0
    layers: str = "fast"
    memory: str = "bytes"
    platform: str = "cpu"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x_BxHxWxC: jax.Array, train: bool = False) -> jax.Array:
        layer = conv_bn(self, self.activation)
        blocks = blocks_of(self.alpha, self.repeats(), self.expansion)
        steps = [(stride, 1) for stride in limit_strides(strides_of(blocks), self.total_stride)]
        stem_alpha = self.alpha if self.scale_ends else 1.0
        options = (self.residual, self.linear_bottleneck, self.drop_path)
        x = features(layer, x_BxHxWxC, train, stem_alpha, steps, blocks, *options)
        x = layer(make_divisible(LAST_FEATURES * max(stem_alpha, 1.0)), name="last")(x, train)
        return Classifier(self.num_classes, self.dropout, dtype=self.dtype, name="classifier")(x, train)

    def repeats(self) -> list[int]:
        """How many blocks each stage has."""
        first, *inner, last = (n for _, _, n, _ in STAGES)
        return [first, *(math.ceil(n * self.depth_multiplier) for n in inner), last]


def blocks_of(alpha: float, repeats: Sequence[int] | None = None, expansion: int | None = None) -> list[Block]:
    """The blocks of all stages.

    Args:
      alpha: as the network has it.
      repeats: how many blocks each stage has; None for the table's.
      expansion: as the network has it.
    """
    repeats = [n for _, _, n, _ in STAGES] if repeats is None else repeats
    blocks = []
    for (t, c, _, s), n in zip(STAGES, repeats, strict=True):
        t = t if expansion is None else expansion
        blocks += [(t, make_divisible(c * alpha), s if i == 0 else 1) for i in range(n)]
    return blocks


def strides_of(blocks: Sequence[Block]) -> tuple[int, ...]:
    """Of the stem and of each block."""
    return (STEM_STRIDE, *(stride for *_, stride in blocks))


def features(
    layer, x_BxHxWxC, train, stem_alpha, steps, blocks, residual=True, linear_bottleneck=True, max_drop_path=0.0
):
    """The map of the last block; to be called inside the network's `__call__`.

    Args:
      layer: from `conv_bn`.
      x_BxHxWxC: images.
      train: as the network has it.
      stem_alpha: of the stem's width.
      steps: (stride, dilation) of the stem and of each block.
      blocks: from `blocks_of`; the strides there are not used.
      residual, linear_bottleneck: as the network has them.
      max_drop_path: the network's `drop_path`.
    """
    (stem_stride, _), *steps = steps
    x = layer(make_divisible(STEM_FEATURES * stem_alpha), 3, stem_stride, name="stem")(x_BxHxWxC, train)
    for i, ((expansion, channels, _), step) in enumerate(zip(blocks, steps, strict=True)):
        name = f"block{i + 1:02d}"
        drop_path = stochastic_depth(max_drop_path, i, len(blocks), train, f"{name}_drop_path")
        x = _inverted_residual(layer, drop_path, x, channels, expansion, step, name, train, residual, linear_bottleneck)
    return x


def _inverted_residual(
    layer, drop_path, x_BxHxWxC, features, expansion, step, name, train, residual, linear_bottleneck
):
    """Expand, filter, project linearly; add the input where the shapes agree (Figure 4d)."""
    channels = x_BxHxWxC.shape[-1]
    is_residual = residual and step[0] == 1 and channels == features
    y = x_BxHxWxC = finished(x_BxHxWxC) if is_residual else x_BxHxWxC
    if expansion > 1:
        y = layer(channels * expansion, name=f"{name}_expand")(y, train)
    y = layer(None, 3, *step, name=f"{name}_depthwise")(y, train)
    linear = {"activation": None} if linear_bottleneck else {}
    y = finished(layer(features, **linear, name=f"{name}_project")(y, train))
    return x_BxHxWxC + drop_path(y) if is_residual else y
