"""MobileNet V2 (Sandler et al., 2018, arXiv:1801.04381), Table 2, and its ablations (Figure 6)."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mnet_jax.models.layers import Classifier, conv_bn, finished, limit_strides, make_divisible, stochastic_depth

STEM_FEATURES, STEM_STRIDE = 32, 2
LAST_FEATURES = 1280

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
        blocks = self._blocks()
        stem_stride, *strides = limit_strides((STEM_STRIDE, *(s for *_, s in blocks)), self.total_stride)
        stem_alpha = self.alpha if self.scale_ends else 1.0
        x = layer(make_divisible(STEM_FEATURES * stem_alpha), 3, stem_stride, name="stem")(x_BxHxWxC, train)
        for i, ((expansion, features, _), stride) in enumerate(zip(blocks, strides, strict=True), start=1):
            name = f"block{i:02d}"
            drop_path = stochastic_depth(self.drop_path, i - 1, len(blocks), train, f"{name}_drop_path")
            x = self._inverted_residual(layer, drop_path, x, features, expansion, stride, name, train)
        x = layer(make_divisible(LAST_FEATURES * max(stem_alpha, 1.0)), name="last")(x, train)
        return Classifier(self.num_classes, self.dropout, dtype=self.dtype, name="classifier")(x, train)

    def repeats(self) -> list[int]:
        """How many blocks each stage has."""
        first, *inner, last = (n for _, _, n, _ in STAGES)
        return [first, *(math.ceil(n * self.depth_multiplier) for n in inner), last]

    def _blocks(self) -> list[tuple[int, int, int]]:
        """(expansion, channels, stride) of each block."""
        blocks = []
        for (t, c, _, s), repeats in zip(STAGES, self.repeats(), strict=True):
            expansion = t if self.expansion is None else self.expansion
            blocks += [(expansion, make_divisible(c * self.alpha), s if i == 0 else 1) for i in range(repeats)]
        return blocks

    def _inverted_residual(self, layer, drop_path, x_BxHxWxC, features, expansion, stride, name, train):
        """Expand, filter, project linearly; add the input where the shapes agree (Figure 4d)."""
        channels = x_BxHxWxC.shape[-1]
        is_residual = self.residual and stride == 1 and channels == features
        y = x_BxHxWxC = finished(x_BxHxWxC) if is_residual else x_BxHxWxC
        if expansion > 1:
            y = layer(channels * expansion, name=f"{name}_expand")(y, train)
        y = layer(None, 3, stride, name=f"{name}_depthwise")(y, train)
        activation = None if self.linear_bottleneck else self.activation
        y = finished(layer(features, activation=activation, name=f"{name}_project")(y, train))
        return x_BxHxWxC + drop_path(y) if is_residual else y
