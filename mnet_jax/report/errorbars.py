"""The standard error of an accuracy: of its seeds, or of the test images alone where there is one."""

import math
import statistics
from collections.abc import Iterable, Sequence

SEEDS, IMAGES = "seeds", "images"


def pooled_sd(groups: Iterable[Sequence[float]]) -> float | None:
    """The standard deviation over seeds that groups of top-1 have in common; None where no group has two.

    With two or three seeds a group's own one is mostly chance, and now and then nearly 0.
    """
    squares = [(statistics.variance(top1) * (len(top1) - 1), len(top1) - 1) for top1 in groups if len(top1) > 1]
    return math.sqrt(sum(part for part, _ in squares) / sum(df for _, df in squares)) if squares else None


def standard_error(top1: Sequence[float], num_images: int | None, sd: float | None) -> tuple[float | None, str | None]:
    """A fraction, and what it is of; None where there is one seed and the number of test images is not known.

    Of seeds: their pooled standard deviation over the root of their number. Of images: binomial; what another seed
    would have changed is not in it.

    Args:
      top1: of each seed.
      num_images: in the test split.
      sd: of `pooled_sd`.
    """
    if len(top1) > 1:
        return sd / math.sqrt(len(top1)), SEEDS
    if not num_images:
        return None, None
    return math.sqrt(top1[0] * (1 - top1[0]) / num_images), IMAGES
