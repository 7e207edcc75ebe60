"""A network that gives each pixel a class, and compiles in a second."""

from typing import ClassVar

import flax.linen as nn

from mnet_jax.models.ops.aligned_corners import resize_aligned

NAME = "tests.pixel_network:Pixels"


class Pixels(nn.Module):
    """Two convolutions at a quarter of the side."""

    TASK: ClassVar[str] = "segmentation"

    num_classes: int

    @nn.compact
    def __call__(self, x, train):
        size = x.shape[1:3]
        x = nn.BatchNorm(not train, momentum=0.9)(nn.Conv(16, (5, 5), 4, use_bias=False)(x))
        return resize_aligned(nn.Conv(self.num_classes, (3, 3))(nn.relu(x)), *size)
