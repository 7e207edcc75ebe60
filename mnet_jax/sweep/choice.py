"""The best of what was tried in a cell, by the validation split."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mnet_jax.config.fields import BY_KEY
from mnet_jax.config.tasks import SCORES
from mnet_jax.workdir import bits
from mnet_jax.workdir.files import DIVERGED, TrialFolder

Values = Mapping[str, Any]  # of fields, by dotted key


@dataclasses.dataclass(frozen=True)
class Tried:
    """One trial run.

    Attributes:
      values: that it tries.
      trial: its name in the workdir.
      has_ended: whether it ran to its end, or diverged.
      column: of the score that decides, the first of the task.
      score, loss: on the validation split; None where it diverged or has not ended.
      influence: of each validation image on the score, (images,): its derivative by the image's weight; None likewise.
    """

    values: Values
    trial: str
    has_ended: bool = False
    column: str = "top1"
    score: float | None = None
    loss: float | None = None
    influence: np.ndarray | None = None


def look(folder: TrialFolder, values: Values) -> Tried:
    """What the files say of a trial run."""
    if folder.status() == DIVERGED:
        return Tried(values, folder.name, has_ended=True)
    said = folder.validation()
    try:
        column = next(scores[0].column for scores in SCORES.values() if scores[0].column in said)
        return Tried(values, folder.name, True, column, float(said[column]), float(said["loss"]), _influence(said))
    except (KeyError, StopIteration, TypeError, ValueError):
        return Tried(values, folder.name)


def _influence(said: Mapping[str, Any]) -> np.ndarray:
    """Of an accuracy, from which images are right; of another score, as its task has computed it."""
    if "correct" not in said:
        return np.array(said["influence"], float)
    correct = bits.from_text(said["correct"], said["images"]).astype(float)
    return (correct - correct.mean()) / len(correct)


def choose(tried: Sequence[Tried]) -> Tried | None:
    """The trial run of the best score; within a paired standard error of it, that of the lowest loss.

    The standard error is that of the difference of two scores on the same images. None until all have ended, and where
    all diverged.
    """
    if not all(one.has_ended for one in tried):
        return None
    scored = [one for one in tried if one.score is not None and math.isfinite(one.loss)]
    if not scored:
        return None
    best = max(scored, key=lambda one: one.score)
    close = [one for one in scored if best.score - one.score <= paired_standard_error(best.influence, one.influence)]
    return min(close, key=lambda one: one.loss)


def paired_standard_error(influence: np.ndarray, other: np.ndarray) -> float:
    """Of the difference of two scores on the same images, from their influence on each, (images,)."""
    return float(np.sqrt(np.sum((influence - other) ** 2)))


def is_at_edge(key: str, best: Tried, tried: Iterable[Tried]) -> bool:
    """Whether the best value of a field is the smallest or the largest number that was tried."""
    numbers = _numbers(key, tried)
    return len(numbers) > 1 and best.values[key] in (numbers[0], numbers[-1])


def beyond(key: str, best: Tried, tried: Iterable[Tried]) -> Values | None:
    """The best values, with one field moved past the edge by the ratio of its last two numbers; None if not valid."""
    numbers = _numbers(key, tried)
    edge, inner = (numbers[-1], numbers[-2]) if best.values[key] == numbers[-1] else (numbers[0], numbers[1])
    if edge <= 0 or inner <= 0:
        return None
    value = float(f"{edge * edge / inner:.6g}")
    value = round(value) if isinstance(edge, int) else value
    is_valid = value not in numbers and not (key in BY_KEY and BY_KEY[key].complaint(value))
    return {**best.values, key: value} if is_valid else None


def _numbers(key: str, tried: Iterable[Tried]) -> list[float]:
    """The different values of a field, from the smallest up; empty where some are no numbers."""
    values = {one.values[key] for one in tried}
    is_number = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return sorted(values) if is_number else []
