"""MobileNet V3 (Howard et al., 2019, arXiv:1905.02244), Tables 1 and 2, and TF-slim's minimalistic variants.

Where the sources differ, TF-slim is followed. At alpha 1 all of them are the same network; at other alphas
  - the expanded width is `make_divisible(expansion * input channels)` of the rounded input channels; torchvision rounds
    alpha times the table's expanded width instead;
  - the stem has `make_divisible(16 * alpha)` channels; Keras keeps 16 at any alpha, timm below 0.75;
  - the last convolution has alpha times the table's 960 or 576 channels; Keras has 6 times its input channels;
  - the hidden layer of the classifier is not shrunk below alpha 1 (`finegrain_classification_mode`, as published).
The published checkpoints (alpha 1 and 0.75) are the same in all of these but torchvision's rule.
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from mnet_jax.models.layers import (
    Classifier,
    SqueezeExcite,
    conv_bn,
    finished,
    limit_strides,
    make_divisible,
    stochastic_depth,
)

STEM_FEATURES, STEM_STRIDE = 16, 2

Block = tuple[float, int, int, int, bool, str]

LARGE: tuple[Block, ...] = (  # (expansion, features, kernel size, stride, squeeze-excite, activation)
    (1, 16, 3, 1, False, "relu"),
    (4, 24, 3, 2, False, "relu"),
    (3, 24, 3, 1, False, "relu"),
    (3, 40, 5, 2, True, "relu"),
    (3, 40, 5, 1, True, "relu"),
    (3, 40, 5, 1, True, "relu"),
    (6, 80, 3, 2, False, "hard_swish"),
    (2.5, 80, 3, 1, False, "hard_swish"),
    (184 / 80, 80, 3, 1, False, "hard_swish"),
    (184 / 80, 80, 3, 1, False, "hard_swish"),
    (6, 112, 3, 1, True, "hard_swish"),
    (6, 112, 3, 1, True, "hard_swish"),
    (6, 160, 5, 2, True, "hard_swish"),
    (6, 160, 5, 1, True, "hard_swish"),
    (6, 160, 5, 1, True, "hard_swish"),
)

SMALL: tuple[Block, ...] = (
    (1, 16, 3, 2, True, "relu"),
    (72 / 16, 24, 3, 2, False, "relu"),
    (88 / 24, 24, 3, 1, False, "relu"),
    (4, 40, 5, 2, True, "hard_swish"),
    (6, 40, 5, 1, True, "hard_swish"),
    (6, 40, 5, 1, True, "hard_swish"),
    (3, 48, 5, 1, True, "hard_swish"),
    (3, 48, 5, 1, True, "hard_swish"),
    (6, 96, 5, 2, True, "hard_swish"),
    (6, 96, 5, 1, True, "hard_swish"),
    (6, 96, 5, 1, True, "hard_swish"),
)


def minimalistic(blocks: tuple[Block, ...]) -> tuple[Block, ...]:
    """The blocks with 3x3 kernels and ReLU, without squeeze-excite."""
    return tuple((expansion, features, 3, stride, False, "relu") for expansion, features, _, stride, *_ in blocks)


class MobileNetV3(nn.Module):
    """Maps images (batch, height, width, channels) to float32 logits (batch, num_classes).

    The subclasses name the variants.

    Attributes:
      num_classes: size of the output.
      alpha: width multiplier, positive; channels are rounded by `make_divisible`.
      total_stride: input side over side of the last map; the last strides that are too many become 1.
      padding: see `layers.pads`.
      dropout: rate before the last dense layer.
      drop_path: see `layers.stochastic_depth`; of blocks with an addition.
      bn_momentum, bn_epsilon: of the running statistics and of the variance.
      bn_group: see `layers.ConvBN`.
      layers, memory: "fast" or "textbook"; "bytes" or "least"; see `layers.formulation`.
      platform: of the devices that will run a training step; not an option of the config.
      dtype: of the computation; parameters and statistics are float32.
    """

    BLOCKS: ClassVar[tuple[Block, ...]]
    LAST_FEATURES: ClassVar[int]
    HIDDEN_FEATURES: ClassVar[int]
    ACTIVATION: ClassVar[str] = "hard_swish"  # of the stem, the last convolution and the hidden layer

    num_classes: int
    alpha: float = 1.0
    total_stride: int = 32
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
        layer = conv_bn(self, self.ACTIVATION)
        stem_stride, *strides = limit_strides((STEM_STRIDE, *(block[3] for block in self.BLOCKS)), self.total_stride)
        x = layer(self._width(STEM_FEATURES), 3, stem_stride, name="stem")(x_BxHxWxC, train)
        for i, (block, stride) in enumerate(zip(self.BLOCKS, strides, strict=True), start=1):
            name = f"block{i:02d}"
            drop_path = stochastic_depth(self.drop_path, i - 1, len(self.BLOCKS), train, f"{name}_drop_path")
            x = self._block(layer, drop_path, x, block, stride, name, train)
        x = layer(self._width(self.LAST_FEATURES), name="last")(x, train)
        hidden_features = make_divisible(self.HIDDEN_FEATURES * max(self.alpha, 1.0))
        classifier = Classifier(
            self.num_classes, self.dropout, hidden_features, self.ACTIVATION, self.dtype, name="classifier"
        )
        return classifier(x, train)

    def _width(self, features: int) -> int:
        return make_divisible(features * self.alpha)

    def _block(self, layer, drop_path, x_BxHxWxC, block: Block, stride, name, train):
        """Expand, filter, squeeze and excite, project linearly; add the input where the shapes agree (Figure 4)."""
        expansion, features, kernel_size, _, squeeze_excite, activation = block
        channels, features = x_BxHxWxC.shape[-1], self._width(features)
        is_residual = stride == 1 and channels == features
        y = x_BxHxWxC = finished(x_BxHxWxC) if is_residual else x_BxHxWxC
        if expansion > 1:
            y = layer(make_divisible(channels * expansion), activation=activation, name=f"{name}_expand")(y, train)
        y = layer(None, kernel_size, stride, activation=activation, name=f"{name}_depthwise")(y, train)
        if squeeze_excite:
            y = SqueezeExcite(self.dtype, name=f"{name}_squeeze_excite")(y)
        y = finished(layer(features, activation=None, name=f"{name}_project")(y, train))
        return x_BxHxWxC + drop_path(y) if is_residual else y


class MobileNetV3Large(MobileNetV3):
    """Table 1."""

    BLOCKS, LAST_FEATURES, HIDDEN_FEATURES = LARGE, 960, 1280


class MobileNetV3Small(MobileNetV3):
    """Table 2; the hidden layer has 1024 channels as the table, TF-slim's code and torchvision have it."""

    BLOCKS, LAST_FEATURES, HIDDEN_FEATURES = SMALL, 576, 1024


class MobileNetV3LargeMinimalistic(MobileNetV3Large):
    """TF-slim's variant for hardware that is slow at squeeze-excite, h-swish and 5x5 kernels."""

    BLOCKS, ACTIVATION = minimalistic(LARGE), "relu"


class MobileNetV3SmallMinimalistic(MobileNetV3Small):
    """TF-slim's variant for hardware that is slow at squeeze-excite, h-swish and 5x5 kernels."""

    BLOCKS, ACTIVATION = minimalistic(SMALL), "relu"
