"""DeepLabv3 (Chen et al., 2017, arXiv:1706.05587) on MobileNet V1 and V2 (the V2 paper, section 6.3 and Table 7).

Follows `research/deeplab` of TensorFlow's models: dilation by TF-slim's `output_stride`, a head of 256 channels at any
alpha with ReLU, an epsilon of 1e-5, Glorot's initialisation, and a dropout of 0.1 before the logits.
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from mnet_jax.errors import UserError
from mnet_jax.models import mobilenet_v1, mobilenet_v2
from mnet_jax.models.layers import average, conv_bn, dilate_strides, finished
from mnet_jax.models.ops.aligned_corners import resize_aligned

HEAD_FEATURES, HEAD_EPSILON = 256, 1e-5

HEAD = ("logits", "projection", "image_pooling", "aspp0", "aspp1", "aspp2", "aspp3")  # layers above the other network's

ATROUS_RATES = {32: (3, 6, 9), 16: (6, 12, 18), 8: (12, 24, 36)}  # by output stride: the same pixels of the image


class DeepLab(nn.Module):
    """Maps images (batch, height, width, channels) to float32 logits of each pixel (batch, height, width, num_classes).

    The subclasses name the network below the head. Its variables have the paths and shapes of the classification
    network's, at any output stride.

    Attributes:
      num_classes: of a pixel.
      alpha: width multiplier of the network below the head, positive; as there.
      output_stride: 32, 16 or 8, input side over side of the last map; the strides after it become dilation.
      aspp: three atrous 3x3 convolutions beside the 1x1 convolution and the image's average (`ATROUS_RATES`).
      padding: see `layers.pads`.
      dropout: rate before the logits.
      bn_momentum: of the running statistics, also the head's.
      bn_epsilon: added to the variance, but in the head.
      bn_group: see `layers.ConvBN`.
      layers, memory: "fast" or "textbook"; "bytes" or "least"; see `layers.formulation`.
      platform: of the devices that will run a training step; not an option of the config.
      dtype: of the computation; parameters, statistics and the interpolation are float32.

    Raises:
      UserError: the output stride is another.
    """

    TASK: ClassVar[str] = "segmentation"
    CLASSIFIER: ClassVar[type[nn.Module]]  # whose variables those below the head are

    num_classes: int
    alpha: float = 1.0
    output_stride: int = 16
    aspp: bool = False
    padding: str = "same"
    dropout: float = 0.1
    bn_momentum: float = 0.9997
    bn_epsilon: float = 1e-3
    bn_group: int = 0
    layers: str = "fast"
    memory: str = "bytes"
    platform: str = "cpu"
    dtype: Any = jnp.float32

    def __post_init__(self):
        if self.output_stride not in ATROUS_RATES:
            raise UserError(f"output_stride={self.output_stride!r}: must be one of 8, 16, 32")
        super().__post_init__()

    @nn.compact
    def __call__(self, x_BxHxWxC: jax.Array, train: bool = False) -> jax.Array:
        x = finished(self._features(conv_bn(self, "relu6"), x_BxHxWxC, train))
        x = nn.Dropout(self.dropout, deterministic=not train)(self._head(x, train))
        logits = nn.Conv(
            self.num_classes,
            (1, 1),
            kernel_init=nn.initializers.truncated_normal(0.01),
            dtype=self.dtype,
            name="logits",
        )(x)
        return Upsampling(*x_BxHxWxC.shape[1:3], name="upsampling")(logits.astype(jnp.float32))

    def _features(self, layer, x_BxHxWxC, train):
        """The last map of the network below the head."""
        raise NotImplementedError

    def _head(self, x_BxHxWxC, train):
        """Features of each pixel, of the whole image, and of the surroundings at three distances, in 256 channels."""

        def layer(x, kernel_size=1, dilation=1, *, name):
            conv = conv_bn(self, "relu")
            of_head = {"bn_epsilon": HEAD_EPSILON, "kernel_init": nn.initializers.glorot_uniform(), "name": name}
            return finished(conv(HEAD_FEATURES, kernel_size, dilation=dilation, **of_head)(x, train))

        of_image = layer(average(x_BxHxWxC, self.dtype)[:, jnp.newaxis, jnp.newaxis], name="image_pooling")
        branches = [
            jnp.broadcast_to(of_image, (*x_BxHxWxC.shape[:3], HEAD_FEATURES)),
            layer(x_BxHxWxC, name="aspp0"),
        ]
        for i, rate in enumerate(ATROUS_RATES[self.output_stride] if self.aspp else (), start=1):
            branches.append(layer(x_BxHxWxC, 3, rate, name=f"aspp{i}"))
        return layer(jnp.concatenate(branches, axis=-1), name="projection")


class Upsampling(nn.Module):
    """Bilinear, with aligned corners, to (batch, height, width, channels); to `mnet_jax.cost` no arithmetic."""

    height: int
    width: int

    def __call__(self, x_BxHxWxC: jax.Array) -> jax.Array:
        return resize_aligned(x_BxHxWxC, self.height, self.width)


class DeepLabMobileNetV1(DeepLab):
    """On the last map of V1, which has 1024 channels at alpha 1."""

    CLASSIFIER: ClassVar[type[nn.Module]] = mobilenet_v1.MobileNetV1

    def _features(self, layer, x_BxHxWxC, train):
        steps = dilate_strides(mobilenet_v1.strides_of(), self.output_stride)
        return mobilenet_v1.features(layer, x_BxHxWxC, train, self.alpha, steps)


class DeepLabMobileNetV2(DeepLab):
    """On the map of V2's last block, which has 320 channels at alpha 1: without the convolution to 1280.

    Below alpha 0.14, where the widths of two stages agree, a block whose stride is not taken adds its input, as in
    TF-slim; the classification network's does not.
    """

    CLASSIFIER: ClassVar[type[nn.Module]] = mobilenet_v2.MobileNetV2

    bn_momentum: float = 0.997

    def _features(self, layer, x_BxHxWxC, train):
        blocks = mobilenet_v2.blocks_of(self.alpha)
        steps = dilate_strides(mobilenet_v2.strides_of(blocks), self.output_stride)
        return mobilenet_v2.features(layer, x_BxHxWxC, train, self.alpha, steps, blocks)
