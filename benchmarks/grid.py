"""A grid on one stream against a process per trial: wall clock, images decoded, peak memory.

    python -m benchmarks.grid [--json FILE]

trains the grid of `configs/grid.py:imagenet` for an epoch on JPEGs that are made first, with a warm compilation cache.
The floor is the sum over the trials of what their steps took one by one, in the same run.
"""

import argparse
import math
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import psutil

from benchmarks import measurements, pictures
from mnet_jax.workdir import results
from mnet_jax.workdir.files import Workdir

_POLL_SECONDS = 0.1


def recipe(folder: pathlib.Path, images: int, batch_size: int, epochs: float, dtype: str) -> list[str]:
    """Writes JPEGs into the folder; the flags of `configs/grid.py:imagenet` that train on them."""
    pictures.write_folder(folder / "raw", images, 500, 375, 90)
    return [
        *(f"--config.data.source_dir={folder / 'raw'}", f"--config.data.data_dir={folder / 'tfds'}"),
        *("--config.data.validation_split=", "--config.model.num_classes=2", f"--config.model.dtype={dtype}"),
        *(f"--config.train.batch_size={batch_size}", f"--config.train.epochs={epochs}"),
    ]


def axes(alphas: Sequence[float], sizes: Sequence[int], seeds: Sequence[int]) -> list[str]:
    """The flags of what is swept."""
    return [
        f"--config.sweep.model.alpha={tuple(alphas)}",
        f"--config.sweep.input_size={tuple(sizes)}",
        f"--config.sweep.seed={tuple(seeds)}",
    ]


def run(
    workdir: pathlib.Path, flags: Sequence[str], trials_per_stream: int, seconds_at_most: float = math.inf
) -> dict[str, Any]:
    """One sweep: seconds of the command and of training in it, images decoded, peak bytes, and the table.

    Raises:
      RuntimeError: it failed; what it printed.
      TimeoutError: it took longer, and was killed.
    """
    command = [sys.executable, "-m", "mnet_jax.sweep", "--config", "configs/grid.py:imagenet", *flags]
    start, peak = time.monotonic(), 0
    process = subprocess.Popen(
        [*command, f"--workdir={workdir}", f"--config.launch.trials_per_stream={trials_per_stream}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while process.poll() is None:
        peak = max(peak, _resident_bytes(process.pid))
        if time.monotonic() - start > seconds_at_most:
            for member in [*psutil.Process(process.pid).children(recursive=True), process]:
                member.kill()
            raise TimeoutError(f"the sweep took more than {seconds_at_most:.0f} s")
        time.sleep(_POLL_SECONDS)
    seconds = time.monotonic() - start
    if process.returncode:
        raise RuntimeError(process.stdout.read())
    rows = results.read(Workdir(workdir).results_path)
    printed = "".join(path.read_text() for path in workdir.glob("output/*"))
    training = [row["wall_seconds"] for row in rows]
    batch_size = next(int(flag.partition("=")[2]) for flag in flags if flag.startswith("--config.train.batch_size"))
    return {
        "seconds": seconds,
        "training_seconds": max(training) if trials_per_stream > 1 else sum(training),
        "floor_seconds": sum(row["steps"] * batch_size / row["images_per_second"] for row in rows if row["steps"] > 1),
        "images_decoded": sum(map(int, re.findall(r"images decoded: (\d+)", printed))),
        "peak_bytes": peak,
        "scores": {row["trial"]: [row["top1"], row["top5"], row["loss"]] for row in rows},
    }


def _resident_bytes(pid: int) -> int:
    """Of the processes that train."""
    total = 0
    try:
        for child in psutil.Process(pid).children(recursive=True):
            total += child.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="mobilenet_v1")
    parser.add_argument("--alphas", type=float, nargs="+", default=[0.5, 0.25])
    parser.add_argument("--sizes", type=int, nargs="+", default=[224, 192, 160, 128])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--turns", type=int, default=2)
    measurements.add_argument(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        folder = pathlib.Path(home)
        flags = [
            *recipe(folder, options.images, options.batch_size, options.epochs, "float32"),
            *(f"--config.model.name={options.model}", *axes(options.alphas, options.sizes, options.seeds)),
        ]
        trials = len(options.alphas) * len(options.sizes) * len(options.seeds)
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder / "cache"))
        run(folder / "warm", [*flags, "--config.train.epochs=0.1"], trials)
        turns = {"shared": [], "separate": []}
        for turn in range(options.turns):
            for name in ("shared", "separate") if turn % 2 == 0 else ("separate", "shared"):
                most = trials if name == "shared" else 1
                turns[name].append(run(folder / f"{name}{turn}", flags, most))
                report = {"task": {key: value for key, value in vars(options).items() if key != "json"}, "turns": turns}
                measurements.save(report, options.json)
    _show(turns)
    return 0


def _show(turns: dict[str, list[dict]]) -> None:
    def median(name, field):
        return statistics.median(turn[field] for turn in turns[name])

    for name in turns:
        print(
            f"{name:9} {median(name, 'seconds'):7.1f} s, of which training {median(name, 'training_seconds'):7.1f} s; "
            f"{median(name, 'images_decoded'):,.0f} images decoded; peak {median(name, 'peak_bytes') / 2**20:,.0f} MiB"
        )
    floor = median("shared", "floor_seconds")
    print(f"separate / shared: {median('separate', 'seconds') / median('shared', 'seconds'):.2f}x in all, ", end="")
    print(f"{median('separate', 'training_seconds') / median('shared', 'training_seconds'):.2f}x in training; ", end="")
    print(f"shared training / sum of its steps: {median('shared', 'training_seconds') / floor:.2f}")
    same = all(turn["scores"] == turns["shared"][0]["scores"] for name in turns for turn in turns[name])
    print(f"accuracies and losses are {'the same' if same else 'NOT THE SAME'}")


if __name__ == "__main__":
    sys.exit(main())
