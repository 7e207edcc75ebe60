"""What else a family's scores might have been: drawn seeds and drawn test images, crossed.

Images are drawn once for all cells and seeds, as these share them; to each cell a normal deviate is added, of the seed
noise that is pooled over the cells. Three seeds, resampled as they are, would give intervals too narrow by the root of
2 / 3. In simulated sweeps of 3 seeds the 95% intervals of the quadratic covered 92 to 98% (`python -m tests.coverage`).
"""

import dataclasses
import functools

import numpy as np

from mnet_jax.report.cells import Family
from mnet_jax.report.noise import seed_noise

DRAWS = 1000
_SEED = 0
_CHUNK = 100  # draws whose numbers of images are held at once

SEEDS_AND_IMAGES = "seeds and test images"
SEEDS_ONLY = "seeds only, on this test set"
IMAGES_ONLY = "the test images alone, for want of a second seed"


@dataclasses.dataclass(frozen=True)
class Draws:
    """Attributes:
    errors: (draws, cells).
    source: what varies from draw to draw, in words.
    """

    errors: np.ndarray
    source: str


def draw(family: Family, num_draws: int = DRAWS) -> Draws | None:
    """Always the same draws; None where there are neither several seeds nor records of single images."""
    noise = seed_noise(family)
    has_images = all(cell.shares is not None for cell in family.cells)
    if noise is None and not has_images:
        return None
    means = np.array([cell.mean for cell in family.cells])
    if has_images:
        shares = np.stack([cell.shares for cell in family.cells])
        drawn = means + _resampled(shares, num_draws) - shares.mean(1, dtype=np.float64)
    else:
        drawn = np.tile(means, (num_draws, 1))
    if noise is not None:
        counts = np.array([len(cell.scores) for cell in family.cells])
        normal = np.random.default_rng(_SEED + 1).standard_normal(drawn.shape)
        drawn = drawn + normal * noise.sd / np.sqrt(counts)
    num_images = family.cells[0].num_images if family.score.is_share else None
    smallest = 0.5 / (num_images or 1e6)  # of an image: no error is 0 or 1
    source = IMAGES_ONLY if noise is None else SEEDS_AND_IMAGES if has_images else SEEDS_ONLY
    return Draws(np.clip(1 - drawn, smallest, 1 - smallest), source)


def _resampled(shares: np.ndarray, num_draws: int) -> np.ndarray:
    """The means (draws, cells) of shares (cells, images) over images drawn with replacement."""
    counts = _counts(shares.shape[1], num_draws)
    firsts = range(0, num_draws, _CHUNK)
    chunks = [counts[first : first + _CHUNK].astype(np.float32) @ shares.T for first in firsts]
    return np.concatenate(chunks).astype(np.float64) / shares.shape[1]


@functools.lru_cache(maxsize=1)
def _counts(num_images: int, num_draws: int) -> np.ndarray:
    """How often each image is drawn, (draws, images): the same for every family of a test split."""
    rng = np.random.default_rng(_SEED)
    drawn = (rng.integers(num_images, size=num_images) for _ in range(num_draws))
    return np.stack([np.bincount(images, minlength=num_images).astype(np.uint8) for images in drawn])
