"""The operations of TrivialAugment and RandAugment on a batch: each image has its own, of its own strength.

All images go through one program of three passes, whatever they drew; a pass leaves those alone that drew none of its
operations. Shears, translations and rotation are one affine resampling, of coordinates that the operation chooses.
Brightness, color, contrast and sharpness are one blend with an image that it chooses. Posterize, solarize, autocontrast
and equalize are one table of 256 entries for each channel. Fourteen branches would each read and write the batch.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp

OPERATIONS = (
    "identity",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "brightness",
    "color",
    "contrast",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
)

_GRAY = (0.2989, 0.587, 0.114)  # torchvision's weights of red, green and blue
_LEVELS = 256
_STEPS = 2**14


def apply(images: jax.Array, operations: jax.Array, magnitudes: jax.Array) -> jax.Array:
    """Each image after its operation, as torchvision's `_apply_op` does it to a tensor, bilinear and filled with black.

    Args:
      images: (batch, height, width, channels), uint8. For one channel, color does nothing.
      operations: (batch,), places in `OPERATIONS`.
      magnitudes: (batch,), float32. Of shears: pixels per pixel; of translations: pixels, whose fraction is cut off; of
        rotation: degrees, counterclockwise; of blends: what is added to 1 (the image alone), so that -1 gives the other
        image alone; of posterize: bits that are kept; of solarize: the lowest level that is inverted. The others have
        none.

    Returns:
      The shape and dtype of `images`.
    """
    return jax.vmap(_apply)(images, operations, magnitudes)


def _apply(image: jax.Array, operation: jax.Array, magnitude: jax.Array) -> jax.Array:
    def strength(name: str, other: float = 0.0) -> jax.Array:
        """The magnitude, or `other` where another operation is drawn."""
        return jnp.where(operation == OPERATIONS.index(name), magnitude, other)

    image = _resampled(image.astype(jnp.float32), strength)
    image = _blended(image, operation, strength)
    return _looked_up(image.astype(jnp.uint8), operation, strength)


def _resampled(image: jax.Array, strength) -> jax.Array:
    """Pixel centres are at halves: shears leave the top left corner where it is, rotation the middle.

    Slopes are multiples of 2**-14, so that places are exact in float32 (for sides of up to 256 pixels). Else one that a
    compiler computes twice could be below a whole number once and above it once, and be given a wrong pixel.
    """
    height, width, _ = image.shape
    y, x = jnp.meshgrid(jnp.arange(height) + 0.5, jnp.arange(width) + 0.5, indexing="ij")
    angle = jnp.deg2rad(strength("rotate"))
    slopes = (jnp.cos(angle), jnp.sin(angle), strength("shear_x"), strength("shear_y"))
    cos, sin, shear_x, shear_y = (jnp.round(slope * _STEPS) / _STEPS for slope in slopes)
    up, right = y - height / 2, x - width / 2
    source_x = cos * right - sin * up + width / 2 + shear_x * y - jnp.trunc(strength("translate_x"))
    source_y = sin * right + cos * up + height / 2 + shear_y * x - jnp.trunc(strength("translate_y"))
    total = jnp.zeros_like(image)
    for row, of_row in _neighbours(source_y - 0.5, height):
        for column, of_column in _neighbours(source_x - 0.5, width):
            total += (of_row * of_column)[..., jnp.newaxis] * image[row, column]
    return jnp.round(total)


def _neighbours(source: jax.Array, size: int) -> Iterator[tuple[jax.Array, jax.Array]]:
    """The two pixels around each place along an axis, and their weights: 0 outside of the image."""
    for pixel in (jnp.floor(source), jnp.floor(source) + 1):
        weight = 1 - jnp.abs(source - pixel)
        is_there = (pixel >= 0) & (pixel < size)
        yield jnp.clip(pixel, 0, size - 1).astype(jnp.int32), jnp.where(is_there, weight, 0)


def _blended(image: jax.Array, operation: jax.Array, strength) -> jax.Array:
    """The image blended with black, its gray, the mean of that, or its blur."""
    is_gray = image.shape[-1] == 1
    gray = image if is_gray else _cut(sum(image[..., i, jnp.newaxis] * weight for i, weight in enumerate(_GRAY)))
    others = {"brightness": 0.0, "color": gray, "contrast": gray.mean(), "sharpness": _blurred(image)}
    other, away = jnp.zeros_like(image), jnp.float32(0.0)
    for name, value in others.items():
        if not (name == "color" and is_gray):
            other = jnp.where(operation == OPERATIONS.index(name), value, other)
            away += strength(name)
    return _cut((1 + away) * image - away * other)


def _cut(values: jax.Array) -> jax.Array:
    """Levels, without their fraction; what rounding left just below a whole number counts as that."""
    return jnp.floor(jnp.clip(values + 2**-10, 0, _LEVELS - 1))


def _blurred(image: jax.Array) -> jax.Array:
    """The mean of 3 x 3 pixels, the middle one five times; the outermost pixels stay as they are."""
    height, width, _ = image.shape
    if min(height, width) < 3:
        return image
    around = sum(image[i : height - 2 + i, j : width - 2 + j] for i in range(3) for j in range(3))
    return image.at[1:-1, 1:-1].set(jnp.round((around + 4 * image[1:-1, 1:-1]) / 13))


def _looked_up(image: jax.Array, operation: jax.Array, strength) -> jax.Array:
    levels = jnp.arange(_LEVELS)
    step = 2 ** (8 - strength("posterize", other=8.0)).astype(jnp.int32)
    shared = levels // step * step
    shared = jnp.where(levels >= strength("solarize", other=float(_LEVELS)), _LEVELS - 1 - levels, shared)

    def of_channel(channel: jax.Array) -> jax.Array:
        counts = jnp.bincount(channel.ravel(), length=_LEVELS)
        table = jnp.where(operation == OPERATIONS.index("autocontrast"), _stretched(channel, levels), shared)
        table = jnp.where(operation == OPERATIONS.index("equalize"), _equalized(channel, levels, counts), table)
        return table.astype(jnp.uint8)[channel]

    return jax.vmap(of_channel, in_axes=-1, out_axes=-1)(image)


def _stretched(channel: jax.Array, levels: jax.Array) -> jax.Array:
    """The darkest level becomes 0, the lightest 255; a channel of one level stays."""
    low, high = (value.astype(jnp.float32) for value in (channel.min(), channel.max()))
    scale = (_LEVELS - 1) / jnp.maximum(high - low, 1)
    return jnp.where(high > low, _cut((levels - low) * scale), levels)


def _equalized(channel: jax.Array, levels: jax.Array, counts: jax.Array) -> jax.Array:
    """Levels as even as possible: each becomes its share of the pixels that are darker (Pillow's `equalize`)."""
    below = jnp.cumsum(counts) - counts
    step = below[channel.max()] // (_LEVELS - 1)
    table = (below + step // 2) // jnp.maximum(step, 1)
    return jnp.where(step > 0, jnp.clip(table, 0, _LEVELS - 1), levels)
