"""Whether an exported network computes what the trial's own does, on the images of the test split."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from mnet_jax.data.augment import standardize
from mnet_jax.errors import UserError
from mnet_jax.export import images
from mnet_jax.export.program import Network, in_float32
from mnet_jax.train.trained import Trained

Run = Callable[[np.ndarray], np.ndarray]  # images as the exported network takes them, to its outputs

TOLERANCE = 1e-4  # of the largest output of an image
COMPARED = 64  # images


@dataclasses.dataclass(frozen=True)
class Scores:
    """What two networks say of the test split.

    Attributes:
      difference: largest of outputs on the first `COMPARED` images, relative to the largest output of the image.
      correct: images that the exported network is right on.
      as_evaluated: those that the trial's own is right on, in float32.
      count: of images.
      distinct: how many classes the exported network names.
    """

    difference: float
    correct: int
    as_evaluated: int
    count: int
    distinct: int

    @property
    def top1(self) -> float:
        return self.correct / self.count


def compare(run: Run, trained: Trained, network: Network) -> Scores:
    """Runs the exported network and the trial's own on every image of the test split, once.

    Raises:
      UserError: the data are missing.
    """
    module, config = in_float32(trained.module), trained.config

    @jax.jit
    def reference(pixels):
        inputs = standardize(pixels, config.data, config.input_size)
        logits = module.apply(trained.variables, inputs, train=False).astype(jnp.float32)
        outputs = jax.nn.softmax(logits) if network.output == "probabilities" else logits
        return inputs, outputs

    compared = count = correct = as_evaluated = 0
    difference, named = 0.0, set()
    for pixels, labels in images.of_test_split(trained):
        inputs, expected = map(np.asarray, reference(pixels))
        outputs = run(pixels if network.dtype == "uint8" else inputs)
        if compared < COMPARED:
            some = slice(COMPARED - compared)
            scale = np.abs(expected[some]).max(axis=1)
            relative = np.abs(outputs - expected)[some].max(axis=1) / np.where(scale > 0, scale, 1)
            difference = float(np.maximum(difference, relative.max()))  # NaN stays
            compared += len(labels[some])
        count += len(labels)
        correct += _num_right(outputs, labels)
        as_evaluated += _num_right(expected, labels)
        named |= set(outputs.argmax(axis=1).tolist())
    if not count:
        raise UserError("no image of the test split can be read: an export is verified on them")
    return Scores(difference, correct, as_evaluated, count, len(named))


def check(scores: Scores, what: str) -> None:
    """Refuses an exported network whose outputs are others.

    Raises:
      UserError: they differ by more than `TOLERANCE`.
    """
    if not scores.difference <= TOLERANCE:
        raise UserError(
            f"{what}: its outputs differ from those of the trial by {scores.difference:.1e} of the largest, more than "
            f"{TOLERANCE:g}; it was not kept"
        )


def _num_right(outputs: np.ndarray, labels: np.ndarray) -> int:
    """Ties go to the lower class, and what is not finite is never right, as in `evaluate`."""
    own = np.take_along_axis(outputs, labels[:, np.newaxis], axis=1)[:, 0]
    return int(np.sum((outputs.argmax(axis=1) == labels) & np.isfinite(own)))
