"""The standard error of a score: of its seeds, or of the test images alone where there is one."""

import math
import statistics
from collections.abc import Iterable, Sequence

SEEDS, IMAGES = "seeds", "images"


def pooled_sd(groups: Iterable[Sequence[float]]) -> float | None:
    """The standard deviation over seeds that groups of scores have in common; None where no group has two.

    With two or three seeds a group's own one is mostly chance, and now and then nearly 0.
    """
    squares = [(statistics.variance(own) * (len(own) - 1), len(own) - 1) for own in groups if len(own) > 1]
    return math.sqrt(sum(part for part, _ in squares) / sum(df for _, df in squares)) if squares else None


def standard_error(
    scores: Sequence[float], sd: float | None, of_images: float | None = None
) -> tuple[float | None, str | None]:
    """Of a mean, a fraction, and what it is of: of seeds their pooled standard deviation over the root of their number.

    Args:
      scores: of each seed.
      sd: of `pooled_sd`.
      of_images: what is said of a single seed: its error over the test images. What another seed would have changed is
        not in it.
    """
    if len(scores) > 1:
        return sd / math.sqrt(len(scores)), SEEDS
    return of_images, None if of_images is None else IMAGES


def binomial(share: float, num_images: int | None) -> float | None:
    """Of a share of the test images; None where their number is not known, or it is no share."""
    return math.sqrt(share * (1 - share) / num_images) if num_images and 0 <= share <= 1 else None
