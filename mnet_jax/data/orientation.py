"""The orientation that EXIF states of an image: whether it is honoured, what it is, and how pixels are turned.

Pillow reads it, from EXIF or else from XMP, so that what is turned is what `ImageOps.exif_transpose` would turn.
"""

import io
import struct

import numpy as np
from PIL import ExifTags, Image

from mnet_jax.config.fields import honours_exif

Box = tuple[int, int, int, int]  # left, top, right, bottom

UPRIGHT = 1

_FORMATS = ("JPEG", "PNG", "WEBP")
_WORDS = (b"eXIf", b"exif", b"Orientation")  # one of which a PNG has that says something of it
_FLIPS = {  # which axes are mirrored, x and y, to set an image upright; from 5 on x and y are exchanged before that
    1: (False, False),
    2: (True, False),
    3: (True, True),
    4: (False, True),
    5: (False, False),
    6: (True, False),
    7: (True, True),
    8: (False, True),
}


def is_honoured(data) -> bool:
    """Whether the images of `config.data` are turned as EXIF states."""
    return _honours_by_default(data) if data.exif_orientation is None else data.exif_orientation


def is_due(data) -> bool:
    """Whether they are turned as they are read: those of a folder of one's own are as they are prepared."""
    return is_honoured(data) and not _honours_by_default(data)


def stated(encoded: bytes) -> int:
    """What EXIF states of an encoded image, 1 to 8; `UPRIGHT` where it states nothing, or nothing that is known."""
    try:
        with Image.open(io.BytesIO(encoded), formats=_FORMATS) as image:
            found = of(image, encoded)
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError):
        return UPRIGHT
    return found if isinstance(found, int) and found in _FLIPS else UPRIGHT


def of(image: Image.Image, encoded: bytes):
    """The value of the tag, whatever it is; without decoding a PNG that says nothing of it."""
    if image.format == "PNG" and not any(word in encoded for word in _WORDS):
        return UPRIGHT
    return image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)


def size(orientation: int, width: int, height: int) -> tuple[int, int]:
    """Width and height of the image once it is upright."""
    return (height, width) if _is_transposed(orientation) else (width, height)


def as_encoded(orientation: int, box: Box, width: int, height: int) -> Box:
    """Where a part of the upright image is in the encoded one, whose width and height are given."""
    left, top, right, bottom = box
    width, height = size(orientation, width, height)
    mirrors_x, mirrors_y = _FLIPS[orientation]
    if mirrors_x:
        left, right = width - right, width - left
    if mirrors_y:
        top, bottom = height - bottom, height - top
    return (top, left, bottom, right) if _is_transposed(orientation) else (left, top, right, bottom)


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels (height, width, channels) of an encoded image as they are to be seen."""
    if orientation == UPRIGHT:
        return pixels
    turned = pixels.swapaxes(0, 1) if _is_transposed(orientation) else pixels
    mirrors_x, mirrors_y = _FLIPS[orientation]
    return np.ascontiguousarray(turned[:: -1 if mirrors_y else 1, :: -1 if mirrors_x else 1])


def _honours_by_default(data) -> bool:
    return honours_exif({"data.name": data.name, "data.tfds_name": data.tfds_name})


def _is_transposed(orientation: int) -> bool:
    return orientation >= 5
