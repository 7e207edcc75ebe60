"""Encoded bytes to uint8 arrays on the host, and the crops that belong to the decoding of large images."""

import io
import math
from collections.abc import Callable

import numpy as np
from PIL import Image

_MODES = {1: "L", 3: "RGB"}

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


def evaluation_crop(encoded: bytes, data) -> np.ndarray:
    """The part of an image that is evaluated: (image_size, image_size, channels), uint8.

    Args:
      encoded: the image.
      data: `config.data`: `channels`, `image_size`, `eval_crop` (a key of `EVAL_CROPS`), `eval_crop_fraction`, and
        `eval_filter` (a key of `FILTERS`).
    """
    image = _open(encoded, data.channels)
    return EVAL_CROPS[data.eval_crop](image, data.image_size, data.eval_crop_fraction, FILTERS[data.eval_filter])


def _central(image: Image.Image, size: int, fraction: float, resize: Callable) -> np.ndarray:
    """A fraction of both sides, resized without regard to the aspect ratio (TF-slim's Inception preprocessing)."""
    left, top = (int(side * (1 - fraction) / 2) for side in image.size)
    return resize(image.crop((left, top, image.width - left, image.height - top)), (size, size))


def _shorter_side(image: Image.Image, size: int, fraction: float, resize: Callable) -> np.ndarray:
    """The shorter side is resized to size / fraction, then the middle is cut out (torchvision, timm)."""
    scaled = math.floor(size / fraction)
    shorter = min(image.size)
    width, height = (scaled if side == shorter else int(scaled * side / shorter) for side in image.size)
    left, top = round((width - size) / 2.0), round((height - size) / 2.0)
    return resize(image, (width, height))[top : top + size, left : left + size]


def _pillow(resampling: Image.Resampling) -> Callable[[Image.Image, tuple[int, int]], np.ndarray]:
    return lambda image, size: _as_array(image.resize(size, resampling))


def _tf_bilinear(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """TensorFlow 1's `resize_bilinear`: between the four pixels around `index * scale`, without antialiasing."""
    pixels = _as_array(image).astype(np.float32)
    for axis, (old, new) in enumerate(zip(pixels.shape[:2], size[::-1], strict=True)):
        position = np.arange(new, dtype=np.float32) * np.float32(old / new)
        low = np.floor(position).astype(int)
        share = np.expand_dims(position - low, (1, 2) if axis == 0 else (0, 2))
        before, after = (np.take(pixels, index, axis) for index in (low, np.minimum(low + 1, old - 1)))
        pixels = before + (after - before) * share
    return np.rint(pixels).astype(np.uint8)


EVAL_CROPS: dict[str, Callable] = {"central": _central, "shorter_side": _shorter_side}

FILTERS: dict[str, Callable] = {
    "bilinear": _pillow(Image.Resampling.BILINEAR),
    "bicubic": _pillow(Image.Resampling.BICUBIC),
    "tf_bilinear": _tf_bilinear,
}


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
