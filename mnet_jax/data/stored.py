"""How an image file of one's own is stored: so that `decode` reads from it what its author saw, in 8 bits."""

import io
import struct

import numpy as np
from PIL import Image, ImageOps

from mnet_jax.data import orientation
from mnet_jax.errors import UserError

_PLAIN = ("1", "L", "P", "RGB", "CMYK")  # what `decode` converts rightly, where nothing is transparent
GRAY_16 = ("I;16", "I;16B", "I;16L", "I;16N")
_GRAY = ("1", "L", "LA", *GRAY_16)
_WITH_ALPHA = ("LA", "PA", "RGBA")


def is_gray(image: Image.Image) -> bool:
    """Whether an opened image is stored as gray; one with a palette or three equal colours counts as coloured."""
    return image.mode in _GRAY


def as_stored(encoded: bytes, name: str, turn: bool = True) -> bytes:
    """The bytes of the file, or a PNG where `decode` would misread them.

    The orientation that EXIF states is applied where it is honoured, 16 bits of gray are scaled to 8, and what is
    transparent is composed on black. A damaged image is left as it is: reading it names it.

    Args:
      encoded: a JPEG, PNG, WebP or BMP.
      name: of its file.
      turn: honour the orientation.

    Raises:
      UserError: it has pixels of a kind that is none of these.
    """
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            is_upright = not turn or orientation.of(image, encoded) == orientation.UPRIGHT
            if is_upright and image.mode in _PLAIN and "transparency" not in image.info:
                return encoded
            plain = _eight_bits(ImageOps.exif_transpose(image) if turn else image, name)
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError):
        return encoded
    file = io.BytesIO()
    plain.save(file, "PNG", compress_level=1, exif=b"", icc_profile=None)
    return file.getvalue()


def scaled(image: Image.Image) -> Image.Image:
    """A gray image of 16 bits (`GRAY_16`) in 8: 65535 is white."""
    return Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8))


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
    """L or RGB."""
    transparency = image.info.get("transparency")
    kind = "L" if is_gray(image) else "RGB"
    if image.mode in GRAY_16:
        opaque = Image.fromarray(np.asarray(image) != transparency)
        return Image.composite(scaled(image), Image.new("L", image.size), opaque)
    if image.mode in _WITH_ALPHA or transparency is not None:
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, image.convert("RGBA")).convert(kind)
    if image.mode in _PLAIN:
        return image.convert(kind)
    raise UserError(f"{name}: pixels of Pillow's mode {image.mode} are not read; save it as 8-bit RGB")
