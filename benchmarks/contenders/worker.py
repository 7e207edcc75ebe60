"""The process of one contender; see `benchmarks.contest`."""

import contextlib
import dataclasses
import fcntl
import importlib
import json
import os
import pathlib
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterator

from benchmarks.task import Task

CONTENDERS = {
    "ours": ("with_jax", {"layers": "fast"}),
    "ours_least": ("with_jax", {"layers": "fast", "memory": "least"}),
    "textbook": ("with_jax", {"layers": "textbook"}),
    "pytorch_eager": ("with_torch", {"compiled": False}),
    "pytorch_compiled": ("with_torch", {"compiled": True}),
    "pytorch_huge_pages": ("with_torch", {"compiled": False}),
    "keras_tensorflow": ("with_keras", {}),
}
HUGE_PAGES = ("ours", "ours_least", "textbook", "pytorch_huge_pages")  # the rest runs as its users start it


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


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Waits until no other contender is in here: what compiles times kernels on the device to choose among them."""
    with pathlib.Path(__file__).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main(arguments: str) -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not get among the answers

    def say(**answer):
        answers.write(json.dumps(answer) + "\n")

    try:
        _serve(say, **json.loads(arguments))
    except ImportError as error:
        say(unavailable=str(error))
    except Exception as error:
        traceback.print_exc()
        say(unavailable=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")


def _serve(say: Callable[..., None], contender: str, task: dict) -> None:
    module, variant = CONTENDERS[contender]
    build = importlib.import_module(f"benchmarks.contenders.{module}").build
    before = _process_bytes()
    start = time.perf_counter()
    built = build(Task(**task), **variant)
    with alone():
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
