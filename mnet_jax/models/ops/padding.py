"""How `lax` writes padding."""

from collections.abc import Sequence

from jax import lax

Pair = tuple[int, int]
Padding = str | Sequence[Sequence[int]]


def pads_of(size: Pair, window: Pair, strides: Pair, padding: Padding) -> tuple[Pair, Pair]:
    """((top, bottom), (left, right)), in pixels, for "SAME" (TensorFlow's), "VALID" or such pairs."""
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(size, window, strides, padding)
    return tuple((before, after) for before, after in padding)
