"""The first blocks of MobileNet V3, one of which adds: all that a recipe can ask for, compiled in seconds."""

from mnet_jax.models.mobilenet_v3 import SMALL, MobileNetV3Small

NAME = "tests.short_network:Short"


class Short(MobileNetV3Small):
    """Three blocks."""

    BLOCKS, LAST_FEATURES, HIDDEN_FEATURES = SMALL[:3], 32, 32
