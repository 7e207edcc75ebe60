"""A mask: the class of each pixel of an image, as a PNG whose values are labels; 255 is void, which counts nowhere."""

import io
import struct

import numpy as np
from PIL import Image

from mnet_jax.config.fields import has_masks
from mnet_jax.data.decode import BadImage
from mnet_jax.errors import UserError

VOID = 255

_INDICES = ("P", "L", "1")  # Pillow's modes of 8 bits or fewer, one value per pixel
_SCALED = {2: 85, 4: 17}  # by how much Pillow multiplies gray values of few bits, so that the largest is white
_IHDR = struct.Struct(
    ">8x4x4sIIBB"
)  # PNG (ISO/IEC 15948), 11.2.2: signature, length, IHDR, width, height, bits, colour


class NotIndices(Exception):
    """An image that is no mask: says what it is, and what would be right."""


def are_those_of(data) -> bool:
    """Whether the data set of `config.data` is one of masks, by its name."""
    return has_masks({"data.name": data.name, "data.tfds_name": data.tfds_name})


def indices(encoded: bytes) -> np.ndarray:
    """The labels in a mask as its author saved it: (height, width), uint8; a palette's colours mean nothing.

    Args:
      encoded: a PNG of up to 8 bits, gray or with a palette.

    Raises:
      NotIndices: it is another image.
      BadImage: it is none, or damaged.
    """
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            if image.format != "PNG":
                raise NotIndices(f"a {image.format}, which may change labels: save masks as PNG")
            if image.mode.startswith("I"):
                raise NotIndices("a PNG of 16 bits: save the labels as 8-bit gray (numpy.uint8)")
            if image.mode not in _INDICES:
                raise NotIndices(
                    f"an image of colours ({image.mode}), not of labels: give each pixel the number of its class "
                    "(labels[(colours == colour).all(-1)] = number, numpy.uint8) and save that as 8-bit gray PNG"
                )
            found = np.asarray(image).astype(np.uint8)
            bits = _IHDR.unpack_from(encoded)[3] if image.mode == "L" else 8
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError) as error:
        raise BadImage(str(error)) from error
    return found // _SCALED.get(bits, 1)


def as_png(labels: np.ndarray) -> io.BytesIO:
    """Labels (height, width), uint8, as the PNG of 8-bit gray that a prepared copy holds."""
    file = io.BytesIO()
    Image.fromarray(labels).save(file, "PNG", compress_level=1)
    file.seek(0)
    return file


def decoded(stored: bytes) -> np.ndarray:
    """The labels in a PNG that `as_png` made: (height, width), uint8.

    Raises:
      BadImage: it is damaged.
    """
    try:
        return np.asarray(Image.open(io.BytesIO(stored)))
    except (OSError, ValueError, SyntaxError) as error:
        raise BadImage(str(error)) from error


def blank(count: int, side: int) -> np.ndarray:
    """(count, side, side), uint8: void."""
    return np.full((count, side, side), VOID, np.uint8)


def colour(data) -> np.ndarray:
    """What surrounds an image that is smaller than `config.data.image_size`: the mean, (channels,), uint8."""
    mean = data.mean or (0.0,)
    return np.round(255 * np.clip(np.broadcast_to(mean, data.channels), 0, 1)).astype(np.uint8)


def surrounded(pixels: np.ndarray, side: int, value) -> np.ndarray:
    """Pixels (height, width, ...) at the top left of (side, side, ...), the rest of which has a value."""
    found = np.empty((side, side, *pixels.shape[2:]), np.uint8)
    found[:] = value
    found[: pixels.shape[0], : pixels.shape[1]] = pixels
    return found


def check_labels(mask: np.ndarray, num_classes: int, where: str) -> None:
    """Looks at every pixel.

    Raises:
      UserError: one has a label that is neither a class nor void.
    """
    wrong = mask[(mask >= num_classes) & (mask != VOID)]
    if wrong.size:
        raise UserError(
            f"{where}: {wrong.size} pixels with labels that are no class, such as {wrong[0]} (known: 0 to "
            f"{num_classes - 1}, and {VOID} for void): an interpolated mask? resize masks to the nearest pixel"
        )
