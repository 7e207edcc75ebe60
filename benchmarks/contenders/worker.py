"""The process of one contender; see `benchmarks.contest`."""

import dataclasses
import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable

from benchmarks.task import Task

CONTENDERS = {
    "ours": ("with_jax", {"layers": "fast"}),
    "textbook": ("with_jax", {"layers": "textbook"}),
    "pytorch_eager": ("with_torch", {"compiled": False}),
    "pytorch_compiled": ("with_torch", {"compiled": True}),
    "pytorch_huge_pages": ("with_torch", {"compiled": False}),
    "keras_tensorflow": ("with_keras", {}),
}
HUGE_PAGES = ("ours", "textbook", "pytorch_huge_pages")  # the rest runs as its users start it


@dataclasses.dataclass
class Built:
    """
    Attributes:
      run: does so many steps and returns when the last is done.
      peak_bytes: of device memory; None where the process's own memory counts.
      activation_bytes: of the compiled step's temporary buffers, where known.
      about: versions and device.
    """

    run: Callable[[int], None]
    peak_bytes: Callable[[], int | None]
    activation_bytes: int | None
    about: dict[str, str]


def main(arguments: str) -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not get among the answers

    def say(**answer):
        answers.write(json.dumps(answer) + "\n")

    arguments = json.loads(arguments)
    module, variant = CONTENDERS[arguments["contender"]]
    try:
        contender = importlib.import_module(f"benchmarks.contenders.{module}")
    except ImportError as error:
        say(unavailable=str(error))
        return
    before = _process_bytes()
    start = time.perf_counter()
    built = contender.build(Task(**arguments["task"]), **variant)
    built.run(1)
    say(compile_seconds=time.perf_counter() - start, activation_bytes=built.activation_bytes, about=built.about)
    for line in sys.stdin:
        built.run(1 + int(line) // 2)  # the pages and caches that a paused process has lost are not what is measured
        start = time.perf_counter()
        built.run(int(line))
        say(seconds=time.perf_counter() - start)
    peak = built.peak_bytes()
    say(peak_bytes=_process_bytes() - before if peak is None else peak)


def _process_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main(sys.argv[1])
