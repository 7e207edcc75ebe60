"""How often, and at which sizes, a network sees each image of an evaluation."""

import math
from typing import NamedTuple

from ml_collections import ConfigDict

from mnet_jax.errors import UserError


class Pass(NamedTuple):
    """One look at an image.

    Attributes:
      side: of the square image fed to the network, in pixels.
      is_flipped: left to right.
    """

    side: int
    is_flipped: bool


def passes_of(config: ConfigDict) -> list[Pass]:
    """Those of a resolved config, by `data.eval_scales` and `data.eval_flip`; one of the image as it is, by default.

    Networks that classify see an image once, whatever these fields say.
    """
    if getattr(config, "task", None) != "segmentation":
        return [Pass(config.input_size, False)]
    data = config.data
    flips = (False, True) if getattr(data, "eval_flip", False) else (False,)
    sides = sides_at(config.input_size, getattr(data, "eval_scales", (1.0,)))
    return [Pass(side, is_flipped) for side in sides for is_flipped in flips]


def checked(name: str, scales: tuple) -> tuple[float, ...]:
    """Scales, as floats; raises UserError, which calls them `name`, where they are none."""
    if not all(isinstance(scale, float | int) and 0 < scale < math.inf for scale in scales) or 1.0 not in scales:
        raise UserError(f"{name}={scales!r}: must be positive and finite, with 1.0 among them, as (0.75, 1.0)")
    return tuple(map(float, scales))


def sides_at(side: int, scales: tuple[float, ...]) -> list[int]:
    """Sides of scaled images in pixels, whose corners are aligned: 513 pixels are 512 steps (DeepLab's `scale`)."""
    return [1 + int((side - 1) * scale) for scale in scales]
