"""Exact scores over a whole split: padded and masked batches, sums and counts, each image once."""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from mnet_jax.train.tasks.contract import Task


class Tally:
    """Sums up what eval steps return for the batches of a split, without waiting for them.

    Args:
      task: of the trial.
      eval_step: `(variables, batch) -> sums`, as `step.make_eval_step` makes it.
      variables: of the network.
    """

    def __init__(self, task: Task, eval_step: Callable, variables: Mapping[str, Any]):
        self._task, self._eval_step, self._variables = task, eval_step, variables
        self._sums: list[Mapping[str, jax.Array]] = []

    def add(self, batch: Mapping[str, jax.Array]) -> None:
        """Evaluates {"image", "label", "mask"}; waits only for the batch before the last, so that memory is bounded."""
        self._sums.append(self._eval_step(self._variables, batch))
        jax.block_until_ready(self._sums[-2:][0])

    def scores(self) -> dict[str, Any]:
        """Those of the task, see `Task.scores`."""
        return self._task.scores(jax.device_get(self._sums))
