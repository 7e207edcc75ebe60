"""Exact accuracy over a whole split: padded and masked batches, sums and counts, each image once."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np


def evaluate(
    eval_step: Callable, variables: Mapping[str, Any], batches: Iterable, on_batch: Callable[[], None]
) -> dict:
    """Accuracy and loss of a network on every image of `batches`.

    Args:
      eval_step: `(variables, batch) -> sums`, as `step.make_eval_step` makes it.
      variables: of the network.
      batches: {"image", "label", "mask"} on the device.
      on_batch: called before each batch; may raise to leave early.

    Returns:
      {"top1", "top5"} as fractions in [0, 1], the mean "loss", and "count", the number of images.
    """
    sums = []
    for batch in batches:
        on_batch()
        sums.append(eval_step(variables, batch))
    totals = {name: float(np.sum([np.asarray(part[name], np.float64) for part in sums])) for name in sums[0]}
    count = totals.pop("count")
    return {name: total / count for name, total in totals.items()} | {"count": int(count)}
