"""Encoded bytes to uint8 arrays on the host, and the crops that belong to the decoding of large images."""

import io
import math

import numpy as np
from PIL import Image

_MODES = {1: "L", 3: "RGB"}

CENTRAL_FRACTION = 0.875  # of each side: TF-slim's Inception preprocessing for evaluation

_ASPECT_RATIO = (3 / 4, 4 / 3)
_AREA = (0.1, 1.0)  # slim asks for [0.05, 1], and that a tenth of the image is covered
_ATTEMPTS = 100


def whole(encoded: bytes, channels: int) -> np.ndarray:
    """The image as it is: (height, width, channels), uint8."""
    return _as_array(_open(encoded, channels))


def inception_crop(encoded: bytes, channels: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """A random part of the image, resized: (size, size, channels), uint8.

    The part covers 10% to 100% of the area with an aspect ratio of 3:4 to 4:3 (Szegedy et al., 2014; drawn as
    TensorFlow's `sample_distorted_bounding_box` does); the whole image where 100 draws do not fit.
    """
    image = _open(encoded, channels)
    return _crop(image, _sample_box(*image.size, rng), size)


def central_crop(encoded: bytes, channels: int, size: int) -> np.ndarray:
    """The central 87.5% of both sides, resized without regard to the aspect ratio: (size, size, channels), uint8."""
    image = _open(encoded, channels)
    left, top = (int(side * (1 - CENTRAL_FRACTION) / 2) for side in image.size)
    return _crop(image, (left, top, image.width - left, image.height - top), size)


def _open(encoded: bytes, channels: int) -> Image.Image:
    return Image.open(io.BytesIO(encoded)).convert(_MODES[channels])


def _crop(image: Image.Image, box: tuple[int, int, int, int], size: int) -> np.ndarray:
    """Cut out first: `resize(box=...)` would let the pixels around the box bleed in."""
    return _as_array(image.crop(box).resize((size, size), Image.Resampling.BILINEAR))


def _as_array(image: Image.Image) -> np.ndarray:
    array = np.asarray(image)
    return array[..., np.newaxis] if array.ndim == 2 else array


def _sample_box(width: int, height: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    for _ in range(_ATTEMPTS):
        aspect_ratio = rng.uniform(*_ASPECT_RATIO)
        low, high = (round(math.sqrt(fraction * width * height / aspect_ratio)) for fraction in _AREA)
        crop_height = int(rng.integers(low, min(high, height), endpoint=True)) if low <= min(high, height) else low
        crop_width = round(crop_height * aspect_ratio)
        if 0 < crop_width <= width and 0 < crop_height <= height:
            left = int(rng.integers(0, width - crop_width, endpoint=True))
            top = int(rng.integers(0, height - crop_height, endpoint=True))
            return left, top, left + crop_width, top + crop_height
    return 0, 0, width, height
