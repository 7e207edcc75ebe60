"""The network that the V2 paper's Table 7 compares with, to be counted and not trained."""

import flax.linen as nn

from mnet_jax.models.deeplab import DeepLab
from mnet_jax.models.layers import dilate_strides

STAGES = (  # (features, units, stride of the last unit, rate of each unit in the last stage)
    (64, 3, 2, ()),
    (128, 4, 2, ()),
    (256, 23, 2, ()),
    (512, 3, 1, (1, 2, 4)),
)

ROOT = ((64, 2), (64, 1), (128, 1))  # (features, stride): three 3x3 convolutions in place of the 7x7


class DeepLabResNet101(DeepLab):
    """ResNet-101 v1 "beta" of TensorFlow's `research/deeplab`, with the multi-grid rates of DeepLabv3."""

    def _features(self, layer, x_BxHxWxC, train):
        units = [
            (features, stride if i == repeats - 1 else 1, rates[i] if rates else 1)
            for features, repeats, stride, rates in STAGES
            for i in range(repeats)
        ]
        x = x_BxHxWxC
        for i, (features, stride) in enumerate(ROOT, start=1):
            x = layer(features, 3, stride, activation="relu", name=f"root{i}")(x, train)
        x = nn.max_pool(x, (3, 3), (2, 2), "SAME")
        steps = dilate_strides((2, 2, *(stride for _, stride, _ in units)), self.output_stride)[2:]
        for i, ((features, _, rate), (stride, dilation)) in enumerate(zip(units, steps, strict=True), start=1):
            x = _bottleneck(layer, x, features, stride, dilation * rate, f"unit{i:02d}", train)
        return x


def _bottleneck(layer, x_BxHxWxC, features, stride, dilation, name, train):
    if x_BxHxWxC.shape[-1] == 4 * features:
        shortcut = x_BxHxWxC[:, ::stride, ::stride]
    else:
        shortcut = layer(4 * features, 1, stride, activation=None, name=f"{name}_shortcut")(x_BxHxWxC, train)
    y = layer(features, activation="relu", name=f"{name}_reduce")(x_BxHxWxC, train)
    y = layer(features, 3, stride, dilation, activation="relu", name=f"{name}_filter")(y, train)
    y = layer(4 * features, activation=None, name=f"{name}_expand")(y, train)
    return nn.relu(shortcut + y)
