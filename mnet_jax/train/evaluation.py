"""Exact accuracy over a whole split: padded and masked batches, sums and counts, each image once."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from mnet_jax.errors import UserError


class Tally:
    """Sums up what eval steps return for the batches of a split, without waiting for them.

    Args:
      eval_step: `(variables, batch) -> sums`, as `step.make_eval_step` makes it.
      variables: of the network.
    """

    def __init__(self, eval_step: Callable, variables: Mapping[str, Any]):
        self._eval_step, self._variables = eval_step, variables
        self._sums: list[Mapping[str, jax.Array]] = []

    def add(self, batch: Mapping[str, jax.Array]) -> None:
        """Evaluates {"image", "label", "mask"}; waits only for the batch before the last, so that memory is bounded."""
        self._sums.append(self._eval_step(self._variables, batch))
        jax.block_until_ready(self._sums[-2:][0])

    def scores(self) -> dict:
        """{"top1", "top5"} as fractions in [0, 1], the mean "loss", "count", the number of images, and "correct".

        That is which of them are right, (count,) bool, in the order of the split; damaged images have no place there.
        """
        parts = jax.device_get(self._sums)
        outcomes = np.concatenate([np.atleast_1d(part.pop("correct")) for part in parts])
        totals = {name: float(np.sum([np.asarray(part[name], np.float64) for part in parts])) for name in parts[0]}
        count = totals.pop("count")
        if not count:
            raise UserError("no image of the split can be read")
        scores = {name: total / count for name, total in totals.items()}
        return scores | {"count": int(count), "correct": outcomes[outcomes >= 0] > 0}
