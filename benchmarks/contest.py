"""Contenders in processes of their own that take turns on one machine, so that noise hits all alike.

A contender is `python -m benchmarks.contenders.worker`; it gets (contender, task) as JSON, says when it is ready, does
as many steps as each line on its standard input asks for, and says how many seconds they took.
"""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from benchmarks.contenders.worker import HUGE_PAGES
from benchmarks.task import Task
from mnet_jax.devices.process import environment

_REST_SECONDS = 0.5  # before a turn, so that threads that still spin after the turn before do not disturb it


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


class Contender:
    """A contender's process, ready to take turns."""

    def __init__(self, name: str, task: Task, python: str):
        arguments = json.dumps({"contender": name, "task": dataclasses.asdict(task)})
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.contenders.worker", arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | (environment() if name in HUGE_PAGES else {}),
        )
        self._ready = self._answer()

    def seconds_per_step(self, steps: int) -> float:
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        return self._answer()["seconds"] / steps

    def finish(self, seconds: list[float]) -> Result:
        self._process.stdin.close()
        last = self._answer()
        self._end()
        return Result(seconds=seconds, **self._ready, **last)

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"unavailable": f"exit code {self._process.wait()}"}
        if "unavailable" in answer:
            self._end()
            raise Unavailable(answer["unavailable"])
        return answer

    def _end(self) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def hold(
    names: Sequence[str], task: Task, pythons: Mapping[str, str], turns: int, turn_seconds: float
) -> dict[str, Result]:
    """Lets the contenders take turns; those that cannot run here are named on stderr and left out.

    Args:
      names: of the contenders.
      task: what they do.
      pythons: the interpreter of a contender that is not this one.
      turns: of each contender, at least 2 for a spread; each begins with steps that are not measured.
      turn_seconds: about how long a turn lasts.
    """
    contenders = {}
    for name in names:
        try:
            contenders[name] = Contender(name, task, pythons.get(name, sys.executable))
        except Unavailable as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    steps = {}
    for name, contender in contenders.items():
        contender.seconds_per_step(2)
        steps[name] = max(1, round(turn_seconds / contender.seconds_per_step(1)))
    seconds = {name: [] for name in contenders}
    for turn in range(turns):
        order = list(contenders) if turn % 2 else list(contenders)[::-1]
        for name in order:
            time.sleep(_REST_SECONDS)
            seconds[name].append(contenders[name].seconds_per_step(steps[name]))
    return {name: contender.finish(seconds[name]) for name, contender in contenders.items()}
