"""The parts: what is measured, in which size, and which share of the time each may take.

A part is one claim of one network. Those of the first networks come before all others' second ones.
"""

import dataclasses
import json
import math
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from benchmarks import contest, grid
from benchmarks.device.asked import NO_DEVICE, ask
from benchmarks.task import Task

Row = dict[str, Any]  # "what" was measured, and what was found or why it is "left_out"

_OURS = ("ours", "textbook", "ours_least")
_RESULTS = pathlib.Path(__file__).parents[1] / "results"
_COMPILED = ("compiled_h100_224.json", "compiled_h100_224_least.json", "compiled_h100_v1_128.json")
_AS_COMPILED = {"ours": ("fast", {}), "ours_least": ("fast", {"model.memory": "least"}), "textbook": ("textbook", {})}


@dataclasses.dataclass(frozen=True)
class Size:
    """
    Attributes:
      gibibytes: that are copied.
      steps: the contenders in the training step of each task, the most important first.
      turns, turn_seconds: of a contender; see `contest.hold`.
      alphas, sizes, seeds: of the grid of V1; the trial that is trained again is that of the last ones.
      images, batch_size, epochs, dtype: of these trainings.
    """

    gibibytes: float
    steps: Mapping[Task, tuple[str, ...]]
    turns: int
    turn_seconds: float
    alphas: tuple[float, ...]
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    images: int
    batch_size: int
    epochs: float
    dtype: str


_PYTORCH = ("pytorch_compiled", "pytorch_eager")
FULL = Size(
    gibibytes=2.0,
    steps={
        Task("mobilenet_v1", 1.0, 224, 256, "bfloat16"): (*_OURS, *_PYTORCH),
        Task("mobilenet_v2", 1.0, 224, 256, "bfloat16"): (*_OURS, *_PYTORCH),
        Task("mobilenet_v3_large", 1.0, 224, 256, "bfloat16"): _OURS,
        Task("mobilenet_v1", 0.25, 128, 256, "bfloat16"): _OURS,
    },
    turns=5,
    turn_seconds=0.5,
    alphas=(1.0, 0.25),
    sizes=(224, 128),
    seeds=(0,),
    images=2048,
    batch_size=256,
    epochs=40.0,
    dtype="bfloat16",
)
TINY = Size(
    gibibytes=0.01,
    steps={Task("mobilenet_v1", 0.25, 32, 2, "float32"): ("ours", "textbook", "pytorch_eager")},
    turns=2,
    turn_seconds=0.02,
    alphas=(0.25,),
    sizes=(32,),
    seeds=(0, 1),  # which share what is compiled
    images=48,
    batch_size=8,
    epochs=1.0,
    dtype="float32",
)


@dataclasses.dataclass(frozen=True)
class Part:
    """
    Attributes:
      kind: "bandwidth", "step", "memory", "grid" or "again".
      name: of this part, for people.
      share: of all the time, that it may take; it is not begun where less than a third of that is left.
      measure: `(seconds at most) -> rows`, each as soon as it is measured.
    """

    kind: str
    name: str
    share: float
    measure: Callable[[float], Iterator[Row]]


class Parts:
    """The parts of a size, which leave their files in a folder; the bounds are those of the bandwidth found first."""

    def __init__(self, size: Size, folder: pathlib.Path):
        self._size, self._folder = size, folder
        self._bounds: dict[Task, float] = {}  # images per second
        self._flags: list[str] = []

    def in_order(self) -> list[Part]:
        """The most important first."""
        steps = [
            Part("step", str(task), 0.28, lambda most, task=task: self._step(task, most)) for task in self._size.steps
        ]
        memory = [
            Part("memory", f"memory of {task}", 0.1, lambda most, task=task: self._memory(task, most))
            for task in self._size.steps
        ]
        return [
            Part("bandwidth", "copy bandwidth", 0.1, self._copy),
            *steps[:2],
            Part("grid", "a grid of V1 on one stream", 0.27, self._grid),
            Part("again", "one trial again, compared bit for bit", 0.18, self._again),
            *steps[2:],
            *memory,
        ]

    def _copy(self, most: float) -> Iterator[Row]:
        tasks = list(self._size.steps)
        found = ask("bound", self._size.gibibytes, [*map(dataclasses.asdict, tasks)], seconds=most)
        for task, moved in zip(tasks, found["bytes_per_image"], strict=True):
            self._bounds[task] = found["bytes_per_second"] / moved
        yield {"what": "read plus written", "bytes_per_second": found["bytes_per_second"]}

    def _step(self, task: Task, most: float) -> Iterator[Row]:
        names, size = self._size.steps[task], self._size
        held = contest.hold(names, task, {}, size.turns, size.turn_seconds, most, at_once=True)
        textbook, bound = held.results.get("textbook"), self._bounds.get(task)
        for name, result in held.results.items():
            images_per_second = task.batch_size / result.median
            yield {
                "what": name,
                "images_per_second": images_per_second,
                "spread": result.spread,
                "times_textbook": textbook.median / result.median if textbook else None,
                "share_of_bound_a": images_per_second / bound if bound else None,
                **dataclasses.asdict(result),
            }
        yield from _left_out(held)

    def _memory(self, task: Task, most: float) -> Iterator[Row]:
        """Of processes that find their step in the cache: those that compile it try kernels, which takes memory too."""
        names = [name for name in self._size.steps[task] if name in _OURS]
        held = contest.hold(names, task, {}, 2, 0.0, most, at_once=True)
        textbook = held.results.get("textbook")
        for name, result in held.results.items():
            yield {
                "what": name,
                "temporary_bytes": result.activation_bytes,
                "compiled_temporary_bytes": _compiled(task, name),
                "peak_bytes": result.peak_bytes,
                "times_textbook": result.peak_bytes / textbook.peak_bytes if textbook else None,
            }
        yield from _left_out(held)

    def _grid(self, most: float) -> Iterator[Row]:
        axes = (self._size.alphas, self._size.sizes, self._size.seeds)
        flags, trials = [*self._recipe(), *grid.axes(*axes)], math.prod(map(len, axes))
        found = grid.run(self._folder / "grid", flags, trials, most)
        yield {"what": f"{trials} trials", "together": found["training_seconds"] / found["floor_seconds"], **found}

    def _again(self, most: float) -> Iterator[Row]:
        """Compiled anew; where that differs, also as the same program, to tell whether compiling is why."""
        deadline = time.monotonic() + most
        first = self._trained("first", deadline)
        anew = {"JAX_COMPILATION_CACHE_DIR": str(self._folder / "cache_anew")}
        for what, environment in (("compiled anew", anew), ("the same program", {})):
            again = self._trained(what.replace(" ", "_"), deadline, environment)
            left = deadline - time.monotonic()
            found = ask("differences", [first, again], seconds=left, environment=NO_DEVICE)
            yield {"what": what} | found
            if not found["different"]:
                return

    def _trained(self, name: str, deadline: float, environment: Mapping[str, str] | None = None) -> str:
        """The folder of a trial that was trained in a process of its own."""
        cell = [f"--config.model.alpha={self._size.alphas[-1]}", f"--config.input_size={self._size.sizes[-1]}"]
        command = [sys.executable, "-m", "mnet_jax.train", "--config", "configs/grid.py:imagenet", *self._recipe()]
        done = subprocess.run(
            [*command, *cell, f"--workdir={self._folder / name}"],
            capture_output=True,
            text=True,
            timeout=max(0, deadline - time.monotonic()),
            env=os.environ | (environment or {}),
        )
        if done.returncode:
            raise RuntimeError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
        (folder,) = (self._folder / name / "trials").iterdir()
        return str(folder)

    def _recipe(self) -> list[str]:
        if not self._flags:
            size = self._size
            self._flags = grid.recipe(self._folder, size.images, size.batch_size, size.epochs, size.dtype)
            self._flags.append(f"--config.train.checkpoint_every_epochs={size.epochs}")
        return self._flags


def _left_out(held: contest.Contest) -> Iterator[Row]:
    for name, reason in held.left_out.items():
        yield {"what": name, "left_out": reason}


def _compiled(task: Task, contender: str) -> int | None:
    """Temporary bytes of the same step as `benchmarks.deviceless` compiled it for an H100; None where it was not."""
    layers, overrides = _AS_COMPILED[contender]
    cell = {name: value for name, value in vars(task).items() if name != "inference"}
    cell |= {"devices": 1, "step": "train", "overrides": overrides}
    for name in _COMPILED:
        for found in json.loads((_RESULTS / name).read_text())["cells"]:
            if cell.items() <= found.items():
                return found["compiled"][layers]["temporary_bytes"]
    return None
