"""The standard error of an accuracy: of its seeds, or of the test images alone where there is one."""

import math
import statistics
from collections.abc import Sequence

SEEDS, IMAGES = "seeds", "images"


def standard_error(top1: Sequence[float], num_images: int | None) -> tuple[float | None, str | None]:
    """A fraction, and what it is of; None where there is one seed and the number of test images is not known.

    Of seeds: their standard deviation (n - 1) over the root of their number. Of images: binomial; what another seed
    would have changed is not in it.

    Args:
      top1: of each seed.
      num_images: in the test split.
    """
    if len(top1) > 1:
        return statistics.stdev(top1) / math.sqrt(len(top1)), SEEDS
    if not num_images:
        return None, None
    return math.sqrt(top1[0] * (1 - top1[0]) / num_images), IMAGES
