"""Images per second of input pipelines alone: decode, Inception crop, resize, batches of uint8.

    python -m benchmarks.input_pipeline [--python tf_data=PATH] [--json FILE]

All read the same JPEGs, which are made first, and take turns on the machine: the others are stopped while one works.
"""

import argparse
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile

from benchmarks import measurements, pictures
from benchmarks.contenders.inputs import PIPELINES
from mnet_jax.devices.process import environment


class _Pipeline:
    """A contender's process, stopped between its turns: what it reads ahead would take time from another's."""

    def __init__(self, name: str, folder: str, options: argparse.Namespace, python: str):
        arguments = [name, folder, str(options.batch_size), str(options.side)]
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.contenders.inputs", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | (environment() if name.startswith("ours") else {}),
        )
        ready = self._process.stdout.readline()
        if not ready:
            _, errors = self._process.communicate()
            raise ImportError((errors.strip().splitlines() or ["it said nothing"])[-1])
        self.versions = json.loads(ready)
        self._process.send_signal(signal.SIGSTOP)

    def seconds(self, batches: int) -> float:
        self._process.send_signal(signal.SIGCONT)
        self._process.stdin.write(f"{batches}\n")
        self._process.stdin.flush()
        seconds = float(self._process.stdout.readline())
        self._process.send_signal(signal.SIGSTOP)
        return seconds

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


def measure(folder: str, options: argparse.Namespace, pythons: dict[str, str]) -> dict:
    """Images per second of every turn, by pipeline; one that cannot run here is named on stderr."""
    pipelines, rates = {}, {}
    for name in options.contenders:
        try:
            pipelines[name] = _Pipeline(name, folder, options, pythons.get(name, sys.executable))
        except ImportError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    for turn in range(options.turns):
        for name in list(pipelines)[:: 1 if turn % 2 else -1]:
            seconds = pipelines[name].seconds(options.batches)
            rates.setdefault(name, []).append(options.batches * options.batch_size / seconds)
    for pipeline in pipelines.values():
        pipeline.end()
    return {name: {"images_per_second": rates[name], "versions": pipelines[name].versions} for name in pipelines}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--contenders", nargs="+", choices=list(PIPELINES), default=list(PIPELINES))
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--height", type=int, default=384)
    parser.add_argument("--quality", type=int, default=90)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--side", type=int, default=224, help="of the images in a batch")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--batches", type=int, default=60, help="in a turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--python", action="append", default=[], metavar="NAME=PATH", help="a contender's interpreter")
    measurements.add_argument(parser)
    options = parser.parse_args()
    pythons = dict(text.split("=", 1) for text in options.python)
    with tempfile.TemporaryDirectory() as folder:
        pictures.write_folder(pathlib.Path(folder), options.images, options.width, options.height, options.quality)
        results = measure(folder, options, pythons)
    cores = os.cpu_count()
    report = {
        "task": {key: value for key, value in vars(options).items() if key not in ("json", "python")},
        "cores": cores,
    }
    measurements.save(report | {"results": results}, options.json)
    medians = {name: statistics.median(result["images_per_second"]) for name, result in results.items()}
    for name, median in medians.items():
        ratio = f"ours is {medians['ours'] / median:.2f}x" if "ours" in medians else ""
        print(f"{name:16} {median:7.0f} images/s  {median / cores:6.0f} per core  {ratio}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
