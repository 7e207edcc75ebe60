"""Scenes: images of single objects, cut out, scaled and pasted over each other, with the class of each pixel.

They are the same on every machine: weights are whole numbers, so that sums of products are exact in any order, and the
random numbers are those of NumPy's `RandomState`, whose stream does not change.
"""

import functools

import numpy as np

from mnet_jax.data.masks import VOID

SIDE = 96  # pixels

_OBJECTS = (1, 3)  # fewest and most in a scene
_SCALES = (1.5, 2.5)
_PLACES = 8  # an object is tried at
_BRIGHTNESS = (0.6, 1.0)
_GROUND = (0, 120)  # values of the ground's texture
_GRAIN = 12  # pixels of a scene for one of the texture
_NOISE = 24  # most that is added to a pixel or taken from it
_ONE = 256  # a weight of 1: products of two such weights and 255 are exact in float32
_PIECE = 125  # scenes that are made in one go


def compose(
    images: np.ndarray, labels: np.ndarray, count: int, seed: int, covers: int, margin: int
) -> tuple[np.ndarray, np.ndarray]:
    """Scenes and their masks.

    Each has one to three of the images, cut out, at 1.5 to 2.5 times their size (bilinear), on a noisy ground; a later
    one hides what it covers, and lies where, of eight places, its square overlaps those of the earlier ones least. The
    mask of a pixel is 0 for the ground, or 1 more than the label of the image that covers it there; around each object,
    as far as it is not hidden, it is void for one pixel.

    Args:
      images: (N, size, size), uint8, objects on black.
      labels: (N,), of the images, below 254.
      count: of the scenes.
      seed: of what is drawn.
      covers: from this value on a pixel of an image belongs to the object and covers what is behind it; from twice that
        on it hides it.
      margin: pixels of an image around its object that are cut out with it. A stroke's mask is as wide as the stroke
        and twice the margin.

    Returns:
      Scenes and masks, both (count, SIDE, SIDE), uint8.
    """
    rng, shapes = np.random.RandomState(seed), _dilated(images, margin)
    sizes = (min(_PIECE, count - first) for first in range(0, count, _PIECE))
    pieces = [_piece(images, shapes, labels, size, rng, covers) for size in sizes]
    scenes, masks = zip(*pieces, strict=True)
    return np.concatenate(scenes), np.concatenate(masks)


def _piece(
    images: np.ndarray, shapes: np.ndarray, labels: np.ndarray, count: int, rng: np.random.RandomState, covers: int
) -> tuple[np.ndarray, np.ndarray]:
    coarse = rng.randint(*_GROUND, (count, *2 * (SIDE // _GRAIN + 2,)))  # it goes on beyond the edges
    scenes = _pasted(coarse, *np.full((3, count), [[-_GRAIN], [-_GRAIN], [_GRAIN]]))
    masks = np.zeros(scenes.shape, np.uint8)
    numbers = rng.randint(_OBJECTS[0], _OBJECTS[1] + 1, count)
    boxes = []
    for i in range(_OBJECTS[1]):
        which = rng.randint(len(images), size=count)
        scales = _uniform(rng, *_SCALES, count)
        tops, lefts = _placed(rng, scales * images.shape[1], boxes)
        brightness = _uniform(rng, *_BRIGHTNESS, (count, 1, 1))
        values, shape = (_pasted(of[which], tops, lefts, scales) for of in (images, shapes))
        shape *= (i < numbers)[:, np.newaxis, np.newaxis]
        cover = np.minimum(shape / (2 * covers), 1)
        scenes = scenes * (1 - cover) + brightness * values * cover
        is_covered = shape >= covers
        masks[_grown(is_covered)] = VOID
        masks = np.where(is_covered, (labels[which] + 1).astype(np.uint8)[:, np.newaxis, np.newaxis], masks)
    scenes += rng.randint(-_NOISE, _NOISE + 1, scenes.shape)
    return np.clip(np.round(scenes), 0, 255).astype(np.uint8), masks


def _placed(rng: np.random.RandomState, sides: np.ndarray, boxes: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Upper left corners, (2, count), of squares that overlap the earlier ones least; `boxes` then holds them too."""
    corners = _uniform(rng, 0, 1, (_PLACES, 2, len(sides))) * (SIDE - sides)
    overlaps = np.zeros((_PLACES, len(sides)))
    for others, their_sides in boxes:
        common = np.minimum(corners + sides, others + their_sides) - np.maximum(corners, others)
        overlaps += np.maximum(common, 0).prod(1)
    chosen = corners[overlaps.argmin(0), :, np.arange(len(sides))].T
    boxes.append((chosen, sides))
    return chosen


def _uniform(rng: np.random.RandomState, low: float, high: float, shape) -> np.ndarray:
    return low + (high - low) * rng.random_sample(shape)


def _pasted(images: np.ndarray, tops: np.ndarray, lefts: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Images (count, size, size) on black canvases, scaled, their upper left corners at tops and lefts, in pixels.

    Returns:
      (count, SIDE, SIDE), float64.
    """
    size = images.shape[1]
    rows, columns = _weights(tops, scales, size), _weights(lefts, scales, size)
    return (rows @ images.astype(np.float32) @ columns.swapaxes(1, 2)).astype(np.float64) / _ONE**2


def _weights(starts: np.ndarray, scales: np.ndarray, size: int) -> np.ndarray:
    """How much each pixel of an image counts at each place along a side: (count, SIDE, size), float32."""
    places = (np.arange(SIDE) + 0.5 - starts[:, np.newaxis]) / scales[:, np.newaxis] - 0.5
    shares = 1 - np.abs(places[:, :, np.newaxis] - np.arange(size))
    return np.round(_ONE * np.maximum(shares, 0)).astype(np.float32)


def _dilated(images: np.ndarray, radius: int) -> np.ndarray:
    """(N, size, size): the largest value of the images within a disk around each pixel."""
    offsets = range(-radius, radius + 1)
    disk = [(y, x) for y in offsets for x in offsets if y * y + x * x <= radius * (radius + 1)]
    padded = np.pad(images, ((0, 0), (radius, radius), (radius, radius)))
    size = images.shape[1]
    parts = (padded[:, radius + y :, radius + x :][:, :size, :size] for y, x in disk)
    return functools.reduce(np.maximum, parts)


def _grown(is_covered: np.ndarray) -> np.ndarray:
    """(count, SIDE, SIDE) with the neighbours above, below, left and right."""
    grown = is_covered.copy()
    grown[:, 1:] |= is_covered[:, :-1]
    grown[:, :-1] |= is_covered[:, 1:]
    grown[:, :, 1:] |= is_covered[:, :, :-1]
    grown[:, :, :-1] |= is_covered[:, :, 1:]
    return grown
