"""Encoded bytes to uint8 arrays on the host, and the crops that belong to the decoding of large images.

JPEGs go through libjpeg-turbo; whatever it does not take as it is (PNG under the name of JPEG, CMYK, damage that can be
repaired) through Pillow. With `turn`, an image is read as the upright one that its orientation in EXIF makes of it.
"""

import contextlib
import io
import math
import random
import struct
import threading
from collections.abc import Callable

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from mnet_jax.data import orientation, stored

_MODES = {1: "L", 3: "RGB"}
_COLORSPACES = {1: "GRAY", 3: "RGB"}

_FOUR_COLORS = ("CMYK", "YCCK")
_UNSCALED = ("F", "I")  # Pillow would cut them off at 255
_TRAILER = 64  # bytes at the end among which a whole JPEG has its last marker; some programs write a few after it
_OTHER_FRAMES = {*range(0xC0, 0xD0), 0xDA} - {0xC0, 0xC1, 0xC4, 0xC8, 0xCC}  # and the scan, which no frame precedes

_ASPECT_RATIO = (3 / 4, 4 / 3)
_AREA = (0.1, 1.0)  # slim asks for [0.05, 1], and that a tenth of the image is covered
_ATTEMPTS = 100

_local = threading.local()

cv2.setNumThreads(0)  # the threads that call it are as many as there should be


class BadImage(Exception):
    """The bytes are no image that can be decoded; says why."""


def whole(encoded: bytes, channels: int, turn: bool = False) -> np.ndarray:
    """The image as it is: (height, width, channels), uint8.

    Raises:
      BadImage: it cannot be decoded.
    """
    return orientation.upright(_decoded(encoded, channels), _orientation(encoded, turn))


def at_least(encoded: bytes, channels: int, side: int, turn: bool = False) -> np.ndarray:
    """The image with a shorter side of `side` pixels, or as it is where it is smaller: uint8.

    Raises:
      BadImage: it cannot be decoded.
    """
    width, height = _size(encoded)
    pixels = _decoded(encoded, channels, _factor(min(width, height), side))
    pixels = orientation.upright(pixels, _orientation(encoded, turn))
    scale = side / min(pixels.shape[:2])
    if scale >= 1:
        return pixels
    size = tuple(max(side, round(length * scale)) for length in pixels.shape[1::-1])
    return _with_channels(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))


def inception_crop(encoded: bytes, rng: random.Random, out: np.ndarray, turn: bool = False) -> None:
    """A random part of the image, resized.

    The part covers 10% to 100% of the area with an aspect ratio of 3:4 to 4:3 (Szegedy et al., 2014; drawn as
    TensorFlow's `sample_distorted_bounding_box` does); the whole image where 100 draws do not fit. Rows below it are
    not decoded, and a part that is large is decoded at a half, a quarter or an eighth; what is left to resize, less
    than a factor of 2, is bilinear.

    Args:
      encoded: the image.
      rng: draws the part.
      out: (size, size, channels), uint8, where the part is written.
      turn: the part is one of the upright image.

    Raises:
      BadImage: it cannot be decoded.
    """
    width, height = _size(encoded)
    stated = _orientation(encoded, turn)
    left, top, right, bottom = _sample_box(*orientation.size(stated, width, height), rng)
    size, _, channels = out.shape
    factor = _factor(min(right - left, bottom - top), size)
    left, top, right, bottom = (round(edge / factor) for edge in (left, top, right, bottom))
    box = left, top, max(right, left + 1), max(bottom, top + 1)
    left, top, right, bottom = orientation.as_encoded(stated, box, -(-width // factor), -(-height // factor))
    pixels = _top_rows(encoded, channels, bottom * factor, factor)
    part = orientation.upright(pixels[top:bottom, left:right], stated)
    cv2.resize(part, (size, size), dst=out if channels > 1 else out[..., 0], interpolation=cv2.INTER_LINEAR)


def evaluation_crop(encoded: bytes, data, turn: bool = False) -> np.ndarray:
    """The part of an image that is evaluated: (image_size, image_size, channels), uint8.

    Args:
      encoded: the image.
      data: `config.data`: `channels`, `image_size`, `eval_crop` (a key of `EVAL_CROPS`), `eval_crop_fraction`, and
        `eval_filter` (a key of `FILTERS`).
      turn: the part is one of the upright image.

    Raises:
      BadImage: it cannot be decoded.
    """
    pixels = whole(encoded, data.channels, turn)
    image = Image.fromarray(pixels[..., 0] if data.channels == 1 else pixels)
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


def _factor(length: int, size: int) -> int:
    """What a length can be divided by as it is decoded without getting below `size`; factors between are slower."""
    return next(factor for factor in (8, 4, 2, 1) if length >= factor * size or factor == 1)


def _orientation(encoded: bytes, turn: bool) -> int:
    return orientation.stated(encoded) if turn else orientation.UPRIGHT


def _size(encoded: bytes) -> tuple[int, int]:
    """Width and height."""
    if header := _jpeg_header(encoded):
        width, height, _ = header
        return width, height
    return _pillow_image(encoded).size


def _jpeg_header(encoded: bytes) -> tuple[int, int, str] | None:
    """Width, height and colour space; None for what is left to Pillow.

    That is also a JPEG of more pixels than Pillow allows: libjpeg-turbo would fill gigabytes because of a damaged byte.
    """
    if simplejpeg.is_jpeg(encoded):
        with contextlib.suppress(ValueError):
            height, width, colorspace, _ = simplejpeg.decode_jpeg_header(encoded)
            most = Image.MAX_IMAGE_PIXELS  # Pillow warns from there on, and refuses twice as many
            return (width, height, colorspace) if most is None or width * height <= 2 * most else None
    return None


def _decoded(encoded: bytes, channels: int, factor: int = 1) -> np.ndarray:
    """(height / factor, width / factor, channels), rounded up."""
    if header := _jpeg_header(encoded):
        width, height, colorspace = header
        if colorspace not in _FOUR_COLORS:
            least = {"min_height": -(-height // factor), "min_width": -(-width // factor)}
            with contextlib.suppress(ValueError):  # Pillow reads over what does no harm, and says what does
                return simplejpeg.decode_jpeg(encoded, _COLORSPACES[channels], **least)
    image = _pillow_image(encoded)
    if image.mode in _UNSCALED:
        raise BadImage(f"pixels of Pillow's mode {image.mode}, whose black and white are not known")
    try:
        image = (stored.scaled(image) if image.mode in stored.GRAY_16 else image).convert(_MODES[channels])
    except (OSError, ValueError, SyntaxError) as error:
        raise BadImage(str(error)) from error
    return _as_array(image.reduce(factor) if factor > 1 else image)


def _top_rows(encoded: bytes, channels: int, rows: int, factor: int) -> np.ndarray:
    """As `_decoded`, but of the image's first rows where they can be had alone.

    The thread's next call overwrites them. A baseline JPEG holds its rows in order. With a smaller height in its
    header, the decoder stops after so many, and only finds that bytes are left. Whether the file is whole is seen by
    the marker at its end. The fast DCT is what TensorFlow decodes with unless told otherwise.
    """
    frame = _baseline_frame(encoded)
    if frame is None or b"\xff\xd9" not in encoded[-_TRAILER:]:
        return _decoded(encoded, channels, factor)
    height, width = struct.unpack_from(">HH", encoded, frame + 5)
    rows = min(rows, height)
    view = memoryview(encoded)
    cut = b"".join((view[: frame + 5], struct.pack(">H", rows), view[frame + 7 :]))
    try:
        return simplejpeg.decode_jpeg(
            cut,
            _COLORSPACES[channels],
            fastupsample=True,
            fastdct=True,
            min_height=-(-rows // factor),
            min_width=-(-width // factor),
            strict=False,
            buffer=_scratch(rows * width * channels),
        )
    except ValueError:
        return _decoded(encoded, channels, factor)


def _scratch(size: int) -> np.ndarray:
    """Bytes that the thread overwrites with each image; fresh ones would cost a page fault every 4 KiB."""
    if getattr(_local, "scratch", None) is None or _local.scratch.size < size:
        _local.scratch = np.empty(2 * size, np.uint8)
    return _local.scratch


def _baseline_frame(encoded: bytes) -> int | None:
    """Where the frame header of a baseline JPEG in gray or YCbCr begins; None for other images (ITU-T T.81, B.2)."""
    position = 2
    while encoded[:2] == b"\xff\xd8" and position + 10 <= len(encoded) and encoded[position] == 0xFF:
        marker = encoded[position + 1]
        if marker in (0xC0, 0xC1):
            return position if encoded[position + 9] in (1, 3) else None
        if marker in _OTHER_FRAMES:
            return None
        position += 2 + int.from_bytes(encoded[position + 2 : position + 4])
    return None


def _pillow_image(encoded: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(encoded))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        kind = "an empty file" if not encoded else f"no image (it begins with {encoded[:8]!r})"
        raise BadImage(kind if isinstance(error, Image.UnidentifiedImageError) else str(error)) from error


def _with_channels(array: np.ndarray) -> np.ndarray:
    return array[..., np.newaxis] if array.ndim == 2 else array


def _as_array(image: Image.Image) -> np.ndarray:
    return _with_channels(np.asarray(image))


def _sample_box(width: int, height: int, rng: random.Random) -> tuple[int, int, int, int]:
    for _ in range(_ATTEMPTS):
        shape, length, x, y = (rng.random() for _ in range(4))
        aspect_ratio = _ASPECT_RATIO[0] + shape * (_ASPECT_RATIO[1] - _ASPECT_RATIO[0])
        low, high = (round(math.sqrt(fraction * width * height / aspect_ratio)) for fraction in _AREA)
        crop_height = low + int(length * (max(low, min(high, height)) - low + 1))
        crop_width = round(crop_height * aspect_ratio)
        if 0 < crop_width <= width and 0 < crop_height <= height:
            left, top = int(x * (width - crop_width + 1)), int(y * (height - crop_height + 1))
            return left, top, left + crop_width, top + crop_height
    return 0, 0, width, height
