"""Contenders in processes of their own that take turns on one machine, so that noise hits all alike.

A contender is `python -m benchmarks.contenders.worker`; it gets (contender, task) as JSON, says when it is ready, does
as many steps as each line on its standard input asks for, and says how many seconds they took.
"""

import contextlib
import dataclasses
import json
import math
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from benchmarks.contenders.worker import HUGE_PAGES
from benchmarks.task import Task
from mnet_jax.devices.process import environment

_REST_SECONDS = 0.5  # before a turn, so that threads that still spin after the turn before do not disturb it
_FEWEST_TURNS = 2  # for a spread
_SHARED_DEVICE = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}


class Unavailable(Exception):
    """A contender cannot run here; the message says why."""


@dataclasses.dataclass
class Result:
    """What one contender did.

    Attributes:
      seconds: per step, one for each turn.
      compile_seconds: of building and compiling the step.
      peak_bytes: most memory that the process (CPU) or the device held, less what it held before the first array.
      activation_bytes: of the compiled step's temporary buffers, where the framework says so.
      about: versions and device.
    """

    seconds: list[float]
    compile_seconds: float
    peak_bytes: int
    activation_bytes: int | None
    about: Mapping[str, str]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Interquartile range over the median."""
        low, _, high = statistics.quantiles(self.seconds, n=4)
        return (high - low) / self.median


class Contest(NamedTuple):
    """
    Attributes:
      results: of the contenders that took their turns.
      left_out: why the others did not.
    """

    results: dict[str, Result]
    left_out: dict[str, str]


class Contender:
    """A contender's process; it leaves as much of the device's memory as it can to the others."""

    def __init__(self, name: str, task: Task, python: str):
        arguments = json.dumps({"contender": name, "task": dataclasses.asdict(task)})
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.contenders.worker", arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | _SHARED_DEVICE | (environment() if name in HUGE_PAGES else {}),
        )
        self._is_late = False

    def wait_until_ready(self, seconds: float = math.inf) -> None:
        """
        Raises:
          Unavailable: it cannot run here, or was not ready within the seconds and was killed.
        """
        timer = threading.Timer(min(max(seconds, 0), threading.TIMEOUT_MAX), self._give_up)
        timer.daemon = True
        timer.start()
        try:
            self._ready = self._answer()
        finally:
            timer.cancel()

    def seconds_per_step(self, steps: int) -> float:
        with contextlib.suppress(BrokenPipeError):  # there is an answer, or an end, that says why
            self._process.stdin.write(f"{steps}\n")
            self._process.stdin.flush()
        return self._answer()["seconds"] / steps

    def finish(self, seconds: list[float]) -> Result:
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        last = self._answer()
        self._end()
        return Result(seconds=seconds, **self._ready, **last)

    def _give_up(self) -> None:
        self._is_late = True
        self._process.kill()

    def _answer(self) -> dict:
        if line := self._process.stdout.readline():
            answer = json.loads(line)
        else:
            exit_code = self._process.wait()
            answer = {"unavailable": "no time: it was not ready" if self._is_late else f"exit code {exit_code}"}
        if "unavailable" in answer:
            self._end()
            raise Unavailable(answer["unavailable"])
        return answer

    def _end(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def hold(
    names: Sequence[str],
    task: Task,
    pythons: Mapping[str, str],
    turns: int,
    turn_seconds: float,
    seconds: float = math.inf,
    at_once: bool = False,
) -> Contest:
    """Lets the contenders take turns; those that cannot are named on stderr and left out.

    Args:
      names: of the contenders.
      task: what they do.
      pythons: the interpreter of a contender that is not this one.
      turns: of each contender, at least 2 for a spread; each begins with steps that are not measured.
      turn_seconds: about how long a turn lasts.
      seconds: for all of it. A contender that would leave no time for the turns is left out, and there are fewer turns.
      at_once: they start together, and one of them compiles at a time; `compile_seconds` then holds its waiting.
    """
    deadline = time.monotonic() + seconds
    for_turns = min(seconds / 2, len(names) * turns * (1.5 * turn_seconds + _REST_SECONDS))
    contenders: dict[str, Contender] = {}
    left_out: dict[str, str] = {}

    @contextlib.contextmanager
    def leaving_out(name: str) -> Iterator[None]:
        try:
            yield
        except Unavailable as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            contenders.pop(name)
            left_out[name] = str(error)

    for together in [names] if at_once else [[name] for name in names]:
        for name in together:
            contenders[name] = Contender(name, task, pythons.get(name, sys.executable))
        for name in together:
            with leaving_out(name):
                contenders[name].wait_until_ready(deadline - for_turns - time.monotonic())
    steps = {}
    for name in list(contenders):
        with leaving_out(name):
            contenders[name].seconds_per_step(2)
            steps[name] = max(1, round(turn_seconds / contenders[name].seconds_per_step(1)))
    measured: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(turns):
        if turn >= _FEWEST_TURNS and time.monotonic() > deadline:
            break
        for name in list(contenders) if turn % 2 else list(contenders)[::-1]:
            time.sleep(_REST_SECONDS)
            with leaving_out(name):
                measured[name].append(contenders[name].seconds_per_step(steps[name]))
    results = {}
    for name in list(contenders):
        with leaving_out(name):
            results[name] = contenders[name].finish(measured[name])
    return Contest(results, left_out)
