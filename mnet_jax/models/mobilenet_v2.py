"""MobileNet V2 (Sandler et al., 2018, arXiv:1801.04381), Table 2."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mnet_jax.models.layers import Classifier, conv_bn, limit_strides, make_divisible

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
      activation: "relu6" (the paper) or "relu"; projections are linear.
      dropout: rate before the dense layer.
      bn_momentum, bn_epsilon: of the running statistics and of the variance.
      dtype: of the computation; parameters and statistics are float32.
    """

    num_classes: int
    alpha: float = 1.0
    total_stride: int = 32
    activation: str = "relu6"
    dropout: float = 0.2
    bn_momentum: float = 0.997
    bn_epsilon: float = 1e-3
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x_BxHxWxC: jax.Array, train: bool = False) -> jax.Array:
        layer = conv_bn(self)
        blocks = [(t, c, s if i == 0 else 1) for t, c, n, s in STAGES for i in range(n)]
        stem_stride, *strides = limit_strides((STEM_STRIDE, *(s for *_, s in blocks)), self.total_stride)
        x = layer(make_divisible(STEM_FEATURES * self.alpha), 3, stem_stride, name="stem")(x_BxHxWxC, train)
        for i, ((expansion, features, _), stride) in enumerate(zip(blocks, strides, strict=True), start=1):
            features = make_divisible(features * self.alpha)
            x = _inverted_residual(layer, x, features, expansion, stride, f"block{i:02d}", train)
        x = layer(make_divisible(LAST_FEATURES * max(self.alpha, 1.0)), name="last")(x, train)
        return Classifier(self.num_classes, self.dropout, self.dtype, name="classifier")(x, train)


def _inverted_residual(layer, x_BxHxWxC, features, expansion, stride, name, train):
    """Expand, filter, project linearly; add the input where the shapes agree (Figure 4d)."""
    channels = x_BxHxWxC.shape[-1]
    y = x_BxHxWxC
    if expansion > 1:
        y = layer(channels * expansion, name=f"{name}_expand")(y, train)
    y = layer(None, 3, stride, name=f"{name}_depthwise")(y, train)
    y = layer(features, activation=None, name=f"{name}_project")(y, train)
    return x_BxHxWxC + y if stride == 1 and channels == features else y
