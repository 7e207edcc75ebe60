"""Which images of a split a trial is right about: a bit each, as text for a JSON file."""

import base64
from collections.abc import Sequence

import numpy as np


def as_text(is_right: Sequence[bool] | np.ndarray) -> str:
    """Booleans (images,) as base64, eight to a byte."""
    return base64.b64encode(np.packbits(np.asarray(is_right, bool))).decode()


def from_text(text: str, count: int) -> np.ndarray:
    """The first `count` booleans of what `as_text` made.

    Raises:
      ValueError: the text is no base64, or too short.
    """
    packed = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    if 8 * len(packed) < count:
        raise ValueError(f"{8 * len(packed)} bits for {count} images")
    return np.unpackbits(packed, count=count).astype(bool)
