"""What the loop, the steps and the evaluation know of a task."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jax

Batch = Mapping[str, jax.Array]
Sums = dict[str, jax.Array]


class Task(Protocol):
    """Made of a resolved config, in which traced scalars may stand for numbers.

    A batch is {"image": uint8 (batch, side, side, channels), "label": the task's own}; in evaluations "mask", float32
    (batch,), is 0 where there is no image.
    """

    def abstract_label(self, batch_size: int) -> jax.ShapeDtypeStruct:
        """Shape and dtype of a batch's "label"."""

    def augment(self, batch: Batch, key: jax.Array) -> tuple[jax.Array, Any]:
        """Randomly changed images (batch, input_size, input_size, channels), float32, and what they are to give."""

    def mix(self, images: jax.Array, targets: Any, key: jax.Array) -> tuple[jax.Array, Any]:
        """Images, and their targets, of one device or all, mixed with each other where the config asks for it."""

    def outputs(self, found: Any, images: jax.Array, network: str) -> jax.Array:
        """What the network returned, in float32 or better.

        Raises:
          UserError: it has another shape than the task's.
        """

    def predict(self, apply: Callable[[jax.Array], Any], batch: Batch, network: str) -> jax.Array:
        """What `sums` takes of an evaluation's batch: `outputs` of standardised images, or of several passes together.

        Args:
          apply: what the network returns of images (batch, side, side, channels), float32.
          batch: see above.
          network: its name.

        Raises:
          UserError: as `outputs`.
        """

    def loss(self, outputs: jax.Array, targets: Any) -> jax.Array:
        """The scalar that is minimised."""

    def sums(self, outputs: jax.Array, batch: Batch) -> Sums:
        """Of an evaluation's batch: sums over its images, "count" of them, and arrays with a row for each image."""

    def scores(self, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Of a whole split, from what `sums` gave for each batch, on the host.

        Returns:
          The scores of `config.tasks` and the mean "loss", as floats, "count", and what `validation` and `outcomes`
          keep.

        Raises:
          UserError: there was no image.
        """

    def validation(self, scores: Mapping[str, Any]) -> dict[str, Any]:
        """What `validation.json` has of `scores` beside the numbers, for choices between trials; JSON."""

    def result(self, scores: Mapping[str, Any]) -> dict[str, Any]:
        """What `result.json` has of `scores` beside the numbers that every evaluation gives; JSON."""

    def outcomes(self, scores: Mapping[str, Any]) -> bytes:
        """What `predictions.npz` has of `scores`: of each image, what comparisons of trials need."""
