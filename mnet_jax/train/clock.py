"""What training costs in time: which updates are timed, and the sums that a trial keeps."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax

_TIMED = (1, 2, 3)  # steps after a start or an evaluation that are timed one by one, on idle devices


@dataclasses.dataclass
class Clock:
    """Of one trial; the fields are what a checkpoint keeps.

    Attributes:
      images: of the updates that were timed.
      train_seconds: that these updates took.
      wall_seconds: of the trial so far; the time between an interruption and the resumption is left out.
    """

    images: int = 0
    train_seconds: float = 0.0
    wall_seconds: float = 0.0

    def __post_init__(self):
        self.start()

    def start(self) -> None:
        """What went before is no part of `wall_seconds`."""
        self._tick = time.monotonic()

    def lap(self) -> float:
        """Seconds since the last lap, which it adds to `wall_seconds`."""
        previous, self._tick = self._tick, time.monotonic()
        seconds = self._tick - previous
        self.wall_seconds += seconds
        return seconds

    def count(self, images: int, seconds: float) -> None:
        """Takes note of an update that was timed."""
        self.images += images
        self.train_seconds += seconds

    def images_per_second(self) -> float | None:
        """Of the updates that were timed; None where none was."""
        return round(self.images / self.train_seconds, 1) if self.images else None


class Stopwatch:
    """Times a few steps after each start and evaluation; the others are dispatched and not waited for.

    A step is timed while the devices have nothing else to do and hold all that it reads, so that the seconds of a trial
    are its own, whoever trains beside it on the same stream.
    """

    def __init__(self):
        self._turn = 0
        self.restart()

    def restart(self) -> None:
        """The devices were idle: the next step but one is timed."""
        self._in_a_row = -1

    def next_step(self, *inputs: Any) -> None:
        """A step begins. If it is timed, waits until the devices have computed its `inputs`."""
        self._in_a_row += 1
        if self._in_a_row in _TIMED:
            self._turn += 1
            jax.block_until_ready(inputs)

    def in_turn(self, units: Sequence) -> Sequence:
        """The same units, in a step that is timed from another one on each time.

        On a CPU the first runs beside the threads that make a batch in place of the one that was taken.
        """
        if self._in_a_row not in _TIMED or not units:
            return units
        first = self._turn % len(units)
        return [*units[first:], *units[:first]]

    def run(self, update: Callable[[Any], Sequence], batch: Any) -> tuple[Sequence, float | None]:
        """Updates one trial, or several as one.

        Returns:
          What `update` returns, which has one entry per trial; in a step that is timed, also the seconds per trial
          until the devices have computed it.
        """
        start = time.monotonic()
        updates = update(batch)
        if self._in_a_row not in _TIMED:
            return updates, None
        jax.block_until_ready(updates)
        return updates, (time.monotonic() - start) / len(updates)
